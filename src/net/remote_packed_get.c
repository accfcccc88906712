/*
 * Fetching from a packed remote: the packs that hold what is wanted, a few at a time, and each object out of them, verified by its md5. One that
 * is damaged in a pack is looked for in the next that has it, and at last among the plain objects.
 *
 * Of a pack of which little is wanted, ranges are fetched: neighbours together, gaps between them too, where another request would cost more. What is
 * not right in a range is looked for in the whole pack, whose own md5 tells whether the wire was at fault.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/pool.h"
#include "net/remote_packed_impl.h"

#include <errno.h>
#include <string.h>

#define REQUEST_COST ((uint32_t)128 << 10) /* bytes that take as long as a request */
#define RANGE_MAX ((uint32_t)4 << 20)
#define RANGES_AT_ONCE 128

struct wanted {
	struct remote_item *item;
	const struct pack_entry *entry;
	int fd;
	uint32_t from; /* where in the pack the file begins */
	bool next;    /* not in this pack, or not as it should be: look further */
	bool damaged; /* it was not as it should be */
};

struct getting {
	struct remote_packed *packed;
	struct remote_item *items;
	size_t count;
	const struct remote_sink *sink;
	uint32_t *tried;   /* of each item, entries of it that were of no use */
	bool *damaged;     /* of each item, one of them was damaged */
	bool *whole;       /* of each item, a range did not give it: the whole pack may */
	VEC(uint32_t) in_packs; /* items that are looked for in packs */
	VEC(uint32_t) plain;
	size_t settled;
	uint64_t bytes;
	bool gone;         /* a pack that was listed is not there */
};

static void write_object(struct remote_item *item, const uint8_t *bytes, size_t len)
{
	struct err why CLEANUP(err_release) = ERR_INIT;
	int fd CLEANUP(fs_close_fd) = -1;
	if (remote_item_create(item, &fd, &why) < 0) {
		remote_item_failed(item, &why);
	} else if (remote_write_at(fd, bytes, len, 0) < 0) {
		err_set_errno(&why, ERR_FAILED, errno, "cannot write '%s'", item->path);
		sys.unlinkat(AT_FDCWD, item->path, 0);
		remote_item_failed(item, &why);
	} else {
		item->ret_state = REMOTE_DONE;
		item->ret_size = len;
	}
}

static void extract_one(void *ctx, size_t index)
{
	struct wanted *wanted = (struct wanted *)ctx + index;
	struct remote_item *item = wanted->item;
	size_t len = wanted->entry->length;
	struct digest digest;
	if (item->size == REMOTE_SIZE_UNKNOWN && item->max_size && len > item->max_size) {
		remote_item_too_large(item, len);
		return;
	}
	wanted->next = wanted->damaged = true;
	if (item->size != REMOTE_SIZE_UNKNOWN && item->size != len)
		return;
	uint8_t *bytes OWNED = mem_alloc(len + 1);
	if (packed_read(wanted->fd, bytes, len, wanted->entry->offset - wanted->from) < 0)
		return;
	digest_bytes(DIGEST_MD5, bytes, len, &digest);
	if (memcmp(digest.bytes, wanted->entry->md5, PACK_MD5) != 0)
		return;
	wanted->next = wanted->damaged = false;
	if (item->expect.kind == DIGEST_MD5 && !digest_eq(&digest, &item->expect))
		remote_item_wrong_digest(item, "the remote copy", &digest);
	else
		write_object(item, bytes, len);
}

/* The entry that an item is taken from now; NULL: there is none left. */
static const struct pack_entry *entry_of(const struct getting *getting, uint32_t item)
{
	uint8_t md5[PACK_MD5];
	if (!packed_key(getting->items[item].key, md5))
		return NULL;
	size_t at = packed_find(getting->packed, md5) + getting->tried[item];
	return packed_is(getting->packed, at, md5) ? &getting->packed->entries.at[at] : NULL;
}

struct place {
	const struct pack_entry *entry;
	uint32_t item;
};

