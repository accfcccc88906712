/*
 * An object that moves in parts, as remote_s3_large.c (both ways, and up) and remote_s3_large_get.c (down) share it.
 */
#ifndef NET_REMOTE_S3_LARGE_H
#define NET_REMOTE_S3_LARGE_H

#include "net/remote_s3_impl.h"
#include "net/s3_partial.h"
#include "net/s3_resume.h"

struct s3_large {
	struct s3_run *run;
	struct remote_item *item;
	int fd;
	uint64_t size, part_size;
	uint64_t counted;        /* of run->bytes */
	unsigned parts, next, running, done;
	bool ready;              /* parts may be taken */
	bool hashed;
	bool ended;              /* settled, or about to be once the upload is aborted */
	bool is_gone;            /* what is there is of no use to a later run: the server knows the upload no more, or has another object */
	bool second;             /* get: fetched again after a wrong digest */
	struct hash_job *hash;
	char *key;
	char **etags;            /* put: of each part */
	struct s3_resume resume; /* put */
	char *upload_id;         /* put */
	char *etag;              /* get: of the version that is fetched */
	bool *have;              /* get: parts that are there */
	unsigned frontier;       /* get: parts there without a gap */
	uint64_t allowed;        /* get: bytes that the hash may read */
	bool resumed;            /* get: an earlier run began it */
	struct s3_partial partial; /* get */
	const char *twin;        /* get: the second file; NULL: none */
	int twin_fd;             /* -1: it is closed */
	struct hash_job *twinning; /* writes it; NULL: done */
	struct s3_op op;         /* start, complete, abort */
};

/* Takes over the slot's descriptor. part_size 0: the usual one, or more if it would be too many parts. */
struct s3_large *s3_large_new(struct s3_slot *slot, uint64_t size, uint64_t part_size);
/* Without settling the item. */
void s3_large_remove(struct s3_large *large);
uint64_t s3_large_part_len(const struct s3_large *large, unsigned part);
void s3_large_count(struct s3_large *large, uint64_t bytes);
void s3_large_uncount(struct s3_large *large);
int s3_large_start_hash(struct s3_large *large, uint64_t allowed, struct err *err) MUST_CHECK;
void s3_large_maybe_finish(struct s3_large *large);
/* Ends what its slots do. */
void s3_large_stop(struct s3_large *large);
/* End the object; they take what is in why or op->ret_err. */
void s3_large_give_up_for(struct s3_large *large, struct err *why);
void s3_large_give_up_for_op(struct s3_large *large, struct s3_op *op);

/* Down. */
void s3_large_begin_get_part(struct s3_slot *slot, struct s3_large *large);
/* All is there: it gets the item's name. The item has its ret_state then. */
void s3_large_finish_get(struct s3_large *large);
/* Ends what writes the second file, and removes it unless it is the item's. */
void s3_large_drop_twin(struct s3_large *large);
/* What is left of one that is not whole: kept for a later run, or removed. */
void s3_large_leave(struct s3_large *large);

#endif
