/* A declaration becomes a target: every value expanded, every path checked. */
#include "graph/internal.h"

#include "base/path.h"
#include "base/text.h"
#include "formats/ignore.h"
#include "graph/schema.h"

#include <string.h>

struct builder {
	struct config *config;
	struct arena *arena;
	struct decl *decl;
	struct target *target;
	struct target_settings settings; /* as far as they are known; zeroed, since they are compared as bytes */
};

static const struct yaml_node *get(const struct builder *b, const char *key)
{
	return schema_get(b->decl->body, key);
}

static bool get_bool(const struct builder *b, const char *key)
{
	const struct yaml_node *node = get(b, key);
	return node != NULL && node->boolean;
}

static void *alloc_list(struct arena *arena, size_t count, size_t each)
{
	return count == 0 ? NULL : arena_alloc(arena, count * each);
}

static size_t items_of(const struct yaml_node *node)
{
	return node == NULL ? 0 : node->kind == YAML_SEQ ? node->len : 1;
}

static const struct yaml_node *item_of(const struct yaml_node *node, size_t i)
{
	return node->kind == YAML_SEQ ? node->items[i] : node;
}

int config_path(struct config *config, const char *dir, const struct yaml_node *node, const char *text, const char *what, const char **ret,
		struct err *err)
{
	const char *root = config->project->root;
	struct buf full CLEANUP(buf_release) = BUF_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	if (*dir != 0 && *text != '/')
		buf_addf(&full, "%s/", dir);
	buf_addstr(&full, text);
	path_normalize(&path, full.data);
	if (*text == '/' && path_inside(root, path.data)) {
		struct buf below CLEANUP(buf_release) = BUF_INIT;
		path_relative(&below, root, path.data);
		buf_setstr(&path, below.data);
	}
	if (path.data[0] == '/' || text_eq(path.data, "..") || text_starts(path.data, "../")) {
		yaml_err(err, node, "%s '%s' lies outside the repository", what, text);
		return *dir ? err_hint(err, "paths are relative to the directory of the included file, %s", dir)
			    : err_hint(err, "paths are relative to the project's root, %s", root);
	}
	*ret = intern_strn(&config->strings, path.data, path.len);
	return 0;
}

static const char *dir_of(const struct builder *b)
{
	return b->decl->space != NULL ? b->decl->space->dir : "";
}

static int project_path(struct builder *b, const struct yaml_node *node, const char *what, const char **ret, struct err *err)
{
	const char *text;
	if (vars_expand(b->config, b->decl, node, &text, err) < 0)
		return -1;
	return config_path(b->config, dir_of(b), node, text, what, ret, err);
}

static int check_output_path(const struct yaml_node *node, const char *path, struct err *err)
{
	const char *first_end = strchr(path, '/');
	size_t first = first_end ? (size_t)(first_end - path) : strlen(path);
	if (text_eq(path, ".")) {
		yaml_err(err, node, "the project's root cannot be an output");
		return err_hint(err, "name the files and directories that are written");
	}
	if ((first == 4 && memcmp(path, ".git", 4) == 0) || (first == 7 && memcmp(path, ".mlmake", 7) == 0)) {
		yaml_err(err, node, "'%s' cannot be an output", path);
		return err_hint(err, ".git and .mlmake belong to git and mlmake");
	}
	if (glob_has_magic(path)) {
		yaml_err(err, node, "output '%s' is a glob", path);
		return err_hint(err, "outputs are files and directories: name the directory that holds them");
	}
	return 0;
}

static struct output *find_output(struct target *target, const char *path)
{
	for (size_t i = 0; i < target->outputs.len; i++)
		if (text_eq(target->outputs.at[i].path, path))
			return &target->outputs.at[i];
	return NULL;
}

