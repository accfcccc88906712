/*
 * Records as bytes: little-endian numbers and strings with their length, and a reader that cannot be led astray.
 *
 *     struct codec_in in = codec_in(bytes, len);
 *     uint32_t count = codec_u32(&in);
 *     ...
 *     if (!codec_done(&in)) the record is damaged
 *
 * After the first read beyond the end every read gives 0 or "" and codec_ok is false: check once, at the end, but
 * bound counts by codec_left before allocating for them.
 */
#ifndef STORE_CODEC_H
#define STORE_CODEC_H

#include "base/buf.h"
#include "formats/digest.h"

void codec_add_u8(struct buf *out, uint8_t value);
void codec_add_u32(struct buf *out, uint32_t value);
void codec_add_u64(struct buf *out, uint64_t value);
void codec_add_bytes(struct buf *out, const void *bytes, size_t len); /* u32 length, bytes, NUL */
void codec_add_str(struct buf *out, const char *text);
void codec_add_digest(struct buf *out, const struct digest *digest);

struct codec_in {
	const uint8_t *at;
	const uint8_t *end;
	bool failed;
};
struct codec_in codec_in(const void *bytes, size_t len);
uint8_t codec_u8(struct codec_in *in);
uint32_t codec_u32(struct codec_in *in);
uint64_t codec_u64(struct codec_in *in);
const void *codec_raw(struct codec_in *in, size_t len);           /* into the record; NULL beyond the end */
const void *codec_bytes(struct codec_in *in, size_t *ret_len);    /* into the record; followed by a NUL */
const char *codec_str(struct codec_in *in);                       /* into the record; a NUL inside is a failure */
void codec_digest(struct codec_in *in, struct digest *ret);
size_t codec_left(const struct codec_in *in);
bool codec_ok(const struct codec_in *in);
bool codec_done(const struct codec_in *in); /* ok, and nothing left */

/* 64 bits that tell damaged bytes from whole ones; not for hostile input. Also the key of a name in a table. */
uint64_t codec_checksum(const void *bytes, size_t len);

#endif
