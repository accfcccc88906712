/*
 * What a change affects, by the graph: targets whose inputs, parameters, data or definition differ between two states of the repository, and all
 * that depend on them by needs or inputs.
 *
 *     struct since since CLEANUP(since_release) = { 0 };
 *     engine_since(project, &load_options, "main", &since, err);
 *     since.because[target->id]     "src/train.py", "its definition", "prepare is affected"; NULL: not affected
 *
 * "REV": from that revision to the work tree. "REV...": from where HEAD left it. "A..B" and "A...B": between two revisions.
 * Data counts by what its .dvc files record; parameters by the values of the keys that a target names; a definition by what is in a target's key. What git
 * ignores is not looked at. Where the configuration of then cannot be read, all targets are affected.
 */
#ifndef ENGINE_SINCE_H
#define ENGINE_SINCE_H

#include "graph/graph.h"

struct since {
	char **because; /* by target id */
	size_t count;   /* of targets */
	size_t affected;
};

/* load: as the project was loaded. ERR_CONFIG where there is no git, or no such revision. */
int engine_since(const struct project *project, const struct project_options *load, const char *range, struct since *ret, struct err *err) MUST_CHECK;
/* Whether all of a target that is in its key and stands in the configuration is the same in another state of the project. */
bool engine_same_definition(const struct project *project, const struct target *target, const struct project *other);

void since_release(struct since *since);

#endif