static int add_output(struct builder *b, const struct yaml_node *node, bool metrics, struct err *err)
{
	const struct yaml_node *path_node = node->kind == YAML_MAP ? schema_get(node, "path") : node;
	const struct yaml_node *track = schema_get(node, "track"), *cache = schema_get(node, "cache");
	const char *path;
	if (path_node == NULL) {
		yaml_err(err, node, "an output without its path");
		return err_hint(err, "write {path: FILE}");
	}
	if (project_path(b, path_node, "output", &path, err) < 0 || check_output_path(path_node, path, err) < 0)
		return -1;
	if (cache != NULL && !text_eq(cache->text, "true"))
		b->target->cache =
			text_eq(cache->text, "local") && b->target->cache == CACHE_ON ? CACHE_LOCAL : CACHE_OFF;
	struct output *known = find_output(b->target, path);
	if (known != NULL && !metrics) {
		yaml_err(err, path_node, "output '%s' is there twice", path);
		return err_hint(err, "remove one of them");
	}
	if (known == NULL) {
		known = &b->target->outputs.at[b->target->outputs.len++];
		*known = (struct output){.path = path, .place = config_place(b->config, path_node)};
	}
	known->metrics |= metrics;
	known->track |= track != NULL && track->boolean;
	return 0;
}

static int build_outputs(struct builder *b, struct err *err)
{
	if (b->decl->is_group)
		return 0;
	const struct yaml_node *outputs = get(b, "outputs"), *metrics = get(b, "metrics"), *cache = get(b, "cache");
	size_t count = items_of(outputs) + items_of(metrics);
	b->target->cache = cache == NULL || text_eq(cache->text, "true") ? CACHE_ON
			   : text_eq(cache->text, "local")               ? CACHE_LOCAL
									 : CACHE_OFF;
	b->target->outputs.at = alloc_list(b->arena, count, sizeof(*b->target->outputs.at));
	for (size_t i = 0; i < items_of(outputs); i++)
		if (add_output(b, item_of(outputs, i), false, err) < 0)
			return -1;
	for (size_t i = 0; i < items_of(metrics); i++)
		if (add_output(b, item_of(metrics, i), true, err) < 0)
			return -1;
	return 0;
}

static struct builder builder_of(struct config *config, size_t index)
{
	struct builder b;
	memset(&b, 0, sizeof(b));
	b.config = config;
	b.arena = &config->project->arena;
	b.decl = &config->decls.at[index];
	b.target = &config->project->targets[index];
	return b;
}

int target_build_outputs(struct config *config, size_t index, struct err *err)
{
	struct builder b = builder_of(config, index);
	if (b.decl->outputs_done)
		return 0;
	if (b.decl->outputs_busy) {
		yaml_err(err, b.decl->key, "the outputs of '%s' are named by themselves", b.decl->name);
		return err_hint(err, "write the path instead of ${targets.%s...}", b.decl->name);
	}
	b.decl->outputs_busy = true;
	int result = build_outputs(&b, err);
	b.decl->outputs_busy = false;
	b.decl->outputs_done = result == 0;
	return result;
}

static int build_inputs(struct builder *b, struct err *err)
{
	const struct yaml_node *inputs = get(b, "inputs");
	size_t count = items_of(inputs);
	b->target->inputs.at = alloc_list(b->arena, count, sizeof(*b->target->inputs.at));
	for (size_t i = 0; i < count; i++) {
		struct input_pattern *input = &b->target->inputs.at[b->target->inputs.len++];
		struct yaml_node node = *item_of(inputs, i);
		input->exclude = node.text[0] == '!';
		if (input->exclude)
			node.text++;
		input->place = config_place(b->config, &node);
		if (project_path(b, &node, "input", &input->glob, err) < 0)
			return -1;
		input->named = !glob_has_magic(input->glob);
	}
	return 0;
}

static int build_params(struct builder *b, struct err *err)
{
	const struct yaml_node *params = get(b, "params");
	size_t count = items_of(params);
	b->target->params.at = alloc_list(b->arena, count, sizeof(*b->target->params.at));
	for (size_t i = 0; i < count; i++) {
		struct param_ref *ref = &b->target->params.at[b->target->params.len++];
		struct yaml_node node = *item_of(params, i);
		const char *text;
		if (vars_expand(b->config, b->decl, &node, &text, err) < 0)
			return -1;
		const char *colon = strchr(text, ':');
		node.text = colon ? arena_strndup(b->arena, text, (size_t)(colon - text)) : text;
		ref->place = config_place(b->config, &node);
		if (project_path(b, &node, "params file", &ref->file, err) < 0)
			return -1;
		if (colon == NULL)
			continue;
		size_t keys = 1;
		for (const char *p = colon; *p != 0; p++)
			keys += *p == ',';
		ref->keys.at = arena_alloc(b->arena, keys * sizeof(*ref->keys.at));
		for (const char *key = colon + 1; ref->keys.len < keys;) {
			size_t len = strcspn(key, ",");
			const char *next = key + len + 1;
			for (; len > 0 && *key == ' '; len--)
				key++;
			if (len == 0) {
				yaml_err(err, &node, "'%s' names an empty parameter", text);
				return err_hint(err, "write FILE:KEY, FILE:A,B or FILE");
			}
			ref->keys.at[ref->keys.len++] = intern_strn(&b->config->strings, key, len);
			key = next;
		}
	}
	return 0;
}

