/*
 * A table from strings that somebody else keeps to their numbers: 8 to 16 bytes an entry, where base/map.h copies keys and takes 60.
 *
 *     struct index names CLEANUP(index_release) = INDEX_INIT(name_of, targets);
 *     if (!index_add(&names, i)) there is another of that name: index_find gives it
 *     uint32_t i = index_find(&names, "train", 5);
 *
 * A key must not change while its number is in the table.
 */
#ifndef BASE_INDEX_H
#define BASE_INDEX_H

#include "base/compiler.h"

/* The key of a number that was added, for as long as it is in the table. */
typedef const char *index_key_fn(const void *ctx, uint32_t number);

struct index_slot {
	uint32_t hash;
	uint32_t number; /* + 1; 0 is free */
};

struct index {
	index_key_fn *key;
	const void *ctx;
	struct index_slot *slots;
	size_t slot_count;
	size_t len;
};

#define INDEX_INIT(key_, ctx_) { .key = (key_), .ctx = (ctx_) }
#define INDEX_NONE UINT32_MAX

void index_reserve(struct index *index, size_t count); /* room for so many in all */
/* False if a number with the same key is there; it stays. number is below INDEX_NONE. */
bool index_add(struct index *index, uint32_t number);
/* key need not end with a NUL. INDEX_NONE if it is absent. */
uint32_t index_find(const struct index *index, const char *key, size_t len);
void index_release(struct index *index);

#endif
