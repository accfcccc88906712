/*
 * data config: any option of the config files.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/config_edit.h"

#include <string.h>

enum kind { TEXT, BOOLEAN, NUMBER, PATH, LINKS, GROUP };

/* The options that dvc knows; any other makes it refuse the whole file. Remotes have a table of their own. */
static const struct {
	const char *name;
	enum kind kind;
} known[] = {
	{ "core.remote", TEXT },
	{ "core.checksum_jobs", NUMBER },
	{ "core.interactive", BOOLEAN },
	{ "core.analytics", BOOLEAN },
	{ "core.hardlink_lock", BOOLEAN },
	{ "core.no_scm", BOOLEAN },
	{ "core.autostage", BOOLEAN },
	{ "core.check_update", BOOLEAN },
	{ "core.site_cache_dir", TEXT },
	{ "cache.dir", PATH },
	{ "cache.type", LINKS },
	{ "cache.shared", GROUP },
	{ "cache.slow_link_warning", BOOLEAN },
	{ "cache.verify", BOOLEAN },
	{ "exp.auto_push", BOOLEAN },
	{ "exp.git_remote", TEXT },
	{ "parsing.bool", TEXT },
	{ "parsing.list", TEXT },
	{ "hydra.enabled", BOOLEAN },
	{ "hydra.config_dir", TEXT },
	{ "hydra.config_name", TEXT },
	{ "hydra.plugins_path", TEXT },
	{ "plots.html_template", TEXT },
	{ "plots.auto_open", BOOLEAN },
	{ "plots.out_dir", TEXT },
	{ "studio.token", TEXT },
	{ "studio.url", TEXT },
	{ "studio.repo_url", TEXT },
	{ "studio.offline", BOOLEAN },
};

static int find_kind(const char *name, enum kind *ret, struct err *err)
{
	const char *names[ARRAY_LEN(known)];
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		names[i] = known[i].name;
		if (strcasecmp(known[i].name, name) != 0)
			continue;
		*ret = known[i].kind;
		return 0;
	}
	const char *near = text_nearest(name, names, ARRAY_LEN(names));
	err_set(err, ERR_CONFIG, "there is no option '%s'", name);
	return near ? err_hint(err, "did you mean '%s'?", near) : err_hint(err, "section.option, or remote.NAME.option: core.remote, cache.dir");
}

static bool is_links(const char *value)
{
	static const char *const types[] = { "reflink", "hardlink", "symlink", "copy" };
	size_t count = 0;
	for (const char *at = value; *at; count++) {
		bool good = false;
		at += strspn(at, ", ");
		size_t len = strcspn(at, ", ");
		for (size_t i = 0; i < ARRAY_LEN(types); i++)
			good = good || (strlen(types[i]) == len && strncmp(types[i], at, len) == 0);
		if (!good)
			return false;
		at += len;
	}
	return count > 0;
}

static int check_value(const char *name, enum kind kind, const char *value, struct err *err)
{
	uint64_t number;
	const char *wanted = NULL;
	if (kind == BOOLEAN && strcasecmp(value, "true") != 0 && strcasecmp(value, "false") != 0)
		wanted = "true or false";
	if (kind == NUMBER && (!text_parse_u64(value, &number) || !number))
		wanted = "a number above 0";
	if (kind == LINKS && !is_links(value))
		wanted = "a list of reflink, hardlink, symlink, copy";
	if (kind == GROUP && !text_eq(value, "group"))
		wanted = "group";
	return wanted ? err_set(err, ERR_CONFIG, "'%s' must be %s, not '%s'", name, wanted, value) : 0;
}

struct option_name {
	char *section; /* as in the file: core, remote "x" */
	char *remote;  /* NULL: of no remote */
	char *option;
};

static void option_name_release(struct option_name *name)
{
	free(name->section);
	free(name->remote);
	free(name->option);
}

static int split_name(const char *text, struct option_name *ret, struct err *err)
{
	const char *first = strchr(text, '.'), *last = strrchr(text, '.');
	if (!first || first == text || !last[1]) {
		err_set(err, ERR_CONFIG, "'%s' is no name of an option", text);
		return err_hint(err, "section.option, or remote.NAME.option: core.remote, cache.dir");
	}
	ret->option = mem_strdup(last + 1);
	if (strncmp(text, "remote.", 7) == 0 && last > first + 1) {
		ret->remote = mem_strndup(first + 1, (size_t)(last - first - 1));
		ret->section = config_remote_section(ret->remote);
		return 0;
	}
	ret->section = mem_strndup(text, (size_t)(last - text));
	return 0;
}

