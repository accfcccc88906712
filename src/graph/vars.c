/* Values: vars, params, environment, git and outputs of targets, for ${...}. */
#include "graph/internal.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/template.h"
#include "graph/schema.h"
#include "vcs/git.h"
#include "vcs/git_head.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VALUE   (1U << 20)
#define MAX_DEPTH   100
#define PARAMS_FILE "params.yaml"

struct scope {
	struct config *config;
	struct decl *decl;         /* NULL at the top level */
	const struct space *space; /* of the file that the value is written in; NULL: mlmake.yaml, or a rule */
};

static const char *const reserved_names[] = {"vars", "params", "env", "git", "targets", "matrix", NULL};

static int declare_value(struct config *config, struct map *vars, const char *name, const struct yaml_node *node)
{
	struct arena *arena = &config->project->arena;
	if (node->kind == YAML_MAP) {
		for (size_t i = 0; i < node->len; i++)
			declare_value(config, vars, arena_printf(arena, "%s.%s", name, node->pairs[i].key->text),
				      node->pairs[i].value);
		return 0;
	}
	if (node->kind == YAML_SEQ) {
		for (size_t i = 0; i < node->len; i++)
			declare_value(config, vars, arena_printf(arena, "%s.%zu", name, i), node->items[i]);
		return 0;
	}
	struct var *var = arena_alloc(arena, sizeof(*var));
	var->name = name;
	var->node = node;
	map_set(vars, name, var);
	return 0;
}

int vars_declare(struct config *config, struct map *vars, const struct yaml_node *node, struct err *err)
{
	if (node == NULL)
		return 0;
	if (node->kind != YAML_MAP) {
		yaml_err(err, node, "'vars' is %s, not a map of names and values", yaml_kind_name(node->kind));
		return err_hint(err, "write 'name: value' lines below vars:");
	}
	for (size_t i = 0; i < node->len; i++) {
		const char *name = node->pairs[i].key->text;
		for (size_t r = 0; reserved_names[r] != NULL; r++)
			if (text_eq(reserved_names[r], name)) {
				yaml_err(err, node->pairs[i].key, "a variable cannot be called '%s'", name);
				return err_hint(err, "${%s...} has a meaning of its own; choose another name", name);
			}
		declare_value(config, vars, name, node->pairs[i].value);
	}
	return 0;
}

static int hint_from_map(const struct map *map, const char *name, struct err *err)
{
	VEC(const char *) names = {0};
	for (size_t i = 0; i < map->len; i++)
		vec_push(&names, map->entries[i].key);
	const char *near = text_nearest(name, names.at, names.len);
	vec_release(&names);
	return near != NULL ? err_hint(err, "did you mean '%s'?", near) : -1;
}

int vars_override(struct config *config, const char *assignment, struct err *err)
{
	struct arena *arena = &config->project->arena;
	bool added = *assignment == '+';
	const char *equals = strchr(assignment, '=');
	const char *name = assignment + added;
	if (equals == NULL || (!text_starts(name, "vars.") && !text_starts(name, "params."))) {
		err_set(err, ERR_CONFIG, "'%s' sets nothing that is known", assignment);
		return err_hint(err, "write vars.NAME=VALUE or params.KEY=VALUE");
	}
	char *path = arena_strndup(arena, name, (size_t)(equals - name));
	if (text_starts(path, "params.")) {
		struct param_override *override = arena_alloc(arena, sizeof(*override));
		override->value = arena_strdup(arena, equals + 1);
		override->added = added;
		map_set(&config->param_overrides, path + strlen("params."), override);
		return 0;
	}
	path += strlen("vars.");
	struct var *var = map_get(&config->vars, path);
	if (var == NULL && !added) {
		err_set(err, ERR_CONFIG, "there is no variable '%s' to set", path);
		err_hint(err, "declare it below vars: in mlmake.yaml, or write +vars.%s=VALUE", path);
		hint_from_map(&config->vars, path, err);
		return -1;
	}
	if (var == NULL) {
		var = arena_alloc(arena, sizeof(*var));
		var->name = path;
		map_set(&config->vars, path, var);
	}
	var->value = arena_strdup(arena, equals + 1);
	return 0;
}

