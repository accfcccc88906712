/*
 * One call of put, get, check or remove on an ssh remote: items share a fixed number of slots. For remote_sftp*.c only.
 */
#ifndef NET_REMOTE_SFTP_IMPL_H
#define NET_REMOTE_SFTP_IMPL_H

#include "net/http_rate.h"
#include "net/remote_impl.h"
#include "net/sftp.h"

#define SFTP_WINDOW 16 /* reads or writes of one file under way */

struct remote_sftp {
	struct remote remote;
	struct loop *loop;
	struct remote_spec spec; /* strings owned */
	struct sftp *sftp;       /* NULL: not connected */
	struct http_rate rate;
	char *temp;              /* what temporary names begin with */
	int64_t clock_s;         /* of the other machine, when something was last written there */
	bool swept;              /* of what earlier puts left */
};

struct sftp_run;
struct sftp_slot;

struct chunk {
	struct sftp_slot *slot;
	uint64_t at;
	uint32_t len;
	bool busy;
};

struct sftp_slot {
	struct sftp_run *run;
	struct remote_item *item; /* NULL: free */
	struct chunk chunks[SFTP_WINDOW];
	size_t waiting;           /* answers to come */
	bool put, failed, lost;   /* failed: the item has its state, and the slot is taken down when nothing is under way */
	bool hash_again;          /* what came was out of order */
	struct buf handle;        /* empty: none */
	char *path, *temp;        /* there */
	int fd;
	bool created;             /* get: item->path is ours to remove */
	struct digest_stream *stream;
	uint64_t size, asked, hashed;
};

typedef void sftp_begin_fn(struct sftp_slot *slot);
struct sftp_run {
	struct remote_sftp *remote;
	struct remote_item *items;
	size_t count, next, settled;
	uint64_t bytes;
	sftp_begin_fn *begin;
	struct sftp_slot *slots;
	size_t slot_count;
	const struct remote_sink *sink;
	bool stopped;
};

/* Begin functions: start on slot->item, or settle it at once. */
void sftp_begin_get(struct sftp_slot *slot);
void sftp_begin_put(struct sftp_slot *slot);
void sftp_begin_check(struct sftp_slot *slot);
void sftp_begin_remove(struct sftp_slot *slot);
void sftp_begin_make(struct sftp_slot *slot); /* a directory */

/* Goes on with a file that waited for the rate. */
void sftp_slot_go_on(struct sftp_slot *slot);
/* Frees what the slot holds; removes a file that it created unless `keep`. It is free then. */
void sftp_slot_clear(struct sftp_slot *slot, bool keep);
/* The same, and its item is as if it had not been begun. */
void sftp_slot_begin_anew(struct sftp_slot *slot);

#endif
