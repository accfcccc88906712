#include "formats/digest.h"

#include "base/mem.h"
#include "base/pool.h"
#include "base/text.h"
#include "formats/digest_input.h"
#include "formats/dos2unix.h"
#include "formats/md5_files.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define READ_SIZE ((size_t)64 * 1024)

/* Looking an algorithm up costs more than hashing a small input, so it is done once. */
static struct {
	pthread_once_t once;
	EVP_MD *md5, *sha256, *sha1;
} algorithms = { .once = PTHREAD_ONCE_INIT };

static void algorithms_fetch(void)
{
	/* openssl.cnf has nothing to say about plain digests, and reading it is slow. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	algorithms.md5 = EVP_MD_fetch(NULL, "MD5", NULL);
	algorithms.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	algorithms.sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
}

static const EVP_MD *algorithm(enum digest_kind kind)
{
	pthread_once(&algorithms.once, algorithms_fetch);
	bool md5 = kind == DIGEST_MD5 || kind == DIGEST_MD5_DOS2UNIX;
	const EVP_MD *md = md5 ? algorithms.md5 : kind == DIGEST_SHA1 ? algorithms.sha1 : algorithms.sha256;
	if (!md)
		mem_bug(md5 ? "OpenSSL cannot do MD5" : kind == DIGEST_SHA1 ? "OpenSSL cannot do SHA-1" : "OpenSSL cannot do SHA-256");
	return md;
}

size_t digest_len(enum digest_kind kind)
{
	switch (kind) {
	case DIGEST_MD5:
	case DIGEST_MD5_DOS2UNIX:
		return 16;
	case DIGEST_SHA256:
		return 32;
	case DIGEST_SHA1:
		return 20;
	case DIGEST_NONE:
		break;
	}
	return 0;
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
	return a->kind == b->kind && memcmp(a->bytes, b->bytes, digest_len(a->kind)) == 0;
}

void digest_hex(const struct digest *digest, char out[DIGEST_HEX_MAX])
{
	text_hex(out, digest->bytes, digest_len(digest->kind));
}

bool digest_parse(struct digest *ret, enum digest_kind kind, const char *hex)
{
	memset(ret, 0, sizeof(*ret));
	if (!text_unhex(ret->bytes, digest_len(kind), hex)) {
		memset(ret, 0, sizeof(*ret));
		return false;
	}
	ret->kind = (uint8_t)kind;
	return true;
}

struct digest_stream {
	EVP_MD_CTX *ctx;
	enum digest_kind kind;
	struct buf chunk; /* of DIGEST_MD5_DOS2UNIX: what waits to be a whole one */
};

struct digest_stream *digest_begin(enum digest_kind kind)
{
	struct digest_stream *stream = mem_alloc(sizeof(*stream));
	stream->kind = kind;
	stream->ctx = EVP_MD_CTX_new();
	if (!stream->ctx || EVP_DigestInit_ex2(stream->ctx, algorithm(kind), NULL) != 1)
		mem_bug("OpenSSL cannot make a digest");
	return stream;
}

static void update(struct digest_stream *stream, const void *bytes, size_t len)
{
	if (EVP_DigestUpdate(stream->ctx, bytes, len) != 1)
		mem_bug("OpenSSL cannot make a digest");
}

static void update_chunk(struct digest_stream *stream)
{
	if (!stream->chunk.len)
		return;
	update(stream, stream->chunk.data, dos2unix_chunk((uint8_t *)stream->chunk.data, stream->chunk.len));
	buf_reset(&stream->chunk);
}

void digest_add(struct digest_stream *stream, const void *bytes, size_t len)
{
	if (stream->kind != DIGEST_MD5_DOS2UNIX) {
		update(stream, bytes, len);
		return;
	}
	for (const char *at = bytes; len;) {
		size_t some = DOS2UNIX_CHUNK - stream->chunk.len;
		if (some > len)
			some = len;
		buf_add(&stream->chunk, at, some);
		at += some;
		len -= some;
		if (stream->chunk.len == DOS2UNIX_CHUNK)
			update_chunk(stream);
	}
}

void digest_end(struct digest_stream *stream, struct digest *ret)
{
	memset(ret, 0, sizeof(*ret));
	update_chunk(stream);
	ret->kind = (uint8_t)stream->kind;
	if (EVP_DigestFinal_ex(stream->ctx, ret->bytes, NULL) != 1)
		mem_bug("OpenSSL cannot make a digest");
	digest_drop(stream);
}

void digest_drop(struct digest_stream *stream)
{
	if (!stream)
		return;
	EVP_MD_CTX_free(stream->ctx);
	buf_release(&stream->chunk);
	free(stream);
}

void digest_bytes(enum digest_kind kind, const void *bytes, size_t len, struct digest *ret)
{
	if (kind == DIGEST_MD5_DOS2UNIX) {
		struct digest_stream *stream = digest_begin(kind);
		digest_add(stream, bytes, len);
		digest_end(stream, ret);
		return;
	}
	memset(ret, 0, sizeof(*ret));
	ret->kind = (uint8_t)kind;
	if (EVP_Digest(bytes, len, ret->bytes, NULL, algorithm(kind), NULL) != 1)
		mem_bug("OpenSSL cannot make a digest");
}

