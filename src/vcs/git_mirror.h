/*
 * Git repositories that are elsewhere, read through bare copies below the user's cache directory (store/workdir.h): repos/<digest of
 * the URL>/. A copy is brought up to date by `git fetch` and read by libgit2. Nothing of theirs is checked out and nothing of it runs: no
 * hooks, no filters, no submodules, and only the transports file, git, http, https and ssh. The copies least recently used go when
 * there are many or much.
 *
 *     struct git_mirror mirror CLEANUP(git_mirror_close) = GIT_MIRROR_INIT;
 *     git_mirror_open(&mirror, "https://example.com/data.git", "v1.0", err);
 *     git_resolve(mirror.git, "v1.0", commit, err);
 */
#ifndef VCS_GIT_MIRROR_H
#define VCS_GIT_MIRROR_H

#include "vcs/git.h"

struct git_mirror {
	struct git_repo *git;
	int use_fd; /* keeps it from being removed */
};
#define GIT_MIRROR_INIT { NULL, -1 }

/* What stands for the default branch of a copy. */
#define GIT_MIRROR_HEAD "refs/mlmake/HEAD"

/* Whether a text is the address of a repository elsewhere: scheme://..., or host:path as ssh takes it. Else it is a path. */
bool git_is_url(const char *text);

/* The URL without the password in it, for people. Owned by the caller. */
char *git_url_shown(const char *url);

/* rev: what will be looked for; where it is a whole commit name that the copy has, nothing is asked of the other side. NULL: any. ERR_NET with
 * git's words where it cannot be reached; ERR_CONFIG for a transport that is not used. */
int git_mirror_open(struct git_mirror *mirror, const char *url, const char *rev, struct err *err) MUST_CHECK;
void git_mirror_close(struct git_mirror *mirror);

#endif