static int compare_places(const void *a, const void *b)
{
	const struct pack_entry *left = ((const struct place *)a)->entry, *right = ((const struct place *)b)->entry;
	if (left->pack != right->pack)
		return left->pack < right->pack ? -1 : 1;
	return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static void settle_with(struct getting *getting, const struct place *place, struct remote_item *pack)
{
	struct remote_item *item = &getting->items[place->item];
	struct err why CLEANUP(err_release) = ERR_INIT;
	getting->settled++;
	if (pack->ret_state == REMOTE_PENDING) /* as the pack is: what ended all says why */
		return;
	err_set(&why, pack->ret_err.code ? pack->ret_err.code : ERR_NET, "%s", pack->ret_err.message ? pack->ret_err.message : "not moved");
	if (pack->ret_err.hint)
		err_hint(&why, "%s", pack->ret_err.hint);
	remote_item_failed(item, &why);
}

/* What is in a file that begins there in its pack. */
static void want(const struct getting *getting, const struct place *places, size_t count, int fd, uint32_t from, struct wanted *ret)
{
	for (size_t i = 0; i < count; i++)
		ret[i] = (struct wanted){ .item = &getting->items[places[i].item], .entry = places[i].entry, .fd = fd, .from = from };
}

/* Objects of files that are at hand, of which none is in two places here. */
static void extract(struct getting *getting, const struct place *places, struct wanted *wanted, size_t count, bool of_ranges)
{
	pool_each(count < 8 ? 1 : 0, count, extract_one, wanted);
	for (size_t i = 0; i < count; i++) {
		uint32_t item = places[i].item;
		if (wanted[i].next && of_ranges) {
			getting->whole[item] = true;
			continue;
		}
		getting->damaged[item] = getting->damaged[item] || wanted[i].damaged;
		getting->tried[item] += wanted[i].next;
		getting->settled += !wanted[i].next;
		getting->bytes += wanted[i].item->ret_state == REMOTE_DONE ? wanted[i].item->ret_size : 0;
	}
}

/* Places whose pack, or whose part of it, is not there as it should be. */
static void pass_over(struct getting *getting, const struct place *places, size_t count, struct remote_item *pack)
{
	for (size_t i = 0; i < count; i++) {
		if (pack->ret_state != REMOTE_MISSING && pack->ret_state != REMOTE_DAMAGED) {
			settle_with(getting, &places[i], pack);
			continue;
		}
		getting->tried[places[i].item]++;
		getting->damaged[places[i].item] |= pack->ret_state == REMOTE_DAMAGED;
		getting->gone = getting->gone || pack->ret_state == REMOTE_MISSING;
	}
}

/* The places of one pack, once it was asked for. */
static void take_from_pack(struct getting *getting, const struct place *places, size_t count, struct remote_item *pack)
{
	struct wanted *wanted OWNED = NULL;
	if (pack->ret_state != REMOTE_DONE) {
		pass_over(getting, places, count, pack);
		return;
	}
	wanted = mem_alloc((count + 1) * sizeof(*wanted));
	want(getting, places, count, packed_fd(getting->packed, places->entry->pack), 0, wanted);
	extract(getting, places, wanted, count, false);
}

/* The next packs, and what is wanted of them. Returns how many places that were. */
static size_t take_packs(struct getting *getting, const struct place *places, size_t count, struct err *err)
{
	uint32_t packs[PACKED_AT_ONCE];
	size_t first[PACKED_AT_ONCE + 1], n = 0, used = 0;
	struct remote_item items[PACKED_AT_ONCE];
	struct packed_sink sink;
	while (used < count && (n < PACKED_AT_ONCE || places[used].entry->pack == packs[n - 1])) {
		if (n == 0 || places[used].entry->pack != packs[n - 1]) {
			first[n] = used;
			packs[n++] = places[used].entry->pack;
		}
		used++;
	}
	first[n] = used;
	memset(items, 0, sizeof(items));
	int status = packed_open_packs(getting->packed, packs, items, n,
				       packed_sink(&sink, getting->sink, getting->settled, getting->bytes, false), err);
	for (size_t i = 0; i < n; i++) {
		if (status == 0)
			take_from_pack(getting, places + first[i], first[i + 1] - first[i], &items[i]);
		err_release(&items[i].ret_err);
	}
	return status < 0 || remote_tell(getting->sink, getting->settled, getting->bytes, err) < 0 ? 0 : used;
}

/* Ranges. */

struct range {
	uint32_t pack, from, len;
	size_t first, count; /* of its places */
};

/* The places from that one on that are fetched together. */
static struct range range_at(const struct place *places, size_t first, size_t count)
{
	const struct pack_entry *entry = places[first].entry;
	struct range range = { .pack = entry->pack, .from = entry->offset, .len = entry->length, .first = first };
	size_t next = first + 1;
	if (range.len == 0) { /* no request is for nothing */
		range.from--;
		range.len = 1;
	}
	for (; next < count && places[next].entry->pack == range.pack; next++) {
		entry = places[next].entry;
		uint64_t end = (uint64_t)entry->offset + entry->length - range.from;
		if (entry->offset > range.from + range.len + REQUEST_COST || end > RANGE_MAX)
			break;
		range.len = end > range.len ? (uint32_t)end : range.len;
	}
	range.count = next - first;
	return range;
}

/* Whether ranges of the pack that the first place is in are faster than all of it; *ret_count are its places. */
static bool is_better_in_ranges(const struct getting *getting, const struct place *places, size_t count, size_t *ret_count)
{
	uint32_t pack = places->entry->pack;
	uint64_t cost = 0;
	bool whole = packed_fd(getting->packed, pack) >= 0;
	size_t at = 0;
	while (at < count && places[at].entry->pack == pack) {
		struct range range = range_at(places, at, count);
		for (size_t i = at; i < at + range.count; i++)
			whole = whole || getting->whole[places[i].item];
		cost += range.len + REQUEST_COST;
		at += range.count;
	}
	*ret_count = at;
	return !whole && cost < getting->packed->packs.at[pack].ref.size;
}

static void take_from_range(struct getting *getting, const struct place *places, const struct range *range, struct remote_item *part)
{
	const struct place *of = places + range->first;
	struct wanted *wanted OWNED = mem_alloc((range->count + 1) * sizeof(*wanted));
	int fd CLEANUP(fs_close_fd) = -1;
	if (part->ret_state == REMOTE_DONE)
		fd = sys.openat(AT_FDCWD, part->path, O_RDONLY | O_CLOEXEC, 0);
	if (fd >= 0) {
		want(getting, of, range->count, fd, range->from, wanted);
		extract(getting, of, wanted, range->count, true);
	} else if (part->ret_state == REMOTE_DAMAGED || part->ret_state == REMOTE_DONE) {
		for (size_t i = 0; i < range->count; i++)
			getting->whole[of[i].item] = true;
	} else
		pass_over(getting, of, range->count, part);
	sys.unlinkat(AT_FDCWD, part->path, 0);
}

/* The next ranges. Returns how many places that were. */
static size_t take_ranges(struct getting *getting, const struct place *places, size_t count, struct err *err)
{
	struct range ranges[RANGES_AT_ONCE];
	struct remote_item items[RANGES_AT_ONCE];
	struct strlist names CLEANUP(strlist_release) = { 0 };
	struct packed_sink sink;
	size_t used = 0, n = 0;
	uint64_t bytes = 0;
	for (; used < count && n < RANGES_AT_ONCE && bytes < PACKED_AT_ONCE * PACK_FULL; used += ranges[n++].count) {
		ranges[n] = range_at(places, used, count);
		char *path = packed_temp(getting->packed, err);
		if (!path)
			return 0;
		strlist_take(&names, path);
		char *key = packed_name(getting->packed->packs.at[ranges[n].pack].ref.md5, ".pack");
		strlist_take(&names, key);
		items[n] = (struct remote_item){ .key = key, .path = path, .size = ranges[n].len, .part = true, .from = ranges[n].from };
		bytes += ranges[n].len;
	}
	int status = remote_get(getting->packed->plain, items, n, packed_sink(&sink, getting->sink, getting->settled, getting->bytes, false), err);
	for (size_t i = 0; i < n; i++) {
		if (status == 0)
			take_from_range(getting, places, &ranges[i], &items[i]);
		err_release(&items[i].ret_err);
	}
	return status < 0 || remote_tell(getting->sink, getting->settled, getting->bytes, err) < 0 ? 0 : used;
}

/* All places, those that are taken out of ranges first. */
static int take_all(struct getting *getting, struct place *places, size_t count, struct err *err)
{
	struct place *ranged OWNED = mem_alloc((count + 1) * sizeof(*ranged));
	size_t of_ranges = 0, of_packs = 0, n;
	for (size_t at = 0; at < count; at += n) {
		bool in_ranges = is_better_in_ranges(getting, places + at, count - at, &n);
		memmove(in_ranges ? ranged + of_ranges : places + of_packs, places + at, n * sizeof(*places));
		*(in_ranges ? &of_ranges : &of_packs) += n;
	}
	for (size_t at = 0; at < of_ranges; at += n)
		if ((n = take_ranges(getting, ranged + at, of_ranges - at, err)) == 0)
			return -1;
	for (size_t at = 0; at < of_packs; at += n)
		if ((n = take_packs(getting, places + at, of_packs - at, err)) == 0)
			return -1;
	return 0;
}

/* Everything that is wanted once, from the entry whose turn it is. What has none left becomes plain. */
static int one_round(struct getting *getting, struct err *err)
{
	struct place *places OWNED = mem_alloc((getting->in_packs.len + 1) * sizeof(*places));
	size_t count = 0, left = 0;
	for (size_t i = 0; i < getting->in_packs.len; i++) {
		uint32_t item = getting->in_packs.at[i];
		const struct pack_entry *entry = entry_of(getting, item);
		if (entry) {
			places[count++] = (struct place){ entry, item };
			getting->in_packs.at[left++] = item;
		} else
			vec_push(&getting->plain, item);
	}
	if (count)
		qsort(places, count, sizeof(*places), compare_places);
	if (take_all(getting, places, count, err) < 0)
		return -1;
	getting->in_packs.len = 0;
	for (size_t i = 0; i < left; i++)
		if (getting->items[getting->in_packs.at[i]].ret_state == REMOTE_PENDING)
			getting->in_packs.at[getting->in_packs.len++] = getting->in_packs.at[i];
	return 0;
}

/* Somebody has put things into other packs meanwhile: everything that was not found is looked for once more. */
static int look_again(struct getting *getting, struct err *err)
{
	packed_forget(getting->packed);
	if (packed_load(getting->packed, err) < 0)
		return -1;
	for (size_t i = 0; i < getting->plain.len; i++)
		vec_push(&getting->in_packs, getting->plain.at[i]);
	getting->plain.len = 0;
	memset(getting->tried, 0, getting->count * sizeof(*getting->tried));
	memset(getting->whole, 0, getting->count * sizeof(*getting->whole));
	return 0;
}

static int get_packed(struct getting *getting, struct err *err)
{
	bool again = false;
	while (getting->in_packs.len) {
		if (one_round(getting, err) < 0)
			return -1;
		if (getting->in_packs.len || !getting->gone || again)
			continue;
		again = true;
		if (look_again(getting, err) < 0)
			return -1;
	}
	return 0;
}

static int get_plain(struct getting *getting, struct err *err)
{
	struct packed_sink sink;
	int status = packed_plain(getting->packed, remote_get, getting->items, getting->plain.at, getting->plain.len,
				  packed_sink(&sink, getting->sink, getting->settled, getting->bytes, true), err);
	/* Of a directory that was pushed without packs. */
	if (status == 0)
		status = packed_plain_manifests(getting->packed, remote_get, getting->items, getting->plain.at, getting->plain.len, NULL, err);
	for (size_t i = 0; i < getting->plain.len; i++) {
		uint32_t index = getting->plain.at[i];
		struct remote_item *item = &getting->items[index];
		if (item->ret_state != REMOTE_MISSING || !getting->damaged[index])
			continue;
		item->ret_state = REMOTE_DAMAGED;
		err_set(&item->ret_err, ERR_DATA, "the copy of '%s' in a pack is damaged, and there is no other", item->key);
	}
	return status;
}

int packed_get(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	struct getting getting = { .packed = (struct remote_packed *)remote, .items = items, .count = count, .sink = sink };
	getting.tried = mem_alloc((count + 1) * sizeof(*getting.tried));
	getting.damaged = mem_alloc((count + 1) * sizeof(*getting.damaged));
	getting.whole = mem_alloc((count + 1) * sizeof(*getting.whole));
	int status = packed_load(getting.packed, err);
	for (uint32_t i = 0; status == 0 && i < count; i++)
		vec_push(&getting.in_packs, i);
	if (status == 0)
		status = get_packed(&getting, err);
	if (status == 0)
		status = get_plain(&getting, err);
	free(getting.tried);
	free(getting.damaged);
	free(getting.whole);
	vec_release(&getting.in_packs);
	vec_release(&getting.plain);
	return status;
}
