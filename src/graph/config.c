/* mlmake.yaml: read, validated, declared. The rest of src/graph makes targets and edges of it. */
#include "graph/internal.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "graph/schema.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define MAX_TARGETS 5000000

int project_find_root(const char *dir, struct buf *ret_root, struct err *err)
{
	struct buf start CLEANUP(buf_release) = BUF_INIT;
	struct buf at CLEANUP(buf_release) = BUF_INIT;
	struct buf git_root CLEANUP(buf_release) = BUF_INIT;
	if (dir == NULL || *dir != '/') {
		struct buf cwd CLEANUP(buf_release) = BUF_INIT;
		if (path_cwd(&cwd, err) < 0)
			return -1;
		path_join(&start, cwd.data, dir ? dir : ".");
	} else {
		buf_addstr(&start, dir);
	}
	path_normalize(&at, start.data);
	buf_setstr(&start, at.data);
	for (;;) {
		char *config OWNED = path_joined(at.data, CONFIG_NAME);
		if (fs_is_file(config)) {
			buf_addstr(ret_root, at.data);
			return 0;
		}
		char *git OWNED = path_joined(at.data, ".git");
		if (git_root.len == 0 && fs_exists(git))
			buf_addstr(&git_root, at.data);
		if (text_eq(at.data, "/"))
			break;
		struct buf parent CLEANUP(buf_release) = BUF_INIT;
		path_dir(&parent, at.data);
		buf_setstr(&at, parent.data);
	}
	buf_addstr(ret_root, git_root.len > 0 ? git_root.data : start.data);
	return 0;
}

static struct yaml_doc *new_doc(struct config *config, const char *shown_as, bool built_in)
{
	struct yaml_doc *doc = mem_alloc(sizeof(*doc));
	struct source_file source = { .file = config_keep(config, shown_as), .built_in = built_in };
	buf_init(&source.text);
	vec_push(&config->docs, doc);
	vec_push(&config->project->internal->sources, source);
	return doc;
}

const char *config_keep(struct config *config, const char *text)
{
	return intern_str(&config->strings, text);
}

struct place config_place(const struct config *config, const struct yaml_node *node)
{
	const struct span span = yaml_span(node);
	return config_span_place(config, &span);
}

/* A document's positions all name its file by the same pointer. */
struct place config_span_place(const struct config *config, const struct span *span)
{
	size_t source = config->docs.len;
	while (source > 0 && config->docs.at[source - 1]->file != span->file)
		source--;
	return (struct place){ .line = span->line,
			       .col = span->col,
			       .len = (uint16_t)(span->len <= UINT16_MAX ? span->len : 0),
			       .source = (uint16_t)(source <= UINT16_MAX ? source : 0) };
}

static int parse_config(struct config *config, struct yaml_doc *doc, const char *path, struct err *err)
{
	const struct project_overlay *overlay = config->options->overlay;
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	char *full OWNED = path_joined(config->project->root, path);
	bool exists = false;
	int known = overlay == NULL ? 0 : overlay->read(overlay->ctx, path, &bytes, &exists, err);
	if (known < 0)
		return -1;
	if (known == 0)
		return yaml_parse_file(doc, full, path, err);
	if (exists)
		return yaml_parse(doc, path, bytes.data, bytes.len, err);
	err_set(err, ERR_CONFIG, "there is no '%s'", path);
	err->sys_errno = ENOENT;
	return -1;
}

int config_read_yaml(struct config *config, const char *path, const struct yaml_node **ret_root, struct err *err)
{
	struct yaml_doc *doc = new_doc(config, path, false);
	if (parse_config(config, doc, path, err) < 0) {
		/* Within [...] and {...} a brace ends a plain value. */
		const char *text = err->span.text;
		if (text != NULL && strstr(text, "${") != NULL && strpbrk(text, "[{,") < strstr(text, "${"))
			err_hint(err, "a value with ${...} needs quotes inside [...] and {...}: ['${name}/x']");
		else if (err->hint == NULL)
			err_hint(err, "mend %s at this place", path);
		return -1;
	}
	*ret_root = doc->root;
	return 0;
}

