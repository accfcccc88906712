#include "formats/md5_files.h"

#include "base/mem.h"
#include "base/pool.h"
#include "formats/digest_input.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Small enough that the buffers of 16 lanes stay in the second-level cache. */
#define LANE_BUFFER ((size_t)32 * 1024)

struct lane {
	struct digest_job *job; /* NULL: idle */
	struct digest_input input;
	uint8_t *buffer;        /* LANE_BUFFER and room for the padding */
	const uint8_t *at;
	size_t blocks;          /* whole blocks from at on */
	bool last;              /* the padding is among them */
};

struct shared {
	const struct md5_backend *backend;
	struct digest_job *jobs;
	size_t count;
	unsigned lanes; /* that one thread uses */
	_Atomic size_t next;
};

static void job_failed(struct digest_job *job)
{
	job->ret_status = -1;
	job->ret_stable = false;
}

/* Reads on. At the end of the file the padding follows what was read. */
static int lane_fill(struct lane *lane)
{
	size_t got;
	if (digest_input_read(&lane->input, lane->buffer, LANE_BUFFER, &got, &lane->job->ret_err) < 0)
		return -1;
	lane->at = lane->buffer;
	if (got == LANE_BUFFER) {
		lane->blocks = LANE_BUFFER / MD5_BLOCK;
		return 0;
	}
	size_t whole = got - got % MD5_BLOCK;
	lane->blocks = (whole + md5_pad(lane->buffer + whole, lane->input.total)) / MD5_BLOCK;
	lane->last = true;
	return 0;
}

static int start_input(struct lane *lane)
{
	lane->input.meter = lane->job->meter;
	return lane_fill(lane);
}

/* Gives the lane the next file that can be read; false if there is none. */
static bool lane_take(struct shared *shared, struct lane *lane, struct md5_state *state, unsigned number)
{
	for (;;) {
		size_t index = atomic_fetch_add_explicit(&shared->next, 1, memory_order_relaxed);
		if (index >= shared->count)
			return false;
		struct digest_job *job = &shared->jobs[index];
		lane->job = job;
		lane->last = false;
		memset(&job->ret, 0, sizeof(job->ret));
		memset(&job->ret_stamp, 0, sizeof(job->ret_stamp));
		job->ret_status = 0;
		if (digest_input_open(&lane->input, job->path, &job->ret_err) == 0 && start_input(lane) == 0) {
			md5_lane_start(state, number);
			return true;
		}
		digest_input_close(&lane->input);
		job_failed(job);
		lane->job = NULL;
	}
}

/* What to do with a lane that has used up its blocks: finish the file, or read on. */
static void lane_advance(struct shared *shared, struct lane *lane, struct md5_state *state, unsigned number)
{
	struct digest_job *job = lane->job;
	if (lane->last) {
		job->ret.kind = DIGEST_MD5;
		md5_lane_result(state, number, job->ret.bytes);
		digest_input_finish(&lane->input, &job->ret_stamp, &job->ret_stable);
	} else if (lane_fill(lane) == 0) {
		return;
	} else {
		digest_input_close(&lane->input);
		job_failed(job);
	}
	lane->job = NULL;
	lane_take(shared, lane, state, number);
}

/* Runs as many blocks as every busy lane has. Returns false when no lane is busy. */
static bool lanes_step(struct shared *shared, struct lane *lanes, struct md5_state *state)
{
	const uint8_t *data[MD5_MAX_LANES];
	size_t blocks = LANE_BUFFER;
	unsigned busy = 0, one = 0;
	for (unsigned i = 0; i < shared->lanes; i++) {
		if (!lanes[i].job)
			continue;
		busy++;
		one = i;
		if (lanes[i].blocks < blocks)
			blocks = lanes[i].blocks;
	}
	if (!busy)
		return false;
	if (busy == 1) {
		md5_lane_alone(state, one, lanes[one].at, blocks);
	} else {
		for (unsigned i = 0; i < shared->backend->lanes; i++)
			data[i] = i < shared->lanes && lanes[i].job ? lanes[i].at : lanes[one].at;
		shared->backend->compress(state, data, blocks);
	}
	for (unsigned i = 0; i < shared->lanes; i++) {
		if (!lanes[i].job)
			continue;
		lanes[i].at += blocks * MD5_BLOCK;
		lanes[i].blocks -= blocks;
		if (!lanes[i].blocks)
			lane_advance(shared, &lanes[i], state, i);
	}
	return true;
}

static void work(void *ctx, size_t index)
{
	struct shared *shared = ctx;
	struct lane lanes[MD5_MAX_LANES];
	struct md5_state state;
	(void)index;
	memset(lanes, 0, sizeof(lanes));
	memset(&state, 0, sizeof(state));
	size_t each = LANE_BUFFER + (size_t)2 * MD5_BLOCK;
	uint8_t *buffers OWNED = mem_alloc(each * shared->lanes);
	for (unsigned i = 0; i < shared->lanes; i++) {
		lanes[i].input.fd = -1;
		lanes[i].buffer = buffers + each * i;
		if (!lane_take(shared, &lanes[i], &state, i))
			break;
	}
	while (lanes_step(shared, lanes, &state))
		;
}

void md5_files(const struct md5_backend *backend, unsigned threads, struct digest_job *jobs, size_t count)
{
	if (!threads)
		threads = pool_processors();
	if (threads > count)
		threads = (unsigned)count;
	if (!threads)
		return;
	struct shared shared = { .backend = backend, .jobs = jobs, .count = count };
	/* No thread may take so many lanes that another one goes without. */
	size_t share = (count + threads - 1) / threads;
	shared.lanes = share < backend->lanes ? (unsigned)share : backend->lanes;
	pool_each(threads, threads, work, &shared);
}
