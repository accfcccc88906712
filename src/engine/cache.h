/*
 * The output cache as projects see it: what their records and tags need stays.
 */
#ifndef ENGINE_CACHE_H
#define ENGINE_CACHE_H

#include "graph/graph.h"
#include "store/outputs_gc.h"
#include "store/state.h"

/* The limit: MLMAKE_CACHE_SIZE ("20G"), else OUTPUTS_MAX_BYTES. */
int cache_limit(uint64_t *ret, struct err *err) MUST_CHECK;

/* Notes that a project's results are in the cache, so that a collection from elsewhere spares them. */
int cache_know(struct outputs *cache, const char *root, struct err *err) MUST_CHECK;

/* Bounds the cache to max_bytes. Whatever they take stay the results that the project's targets have now, those that belong to a commit that a
 * tag leads to, or HEAD (engine/tagged.h), and the same of every other project that has noted itself and is still there. project may be
 * NULL. */
int cache_collect(struct outputs *cache, const struct project *project, uint64_t max_bytes, bool dry_run, struct outputs_gc_result *ret,
		  struct err *err) MUST_CHECK;

/* After a run: if it is time and the cache is above its limit, makes it a tenth smaller than that. */
int cache_trim(struct outputs *cache, const struct project *project, struct err *err) MUST_CHECK;

#endif
