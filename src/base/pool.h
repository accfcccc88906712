/*
 * Threads for work that can be split: hashing, stat, copying, syncing.
 *
 *     pool_each(0, files.len, hash_one, &ctx);
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/compiler.h"

#include <pthread.h>

/* Calls fn(ctx, i) for every i below count, from up to `threads` threads at once (0: one a processor), in no order, and returns when all
 * are done. fn must not touch what another index touches. Runs in this thread alone when count is 1 or no thread starts. */
typedef void pool_fn(void *ctx, size_t index);
void pool_each(unsigned threads, size_t count, pool_fn *fn, void *ctx);

/* One piece of work beside the caller's, as preparing something that is needed later: fn(ctx, 0). Joined exactly once; where no thread starts
 * it is done by the join. */
struct pool_aside {
	pthread_t thread;
	bool started;
	pool_fn *fn;
	void *ctx;
};
void pool_aside_begin(struct pool_aside *aside, pool_fn *fn, void *ctx);
void pool_aside_join(struct pool_aside *aside);

unsigned pool_processors(void); /* that this process may use */

#endif
