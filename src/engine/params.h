/*
 * Parameters: values in YAML and JSON files of the project, by dotted key.
 */
#ifndef ENGINE_PARAMS_H
#define ENGINE_PARAMS_H

#include "graph/graph.h"

struct params;
struct params *params_new(const struct project *project);
void params_free(struct params *params);

/* Adds the COMPONENT_PARAMs of a target: "params.yaml:train.lr" and the canonical rendering of its value. Each file is read once as long
 * as its stamp stays. A file or key that does not exist is an error with the position of the reference. */
int params_add(struct params *params, const struct target *target, struct buf *list, struct err *err) MUST_CHECK;

#endif
