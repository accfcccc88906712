/*
 * The digests of files, without reading those that did not change.
 *
 *     struct hashes *hashes;
 *     hashes_new(state, root, &hashes, err);
 *     struct hash_item items[] = {{ .path = "data/train.csv" }, ...};
 *     hashes_lookup_many(hashes, DIGEST_MD5, items, count);
 *     for each: if (items[i].err) ... else use items[i].type, .digest
 *     hash_items_release(items, count);
 *     hashes_save(hashes, err); hashes_free(hashes);
 *
 * A digest is taken from the record of an earlier call where the file's stamp (fs_stamp_same, the device left out)
 * equals that of the record. No record is kept of a file whose mtime or ctime was not older than the reading of it,
 * by the file system's own clock: it could change again without a trace. Records of files that may not be on disk yet
 * carry the boot id and count for nothing after the next boot. Empty files are neither read nor recorded. Symbolic links are content: the digest is that of
 * the target's text. The executable bit is reported beside the digest.
 *
 * Records are kept one a directory and kind in the state database. Where many files are asked for, stat and reading go over all
 * processors; paths in sorted order are found fastest.
 */
#ifndef STORE_HASHES_H
#define STORE_HASHES_H

#include "formats/digest.h"
#include "store/state.h"

struct hashes;

enum hash_type { HASH_ABSENT, HASH_FILE, HASH_LINK, HASH_DIR, HASH_SPECIAL };

struct hash_item {
	const char *path;      /* in: below the root, or absolute; the caller's */
	bool follow;           /* in: what a symbolic link leads to is meant */
	const struct fs_stamp *seen; /* in: the stamp, if the caller has just looked; else NULL */
	enum hash_type type;
	bool executable;       /* a regular file with the owner's x bit */
	bool was_read;         /* the file's bytes were read for this answer */
	bool racy;             /* it could have changed since, or can, and have the same stamp */
	struct digest digest;  /* HASH_FILE and HASH_LINK; DIGEST_NONE for the others */
	struct fs_stamp stamp; /* as it was before reading; zero for HASH_ABSENT */
	struct err *err;       /* owned; NULL unless this one failed (unreadable; changing all the time) */
};

/* state may be NULL: nothing is remembered then. root is absolute. The caller keeps state open. */
int hashes_new(struct state *state, const char *root, struct hashes **ret, struct err *err) MUST_CHECK;
void hashes_free(struct hashes *hashes); /* what was not saved is forgotten; NULL is fine */

void hashes_lookup_many(struct hashes *hashes, enum digest_kind kind, struct hash_item *items, size_t count);
/* The same from the records alone: what has to be read has the digest DIGEST_NONE. For those who read the files anyway, and tell what they
 * found with hashes_learn; clock: hashes_clock from before they read. */
void hashes_known_many(struct hashes *hashes, enum digest_kind kind, struct hash_item *items, size_t count);
int64_t hashes_clock(struct hashes *hashes);
void hashes_learn(struct hashes *hashes, enum digest_kind kind, const char *path, const struct digest *digest,
		  const struct fs_stamp *stamp, int64_t clock);
void hash_items_release(struct hash_item *items, size_t count); /* their errors */

/* Large files are left to somebody who reads them beside the caller's other work: while left is not NULL, a lookup does not read a file of from bytes or
 * more, gives DIGEST_NONE for it, and adds it to left, which is the caller's. Whoever has read it tells hashes_learn. */
struct hash_left {
	char *path;
	enum digest_kind kind;
	bool follow;
};
struct hashes_left {
	struct hash_left *at;
	size_t len, cap;
};
void hashes_leave(struct hashes *hashes, uint64_t from, struct hashes_left *left);
bool hashes_are_left(const struct hashes *hashes); /* any */
void hashes_left_release(struct hashes_left *left);

/* For those who go through very many files in pieces. trim drops what was read of records and can be read again; hashes_unsaved counts what
 * hashes_save would write, 160 bytes each until then. */
void hashes_trim(struct hashes *hashes);
size_t hashes_unsaved(const struct hashes *hashes);

/* told hears, every so often while many bytes are read, how many were so far, since hashes_new. */
void hashes_watch(struct hashes *hashes, digest_told_fn *told, void *ctx);

/* The same for one path; the item's error is the call's. item->err stays NULL. */
int hashes_lookup(struct hashes *hashes, enum digest_kind kind, struct hash_item *item, struct err *err) MUST_CHECK;

/* Stats paths on all processors ahead of single lookups, which take these stamps until hashes_forget_stamps; the strings must live as
 * long. For
 * moments in which nothing of ours writes. */
void hashes_prefetch(struct hashes *hashes, const char *const *paths, size_t count);
void hashes_forget_stamps(struct hashes *hashes);

/* Remembers a digest that the caller knows, because it wrote the file: stamp is what the file had while nobody else could
 * reach it yet, or was verified against. Looked at again (lstat) by hashes_save, and dropped if it is different or too fresh. */
void hashes_record(struct hashes *hashes, enum digest_kind kind, const char *path, const struct digest *digest,
		   const struct fs_stamp *stamp);

/* Everything below a directory (the directory itself is not listed), sorted by path; paths owned by the tree and
 * relative to dir. Symbolic links are not followed. The first unreadable member is the call's error. */
struct hash_tree {
	struct hash_item *at;
	size_t len, cap;
	struct arena arena;
};
int hashes_tree(struct hashes *hashes, enum digest_kind kind, const char *dir, struct hash_tree *ret, struct err *err) MUST_CHECK;
void hash_tree_release(struct hash_tree *tree);
/* One digest (sha256) for the whole: a framed list of path, type, executable bit and digest. */
void hash_tree_digest(const struct hash_tree *tree, struct digest *ret);

/* Hands the new records to the state database (whose state_flush makes them durable). A few small files in a directory of thousands are left
 * to be read again: one record holds the whole directory. */
int hashes_save(struct hashes *hashes, struct err *err) MUST_CHECK;

const char *hashes_root(const struct hashes *hashes);

/* How many files were read since hashes_new. */
uint64_t hashes_files_read(const struct hashes *hashes);

#endif
