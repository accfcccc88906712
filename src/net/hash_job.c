#include "net/hash_job.h"

#include "base/fs.h"
#include "base/mem.h"
#include "net/hash_job_impl.h"
#include "net/hash_lanes.h"
#include "net/remote_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#define CHUNK (256 * 1024)

/* How far may be read, once that is more than at; at itself when told to stop. */
static uint64_t wait_for_more(struct hash_job *job, uint64_t at)
{
	pthread_mutex_lock(&job->mutex);
	while (!job->stop && job->allowed <= at)
		pthread_cond_wait(&job->more, &job->mutex);
	uint64_t allowed = job->stop ? at : job->allowed;
	pthread_mutex_unlock(&job->mutex);
	return allowed < job->len ? allowed : job->len;
}

/* By the kernel alone, which spares half the work. Where it cannot, or fails, reading and writing go on and find out why. */
static ssize_t copy_within(const struct hash_job *job, uint64_t at, size_t len)
{
	off_t from = (off_t)(job->from + at), to = from;
	return sys.copy_file_range(job->fd, &from, job->to, &to, len, 0);
}

/* stream NULL: the bytes are copied. */
static int go_through(struct hash_job *job, struct digest_stream *stream)
{
	OWNED char *chunk = mem_alloc(CHUNK);
	for (uint64_t at = 0; at < job->len;) {
		uint64_t until = wait_for_more(job, at);
		if (until <= at)
			return err_set(&job->err, ERR_SIGINT, "interrupted");
		while (at < until) {
			size_t want = until - at < CHUNK ? (size_t)(until - at) : CHUNK;
			ssize_t copied = stream ? 0 : copy_within(job, at, want);
			if (copied > 0) {
				at += (uint64_t)copied;
				continue;
			}
			ssize_t got = sys.pread(job->fd, chunk, want, (off_t)(job->from + at));
			if (got < 0 && errno == EINTR)
				continue;
			if (got < 0)
				return err_set_errno(&job->err, ERR_FAILED, errno, "cannot read the file to hash it");
			if (got == 0)
				return err_set(&job->err, ERR_DATA, "the file became shorter while it was read");
			if (stream)
				digest_add(stream, chunk, (size_t)got);
			else if (remote_write_at(job->to, chunk, (size_t)got, job->from + at) < 0)
				return err_set_errno(&job->err, ERR_FAILED, errno, "cannot write the copy");
			at += (uint64_t)got;
			atomic_store_explicit(&job->at, at, memory_order_relaxed);
		}
	}
	return 0;
}

void hash_job_is_done(struct hash_job *job)
{
	uint64_t one = 1;
	fs_write_all(job->event_fd, &one, sizeof(one));
}

static void *run(void *arg)
{
	struct hash_job *job = arg;
	struct digest_stream *stream = job->kind == DIGEST_NONE ? NULL : digest_begin(job->kind);
	job->status = go_through(job, stream);
	if (stream && job->status == 0)
		digest_end(stream, &job->digest);
	else if (stream)
		digest_drop(stream);
	hash_job_is_done(job);
	return NULL;
}

static void free_job(struct hash_job *job)
{
	loop_remove_fd(job->loop, job->source);
	fs_close_fd(&job->event_fd);
	pthread_cond_destroy(&job->more);
	pthread_mutex_destroy(&job->mutex);
	err_release(&job->err);
	free(job);
}

static void on_event(void *ctx, int fd UNUSED, uint32_t events UNUSED)
{
	struct hash_job *job = ctx;
	if (job->lanes)
		hash_lanes_detach(job->lanes, job);
	else
		pthread_join(job->thread, NULL);
	job->done(job->ctx, job->status, &job->digest, &job->err);
	free_job(job);
}

static struct hash_job *start(const struct hash_job *what, struct err *err)
{
	int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event_fd < 0) {
		err_set_errno(err, ERR_FAILED, errno, "cannot make an event descriptor");
		return NULL;
	}
	struct hash_job *job = mem_alloc(sizeof(*job));
	*job = *what;
	job->event_fd = event_fd;
	pthread_mutex_init(&job->mutex, NULL);
	pthread_cond_init(&job->more, NULL);
	job->source = loop_add_fd(job->loop, event_fd, EPOLLIN, on_event, job);
	int number = job->lanes ? hash_lanes_attach(job->lanes, job) : pthread_create(&job->thread, NULL, run, job);
	if (number) {
		free_job(job);
		err_set_errno(err, ERR_FAILED, number, "cannot start a thread");
		return NULL;
	}
	return job;
}

struct hash_job *hash_job_start(struct loop *loop, enum digest_kind kind, int fd, uint64_t from, uint64_t len, uint64_t allowed,
				hash_done_fn *done, void *ctx, struct err *err)
{
	struct hash_job what = { .loop = loop, .kind = kind, .fd = fd, .to = -1, .from = from, .len = len, .allowed = allowed, .done = done,
				 .ctx = ctx };
	return start(&what, err);
}

struct hash_job *hash_job_start_shared(struct hash_lanes *lanes, struct loop *loop, int fd, uint64_t len, uint64_t allowed, hash_done_fn *done,
				       void *ctx, struct err *err)
{
	struct hash_job what = { .loop = loop, .lanes = lanes, .kind = DIGEST_MD5, .fd = fd, .to = -1, .len = len, .allowed = allowed,
				 .done = done, .ctx = ctx };
	return start(&what, err);
}

struct hash_job *hash_job_start_copy(struct loop *loop, int fd, int to, uint64_t len, uint64_t allowed, hash_done_fn *done, void *ctx,
				     struct err *err)
{
	struct hash_job what = { .loop = loop, .kind = DIGEST_NONE, .fd = fd, .to = to, .len = len, .allowed = allowed, .done = done, .ctx = ctx };
	return start(&what, err);
}

void hash_job_allow(struct hash_job *job, uint64_t allowed)
{
	if (job->lanes) {
		hash_lanes_allow(job->lanes, job, allowed);
		return;
	}
	pthread_mutex_lock(&job->mutex);
	job->allowed = allowed;
	pthread_cond_signal(&job->more);
	pthread_mutex_unlock(&job->mutex);
}

uint64_t hash_job_at(struct hash_job *job)
{
	return atomic_load_explicit(&job->at, memory_order_relaxed);
}

void hash_job_drop(struct hash_job *job)
{
	if (!job)
		return;
	if (job->lanes) {
		hash_lanes_detach(job->lanes, job);
	} else {
		pthread_mutex_lock(&job->mutex);
		job->stop = true;
		pthread_cond_signal(&job->more);
		pthread_mutex_unlock(&job->mutex);
		pthread_join(job->thread, NULL);
	}
	free_job(job);
}
