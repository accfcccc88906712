#include "base/map.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a with a final mix: short keys, and the low bits choose the slot. */
static uint64_t hash_key(const char *key)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (const unsigned char *c = (const unsigned char *)key; *c; c++)
		hash = (hash ^ *c) * 0x100000001b3u;
	hash ^= hash >> 32;
	return hash * 0x9e3779b97f4a7c15u;
}

/* The slot that holds key, or the free one where it belongs. */
static size_t find_slot(const struct map *map, const char *key, uint64_t hash)
{
	size_t mask = map->slot_count - 1;
	size_t slot = (size_t)(hash >> 20) & mask;
	while (map->slots[slot]) {
		const struct map_entry *entry = &map->entries[map->slots[slot] - 1];
		if (entry->hash == hash && strcmp(entry->key, key) == 0)
			break;
		slot = (slot + 1) & mask;
	}
	return slot;
}

static struct map_entry *find(const struct map *map, const char *key)
{
	if (!map->slot_count)
		return NULL;
	uint32_t index = map->slots[find_slot(map, key, hash_key(key))];
	return index ? &map->entries[index - 1] : NULL;
}

static void grow(struct map *map)
{
	map->slot_count = map->slot_count ? 2 * map->slot_count : 16;
	free(map->slots);
	map->slots = mem_alloc(map->slot_count * sizeof(*map->slots));
	for (size_t i = 0; i < map->len; i++)
		map->slots[find_slot(map, map->entries[i].key, map->entries[i].hash)] = (uint32_t)(i + 1);
}

void *map_get(const struct map *map, const char *key)
{
	const struct map_entry *entry = find(map, key);
	return entry ? entry->value : NULL;
}

bool map_has(const struct map *map, const char *key)
{
	return find(map, key) != NULL;
}

struct map_entry *map_entry(struct map *map, const char *key)
{
	if (2 * (map->len + 1) > map->slot_count)
		grow(map);
	uint64_t hash = hash_key(key);
	size_t slot = find_slot(map, key, hash);
	if (!map->slots[slot]) {
		if (map->len == map->cap) {
			map->cap = map->cap ? 2 * map->cap : 8;
			map->entries = mem_resize_array(map->entries, map->cap, sizeof(*map->entries));
		}
		map->entries[map->len++] = (struct map_entry){ .key = mem_strdup(key), .hash = hash };
		map->slots[slot] = (uint32_t)map->len;
	}
	return &map->entries[map->slots[slot] - 1];
}

bool map_set(struct map *map, const char *key, void *value)
{
	size_t before = map->len;
	map_entry(map, key)->value = value;
	return map->len > before;
}

void map_release(struct map *map)
{
	map_release_values(map, NULL);
}

void map_release_values(struct map *map, void (*free_value)(void *))
{
	for (size_t i = 0; i < map->len; i++) {
		free(map->entries[i].key);
		if (free_value)
			free_value(map->entries[i].value);
	}
	free(map->entries);
	free(map->slots);
	*map = (struct map)MAP_INIT;
}