int config_parse_yaml(struct config *config, const char *shown_as, bool built_in, const char *bytes, size_t len,
		      const struct yaml_node **ret_root, struct err *err)
{
	struct yaml_doc *doc = new_doc(config, shown_as, built_in);
	if (yaml_parse(doc, shown_as, bytes, len, err) < 0)
		return -1;
	*ret_root = doc->root;
	return 0;
}

static int check_name(const struct yaml_node *key, struct err *err)
{
	const char *bad = *key->text == '-' ? key->text : NULL;
	for (const char *p = key->text; *p != 0 && bad == NULL; p++)
		if ((unsigned char)*p < 0x80 && !isalnum((unsigned char)*p) && strchr("_-.:/+", *p) == NULL)
			bad = p;
	if (*key->text != 0 && bad == NULL)
		return 0;
	yaml_err(err, key, "'%s' cannot be the name of a target", key->text);
	return err_hint(err, "names are letters, digits and _ - . : / +, and do not begin with -");
}

size_t config_find(const struct config *config, const struct space *space, const char *name)
{
	for (; space != NULL; space = space->parent) {
		char *full OWNED = mem_printf("%s%s", space->name, name);
		size_t found = (size_t)(uintptr_t)map_get(&config->decl_index, full);
		if (found != 0)
			return found;
	}
	return (size_t)(uintptr_t)map_get(&config->decl_index, name);
}

int config_declare(struct config *config, struct space *space, const struct yaml_node *targets, struct err *err)
{
	for (size_t i = 0; targets != NULL && i < targets->len; i++) {
		const struct yaml_node *key = targets->pairs[i].key;
		if (check_name(key, err) < 0)
			return -1;
		char *name OWNED = mem_printf("%s%s", space ? space->name : "", key->text);
		if (!map_set(&config->decl_index, name, (void *)(uintptr_t)(config->decls.len + 1))) {
			yaml_err(err, key, "there are two targets '%s'", name);
			return err_hint(err, "rename one of them, or include the file under another name: {path: FILE, as: NAME}");
		}
		vec_push(&config->decls, (struct decl){.name = config_keep(config, name), .space = space, .key = key, .body = targets->pairs[i].value});
	}
	if (config->decls.len <= MAX_TARGETS)
		return 0;
	yaml_err(err, targets, "more than %d targets", MAX_TARGETS);
	return err_hint(err, "split the repository");
}

/* A file that is meant but not read would leave one with what rules infer, and with no word why. */
static int refuse_misnamed(const char *root, struct err *err)
{
	char *path OWNED = path_joined(root, "mlmake.yml");
	if (!fs_exists(path))
		return 0;
	err_set(err, ERR_CONFIG, "the configuration must be called " CONFIG_NAME ", and there is mlmake.yml");
	return err_hint(err, "mv mlmake.yml " CONFIG_NAME);
}

static int read_config(struct config *config, struct err *err)
{
	struct project *project = config->project;
	char *standard OWNED = path_joined(project->root, CONFIG_NAME);
	const char *file = config->options->config_file;
	if (file != NULL) {
		struct buf cwd CLEANUP(buf_release) = BUF_INIT;
		struct buf full CLEANUP(buf_release) = BUF_INIT;
		struct buf normal CLEANUP(buf_release) = BUF_INIT;
		struct buf shown CLEANUP(buf_release) = BUF_INIT;
		if (path_cwd(&cwd, err) < 0)
			return -1;
		path_join(&full, cwd.data, file);
		path_normalize(&normal, full.data);
		path_relative(&shown, project->root, normal.data);
		project->config_path = arena_strdup(&project->arena, shown.data);
	} else if (fs_exists(standard)) {
		project->config_path = CONFIG_NAME;
	} else {
		return refuse_misnamed(project->root, err);
	}
	if (config_read_yaml(config, project->config_path, &config->root, err) < 0) {
		if (err->sys_errno == ENOENT) {
			err_set(err, ERR_CONFIG, "there is no configuration '%s'", file ? file : CONFIG_NAME);
			return err_hint(err, "-f takes a file that exists; 'mlmake init' writes one");
		}
		return -1;
	}
	if (schema_check(config->root, "", config_keys, err) < 0)
		return -1;
	return config_check_version(config->root, err);
}

