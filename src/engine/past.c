#include "engine/past.h"

#include "engine/components.h"

#include <stdlib.h>
#include <string.h>

#define VERSION 1u
/* More of them tell results no better apart than this many; leaving some out can only keep too much. */
#define FILES_MAX 4096
#define PARAMS_MAX 1000

void past_release(struct past *past)
{
	for (size_t i = 0; i < past->params.len; i++)
		free(past->params.at[i].name);
	vec_release(&past->params);
	vec_release(&past->inputs);
	vec_release(&past->outputs);
}

static uint64_t first_bytes(const struct digest *digest)
{
	struct codec_in in = codec_in(digest->bytes, sizeof(digest->bytes));
	return codec_u64(&in);
}

uint64_t past_hash_text(const char *text)
{
	struct digest digest;
	digest_bytes(DIGEST_SHA256, text, strlen(text), &digest);
	return first_bytes(&digest);
}

uint64_t past_hash_path(const char *path)
{
	return codec_checksum(path, strlen(path));
}

uint64_t past_hash_content(const struct digest *sha256, bool executable)
{
	return first_bytes(sha256) ^ executable;
}

static void take_component(void *ctx, enum component_kind kind, const char *name, const char *value, size_t len)
{
	struct past *past = ctx;
	struct codec_in in = codec_in(value + 1, len ? len - 1 : 0);
	struct digest digest = { .kind = DIGEST_NONE };
	if (kind == COMPONENT_PARAM && len && value[0] == 't' && past->params.len < PARAMS_MAX)
		vec_push(&past->params, (struct past_param){ mem_strdup(name), past_hash_text(value + 1) });
	/* Links are left out, and what DVC tracks, whose digests are of another kind. */
	if (kind != COMPONENT_INPUT || !len || (value[0] != 'f' && value[0] != 'x') || past->inputs.len == FILES_MAX)
		return;
	codec_digest(&in, &digest);
	if (codec_done(&in) && digest.kind == DIGEST_SHA256)
		vec_push(&past->inputs, (struct past_file){ past_hash_path(name), past_hash_content(&digest, value[0] == 'x') });
}

void past_of_record(const struct record *record, struct past *ret)
{
	*ret = (struct past){ 0 };
	components_key(record->components.data, record->components.len, &ret->key);
	components_each(record->components.data, record->components.len, take_component, ret);
	for (size_t i = 0; i < record->outputs.len && ret->outputs.len < FILES_MAX; i++) {
		const struct manifest_entry *entry = &record->outputs.at[i];
		if (entry->type == HASH_FILE)
			vec_push(&ret->outputs, (struct past_file){ past_hash_path(entry->path), past_hash_content(&entry->digest, entry->mode & 0100) });
	}
}

static void add_files(struct buf *out, const struct past_file *files, size_t count)
{
	codec_add_u32(out, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		codec_add_u64(out, files[i].path);
		codec_add_u64(out, files[i].content);
	}
}

int past_add(struct state *state, const char *target_name, const struct record *record, struct err *err)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct past past CLEANUP(past_release);
	char hex[DIGEST_HEX_MAX];
	past_of_record(record, &past);
	digest_hex(&past.key, hex);
	OWNED char *name = mem_printf("%s\n%s", target_name, hex);
	codec_add_u32(&bytes, VERSION);
	codec_add_digest(&bytes, &past.key);
	add_files(&bytes, past.inputs.at, past.inputs.len);
	add_files(&bytes, past.outputs.at, past.outputs.len);
	codec_add_u32(&bytes, (uint32_t)past.params.len);
	for (size_t i = 0; i < past.params.len; i++) {
		codec_add_str(&bytes, past.params.at[i].name);
		codec_add_u64(&bytes, past.params.at[i].value);
	}
	return state_put(state, STATE_PAST, name, bytes.data, bytes.len, err);
}

bool past_read(const void *bytes, size_t len, struct past *ret)
{
	struct codec_in in = codec_in(bytes, len);
	*ret = (struct past){ 0 };
	bool known = codec_u32(&in) == VERSION;
	codec_digest(&in, &ret->key);
	for (uint32_t count = codec_u32(&in); count > 0 && codec_ok(&in); count--) {
		uint64_t path = codec_u64(&in);
		vec_push(&ret->inputs, (struct past_file){ path, codec_u64(&in) });
	}
	for (uint32_t count = codec_u32(&in); count > 0 && codec_ok(&in); count--) {
		uint64_t path = codec_u64(&in);
		vec_push(&ret->outputs, (struct past_file){ path, codec_u64(&in) });
	}
	for (uint32_t count = codec_u32(&in); count > 0 && codec_ok(&in); count--) {
		char *name = mem_strdup(codec_str(&in));
		vec_push(&ret->params, (struct past_param){ name, codec_u64(&in) });
	}
	if (known && codec_done(&in))
		return true;
	past_release(ret);
	return false;
}
