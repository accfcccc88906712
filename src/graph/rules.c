/* Rules: which are there, which match, and the targets that they contribute. */
#include "graph/detect.h"
#include "graph/internal.h"

#include "base/embed.h"
#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "graph/schema.h"

#include <string.h>

#define RULES_DIR "rules"
#define MAX_RULE  (1U << 20)

/* What is there before anything is parsed; name -> source, the repository's own over a built-in of the same name. */
struct source {
	const char *shown_as;
	const char *origin; /* "built in", or the file */
	struct buf text;
};

static bool is_rule_name(const char *file)
{
	return text_ends(file, ".yaml") && *path_base(file) != '.';
}

/* A repository may have a rules/ of its own that has nothing to do with mlmake. */
static bool is_rule_text(const char *text)
{
	return text_starts(text, "mlmake_rule:") || strstr(text, "\nmlmake_rule:") != NULL;
}

static struct source *source_at(struct map *sources, const char *file)
{
	const char *base = path_base(file);
	char *name OWNED = mem_strndup(base, strlen(base) - strlen(".yaml"));
	struct map_entry *entry = map_entry(sources, name);
	if (entry->value == NULL) {
		struct source *source = mem_alloc(sizeof(*source));
		buf_init(&source->text);
		entry->value = source;
	}
	return entry->value;
}

static void source_free(void *value)
{
	struct source *source = value;
	buf_release(&source->text);
	free(source);
}

static int find_sources(struct tree *tree, const char *root, struct arena *arena, struct map *sources, struct err *err)
{
	struct tree_node *dir;
	for (size_t i = 0; i < embedded_file_count; i++) {
		const struct embedded_file *file = &embedded_files[i];
		if (!text_starts(file->path, RULES_DIR "/") || !is_rule_name(file->path))
			continue;
		struct source *source = source_at(sources, file->path);
		source->shown_as = file->path;
		source->origin = "built in";
		buf_add(&source->text, file->data, file->len);
	}
	if (tree_find(tree, RULES_DIR, &dir, err) < 0)
		return -1;
	if (dir == NULL || !dir->is_dir)
		return 0;
	if (tree_list(tree, dir, err) < 0)
		return -1;
	for (size_t i = 0; i < dir->in->len; i++) {
		const struct tree_node *node = dir->in->at[i];
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		char *full OWNED = path_joined(root, node->path);
		if (node->is_dir || !is_rule_name(node->path) || !fs_is_file(full))
			continue;
		if (fs_read_file(full, MAX_RULE, &text, err) < 0)
			return -1;
		if (!is_rule_text(text.data))
			continue;
		struct source *source = source_at(sources, node->path);
		source->shown_as = source->origin = arena_strdup(arena, node->path);
		buf_setstr(&source->text, text.data);
	}
	return 0;
}

int rule_text(const char *root, const char *name, struct buf *out, char **ret_origin, struct err *err)
{
	struct map sources = MAP_INIT;
	struct arena arena = {.block = NULL};
	struct tree *tree = tree_new(root);
	int result = find_sources(tree, root, &arena, &sources, err);
	if (result == 0) {
		const struct source *source = map_get(&sources, name);
		if (source != NULL) {
			buf_add(out, source->text.data, source->text.len);
			*ret_origin = mem_strdup(source->origin);
		} else {
			VEC(const char *) names = {0};
			for (size_t i = 0; i < sources.len; i++)
				vec_push(&names, sources.entries[i].key);
			const char *near = text_nearest(name, names.at, names.len);
			err_set(err, ERR_CONFIG, "there is no rule '%s'", name);
			result = near ? err_hint(err, "did you mean '%s'?", near)
				      : err_hint(err, "'mlmake rules' lists them");
			vec_release(&names);
		}
	}
	tree_free(tree);
	map_release_values(&sources, source_free);
	arena_release(&arena);
	return result;
}

struct matcher {
	struct config *config;
	struct arena *arena;
	struct tree *tree;
	struct map sources;
	VEC(struct decl) found;
	struct map found_names;
};

/* A variable of a rule is a value, or a list of values with conditions of which the first that holds counts. */
static int declare_rule_vars(struct matcher *m, struct rule *rule, const struct yaml_node *vars, struct err *err)
{
	struct buf unsaid CLEANUP(buf_release) = BUF_INIT;
	for (size_t i = 0; vars != NULL && vars->kind == YAML_MAP && i < vars->len; i++) {
		const struct yaml_node *value = vars->pairs[i].value;
		const struct yaml_node *chosen = value->kind == YAML_SEQ || value->kind == YAML_MAP ? NULL : value;
		for (size_t k = 0; chosen == NULL && value->kind == YAML_SEQ && k < value->len; k++) {
			int holds = detect(m->tree, m->config->project->root, value->items[k], "value", &unsaid, err);
			if (holds < 0)
				return -1;
			if (holds == 1)
				chosen = yaml_get(value->items[k], "value");
		}
		if (chosen == NULL) {
			yaml_err(err, value, "no value of '%s' applies", vars->pairs[i].key->text);
			return err_hint(err, "end its list with {value: ...} that has no condition");
		}
		struct var *var = arena_alloc(m->arena, sizeof(*var));
		var->name = vars->pairs[i].key->text;
		var->node = chosen;
		map_set(&rule->vars, var->name, var);
	}
	return 0;
}

static bool all_declared(const struct matcher *m, const struct yaml_node *targets)
{
	for (size_t i = 0; targets != NULL && i < targets->len; i++)
		if (!map_has(&m->config->decl_index, targets->pairs[i].key->text))
			return false;
	return true;
}

