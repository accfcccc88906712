/*
 * Downloads in parts that were interrupted: what a later run needs to go on with one. For remote_s3_large.c.
 *
 * In the directory that the remote's user names (remote_spec.partial_dir), on the file system where fetched objects go: the bytes, in a file of
 * the object's whole length, and beside it, with ".parts" behind its name, a record: place, key, size, size of parts and ETag, and how many bytes of
 * each part are there, in numbers of fixed width that are written in place while bytes arrive. Nothing has to be done at the end, so a process that is
 * killed loses next to nothing; the digest of the whole tells where a power cut left a record without its bytes. Whoever fetches holds a
 * lock on the record; another one fetches to a file of its own.
 */
#ifndef NET_S3_PARTIAL_H
#define NET_S3_PARTIAL_H

#include "base/err.h"
#include "formats/digest.h"

struct s3_partial {
	char *path;         /* of the bytes; NULL: nothing is kept */
	int record;         /* its descriptor, locked */
	uint64_t size, part_size;
	char *etag;
	uint64_t *there;    /* bytes of each part, from its beginning */
	unsigned parts;
	uint64_t numbers_at; /* where they stand in the record */
};
#define S3_PARTIAL_INIT { .record = -1 }

/* Whether dir holds any, so that looking for an object's is worth it. Removes what nobody went on with for days. */
bool s3_partial_any(const char *dir);

/* What is there of an object: its bytes, opened for writing, and the record. -1 if there is nothing to go on with, or another process is at it. */
int s3_partial_open(struct s3_partial *partial, const char *dir, const char *place, const char *key, const struct digest *expect);

/* Begins one: the file at `from`, open as fd, moves to partial->path. Nothing is kept (path NULL) where that cannot be done: no ETag, another process
 * is at it, another file system. */
void s3_partial_begin(struct s3_partial *partial, const char *dir, const char *place, const char *key, const struct digest *expect, const char *from,
		      uint64_t size, uint64_t part_size, const char *etag);

/* So many bytes of the part are in the file now. */
void s3_partial_note(struct s3_partial *partial, unsigned part, uint64_t there);
/* None of them count: they were wrong. */
void s3_partial_void(struct s3_partial *partial);

/* All is there and right: the bytes move to `to`, the record goes. */
int s3_partial_finish(struct s3_partial *partial, int fd, const char *to, struct err *err) MUST_CHECK;
/* Removes bytes and record. */
void s3_partial_drop(struct s3_partial *partial);
/* Keeps them. */
void s3_partial_release(struct s3_partial *partial);

#endif
