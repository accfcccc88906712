/*
 * The git repository around the project. The only user of libgit2, which is loaded on first use:
 * nothing on the no-op path calls in here.
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

const char *git_worktree(const struct git_repo *repo); /* absolute, no trailing slash; NULL if bare */

/* Paths relative to the work tree, '/'-separated, without a trailing slash. */
int git_is_ignored(struct git_repo *repo, const char *path, bool *ret, struct err *err) MUST_CHECK;
int git_is_tracked(struct git_repo *repo, const char *path, bool *ret, struct err *err) MUST_CHECK; /* in the index; a directory: anything below it */
int git_stage(struct git_repo *repo, const char *path, struct err *err) MUST_CHECK;                 /* git add */

int git_head_commit(struct git_repo *repo, struct buf *ret_hex, struct err *err) MUST_CHECK; /* empty on an unborn branch */
int git_head_branch(struct git_repo *repo, struct buf *ret, struct err *err) MUST_CHECK;     /* empty when detached */
int git_hooks_dir(struct git_repo *repo, struct buf *ret, struct err *err) MUST_CHECK;       /* core.hooksPath and linked worktrees respected */

/* The index, sorted by path. Intent-to-add entries are left out; stages above 0 (conflicts) are an error. GIT_INDEX_FILE is respected. */
struct git_index_entry {
	char *path;
	char oid[41];
	uint32_t mode; /* 0100644, 0100755, 0120000; 0160000 for a submodule */
};
struct git_index {
	struct git_index_entry *at;
	size_t len, cap;
};
int git_index_read(struct git_repo *repo, struct git_index *ret, struct err *err) MUST_CHECK;
void git_index_release(struct git_index *index);
int git_blob_read(struct git_repo *repo, const char *oid, size_t max, struct buf *out, struct err *err) MUST_CHECK;

/* Paths that differ between HEAD's tree and the index (all of it on an unborn branch), deletions included. */
int git_staged_paths(struct git_repo *repo, struct strlist *ret, struct err *err) MUST_CHECK;

#endif
