/*
 * Parameters: values in YAML and JSON files of the project, by dotted key.
 */
#ifndef ENGINE_PARAMS_H
#define ENGINE_PARAMS_H

#include "engine/foresight.h"

struct params;
struct params *params_new(const struct project *project, const struct foresight *foresight); /* both must outlive it */
void params_free(struct params *params);

/* Adds the COMPONENT_PARAMs of a target: "params.yaml:train.lr" and the canonical rendering of its value. Each file is read once as long
 * as its stamp stays. A file or key that does not exist is an error with the position of the reference. */
int params_add(struct params *params, const struct target *target, struct buf *list, struct err *err) MUST_CHECK;

/* What a file that foresight covers will say (-n). */
int params_foresee(struct params *params, const char *file, const void *bytes, size_t len, struct err *err) MUST_CHECK;
bool params_are_foreseen(const struct params *params, const char *file);

#endif