static int take_rule(struct matcher *m, struct rule *rule, struct err *err)
{
	const struct yaml_node *targets = schema_get(rule->root, "targets"), *tools = schema_get(rule->root, "tools");
	vec_push(&m->config->rules, rule);
	if (declare_rule_vars(m, rule, schema_get(rule->root, "vars"), err) < 0)
		return -1;
	for (size_t i = 0; tools != NULL && i < tools->len; i++)
		map_set(&rule->tools, tools->pairs[i].key->text, (void *)(uintptr_t)tools->pairs[i].value);
	for (size_t i = 0; targets != NULL && i < targets->len; i++) {
		const struct yaml_node *key = targets->pairs[i].key;
		if (map_has(&m->config->decl_index, key->text) || !map_set(&m->found_names, key->text, rule))
			continue;
		vec_push(&m->found,
			 (struct decl){.name = config_keep(m->config, key->text), .key = key, .body = targets->pairs[i].value, .rule = rule});
	}
	return 0;
}

/* forced: mlmake.yaml names it. */
static int try_rule(struct matcher *m, const char *name, const struct source *source, bool forced, struct err *err)
{
	struct buf why CLEANUP(buf_release) = BUF_INIT;
	struct rule *rule = arena_alloc(m->arena, sizeof(*rule));
	if (config_parse_yaml(m->config, source->shown_as, text_eq(source->origin, "built in"), source->text.data, source->text.len, &rule->root, err) < 0 ||
	    schema_check(rule->root, "", rule_keys, err) < 0)
		return -1;
	const struct yaml_node *desc = schema_get(rule->root, "desc"), *condition = schema_get(rule->root, "detect");
	rule->name = arena_strdup(m->arena, name);
	rule->desc = desc ? config_keep(m->config, desc->text) : "";
	rule->origin = source->origin;
	if (forced) {
		rule->why = "named in rules:";
		return take_rule(m, rule, err);
	}
	if (condition == NULL || all_declared(m, schema_get(rule->root, "targets")))
		return 0;
	int holds = detect(m->tree, m->config->project->root, condition, NULL, &why, err);
	if (holds != 1)
		return holds;
	rule->why = arena_strdup(m->arena, why.data);
	return take_rule(m, rule, err);
}

static int try_named(struct matcher *m, const struct yaml_node *list, struct err *err)
{
	for (size_t i = 0; i < list->len; i++) {
		const char *name = list->items[i]->text;
		const struct source *source = map_get(&m->sources, name);
		if (source == NULL) {
			VEC(const char *) names = {0};
			for (size_t k = 0; k < m->sources.len; k++)
				vec_push(&names, m->sources.entries[k].key);
			const char *near = text_nearest(name, names.at, names.len);
			yaml_err(err, list->items[i], "there is no rule '%s'", name);
			near ? err_hint(err, "did you mean '%s'?", near)
			     : err_hint(err, "'mlmake rules --all' lists them");
			vec_release(&names);
			return -1;
		}
		if (try_rule(m, name, source, true, err) < 0)
			return -1;
	}
	return 0;
}

/* Where people expect a target in a list; what has no such place comes last, in the order of the rules. */
static size_t place_of(const char *name)
{
	static const char *const usual[] = {"install", "format", "lint", "typecheck",
					    "test",    "build",  "push", "deploy"};
	size_t i = 0;
	while (i < ARRAY_LEN(usual) && !text_eq(usual[i], name))
		i++;
	return i;
}

static void declare_found(struct matcher *m)
{
	struct config *config = m->config;
	for (size_t place = 0; place <= place_of(""); place++)
		for (size_t i = 0; i < m->found.len; i++) {
			if (place_of(m->found.at[i].name) != place)
				continue;
			vec_push(&config->decls, m->found.at[i]);
			map_set(&config->decl_index, m->found.at[i].name, (void *)(uintptr_t)config->decls.len);
		}
}

static void note_matches(struct matcher *m)
{
	struct project *project = m->config->project;
	project->rules = arena_alloc(m->arena, (m->config->rules.len + 1) * sizeof(*project->rules));
	for (size_t i = 0; i < m->config->rules.len; i++) {
		const struct rule *rule = m->config->rules.at[i];
		struct matched_rule *match = &project->rules[project->rule_count++];
		*match = (struct matched_rule){
			.name = rule->name, .why = rule->why, .desc = rule->desc, .origin = rule->origin};
		match->targets.at = arena_alloc(m->arena, (m->found.len + 1) * sizeof(*match->targets.at));
		for (size_t k = 0; k < m->found.len; k++)
			if (m->found.at[k].rule == rule)
				match->targets.at[match->targets.len++] = m->found.at[k].name;
	}
}

static int apply(struct matcher *m, struct err *err)
{
	const struct yaml_node *setting = schema_get(m->config->root, "rules");
	if (setting != NULL && setting->kind != YAML_SEQ && text_eq(setting->text, "none"))
		return 0;
	if (find_sources(m->tree, m->config->project->root, m->arena, &m->sources, err) < 0)
		return -1;
	if (setting != NULL && setting->kind == YAML_SEQ)
		return try_named(m, setting, err);
	for (size_t i = 0; i < m->sources.len; i++)
		if (try_rule(m, m->sources.entries[i].key, m->sources.entries[i].value, false, err) < 0)
			return -1;
	return 0;
}

int rules_apply(struct config *config, struct err *err)
{
	struct matcher m = {.config = config, .arena = &config->project->arena};
	m.tree = tree_new(config->project->root);
	int result = apply(&m, err);
	if (result == 0) {
		declare_found(&m);
		note_matches(&m);
	}
	tree_free(m.tree);
	map_release_values(&m.sources, source_free);
	map_release(&m.found_names);
	vec_release(&m.found);
	return result;
}