/* RFC 2104. */
void digest_hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t len, uint8_t ret[32])
{
	uint8_t pad[64] = { 0 };
	struct digest inner;
	if (key_len > sizeof(pad)) {
		digest_bytes(DIGEST_SHA256, key, key_len, &inner);
		memcpy(pad, inner.bytes, 32);
	} else if (key_len) {
		memcpy(pad, key, key_len);
	}
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36;
	struct digest_stream *stream = digest_begin(DIGEST_SHA256);
	digest_add(stream, pad, sizeof(pad));
	digest_add(stream, bytes, len);
	digest_end(stream, &inner);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	struct digest outer;
	stream = digest_begin(DIGEST_SHA256);
	digest_add(stream, pad, sizeof(pad));
	digest_add(stream, inner.bytes, 32);
	digest_end(stream, &outer);
	memcpy(ret, outer.bytes, 32);
	explicit_bzero(pad, sizeof(pad));
}

static int hash_file(enum digest_kind kind, const char *path, struct meter *meter, struct digest *ret, struct fs_stamp *ret_stamp,
		     bool *ret_stable, struct err *err)
{
	struct digest_input input CLEANUP(digest_input_close) = DIGEST_INPUT_INIT;
	memset(ret, 0, sizeof(*ret));
	*ret_stable = false;
	if (digest_input_open(&input, path, err) < 0)
		return -1;
	input.meter = meter;
	/* One byte more than the file is said to have, so that a small one needs no second round. */
	size_t room = input.before.size < READ_SIZE ? (size_t)input.before.size + 1 : READ_SIZE;
	char *bytes OWNED = mem_alloc(room);
	struct digest_stream *stream = digest_begin(kind);
	size_t got;
	do {
		if (digest_input_read(&input, bytes, room, &got, err) < 0) {
			digest_drop(stream);
			return -1;
		}
		digest_add(stream, bytes, got);
	} while (got == room);
	digest_end(stream, ret);
	digest_input_finish(&input, ret_stamp, ret_stable);
	return 0;
}

int digest_file(enum digest_kind kind, const char *path, struct digest *ret, struct fs_stamp *ret_stamp, bool *ret_stable,
		struct err *err)
{
	return hash_file(kind, path, NULL, ret, ret_stamp, ret_stable, err);
}

struct files_work {
	enum digest_kind kind;
	struct digest_job *jobs;
};

static void digest_one(void *ctx, size_t index)
{
	const struct files_work *work = ctx;
	struct digest_job *job = &work->jobs[index];
	job->ret_status = hash_file(work->kind, job->path, job->meter, &job->ret, &job->ret_stamp, &job->ret_stable, &job->ret_err);
}

void digest_files(enum digest_kind kind, struct digest_job *jobs, size_t count)
{
	if (kind == DIGEST_MD5 && count > 1) {
		const struct md5_backend *backends[4];
		md5_backends(backends);
		md5_files(backends[0], 0, jobs, count);
		return;
	}
	struct files_work work = { kind, jobs };
	if (count == 1)
		digest_one(&work, 0);
	else
		pool_each(0, count, digest_one, &work);
}

void digest_files_mixed(struct digest_job *jobs, size_t count)
{
	struct digest_job *some = mem_alloc((count + 1) * sizeof(*some));
	size_t *index OWNED = mem_alloc((count + 1) * sizeof(*index));
	for (enum digest_kind kind = DIGEST_MD5; kind <= DIGEST_MD5_DOS2UNIX; kind++) {
		size_t n = 0;
		for (size_t i = 0; i < count; i++) {
			if (jobs[i].kind != kind)
				continue;
			some[n] = jobs[i];
			index[n++] = i;
		}
		if (n)
			digest_files(kind, some, n);
		for (size_t i = 0; i < n; i++)
			jobs[index[i]] = some[i];
	}
	free(some);
}

struct told_work {
	struct digest_job *jobs;
	size_t count;
	struct meter meter;
	digest_told_fn *told;
	void *ctx;
};

static void digest_all(void *ctx, size_t index)
{
	struct told_work *work = ctx;
	(void)index;
	digest_files_mixed(work->jobs, work->count);
}

static void tell_bytes(void *ctx)
{
	struct told_work *work = ctx;
	work->told(work->ctx, meter_read(&work->meter));
}

void digest_files_told(struct digest_job *jobs, size_t count, digest_told_fn *told, void *ctx)
{
	struct told_work work = { .jobs = jobs, .count = count, .told = told, .ctx = ctx };
	for (size_t i = 0; i < count; i++)
		jobs[i].meter = &work.meter;
	pool_watch(digest_all, &work, tell_bytes, &work);
	for (size_t i = 0; i < count; i++)
		jobs[i].meter = NULL;
}
