/*
 * The record of one directory's files: a table of fixed entries sorted by name, and their names behind it. Made to
 * be searched where it lies.
 */
#ifndef STORE_STATREC_H
#define STORE_STATREC_H

#include "base/buf.h"
#include "formats/digest.h"

struct statrec_entry {
	const char *name; /* not NUL-terminated in a record */
	size_t name_len;
	struct fs_stamp stamp; /* without dev, which is 0: its number may differ after a boot */
	bool unsynced;         /* may not have reached the disk: good for the boot of the record alone */
	struct digest digest;
};

struct statrec {
	char *bytes; /* owned */
	size_t len;
	size_t count;
	uint64_t boot;
	size_t cursor; /* where a search in sorted order goes on */
};

void statrec_release(struct statrec *rec);

/* Copies the record; an empty one if it is damaged or of another kind. */
void statrec_load(struct statrec *rec, enum digest_kind kind, const void *bytes, size_t len);
void statrec_at(const struct statrec *rec, enum digest_kind kind, size_t index, struct statrec_entry *ret);
/* The index of a name, or SIZE_MAX. */
size_t statrec_find(struct statrec *rec, const char *name, size_t name_len);

/* Writing: begin, add in the order of names, end. */
struct statrec_writer {
	struct buf fixed;
	struct buf names;
	uint32_t count;
};
void statrec_begin(struct statrec_writer *w);
void statrec_add(struct statrec_writer *w, const struct statrec_entry *entry);
void statrec_end(struct statrec_writer *w, enum digest_kind kind, uint64_t boot, struct buf *out); /* frees the writer */

/* By bytes, as the entries are sorted. */
int statrec_compare(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