int config_check_version(const struct yaml_node *root, struct err *err)
{
	const struct yaml_node *version = schema_get(root, "version");
	if (version != NULL && version->integer != 1) {
		yaml_err(err, version, "version %lld of the language is not known", (long long)version->integer);
		return err_hint(err, "this mlmake reads version 1; a newer mlmake may know more");
	}
	return 0;
}

static int build_ci(struct config *config, struct err *err)
{
	const struct yaml_node *ci = schema_get(config->root, "ci"), *node;
	struct project *project = config->project;
	struct ci_settings *settings = &project->ci;
	if ((node = schema_get(ci, "install")) != NULL && vars_expand(config, NULL, node, &settings->install, err) < 0)
		return -1;
	if ((node = schema_get(ci, "schedule")) != NULL &&
	    vars_expand(config, NULL, node, &settings->schedule, err) < 0)
		return -1;
	if ((node = schema_get(ci, "path")) != NULL && vars_expand(config, NULL, node, &settings->path, err) < 0)
		return -1;
	if (vars_expand_list(config, NULL, schema_get(ci, "targets"), &settings->targets, err) < 0 ||
	    vars_expand_list(config, NULL, schema_get(ci, "branches"), &settings->branches, err) < 0)
		return -1;
	if (settings->branches.len == 0) {
		settings->branches = (struct string_list){ arena_alloc(&project->arena, sizeof(*settings->branches.at)), 1 };
		settings->branches.at[0] = "main";
	}
	for (size_t i = 0; i < settings->targets.len; i++)
		if (!project_find(project, settings->targets.at[i])) {
			node = schema_get(ci, "targets");
			yaml_err(err, node->kind == YAML_SEQ ? node->items[i] : node, "unknown target '%s'",
				 settings->targets.at[i]);
			return hint_target(project, settings->targets.at[i], err);
		}
	return 0;
}

static int build_cache(struct config *config, struct err *err)
{
	const struct yaml_node *cache = schema_get(config->root, "cache"), *push = schema_get(cache, "push"), *node;
	struct cache_settings *settings = &config->project->cache;
	const char *text;
	if ((node = schema_get(cache, "remote")) != NULL && vars_expand(config, NULL, node, &settings->remote, err) < 0)
		return -1;
	if (settings->remote != NULL && *settings->remote == 0)
		settings->remote = NULL;
	if (push != NULL)
		settings->push = text_eq(push->text, "always") ? CACHE_PUSH_ALWAYS : text_eq(push->text, "never") ? CACHE_PUSH_NEVER : CACHE_PUSH_CI;
	if ((node = schema_get(cache, "timeout")) == NULL)
		return 0;
	if (vars_expand(config, NULL, node, &text, err) < 0)
		return -1;
	if (text_parse_duration(text, &settings->timeout_ms) && settings->timeout_ms > 0)
		return 0;
	yaml_err(err, node, "cache.timeout is '%s', which is no duration", text);
	return err_hint(err, "write it as 10s or 1m");
}

static int build_default(struct config *config, struct err *err)
{
	const struct yaml_node *node = schema_get(config->root, "default");
	if (node == NULL)
		return 0;
	config->project->default_target = config_keep(config, node->text);
	if (project_find(config->project, node->text))
		return 0;
	yaml_err(err, node, "unknown target '%s'", node->text);
	return hint_target(config->project, node->text, err);
}

/* The outermost file that declares a pool says how much of it there is. */
static bool has_pool(const struct project *project, const char *name)
{
	for (size_t i = 0; i < project->pool_count; i++)
		if (text_eq(project->pools[i].name, name))
			return true;
	return false;
}

static int add_pools(struct config *config, const struct yaml_node *pools, struct err *err)
{
	struct project *project = config->project;
	for (size_t i = 0; pools != NULL && i < pools->len; i++) {
		const struct yaml_node *value = pools->pairs[i].value;
		if (has_pool(project, pools->pairs[i].key->text))
			continue;
		uint64_t limit;
		if (!text_parse_u64(value->text, &limit) || limit < 1 || limit > 1000000) {
			yaml_err(err, value, "pool '%s' has no limit of '%s'", pools->pairs[i].key->text, value->text);
			return err_hint(err, "it is a whole number from 1: how many of its targets run at once");
		}
		project->pools[project->pool_count++] = (struct pool_limit){config_keep(config, pools->pairs[i].key->text), (unsigned)limit};
	}
	return 0;
}

