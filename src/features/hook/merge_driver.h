/*
 * Telling git to merge .dvc files with `mlmake data merge-driver`: a section in the repository's git config, and a line in
 * info/attributes of its git directory. Both are of this clone alone and shared by its linked worktrees.
 * Source: gitattributes(5), "Defining a custom merge driver".
 */
#ifndef FEATURES_HOOK_MERGE_DRIVER_H
#define FEATURES_HOOK_MERGE_DRIVER_H

#include "vcs/git.h"

int merge_driver_look(struct git_repo *repo, bool *ret_installed, struct err *err) MUST_CHECK;
/* program: what is run where no mlmake is on PATH. */
int merge_driver_install(struct git_repo *repo, const char *program, bool *ret_changed, struct err *err) MUST_CHECK;
int merge_driver_uninstall(struct git_repo *repo, bool *ret_changed, struct err *err) MUST_CHECK;

#endif
