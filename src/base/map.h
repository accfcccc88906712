/*
 * A hash map from strings to pointers that keeps insertion order.
 *
 *     struct map m CLEANUP(map_release) = MAP_INIT;
 *     map_set(&m, "train", target);
 *     for (size_t i = 0; i < m.len; i++) use(m.entries[i].key, m.entries[i].value);
 *
 * Keys are copied; values are the caller's (map_release_values frees them too).
 * An entry's address changes when the map grows. There is no removal: nobody
 * needs it.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/compiler.h"

struct map_entry {
	char *key;
	void *value;
	uint64_t hash;
};

struct map {
	struct map_entry *entries;
	size_t len;
	size_t cap;
	uint32_t *slots; /* index + 1 of an entry; 0 is free */
	size_t slot_count;
};

#define MAP_INIT { .entries = NULL }

/* The value, or NULL if the key is absent (or holds NULL). */
void *map_get(const struct map *map, const char *key);
bool map_has(const struct map *map, const char *key);

/* Returns true if the key was new. */
bool map_set(struct map *map, const char *key, void *value);

/* The entry of key, made with a NULL value if it was absent. Valid until the next insertion. */
struct map_entry *map_entry(struct map *map, const char *key);

void map_release(struct map *map);
void map_release_values(struct map *map, void (*free_value)(void *));

#endif
