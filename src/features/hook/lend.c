#include "features/hook/lend.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/ini.h"

#include <errno.h>
#include <string.h>

int hook_make_link(const char *path, const char *target, struct err *err)
{
	if (sys.symlinkat(target, AT_FDCWD, path) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot create the link '%s'", path);
	return 0;
}

int hook_unlend(const char *tree_path, struct err *err)
{
	struct stat st;
	bool exists;
	if (fs_lstat(tree_path, &st, &exists, err) < 0)
		return -1;
	return exists && S_ISLNK(st.st_mode) ? fs_remove(tree_path, err) : 0;
}

int hook_lend(const char *tree_path, const char *target, struct err *err)
{
	struct buf old CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	bool exists;
	if (fs_lstat(tree_path, &st, &exists, err) < 0)
		return -1;
	bool wanted = fs_exists(target);
	if (exists && !S_ISLNK(st.st_mode))
		return 0;
	if (exists) {
		if (fs_read_link(tree_path, &old, err) < 0)
			return -1;
		if (wanted && text_eq(old.data, target))
			return 0;
		if (fs_remove(tree_path, err) < 0)
			return -1;
	}
	return wanted ? hook_make_link(tree_path, target, err) : 0;
}

/* Values that DVC reads relative to the directory of the file that they stand in. */
static bool is_relative_path(const struct ini_key *key)
{
	bool path = (text_eq(key->section, "cache") && text_eq(key->name, "dir")) ||
		    (text_starts(key->section, "remote ") && text_eq(key->name, "url"));
	return path && *key->value && !strchr("/~", *key->value) && !strstr(key->value, "://");
}

static int make_absolute(const struct ini *from, const char *dir, struct ini *to, struct err *err)
{
	for (size_t i = 0; i < from->keys.len; i++) {
		const struct ini_key *key = &from->keys.at[i];
		if (!is_relative_path(key) || (from != to && ini_get(to, key->section, key->name)))
			continue;
		OWNED char *section = mem_strdup(key->section);
		OWNED char *name = mem_strdup(key->name);
		OWNED char *joined = path_joined(dir, key->value);
		struct buf absolute CLEANUP(buf_release) = BUF_INIT;
		path_normalize(&absolute, joined);
		if (ini_set(to, section, name, absolute.data, err) < 0)
			return -1;
	}
	return 0;
}

/* dir and tree_dir are the two .dvc directories. */
static int lend_config(const char *dir, const char *tree_dir, struct err *err)
{
	struct ini project CLEANUP(ini_release) = INI_INIT;
	struct ini local CLEANUP(ini_release) = INI_INIT;
	struct buf old CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	OWNED char *project_path = path_joined(tree_dir, "config");
	OWNED char *local_path = path_joined(dir, "config.local");
	OWNED char *tree_path = path_joined(tree_dir, "config.local");
	if (ini_read(&project, project_path, ".dvc/config", err) < 0 || ini_read(&local, local_path, ".dvc/config.local", err) < 0 ||
	    make_absolute(&local, dir, &local, err) < 0 || make_absolute(&project, dir, &local, err) < 0)
		return -1;
	if (fs_read_file(tree_path, (size_t)1 << 20, &old, &ignored) == 0 && text_eq(old.data, local.text.data))
		return 0;
	return ini_write(&local, tree_path, err);
}

int hook_tree_lend_data(const struct git_entries *entries, const char *top, const char *tree_top, struct err *err)
{
	for (size_t i = 0; i < entries->len; i++) {
		const char *path = entries->at[i].path;
		if (!text_eq(path, ".dvc/config") && !text_ends(path, "/.dvc/config"))
			continue;
		struct buf below CLEANUP(buf_release) = BUF_INIT;
		path_dir(&below, path);
		OWNED char *dir = path_joined(top, below.data);
		OWNED char *tree_dir = path_joined(tree_top, below.data);
		OWNED char *cache = path_joined(dir, "cache");
		OWNED char *tree_cache = path_joined(tree_dir, "cache");
		if (hook_lend(tree_cache, cache, err) < 0 || lend_config(dir, tree_dir, err) < 0)
			return -1;
	}
	return 0;
}
