/*
 * Sending to a packed remote: small objects in packs, the others as they are. An object counts as there when an index names it and its pack
 * is listed.
 */
#include "base/mem.h"
#include "base/fs.h"
#include "net/remote_packed_impl.h"

#include <errno.h>
#include <string.h>

#define INDEX_EVERY ((uint64_t)512 << 20) /* what an interruption makes vain, at most */
#define TELL_EVERY 256

struct putting {
	struct packed_sending sending;
	struct remote_item *items;
	struct packed_sink sink;
	const struct remote_sink *outer;
	size_t settled;
	uint64_t bytes; /* of settled ones */
	VEC(uint32_t) plain;
	bool strays;    /* what was adopted is in an index by now */
};

static bool may_be_packed(const struct remote_item *item)
{
	uint8_t md5[PACK_MD5];
	return (item->size == REMOTE_SIZE_UNKNOWN || item->size <= PACK_OBJECT_MAX) && item->expect.kind == DIGEST_MD5 &&
	       packed_key(item->key, md5) && memcmp(md5, item->expect.bytes, PACK_MD5) == 0;
}

/* The object's bytes at the end of the pack, if they are what they should be; else the item is settled. *ret_large: it does not fit into packs. */
static int pack_item(struct putting *putting, uint32_t index, bool *ret_large, struct err *err)
{
	struct remote_item *item = &putting->items[index];
	struct packed_sending *sending = &putting->sending;
	int fd CLEANUP(fs_close_fd) = -1;
	uint64_t size;
	struct digest digest;
	if (remote_item_open(item, &fd, &size) < 0) {
		putting->settled++;
		return 0;
	}
	*ret_large = size > PACK_OBJECT_MAX;
	if (*ret_large)
		return 0;
	if (!pack_has_room(&sending->pack, (size_t)size) && packed_send(sending, false, err) < 0)
		return -1;
	uint8_t *bytes = pack_room(&sending->pack, (size_t)size);
	if (packed_read(fd, bytes, (size_t)size, 0) < 0) {
		struct err why CLEANUP(err_release) = ERR_INIT;
		err_set_errno(&why, ERR_FAILED, errno, "cannot read '%s'", item->path);
		remote_item_failed(item, &why);
		putting->settled++;
		return 0;
	}
	digest_bytes(DIGEST_MD5, bytes, (size_t)size, &digest);
	if (!digest_eq(&digest, &item->expect)) {
		remote_item_wrong_digest(item, "the local copy", &digest);
		putting->settled++;
		return 0;
	}
	packed_send_add(sending, digest.bytes, (size_t)size, index);
	return 0;
}

/* Settles what was sent: as done if all of the index is there. */
static void settle(struct putting *putting)
{
	struct packed_sending *sending = &putting->sending;
	for (size_t i = 0; i < sending->entries.len; i++) {
		const struct packed_sent *sent = &sending->entries.at[i];
		const struct packed_built *built = &sending->built.at[sent->entry.pack];
		struct remote_item *item = &putting->items[sent->item];
		struct err why CLEANUP(err_release) = ERR_INIT;
		putting->settled++;
		if (built->sent) {
			item->ret_state = REMOTE_DONE;
			item->ret_size = sent->entry.length;
			putting->bytes += sent->entry.length;
			continue;
		}
		err_set(&why, ERR_NET, "%s", built->why ? built->why : "not moved");
		remote_item_failed(item, &why);
	}
	packed_sending_release(sending);
	sending->of_full = sending->unsent = 0;
	sending->bytes = 0;
}

static int publish(struct putting *putting, struct err *err)
{
	struct packed_sending *sending = &putting->sending;
	const struct remote_packed *packed = sending->packed;
	VEC(struct pack_entry) strays = { 0 };
	if (packed_send(sending, true, err) < 0)
		return -1;
	if (!sending->entries.len)
		return 0;
	for (size_t i = 0; !putting->strays && i < packed->entries.len; i++)
		if (packed->packs.at[packed->entries.at[i].pack].adopted)
			vec_push(&strays, packed->entries.at[i]);
	int status = packed_send_index(sending, strays.at, strays.len, err);
	vec_release(&strays);
	if (status < 0)
		return -1;
	putting->strays = true;
	settle(putting);
	sending->sink = packed_sink(&putting->sink, putting->outer, putting->settled, putting->bytes, false);
	return 0;
}

static int put_small(struct putting *putting, size_t count, struct err *err)
{
	for (uint32_t i = 0; i < count; i++) {
		bool large = !may_be_packed(&putting->items[i]);
		if (!large && pack_item(putting, i, &large, err) < 0)
			return -1;
		if (large)
			vec_push(&putting->plain, i);
		if (putting->sending.bytes >= INDEX_EVERY && publish(putting, err) < 0)
			return -1;
		if (i % TELL_EVERY == 0 && remote_tell(putting->outer, putting->settled, putting->bytes + putting->sending.bytes, err) < 0)
			return -1;
	}
	return publish(putting, err);
}

int packed_put(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	struct remote_packed *packed = (struct remote_packed *)remote;
	struct putting putting = { .items = items, .outer = sink, .sending = { .packed = packed } };
	putting.sending.sink = packed_sink(&putting.sink, sink, 0, 0, false);
	int status = packed_load(packed, err) < 0 ? -1 : put_small(&putting, count, err);
	packed_sending_release(&putting.sending);
	packed_forget(packed);
	if (status == 0) {
		struct packed_sink rest;
		status = packed_plain(packed, remote_put, items, putting.plain.at, putting.plain.len,
				      packed_sink(&rest, sink, putting.settled, putting.bytes, true), err);
	}
	bool any_plain = putting.plain.len;
	vec_release(&putting.plain);
	return status < 0 ? -1 : any_plain ? 0 : remote_tell(sink, count, putting.bytes, err);
}
