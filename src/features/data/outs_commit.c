/*
 * The outputs that a commit records.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/outs.h"
#include "vcs/git_revs.h"

#include <string.h>

#define MAX_RECORD ((size_t)64 << 20)

static bool is_record(const char *name)
{
	return dvc_file_is_name(name) || text_eq(name, "dvc.lock") || text_eq(name, "dvc.yaml") || text_eq(name, "config");
}

struct reading {
	struct git_repo *git;
	struct outs *ret;
	struct git_entries entries;
	struct strlist nested; /* directories that are data repositories of their own, relative to git's top */
};

static void reading_release(struct reading *reading)
{
	git_entries_release(&reading->entries);
	strlist_release(&reading->nested);
}

/* The entry's path relative to the root; NULL if it is none of this repository's. */
static const char *own_path(const struct reading *reading, const char *path, const char *root_in_git)
{
	for (size_t i = 0; i < reading->nested.len; i++)
		if (path_inside(reading->nested.at[i], path))
			return NULL;
	if (text_eq(root_in_git, "."))
		return path;
	return path_inside(root_in_git, path) ? path + strlen(root_in_git) + 1 : NULL;
}

static void find_nested(struct reading *reading, const char *root_in_git)
{
	for (size_t i = 0; i < reading->entries.len; i++) {
		const char *path = reading->entries.at[i].path;
		if (!text_ends(path, "/.dvc/config"))
			continue;
		char *dir OWNED = mem_strndup(path, strlen(path) - strlen("/.dvc/config"));
		bool outer = text_eq(root_in_git, dir) || path_inside(dir, root_in_git);
		if (!outer)
			strlist_add(&reading->nested, dir);
	}
}

static const struct git_entry *find_entry(const struct reading *reading, const char *path)
{
	for (size_t i = 0; i < reading->entries.len; i++)
		if (text_eq(reading->entries.at[i].path, path))
			return &reading->entries.at[i];
	return NULL;
}

static int read_lock(struct reading *reading, const struct git_entry *entry, const char *dir, struct err *err)
{
	struct buf lock CLEANUP(buf_release) = BUF_INIT, yaml CLEANUP(buf_release) = BUF_INIT;
	char *yaml_path OWNED = mem_printf("%.*sdvc.yaml", (int)(path_base(entry->path) - entry->path), entry->path);
	const struct git_entry *beside = find_entry(reading, yaml_path);
	if (!beside)
		return 0;
	if (git_blob_read(reading->git, entry->oid, MAX_RECORD, &lock, err) < 0 ||
	    git_blob_read(reading->git, beside->oid, MAX_RECORD, &yaml, err) < 0)
		return -1;
	outs_take_lock(reading->ret, dir, lock.data, lock.len, yaml.data, yaml.len);
	return 0;
}

static int read_entry(struct reading *reading, const struct git_entry *entry, const char *rel, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT, parent CLEANUP(buf_release) = BUF_INIT;
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	struct err failure CLEANUP(err_release) = ERR_INIT;
	path_dir(&parent, rel);
	const char *dir = text_eq(parent.data, ".") ? "" : parent.data;
	if (text_eq(path_base(rel), "dvc.lock"))
		return read_lock(reading, entry, dir, err);
	if (!dvc_file_is_name(path_base(rel)))
		return 0;
	if (git_blob_read(reading->git, entry->oid, MAX_RECORD, &text, err) < 0)
		return -1;
	if (dvc_file_parse(text.data, text.len, rel, &file, &failure) < 0)
		outs_take_broken(reading->ret, rel, &failure);
	else
		outs_take(reading->ret, dir, rel, NULL, &file);
	return 0;
}

int outs_load_git(struct git_repo *git, const char *commit, const char *root_in_git, struct outs *ret, struct err *err)
{
	struct reading reading CLEANUP(reading_release) = { .git = git, .ret = ret };
	if (git_commit_entries(git, commit, is_record, &reading.entries, err) < 0)
		return -1;
	find_nested(&reading, root_in_git);
	for (size_t i = 0; i < reading.entries.len; i++) {
		const char *rel = own_path(&reading, reading.entries.at[i].path, root_in_git);
		if (rel && read_entry(&reading, &reading.entries.at[i], rel, err) < 0)
			return -1;
	}
	outs_sort(ret);
	return 0;
}

int outs_load_commit(struct data_repo *repo, const char *commit, struct outs *ret, struct err *err)
{
	struct git_repo *git;
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	if (repo_git(repo, &git, err) < 0)
		return -1;
	if (!git) {
		err_set(err, ERR_CONFIG, "%s is not in a git repository, so there are no revisions", repo->root);
		return err_hint(err, "leave the revision out to mean the work tree");
	}
	if (!path_inside(git_top(git), repo->root))
		return err_set(err, ERR_FAILED, "%s is outside of git's work tree %s", repo->root, git_top(git));
	path_relative(&root, git_top(git), repo->root);
	return outs_load_git(git, commit, root.data, ret, err);
}
