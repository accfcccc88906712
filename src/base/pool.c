#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#define MAX_THREADS 64
#define TICK_NS 50000000L

struct work {
	atomic_size_t next;
	size_t count;
	pool_fn *fn;
	void *ctx;
};

static void *take_until_done(void *arg)
{
	struct work *work = arg;
	for (;;) {
		size_t index = atomic_fetch_add(&work->next, 1);
		if (index >= work->count)
			return NULL;
		work->fn(work->ctx, index);
	}
}

unsigned pool_processors(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	int count = CPU_COUNT(&set);
	return count > 0 ? (unsigned)count : 1;
}

void pool_each(unsigned threads, size_t count, pool_fn *fn, void *ctx)
{
	struct work work = { .count = count, .fn = fn, .ctx = ctx };
	pthread_t helpers[MAX_THREADS];
	size_t started = 0;
	if (!threads)
		threads = pool_processors();
	if (threads > MAX_THREADS)
		threads = MAX_THREADS;
	if (threads > count)
		threads = (unsigned)count;
	while (started + 1 < threads && pthread_create(&helpers[started], NULL, take_until_done, &work) == 0)
		started++;
	take_until_done(&work);
	for (size_t i = 0; i < started; i++)
		pthread_join(helpers[i], NULL);
}

static void *do_aside(void *arg)
{
	struct pool_aside *aside = arg;
	aside->fn(aside->ctx, 0);
	return NULL;
}

void pool_aside_begin(struct pool_aside *aside, pool_fn *fn, void *ctx)
{
	*aside = (struct pool_aside){ .fn = fn, .ctx = ctx };
	aside->started = pool_processors() > 1 && pthread_create(&aside->thread, NULL, do_aside, aside) == 0;
}

void pool_aside_join(struct pool_aside *aside)
{
	if (aside->started)
		pthread_join(aside->thread, NULL);
	else
		aside->fn(aside->ctx, 0);
}

static struct timespec next_tick(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_nsec += TICK_NS;
	at.tv_sec += at.tv_nsec / 1000000000L;
	at.tv_nsec %= 1000000000L;
	return at;
}

void pool_watch(pool_fn *fn, void *ctx, pool_tick_fn *tick, void *tick_ctx)
{
	struct pool_aside work = { .fn = fn, .ctx = ctx };
	if (pthread_create(&work.thread, NULL, do_aside, &work) != 0) {
		fn(ctx, 0);
		return;
	}
	for (;;) {
		struct timespec at = next_tick();
		if (pthread_clockjoin_np(work.thread, NULL, CLOCK_MONOTONIC, &at) != ETIMEDOUT)
			return;
		tick(tick_ctx);
	}
}
