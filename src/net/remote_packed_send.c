/*
 * Packs on their way to a remote: filled in memory, written to a file, sent, and named by an index when they are there.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "net/remote_packed_impl.h"

#include <errno.h>
#include <string.h>

static void drop_built(struct packed_built *built)
{
	if (built->path)
		sys.unlinkat(AT_FDCWD, built->path, 0);
	free(built->path);
	free(built->why);
}

void packed_sending_release(struct packed_sending *sending)
{
	for (size_t i = 0; i < sending->built.len; i++)
		drop_built(&sending->built.at[i]);
	vec_release(&sending->built);
	vec_release(&sending->entries);
	pack_writer_release(&sending->pack);
}

void packed_send_add(struct packed_sending *sending, const uint8_t md5[PACK_MD5], size_t length, uint32_t item)
{
	struct packed_sent sent = { .item = item };
	memcpy(sent.entry.md5, md5, PACK_MD5);
	sent.entry.pack = (uint32_t)sending->built.len;
	sent.entry.length = (uint32_t)length;
	sent.entry.offset = pack_add(&sending->pack, md5, length);
	vec_push(&sending->entries, sent);
}

static int write_file(const char *path, const struct buf *head, const void *bytes, size_t len, struct err *err)
{
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || fs_write_all(fd, head->data, head->len) < 0 || fs_write_all(fd, bytes, len) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot write '%s'", path);
	return 0;
}

/* The pack in memory becomes a file, and its entries say where in it they are. */
static int end_pack(struct packed_sending *sending, struct err *err)
{
	struct buf head CLEANUP(buf_release) = BUF_INIT;
	struct packed_built built = { .sent = false };
	uint8_t nonce[PACK_NONCE];
	struct digest digest;
	packed_nonce(nonce);
	pack_head_render(&sending->pack, nonce, &head);
	struct digest_stream *stream = digest_begin(DIGEST_MD5);
	digest_add(stream, head.data, head.len);
	digest_add(stream, sending->pack.bytes.at, sending->pack.bytes.len);
	digest_end(stream, &digest);
	memcpy(built.ref.md5, digest.bytes, PACK_MD5);
	built.ref.size = (uint32_t)(head.len + sending->pack.bytes.len);
	built.path = packed_temp(sending->packed, err);
	if (!built.path)
		return -1;
	vec_push(&sending->built, built);
	for (; sending->of_full < sending->entries.len; sending->of_full++)
		sending->entries.at[sending->of_full].entry.offset += (uint32_t)head.len;
	int status = write_file(built.path, &head, sending->pack.bytes.at, sending->pack.bytes.len, err);
	pack_writer_reset(&sending->pack);
	return status;
}

static struct remote_item item_of(const char *key, const char *path, const struct pack_ref *ref)
{
	struct remote_item item = { .key = key, .path = path, .size = ref->size, .expect = { .kind = DIGEST_MD5 } };
	memcpy(item.expect.bytes, ref->md5, PACK_MD5);
	return item;
}

static int send_packs(struct packed_sending *sending, struct err *err)
{
	struct packed_built *packs = sending->built.at + sending->unsent;
	size_t count = sending->built.len - sending->unsent;
	struct remote_item *items OWNED = mem_alloc((count + 1) * sizeof(*items));
	struct strlist keys CLEANUP(strlist_release) = { 0 };
	for (size_t i = 0; i < count; i++) {
		strlist_take(&keys, packed_name(packs[i].ref.md5, ".pack"));
		items[i] = item_of(keys.at[i], packs[i].path, &packs[i].ref);
	}
	int status = remote_put(sending->packed->plain, items, count, sending->sink, err);
	for (size_t i = 0; i < count; i++) {
		packs[i].sent = items[i].ret_state == REMOTE_DONE;
		sending->bytes += packs[i].sent ? packs[i].ref.size : 0;
		packs[i].why = packs[i].sent ? NULL : mem_strdup(items[i].ret_err.message ? items[i].ret_err.message : "not moved");
		sys.unlinkat(AT_FDCWD, packs[i].path, 0);
		free(packs[i].path);
		packs[i].path = NULL;
		err_release(&items[i].ret_err);
	}
	sending->unsent = sending->built.len;
	return status;
}

int packed_send(struct packed_sending *sending, bool all, struct err *err)
{
	if (sending->pack.objects.len && end_pack(sending, err) < 0)
		return -1;
	size_t due = sending->built.len - sending->unsent;
	return due >= PACKED_AT_ONCE || (all && due) ? send_packs(sending, err) : 0;
}

/* The index. */

