/*
 * What lies in packs: the listing of the remote, its indexes, and the heads of packs that no index names.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "net/remote_packed_impl.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define MAX_NAMES 1000000u
#define MAX_ENTRIES ((size_t)1 << 28)
#define HEAD_MAX (pack_head_len(PACK_COUNT_MAX))

static int compare_packs(const void *a, const void *b)
{
	return memcmp(((const struct packed_pack *)a)->ref.md5, ((const struct packed_pack *)b)->ref.md5, PACK_MD5);
}

static int compare_refs(const void *a, const void *b)
{
	return memcmp(((const struct pack_ref *)a)->md5, ((const struct pack_ref *)b)->md5, PACK_MD5);
}

static int take_listed(void *ctx, const char *key, uint64_t size, int64_t modified_s, struct err *err)
{
	struct packed_listing *listing = ctx;
	const char *name = text_starts(key, PACKED_PREFIX) ? key + strlen(PACKED_PREFIX) : "";
	const char *dot = strchr(name, '.');
	struct digest md5;
	if (!dot || dot - name != 2 * PACK_MD5 || size > PACK_INDEX_MAX)
		return 0;
	char *hex OWNED = mem_strndup(name, (size_t)(dot - name));
	if (!digest_parse(&md5, DIGEST_MD5, hex))
		return 0;
	struct pack_ref ref = { .size = (uint32_t)size };
	memcpy(ref.md5, md5.bytes, PACK_MD5);
	if (text_eq(dot, ".pack") && size <= PACK_SIZE_MAX)
		vec_push(&listing->packs, ((struct packed_pack){ .ref = ref, .modified_s = modified_s }));
	else if (text_eq(dot, ".index"))
		vec_push(&listing->indexes, ref);
	if (listing->packs.len > MAX_NAMES || listing->indexes.len > MAX_NAMES)
		return err_set(err, ERR_DATA, "there are too many packs below %s", PACKED_PREFIX);
	return 0;
}

int packed_list(struct remote_packed *packed, struct packed_listing *ret, struct err *err)
{
	if (remote_list(packed->plain, PACKED_PREFIX, take_listed, ret, err) < 0)
		return err_note(err, "while looking for packs");
	vec_sort(&ret->packs, compare_packs);
	vec_sort(&ret->indexes, compare_refs);
	return 0;
}

void packed_listing_release(struct packed_listing *listing)
{
	vec_release(&listing->packs);
	vec_release(&listing->indexes);
}

bool packed_listing_has(const struct packed_listing *listing, const struct pack_ref *pack)
{
	struct packed_pack due = { .ref = *pack };
	const struct packed_pack *found =
		listing->packs.len ? bsearch(&due, listing->packs.at, listing->packs.len, sizeof(due), compare_packs) : NULL;
	return found && found->ref.size == pack->size;
}

void packed_forget(struct remote_packed *packed)
{
	packed->loaded = false;
	vec_release(&packed->packs);
	vec_release(&packed->entries);
	vec_release(&packed->indexes);
	vec_release(&packed->also_plain);
	free(packed->damaged);
	packed->damaged = NULL;
}

static struct packed_pack *find_pack(struct remote_packed *packed, const struct pack_ref *ref)
{
	struct packed_pack due = { .ref = *ref };
	struct packed_pack *found =
		packed->packs.len ? bsearch(&due, packed->packs.at, packed->packs.len, sizeof(due), compare_packs) : NULL;
	return found && found->ref.size == ref->size ? found : NULL;
}

/* Entries whose packs are there. */
static int merge(struct remote_packed *packed, const struct pack_index *index, struct err *err)
{
	struct packed_pack **packs OWNED = mem_alloc((index->packs.len + 1) * sizeof(*packs));
	for (size_t i = 0; i < index->packs.len; i++)
		packs[i] = find_pack(packed, &index->packs.at[i]);
	if (index->entries.len > MAX_ENTRIES - packed->entries.len)
		return err_set(err, ERR_DATA, "the indexes of the remote name too many objects");
	vec_reserve(&packed->entries, index->entries.len);
	for (size_t i = 0; i < index->entries.len; i++) {
		struct pack_entry entry = index->entries.at[i];
		struct packed_pack *pack = packs[entry.pack];
		if (!pack)
			continue;
		pack->indexed = true;
		entry.pack = (uint32_t)(pack - packed->packs.at);
		packed->entries.at[packed->entries.len++] = entry;
	}
	return 0;
}

