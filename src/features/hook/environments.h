/*
 * Environments (.venv) for the tree of what is staged: the project's own where it would come out the same.
 */
#ifndef FEATURES_HOOK_ENVIRONMENTS_H
#define FEATURES_HOOK_ENVIRONMENTS_H

#include "graph/graph.h"

/* For each target of the plan that has a stamp: makes the directory that holds the stamp a link to the one of the project at root, if with the
 * project's record the target is up to date in the tree. Otherwise there is no link afterwards, and the target makes an environment
 * of the tree's own, which is kept for as long as it is up to date. */
int hook_link_environments(const struct project *staged, const struct plan *plan, const char *root, struct err *err) MUST_CHECK;

#endif
