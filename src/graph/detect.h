/*
 * The conditions of rules:
 *
 *     any: [{file: requirements.txt}, {glob: "requirements-*.txt"}]
 *     all: [{glob: "test_*.py"}, {not: {file: noxfile.py}}]
 *     matches: {file: setup.cfg, pattern: '^\[pylint'}    PCRE2, ^ and $ at each line; file may be a glob
 *
 * Several keys in one map must all hold. Globs see what git sees.
 */
#ifndef GRAPH_DETECT_H
#define GRAPH_DETECT_H

#include "formats/yaml.h"
#include "graph/tree.h"

/* 1 holds, 0 does not, -1 error. Appends why it holds: "found requirements.txt and tests/test_x.py". keys that are named in
 * skip (may be NULL) are no conditions. */
int detect(struct tree *tree, const char *root, const struct yaml_node *condition, const char *skip, struct buf *why, struct err *err) MUST_CHECK;

#endif