static char *kept_path(const struct remote_packed *packed, const struct pack_ref *index)
{
	char *name OWNED = packed_name(index->md5, ".index");
	return path_joined(packed->dir, name + strlen(PACKED_PREFIX));
}

/* The index in a file, if it has the right bytes. *ret_there is false if it has not, or there is none. */
static int take_file(struct remote_packed *packed, const char *path, const struct pack_ref *ref, bool *ret_there, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct err why CLEANUP(err_release) = ERR_INIT;
	struct pack_index index = PACK_INDEX_INIT;
	struct digest digest;
	*ret_there = fs_read_file(path, PACK_INDEX_MAX, &text, &why) == 0;
	if (*ret_there) {
		digest_bytes(DIGEST_MD5, text.data, text.len, &digest);
		*ret_there = memcmp(digest.bytes, ref->md5, PACK_MD5) == 0;
	}
	if (!*ret_there)
		return 0;
	if (pack_index_parse(text.data, text.len, &index, &why) < 0) {
		packed->damaged = packed->damaged ? packed->damaged : packed_name(ref->md5, ".index");
		return 0;
	}
	int status = merge(packed, &index, err);
	pack_index_release(&index);
	return status;
}

/* Indexes that this clone has not, and keeps from now on. *ret_gone: one was deleted since it was listed. */
static int fetch_indexes(struct remote_packed *packed, const struct pack_ref *indexes, size_t count, bool *ret_gone, struct err *err)
{
	struct remote_item *items OWNED = mem_alloc((count + 1) * sizeof(*items));
	struct strlist texts CLEANUP(strlist_release) = { 0 };
	int status = 0;
	for (size_t i = 0; i < count; i++) {
		char *path = packed_temp(packed, err);
		if (!path)
			return -1;
		strlist_take(&texts, packed_name(indexes[i].md5, ".index"));
		items[i] = (struct remote_item){ .key = texts.at[texts.len - 1], .path = path, .size = indexes[i].size,
						 .expect = { .kind = DIGEST_MD5 } };
		memcpy(items[i].expect.bytes, indexes[i].md5, PACK_MD5);
		strlist_take(&texts, path);
	}
	status = remote_get(packed->plain, items, count, NULL, err);
	for (size_t i = 0; i < count; i++) {
		char *kept OWNED = kept_path(packed, &indexes[i]);
		bool there;
		if (status == 0 && items[i].ret_state == REMOTE_DONE)
			status = take_file(packed, items[i].path, &indexes[i], &there, err);
		else if (status == 0 && items[i].ret_state == REMOTE_DAMAGED)
			packed->damaged = packed->damaged ? packed->damaged : mem_strdup(items[i].key);
		else if (status == 0 && items[i].ret_state != REMOTE_MISSING)
			status = err_move(err, &items[i].ret_err);
		*ret_gone = *ret_gone || items[i].ret_state == REMOTE_MISSING;
		if (items[i].ret_state == REMOTE_DONE)
			sys.renameat(AT_FDCWD, items[i].path, AT_FDCWD, kept); /* or it is fetched again another time */
		err_release(&items[i].ret_err);
	}
	return status;
}

static int drop_unlisted(void *ctx, const struct fs_entry *entry, struct err *err UNUSED)
{
	const struct remote_packed *packed = ctx;
	char *hex OWNED = text_ends(entry->rel, ".index") ? mem_strndup(entry->rel, strlen(entry->rel) - strlen(".index")) : NULL;
	struct digest md5;
	struct pack_ref due = { .size = 0 };
	if (!hex || !digest_parse(&md5, DIGEST_MD5, hex))
		return 1;
	memcpy(due.md5, md5.bytes, PACK_MD5);
	if (!packed->indexes.len || !bsearch(&due, packed->indexes.at, packed->indexes.len, sizeof(due), compare_refs))
		sys.unlinkat(AT_FDCWD, entry->path, 0);
	return 1;
}

