/*
 * What differs between revisions, or between one and the work tree.
 *
 *     char from[GIT_HEX];
 *     git_resolve(repo, "main", from, err);
 *     git_changed_paths(repo, from, NULL, &paths, err);
 *     git_read_at(repo, from, "mlmake.yaml", max, &text, &exists, err);
 */
#ifndef VCS_GIT_CHANGES_H
#define VCS_GIT_CHANGES_H

#include "vcs/git_revs.h"

/* Files that were added, deleted or changed from one commit to another (NULL: to the work tree, with what is not in the index and not ignored), by
 * path of git's work tree, sorted. A renamed file is one that was deleted and one that was added. */
int git_changed_paths(struct git_repo *repo, const char *from, const char *to, struct strlist *ret, struct err *err) MUST_CHECK;

/* Files that are neither in the index nor ignored, sorted. Repositories in it end in '/'. */
int git_untracked_paths(struct git_repo *repo, struct strlist *ret, struct err *err) MUST_CHECK;

/* The best common ancestor of two commits. ERR_CONFIG if there is none. */
int git_common_ancestor(struct git_repo *repo, const char *one, const char *other, char ret_commit[GIT_HEX], struct err *err) MUST_CHECK;

/* Appends a file as a commit has it. What is no file there does not exist. More than max bytes is an error. */
int git_read_at(struct git_repo *repo, const char *commit, const char *path, size_t max, struct buf *out, bool *ret_exists, struct err *err)
	MUST_CHECK;

#endif
