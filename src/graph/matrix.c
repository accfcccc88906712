/* matrix: one declaration, a target for each combination of values (train@1, train@2), and one that stands for all of them. */
#include "graph/internal.h"

#include "base/text.h"
#include "graph/schema.h"

#include <ctype.h>
#include <string.h>

#define MAX_INSTANCES 100000

static size_t count_of(const struct yaml_node *values)
{
	return values->kind == YAML_SEQ ? values->len : 1;
}

static const struct yaml_node *value_of(const struct yaml_node *values, size_t i)
{
	return values->kind == YAML_SEQ ? values->items[i] : values;
}

/* What is in an instance's name must be safe in a command line and tell the instances apart. */
static int check_value(const struct yaml_node *values, size_t index, const char *text, struct err *err)
{
	const struct yaml_node *node = value_of(values, index);
	bool good = *text != 0;
	for (const char *p = text; *p != 0; p++)
		good = good && ((unsigned char)*p >= 0x80 || isalnum((unsigned char)*p) || strchr("_-.:/+", *p) != NULL);
	if (good)
		return 0;
	yaml_err(err, node, "'%s' cannot be a value of a matrix: it becomes part of a target's name", text);
	return err_hint(err, "take letters, digits and _ - . : / +, and let a var or the command turn it into what is meant");
}

/* One axis: its values, expanded, none twice. */
static int read_axis(struct config *config, struct decl *decl, const struct yaml_pair *axis, const char ***ret, struct err *err)
{
	size_t count = count_of(axis->value);
	struct map seen CLEANUP(map_release) = MAP_INIT;
	const char **texts = arena_alloc(&config->project->arena, (count + 1) * sizeof(*texts));
	if (count == 0) {
		yaml_err(err, axis->key, "'%s' has no values", axis->key->text);
		return err_hint(err, "give it a list: %s: [1, 2]", axis->key->text);
	}
	for (size_t i = 0; i < count; i++) {
		if (vars_expand(config, decl, value_of(axis->value, i), &texts[i], err) < 0 || check_value(axis->value, i, texts[i], err) < 0)
			return -1;
		if (!map_set(&seen, texts[i], NULL)) {
			yaml_err(err, value_of(axis->value, i), "'%s' is there twice", texts[i]);
			return err_hint(err, "remove one of them");
		}
	}
	*ret = texts;
	return 0;
}

/* Combination number `number`, the last axis turning fastest. */
static void add_instance(struct config *config, const struct decl *decl, const struct yaml_node *matrix, const char ***axes, size_t number,
			 struct decl_list *ret)
{
	struct decl instance = *decl;
	struct buf name CLEANUP(buf_release) = BUF_INIT;
	struct matrix_value *values = arena_alloc(&config->project->arena, matrix->len * sizeof(*values));
	for (size_t i = matrix->len; i-- > 0;) {
		size_t count = count_of(matrix->pairs[i].value);
		values[i] = (struct matrix_value){config_keep(config, matrix->pairs[i].key->text), axes[i][number % count]};
		number /= count;
	}
	buf_addf(&name, "%s@", decl->name);
	for (size_t i = 0; i < matrix->len; i++)
		buf_addf(&name, "%s%s", i ? "," : "", values[i].value);
	instance.name = config_keep(config, name.data);
	instance.matrix = values;
	instance.matrix_len = matrix->len;
	vec_push(ret, instance);
}

static int expand(struct config *config, struct decl *decl, const struct yaml_node *matrix, struct decl_list *ret, struct err *err)
{
	const char ***axes = arena_alloc(&config->project->arena, (matrix->len + 1) * sizeof(*axes));
	size_t count = 1;
	for (size_t i = 0; i < matrix->len; i++) {
		if (read_axis(config, decl, &matrix->pairs[i], &axes[i], err) < 0)
			return -1;
		count *= count_of(matrix->pairs[i].value);
		if (count > MAX_INSTANCES) {
			yaml_err(err, matrix, "the matrix of '%s' makes more than %d targets", decl->name, MAX_INSTANCES);
			return err_hint(err, "give it fewer values");
		}
	}
	if (matrix->len == 0) {
		yaml_err(err, matrix, "the matrix of '%s' is empty", decl->name);
		return err_hint(err, "name what varies: matrix: {seed: [1, 2, 3]}");
	}
	struct decl group = *decl;
	group.is_group = true;
	group.first_instance = (uint32_t)ret->len;
	group.instance_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++)
		add_instance(config, decl, matrix, axes, i, ret);
	vec_push(ret, group);
	return 0;
}

int matrix_expand(struct config *config, struct err *err)
{
	struct decl_list all = {0};
	bool any = false;
	int result = 0;
	for (size_t i = 0; i < config->decls.len && !any; i++)
		any = schema_get(config->decls.at[i].body, "matrix") != NULL;
	if (!any)
		return 0;
	for (size_t i = 0; i < config->decls.len && result == 0; i++) {
		struct decl *decl = &config->decls.at[i];
		const struct yaml_node *matrix = schema_get(decl->body, "matrix");
		if (matrix == NULL)
			vec_push(&all, *decl);
		else if (expand(config, decl, matrix, &all, err) < 0)
			result = err_note(err, "in target '%s'", decl->name);
	}
	if (result < 0) {
		vec_release(&all);
		return result;
	}
	vec_release(&config->decls);
	config->decls = all;
	for (size_t i = 0; i < all.len; i++)
		map_set(&config->decl_index, all.at[i].name, (void *)(uintptr_t)(i + 1));
	return 0;
}
