/*
 * Bounding the output cache: what has not been used for longest goes, never what the caller needs.
 *
 *     struct outputs_usage usage;
 *     outputs_usage(cache, &usage, err);
 *     struct outputs_gc_options options = { .max_bytes = 10 GiB, .needed = keys, .needed_len = count };
 *     outputs_gc(cache, &options, &result, err);
 *
 * An action record's time is when it was made or last restored. Records are kept, newest first, while they and the objects that they
 * name fit; the index of the cache counts by what is in it (its file does not shrink). Then the objects that no record names are
 * removed, but not files of the last OUTPUTS_GC_GRACE_S seconds, which another process may be about to name. Whoever is restoring
 * meanwhile sees a missing object: a miss.
 */
#ifndef STORE_OUTPUTS_GC_H
#define STORE_OUTPUTS_GC_H

#include "store/outputs.h"

#define OUTPUTS_MAX_BYTES ((uint64_t)10 << 30)
#define OUTPUTS_GC_GRACE_S 3600

struct outputs_usage {
	uint64_t actions, objects;
	uint64_t bytes;   /* of both, and of what is on its way */
};
int outputs_usage(struct outputs *cache, struct outputs_usage *ret, struct err *err) MUST_CHECK;
const char *outputs_dir(const struct outputs *cache);

struct outputs_gc_options {
	uint64_t max_bytes;
	const struct digest *needed; /* keys of actions that stay whatever they take */
	size_t needed_len;
	bool dry_run;
};
struct outputs_gc_result {
	uint64_t removed_actions, removed_objects, removed_bytes;
	uint64_t kept_bytes;
	bool busy; /* another process is at it: nothing was done */
};
int outputs_gc(struct outputs *cache, const struct outputs_gc_options *options, struct outputs_gc_result *ret, struct err *err) MUST_CHECK;

/* Whether to look at the size after a run: something was stored by this object, and nobody has looked for an hour, or it was a lot. If so,
 * notes that somebody does now. */
bool outputs_gc_is_due(struct outputs *cache);

#endif