static int build_pools(struct config *config, struct err *err)
{
	const struct yaml_node *pools = schema_get(config->root, "pools");
	size_t room = pools != NULL ? pools->len : 0;
	for (size_t i = 0; i < config->spaces.len; i++) {
		const struct yaml_node *more = schema_get(config->spaces.at[i]->root, "pools");
		room += more != NULL ? more->len : 0;
	}
	config->project->pools = arena_alloc(&config->project->arena, (room + 1) * sizeof(*config->project->pools));
	if (add_pools(config, pools, err) < 0)
		return -1;
	for (size_t i = 0; i < config->spaces.len; i++)
		if (add_pools(config, schema_get(config->spaces.at[i]->root, "pools"), err) < 0)
			return -1;
	return 0;
}

static int build_targets(struct config *config, struct err *err)
{
	static const char *const shell[] = {"sh", "-eu", "-c"};
	struct project *project = config->project;
	struct env_list none = {0};
	config->shell = (struct string_list){arena_alloc(&project->arena, sizeof(shell)), ARRAY_LEN(shell)};
	memcpy(config->shell.at, shell, sizeof(shell));
	if (env_merge(config, NULL, schema_get(config->root, "env"), &none, &config->env, err) < 0 ||
	    env_merge_names(config, NULL, schema_get(config->root, "pass_env"), &none, &config->pass_env, err) < 0 ||
	    env_merge_names(config, NULL, schema_get(config->root, "secrets"), &none, &config->secrets, err) < 0)
		return -1;
	if (include_environments(config, err) < 0)
		return -1;
	for (size_t i = 0; i < project->target_count; i++)
		if (target_build(config, i, err) < 0)
			return -1;
	project_index_targets(project);
	return 0;
}

static int load(struct config *config, struct err *err)
{
	struct project *project = config->project;
	if (read_config(config, err) < 0 ||
	    vars_declare(config, &config->vars, schema_get(config->root, "vars"), err) < 0)
		return -1;
	for (size_t i = 0; i < config->options->overrides.len; i++)
		if (vars_override(config, config->options->overrides.at[i], err) < 0)
			return -1;
	if (config_declare(config, NULL, schema_get(config->root, "targets"), err) < 0 || include_declare(config, err) < 0 ||
	    rules_apply(config, err) < 0 || matrix_expand(config, err) < 0)
		return -1;
	project->target_count = config->decls.len;
	project->targets = arena_alloc(&project->arena, (project->target_count + 1) * sizeof(*project->targets));
	if (build_pools(config, err) < 0 || build_targets(config, err) < 0 || graph_link(config, err) < 0 || build_default(config, err) < 0 ||
	    build_ci(config, err) < 0 || build_cache(config, err) < 0)
		return -1;
	return vars_check_overrides(config, err);
}

static void config_release(struct config *config)
{
	for (size_t i = 0; i < config->docs.len; i++) {
		yaml_release(config->docs.at[i]);
		free(config->docs.at[i]);
	}
	vec_release(&config->docs);
	intern_release(&config->strings);
	for (size_t i = 0; i < config->decls.len; i++)
		vec_release(&config->decls.at[i].refs);
	for (size_t i = 0; i < config->rules.len; i++) {
		map_release(&config->rules.at[i]->vars);
		map_release(&config->rules.at[i]->tools);
	}
	vec_release(&config->rules);
	vec_release(&config->settings);
	for (size_t i = 0; i < config->spaces.len; i++)
		map_release(&config->spaces.at[i]->vars);
	vec_release(&config->spaces);
	vec_release(&config->decls);
	vec_release(&config->busy_vars);
	map_release(&config->decl_index);
	map_release(&config->vars);
	map_release(&config->param_overrides);
	map_release(&config->params_docs);
	map_release(&config->params_used);
}

int graph_load(struct project *project, const struct project_options *options, struct err *err)
{
	struct config config = {.project = project, .options = options, .strings = INTERN_INIT(&project->arena)};
	int result = load(&config, err);
	config_release(&config);
	return result;
}
