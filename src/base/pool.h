/*
 * Threads for work that can be split: hashing, stat, copying, syncing.
 *
 *     pool_each(0, files.len, hash_one, &ctx);
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/compiler.h"

#include <pthread.h>
#include <stdatomic.h>

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

/* Does fn(ctx, 0) on another thread, while this one calls tick every so often: for long work of which somebody watches the progress. Where no
 * thread starts it is done without ticks. */
typedef void pool_tick_fn(void *ctx);
void pool_watch(pool_fn *fn, void *ctx, pool_tick_fn *tick, void *tick_ctx);

/* What threads have got through so far, for the one that watches. */
struct meter {
	_Atomic uint64_t bytes;
};
static inline void meter_add(struct meter *meter, uint64_t bytes)
{
	if (meter)
		atomic_fetch_add_explicit(&meter->bytes, bytes, memory_order_relaxed);
}
static inline uint64_t meter_read(struct meter *meter)
{
	return atomic_load_explicit(&meter->bytes, memory_order_relaxed);
}

unsigned pool_processors(void); /* that this process may use */

#endif
