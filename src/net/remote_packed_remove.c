/*
 * Removing objects from a packed remote. Packs and indexes never change, so new ones are put there first, and the old ones go when those are
 * there: an interruption leaves too much and never too little.
 *
 *     1. packs of which less than half is still wanted are read, and what is wanted of them goes into new packs
 *     2. one index names everything that stays, wherever it lies now
 *     3. the old indexes go, then the packs that nothing is wanted of any more
 */
#include "base/mem.h"
#include "base/fs.h"
#include "net/remote_packed_impl.h"

#include <string.h>
#include <time.h>

enum fate { KEEP, REWRITE, DROP };

struct removing {
	struct remote_packed *packed;
	struct remote_item *items;
	size_t count;
	struct packed_sending sending;
	bool *dead;       /* of each entry */
	bool *in_packs;   /* of each item */
	enum fate *fates; /* of each pack */
	VEC(struct pack_entry) live;
	VEC(uint32_t) plain;
};

static void removing_release(struct removing *removing)
{
	packed_sending_release(&removing->sending);
	free(removing->dead);
	free(removing->in_packs);
	free(removing->fates);
	vec_release(&removing->live);
	vec_release(&removing->plain);
}

/* Which entries die, and which items are, or may be, plain objects as well. */
static size_t mark_dead(struct removing *removing)
{
	const struct remote_packed *packed = removing->packed;
	size_t dead = 0;
	for (uint32_t i = 0; i < removing->count; i++) {
		uint8_t md5[PACK_MD5];
		bool plain = packed->also_plain.len != packed->entries.len;
		size_t at = packed_key(removing->items[i].key, md5) ? packed_find(packed, md5) : packed->entries.len;
		removing->in_packs[i] = at < packed->entries.len;
		for (; removing->in_packs[i] && packed_is(packed, at, md5); at++) {
			dead += !removing->dead[at];
			removing->dead[at] = true;
			plain = plain || packed->also_plain.at[at];
		}
		if (plain || !removing->in_packs[i])
			vec_push(&removing->plain, i);
	}
	return dead;
}

static void decide(struct removing *removing)
{
	const struct remote_packed *packed = removing->packed;
	uint64_t *live OWNED = mem_alloc((packed->packs.len + 1) * sizeof(*live));
	bool *any OWNED = mem_alloc(packed->packs.len + 1);
	int64_t now = (int64_t)time(NULL);
	for (size_t i = 0; i < packed->entries.len; i++) {
		const struct pack_entry *entry = &packed->entries.at[i];
		if (removing->dead[i])
			continue;
		live[entry->pack] += entry->length + (uint64_t)PACK_MD5 + 4;
		any[entry->pack] = true;
	}
	for (size_t i = 0; i < packed->packs.len; i++) {
		const struct packed_pack *pack = &packed->packs.at[i];
		bool young = !pack->modified_s || now - pack->modified_s < PACKED_SETTLED_S;
		if (!pack->indexed && !pack->adopted)
			removing->fates[i] = young ? KEEP : DROP; /* on its way to here; or its head says nothing */
		else if (!any[i])
			removing->fates[i] = DROP;
		else if (live[i] * 2 < pack->ref.size)
			removing->fates[i] = REWRITE;
	}
}

static int compare_places(const void *a, const void *b)
{
	const struct pack_entry *left = a, *right = b;
	if (left->pack != right->pack)
		return left->pack < right->pack ? -1 : 1;
	return left->offset < right->offset ? -1 : left->offset > right->offset;
}

/* What is wanted of one pack goes into the new one. Where a byte of it is wrong the pack stays. */
static int move_live(struct removing *removing, const struct pack_entry *entries, size_t count, struct err *err)
{
	struct packed_sending *sending = &removing->sending;
	for (size_t i = 0; i < count; i++) {
		const struct pack_entry *entry = &entries[i];
		struct digest digest = { .kind = DIGEST_NONE };
		if (!pack_has_room(&sending->pack, entry->length) && packed_send(sending, false, err) < 0)
			return -1;
		/* Sending fetches nothing, so the pack is still open. */
		uint8_t *bytes = pack_room(&sending->pack, entry->length);
		if (packed_read(packed_fd(removing->packed, entry->pack), bytes, entry->length, entry->offset) == 0)
			digest_bytes(DIGEST_MD5, bytes, entry->length, &digest);
		if (digest.kind == DIGEST_NONE || memcmp(digest.bytes, entry->md5, PACK_MD5) != 0) {
			removing->fates[entry->pack] = KEEP;
			return 0;
		}
		packed_send_add(sending, entry->md5, entry->length, 0);
	}
	return 0;
}

static int rewrite(struct removing *removing, const struct remote_sink *sink, struct err *err)
{
	const struct remote_packed *packed = removing->packed;
	VEC(struct pack_entry) moving = { 0 };
	int status = 0;
	for (size_t i = 0; i < packed->entries.len; i++)
		if (!removing->dead[i] && removing->fates[packed->entries.at[i].pack] == REWRITE)
			vec_push(&moving, packed->entries.at[i]);
	vec_sort(&moving, compare_places);
	for (size_t at = 0, end; status == 0 && at < moving.len; at = end) {
		struct remote_item item = { .size = 0 };
		uint32_t pack = moving.at[at].pack;
		for (end = at; end < moving.len && moving.at[end].pack == pack;)
			end++;
		status = packed_open_packs(removing->packed, &pack, &item, 1, NULL, err);
		if (status == 0 && item.ret_state == REMOTE_DONE)
			status = move_live(removing, moving.at + at, end - at, err);
		else if (status == 0)
			removing->fates[pack] = KEEP;
		err_release(&item.ret_err);
		if (status == 0)
			status = remote_tell(sink, 0, 0, err);
	}
	vec_release(&moving);
	return status < 0 ? -1 : packed_send(&removing->sending, true, err);
}

