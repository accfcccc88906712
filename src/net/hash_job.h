/*
 * A digest of a range of a file, or a copy of it, made by a thread beside the event loop. The range may still be arriving: the thread
 * waits until hash_job_allow says that more of it may be read.
 *
 *     struct hash_job *job = hash_job_start(loop, DIGEST_MD5, fd, 0, size, 0, on_hashed, ctx);
 *     hash_job_allow(job, bytes_so_far);
 *     ... on_hashed(ctx, status, &digest, err) is called from a loop_step, and the job is gone.
 */
#ifndef NET_HASH_JOB_H
#define NET_HASH_JOB_H

#include "base/loop.h"
#include "formats/digest.h"

struct hash_job;
struct hash_lanes;

/* err is set where status is -1; the callee may move it. */
typedef void hash_done_fn(void *ctx, int status, const struct digest *digest, struct err *err);

/* Reads len bytes from `from`, of which the first `allowed` may be read at once. The descriptor stays the caller's, open until
 * done or drop. NULL with err if no thread starts. */
struct hash_job *hash_job_start(struct loop *loop, enum digest_kind kind, int fd, uint64_t from, uint64_t len, uint64_t allowed,
				hash_done_fn *done, void *ctx, struct err *err);
/* The md5 of the first len bytes, by the thread that all jobs of these lanes share (net/hash_lanes.h). */
struct hash_job *hash_job_start_shared(struct hash_lanes *lanes, struct loop *loop, int fd, uint64_t len, uint64_t allowed, hash_done_fn *done,
				       void *ctx, struct err *err);
/* Copies the first len bytes to the same places of the file `to`, which stays the caller's as well; the digest that done gets is of kind
 * DIGEST_NONE. */
struct hash_job *hash_job_start_copy(struct loop *loop, int fd, int to, uint64_t len, uint64_t allowed, hash_done_fn *done, void *ctx,
				     struct err *err);
void hash_job_allow(struct hash_job *job, uint64_t allowed);
/* How far it is: bytes that were hashed. */
uint64_t hash_job_at(struct hash_job *job);
/* Stops and waits until the thread has put the file down; done is not called. NULL is fine. */
void hash_job_drop(struct hash_job *job);

#endif
