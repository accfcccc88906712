/*
 * data remote: edits of the config files that change one line and leave the others alone.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/config_edit.h"
#include "features/data/packed.h"

#include <string.h>

static const char *level_option(enum data_level level)
{
	static const char *const names[DATA_LEVELS] = { "--system ", "--global ", "", "--local " };
	return names[level];
}

static int check_level(const struct data_repo *repo, enum data_level level, struct err *err)
{
	if (repo->config.paths[level])
		return 0;
	err_set(err, ERR_CONFIG, "there is no place for a global configuration: HOME is not set");
	return err_hint(err, "set HOME or DVC_GLOBAL_CONFIG_DIR");
}

int config_edit_save(struct data_repo *repo, enum data_level level, struct err *err)
{
	const char *path = repo->config.paths[level];
	if (fs_mkdirs_for(path, err) < 0)
		return -1;
	return ini_write(&repo->config.files[level], path, err);
}

int config_edit_begin(struct data_repo *repo, enum data_level level, struct err *err)
{
	if (check_level(repo, level, err) < 0 || repo_lock(repo, err) < 0)
		return -1;
	/* Somebody may have changed the files before the lock was ours. */
	struct data_config fresh;
	if (config_load(&fresh, repo->root, err) < 0) {
		config_release(&fresh);
		repo_unlock(repo);
		return -1;
	}
	config_release(&repo->config);
	repo->config = fresh;
	return 0;
}

static int check_name(const char *name, struct err *err)
{
	if (*name && !strpbrk(name, "\"'[]\n\r#") && text_is_utf8(name, strlen(name)))
		return 0;
	err_set(err, ERR_CONFIG, "'%s' is no name for a remote", name);
	return err_hint(err, "use letters, digits, '-' and '_'");
}

char *config_stored_path(const struct data_repo *repo, enum data_level level, const char *value)
{
	if (strstr(value, "://") || value[0] == '/' || value[0] == '~')
		return mem_strdup(value);
	struct buf joined CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT, dir CLEANUP(buf_release) = BUF_INIT;
	struct buf out = BUF_INIT;
	path_join(&joined, repo->cwd, value);
	path_normalize(&path, joined.data);
	path_dir(&dir, repo->config.paths[level]);
	path_relative(&out, dir.data, path.data);
	return buf_detach(&out);
}

static bool exists_at(const struct data_repo *repo, enum data_level level, const char *name)
{
	char *section OWNED = config_remote_section(name);
	return ini_has_section(&repo->config.files[level], section);
}

static int check_exists(const struct data_repo *repo, enum data_level level, const char *name, struct err *err)
{
	if (exists_at(repo, level, name))
		return 0;
	err_set(err, ERR_CONFIG, "there is no remote '%s' in %s", name, repo->config.paths[level]);
	for (int other = 0; other < DATA_LEVELS; other++)
		if (exists_at(repo, (enum data_level)other, name))
			return err_hint(err, "it is in %s: give %s", repo->config.paths[other],
					other == DATA_PROJECT ? "no level" : level_option((enum data_level)other));
	return err_hint(err, "mlmake data remote list shows those there are");
}

