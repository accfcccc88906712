/*
 * The git repository around the project. The only user of libgit2, which is loaded on first use:
 * nothing on the no-op path calls in here.
 *
 *     struct git_repo *repo CLEANUP(git_close_ptr) = NULL;
 *     if (git_open(dir, &repo, err) < 0) return -1;
 *     if (repo && git_is_ignored(repo, "data/raw.csv", &ignored, err) < 0) return -1;
 *
 * What git's own environment says is respected the way a hook needs it: GIT_INDEX_FILE names the index (git commit -a and
 * git commit -- PATH set it), GIT_DIR and GIT_WORK_TREE count where discovery from dir finds nothing, GIT_CEILING_DIRECTORIES bounds
 * the discovery. A repository that belongs to somebody else is refused by git's rule (safe.directory), with a hint.
 *
 * Errors are ERR_FAILED with libgit2's text. What libgit2 cannot read (split and sparse indexes, SHA-256 repositories) is an
 * error that says which setting it is. A repo is used by one thread at a time.
 */
#ifndef VCS_GIT_H
#define VCS_GIT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

struct git_repo;

/* Opens the repository that holds dir; *ret is NULL (and 0 is returned) if there is none. */
int git_open(const char *dir, struct git_repo **ret, struct err *err) MUST_CHECK;
void git_close(struct git_repo *repo);
void git_close_ptr(struct git_repo **repo); /* for CLEANUP */

const char *git_top(const struct git_repo *repo);   /* absolute, no trailing slash; NULL if bare */
const char *git_common_dir(const struct git_repo *repo); /* the .git that worktrees share: absolute, no trailing slash */
const char *git_index_file(const struct git_repo *repo); /* GIT_INDEX_FILE's, else this worktree's own; absolute */

/* Paths relative to the work tree, '/'-separated, without a trailing slash. What the index holds may be ignored as well. */
int git_is_ignored(struct git_repo *repo, const char *path, bool *ret, struct err *err) MUST_CHECK;
int git_is_tracked(struct git_repo *repo, const char *path, bool *ret, struct err *err) MUST_CHECK; /* in the index; a directory: anything below it */

/* git add, forced: an ignored path is added, a directory with all in it that is not ignored; a path that is gone is removed from the index.
 * External filters (git-lfs) are not run: for small text files. Refused while GIT_INDEX_FILE names an index that is not the repository's own:
 * git would put the other one back after the commit. */
int git_stage(struct git_repo *repo, const char *path, struct err *err) MUST_CHECK;

int git_head_commit(struct git_repo *repo, struct buf *ret_hex, struct err *err) MUST_CHECK; /* empty on an unborn branch */
int git_head_branch(struct git_repo *repo, struct buf *ret, struct err *err) MUST_CHECK;     /* empty when detached */
/* What `git rev-parse --git-path hooks` says, absolute: core.hooksPath and linked worktrees respected. It need not exist. */
int git_hooks_dir(struct git_repo *repo, struct buf *ret, struct err *err) MUST_CHECK;

/* The index, sorted by path. Intent-to-add entries are left out; stages above 0 (conflicts) are an error. */
struct git_entry {
	char *path;
	char oid[41];
	uint32_t mode; /* 0100644, 0100755, 0120000; 0160000 for a submodule */
};
struct git_entries {
	struct git_entry *at;
	size_t len, cap;
};
int git_entries_read(struct git_repo *repo, struct git_entries *ret, struct err *err) MUST_CHECK;
void git_entries_release(struct git_entries *entries);

/* The files of HEAD's tree whose path ends in suffix (".dvc"; "": all), sorted by path; none on an unborn branch. */
int git_head_entries(struct git_repo *repo, const char *suffix, struct git_entries *ret, struct err *err) MUST_CHECK;

/* Appends a blob as git stores it: no line ends converted, no filter run. More than max bytes is an error. */
int git_blob_read(struct git_repo *repo, const char *oid, size_t max, struct buf *out, struct err *err) MUST_CHECK;

/* Paths that differ between HEAD's tree and the index (all of it on an unborn branch), deletions included, sorted by bytes.
 * Intent-to-add entries are not staged. */
int git_staged_paths(struct git_repo *repo, struct strlist *ret, struct err *err) MUST_CHECK;

#endif