int vars_check_overrides(const struct config *config, struct err *err)
{
	for (size_t i = 0; i < config->param_overrides.len; i++) {
		const struct param_override *override = config->param_overrides.entries[i].value;
		const char *name = config->param_overrides.entries[i].key;
		if (override->used)
			continue;
		err_set(err, ERR_CONFIG, "params.%s is set, but no target uses ${params.%s}", name, name);
		err_hint(err, "name it in a target's run:, or change the file that the program reads");
		return hint_from_map(&config->params_used, name, err);
	}
	return 0;
}

/* A value that cannot be had here and now makes only the targets that use it unusable. */
static int fault(struct scope *scope, struct err *err)
{
	if (scope->decl == NULL || scope->decl->is_file)
		return -1;
	struct map_entry *entry = map_entry(&scope->config->project->internal->faults, scope->decl->name);
	if (entry->value == NULL) {
		entry->value = mem_alloc(sizeof(struct err));
		err_move(entry->value, err);
		err_note(entry->value, "in target '%s'", scope->decl->name);
	} else {
		err_release(err);
	}
	scope->config->fault_count++;
	return 0;
}

static int lookup_env(struct scope *scope, const char *name, const struct span *at, struct buf *out, struct err *err)
{
	const char *fallback = strstr(name, ":-");
	char *variable OWNED = fallback ? mem_strndup(name, (size_t)(fallback - name)) : mem_strdup(name);
	const char *value = sys.getenv(variable);
	if (value == NULL && fallback != NULL)
		value = fallback + 2;
	if (value != NULL) {
		buf_addstr(out, value);
		return 0;
	}
	err_set(err, ERR_CONFIG, "the environment variable %s is not set", variable);
	err_at(err, at);
	err_hint(err, "set it, or give a default: ${env:%s:-value}", variable);
	return fault(scope, err);
}

static int load_git(struct config *config, struct err *err)
{
	struct git_repo *repo = NULL;
	struct buf sha CLEANUP(buf_release) = BUF_INIT;
	struct buf branch CLEANUP(buf_release) = BUF_INIT;
	bool known;
	int result = 0;
	git_head_read(config->project->root, &sha, &branch, &known);
	if (!known && git_open(config->project->root, &repo, err) < 0)
		return -1;
	if (repo != NULL && (git_head_commit(repo, &sha, err) < 0 || git_head_branch(repo, &branch, err) < 0))
		result = -1;
	git_close(repo);
	config->git_sha = arena_strdup(&config->project->arena, sha.data);
	config->git_branch = arena_strdup(&config->project->arena, branch.data);
	return result;
}

static int lookup_git(struct scope *scope, const char *name, const struct span *at, struct buf *out, struct err *err)
{
	struct config *config = scope->config;
	bool sha = text_eq(name, "sha");
	if (!sha && !text_eq(name, "branch")) {
		err_set(err, ERR_CONFIG, "git has no value '%s' here", name);
		err_hint(err, "there are ${git.sha} and ${git.branch}");
		return err_at(err, at);
	}
	if (config->git_sha == NULL && load_git(config, err) < 0)
		return err_at(err, at);
	const char *value = sha ? config->git_sha : config->git_branch;
	buf_addstr(out, value);
	if (*value != 0)
		return 0;
	err_set(err, ERR_CONFIG, sha ? "git has no commit here" : "git has no branch checked out here");
	err_at(err, at);
	err_hint(err, sha ? "make a first commit" : "check out a branch");
	return fault(scope, err);
}

static int params_of(struct config *config, const char *file, const struct yaml_node **ret, struct err *err)
{
	*ret = NULL;
	if (map_has(&config->params_docs, file)) {
		*ret = map_get(&config->params_docs, file);
		return 0;
	}
	char *path OWNED = path_joined(config->project->root, file);
	if (fs_exists(path) && config_read_yaml(config, file, ret, err) < 0)
		return -1;
	map_set(&config->params_docs, file, (void *)(uintptr_t)*ret);
	return 0;
}

