#include "net/pack.h"

#include "base/mem.h"
#include "store/codec.h"

#include <string.h>

#define MAGIC_LEN 8
#define HEAD_FIXED (MAGIC_LEN + PACK_NONCE + 4)
#define OBJECT_LEN (PACK_MD5 + 4)
#define REF_LEN (PACK_MD5 + 4)
#define ENTRY_LEN (PACK_MD5 + 12)

static const char pack_magic[MAGIC_LEN + 1] = "mlmpack\1", index_magic[MAGIC_LEN + 1] = "mlmpidx\1";

static bool take_start(struct codec_in *in, const char *magic)
{
	const void *start = codec_raw(in, MAGIC_LEN);
	codec_raw(in, PACK_NONCE);
	return start && codec_ok(in) && memcmp(start, magic, MAGIC_LEN) == 0;
}

static void take_md5(struct codec_in *in, uint8_t ret[PACK_MD5])
{
	const void *md5 = codec_raw(in, PACK_MD5);
	if (md5)
		memcpy(ret, md5, PACK_MD5);
}

int pack_head_parse(const void *bytes, size_t len, uint64_t size, struct pack_object **ret_objects, uint32_t *ret_count, uint32_t *ret_bytes,
		    struct err *err)
{
	struct codec_in in = codec_in(bytes, len);
	if (!take_start(&in, pack_magic))
		return err_set(err, ERR_DATA, "it is no pack of version 1");
	uint32_t count = codec_u32(&in);
	if (!codec_ok(&in) || count == 0 || count > PACK_COUNT_MAX || count > codec_left(&in) / OBJECT_LEN || size > PACK_SIZE_MAX)
		return err_set(err, ERR_DATA, "the head of the pack is damaged");
	struct pack_object *objects OWNED = mem_alloc(count * sizeof(*objects));
	uint64_t sum = pack_head_len(count);
	for (uint32_t i = 0; i < count; i++) {
		take_md5(&in, objects[i].md5);
		objects[i].length = codec_u32(&in);
		sum += objects[i].length;
		if (objects[i].length > PACK_OBJECT_MAX)
			return err_set(err, ERR_DATA, "an object of the pack is too large");
	}
	if (sum != size)
		return err_set(err, ERR_DATA, "the pack is not as long as its objects together");
	*ret_objects = objects;
	objects = NULL;
	*ret_count = count;
	*ret_bytes = (uint32_t)pack_head_len(count);
	return 0;
}

bool pack_has_room(const struct pack_writer *pack, size_t length)
{
	return pack->objects.len == 0 || (pack->bytes.len + length <= PACK_FULL && pack->objects.len < PACK_COUNT_MAX);
}

uint8_t *pack_room(struct pack_writer *pack, size_t length)
{
	vec_reserve(&pack->bytes, length + 1);
	return pack->bytes.at + pack->bytes.len;
}

uint32_t pack_add(struct pack_writer *pack, const uint8_t md5[PACK_MD5], size_t length)
{
	struct pack_object object = { .length = (uint32_t)length };
	uint32_t offset = (uint32_t)pack->bytes.len;
	memcpy(object.md5, md5, PACK_MD5);
	vec_push(&pack->objects, object);
	pack->bytes.len += length;
	return offset;
}

size_t pack_head_len(size_t count)
{
	return HEAD_FIXED + count * OBJECT_LEN;
}

void pack_head_render(const struct pack_writer *pack, const uint8_t nonce[PACK_NONCE], struct buf *out)
{
	buf_add(out, pack_magic, MAGIC_LEN);
	buf_add(out, nonce, PACK_NONCE);
	codec_add_u32(out, (uint32_t)pack->objects.len);
	for (size_t i = 0; i < pack->objects.len; i++) {
		buf_add(out, pack->objects.at[i].md5, PACK_MD5);
		codec_add_u32(out, pack->objects.at[i].length);
	}
}

void pack_writer_reset(struct pack_writer *pack)
{
	pack->objects.len = pack->bytes.len = 0;
}

void pack_writer_release(struct pack_writer *pack)
{
	vec_release(&pack->objects);
	vec_release(&pack->bytes);
}

