#include "net/hash_lanes.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/vec.h"
#include "net/hash_job_impl.h"

#include <errno.h>
#include <stdlib.h>

/* Of each job in a turn. Those of a few jobs stay in the second-level cache, and whoever drops one does not wait long. */
#define CHUNK ((size_t)64 * 1024)

struct hash_lanes {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t more;   /* something to do */
	pthread_cond_t rested; /* a turn has ended */
	bool started, stop;
	VEC(struct hash_job *) jobs; /* that are not done */
};

struct hash_lanes *hash_lanes_new(void)
{
	struct hash_lanes *lanes = mem_alloc(sizeof(*lanes));
	pthread_mutex_init(&lanes->mutex, NULL);
	pthread_cond_init(&lanes->more, NULL);
	pthread_cond_init(&lanes->rested, NULL);
	return lanes;
}

static void forget(struct hash_lanes *lanes, const struct hash_job *job)
{
	for (size_t i = 0; i < lanes->jobs.len; i++) {
		if (lanes->jobs.at[i] == job)
			lanes->jobs.at[i] = lanes->jobs.at[--lanes->jobs.len];
	}
}

/* Takes the jobs for a turn, none if it is worth to wait for more. */
static size_t take(struct hash_lanes *lanes, struct hash_job *ret[MD5_MAX_LANES])
{
	size_t count = 0, waiting = 0;
	bool due = false;
	for (size_t i = 0; i < lanes->jobs.len && count < MD5_MAX_LANES; i++) {
		struct hash_job *job = lanes->jobs.at[i];
		uint64_t at = atomic_load_explicit(&job->at, memory_order_relaxed);
		if (job->stop)
			continue;
		if (at < job->len && job->allowed <= at) {
			waiting++;
			continue;
		}
		due = due || job->allowed >= job->len || job->allowed - at >= HASH_LANES_LAG;
		ret[count++] = job;
	}
	if (waiting && !due)
		return 0;
	for (size_t i = 0; i < count; i++) {
		ret[i]->taken = true;
		ret[i]->until = ret[i]->allowed < ret[i]->len ? ret[i]->allowed : ret[i]->len;
	}
	return count;
}

/* 0 as well where the job has failed, or is of no bytes. */
static size_t read_some(struct hash_job *job, uint8_t *chunk)
{
	uint64_t at = atomic_load_explicit(&job->at, memory_order_relaxed);
	size_t want = job->until - at < CHUNK ? (size_t)(job->until - at) : CHUNK;
	ssize_t got;
	if (!want)
		return 0;
	do {
		got = sys.pread(job->fd, chunk, want, (off_t)(job->from + at));
	} while (got < 0 && errno == EINTR);
	if (got > 0)
		return (size_t)got;
	job->status = got < 0 ? err_set_errno(&job->err, ERR_FAILED, errno, "cannot read the file to hash it")
			      : err_set(&job->err, ERR_DATA, "the file became shorter while it was read");
	return 0;
}

static void hash(struct hash_job **jobs, size_t count, uint8_t *chunks)
{
	struct md5_piece pieces[MD5_MAX_LANES];
	size_t got[MD5_MAX_LANES];
	for (size_t i = 0; i < count; i++) {
		got[i] = read_some(jobs[i], chunks + i * CHUNK);
		pieces[i] = (struct md5_piece){ &jobs[i]->md5, chunks + i * CHUNK, got[i] };
	}
	md5_streams_add(md5_backend_for(count), pieces, count);
	for (size_t i = 0; i < count; i++)
		atomic_fetch_add_explicit(&jobs[i]->at, got[i], memory_order_relaxed);
}

/* Nobody frees a job in the middle of this: that takes the mutex. */
static void put_back(struct hash_lanes *lanes, struct hash_job **jobs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct hash_job *job = jobs[i];
		bool whole = job->status == 0 && atomic_load_explicit(&job->at, memory_order_relaxed) == job->len;
		job->taken = false;
		if (whole) {
			job->digest.kind = DIGEST_MD5;
			md5_stream_end(&job->md5, job->digest.bytes);
		}
		if (!whole && job->status == 0)
			continue;
		forget(lanes, job);
		hash_job_is_done(job);
	}
	pthread_cond_broadcast(&lanes->rested);
}

static void *run(void *arg)
{
	struct hash_lanes *lanes = arg;
	struct hash_job *jobs[MD5_MAX_LANES];
	uint8_t *chunks OWNED = mem_alloc(MD5_MAX_LANES * CHUNK);
	pthread_mutex_lock(&lanes->mutex);
	while (!lanes->stop) {
		size_t count = take(lanes, jobs);
		if (!count) {
			pthread_cond_wait(&lanes->more, &lanes->mutex);
			continue;
		}
		pthread_mutex_unlock(&lanes->mutex);
		hash(jobs, count, chunks);
		pthread_mutex_lock(&lanes->mutex);
		put_back(lanes, jobs, count);
	}
	pthread_mutex_unlock(&lanes->mutex);
	return NULL;
}

void hash_lanes_free(struct hash_lanes *lanes)
{
	if (!lanes)
		return;
	if (lanes->started) {
		pthread_mutex_lock(&lanes->mutex);
		lanes->stop = true;
		pthread_cond_signal(&lanes->more);
		pthread_mutex_unlock(&lanes->mutex);
		pthread_join(lanes->thread, NULL);
	}
	vec_release(&lanes->jobs);
	pthread_cond_destroy(&lanes->rested);
	pthread_cond_destroy(&lanes->more);
	pthread_mutex_destroy(&lanes->mutex);
	free(lanes);
}

int hash_lanes_attach(struct hash_lanes *lanes, struct hash_job *job)
{
	int number = lanes->started ? 0 : pthread_create(&lanes->thread, NULL, run, lanes);
	if (number)
		return number;
	lanes->started = true;
	md5_stream_begin(&job->md5);
	pthread_mutex_lock(&lanes->mutex);
	vec_push(&lanes->jobs, job);
	pthread_cond_signal(&lanes->more);
	pthread_mutex_unlock(&lanes->mutex);
	return 0;
}

void hash_lanes_allow(struct hash_lanes *lanes, struct hash_job *job, uint64_t allowed)
{
	pthread_mutex_lock(&lanes->mutex);
	job->allowed = allowed;
	pthread_cond_signal(&lanes->more);
	pthread_mutex_unlock(&lanes->mutex);
}

void hash_lanes_detach(struct hash_lanes *lanes, struct hash_job *job)
{
	pthread_mutex_lock(&lanes->mutex);
	job->stop = true;
	while (job->taken)
		pthread_cond_wait(&lanes->rested, &lanes->mutex);
	forget(lanes, job);
	/* Those that are left may have waited for this one alone. */
	pthread_cond_signal(&lanes->more);
	pthread_mutex_unlock(&lanes->mutex);
}
