/*
 * The output cache as this project sees it: what its records need stays.
 */
#ifndef ENGINE_CACHE_H
#define ENGINE_CACHE_H

#include "graph/graph.h"
#include "store/outputs_gc.h"
#include "store/state.h"

/* The limit: MLMAKE_CACHE_SIZE ("20G"), else OUTPUTS_MAX_BYTES. */
int cache_limit(uint64_t *ret, struct err *err) MUST_CHECK;

/* Bounds the cache to max_bytes. The results that the project's targets have now stay whatever they take; project may be NULL. */
int cache_collect(struct outputs *cache, const struct project *project, uint64_t max_bytes, bool dry_run, struct outputs_gc_result *ret,
		  struct err *err) MUST_CHECK;

/* After a run: if it is time and the cache is above its limit, makes it a tenth smaller than that. */
int cache_trim(struct outputs *cache, const struct project *project, struct err *err) MUST_CHECK;

#endif