/* The keys of the map that should hold the last part of dotted, for "did you mean". */
static void hint_param(const struct yaml_node *root, const char *dotted, struct err *err)
{
	const char *dot = strrchr(dotted, '.');
	char *parent OWNED = dot ? mem_strndup(dotted, (size_t)(dot - dotted)) : mem_strdup("");
	const struct yaml_node *map = dot ? yaml_get_dotted(root, parent) : root;
	const char *word = dot ? dot + 1 : dotted;
	VEC(const char *) names = {0};
	for (size_t i = 0; map != NULL && map->kind == YAML_MAP && i < map->len; i++)
		vec_push(&names, map->pairs[i].key->text);
	const char *near = text_nearest(word, names.at, names.len);
	if (near != NULL)
		err_hint(err, "did you mean '%s%s%s'?", parent, dot ? "." : "", near);
	vec_release(&names);
}

static int params_value(const struct yaml_node *node, const char *name, const struct span *at, struct buf *out,
			struct err *err)
{
	if (node->kind == YAML_MAP || node->kind == YAML_SEQ) {
		err_set(err, ERR_CONFIG, "params.%s is %s, not one value", name, yaml_kind_name(node->kind));
		err_hint(err, "name one value in it: ${params.%s.%s}", name, node->kind == YAML_MAP ? "KEY" : "0");
		return err_at(err, at);
	}
	buf_addstr(out, node->text);
	return 0;
}

/* Where a target's ${params...} look: the files that it names in params, then params.yaml. */
static void add_params_files(struct scope *scope, struct strlist *ret)
{
	const struct decl *decl = scope->decl;
	const struct yaml_node *params = decl ? schema_get(decl->body, "params") : NULL;
	const char *dir = scope->space ? scope->space->dir : "";
	size_t count = params == NULL ? 0 : params->kind == YAML_SEQ ? params->len : 1;
	for (size_t i = 0; i < count; i++) {
		const char *text = (params->kind == YAML_SEQ ? params->items[i] : params)->text;
		if (template_has_references(text))
			continue;
		char *file OWNED = mem_strndup(text, strcspn(text, ":"));
		strlist_take(ret, path_joined(dir, file));
	}
	strlist_take(ret, path_joined(dir, PARAMS_FILE));
	scope->config->local_count += ret->len > 1 || *dir;
}

static int lookup_params(struct scope *scope, const char *name, const struct span *at, struct buf *out, struct err *err)
{
	struct config *config = scope->config;
	struct param_override *override = map_get(&config->param_overrides, name);
	const struct yaml_node *root, *value;
	struct strlist files CLEANUP(strlist_release) = {0};

	add_params_files(scope, &files);
	map_set(&config->params_used, name, NULL);
	if (override != NULL)
		override->used = true;
	for (size_t i = 0; i < files.len; i++) {
		if (params_of(config, files.at[i], &root, err) < 0)
			return err_at(err, at);
		value = yaml_get_dotted(root, name);
		if (value == NULL)
			continue;
		if (override == NULL)
			return params_value(value, name, at, out, err);
		buf_addstr(out, override->value);
		return 0;
	}
	if (override != NULL && override->added) {
		buf_addstr(out, override->value);
		return 0;
	}
	if (params_of(config, files.at[0], &root, err) < 0)
		return -1;
	err_set(err, ERR_CONFIG, root ? "%s has no '%s'" : "there is no %s to look '%s' up in", files.at[0], name);
	err_hint(err, "add it to %s, or name the file in the target's params:", files.at[0]);
	hint_param(root, name, err);
	return err_at(err, at);
}

/* Commands of an included file run in its directory. */
static void add_path(const struct scope *scope, const char *path, struct buf *out)
{
	if (scope->decl == NULL || scope->decl->space == NULL) {
		buf_addstr(out, path);
		return;
	}
	char *from OWNED = path_joined("/", scope->decl->space->dir);
	char *to OWNED = path_joined("/", path);
	path_relative(out, from, to);
}

