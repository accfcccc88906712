#include "base/fs.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "net/remote_packed_impl.h"
#include "store/odb.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define PLAIN_PREFIX "files/md5/"

/* Names, keys and temporaries. */

bool packed_key(const char *key, uint8_t ret_md5[PACK_MD5])
{
	struct odb_id id;
	if (!text_starts(key, PLAIN_PREFIX) || !odb_id_of_key(key, &id) || id.is_dir)
		return false;
	memcpy(ret_md5, id.digest.bytes, PACK_MD5);
	return true;
}

char *packed_name(const uint8_t md5[PACK_MD5], const char *suffix)
{
	struct buf name = BUF_INIT;
	buf_addstr(&name, PACKED_PREFIX);
	buf_addhex(&name, md5, PACK_MD5);
	buf_addstr(&name, suffix);
	return buf_detach(&name);
}

void packed_nonce(uint8_t ret[PACK_NONCE])
{
	for (size_t have = 0; have < PACK_NONCE;) {
		ssize_t got = getrandom(ret + have, PACK_NONCE - have, 0);
		have += got > 0 ? (size_t)got : 0;
	}
}

char *packed_temp(struct remote_packed *packed, struct err *err)
{
	if (!packed->temp.path && (fs_mkdirs(packed->dir, err) < 0 || temp_dir_make(&packed->temp, packed->dir, "work-", err) < 0))
		return NULL;
	return mem_printf("%s/%llu", packed->temp.path, (unsigned long long)packed->temps++);
}

int packed_read(int fd, uint8_t *to, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t got = sys.pread(fd, to, len, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got == 0)
			errno = EIO;
		if (got <= 0)
			return -1;
		to += got;
		len -= (size_t)got;
		at += (uint64_t)got;
	}
	return 0;
}

/* Calls of the plain remote. */

static bool on_progress(void *ctx, size_t items_done, uint64_t bytes_done)
{
	const struct packed_sink *sink = ctx;
	return !sink->outer->progress ||
	       sink->outer->progress(sink->outer->ctx, sink->items + (sink->count_items ? items_done : 0), sink->bytes + bytes_done);
}

static void on_slow(void *ctx, const struct remote_item *item UNUSED, const char *why)
{
	const struct packed_sink *sink = ctx;
	if (sink->outer->slow)
		sink->outer->slow(sink->outer->ctx, NULL, why);
}

const struct remote_sink *packed_sink(struct packed_sink *sink, const struct remote_sink *outer, size_t items, uint64_t bytes, bool count_items)
{
	*sink = (struct packed_sink){ .outer = outer, .items = items, .bytes = bytes, .count_items = count_items };
	sink->sink = (struct remote_sink){ .progress = on_progress, .slow = on_slow, .ctx = sink };
	return outer ? &sink->sink : NULL;
}

static char *manifest_key(const char *key)
{
	struct odb_id id;
	return text_starts(key, PLAIN_PREFIX) && odb_id_of_key(key, &id) && id.is_dir ? mem_printf("%s%s", PACKED_MANIFESTS, key + strlen(PLAIN_PREFIX)) : NULL;
}

int packed_plain(struct remote_packed *packed, packed_plain_fn *call, struct remote_item *items, const uint32_t *index, size_t count,
		 const struct remote_sink *sink, struct err *err)
{
	struct remote_item *some OWNED = mem_alloc((count + 1) * sizeof(*some));
	struct strlist keys CLEANUP(strlist_release) = { 0 };
	for (size_t i = 0; i < count; i++) {
		char *moved = manifest_key(items[index[i]].key);
		some[i] = items[index[i]];
		some[i].ret_err = (struct err)ERR_INIT;
		if (!moved)
			continue;
		some[i].key = moved;
		strlist_take(&keys, moved);
	}
	int status = call(packed->plain, some, count, sink, err);
	for (size_t i = 0; i < count; i++) {
		some[i].key = items[index[i]].key;
		err_release(&items[index[i]].ret_err);
		items[index[i]] = some[i];
	}
	return status;
}

int packed_plain_manifests(struct remote_packed *packed, packed_plain_fn *call, struct remote_item *items, const uint32_t *index, size_t count,
			   const struct remote_sink *sink, struct err *err)
{
	struct remote_item *some OWNED = mem_alloc((count + 1) * sizeof(*some));
	uint32_t *of OWNED = mem_alloc((count + 1) * sizeof(*of));
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		const struct remote_item *item = &items[index[i]];
		char *moved OWNED = manifest_key(item->key);
		if (!moved || item->ret_state != (call == remote_remove ? REMOTE_DONE : REMOTE_MISSING))
			continue;
		some[n] = *item;
		some[n].ret_err = (struct err)ERR_INIT;
		of[n++] = index[i];
	}
	int status = call(packed->plain, some, n, sink, err);
	for (size_t i = 0; i < n; i++) {
		err_release(&items[of[i]].ret_err);
		items[of[i]] = some[i];
	}
	return status;
}

