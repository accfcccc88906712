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

struct watched {
	struct pool_aside work;
	pthread_mutex_t mutex;
	pthread_cond_t done;
	atomic_bool is_done;
};

static void *do_watched(void *arg)
{
	struct watched *watched = arg;
	watched->work.fn(watched->work.ctx, 0);
	pthread_mutex_lock(&watched->mutex);
	watched->is_done = true;
	pthread_cond_signal(&watched->done);
	pthread_mutex_unlock(&watched->mutex);
	return NULL;
}

/* False when it is time for another tick. */
static bool wait_a_tick(struct watched *watched)
{
	struct timespec at = next_tick();
	pthread_mutex_lock(&watched->mutex);
	while (!watched->is_done && pthread_cond_timedwait(&watched->done, &watched->mutex, &at) != ETIMEDOUT)
		;
	bool is_done = watched->is_done;
	pthread_mutex_unlock(&watched->mutex);
	return is_done;
}

void pool_watch(pool_fn *fn, void *ctx, pool_tick_fn *tick, void *tick_ctx)
{
	struct watched watched = { .work = { .fn = fn, .ctx = ctx }, .mutex = PTHREAD_MUTEX_INITIALIZER };
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&watched.done, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (pthread_create(&watched.work.thread, NULL, do_watched, &watched) == 0) {
		while (!wait_a_tick(&watched))
			tick(tick_ctx);
		pthread_join(watched.work.thread, NULL);
	} else {
		fn(ctx, 0);
	}
	pthread_cond_destroy(&watched.done);
	pthread_mutex_destroy(&watched.mutex);
}
