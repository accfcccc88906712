#include "store/codec.h"

#include "base/text.h"

#include <string.h>

void codec_add_u8(struct buf *out, uint8_t value)
{
	buf_addch(out, (char)value);
}

void codec_add_u32(struct buf *out, uint32_t value)
{
	uint8_t bytes[4];
	for (unsigned i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
	buf_add(out, bytes, sizeof(bytes));
}

void codec_add_u64(struct buf *out, uint64_t value)
{
	uint8_t bytes[8];
	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
	buf_add(out, bytes, sizeof(bytes));
}

void codec_add_bytes(struct buf *out, const void *bytes, size_t len)
{
	codec_add_u32(out, (uint32_t)len);
	buf_add(out, bytes, len);
	buf_addch(out, 0);
}

void codec_add_str(struct buf *out, const char *text)
{
	codec_add_bytes(out, text, strlen(text));
}

void codec_add_digest(struct buf *out, const struct digest *digest)
{
	codec_add_u8(out, digest->kind);
	buf_add(out, digest->bytes, digest_len(digest->kind));
}

struct codec_in codec_in(const void *bytes, size_t len)
{
	return (struct codec_in){ .at = bytes, .end = (const uint8_t *)bytes + len };
}

const void *codec_raw(struct codec_in *in, size_t len)
{
	if (in->failed || len > (size_t)(in->end - in->at)) {
		in->failed = true;
		return NULL;
	}
	const uint8_t *at = in->at;
	in->at += len;
	return at;
}

uint8_t codec_u8(struct codec_in *in)
{
	const uint8_t *at = codec_raw(in, 1);
	return at ? *at : 0;
}

uint32_t codec_u32(struct codec_in *in)
{
	const uint8_t *at = codec_raw(in, 4);
	if (!at)
		return 0;
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint64_t codec_u64(struct codec_in *in)
{
	uint64_t low = codec_u32(in);
	return low | (uint64_t)codec_u32(in) << 32;
}

const void *codec_bytes(struct codec_in *in, size_t *ret_len)
{
	size_t len = codec_u32(in);
	const uint8_t *at = codec_raw(in, len + 1);
	if (at && at[len] != 0)
		in->failed = true;
	*ret_len = at && !in->failed ? len : 0;
	return at && !in->failed ? (const void *)at : "";
}

const char *codec_str(struct codec_in *in)
{
	size_t len;
	const char *text = codec_bytes(in, &len);
	if (memchr(text, 0, len)) {
		in->failed = true;
		return "";
	}
	return text;
}

void codec_digest(struct codec_in *in, struct digest *ret)
{
	*ret = (struct digest){ .kind = codec_u8(in) };
	if (ret->kind > DIGEST_SHA256) {
		in->failed = true;
		ret->kind = DIGEST_NONE;
		return;
	}
	size_t len = digest_len(ret->kind);
	const void *at = codec_raw(in, len);
	if (at)
		memcpy(ret->bytes, at, len);
}

size_t codec_left(const struct codec_in *in)
{
	return in->failed ? 0 : (size_t)(in->end - in->at);
}

bool codec_ok(const struct codec_in *in)
{
	return !in->failed;
}

bool codec_done(const struct codec_in *in)
{
	return !in->failed && in->at == in->end;
}

uint64_t codec_checksum(const void *bytes, size_t len)
{
	return text_hash(bytes, len);
}