static int compare_md5s(const void *a, const void *b)
{
	return memcmp(((const struct pack_entry *)a)->md5, ((const struct pack_entry *)b)->md5, PACK_MD5);
}

/* What stays where it is: not what was moved, of which the verified copy is enough. A pack that is left with nothing goes, too. */
static void choose_live(struct removing *removing)
{
	const struct remote_packed *packed = removing->packed;
	bool *needed OWNED = mem_alloc(packed->packs.len + 1);
	VEC(struct pack_entry) moved = { 0 };
	for (size_t i = 0; i < removing->sending.entries.len; i++)
		vec_push(&moved, removing->sending.entries.at[i].entry);
	vec_sort(&moved, compare_md5s);
	for (size_t i = 0; i < packed->entries.len; i++) {
		const struct pack_entry *entry = &packed->entries.at[i];
		if (removing->dead[i] || removing->fates[entry->pack] != KEEP ||
		    (moved.len && bsearch(entry, moved.at, moved.len, sizeof(*entry), compare_md5s)))
			continue;
		vec_push(&removing->live, *entry);
		needed[entry->pack] = true;
	}
	for (size_t i = 0; i < packed->packs.len; i++)
		if (!needed[i] && (packed->packs.at[i].indexed || packed->packs.at[i].adopted))
			removing->fates[i] = DROP;
	vec_release(&moved);
}

/* The new index; afterwards everything that stays is there without the old ones. */
static int send_new(struct removing *removing, struct err *err)
{
	struct packed_sending *sending = &removing->sending;
	choose_live(removing);
	for (size_t i = 0; i < sending->built.len; i++)
		if (!sending->built.at[i].sent)
			return err_set(err, ERR_NET, "nothing was removed, since a new pack was not taken: %s", sending->built.at[i].why);
	if (packed_send_index(sending, removing->live.at, removing->live.len, err) < 0)
		return -1;
	for (size_t i = 0; i < sending->built.len; i++)
		if (!sending->built.at[i].sent)
			return err_set(err, ERR_NET, "nothing was removed, since a new pack is not there any more");
	return 0;
}

/* Deletes from the plain remote what is in names; *ret_failed tells of the first that stays. */
static int delete_names(struct removing *removing, const struct strlist *names, struct err *err)
{
	struct remote_item *items OWNED = mem_alloc((names->len + 1) * sizeof(*items));
	for (size_t i = 0; i < names->len; i++)
		items[i] = (struct remote_item){ .key = names->at[i] };
	int status = remote_remove(removing->packed->plain, items, names->len, NULL, err);
	for (size_t i = 0; i < names->len; i++) {
		if (status == 0 && items[i].ret_state != REMOTE_DONE)
			status = items[i].ret_err.message ? err_move(err, &items[i].ret_err)
							  : err_set(err, ERR_NET, "'%s' was not removed", names->at[i]);
		err_release(&items[i].ret_err);
	}
	return status;
}

static int delete_old(struct removing *removing, struct err *err)
{
	const struct remote_packed *packed = removing->packed;
	struct strlist indexes CLEANUP(strlist_release) = { 0 }, packs CLEANUP(strlist_release) = { 0 };
	for (size_t i = 0; i < packed->indexes.len; i++)
		strlist_take(&indexes, packed_name(packed->indexes.at[i].md5, ".index"));
	for (size_t i = 0; i < packed->packs.len; i++)
		if (removing->fates[i] != KEEP)
			strlist_take(&packs, packed_name(packed->packs.at[i].ref.md5, ".pack"));
	return delete_names(removing, &indexes, err) < 0 ? -1 : delete_names(removing, &packs, err);
}

static int remove_packed(struct removing *removing, const struct remote_sink *sink, struct err *err)
{
	decide(removing);
	if (rewrite(removing, sink, err) < 0 || send_new(removing, err) < 0 || delete_old(removing, err) < 0)
		return err_note(err, "while removing objects from packs");
	for (size_t i = 0; i < removing->count; i++)
		if (removing->in_packs[i] && removing->items[i].ret_state == REMOTE_PENDING)
			removing->items[i].ret_state = REMOTE_DONE;
	return 0;
}

int packed_remove(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	struct removing removing CLEANUP(removing_release) = { .packed = (struct remote_packed *)remote, .items = items, .count = count };
	struct remote_packed *packed = removing.packed;
	removing.sending.packed = packed;
	if (packed_load(packed, err) < 0)
		return -1;
	if (packed->damaged) {
		err_set(err, ERR_DATA, "the index '%s' is damaged, so nobody can tell what lies in packs", packed->damaged);
		return err_hint(err, "push from where the data is, then delete that index from the remote");
	}
	removing.dead = mem_alloc(packed->entries.len + 1);
	removing.in_packs = mem_alloc(count + 1);
	removing.fates = mem_alloc((packed->packs.len + 1) * sizeof(*removing.fates));
	bool any_dead = mark_dead(&removing) > 0;
	if (packed_plain(packed, remote_remove, items, removing.plain.at, removing.plain.len, NULL, err) < 0 ||
	    packed_plain_manifests(packed, remote_remove, items, removing.plain.at, removing.plain.len, NULL, err) < 0)
		return -1;
	if (!any_dead)
		return remote_tell(sink, count, 0, err);
	int status = remove_packed(&removing, sink, err);
	packed_forget(packed);
	return status < 0 ? -1 : remote_tell(sink, count, 0, err);
}
