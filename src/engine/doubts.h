/*
 * Which targets must be looked at, where an earlier run found nothing to do and all that it found that from is as it was, but for a few files
 * (store/snapshot.h). The others are believed: neither their keys nor their files need be looked at again.
 *
 *     struct run_doubts doubts = { 0 };
 *     if (doubts_find(project, &plan, &changes, &doubts)) options.doubts = &doubts;
 *     engine_run(project, &plan, &options, ...);
 *     doubts_release(&doubts);
 *
 * A target is in doubt if a changed file may be one of its inputs, parameter files, outputs or tools, if it was in doubt before and has run, or if
 * it depends on one that is. Where a change may mean more than that (what git ignores, what DVC tracks, a file outside the project) all are.
 */
#ifndef ENGINE_DOUBTS_H
#define ENGINE_DOUBTS_H

#include "engine/engine.h"
#include "store/snapshot.h"

struct run_doubts {
	bool *in_doubt;       /* by target id; NULL: all are */
	struct strlist names; /* of those in the plan */
	uint64_t transaction; /* of the state database at which this is so */
};

/* False if all must be looked at. */
bool doubts_find(const struct project *project, const struct plan *plan, const struct snapshot_changes *changes, struct run_doubts *ret);
void doubts_release(struct run_doubts *doubts);

#endif
