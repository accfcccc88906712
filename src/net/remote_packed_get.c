/*
 * Fetching from a packed remote: the packs that hold what is wanted, a few at a time, and each object out of them, verified by its md5. One that
 * is damaged in a pack is looked for in the next that has it, and at last among the plain objects.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/pool.h"
#include "net/remote_packed_impl.h"

#include <errno.h>
#include <string.h>

struct wanted {
	struct remote_item *item;
	const struct pack_entry *entry;
	int fd;
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
	if (packed_read(wanted->fd, bytes, len, wanted->entry->offset) < 0)
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
	err_set(&why, pack->ret_err.code ? pack->ret_err.code : ERR_NET, "%s", pack->ret_err.message ? pack->ret_err.message : "not moved");
	remote_item_failed(item, &why);
	getting->settled++;
}

/* Objects of packs that are at hand, of which none is in two places here. */
static void extract(struct getting *getting, const struct place *places, size_t count)
{
	struct wanted *wanted OWNED = mem_alloc((count + 1) * sizeof(*wanted));
	for (size_t i = 0; i < count; i++)
		wanted[i] = (struct wanted){ .item = &getting->items[places[i].item], .entry = places[i].entry,
					     .fd = packed_fd(getting->packed, places[i].entry->pack) };
	pool_each(count < 8 ? 1 : 0, count, extract_one, wanted);
	for (size_t i = 0; i < count; i++) {
		uint32_t item = places[i].item;
		getting->damaged[item] = getting->damaged[item] || wanted[i].damaged;
		getting->tried[item] += wanted[i].next;
		getting->settled += !wanted[i].next;
		getting->bytes += wanted[i].item->ret_state == REMOTE_DONE ? wanted[i].item->ret_size : 0;
	}
}

/* The places of one pack, once it was asked for. */
static void take_from_pack(struct getting *getting, const struct place *places, size_t count, struct remote_item *pack)
{
	if (pack->ret_state == REMOTE_DONE) {
		extract(getting, places, count);
		return;
	}
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

/* The next packs, and what is wanted of them. Returns how many places that were. */
static size_t take_some(struct getting *getting, const struct place *places, size_t count, struct err *err)
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

/* Everything that is wanted once, from the entry whose turn it is. What has none left becomes plain. */
static int one_round(struct getting *getting, struct err *err)
{
	struct place *places OWNED = mem_alloc((getting->in_packs.len + 1) * sizeof(*places));
	size_t count = 0, left = 0;
	for (size_t i = 0; i < getting->in_packs.len; i++) {
		uint32_t item = getting->in_packs.at[i];
		const struct pack_entry *entry = entry_of(getting, item);
		if (entry)
			places[count++] = (struct place){ entry, item };
		else
			vec_push(&getting->plain, item);
	}
	if (count)
		qsort(places, count, sizeof(*places), compare_places);
	for (size_t at = 0; at < count;) {
		size_t used = take_some(getting, places + at, count - at, err);
		if (used == 0)
			return -1;
		at += used;
	}
	for (size_t i = 0; i < count; i++)
		if (getting->items[places[i].item].ret_state == REMOTE_PENDING)
			getting->in_packs.at[left++] = places[i].item;
	getting->in_packs.len = left;
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
	int status = packed_load(getting.packed, err);
	for (uint32_t i = 0; status == 0 && i < count; i++)
		vec_push(&getting.in_packs, i);
	if (status == 0)
		status = get_packed(&getting, err);
	if (status == 0)
		status = get_plain(&getting, err);
	free(getting.tried);
	free(getting.damaged);
	vec_release(&getting.in_packs);
	vec_release(&getting.plain);
	return status;
}
