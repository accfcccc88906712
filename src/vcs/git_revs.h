/*
 * Other revisions than HEAD: what they are, and the files in them.
 *
 *     char commit[GIT_HEX];
 *     git_resolve(repo, "v1.0", commit, err);
 *     git_commit_entries(repo, commit, is_wanted, &entries, err);
 *     git_blob_read(repo, entries.at[0].oid, max, &text, err);
 */
#ifndef VCS_GIT_REVS_H
#define VCS_GIT_REVS_H

#include "vcs/git.h"

#define GIT_HEX 41

/* The commit that rev names, in any way that git takes. ERR_CONFIG if there is none. */
int git_resolve(struct git_repo *repo, const char *rev, char ret_commit[GIT_HEX], struct err *err) MUST_CHECK;

/* The commits that refs lead to, "<hex>" once each, with HEAD. GIT_BRANCHES_AND_TAGS: remote-tracking ones, too, what linked
 * worktrees stand on and every stash. GIT_EVERY_REF: and all others. */
enum git_ref_kind { GIT_BRANCHES, GIT_TAGS, GIT_BRANCHES_AND_TAGS, GIT_EVERY_REF };
int git_tips(struct git_repo *repo, enum git_ref_kind kind, struct strlist *ret_commits, struct err *err) MUST_CHECK;

/* All commits that lead to these, themselves included. */
int git_ancestors(struct git_repo *repo, const struct strlist *commits, struct strlist *ret_commits, struct err *err) MUST_CHECK;

/* Of these, those that were committed at that time, in seconds since 1970, or later. */
int git_since(struct git_repo *repo, const struct strlist *commits, int64_t time, struct strlist *ret_commits, struct err *err) MUST_CHECK;

/* A commit, its first parent, that one's, and so on: max of them, as far as there are so many. */
int git_first_parents(struct git_repo *repo, const char *commit, unsigned max, struct strlist *ret_commits, struct err *err) MUST_CHECK;

/* The files whose name (after the last '/') is wanted, of a commit, sorted by path; or of many commits, those of a subtree that
 * several commits share once. */
typedef bool git_name_fn(const char *name);
int git_commit_entries(struct git_repo *repo, const char *commit, git_name_fn *wanted, struct git_entries *ret, struct err *err)
	MUST_CHECK;
int git_commits_entries(struct git_repo *repo, const struct strlist *commits, git_name_fn *wanted, struct git_entries *ret,
			struct err *err) MUST_CHECK;

/* All that a commit holds, links and submodules (see mode) included, sorted by path. */
int git_commit_files(struct git_repo *repo, const char *commit, struct git_entries *ret, struct err *err) MUST_CHECK;

#endif
