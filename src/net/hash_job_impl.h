/*
 * A job as its thread has it. For hash_job.c and hash_lanes.c only.
 */
#ifndef NET_HASH_JOB_IMPL_H
#define NET_HASH_JOB_IMPL_H

#include "formats/md5_streams.h"
#include "net/hash_job.h"

#include <pthread.h>
#include <stdatomic.h>

struct hash_job {
	struct loop *loop;
	struct loop_source *source;
	int event_fd; /* readable when the job is done */
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t more;
	struct hash_lanes *lanes; /* NULL: a thread of its own */
	/* Of whoever holds the mutex of the lanes; without lanes, its own. */
	uint64_t allowed;
	bool stop;
	bool taken; /* by the thread of the lanes, which is at it */
	_Atomic uint64_t at; /* hashed so far */
	/* The thread's own until it is done. */
	enum digest_kind kind;
	int fd;
	int to; /* -1: it is hashed */
	uint64_t from, len;
	struct md5_stream md5; /* in lanes */
	uint64_t until;        /* in lanes: what was allowed when this turn began */
	int status;
	struct digest digest;
	struct err err;
	hash_done_fn *done;
	void *ctx;
};

/* From its thread; the job may be gone then. */
void hash_job_is_done(struct hash_job *job);

#endif