static int check_url(const char *name, const char *url, struct err *err)
{
	size_t scheme = strspn(url, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
	const char *example;
	if ((text_starts(url, "remote://") && url[9] && url[9] != '/') ||
	    (!remote_url_is_slip(url, &example) && (!scheme || !text_starts(url + scheme, "://"))))
		return 0;
	return remote_check_url(name, url, err);
}

int data_remote_add(struct data_repo *repo, enum data_level level, const char *name, const char *url, bool make_default, bool force,
		    struct err *err)
{
	if (check_name(name, err) < 0 || check_url(name, url, err) < 0 || config_edit_begin(repo, level, err) < 0)
		return -1;
	struct ini *ini = &repo->config.files[level];
	char *section OWNED = config_remote_section(name);
	char *value OWNED = config_stored_path(repo, level, url);
	int status = 0;
	if (ini_has_section(ini, section) && !force) {
		err_set(err, ERR_CONFIG, "the remote '%s' exists already", name);
		status = err_hint(err, "-f replaces its url; mlmake data remote modify changes an option");
	}
	if (status == 0 && make_default)
		status = ini_set(ini, "core", "remote", name, err);
	if (status == 0)
		status = ini_set(ini, section, "url", value, err);
	if (status == 0)
		status = config_edit_save(repo, level, err);
	repo_unlock(repo);
	return status;
}

static bool is_path_option(const char *option)
{
	return text_eq(option, "url") || text_eq(option, "credentialpath") || text_eq(option, "configpath");
}

int data_remote_modify(struct data_repo *repo, enum data_level level, const char *name, const char *option, const char *value,
		       struct err *err)
{
	bool found = true;
	const char *near;
	if (!config_remote_knows(option, &near)) {
		err_set(err, ERR_CONFIG, "a remote has no option '%s'", option);
		return near ? err_hint(err, "did you mean '%s'?", near)
			    : err_hint(err, "there are url, endpointurl, region, profile and the others of DVC's S3 remotes");
	}
	if (value && (config_remote_check_value(name, option, value, err) < 0 || (text_eq(option, "url") && check_url(name, value, err) < 0)))
		return -1;
	if (config_edit_begin(repo, level, err) < 0)
		return -1;
	char *section OWNED = config_remote_section(name);
	struct ini *ini = &repo->config.files[level];
	bool anywhere = false;
	for (int other = 0; other < DATA_LEVELS; other++)
		anywhere = anywhere || exists_at(repo, (enum data_level)other, name);
	/* Secrets of a remote of .dvc/config belong into config.local: its section may begin there. */
	int status = anywhere && value ? 0 : check_exists(repo, level, name, err);
	if (status == 0 && value) {
		char *stored OWNED = is_path_option(option) ? config_stored_path(repo, level, value) : mem_strdup(value);
		status = ini_set(ini, section, option, stored, err);
	} else if (status == 0)
		status = ini_remove_key(ini, section, option, &found, err);
	if (status == 0 && !found)
		status = err_set(err, ERR_CONFIG, "the remote '%s' has no option '%s' in %s", name, option, repo->config.paths[level]);
	if (status == 0)
		status = config_edit_save(repo, level, err);
	repo_unlock(repo);
	return status;
}

/* core.remote of every file that names `from` follows it. */
static int follow_default(struct data_repo *repo, const char *from, const char *to, struct err *err)
{
	for (int level = 0; level < DATA_LEVELS; level++) {
		struct ini *ini = &repo->config.files[level];
		const char *now = ini_get(ini, "core", "remote");
		bool found;
		if (!now || strcasecmp(now, from) != 0)
			continue;
		int status = to ? ini_set(ini, "core", "remote", to, err) : ini_remove_key(ini, "core", "remote", &found, err);
		if (status < 0 || config_edit_save(repo, (enum data_level)level, err) < 0)
			return -1;
	}
	return 0;
}

int data_remote_remove(struct data_repo *repo, enum data_level level, const char *name, struct err *err)
{
	bool found;
	if (config_edit_begin(repo, level, err) < 0)
		return -1;
	char *section OWNED = config_remote_section(name);
	int status = check_exists(repo, level, name, err);
	if (status == 0)
		status = ini_remove_section(&repo->config.files[level], section, &found, err);
	if (status == 0)
		status = config_edit_save(repo, level, err);
	bool elsewhere = false;
	for (int other = 0; other < DATA_LEVELS; other++)
		elsewhere = elsewhere || exists_at(repo, (enum data_level)other, name);
	if (status == 0 && !elsewhere)
		status = follow_default(repo, name, NULL, err);
	repo_unlock(repo);
	return status;
}

int data_remote_rename(struct data_repo *repo, enum data_level level, const char *name, const char *to, struct err *err)
{
	if (check_name(to, err) < 0 || config_edit_begin(repo, level, err) < 0)
		return -1;
	char *section OWNED = config_remote_section(name);
	char *new_section OWNED = config_remote_section(to);
	int status = check_exists(repo, level, name, err);
	for (int other = 0; status == 0 && other < DATA_LEVELS; other++)
		if (exists_at(repo, (enum data_level)other, to))
			status = err_set(err, ERR_CONFIG, "the remote '%s' exists already", to);
	for (int other = 0; status == 0 && other < DATA_LEVELS; other++) {
		if (!exists_at(repo, (enum data_level)other, name))
			continue;
		status = ini_rename_section(&repo->config.files[other], section, new_section, err);
		if (status == 0)
			status = config_edit_save(repo, (enum data_level)other, err);
	}
	if (status == 0)
		status = follow_default(repo, name, to, err);
	repo_unlock(repo);
	return status;
}

int data_remote_default(struct data_repo *repo, enum data_level level, const char *name, struct err *err)
{
	bool found = false, known = false;
	if (config_edit_begin(repo, level, err) < 0)
		return -1;
	struct ini *ini = &repo->config.files[level];
	for (int other = 0; name && other < DATA_LEVELS; other++)
		known = known || exists_at(repo, (enum data_level)other, name);
	int status;
	if (name && !known) {
		err_set(err, ERR_CONFIG, "there is no remote '%s'", name);
		status = err_hint(err, "mlmake data remote list shows those there are");
	} else
		status = name ? ini_set(ini, "core", "remote", name, err) : ini_remove_key(ini, "core", "remote", &found, err);
	if (status == 0)
		status = config_edit_save(repo, level, err);
	repo_unlock(repo);
	return status;
}

int data_remote_list(struct data_repo *repo, struct data_remote_list *ret, struct err *err)
{
	struct packed_remotes packed CLEANUP(packed_remotes_release) = { .list = { 0 } };
	*ret = (struct data_remote_list){ .at = NULL };
	if (packed_remotes_load(repo->config.project_file, &packed, err) < 0)
		return -1;
	struct map seen CLEANUP(map_release) = MAP_INIT;
	for (int level = 0; level < DATA_LEVELS; level++) {
		const struct ini *ini = &repo->config.files[level];
		for (size_t i = 0; i < ini->sections.len; i++) {
			const char *section = ini->sections.at[i].name;
			size_t len = strlen(section);
			if (!text_starts(section, "remote \"") || section[len - 1] != '"' || len < 10 || !map_set(&seen, section, NULL))
				continue;
			char *name = mem_strndup(section + 8, len - 9);
			const char *url = config_get(&repo->config, section, "url", NULL);
			const char *chosen = repo->config.default_remote;
			struct data_remote_entry entry = { name, mem_strdup(url ? url : ""), chosen && strcasecmp(chosen, name) == 0, false };
			vec_push(ret, entry);
		}
	}
	for (size_t i = 0; i < packed.list.len; i++) {
		struct data_remote_entry entry = { mem_strdup(packed.list.at[i].name), mem_strdup(packed.list.at[i].url), false, true };
		vec_push(ret, entry);
	}
	return 0;
}

void data_remote_list_release(struct data_remote_list *list)
{
	for (size_t i = 0; i < list->len; i++) {
		free(list->at[i].name);
		free(list->at[i].url);
	}
	vec_release(list);
}
