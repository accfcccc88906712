#include "engine/share_record.h"

#include "base/text.h"

#include <string.h>

#define MAGIC 0x31534c4du /* "MLS1" */
#define VERSION 1u

static void add_entry(struct buf *out, const struct manifest_entry *entry)
{
	codec_add_u8(out, entry->type == HASH_FILE ? 'f' : entry->type == HASH_DIR ? 'd' : 'l');
	if (entry->type != HASH_LINK)
		codec_add_u32(out, entry->mode);
	if (entry->type == HASH_FILE) {
		codec_add_u64(out, entry->size);
		codec_add_digest(out, &entry->digest);
	}
	codec_add_str(out, entry->path);
	if (entry->type == HASH_LINK)
		codec_add_str(out, entry->target);
}

void share_record_write(struct buf *out, const struct action *action)
{
	struct buf body CLEANUP(buf_release) = BUF_INIT;
	struct digest sum;
	codec_add_digest(&body, &action->key);
	codec_add_u64(&body, action->duration_ms);
	codec_add_u32(&body, (uint32_t)action->manifest.len);
	for (size_t i = 0; i < action->manifest.len; i++)
		add_entry(&body, &action->manifest.at[i]);
	codec_add_bytes(&body, action->log.data, action->log.len < OUTPUTS_LOG_MAX ? action->log.len : OUTPUTS_LOG_MAX);
	digest_bytes(DIGEST_SHA256, body.data, body.len, &sum);
	codec_add_u32(out, MAGIC);
	codec_add_u32(out, VERSION);
	codec_add_digest(out, &sum);
	buf_add(out, body.data, body.len);
}

/* Magic, version and checksum. */
static bool open_record(struct codec_in *in)
{
	struct digest sum, actual;
	if (codec_u32(in) != MAGIC || codec_u32(in) != VERSION)
		return false;
	codec_digest(in, &sum);
	if (!codec_ok(in))
		return false;
	digest_bytes(DIGEST_SHA256, in->at, codec_left(in), &actual);
	return digest_eq(&sum, &actual);
}

/* A link's own digest is that of where it leads, as store/hashes.h says. */
static void read_link(struct codec_in *in, struct manifest_entry *entry, struct arena *arena)
{
	const char *target = codec_str(in);
	entry->type = HASH_LINK;
	entry->mode = 0777;
	entry->target = arena_strdup(arena, target);
	entry->size = strlen(target);
	digest_bytes(DIGEST_SHA256, target, strlen(target), &entry->digest);
	if (!*target)
		in->failed = true;
}

static void read_entry(struct codec_in *in, struct manifest *manifest)
{
	struct manifest_entry entry = { .type = HASH_FILE };
	char kind = (char)codec_u8(in);
	if (kind != 'l')
		entry.mode = codec_u32(in);
	if (kind == 'f') {
		entry.size = codec_u64(in);
		codec_digest(in, &entry.digest);
		in->failed = in->failed || entry.digest.kind != DIGEST_SHA256;
	}
	entry.path = arena_strdup(&manifest->arena, codec_str(in));
	if (kind == 'd')
		entry.type = HASH_DIR;
	else if (kind == 'l')
		read_link(in, &entry, &manifest->arena);
	else if (kind != 'f')
		in->failed = true;
	vec_push(manifest, entry);
}

static bool read_body(struct codec_in *in, struct action *ret)
{
	size_t len;
	codec_digest(in, &ret->key);
	ret->duration_ms = codec_u64(in);
	uint32_t count = codec_u32(in);
	for (uint32_t i = 0; i < count && codec_ok(in); i++)
		read_entry(in, &ret->manifest);
	const void *log = codec_bytes(in, &len);
	if (!codec_done(in) || len > OUTPUTS_LOG_MAX)
		return false;
	buf_add(&ret->log, log, len);
	return true;
}

/* Beyond what manifest_check asks of any manifest. */
static int check_entries(const struct manifest *manifest, uint64_t max_bytes, struct err *err)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < manifest->len; i++) {
		const struct manifest_entry *entry = &manifest->at[i];
		if (entry->mode & ~0777u)
			return err_set(err, ERR_DATA, "the output '%s' has the mode %o, which no output may have", entry->path, entry->mode);
		if (i && strcmp(manifest->at[i - 1].path, entry->path) >= 0)
			return err_set(err, ERR_DATA, "it does not list '%s' in its place", entry->path);
		if (entry->type == HASH_FILE && entry->size > max_bytes - bytes)
			return err_set(err, ERR_DATA, "its outputs have more bytes than the output cache may hold");
		bytes += entry->type == HASH_FILE ? entry->size : 0;
	}
	return 0;
}

static int check_whole(const struct manifest *manifest, const char *const *paths, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		bool found = false;
		for (size_t k = 0; k < manifest->len && !found; k++)
			found = strcmp(manifest->at[k].path, paths[i]) == 0;
		if (!found)
			return err_set(err, ERR_DATA, "it lacks the output '%s'", paths[i]);
	}
	return 0;
}

int share_record_read(const void *bytes, size_t len, const struct digest *key, const char *const *paths, size_t count, uint64_t max_bytes,
		      struct action *ret, struct err *err)
{
	struct codec_in in = codec_in(bytes, len);
	*ret = (struct action)ACTION_INIT;
	int failed = 0;
	if (!open_record(&in) || !read_body(&in, ret))
		failed = err_set(err, ERR_DATA, "it is damaged, or of another version");
	else if (!digest_eq(&ret->key, key))
		failed = err_set(err, ERR_DATA, "it is another key's");
	else if (check_entries(&ret->manifest, max_bytes, err) < 0 || manifest_check(&ret->manifest, paths, count, err) < 0 ||
		 check_whole(&ret->manifest, paths, count, err) < 0)
		failed = -1;
	if (failed)
		action_release(ret);
	return failed;
}

bool share_record_objects(const void *bytes, size_t len, share_object_fn *visit, void *ctx)
{
	struct codec_in in = codec_in(bytes, len);
	struct action action = ACTION_INIT;
	bool good = open_record(&in) && read_body(&in, &action);
	for (size_t i = 0; good && i < action.manifest.len; i++)
		if (action.manifest.at[i].type == HASH_FILE)
			visit(ctx, &action.manifest.at[i].digest, action.manifest.at[i].size);
	action_release(&action);
	return good;
}

char *share_name(const char *prefix, const struct digest *digest)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(digest, hex);
	return mem_printf("%s%s", prefix, hex);
}

bool share_parse_name(const char *prefix, const char *name, struct digest *ret)
{
	return text_starts(name, prefix) && digest_parse(ret, DIGEST_SHA256, name + strlen(prefix));
}
