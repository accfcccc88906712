/*
 * git hooks: putting ours into the repository, and what it does before a commit.
 *
 *     struct hook_status status CLEANUP(hook_status_release) = { 0 };
 *     bool changed;
 *     if (hook_install(".", &status, &changed, err) < 0) return -1;
 *
 *     struct hook_report report CLEANUP(hook_report_release) = { 0 };
 *     if (hook_pre_commit(&request, &report, err) < 0) return -1;
 *     for (size_t i = 0; i < report.refusals.len; i++) show(&report.refusals.at[i]);
 *
 * docs/hooks.md is the manual for users.
 */
#ifndef FEATURES_HOOK_HOOK_H
#define FEATURES_HOOK_HOOK_H

#include "base/err.h"
#include "base/vec.h"
#include "engine/engine.h"
#include "graph/graph.h"

/*
 * Installing.
 *
 * The hook is one file, "pre-commit" in git's directory of hooks (core.hooksPath respected, shared by linked worktrees). A hook that
 * was there is renamed to pre-commit.before-mlmake; ours runs it first and uninstalling renames it back. One hook serves all projects of
 * a repository: their directories are listed in it. The merge driver for .dvc files comes and goes with it.
 */
enum hook_presence { HOOK_ABSENT, HOOK_OURS, HOOK_OTHER };

struct hook_status {
	char *path;              /* of the hook, absolute */
	enum hook_presence presence;
	char *kept;              /* the hook that was there before, absolute; NULL if none */
	char *program;           /* the mlmake that the hook falls back to; NULL unless ours */
	struct strlist projects; /* directories relative to the top of the work tree, "." for the top itself */
	bool merge_driver;       /* git merges .dvc files with us (features/hook/merge_driver.h) */
	bool outside;            /* core.hooksPath leads out of this repository: other repositories may share the hook */
};
void hook_status_release(struct hook_status *status);

/* All three: dir is anywhere in the project; ERR_CONFIG where there is no git repository. ret is as it is afterwards. */
int hook_look(const char *dir, struct hook_status *ret, struct err *err) MUST_CHECK;
/* Also brings an older hook of ours up to date. */
int hook_install(const char *dir, struct hook_status *ret, bool *ret_changed, struct err *err) MUST_CHECK;
/* Leaves alone what is not ours. */
int hook_uninstall(const char *dir, struct hook_status *ret, bool *ret_changed, struct err *err) MUST_CHECK;

/*
 * Before a commit.
 *
 * What is staged is written to .mlmake/hook/tree (features/hook/tree.h), a repository of its own, and looked at there: the work tree is
 * neither changed nor, but for data, read. Ends with the environment free of GIT_*, which is meant for the process that git started.
 */

/* One reason not to commit. */
struct hook_refusal {
	char *what;   /* "lint fails on what is staged" */
	char *detail; /* lines: output, a diff, paths; "" if none */
	char *mend;   /* what to do */
};
struct hook_report {
	VEC(struct hook_refusal) refusals;
	bool nothing_staged;
	int signal_number; /* that ended the checks; 0 if none */
};
void hook_report_release(struct hook_report *report);
/* All three are copied. */
void hook_refuse(struct hook_report *report, const char *what, const char *detail, const char *mend);

/* What the checks of other features get to see. */
struct hook_scene {
	const char *root;              /* the project's, in the work tree */
	const char *tree_top;          /* top of the tree of what is staged */
	const struct project *staged;  /* the project of that tree */
	const struct strlist *changed; /* paths that the commit changes, relative to the top of the repository */
	const char *prefix;            /* of the project below the top: "" or "sub/" */
};

/* Adds refusals; -1 for what kept it from checking. */
struct hook_check {
	const char *name; /* "workflows" */
	int (*run)(void *ctx, const struct hook_scene *scene, struct hook_report *report, struct err *err);
};

struct hook_request {
	const char *dir;                 /* anywhere in the project; NULL: the current directory */
	const struct provider *provider; /* may be NULL */
	const struct hook_check *checks; /* besides lint */
	size_t check_count;
	void *check_ctx;
	void (*progress)(void *ctx, const char *doing); /* "lint"; may be NULL */
	void *progress_ctx;
};

/* 0 when the checks could be made: see the report. */
int hook_pre_commit(const struct hook_request *request, struct hook_report *ret, struct err *err) MUST_CHECK;

#endif