static bool is_variable_name(const char *name)
{
	return *name != 0 && strchr(name, '=') == NULL;
}

/* base first, then the map's own, which win. */
int env_merge(struct config *config, struct decl *decl, const struct yaml_node *map, const struct env_list *base,
	      struct env_list *ret, struct err *err)
{
	*ret = *base;
	if (map == NULL || map->len == 0)
		return 0;
	ret->at = arena_alloc(&config->project->arena, (base->len + map->len) * sizeof(*ret->at));
	if (base->len > 0)
		memcpy(ret->at, base->at, base->len * sizeof(*ret->at));
	for (size_t i = 0; i < map->len; i++) {
		struct env_var var = {.name = config_keep(config, map->pairs[i].key->text)};
		if (!is_variable_name(var.name)) {
			yaml_err(err, map->pairs[i].key, "'%s' cannot be the name of an environment variable",
				 var.name);
			return err_hint(err, "write 'NAME: value'");
		}
		if (vars_expand(config, decl, map->pairs[i].value, &var.value, err) < 0)
			return -1;
		size_t at = 0;
		while (at < ret->len && !text_eq(ret->at[at].name, var.name))
			at++;
		ret->at[at] = var;
		ret->len += at == ret->len;
	}
	return 0;
}

int env_merge_names(struct config *config, struct decl *decl, const struct yaml_node *names,
		    const struct env_list *base, struct env_list *ret, struct err *err)
{
	struct string_list list;
	*ret = *base;
	if (names == NULL)
		return 0;
	if (vars_expand_list(config, decl, names, &list, err) < 0)
		return -1;
	if (list.len == 0)
		return 0;
	ret->at = arena_alloc(&config->project->arena, (base->len + list.len) * sizeof(*ret->at));
	if (base->len > 0)
		memcpy(ret->at, base->at, base->len * sizeof(*ret->at));
	for (size_t i = 0; i < list.len; i++) {
		if (!is_variable_name(list.at[i])) {
			yaml_err(err, item_of(names, i), "'%s' cannot be the name of an environment variable",
				 list.at[i]);
			return err_hint(err, "write its name alone");
		}
		size_t at = 0;
		while (at < ret->len && !text_eq(ret->at[at].name, list.at[i]))
			at++;
		if (at == ret->len)
			ret->at[ret->len++] = (struct env_var){list.at[i], NULL};
	}
	return 0;
}

/* "bash" gives {"bash", "-eu", "-c"}; a list is taken as it is, and gets the command as its last argument. */
static int build_shell(struct builder *b, struct err *err)
{
	const struct yaml_node *node = get(b, "shell");
	struct string_list *shell = &b->settings.shell;
	if (node != NULL && node->kind == YAML_SEQ && node->len > 0)
		return vars_expand_list(b->config, b->decl, node, shell, err);
	*shell = b->config->shell;
	if (node == NULL || node->kind == YAML_SEQ)
		return 0;
	shell->at = arena_alloc(b->arena, shell->len * sizeof(*shell->at));
	memcpy(shell->at, b->config->shell.at, shell->len * sizeof(*shell->at));
	if (vars_expand(b->config, b->decl, node, &shell->at[0], err) < 0)
		return -1;
	if (shell->at[0][0] == 0 || strchr(shell->at[0], ' ') != NULL) {
		yaml_err(err, node, "'%s' is not one program", shell->at[0]);
		return err_hint(err, "write a list to give it options: [bash, -euo, pipefail, -c]");
	}
	return 0;
}

