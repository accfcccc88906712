/*
 * Inside snapshots: what asking (snapshot_ask.c) and keeping (snapshot.c) share of the format.
 */
#ifndef STORE_SNAPSHOT_INTERNAL_H
#define STORE_SNAPSHOT_INTERNAL_H

#include "base/fs.h"
#include "store/codec.h"
#include "store/snapshot.h"

enum { SNAPSHOT_ENTRY_EXISTS = 1, SNAPSHOT_ENTRY_FOLLOW = 2, SNAPSHOT_ENTRY_DENIED = 4 };

/* Directories of a state directory. */
enum snapshot_shelf { SHELF_RUNS = SNAPSHOT_RUNS, SHELF_GRAPHS = SNAPSHOT_GRAPHS, SHELF_SINCE };

/* Where the file of a question is. */
bool snapshot_place(const char *root, enum snapshot_shelf shelf, const struct buf *question, struct buf *dir, struct buf *file);

/* A snapshot's parts, in its bytes. */
struct snapshot_parts {
	uint64_t sum, boot, transaction, files;
	const void *question, *answer;
	size_t question_len, answer_len;
	struct codec_in rest; /* from the variables on */
};
/* False if the bytes are none, or of another question. */
bool snapshot_parse(const struct buf *bytes, const struct buf *question, struct snapshot_parts *ret);
/* An entry of a block. */
struct snapshot_entry {
	uint8_t flags;
	const char *name;
	struct fs_stamp stamp;
};
bool snapshot_next_entry(struct codec_in *in, struct snapshot_entry *ret);

/* In every field: what fs_stamp_same forgives may be looked at the long way. */
bool snapshot_is_identical(const struct fs_stamp *a, const struct fs_stamp *b);

#endif
