/*
 * DVC's object cache: <dir>/files/md5/<2 hex>/<30 hex>[.dir], one read-only file an object, named by the md5 of its bytes.
 * ".dir" objects are the manifests of directories. Layout and modes: DVC 3.x (docs/dvc-compat.md).
 *
 *     struct odb odb;
 *     odb_init(&odb, "/repo/.dvc/cache", false);
 *     odb_import(&odb, items, count, NULL, err);       work-tree files to objects
 *     odb_put(&odb, &id, manifest.data, manifest.len, err);
 *     odb_export(&odb, exports, count, NULL, err);     objects to new files, verified
 *     odb_release(&odb);
 *
 * Objects are written to <dir>/.mlmake-tmp (outside of files/md5, where a garbage collection of another program looks), hashed
 * there, synced in batches, renamed, and their directories synced: once a call returns 0 a power cut loses nothing.
 * A temporary directory belongs to one process, which holds a lock on it; those of dead processes are removed.
 * Calls are for one thread; they use many inside.
 */
#ifndef STORE_ODB_H
#define STORE_ODB_H

#include "base/err.h"
#include "base/fs.h"
#include "base/vec.h"
#include "formats/digest.h"
#include "store/tempdir.h"

struct odb_id {
	struct digest digest; /* DIGEST_MD5; or of DVC 2, whose objects have a place of their own, DIGEST_MD5_DOS2UNIX */
	bool is_dir;          /* the manifest of a directory */
};

/* A large object that this process made of bytes that it had verified, as it was then. */
struct odb_made {
	struct odb_id id;
	struct fs_stamp stamp;
};

/* See odb_offer. */
struct odb_offered {
	struct odb_id id;
	char *path;
	struct fs_stamp stamp;
};

struct odb {
	char *dir;        /* absolute */
	bool shared;      /* cache.shared = group: directories get 02775 */
	struct temp_dir temp; /* made when something is written */
	uint64_t temp_next;
	VEC(struct odb_made) made;
	VEC(struct odb_offered) offered;
};

void odb_init(struct odb *odb, const char *dir, bool shared);
void odb_release(struct odb *odb);

/* The id of what a directory's manifest lists. */
struct odb_id odb_member(const struct odb_id *dir, const uint8_t md5[16]);

/* Below the cache and on remotes: "files/md5/ab/cdef...[.dir]", and of DVC 2 "ab/cdef...[.dir]". */
void odb_add_key(struct buf *out, const struct odb_id *id);
void odb_add_path(const struct odb *odb, struct buf *out, const struct odb_id *id);

/* The reverse; false for another kind of key. */
bool odb_id_of_key(const char *key, struct odb_id *ret);

/* Whether the object is there, by its stat alone: a regular file that nobody may write, empty only if its name says so.
 * An object with write permission is hashed first; a right one is made read-only, a wrong one counts as absent. */
bool odb_has(const struct odb *odb, const struct odb_id *id, uint64_t *ret_size);

/* Whether a file of that name is there, whatever is in it: what odb_has denies is damaged then. */
bool odb_exists(const struct odb *odb, const struct odb_id *id);

/* Whether files of those names are there, for many and in a hurry: directories are listed, no object is looked at. */
void odb_list_many(const struct odb *odb, const struct odb_id *ids, size_t count, bool *ret_present);

/* odb_has for many, of which the sizes are known: an object of another size counts as absent. */
void odb_has_many(const struct odb *odb, const struct odb_id *ids, const uint64_t *sizes, size_t count, bool *ret_present);

/* A value that is another one after an object came or went, without listing: the stamps of the fan-out directories. False where that cannot
 * be told: one of them is not on the device, or is younger than before (a reading of the file system's clock; store/clock.h). */
bool odb_fingerprint(const struct odb *odb, uint64_t device, int64_t before, struct digest *ret);

/* Called on the calling thread after each batch, and every so often during it: bytes_done advances within large files, too. Returns false to
 * stop after the batch (ERR_SIGINT). */
