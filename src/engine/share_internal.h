/*
 * What share.c, on the thread of the loop, and share_work.c, on the others, have in common. Nobody else includes it.
 */
#ifndef ENGINE_SHARE_INTERNAL_H
#define ENGINE_SHARE_INTERNAL_H

#include "base/map.h"
#include "base/vec.h"
#include "engine/share.h"

#include <pthread.h>
#include <stdatomic.h>

#define SHARE_FETCHERS 4

struct ask {
	struct digest key;
	struct strlist paths;
	bool record_only;
	share_answer_fn *fn;
	void *ctx;

	atomic_bool fetching;       /* its record was good; else it waits for that */
	atomic_bool abandoned;      /* has its answer already: whoever works on it may stop */
	atomic_uint_least64_t until_ms; /* fetching: not longer */
	bool found;
	char *dir;                  /* found, and fetched: its files, by their paths in the project; owned */
	uint64_t bytes;
	struct action action;
};

struct piece {
	struct digest digest;
	uint64_t size;
	char *path;
};
struct offer {
	struct digest key;
	char *target;
	struct buf record;
	VEC(struct piece) pieces;
	bool again;                 /* what is there is known to be no good */
};

struct share_threads {
	pthread_t at[SHARE_FETCHERS + 2];
	size_t len;
	size_t fetchers;
	bool asker, sender;
};

struct share {
	struct share_setup setup;
	struct loop *loop;
	struct share_sink sink;
	struct loop_source *source;
	struct loop_timer *watchdog;
	int event_fd;
	VEC(struct ask *) outstanding; /* without an answer; of the loop's thread */

	pthread_mutex_t lock;       /* of all below */
	pthread_cond_t wake;
	struct share_threads threads;
	bool closing;
	VEC(struct ask *) wanted, found, answered;
	VEC(struct offer *) offered;
	size_t sending;             /* offers that the sender has taken */
	struct strlist warnings;    /* to be told */
	bool reads_ended, writes_ended;
	struct map bad;             /* keys, in hex, whose results there are no good */
	struct share_counts counts;

	atomic_bool cancel, cancel_sending;
	atomic_bool anonymous;      /* there are no credentials: reading goes without */
	atomic_uint_least64_t moved_ms; /* when an answer or a byte of what is asked for last came */
	atomic_uint_least64_t sent_ms;  /* the same of what is sent */
	atomic_uint serial;
	char *dir;                  /* for what is on its way */
};

void *share_asker(void *share);
void *share_fetcher(void *share);
void *share_sender(void *share);

/* Under the lock. */
void share_start(struct share *share, void *(*work)(void *));
void share_wake_loop(struct share *share);
/* The remote is of no more use for reading, or writing; told once. why is NULL where it is known already. */
void share_end_reads(struct share *share, const char *why);
void share_end_writes(struct share *share, const char *why);

void ask_free(struct ask *ask);
void offer_free(struct offer *offer);

#endif
