/*
 * One call of put, get or check on an S3 remote: items share a fixed number of slots, each a request at a time. For remote_s3*.c only.
 *
 * Objects over run->large bytes go in parts (remote_s3_large.c), which take slots before further items do.
 */
#ifndef NET_REMOTE_S3_IMPL_H
#define NET_REMOTE_S3_IMPL_H

#include "net/hash_lanes.h"
#include "net/remote_impl.h"
#include "net/s3.h"
#include "net/s3_flow.h"

#define S3_MAX_PARTS 10000u
#define S3_SMALL (128u << 10) /* read into memory before it is sent */

struct remote_s3 {
	struct remote remote;
	struct loop *loop;
	struct s3 *s3;
	unsigned at_once;  /* requests that the last run found to be best; 0: there was none */
	char *resume_dir;  /* NULL: uploads that are interrupted are aborted */
	char *partial_dir; /* NULL: of downloads that are interrupted nothing is kept */
};

struct s3_run;
struct s3_large;

struct s3_slot {
	struct s3_run *run;
	struct remote_item *item; /* NULL: free */
	struct s3_op op;
	char *key;
	int fd;
	bool created;             /* get: item->path is ours to remove */
	bool damaged;             /* the bytes are not the item's: ret_err of the request says more */
	bool second;              /* get: it came damaged once and is fetched again */
	char *small;              /* up to S3_SMALL bytes, kept for the next item */
	size_t small_cap;
	struct digest_stream *stream;
	uint64_t moved;           /* by this try; of a part: what is there of it */
	uint64_t from;            /* get of a part: where this try began; of an item that is one: bytes that came */
	struct s3_large *large;   /* a part of it */
	unsigned part;
	struct hash_job *hash;    /* of the part to send */
	char payload_hash[DIGEST_HEX_MAX];
};

typedef void s3_begin_fn(struct s3_slot *slot, struct remote_item *item);

struct s3_run {
	struct remote_s3 *remote;
	struct remote_item *items;
	size_t count, next, settled;
	uint64_t bytes;
	uint64_t large, part; /* what is larger goes in parts, of so many bytes */
	s3_begin_fn *begin; /* starts slot->op for slot->item, or settles the item at once */
	bool put;
	bool partials;      /* get: earlier runs left some (net/s3_partial.h) */
	bool etags_are_md5; /* as one answer at least has shown */
	struct s3_slot *slots;
	size_t slot_count, running;
	struct s3_flow flow;
	VEC(struct s3_large *) larges;
	struct hash_lanes *lanes; /* what hashes them, if by md5 */
	const struct remote_sink *sink;
	uint64_t slowdowns, slowed_ms; /* of the server, when last looked at; when it last asked for less */
	bool stopped;
	struct err *err;    /* why it stopped */
};

/* Runs begin for every item and returns when all are settled, or -1. */
int s3_run_items(struct s3_run *run, struct err *err) MUST_CHECK;

/* Gives free slots work. After anything that settles an item, frees a slot or adds parts. */
void s3_run_fill(struct s3_run *run);
/* The item has its ret_state. */
void s3_run_settled(struct s3_run *run, struct remote_item *item);
/* A login page says 200 to anything: such an answer to an upload is a failure of the op. */
void s3_put_without_etag(struct s3_op *op, const struct remote_item *item);
/* Nothing more begins: other requests would fare no better. Takes over the reason, if it is the first. */
void s3_run_stop(struct s3_run *run, struct err *why);
/* Settles as failed or damaged by what ended the op; a hopeless one ends the run, and the item is left pending. Takes over op->ret_err. */
void s3_run_failed(struct s3_run *run, struct remote_item *item, struct s3_op *op, bool damaged);

/* Ends what the slot does, closes and frees; removes a file that it created unless `keep`. The slot is free then. */
void s3_slot_clear(struct s3_slot *slot, bool keep);
/* Prepares slot->op for a request on the item's object, of the version that the item names. */
void s3_slot_use(struct s3_slot *slot, struct remote_item *item, const char *method);

/* What an answer says of the version that it is about, for the item's ret_version. */
void s3_take_version(const struct http_request *request, const struct remote_item *item);

/* Begin functions. */
/* What the ETag of an answer about the item's object says of its bytes: it is their md5, unless they came in parts, were encrypted with a key
 * of KMS or the customer, or the server has its own idea of ETags. */
enum s3_etag { S3_ETAG_SILENT, S3_ETAG_SAME, S3_ETAG_OTHER };
enum s3_etag s3_judge_etag(const struct http_request *request, const struct remote_item *item);

void s3_begin_put(struct s3_slot *slot, struct remote_item *item);
void s3_begin_get(struct s3_slot *slot, struct remote_item *item);

/* Takes over the slot's descriptor; the slot is cleared. Of a get, the first part is in the file already. */
void s3_large_put(struct s3_slot *slot, uint64_t size);
void s3_large_get(struct s3_slot *slot, uint64_t size);
/* Goes on with the slot's item where an earlier run stopped; false, and the slot is as it was, if there is nothing of it. */
bool s3_large_go_on(struct s3_slot *slot);
/* Gives the slot a part of something large; false if there is none waiting. */
bool s3_large_take_part(struct s3_slot *slot);
bool s3_large_enough(const struct s3_run *run); /* no more of them at once */
/* Aborts an upload that earlier runs left, and nobody went on with for days; one at a time. */
bool s3_large_end_abandoned(struct remote_s3 *remote);
/* Drops all that are under way: uploads are aborted, files removed. */
void s3_large_drop_all(struct s3_run *run);

int s3_check(struct remote_s3 *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err) MUST_CHECK;

#endif