static int build_tools(struct builder *b, struct err *err)
{
	const struct yaml_node *tools = get(b, "tools");
	size_t count = items_of(tools);
	b->settings.tools.at = alloc_list(b->arena, count, sizeof(*b->settings.tools.at));
	for (size_t i = 0; i < count; i++) {
		struct tool_ref *tool = &b->settings.tools.at[b->settings.tools.len++];
		const struct yaml_node *item = item_of(tools, i);
		const struct yaml_node *name = item->kind == YAML_MAP ? schema_get(item, "name") : item;
		const struct yaml_node *version = schema_get(item, "version");
		if (name == NULL) {
			yaml_err(err, item, "a tool without its name");
			return err_hint(err, "write {name: PROGRAM, version: [PROGRAM, --version]}");
		}
		if (vars_expand(b->config, b->decl, name, &tool->name, err) < 0)
			return -1;
		if (version == NULL && b->decl->rule != NULL)
			version = map_get(&b->decl->rule->tools, name->text);
		if (vars_expand_list(b->config, b->decl, version, &tool->version_argv, err) < 0)
			return -1;
	}
	return 0;
}

static int build_codes(struct builder *b)
{
	const struct yaml_node *codes = get(b, "success_codes");
	size_t count = items_of(codes);
	b->settings.success_codes.at = alloc_list(b->arena, count, sizeof(*b->settings.success_codes.at));
	for (size_t i = 0; i < count; i++)
		b->settings.success_codes.at[b->settings.success_codes.len++] = (int)item_of(codes, i)->integer;
	return 0;
}

static int build_exit_meanings(struct builder *b, struct err *err)
{
	const struct yaml_node *const maps[] = { get(b, "exit_codes"), get(b, "exit_bits") };
	size_t room = 0;
	for (size_t m = 0; m < ARRAY_LEN(maps); m++)
		room += maps[m] == NULL ? 0 : maps[m]->len;
	b->settings.exit_meanings.at = alloc_list(b->arena, room, sizeof(*b->settings.exit_meanings.at));
	for (size_t m = 0; m < ARRAY_LEN(maps); m++)
		for (size_t i = 0; maps[m] != NULL && i < maps[m]->len; i++) {
			const struct yaml_node *key = maps[m]->pairs[i].key;
			struct exit_meaning *meaning = &b->settings.exit_meanings.at[b->settings.exit_meanings.len];
			uint64_t code;
			bool is_bit = m == 1;
			if (!text_parse_u64(key->text, &code) || code < 1 || code > 255 || (is_bit && (code & (code - 1)) != 0)) {
				yaml_err(err, key, is_bit ? "'%s' is no bit of an exit code" : "'%s' is no exit code of a failure", key->text);
				return err_hint(err, is_bit ? "they are 1, 2, 4, 8, 16, 32, 64 and 128" : "they are whole numbers from 1 to 255");
			}
			*meaning = (struct exit_meaning){ .code = (int)code, .is_bit = is_bit };
			if (vars_expand(b->config, b->decl, maps[m]->pairs[i].value, &meaning->text, err) < 0)
				return -1;
			b->settings.exit_meanings.len++;
		}
	return 0;
}

static int build_ci(struct builder *b, struct err *err)
{
	const struct yaml_node *ci = get(b, "ci"), *node;
	if (ci == NULL || b->decl->matrix != NULL)
		return 0;
	struct ci_options *options = arena_alloc(b->arena, sizeof(*options));
	if ((node = schema_get(ci, "runner")) != NULL &&
	    vars_expand(b->config, b->decl, node, &options->runner, err) < 0)
		return -1;
	if ((node = schema_get(ci, "environment")) != NULL &&
	    vars_expand(b->config, b->decl, node, &options->environment, err) < 0)
		return -1;
	struct env_list none = {0};
	if (env_merge(b->config, b->decl, schema_get(ci, "permissions"), &none, &options->permissions, err) < 0)
		return -1;
	node = schema_get(ci, "skip");
	options->skip = node != NULL && node->boolean;
	b->settings.ci = options;
	return 0;
}

