/*
 * What a set of outputs consists of: every file, link and directory with its mode and digest. Made from the work tree
 * after a run, compared with it before the next, and kept in the output cache.
 *
 * Entries are sorted by path, a directory before what is in it; paths are relative to the project's root. An output that is a
 * directory is listed itself, with all below it.
 */
#ifndef STORE_MANIFEST_H
#define STORE_MANIFEST_H

#include "base/mem.h"
#include "store/codec.h"
#include "store/hashes.h"

struct manifest_entry {
	const char *path;   /* in the manifest's arena */
	enum hash_type type; /* HASH_FILE, HASH_LINK or HASH_DIR */
	uint32_t mode;      /* permission bits, 0777 at most */
	uint64_t size;
	struct digest digest; /* HASH_FILE, HASH_LINK (of the target's text); DIGEST_NONE for a directory */
	const char *target; /* HASH_LINK */
};

struct manifest {
	struct manifest_entry *at;
	size_t len, cap;
	struct arena arena;
};

/* Of the paths that exist; *ret_missing is the index of the first that does not, or SIZE_MAX. ERR_FAILED for what is neither file, link
 * nor directory. seen: stamps of the first seen_count paths, if the caller has just looked at them. */
int manifest_scan_seen(struct hashes *hashes, const char *root, const char *const *paths, size_t count, const struct fs_stamp *seen,
		       size_t seen_count, struct manifest *ret, size_t *ret_missing, struct err *err) MUST_CHECK;
int manifest_scan(struct hashes *hashes, const char *root, const char *const *paths, size_t count, struct manifest *ret,
		  size_t *ret_missing, struct err *err) MUST_CHECK;
void manifest_release(struct manifest *manifest);
void manifest_copy(const struct manifest *manifest, struct manifest *ret);

/* The digest of the whole: paths, types, executable bits and contents. */
void manifest_digest(const struct manifest *manifest, struct digest *ret);

/* Whether both describe the same: permission bits count only as far as the executable bit. */
bool manifest_same(const struct manifest *a, const struct manifest *b);

void manifest_add(struct buf *out, const struct manifest *manifest);
/* Reads what manifest_add wrote; false (and an empty manifest) if it is damaged. Says nothing about whether the paths are to be trusted. */
bool manifest_read(struct codec_in *in, struct manifest *ret);

/* Whether it may be put into the work tree: every path is safe (path_is_safe) and is one of the count outputs or lies in one through
 * directories that are listed, no path twice, and no link is absolute or leads out of the root. ERR_DATA names the entry. */
int manifest_check(const struct manifest *manifest, const char *const *outputs, size_t count, struct err *err) MUST_CHECK;

#endif