/* name is behind "targets.": "train.outputs[0]", "train.outputs.0", "train.output". */
static int lookup_target(struct scope *scope, const char *name, const struct span *at, struct buf *out, struct err *err)
{
	struct config *config = scope->config;
	const char *tail = NULL;
	for (const char *p = strstr(name, ".output"); p != NULL; p = strstr(p + 1, ".output"))
		tail = p;
	uint64_t number = 0;
	char *digits OWNED = NULL;
	bool good = tail != NULL;
	if (good) {
		const char *rest = tail + strlen(".output");
		rest += *rest == 's';
		if (*rest == '[' || *rest == '.') {
			digits = mem_strndup(rest + 1, strspn(rest + 1, "0123456789"));
			good = text_parse_u64(digits, &number) &&
			       text_eq(rest + 1 + strlen(digits), *rest == '[' ? "]" : "");
		} else {
			good = *rest == 0;
		}
	}
	if (!good) {
		err_set(err, ERR_CONFIG, "'targets.%s' names no output", name);
		err_hint(err, "write ${targets.NAME.outputs[0]}");
		return err_at(err, at);
	}
	char *target OWNED = mem_strndup(name, (size_t)(tail - name));
	size_t index = config_find(config, scope->space, target);
	config->local_count++;
	if (index == 0) {
		err_set(err, ERR_CONFIG, "there is no target '%s'", target);
		err_hint(err, "write ${targets.NAME.outputs[0]} with the name of a target");
		hint_from_map(&config->decl_index, target, err);
		return err_at(err, at);
	}
	if (target_build_outputs(config, index - 1, err) < 0)
		return err_at(err, at);
	const struct target *found = &config->project->targets[index - 1];
	if (config->decls.at[index - 1].is_group) {
		err_set(err, ERR_CONFIG, "'%s' is a matrix, whose instances have outputs of their own", target);
		err_hint(err, "name one of them: ${targets.%s.output}", config->decls.at[config->decls.at[index - 1].first_instance].name);
		return err_at(err, at);
	}
	if (number >= found->outputs.len) {
		err_set(err, ERR_CONFIG, "target '%s' has %zu outputs, not one numbered %llu", target,
			found->outputs.len, (unsigned long long)number);
		err_hint(err, "they are numbered from 0");
		return err_at(err, at);
	}
	add_path(scope, found->outputs.at[number].path, out);
	if (scope->decl != NULL && !scope->decl->is_file && scope->decl != &config->decls.at[index - 1])
		vec_push(&scope->decl->refs, (struct target_ref){(uint32_t)(index - 1), config_span_place(config, at)});
	return 0;
}

static int lookup(void *ctx, const char *name, const struct span *at, struct buf *out, struct err *err);

static int var_cycle(const struct config *config, const struct var *var, const struct span *at, struct err *err)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	bool inside = false;
	for (size_t i = 0; i < config->busy_vars.len; i++) {
		inside |= config->busy_vars.at[i] == var;
		if (inside)
			buf_addf(&path, "%s -> ", config->busy_vars.at[i]->name);
	}
	err_set(err, ERR_CONFIG, "variables go round in a circle: %s%s", path.data, var->name);
	err_hint(err, "give one of them a value that names none of the others");
	return err_at(err, at);
}

static int lookup_var(struct scope *scope, struct var *var, const struct span *at, struct buf *out, struct err *err)
{
	struct config *config = scope->config;
	if (var->value != NULL) {
		buf_addstr(out, var->value);
		return 0;
	}
	if (var->resolving)
		return var_cycle(config, var, at, err);
	if (config->busy_vars.len >= MAX_DEPTH) {
		err_set(err, ERR_CONFIG, "variables are nested more than %d deep", MAX_DEPTH);
		err_hint(err, "let '%s' name its value directly", var->name);
		return err_at(err, at);
	}
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	size_t faults = config->fault_count, locals = config->local_count;
	var->resolving = true;
	vec_push(&config->busy_vars, var);
	const struct span span = yaml_span(var->node);
	int result = template_expand(var->node->text, &span, lookup, scope, &value, err);
	config->busy_vars.len--;
	var->resolving = false;
	if (result < 0)
		return -1;
	if (value.len > MAX_VALUE) {
		yaml_err(err, var->node, "the value of '%s' is longer than a mebibyte", var->name);
		return err_hint(err, "put it into a file");
	}
	if (config->fault_count == faults && config->local_count == locals)
		var->value = arena_strdup(&config->project->arena, value.data);
	buf_add(out, value.data, value.len);
	return 0;
}

