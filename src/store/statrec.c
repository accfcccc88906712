#include "store/statrec.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* As it lies in the record, in the machine's own byte order: the database is local to a machine, and the mark in the
 * head tells another order. Followed by the digest of the record's kind. */
struct fixed {
	uint64_t size;
	int64_t mtime_ns;
	int64_t ctime_ns;
	uint64_t ino;
	uint32_t mode;
	uint32_t nlink;
	uint32_t name_at;
	uint16_t name_len;
	uint16_t flags;
};
_Static_assert(sizeof(struct fixed) == 48, "the layout of stat records");

struct head {
	uint32_t mark;
	uint32_t kind;
	uint64_t boot;
	uint64_t count;
};
_Static_assert(sizeof(struct head) == 24, "the layout of stat records");

#define MARK 0x53544131u
#define FLAG_UNSYNCED 1u

static size_t entry_size(enum digest_kind kind)
{
	return sizeof(struct fixed) + digest_len(kind);
}

void statrec_release(struct statrec *rec)
{
	free(rec->bytes);
	*rec = (struct statrec){ 0 };
}

void statrec_load(struct statrec *rec, enum digest_kind kind, const void *bytes, size_t len)
{
	struct head head;
	statrec_release(rec);
	if (len < sizeof(head))
		return;
	memcpy(&head, bytes, sizeof(head));
	if (head.mark != MARK || head.kind != (uint32_t)kind || head.count > (len - sizeof(head)) / entry_size(kind))
		return;
	rec->bytes = mem_try(len);
	if (!rec->bytes)
		return;
	memcpy(rec->bytes, bytes, len);
	rec->len = len;
	rec->count = (size_t)head.count;
	rec->boot = head.boot;
}

static void fixed_at(const struct statrec *rec, enum digest_kind kind, size_t index, struct fixed *ret)
{
	memcpy(ret, rec->bytes + sizeof(struct head) + index * entry_size(kind), sizeof(*ret));
	if (ret->name_at > rec->len || ret->name_len > rec->len - ret->name_at)
		ret->name_at = ret->name_len = 0;
}

void statrec_at(const struct statrec *rec, enum digest_kind kind, size_t index, struct statrec_entry *ret)
{
	struct fixed fixed;
	fixed_at(rec, kind, index, &fixed);
	*ret = (struct statrec_entry){
		.name = rec->bytes + fixed.name_at,
		.name_len = fixed.name_len,
		.stamp = { .size = fixed.size, .mtime_ns = fixed.mtime_ns, .ctime_ns = fixed.ctime_ns, .ino = fixed.ino,
			   .mode = fixed.mode, .nlink = fixed.nlink },
		.unsynced = fixed.flags & FLAG_UNSYNCED,
		.digest = { .kind = (uint8_t)kind },
	};
	memcpy(ret->digest.bytes, rec->bytes + sizeof(struct head) + index * entry_size(kind) + sizeof(fixed), digest_len(kind));
}

int statrec_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_at(const struct statrec *rec, size_t index, const char *name, size_t name_len)
{
	struct head head;
	struct fixed fixed;
	memcpy(&head, rec->bytes, sizeof(head));
	fixed_at(rec, (enum digest_kind)head.kind, index, &fixed);
	return statrec_compare(rec->bytes + fixed.name_at, fixed.name_len, name, name_len);
}

size_t statrec_find(struct statrec *rec, const char *name, size_t name_len)
{
	if (rec->cursor < rec->count && compare_at(rec, rec->cursor, name, name_len) == 0)
		return rec->cursor++;
	size_t low = 0, high = rec->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_at(rec, middle, name, name_len);
		if (order == 0) {
			rec->cursor = middle + 1;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return SIZE_MAX;
}

void statrec_begin(struct statrec_writer *w)
{
	w->count = 0;
	buf_init(&w->fixed);
	buf_init(&w->names);
}

void statrec_add(struct statrec_writer *w, const struct statrec_entry *entry)
{
	if (entry->name_len > UINT16_MAX || w->names.len > UINT32_MAX / 2)
		return; /* not remembered is not wrong */
	struct fixed fixed = {
		.size = entry->stamp.size,
		.mtime_ns = entry->stamp.mtime_ns,
		.ctime_ns = entry->stamp.ctime_ns,
		.ino = entry->stamp.ino,
		.mode = entry->stamp.mode,
		.nlink = entry->stamp.nlink,
		.name_at = (uint32_t)w->names.len,
		.name_len = (uint16_t)entry->name_len,
		.flags = entry->unsynced ? FLAG_UNSYNCED : 0,
	};
	buf_add(&w->fixed, &fixed, sizeof(fixed));
	buf_add(&w->fixed, entry->digest.bytes, digest_len(entry->digest.kind));
	buf_add(&w->names, entry->name, entry->name_len);
	w->count++;
}

void statrec_end(struct statrec_writer *w, enum digest_kind kind, uint64_t boot, struct buf *out)
{
	struct head head = { .mark = MARK, .kind = (uint32_t)kind, .boot = boot, .count = w->count };
	size_t names_at = sizeof(head) + w->fixed.len;
	for (size_t i = 0; i < w->count && names_at <= UINT32_MAX / 2; i++) {
		uint32_t name_at;
		char *place = w->fixed.data + i * entry_size(kind) + offsetof(struct fixed, name_at);
		memcpy(&name_at, place, sizeof(name_at));
		name_at += (uint32_t)names_at;
		memcpy(place, &name_at, sizeof(name_at));
	}
	if (names_at <= UINT32_MAX / 2) {
		buf_add(out, &head, sizeof(head));
		buf_add(out, w->fixed.data, w->fixed.len);
		buf_add(out, w->names.data, w->names.len);
	}
	buf_release(&w->fixed);
	buf_release(&w->names);
}