static int build_scalars(struct builder *b, struct err *err)
{
	struct target *target = b->target;
	const struct yaml_node *node;
	const char *text;
	target->desc = "";
	target->dir = dir_of(b);
	if ((node = get(b, "desc")) != NULL && vars_expand(b->config, b->decl, node, &target->desc, err) < 0)
		return -1;
	if ((node = get(b, "dir")) != NULL && project_path(b, node, "dir", &target->dir, err) < 0)
		return -1;
	if (text_eq(target->dir, "."))
		target->dir = "";
	if ((node = get(b, "stamp")) != NULL && project_path(b, node, "stamp", &b->settings.stamp, err) < 0)
		return -1;
	if ((node = get(b, "timeout")) != NULL) {
		if (vars_expand(b->config, b->decl, node, &text, err) < 0)
			return -1;
		if (!text_parse_duration(text, &b->settings.timeout_ms)) {
			yaml_err(err, node, "timeout '%s' is no duration", text);
			return err_hint(err, "write it as 90s, 15m or 1h30m");
		}
	}
	if ((node = get(b, "retries")) != NULL)
		b->settings.retries = (uint64_t)node->integer;
	/* The group of a matrix speaks for its instances there. */
	if (b->decl->matrix == NULL && (node = get(b, "hook")) != NULL)
		target->hook = node->boolean ? HOOK_ON : HOOK_OFF;
	target->is_private = get_bool(b, "private");
	target->always = get_bool(b, "always");
	target->persist = get_bool(b, "persist");
	target->interactive = get_bool(b, "interactive");
	return 0;
}

static int build_pool(struct builder *b, struct err *err)
{
	const struct project *project = b->config->project;
	const struct yaml_node *node = get(b, "pool");
	const char *name;
	VEC(const char *) names = {0};
	if (node == NULL)
		return 0;
	if (vars_expand(b->config, b->decl, node, &name, err) < 0)
		return -1;
	for (size_t i = 0; i < project->pool_count; i++) {
		if (text_eq(project->pools[i].name, name))
			b->settings.pool = &project->pools[i];
		vec_push(&names, project->pools[i].name);
	}
	const char *near = text_nearest(name, names.at, names.len);
	vec_release(&names);
	if (b->settings.pool != NULL)
		return 0;
	yaml_err(err, node, "there is no pool '%s'", name);
	if (near != NULL)
		return err_hint(err, "did you mean '%s'?", near);
	return err_hint(err, "declare it at the top level: pools: {%s: 1}", name);
}

static int build_resources(struct builder *b, struct err *err)
{
	const struct yaml_node *resources = get(b, "resources"), *node;
	const char *text;
	if ((node = schema_get(resources, "cpu")) != NULL)
		b->settings.resources.cpus = (unsigned)node->integer;
	if ((node = schema_get(resources, "gpu")) != NULL)
		b->settings.resources.gpus = (unsigned)node->integer;
	if ((node = schema_get(resources, "memory")) != NULL) {
		if (vars_expand(b->config, b->decl, node, &text, err) < 0)
			return -1;
		if (!text_parse_size(text, &b->settings.resources.memory)) {
			yaml_err(err, node, "memory '%s' is no size", text);
			return err_hint(err, "write it as 8G or 512M");
		}
	}
	b->settings.backoff_ms = BACKOFF_MS;
	if ((node = get(b, "backoff")) != NULL) {
		if (vars_expand(b->config, b->decl, node, &text, err) < 0)
			return -1;
		if (!text_parse_duration(text, &b->settings.backoff_ms)) {
			yaml_err(err, node, "backoff '%s' is no duration", text);
			return err_hint(err, "write it as 500ms, 10s or 2m");
		}
	}
	return build_pool(b, err);
}

static int build_path(struct builder *b, struct err *err)
{
	const struct yaml_node *node = get(b, "path");
	size_t count = items_of(node);
	struct string_list *path = &b->settings.path;
	path->at = alloc_list(b->arena, count, sizeof(*path->at));
	for (; path->len < count; path->len++) {
		const struct yaml_node *item = node->kind == YAML_SEQ ? node->items[path->len] : node;
		if (project_path(b, item, "path", &path->at[path->len], err) < 0)
			return -1;
	}
	return 0;
}

