/*
 * Saving: one directory at a time, what is new over what the database holds by now.
 */
#include "base/path.h"
#include "store/clock.h"
#include "store/hashes_internal.h"

#include <stdlib.h>
#include <string.h>

#define READING_COSTS 4096 /* of a file, in bytes, besides those that it has */
#define WRITING_GAINS 8    /* a byte of a record is written that much faster than one of many files is found and read */

struct saving {
	const struct hashes *hashes;
	const char *dir; /* below the root; "" */
	int64_t clock;
	uint64_t boot;
};

static bool still_so(const struct saving *saving, const char *name, const struct fresh *fresh)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	struct fs_stamp now;
	path_join(&path, saving->dir, name);
	if (sys.fstatat(saving->hashes->root_fd, path.data, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	fs_stamp_of(&now, &st);
	return hashes_same_stamp(&fresh->stamp, &now) && !hashes_is_racy(&now, saving->clock);
}

/* False if it cannot be believed yet. */
static bool add_fresh(struct statrec_writer *w, const struct saving *saving, const struct map_entry *entry)
{
	const struct fresh *fresh = entry->value;
	if (fresh->verify && !still_so(saving, entry->key, fresh))
		return false;
	struct statrec_entry line = { .name = entry->key, .name_len = strlen(entry->key), .stamp = fresh->stamp, .digest = fresh->digest };
	line.unsynced = fresh->stamp.mtime_ns > saving->clock - CLOCK_SYNCED_AFTER_NS || fresh->stamp.ctime_ns > saving->clock - CLOCK_SYNCED_AFTER_NS;
	statrec_add(w, &line);
	return true;
}

/* Names that are gone are dropped when much of a directory is new: looking for them each time would cost more than they do. */
static void add_saved(struct statrec_writer *w, const struct saving *saving, const struct dir_record *record, size_t index)
{
	struct statrec_entry line;
	struct fresh fresh = { 0 };
	statrec_at(&record->saved, record->kind, index, &line);
	if (line.unsynced && record->saved.boot != saving->boot)
		return;
	if (record->fresh.len >= record->saved.count / 8) {
		OWNED char *name = mem_strndup(line.name, line.name_len);
		fresh.stamp = line.stamp;
		if (!still_so(saving, name, &fresh))
			return;
	}
	statrec_add(w, &line);
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp((*(const struct map_entry *const *)a)->key, (*(const struct map_entry *const *)b)->key);
}

void hashes_trim(struct hashes *hashes)
{
	hashes->last_record = NULL;
	for (size_t i = 0; i < hashes->dirs.len; i++) {
		struct dir_record *record = hashes->dirs.entries[i].value;
		statrec_release(&record->saved);
		record->loaded = false;
	}
}

size_t hashes_unsaved(const struct hashes *hashes)
{
	return hashes->unsaved;
}

/* What is written is known from there from now on; what is not stays fresh. */
static void settle_record(struct dir_record *record, struct map *unwritten, const struct buf *bytes)
{
	for (size_t i = 0; i < record->fresh.len; i++)
		if (!map_has(unwritten, record->fresh.entries[i].key))
			free(record->fresh.entries[i].value);
	map_release(&record->fresh);
	record->fresh = *unwritten;
	statrec_load(&record->saved, record->kind, bytes->data, bytes->len);
}

static void merge_record(const struct saving *saving, struct dir_record *record, struct buf *out)
{
	struct map unwritten = MAP_INIT;
	size_t count = record->fresh.len;
	const struct map_entry **fresh OWNED = mem_alloc((count + 1) * sizeof(const struct map_entry *));
	struct statrec_writer w;
	for (size_t i = 0; i < count; i++)
		fresh[i] = &record->fresh.entries[i];
	qsort(fresh, count, sizeof(const struct map_entry *), compare_entries);
	statrec_begin(&w);
	size_t f = 0, s = 0;
	while (f < count || s < record->saved.count) {
		struct statrec_entry line;
		int order = -1;
		if (s < record->saved.count) {
			statrec_at(&record->saved, record->kind, s, &line);
			order = f < count ? statrec_compare(fresh[f]->key, strlen(fresh[f]->key), line.name, line.name_len) : 1;
		}
		if (order > 0) {
			add_saved(&w, saving, record, s);
		} else {
			if (!add_fresh(&w, saving, fresh[f]))
				map_set(&unwritten, fresh[f]->key, fresh[f]->value);
			f++;
		}
		s += order >= 0 && s < record->saved.count;
	}
	statrec_end(&w, record->kind, saving->boot, out);
	settle_record(record, &unwritten, out);
}

/* To write the record of a large directory anew takes longer than to read a few small files again, which may never be asked for. */
static bool is_worth_saving(const struct dir_record *record)
{
	uint64_t again = 0;
	for (size_t i = 0; i < record->fresh.len; i++)
		again += ((const struct fresh *)record->fresh.entries[i].value)->stamp.size + READING_COSTS;
	return again >= record->saved.len / WRITING_GAINS;
}

int hashes_save(struct hashes *hashes, struct err *err)
{
	struct saving saving = { .hashes = hashes, .clock = CLOCK_NONE };
	if (!hashes->state)
		return 0;
	for (size_t i = 0; i < hashes->dirs.len; i++) {
		struct dir_record *record = hashes->dirs.entries[i].value;
		const char *key = hashes->dirs.entries[i].key;
		if (!record->dirty || !is_worth_saving(record))
			continue;
		if (saving.clock == CLOCK_NONE) {
			saving.clock = hashes_clock_of(hashes);
			if (saving.clock == CLOCK_NONE)
				return 0;
			saving.boot = hashes_boot_of(hashes);
			state_refresh(hashes->state);
		}
		struct buf bytes CLEANUP(buf_release) = BUF_INIT;
		saving.dir = key + 1;
		hashes_load_saved(hashes, key, record);
		hashes->unsaved -= record->fresh.len;
		merge_record(&saving, record, &bytes);
		hashes->unsaved += record->fresh.len;
		if (state_put(hashes->state, STATE_STAT, key, bytes.data, bytes.len, err) < 0)
			return -1;
		record->dirty = false;
	}
	return 0;
}