static int send_index(struct packed_sending *sending, const struct pack_index *index, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	uint8_t nonce[PACK_NONCE];
	struct digest digest;
	struct pack_ref ref = { .size = 0 };
	packed_nonce(nonce);
	pack_index_render(index, nonce, &text);
	digest_bytes(DIGEST_MD5, text.data, text.len, &digest);
	memcpy(ref.md5, digest.bytes, PACK_MD5);
	ref.size = (uint32_t)text.len;
	char *path OWNED = packed_temp(sending->packed, err);
	if (!path || write_file(path, &text, "", 0, err) < 0)
		return -1;
	char *key OWNED = packed_name(ref.md5, ".index");
	struct remote_item item = item_of(key, path, &ref);
	int status = remote_put(sending->packed->plain, &item, 1, NULL, err);
	if (status == 0 && item.ret_state != REMOTE_DONE)
		status = item.ret_err.message ? err_move(err, &item.ret_err) : err_set(err, ERR_NET, "'%s' was not moved", key);
	err_release(&item.ret_err);
	sys.unlinkat(AT_FDCWD, path, 0);
	return status;
}

/* All entries of what was sent, and more, with the packs that they name, each once. */
struct gathered {
	VEC(struct pack_ref) packs;
	VEC(struct pack_entry) entries;
};

static void gather(const struct packed_sending *sending, const struct pack_entry *more, size_t more_count, struct gathered *ret)
{
	for (size_t i = 0; i < sending->built.len; i++)
		vec_push(&ret->packs, sending->built.at[i].ref);
	for (size_t i = 0; i < sending->entries.len; i++)
		if (sending->built.at[sending->entries.at[i].entry.pack].sent)
			vec_push(&ret->entries, sending->entries.at[i].entry);
	for (size_t i = 0; more_count && i < sending->packed->packs.len; i++)
		vec_push(&ret->packs, sending->packed->packs.at[i].ref);
	for (size_t i = 0; i < more_count; i++) {
		struct pack_entry entry = more[i];
		entry.pack += (uint32_t)sending->built.len;
		vec_push(&ret->entries, entry);
	}
	ret->entries.len = pack_sort_entries(ret->entries.at, ret->entries.len);
}

/* Moves further copies of objects behind their first ones, which an index takes; returns how many first ones there are. Any copy may turn out to be
 * the only good one. */
static size_t firsts_first(struct pack_entry *entries, size_t count)
{
	struct pack_entry *copies OWNED = mem_alloc((count + 1) * sizeof(*copies));
	size_t firsts = 0, others = 0;
	for (size_t i = 0; i < count; i++) {
		if (firsts && pack_same_object(&entries[firsts - 1], &entries[i]))
			copies[others++] = entries[i];
		else
			entries[firsts++] = entries[i];
	}
	memcpy(entries + firsts, copies, others * sizeof(*copies));
	return firsts;
}

/* An index of some entries, which names no pack that it does not need. */
static int send_some(struct packed_sending *sending, const struct gathered *all, size_t from, size_t count, struct err *err)
{
	struct pack_index index = PACK_INDEX_INIT;
	uint32_t *number OWNED = mem_alloc((all->packs.len + 1) * sizeof(*number)); /* in the index, + 1 */
	for (size_t i = from; i < from + count; i++) {
		struct pack_entry entry = all->entries.at[i];
		if (!number[entry.pack]) {
			vec_push(&index.packs, all->packs.at[entry.pack]);
			number[entry.pack] = (uint32_t)index.packs.len;
		}
		entry.pack = number[entry.pack] - 1;
		vec_push(&index.entries, entry);
	}
	int status = send_index(sending, &index, err);
	pack_index_release(&index);
	return status;
}

static int look_whether_there(struct packed_sending *sending, struct err *err)
{
	struct packed_listing listing = { .packs = { 0 } };
	int status = packed_list(sending->packed, &listing, err);
	for (size_t i = 0; status == 0 && i < sending->built.len; i++) {
		struct packed_built *built = &sending->built.at[i];
		if (!built->sent || packed_listing_has(&listing, &built->ref))
			continue;
		built->sent = false;
		built->why = mem_strdup("the pack that it was sent in is not there any more");
	}
	packed_listing_release(&listing);
	return status;
}

int packed_send_index(struct packed_sending *sending, const struct pack_entry *more, size_t more_count, struct err *err)
{
	struct gathered all = { .packs = { 0 } };
	int status = 0;
	gather(sending, more, more_count, &all);
	for (size_t at = 0, n = 0, firsts = 0; status == 0 && at < all.entries.len; at += n, firsts -= n) {
		if (firsts == 0)
			firsts = firsts_first(all.entries.at + at, all.entries.len - at);
		n = firsts < PACK_INDEX_ENTRIES ? firsts : PACK_INDEX_ENTRIES;
		status = send_some(sending, &all, at, n, err);
	}
	vec_release(&all.packs);
	vec_release(&all.entries);
	return status < 0 ? -1 : look_whether_there(sending, err);
}