/* check */

size_t packed_find(const struct remote_packed *packed, const uint8_t md5[PACK_MD5])
{
	size_t from = 0, to = packed->entries.len;
	while (from < to) {
		size_t middle = from + (to - from) / 2;
		if (memcmp(packed->entries.at[middle].md5, md5, PACK_MD5) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return packed_is(packed, from, md5) ? from : packed->entries.len;
}

bool packed_is(const struct remote_packed *packed, size_t entry, const uint8_t md5[PACK_MD5])
{
	return entry < packed->entries.len && memcmp(packed->entries.at[entry].md5, md5, PACK_MD5) == 0;
}

/* Whether an item is in a pack, as long as it should be. */
static bool is_there(const struct remote_packed *packed, struct remote_item *item)
{
	uint8_t md5[PACK_MD5];
	if (!packed_key(item->key, md5))
		return false;
	for (size_t at = packed_find(packed, md5); packed_is(packed, at, md5); at++) {
		uint32_t length = packed->entries.at[at].length;
		if (item->size != REMOTE_SIZE_UNKNOWN && item->size != length)
			continue;
		item->ret_state = REMOTE_DONE;
		item->ret_size = length;
		return true;
	}
	return false;
}

static int packed_check(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	struct remote_packed *packed = (struct remote_packed *)remote;
	uint32_t *index OWNED = mem_alloc((count + 1) * sizeof(*index));
	struct packed_sink rest;
	size_t n = 0;
	/* Somebody may have deleted packs since. */
	packed_forget(packed);
	if (packed_load(packed, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (!is_there(packed, &items[i]))
			index[n++] = (uint32_t)i;
	}
	if (packed_plain(packed, remote_check, items, index, n, packed_sink(&rest, sink, count - n, 0, true), err) < 0)
		return -1;
	return remote_tell(sink, count, 0, err);
}

/* list: what is plain, and then what is in packs alone. */

struct listing {
	struct remote_packed *packed;
	remote_visit_fn *visit;
	void *ctx;
	struct map manifests; /* plain ones */
};

static int visit_plain(void *ctx, const char *key, uint64_t size, int64_t modified_s, struct err *err)
{
	struct listing *listing = ctx;
	uint8_t md5[PACK_MD5];
	if (text_starts(key, PACKED_PREFIX) || text_starts(key, PACKED_MANIFESTS))
		return 0;
	if (text_ends(key, ".dir"))
		map_set(&listing->manifests, key, NULL);
	if (packed_key(key, md5)) {
		for (size_t at = packed_find(listing->packed, md5); packed_is(listing->packed, at, md5); at++)
			listing->packed->also_plain.at[at] = 1;
	}
	return listing->visit(listing->ctx, key, size, modified_s, err);
}

static int visit_manifest(void *ctx, const char *key, uint64_t size, int64_t modified_s, struct err *err)
{
	const struct listing *listing = ctx;
	char *plain OWNED = mem_printf("%s%s", PLAIN_PREFIX, key + strlen(PACKED_MANIFESTS));
	return map_has(&listing->manifests, plain) ? 0 : listing->visit(listing->ctx, plain, size, modified_s, err);
}

static int list_plain(struct remote_packed *packed, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err)
{
	struct listing listing = { packed, visit, ctx, MAP_INIT };
	int status = remote_list(packed->plain, prefix, visit_plain, &listing, err);
	char *manifests OWNED = text_starts(prefix, PLAIN_PREFIX) ? mem_printf("%s%s", PACKED_MANIFESTS, prefix + strlen(PLAIN_PREFIX)) : NULL;
	if (status == 0 && manifests)
		status = remote_list(packed->plain, manifests, visit_manifest, &listing, err);
	map_release(&listing.manifests);
	return status;
}

static int packed_list_all(struct remote *remote, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err)
{
	struct remote_packed *packed = (struct remote_packed *)remote;
	if (packed_load(packed, err) < 0)
		return -1;
	if (packed->damaged) {
		err_set(err, ERR_DATA, "the index '%s' is damaged, so what lies in packs cannot be listed", packed->damaged);
		return err_hint(err, "push from where the data is, then delete that index from the remote");
	}
	vec_reserve(&packed->also_plain, packed->entries.len + 1);
	packed->also_plain.len = packed->entries.len;
	memset(packed->also_plain.at, 0, packed->also_plain.len);
	if (list_plain(packed, prefix, visit, ctx, err) < 0) {
		packed->also_plain.len = 0;
		return -1;
	}
	for (size_t i = 0; i < packed->entries.len; i++) {
		const struct pack_entry *entry = &packed->entries.at[i];
		struct odb_id id = { .digest = { .kind = DIGEST_MD5 } };
		struct buf key CLEANUP(buf_release) = BUF_INIT;
		memcpy(id.digest.bytes, entry->md5, PACK_MD5);
		odb_add_key(&key, &id);
		if (packed->also_plain.at[i] || !text_starts(key.data, prefix) || (i && pack_same_object(entry - 1, entry)))
			continue;
		if (visit(ctx, key.data, entry->length, packed->packs.at[entry->pack].modified_s, err) < 0)
			return -1;
	}
	return 0;
}

/* Packs at hand. */

int packed_fd(const struct remote_packed *packed, uint32_t pack)
{
	for (size_t i = 0; i < PACKED_KEPT; i++)
		if (packed->open[i].fd >= 0 && memcmp(packed->open[i].md5, packed->packs.at[pack].ref.md5, PACK_MD5) == 0)
			return packed->open[i].fd;
	return -1;
}

/* The file goes at once and stays readable: nothing is left behind whatever happens. */
static void keep_open(struct remote_packed *packed, const struct pack_ref *pack, struct remote_item *item)
{
	struct packed_open *place = &packed->open[0];
	for (size_t i = 1; i < PACKED_KEPT && place->fd >= 0; i++)
		if (packed->open[i].fd < 0 || packed->open[i].used < place->used)
			place = &packed->open[i];
	fs_close_fd(&place->fd);
	place->fd = sys.openat(AT_FDCWD, item->path, O_RDONLY | O_CLOEXEC, 0);
	if (place->fd < 0) {
		struct err why CLEANUP(err_release) = ERR_INIT;
		err_set_errno(&why, ERR_FAILED, errno, "cannot read '%s'", item->path);
		remote_item_failed(item, &why);
	}
	memcpy(place->md5, pack->md5, PACK_MD5);
	place->used = ++packed->uses;
	sys.unlinkat(AT_FDCWD, item->path, 0);
}

int packed_open_packs(struct remote_packed *packed, const uint32_t *packs, struct remote_item *items, size_t count, const struct remote_sink *sink,
		      struct err *err)
{
	uint32_t index[PACKED_AT_ONCE] = { 0 };
	struct strlist names CLEANUP(strlist_release) = { 0 };
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		const struct pack_ref *pack = &packed->packs.at[packs[i]].ref;
		items[i] = (struct remote_item){ .size = pack->size };
		for (size_t k = 0; k < PACKED_KEPT; k++) {
			bool same = packed->open[k].fd >= 0 && memcmp(packed->open[k].md5, pack->md5, PACK_MD5) == 0;
			packed->open[k].used = same ? ++packed->uses : packed->open[k].used;
			items[i].ret_state = same ? REMOTE_DONE : items[i].ret_state;
		}
		if (items[i].ret_state == REMOTE_DONE)
			continue;
		char *path = packed_temp(packed, err);
		if (!path)
			return -1;
		strlist_take(&names, packed_name(pack->md5, ".pack"));
		items[i].key = names.at[names.len - 1];
		strlist_take(&names, path);
		items[i].path = path;
		index[n++] = (uint32_t)i;
	}
	int status = packed_plain(packed, remote_get, items, index, n, sink, err);
	for (size_t i = 0; i < n; i++) {
		struct remote_item *item = &items[index[i]];
		if (item->ret_state == REMOTE_DONE)
			keep_open(packed, &packed->packs.at[packs[index[i]]].ref, item);
	}
	return status;
}

/* The remote. */

static const char *place_of(const struct remote *remote)
{
	return ((const struct remote_packed *)remote)->place;
}

static void packed_close(struct remote *remote)
{
	struct remote_packed *packed = (struct remote_packed *)remote;
	for (size_t i = 0; i < PACKED_KEPT; i++)
		fs_close_fd(&packed->open[i].fd);
	packed_forget(packed);
	temp_dir_drop(&packed->temp);
	remote_close(packed->plain);
	free(packed->dir);
	free(packed->place);
	free(packed);
}

static size_t packed_sweep(struct remote *remote)
{
	return remote_sweep(((struct remote_packed *)remote)->plain);
}

void remote_packed_open(const struct remote_spec *spec, struct remote *plain, struct remote **ret)
{
	static const struct remote_class class = {
		.check = packed_check, .put = packed_put, .get = packed_get, .remove = packed_remove, .list = packed_list_all,
		.sweep = packed_sweep, .place = place_of, .close = packed_close,
	};
	struct remote_packed *packed = mem_alloc(sizeof(*packed));
	const char *place = remote_place(plain) ? remote_place(plain) : spec->url;
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	packed->remote.class = &class;
	packed->plain = plain;
	digest_bytes(DIGEST_MD5, place, strlen(place), &digest);
	digest_hex(&digest, hex);
	packed->dir = path_joined(spec->pack_dir, hex);
	/* What is known of the plain objects there is not known of these. */
	packed->place = remote_place(plain) ? mem_printf("packs at %s", place) : NULL;
	packed->temp = (struct temp_dir)TEMP_DIR_INIT;
	for (size_t i = 0; i < PACKED_KEPT; i++)
		packed->open[i].fd = -1;
	*ret = &packed->remote;
}
