/*
 * What a remote holds of shared results, as a whole: how much, and removing what is old.
 *
 *     struct share_remote remote;
 *     share_remote_find(project, &remote, err);       remote.name is NULL where nothing is shared
 *     share_usage(&remote, &usage, err);
 *     share_gc(&remote, &options, &result, err);
 *     share_remote_release(&remote);
 */
#ifndef ENGINE_SHARE_STORE_H
#define ENGINE_SHARE_STORE_H

#include "base/mem.h"
#include "graph/graph.h"
#include "net/remote.h"

#define SHARE_GC_GRACE_S (24 * 3600)

/* The remote that `cache.remote` or MLMAKE_CACHE_REMOTE names. */
struct share_remote {
	const char *name;
	struct remote_spec spec; /* its strings are in the arena */
	struct arena arena;
};
/* NULL: results are not shared. */
const char *share_remote_name(const struct project *project);
/* ERR_CONFIG if there is no such remote. Without a name, nothing but that is found. */
int share_remote_find(const struct project *project, struct share_remote *ret, struct err *err) MUST_CHECK;
void share_remote_release(struct share_remote *remote);

struct share_usage {
	uint64_t results, objects;
	uint64_t bytes;
};
int share_usage(const struct share_remote *remote, struct share_usage *ret, struct err *err) MUST_CHECK;

/* Removes results that were put there longer ago than that, and damaged ones; then the objects that no other result names, but not those of
 * the last SHARE_GC_GRACE_S seconds, whose result may be on its way. A result that names an object which is being removed is a miss for whoever
 * fetches it, and is replaced when it is made anew. */
struct share_gc_options {
	int64_t older_than_s;
	bool dry_run;
	const struct remote_sink *sink; /* may be NULL */
};
struct share_gc_result {
	uint64_t removed_results, removed_objects, removed_bytes;
	uint64_t kept_results, kept_objects, kept_bytes;
};
int share_gc(const struct share_remote *remote, const struct share_gc_options *options, struct share_gc_result *ret,
	     struct err *err) MUST_CHECK;

#endif