static int take_indexes(struct remote_packed *packed, bool *ret_gone, struct err *err)
{
	VEC(struct pack_ref) absent = { 0 };
	int status = 0;
	for (size_t i = 0; status == 0 && i < packed->indexes.len; i++) {
		char *kept OWNED = kept_path(packed, &packed->indexes.at[i]);
		bool there;
		status = take_file(packed, kept, &packed->indexes.at[i], &there, err);
		if (status == 0 && !there)
			vec_push(&absent, packed->indexes.at[i]);
	}
	if (status == 0 && absent.len)
		status = fetch_indexes(packed, absent.at, absent.len, ret_gone, err);
	vec_release(&absent);
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (status == 0 && fs_is_dir(packed->dir) && fs_walk(packed->dir, drop_unlisted, packed, &ignored) < 0)
		err_release(&ignored);
	return status;
}

/* The head of a pack says what is in it. One that lies is left alone. */
static int adopt(struct remote_packed *packed, uint32_t pack, struct err *err)
{
	const struct pack_ref *ref = &packed->packs.at[pack].ref;
	size_t len = ref->size < HEAD_MAX ? ref->size : HEAD_MAX;
	uint8_t *head OWNED = mem_alloc(len + 1);
	struct pack_object *objects OWNED = NULL;
	struct err why CLEANUP(err_release) = ERR_INIT;
	uint32_t count, offset;
	if (packed_read(packed_fd(packed, pack), head, len, 0) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot read a pack");
	if (pack_head_parse(head, len, ref->size, &objects, &count, &offset, &why) < 0)
		return 0;
	packed->packs.at[pack].adopted = true;
	for (uint32_t i = 0; i < count; i++) {
		struct pack_entry entry = { .pack = pack, .offset = offset, .length = objects[i].length };
		memcpy(entry.md5, objects[i].md5, PACK_MD5);
		vec_push(&packed->entries, entry);
		offset += entry.length;
	}
	return 0;
}

static int adopt_strays(struct remote_packed *packed, struct err *err)
{
	int64_t now = (int64_t)time(NULL);
	for (uint32_t i = 0; i < packed->packs.len; i++) {
		const struct packed_pack *pack = &packed->packs.at[i];
		struct remote_item item;
		if (pack->indexed || !pack->modified_s || now - pack->modified_s < PACKED_SETTLED_S)
			continue;
		int status = packed_open_packs(packed, &i, &item, 1, NULL, err);
		if (status == 0 && item.ret_state == REMOTE_DONE)
			status = adopt(packed, i, err);
		err_release(&item.ret_err);
		if (status < 0)
			return -1;
	}
	return 0;
}

static int load_once(struct remote_packed *packed, bool *ret_gone, struct err *err)
{
	struct packed_listing listing = { .packs = { 0 } };
	*ret_gone = false;
	packed_forget(packed);
	int status = packed_list(packed, &listing, err);
	for (size_t i = 0; status == 0 && i < listing.packs.len; i++)
		vec_push(&packed->packs, listing.packs.at[i]);
	for (size_t i = 0; status == 0 && i < listing.indexes.len; i++)
		vec_push(&packed->indexes, listing.indexes.at[i]);
	packed_listing_release(&listing);
	if (status < 0 || take_indexes(packed, ret_gone, err) < 0 || adopt_strays(packed, err) < 0)
		return -1;
	packed->entries.len = pack_sort_entries(packed->entries.at, packed->entries.len);
	packed->loaded = true;
	return 0;
}

int packed_load(struct remote_packed *packed, struct err *err)
{
	bool gone = false;
	if (packed->loaded)
		return 0;
	/* Somebody who deletes an index has put another one there that says the same. */
	for (int i = 0; i < 5; i++) {
		if (load_once(packed, &gone, err) < 0 || !gone)
			return packed->loaded ? 0 : -1;
	}
	packed_forget(packed);
	return err_set(err, ERR_NET, "the indexes below %s are listed and are not there", PACKED_PREFIX);
}
