#include "vcs/git_changes.h"

#include "vcs/git_lib.h"

static void free_tree(git_tree **tree)
{
	if (*tree)
		git_lib.git_tree_free(*tree);
}

static void free_diff(git_diff **diff)
{
	if (*diff)
		git_lib.git_diff_free(*diff);
}

static int tree_of(struct git_repo *repo, const char *commit, git_tree **ret, struct err *err)
{
	git_oid oid;
	git_commit *found = NULL;
	if (git_lib.git_oid_fromstr(&oid, commit) < 0 || git_lib.git_commit_lookup(&found, repo->repo, &oid) < 0)
		return git_lib_err(err, "cannot read a commit");
	int rc = git_lib.git_commit_tree(ret, found);
	git_lib.git_commit_free(found);
	return rc < 0 ? git_lib_err(err, "cannot read the tree of a commit") : 0;
}

int git_changed_paths(struct git_repo *repo, const char *from, const char *to, struct strlist *ret, struct err *err)
{
	git_tree *before CLEANUP(free_tree) = NULL, *after CLEANUP(free_tree) = NULL;
	git_diff *diff CLEANUP(free_diff) = NULL;
	git_diff_options options = { .version = GIT_DIFF_OPTIONS_VERSION, .ignore_submodules = GIT_SUBMODULE_IGNORE_UNSPECIFIED };
	options.flags = GIT_DIFF_INCLUDE_TYPECHANGE | GIT_DIFF_INCLUDE_UNTRACKED | GIT_DIFF_RECURSE_UNTRACKED_DIRS | GIT_DIFF_SKIP_BINARY_CHECK;
	if (tree_of(repo, from, &before, err) < 0 || (to && tree_of(repo, to, &after, err) < 0))
		return -1;
	int rc = to ? git_lib.git_diff_tree_to_tree(&diff, repo->repo, before, after, &options)
		    : git_lib.git_diff_tree_to_workdir_with_index(&diff, repo->repo, before, &options);
	if (rc < 0)
		return git_lib_err(err, "cannot compare revisions");
	size_t count = git_lib.git_diff_num_deltas(diff);
	for (size_t i = 0; i < count; i++) {
		const git_diff_delta *delta = git_lib.git_diff_get_delta(diff, i);
		strlist_add(ret, delta->new_file.path ? delta->new_file.path : delta->old_file.path);
	}
	strlist_sort(ret);
	strlist_unique(ret);
	return 0;
}

int git_untracked_paths(struct git_repo *repo, struct strlist *ret, struct err *err)
{
	git_diff *diff CLEANUP(free_diff) = NULL;
	git_diff_options options = { .version = GIT_DIFF_OPTIONS_VERSION, .ignore_submodules = GIT_SUBMODULE_IGNORE_ALL };
	options.flags = GIT_DIFF_INCLUDE_UNTRACKED | GIT_DIFF_RECURSE_UNTRACKED_DIRS | GIT_DIFF_SKIP_BINARY_CHECK;
	if (git_lib.git_diff_index_to_workdir(&diff, repo->repo, NULL, &options) < 0)
		return git_lib_err(err, "cannot list what git does not track");
	size_t count = git_lib.git_diff_num_deltas(diff);
	for (size_t i = 0; i < count; i++) {
		const git_diff_delta *delta = git_lib.git_diff_get_delta(diff, i);
		if (delta->status == GIT_DELTA_UNTRACKED)
			strlist_add(ret, delta->new_file.path);
	}
	strlist_sort(ret);
	return 0;
}

int git_common_ancestor(struct git_repo *repo, const char *one, const char *other, char ret_commit[GIT_HEX], struct err *err)
{
	git_oid a, b, base;
	if (git_lib.git_oid_fromstr(&a, one) < 0 || git_lib.git_oid_fromstr(&b, other) < 0)
		return git_lib_err(err, "cannot read a commit's name");
	int rc = git_lib.git_merge_base(&base, repo->repo, &a, &b);
	if (rc == GIT_ENOTFOUND) {
		err_set(err, ERR_CONFIG, "the two revisions have no common ancestor");
		return err_hint(err, "in a shallow clone: git fetch --unshallow");
	}
	if (rc < 0)
		return git_lib_err(err, "cannot find a common ancestor");
	git_lib.git_oid_tostr(ret_commit, GIT_HEX, &base);
	return 0;
}

int git_read_at(struct git_repo *repo, const char *commit, const char *path, size_t max, struct buf *out, bool *ret_exists, struct err *err)
{
	git_tree *tree CLEANUP(free_tree) = NULL;
	git_tree_entry *entry;
	char oid[GIT_HEX];
	*ret_exists = false;
	if (tree_of(repo, commit, &tree, err) < 0)
		return -1;
	int rc = git_lib.git_tree_entry_bypath(&entry, tree, path);
	if (rc == GIT_ENOTFOUND)
		return 0;
	if (rc < 0)
		return git_lib_err(err, "cannot read a tree of git");
	git_filemode_t mode = git_lib.git_tree_entry_filemode(entry);
	git_lib.git_oid_tostr(oid, sizeof(oid), git_lib.git_tree_entry_id(entry));
	git_lib.git_tree_entry_free(entry);
	*ret_exists = mode == GIT_FILEMODE_BLOB || mode == GIT_FILEMODE_BLOB_EXECUTABLE;
	return *ret_exists ? git_blob_read(repo, oid, max, out, err) : 0;
}
