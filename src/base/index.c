#include "base/index.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

static bool is_key(const struct index *index, uint32_t number, const char *key, size_t len)
{
	const char *at = index->key(index->ctx, number);
	return strncmp(at, key, len) == 0 && at[len] == '\0';
}

/* The slot that holds key, or the free one where it belongs. */
static struct index_slot *slot_of(const struct index *index, const char *key, size_t len, uint32_t hash)
{
	size_t mask = index->slot_count - 1, at = hash & mask;
	while (index->slots[at].number && (index->slots[at].hash != hash || !is_key(index, index->slots[at].number - 1, key, len)))
		at = (at + 1) & mask;
	return &index->slots[at];
}

static void resize(struct index *index, size_t count)
{
	struct index_slot *old = index->slots;
	size_t old_count = index->slot_count;
	index->slots = mem_alloc(count * sizeof(*index->slots));
	index->slot_count = count;
	for (size_t i = 0; i < old_count; i++) {
		size_t at = old[i].hash & (count - 1);
		if (!old[i].number)
			continue;
		while (index->slots[at].number)
			at = (at + 1) & (count - 1);
		index->slots[at] = old[i];
	}
	free(old);
}

void index_reserve(struct index *index, size_t count)
{
	size_t slots = index->slot_count ? index->slot_count : 16;
	while (slots / 2 < count)
		slots *= 2;
	if (slots > index->slot_count)
		resize(index, slots);
}

bool index_add(struct index *index, uint32_t number)
{
	const char *key = index->key(index->ctx, number);
	size_t len = strlen(key);
	uint32_t hash = (uint32_t)text_hash(key, len);
	index_reserve(index, index->len + 1);
	struct index_slot *slot = slot_of(index, key, len, hash);
	if (slot->number)
		return false;
	*slot = (struct index_slot){ hash, number + 1 };
	index->len++;
	return true;
}

uint32_t index_find(const struct index *index, const char *key, size_t len)
{
	if (!index->len)
		return INDEX_NONE;
	const struct index_slot *slot = slot_of(index, key, len, (uint32_t)text_hash(key, len));
	return slot->number ? slot->number - 1 : INDEX_NONE;
}

void index_release(struct index *index)
{
	free(index->slots);
	index->slots = NULL;
	index->slot_count = index->len = 0;
}