/* That an entry lies inside of its pack, behind the head of a pack of one object at least. */
static bool is_inside(const struct pack_index *index, const struct pack_entry *entry)
{
	return entry->pack < index->packs.len && entry->length <= PACK_OBJECT_MAX && entry->offset >= pack_head_len(1) &&
	       (uint64_t)entry->offset + entry->length <= index->packs.at[entry->pack].size;
}

static int parse_entries(struct codec_in *in, uint32_t packs, uint32_t entries, struct pack_index *ret, struct err *err)
{
	vec_reserve(&ret->packs, packs);
	vec_reserve(&ret->entries, entries);
	for (uint32_t i = 0; i < packs; i++) {
		struct pack_ref pack = { .size = 0 };
		take_md5(in, pack.md5);
		pack.size = codec_u32(in);
		if (pack.size > PACK_SIZE_MAX)
			return err_set(err, ERR_DATA, "the index names a pack that is too large");
		vec_push(&ret->packs, pack);
	}
	for (uint32_t i = 0; i < entries; i++) {
		struct pack_entry entry = { .pack = 0 };
		take_md5(in, entry.md5);
		entry.pack = codec_u32(in);
		entry.offset = codec_u32(in);
		entry.length = codec_u32(in);
		if (!is_inside(ret, &entry))
			return err_set(err, ERR_DATA, "the index names a place outside of its packs");
		if (i && memcmp(ret->entries.at[i - 1].md5, entry.md5, PACK_MD5) >= 0)
			return err_set(err, ERR_DATA, "the entries of the index are not in order");
		vec_push(&ret->entries, entry);
	}
	return 0;
}

int pack_index_parse(const void *bytes, size_t len, struct pack_index *ret, struct err *err)
{
	struct codec_in in = codec_in(bytes, len);
	struct pack_index index = PACK_INDEX_INIT;
	if (!take_start(&in, index_magic))
		return err_set(err, ERR_DATA, "it is no index of version 1");
	uint32_t packs = codec_u32(&in), entries = codec_u32(&in);
	if (!codec_ok(&in) || (uint64_t)packs * REF_LEN + (uint64_t)entries * ENTRY_LEN != codec_left(&in))
		return err_set(err, ERR_DATA, "the index is not as long as it says");
	if (parse_entries(&in, packs, entries, &index, err) < 0) {
		pack_index_release(&index);
		return -1;
	}
	*ret = index;
	return 0;
}

void pack_index_render(const struct pack_index *index, const uint8_t nonce[PACK_NONCE], struct buf *out)
{
	buf_add(out, index_magic, MAGIC_LEN);
	buf_add(out, nonce, PACK_NONCE);
	codec_add_u32(out, (uint32_t)index->packs.len);
	codec_add_u32(out, (uint32_t)index->entries.len);
	for (size_t i = 0; i < index->packs.len; i++) {
		buf_add(out, index->packs.at[i].md5, PACK_MD5);
		codec_add_u32(out, index->packs.at[i].size);
	}
	for (size_t i = 0; i < index->entries.len; i++) {
		const struct pack_entry *entry = &index->entries.at[i];
		buf_add(out, entry->md5, PACK_MD5);
		codec_add_u32(out, entry->pack);
		codec_add_u32(out, entry->offset);
		codec_add_u32(out, entry->length);
	}
}

void pack_index_release(struct pack_index *index)
{
	vec_release(&index->packs);
	vec_release(&index->entries);
}

static int compare_entries(const void *a, const void *b)
{
	const struct pack_entry *left = a, *right = b;
	int order = memcmp(left->md5, right->md5, PACK_MD5);
	if (order)
		return order;
	if (left->pack != right->pack)
		return left->pack < right->pack ? -1 : 1;
	return left->offset < right->offset ? -1 : left->offset > right->offset;
}

size_t pack_sort_entries(struct pack_entry *entries, size_t count)
{
	size_t unique = 0;
	if (count)
		qsort(entries, count, sizeof(*entries), compare_entries);
	for (size_t i = 0; i < count; i++)
		if (unique == 0 || compare_entries(&entries[unique - 1], &entries[i]) != 0)
			entries[unique++] = entries[i];
	return unique;
}

bool pack_same_object(const struct pack_entry *a, const struct pack_entry *b)
{
	return memcmp(a->md5, b->md5, PACK_MD5) == 0;
}