static bool is_path(const char *section, const char *option)
{
	if (text_starts(section, "remote "))
		return text_eq(option, "url") || text_eq(option, "credentialpath") || text_eq(option, "configpath");
	return text_eq(section, "cache") && text_eq(option, "dir");
}

static void take_key(struct data_repo *repo, enum data_level level, const struct ini_key *key, struct data_settings *ret)
{
	bool path = is_path(key->section, key->name) && !strstr(key->value, "://");
	char *value = path ? config_resolve_path(&repo->config, level, key->value) : mem_strdup(key->value);
	size_t len = strlen(key->section);
	bool remote = text_starts(key->section, "remote \"") && len > 9;
	struct data_setting setting = { .value = value, .level = level, .file = mem_strdup(repo->config.paths[level]) };
	setting.name = remote ? mem_printf("remote.%.*s.%s", (int)(len - 9), key->section + 8, key->name)
			      : mem_printf("%s.%s", key->section, key->name);
	vec_push(ret, setting);
}

int data_config_get(struct data_repo *repo, int level, const char *name, struct data_settings *ret, struct err *err)
{
	struct option_name wanted CLEANUP(option_name_release) = { NULL, NULL, NULL };
	*ret = (struct data_settings){ .at = NULL };
	if (name && split_name(name, &wanted, err) < 0)
		return -1;
	for (int at = 0; at < DATA_LEVELS; at++) {
		const struct ini *ini = &repo->config.files[at];
		if (level != DATA_ANY_LEVEL && level != at)
			continue;
		for (size_t i = 0; i < ini->keys.len; i++) {
			const struct ini_key *key = &ini->keys.at[i];
			enum data_level counts = (enum data_level)at;
			if (level == DATA_ANY_LEVEL && config_get(&repo->config, key->section, key->name, &counts) && counts != (enum data_level)at)
				continue;
			if (!name || (strcasecmp(key->section, wanted.section) == 0 && strcasecmp(key->name, wanted.option) == 0))
				take_key(repo, (enum data_level)at, key, ret);
		}
	}
	return 0;
}

void data_settings_release(struct data_settings *settings)
{
	for (size_t i = 0; i < settings->len; i++) {
		free(settings->at[i].name);
		free(settings->at[i].value);
		free(settings->at[i].file);
	}
	vec_release(settings);
}

static int edit(struct data_repo *repo, enum data_level level, const struct option_name *name, enum kind kind, const char *value,
		struct err *err)
{
	struct ini *ini = &repo->config.files[level];
	bool found = true;
	char *stored OWNED = value && kind == PATH ? config_stored_path(repo, level, value) : mem_strdup(value);
	int status = value ? ini_set(ini, name->section, name->option, stored, err)
			   : ini_remove_key(ini, name->section, name->option, &found, err);
	if (status == 0 && !found) {
		err_set(err, ERR_CONFIG, "'%s.%s' is not set in %s", name->section, name->option, repo->config.paths[level]);
		return err_hint(err, "mlmake data config --list --show-origin says where options are set");
	}
	return status < 0 ? -1 : config_edit_save(repo, level, err);
}

int data_config_set(struct data_repo *repo, enum data_level level, const char *name, const char *value, struct err *err)
{
	struct option_name parts CLEANUP(option_name_release) = { NULL, NULL, NULL };
	enum kind kind;
	if (split_name(name, &parts, err) < 0)
		return -1;
	if (parts.remote) {
		/* An url is what makes a remote. */
		if (value && text_eq(parts.option, "url"))
			return data_remote_add(repo, level, parts.remote, value, false, true, err);
		return data_remote_modify(repo, level, parts.remote, parts.option, value, err);
	}
	if (find_kind(name, &kind, err) < 0 || (value && check_value(name, kind, value, err) < 0) ||
	    config_edit_begin(repo, level, err) < 0)
		return -1;
	int status = edit(repo, level, &parts, kind, value, err);
	repo_unlock(repo);
	return status;
}