static int check_work(struct builder *b, struct err *err)
{
	struct target *target = b->target;
	bool has_needs = items_of(get(b, "needs")) > 0;
	target->is_alias = target->run.len == 0;
	if (target->is_alias && !has_needs) {
		yaml_err(err, b->decl->key, "target '%s' has nothing to do", target->name);
		return err_hint(err, "give it a command in run:, or targets in needs:");
	}
	if (!target->is_alias && get_bool(b, "alias")) {
		yaml_err(err, get(b, "run"), "an alias runs nothing of its own");
		return err_hint(err, "remove 'run' or 'alias'");
	}
	if (target->is_alias && target->outputs.len > 0) {
		yaml_err(err, items_of(get(b, "outputs")) > 0 ? get(b, "outputs") : get(b, "metrics"),
			 "target '%s' has outputs but no command that writes them", target->name);
		return err_hint(err, "give it a command in run:");
	}
	return 0;
}

/* All instances of a matrix: nothing to run but them. */
static int build_group(struct builder *b, struct err *err)
{
	const struct yaml_node *node = get(b, "desc");
	struct target *target = b->target;
	target->desc = target->dir = "";
	target->is_alias = true;
	target->is_private = get_bool(b, "private");
	b->settings.shell = b->config->shell;
	if (node != NULL && vars_expand(b->config, b->decl, node, &target->desc, err) < 0)
		return -1;
	if ((node = get(b, "hook")) != NULL)
		target->hook = node->boolean ? HOOK_ON : HOOK_OFF;
	return build_ci(b, err);
}

static void name_origin(struct builder *b)
{
	struct config *config = b->config;
	b->target->inferred = b->decl->rule != NULL;
	b->target->origin = b->decl->space != NULL ? b->decl->space->file : config->project->config_path;
	if (b->target->inferred) {
		OWNED char *origin = mem_printf("rule:%s", b->decl->rule->name);
		b->target->origin = config_keep(config, origin);
	}
}

static int build_environment(struct builder *b, struct err *err)
{
	struct config *config = b->config;
	const struct space *space = b->decl->space;
	if (env_merge(config, b->decl, get(b, "env"), space ? &space->env : &config->env, &b->settings.env, err) < 0 ||
	    env_merge_names(config, b->decl, get(b, "pass_env"), space ? &space->pass_env : &config->pass_env, &b->settings.pass_env, err) < 0)
		return -1;
	return env_merge_names(config, b->decl, get(b, "secrets"), space ? &space->secrets : &config->secrets, &b->settings.secrets, err);
}

static int build(struct builder *b, size_t index, struct err *err)
{
	struct config *config = b->config;
	struct target *target = b->target;
	target->id = (uint32_t)index;
	target->name = b->decl->name;
	target->place = config_place(config, b->decl->key);
	name_origin(b);
	if (b->decl->is_group)
		return build_group(b, err);
	if (target_build_outputs(config, index, err) < 0 || build_scalars(b, err) < 0 || build_inputs(b, err) < 0 ||
	    build_params(b, err) < 0 || build_shell(b, err) < 0 || build_tools(b, err) < 0 || build_codes(b) < 0 || build_exit_meanings(b, err) < 0 ||
	    build_ci(b, err) < 0 || build_path(b, err) < 0 || build_resources(b, err) < 0)
		return -1;
	if (vars_expand_list(config, b->decl, get(b, "run"), &target->run, err) < 0)
		return -1;
	if (build_environment(b, err) < 0)
		return -1;
	return check_work(b, err);
}

static const struct target_settings *share(struct config *config, const struct target_settings *settings)
{
	size_t count = config->settings.len;
	for (size_t i = count; i > 0 && count - i < SETTINGS_NEAR; i--)
		if (memcmp(config->settings.at[i - 1], settings, sizeof(*settings)) == 0)
			return config->settings.at[i - 1];
	struct target_settings *kept = arena_alloc(&config->project->arena, sizeof(*kept));
	memcpy(kept, settings, sizeof(*kept));
	vec_push(&config->settings, kept);
	return kept;
}

int target_build(struct config *config, size_t index, struct err *err)
{
	struct builder b = builder_of(config, index);
	int failed = build(&b, index, err);
	b.target->settings = share(config, &b.settings);
	return failed ? err_note(err, "in target '%s'", b.decl->name) : 0;
}