static int lookup_matrix(struct scope *scope, const char *name, const struct span *at, struct buf *out, struct err *err)
{
	const struct decl *decl = scope->decl;
	scope->config->local_count++;
	for (size_t i = 0; decl != NULL && i < decl->matrix_len; i++)
		if (text_eq(decl->matrix[i].name, name)) {
			buf_addstr(out, decl->matrix[i].value);
			return 0;
		}
	if (decl != NULL && decl->is_group) {
		buf_addch(out, '*');
		return 0;
	}
	err_set(err, ERR_CONFIG, decl != NULL && decl->matrix ? "the matrix has no '%s'" : "there is no matrix here that '%s' could be of", name);
	err_hint(err, "declare it in the target: matrix: {%s: [1, 2, 3]}", name);
	return err_at(err, at);
}

/* Of the included file and those that include it, from the inside out. */
static struct var *find_var(const struct scope *scope, const char *name, const struct space **ret_space)
{
	for (const struct space *space = scope->space; space != NULL; space = space->parent) {
		*ret_space = space;
		struct var *var = map_get(&space->vars, name);
		if (var != NULL)
			return var;
	}
	*ret_space = NULL;
	struct var *var = map_get(&scope->config->vars, name);
	if (var == NULL && scope->decl != NULL && scope->decl->rule != NULL)
		var = map_get(&scope->decl->rule->vars, name);
	return var;
}

static bool is_shell_name(const char *name)
{
	for (const char *p = name; *p != 0; p++)
		if (!isalnum((unsigned char)*p) && strchr("_:-+=?#%", *p) == NULL)
			return false;
	return true;
}

static int lookup(void *ctx, const char *name, const struct span *at, struct buf *out, struct err *err)
{
	struct scope *scope = ctx;
	const struct map *vars = &scope->config->vars;
	if (text_starts(name, "env:"))
		return lookup_env(scope, name + 4, at, out, err);
	if (text_starts(name, "git."))
		return lookup_git(scope, name + 4, at, out, err);
	if (text_starts(name, "params."))
		return lookup_params(scope, name + 7, at, out, err);
	if (text_starts(name, "targets."))
		return lookup_target(scope, name + 8, at, out, err);
	if (text_starts(name, "matrix."))
		return lookup_matrix(scope, name + 7, at, out, err);
	if (text_starts(name, "vars."))
		name += 5;
	struct scope inner = *scope; /* a value means what it means where it is written */
	struct var *var = find_var(scope, name, &inner.space);
	if (var != NULL)
		return lookup_var(&inner, var, at, out, err);

	err_set(err, ERR_CONFIG, "unknown name '%s'", name);
	if (is_shell_name(name))
		err_hint(err, "declare it below vars:, or write $${%s} for a variable of the shell", name);
	else
		err_hint(err, "declare it below vars:");
	hint_from_map(vars, name, err);
	return err_at(err, at);
}

int vars_expand(struct config *config, struct decl *decl, const struct yaml_node *node, const char **ret,
		struct err *err)
{
	if (strchr(node->text, '$') == NULL) {
		*ret = config_keep(config, node->text);
		return 0;
	}
	struct scope scope = {config, decl, decl ? decl->space : NULL};
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	const struct span span = yaml_span(node);
	if (template_expand(node->text, &span, lookup, &scope, &value, err) < 0)
		return -1;
	*ret = config_keep(config, value.data);
	return 0;
}

int vars_expand_list(struct config *config, struct decl *decl, const struct yaml_node *node, struct string_list *ret,
		     struct err *err)
{
	*ret = (struct string_list){0};
	if (node == NULL)
		return 0;
	size_t count = node->kind == YAML_SEQ ? node->len : 1;
	if (count == 0)
		return 0;
	ret->at = arena_alloc(&config->project->arena, count * sizeof(*ret->at));
	for (; ret->len < count; ret->len++) {
		const struct yaml_node *item = node->kind == YAML_SEQ ? node->items[ret->len] : node;
		if (vars_expand(config, decl, item, &ret->at[ret->len], err) < 0)
			return -1;
	}
	return 0;
}
