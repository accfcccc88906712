/*
 * What no commit holds and the checks of the tree need: links to what the work tree has.
 */
#ifndef FEATURES_HOOK_LEND_H
#define FEATURES_HOOK_LEND_H

#include "base/err.h"
#include "vcs/git.h"

int hook_make_link(const char *path, const char *target, struct err *err) MUST_CHECK;

/* Makes tree_path a link to target where target exists; a link there that leads elsewhere is replaced, anything else is left alone. */
int hook_lend(const char *tree_path, const char *target, struct err *err) MUST_CHECK;
/* Removes tree_path if it is a link. */
int hook_unlend(const char *tree_path, struct err *err) MUST_CHECK;

/* For each .dvc/config that is staged: the work tree's .dvc/cache, and its .dvc/config.local with relative paths of both
 * configurations made absolute, so that data is found where it is. */
int hook_tree_lend_data(const struct git_entries *entries, const char *top, const char *tree_top, struct err *err) MUST_CHECK;

#endif
