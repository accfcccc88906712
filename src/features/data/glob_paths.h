/*
 * Patterns on the command line that no shell has expanded: data add --glob.
 */
#ifndef FEATURES_DATA_GLOB_PATHS_H
#define FEATURES_DATA_GLOB_PATHS_H

#include "features/data/repo.h"

/* The paths that match, relative to the current directory as the patterns are, each once. As in dvc: *, ?, [a-z] and ** (any number of
 * directories), hidden names only where the pattern names the dot. .dvc files and what lies in a directory that matches itself are left
 * out. ERR_CONFIG if nothing matches. */
int glob_paths(const struct data_repo *repo, const char *const *patterns, size_t count, struct strlist *ret, struct err *err) MUST_CHECK;

#endif
