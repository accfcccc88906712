/*
 * Digests: md5 for what DVC tracks, sha256 for all else (sha1 where others name files by it). A digest knows its
 * kind, so the two are never compared with each other.
 *
 * md5 of many files is computed in batches, several files to one set of vector registers (formats/md5_lanes.c).
 */
#ifndef FORMATS_DIGEST_H
#define FORMATS_DIGEST_H

#include "base/err.h"
#include "base/fs.h"

/* DOS2UNIX: what DVC 2 named objects by, md5 with CRLF as LF in what looks like text (formats/dos2unix.h). Values are kept in files. */
enum digest_kind { DIGEST_NONE, DIGEST_MD5, DIGEST_SHA256, DIGEST_SHA1, DIGEST_MD5_DOS2UNIX };

#define DIGEST_MAX 32
#define DIGEST_HEX_MAX (2 * DIGEST_MAX + 1)

struct digest {
	uint8_t kind;
	uint8_t bytes[DIGEST_MAX]; /* the first digest_len(kind); the rest 0 */
};

size_t digest_len(enum digest_kind kind); /* 0, 16, 32, 20, 16 */
bool digest_eq(const struct digest *a, const struct digest *b);
void digest_hex(const struct digest *digest, char out[DIGEST_HEX_MAX]);
bool digest_parse(struct digest *ret, enum digest_kind kind, const char *hex);

/* Streaming. begin, any number of add, then end once (or drop). */
struct digest_stream;
struct digest_stream *digest_begin(enum digest_kind kind);
void digest_add(struct digest_stream *stream, const void *bytes, size_t len);
void digest_end(struct digest_stream *stream, struct digest *ret); /* frees the stream */
void digest_drop(struct digest_stream *stream);

void digest_bytes(enum digest_kind kind, const void *bytes, size_t len, struct digest *ret);
void digest_hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t len, uint8_t ret[32]);

/* One file: stamped before and after; ret_stable is false if it changed while it was read (the digest means nothing then). */
int digest_file(enum digest_kind kind, const char *path, struct digest *ret, struct fs_stamp *ret_stamp, bool *ret_stable,
		struct err *err) MUST_CHECK;

/* Many files at once, on all processors. Zero-initialise the jobs and set path. Each gets its own result; the call itself cannot fail.
 * What is not a regular file is an error of its job (a FIFO would wait for ever). */
struct digest_job {
	const char *path;
	uint8_t kind; /* of digest_files_mixed alone */
	struct meter *meter; /* gets the bytes as they are read; NULL: nobody watches */
	struct digest ret;
	struct fs_stamp ret_stamp;
	bool ret_stable;
	int ret_status; /* 0, or -1 and ret_err is set (release it) */
	struct err ret_err;
};
void digest_files(enum digest_kind kind, struct digest_job *jobs, size_t count);
/* Each by its own kind. */
void digest_files_mixed(struct digest_job *jobs, size_t count);

/* digest_files_mixed, while told hears on this thread every so often how many bytes were read so far. */
typedef void digest_told_fn(void *ctx, uint64_t bytes);
void digest_files_told(struct digest_job *jobs, size_t count, digest_told_fn *told, void *ctx);

#endif
