/*
 * include: other files of targets, mostly of the parts of a repository that have a mlmake.yaml of their own. Such a file means the same as when
 * mlmake is called beside it: its paths are relative to its directory, its names are its own first, and only then those of who includes it.
 * `default`, `rules`, `ci`, `cache` and `data` are settings of a whole project: those of an included file do not count.
 */
#include "graph/internal.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/ignore.h"
#include "graph/schema.h"

#include <ctype.h>
#include <string.h>

#define MAX_DEPTH 20
#define MAX_FILES 10000

static int include_files(struct config *config, struct space *parent, const struct yaml_node *root, unsigned depth, struct err *err);

static int check_circle(const struct config *config, const struct space *parent, const char *file, const struct yaml_node *node, struct err *err)
{
	bool again = text_eq(config->project->config_path, file);
	for (const struct space *space = parent; space != NULL; space = space->parent)
		again = again || text_eq(space->file, file);
	if (!again)
		return 0;
	yaml_err(err, node, "'%s' includes itself", file);
	return err_hint(err, "files include each other in one direction only");
}

static int check_prefix(const struct yaml_node *node, const char *name, struct err *err)
{
	bool good = *name != 0 && *name != '-';
	for (const char *p = name; *p != 0; p++)
		good = good && ((unsigned char)*p >= 0x80 || isalnum((unsigned char)*p) || strchr("_-./+", *p) != NULL);
	if (good)
		return 0;
	yaml_err(err, node, "targets cannot be called '%s:...'", name);
	return err_hint(err, "choose the name that they get: include: [{path: FILE, as: NAME}]");
}

/* A directory stands for the mlmake.yaml in it. */
static int find_file(struct config *config, struct decl *from, const struct yaml_node *node, const char **ret, struct err *err)
{
	const char *text;
	if (vars_expand(config, from, node, &text, err) < 0 ||
	    config_path(config, from->space ? from->space->dir : "", node, text, "the included file", ret, err) < 0)
		return -1;
	char *full OWNED = path_joined(config->project->root, *ret);
	if (fs_is_dir(full)) {
		char *inside OWNED = path_joined(*ret, CONFIG_NAME);
		char *inside_full OWNED = path_joined(full, CONFIG_NAME);
		*ret = config_keep(config, inside);
		if (fs_is_file(inside_full))
			return 0;
	} else if (fs_is_file(full)) {
		return 0;
	}
	yaml_err(err, node, "there is no file '%s' to include", *ret);
	return err_hint(err, "the path is relative to the directory of the file that says include");
}

static int name_space(struct config *config, struct space *space, const struct yaml_node *item, struct err *err)
{
	const struct yaml_node *as = item->kind == YAML_MAP ? schema_get(item, "as") : NULL;
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	path_dir(&dir, space->file);
	space->dir = config_keep(config, text_eq(dir.data, ".") ? "" : dir.data);
	const char *file = path_base(space->file);
	/* services/api/mlmake.yaml is api, ci/checks.yaml is checks. */
	char *stem OWNED = text_eq(file, CONFIG_NAME) && *space->dir ? mem_strdup(path_base(space->dir)) : mem_strndup(file, strcspn(file, "."));
	const char *name = as != NULL ? as->text : stem;
	if (check_prefix(as != NULL ? as : item, name, err) < 0)
		return -1;
	char *full OWNED = mem_printf("%s%s:", space->parent ? space->parent->name : "", name);
	space->name = config_keep(config, full);
	if (!glob_has_magic(space->dir))
		return 0;
	yaml_err(err, item, "'%s' lies in a directory whose name reads as a glob", space->file);
	return err_hint(err, "rename the directory");
}

static int merge_environment(struct config *config, struct space *space, struct err *err)
{
	struct decl top = {.name = space->name, .space = space, .is_file = true};
	const struct space *parent = space->parent;
	int result = env_merge(config, &top, schema_get(space->root, "env"), parent ? &parent->env : &config->env, &space->env, err);
	if (result == 0)
		result = env_merge_names(config, &top, schema_get(space->root, "pass_env"), parent ? &parent->pass_env : &config->pass_env,
					 &space->pass_env, err);
	if (result == 0)
		result = env_merge_names(config, &top, schema_get(space->root, "secrets"), parent ? &parent->secrets : &config->secrets,
					 &space->secrets, err);
	vec_release(&top.refs);
	return result;
}

int include_environments(struct config *config, struct err *err)
{
	/* A file comes before those that it includes. */
	for (size_t i = 0; i < config->spaces.len; i++)
		if (merge_environment(config, config->spaces.at[i], err) < 0)
			return -1;
	return 0;
}

static int include_file(struct config *config, struct space *parent, const struct yaml_node *item, unsigned depth, struct err *err)
{
	struct decl from = {.name = parent ? parent->name : "", .space = parent, .is_file = true};
	const struct yaml_node *path = item->kind == YAML_MAP ? schema_get(item, "path") : item;
	struct space *space = arena_alloc(&config->project->arena, sizeof(*space));
	if (path == NULL) {
		yaml_err(err, item, "an include without its path");
		return err_hint(err, "write {path: FILE, as: NAME}");
	}
	space->parent = parent;
	if (find_file(config, &from, path, &space->file, err) < 0 || check_circle(config, parent, space->file, path, err) < 0 ||
	    name_space(config, space, item, err) < 0)
		return -1;
	if (depth >= MAX_DEPTH || config->spaces.len >= MAX_FILES) {
		yaml_err(err, item, "files are included more than %d deep, or more than %d of them", MAX_DEPTH, MAX_FILES);
		return err_hint(err, "include them from one place");
	}
	vec_push(&config->spaces, space);
	if (config_read_yaml(config, space->file, &space->root, err) < 0 || schema_check(space->root, "", config_keys, err) < 0 ||
	    config_check_version(space->root, err) < 0 || vars_declare(config, &space->vars, schema_get(space->root, "vars"), err) < 0 ||
	    config_declare(config, space, schema_get(space->root, "targets"), err) < 0)
		return -1;
	return include_files(config, space, space->root, depth + 1, err);
}

static int include_files(struct config *config, struct space *parent, const struct yaml_node *root, unsigned depth, struct err *err)
{
	const struct yaml_node *list = schema_get(root, "include");
	size_t count = list == NULL ? 0 : list->kind == YAML_SEQ ? list->len : 1;
	for (size_t i = 0; i < count; i++)
		if (include_file(config, parent, list->kind == YAML_SEQ ? list->items[i] : list, depth, err) < 0)
			return -1;
	return 0;
}

int include_declare(struct config *config, struct err *err)
{
	return include_files(config, NULL, config->root, 0, err);
}