struct odb_sink {
	bool (*progress)(void *ctx, size_t items_done, uint64_t bytes_done);
	void *ctx;
};

/* Takes files in, links followed. One that changes meanwhile is an error. An object that is there already is read and
 * replaced if damaged. All of a batch or none of it become objects. */
struct odb_import {
	const char *path;
	struct digest ret_digest;
	struct fs_stamp ret_stamp; /* of the file, before it was read */
};
int odb_import(struct odb *odb, struct odb_import *items, size_t count, const struct odb_sink *sink, struct err *err) MUST_CHECK;

int odb_put(struct odb *odb, const struct odb_id *id, const void *bytes, size_t len, struct err *err) MUST_CHECK;

/* A fresh name for a file that odb_publish will take; appended to out. */
int odb_temp_path(struct odb *odb, struct buf *out, struct err *err) MUST_CHECK;

/* Where interrupted downloads of objects are kept: on the same file system, not swept with the temporaries. Appended to out; need not exist. */
void odb_partial_dir(const struct odb *odb, struct buf *out);

/* Makes objects of temporaries whose bytes the caller has verified. Those that it did not get to are left. */
struct odb_publish {
	const char *temp;
	struct odb_id id;
};
int odb_publish(struct odb *odb, const struct odb_publish *items, size_t count, struct err *err) MUST_CHECK;

/* A second file of the bytes of an object that odb_publish has taken, in a place of the caller's that is its own: an export that would copy the
 * object, to the same file system, renames that file instead if it is still as it is now. */
void odb_offer(struct odb *odb, const struct odb_id *id, const char *path);

/* The bytes of a manifest in pieces. What take has seen is verified once the call has returned 0. It returns -1 with err for what it cannot
 * use; then, if the bytes are right, that is the call's error. NULL: they are only verified. ERR_DATA: absent, damaged or more than max
 * bytes. */
typedef int odb_piece_fn(void *ctx, const void *bytes, size_t len, struct err *err);
int odb_read_pieces(const struct odb *odb, const struct odb_id *id, uint64_t max, odb_piece_fn *take, void *ctx, struct err *err) MUST_CHECK;

/* Ways to make a file of an object, best first. What the file system refuses, between devices or without reflinks, gives way to the next, and the
 * last one to a copy, which is a reflink where it can be. */
enum odb_link { ODB_COPY, ODB_REFLINK, ODB_HARDLINK, ODB_SYMLINK };
struct odb_links {
	enum odb_link order[4];
	size_t count; /* 0: a copy */
};
/* Whether files may be links, which share the bytes of the object. */
bool odb_links_share(const struct odb_links *links);

/* Makes new files of objects. `to` must not exist, its directory must. Every copy is verified by its digest, but those of large objects that this very
 * process has published and that are as it left them (their stamp says). A damaged or absent one leaves no file. */
enum odb_result { ODB_OK, ODB_ABSENT, ODB_DAMAGED };
struct odb_export {
	struct odb_id id;
	const char *to;
	bool exec;
	const struct odb_links *links; /* NULL: a copy */
	enum odb_result ret_result;
	struct fs_stamp ret_stamp; /* of the new file */
};
int odb_export(struct odb *odb, struct odb_export *items, size_t count, const struct odb_sink *sink, struct err *err) MUST_CHECK;

/* Every object file by its name, whatever is in it; other files are passed over. visit returns -1 to stop with err. It may remove
 * the object that it is shown. */
typedef int odb_visit_fn(void *ctx, const struct odb_id *id, uint64_t size, struct err *err);
int odb_each(const struct odb *odb, odb_visit_fn *visit, void *ctx, struct err *err) MUST_CHECK;

/* Moves a damaged object out of the way, to .mlmake-tmp/damaged; says where. */
int odb_quarantine(struct odb *odb, const struct odb_id *id, struct buf *ret_path, struct err *err) MUST_CHECK;

#endif
