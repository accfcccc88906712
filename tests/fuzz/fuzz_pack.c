/* Any bytes as an index, and as the head of a pack: read or refused; what is read lies inside of its pack, and written again is the same. */
#include "fuzz.h"

#include "net/pack.h"

static void try_index(const uint8_t *bytes, size_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct pack_index index = PACK_INDEX_INIT;
	int status = pack_index_parse(bytes, len, &index, &err);
	MUST(status == 0 || (err.message && err.code == ERR_DATA && !index.entries.at));
	if (status < 0)
		return;
	for (size_t i = 0; i < index.entries.len; i++) {
		const struct pack_entry *entry = &index.entries.at[i];
		MUST(entry->pack < index.packs.len && entry->length <= PACK_OBJECT_MAX);
		MUST((uint64_t)entry->offset + entry->length <= index.packs.at[entry->pack].size);
		MUST(i == 0 || memcmp(entry[-1].md5, entry->md5, PACK_MD5) < 0);
	}
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	pack_index_render(&index, bytes + 8, &out);
	MUST(out.len == len && memcmp(out.data, bytes, len) == 0);
	pack_index_release(&index);
}

/* The size of the whole pack is in the last four bytes, or that of the input. */
static void try_head(const uint8_t *bytes, size_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct pack_object *objects OWNED = NULL;
	uint32_t count, first;
	uint64_t size = len;
	if (len >= 4)
		size = bytes[len - 1] | (uint64_t)bytes[len - 2] << 8 | (uint64_t)bytes[len - 3] << 16 | (uint64_t)bytes[len - 4] << 24;
	if (pack_head_parse(bytes, len, size, &objects, &count, &first, &err) < 0 && pack_head_parse(bytes, len, len, &objects, &count, &first, &err) < 0) {
		MUST(err.message && err.code == ERR_DATA && !objects);
		return;
	}
	uint64_t sum = first;
	for (uint32_t i = 0; i < count; i++)
		sum += objects[i].length;
	MUST((sum == size || sum == len) && sum <= PACK_SIZE_MAX && first <= len);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	try_index(bytes, len);
	try_head(bytes, len);
	return 0;
}
