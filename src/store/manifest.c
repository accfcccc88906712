#include "store/manifest.h"

#include "base/map.h"
#include "base/path.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

void manifest_release(struct manifest *manifest)
{
	vec_release(manifest);
	arena_release(&manifest->arena);
}

void manifest_copy(const struct manifest *manifest, struct manifest *ret)
{
	*ret = (struct manifest){ 0 };
	for (size_t i = 0; i < manifest->len; i++) {
		struct manifest_entry entry = manifest->at[i];
		entry.path = arena_strdup(&ret->arena, entry.path);
		if (entry.target)
			entry.target = arena_strdup(&ret->arena, entry.target);
		vec_push(ret, entry);
	}
}

/* For what another mlmake, which restores the target, has replaced since it was looked at: 1 instead of the error. */
static int gone_or_failed(struct err *err)
{
	bool gone = err->sys_errno == EINVAL || err->sys_errno == ENOENT || err->sys_errno == ENOTDIR;
	if (gone)
		err_release(err);
	return gone ? 1 : -1;
}

/* 1 if it is gone, or something else by now. */
static int add_entry(struct manifest *manifest, const char *root, const char *path, const struct hash_item *item, struct err *err)
{
	struct manifest_entry entry = {
		.path = arena_strdup(&manifest->arena, path),
		.type = item->type,
		.mode = item->stamp.mode & 0777u,
		.size = item->type == HASH_DIR ? 0 : item->stamp.size,
		.digest = item->digest,
	};
	if (item->type == HASH_ABSENT)
		return 1;
	if (item->type == HASH_SPECIAL)
		return err_set(err, ERR_FAILED, "the output '%s' is neither a file nor a directory", path);
	if (item->type == HASH_LINK) {
		struct buf target CLEANUP(buf_release) = BUF_INIT;
		OWNED char *full = path_joined(root, path);
		if (fs_read_link(full, &target, err) < 0)
			return gone_or_failed(err);
		entry.target = arena_strndup(&manifest->arena, target.data, target.len);
	}
	vec_push(manifest, entry);
	return 0;
}

static int scan_dir(struct hashes *hashes, const char *root, const char *dir, struct manifest *ret, struct err *err)
{
	struct hash_tree tree;
	if (hashes_tree(hashes, DIGEST_SHA256, dir, &tree, err) < 0)
		return gone_or_failed(err);
	int failed = 0;
	for (size_t i = 0; i < tree.len && !failed; i++) {
		OWNED char *path = path_joined(dir, tree.at[i].path);
		failed = add_entry(ret, root, path, &tree.at[i], err) < 0 ? -1 : 0;
	}
	hash_tree_release(&tree);
	return failed;
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct manifest_entry *)a)->path, ((const struct manifest_entry *)b)->path);
}

int manifest_scan(struct hashes *hashes, const char *root, const char *const *paths, size_t count, struct manifest *ret,
		  size_t *ret_missing, struct err *err)
{
	return manifest_scan_seen(hashes, root, paths, count, NULL, 0, ret, ret_missing, err);
}

int manifest_scan_seen(struct hashes *hashes, const char *root, const char *const *paths, size_t count, const struct fs_stamp *seen,
		       size_t seen_count, struct manifest *ret, size_t *ret_missing, struct err *err)
{
	struct hash_item few[8] = { 0 };
	struct hash_item *items = count > ARRAY_LEN(few) ? mem_alloc(count * sizeof(*items)) : few;
	int failed = 0;
	*ret = (struct manifest){ 0 };
	*ret_missing = SIZE_MAX;
	for (size_t i = 0; i < count; i++) {
		items[i].path = paths[i];
		items[i].seen = i < seen_count ? &seen[i] : NULL;
	}
	hashes_lookup_many(hashes, DIGEST_SHA256, items, count);
	for (size_t i = 0; i < count && !failed; i++) {
		if (items[i].err)
			failed = err_move(err, items[i].err);
		else if (items[i].type == HASH_ABSENT)
			*ret_missing = *ret_missing == SIZE_MAX ? i : *ret_missing;
		else if ((failed = add_entry(ret, root, paths[i], &items[i], err)) == 0 && items[i].type == HASH_DIR)
			failed = scan_dir(hashes, root, paths[i], ret, err);
		if (failed > 0) {
			*ret_missing = *ret_missing == SIZE_MAX ? i : *ret_missing;
			failed = 0;
		}
	}
	hash_items_release(items, count);
	if (items != few)
		free(items);
	vec_sort(ret, compare_entries);
	if (failed)
		manifest_release(ret);
	return failed;
}

static bool is_executable(const struct manifest_entry *entry)
{
	return entry->type == HASH_FILE && (entry->mode & 0100);
}

void manifest_digest(const struct manifest *manifest, struct digest *ret)
{
	struct buf framed CLEANUP(buf_release) = BUF_INIT;
	codec_add_u64(&framed, manifest->len);
	for (size_t i = 0; i < manifest->len; i++) {
		const struct manifest_entry *entry = &manifest->at[i];
		codec_add_u8(&framed, (uint8_t)entry->type);
		codec_add_u8(&framed, is_executable(entry));
		codec_add_str(&framed, entry->path);
		codec_add_digest(&framed, &entry->digest);
	}
	digest_bytes(DIGEST_SHA256, framed.data, framed.len, ret);
}

bool manifest_same(const struct manifest *a, const struct manifest *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++) {
		const struct manifest_entry *x = &a->at[i], *y = &b->at[i];
		if (x->type != y->type || is_executable(x) != is_executable(y) || strcmp(x->path, y->path) != 0 ||
		    !digest_eq(&x->digest, &y->digest))
			return false;
	}
	return true;
}

void manifest_add(struct buf *out, const struct manifest *manifest)
{
	codec_add_u32(out, (uint32_t)manifest->len);
	for (size_t i = 0; i < manifest->len; i++) {
		const struct manifest_entry *entry = &manifest->at[i];
		codec_add_u8(out, (uint8_t)entry->type);
		codec_add_u32(out, entry->mode);
		codec_add_u64(out, entry->size);
		codec_add_str(out, entry->path);
		codec_add_digest(out, &entry->digest);
		codec_add_str(out, entry->target ? entry->target : "");
	}
}

bool manifest_read(struct codec_in *in, struct manifest *ret)
{
	*ret = (struct manifest){ 0 };
	uint32_t count = codec_u32(in);
	for (uint32_t i = 0; i < count && codec_ok(in); i++) {
		struct manifest_entry entry = { .type = (enum hash_type)codec_u8(in) };
		entry.mode = codec_u32(in) & 0777u;
		entry.size = codec_u64(in);
		entry.path = arena_strdup(&ret->arena, codec_str(in));
		codec_digest(in, &entry.digest);
		const char *target = codec_str(in);
		entry.target = *target ? arena_strdup(&ret->arena, target) : NULL;
		if (entry.type != HASH_FILE && entry.type != HASH_LINK && entry.type != HASH_DIR)
			in->failed = true;
		if ((entry.type == HASH_LINK) != (entry.target != NULL))
			in->failed = true;
		if ((entry.type == HASH_DIR) != (entry.digest.kind == DIGEST_NONE))
			in->failed = true;
		vec_push(ret, entry);
	}
	if (codec_ok(in))
		return true;
	manifest_release(ret);
	return false;
}

static bool link_stays_inside(const char *path, const char *target)
{
	struct buf joined CLEANUP(buf_release) = BUF_INIT;
	struct buf normal CLEANUP(buf_release) = BUF_INIT;
	if (target[0] == '/')
		return false;
	path_dir(&joined, path);
	buf_addf(&joined, "/%s", target);
	path_normalize(&normal, joined.data);
	return strcmp(normal.data, "..") != 0 && !text_starts(normal.data, "../");
}

static int check_entry(const struct manifest_entry *entry, const struct map *dirs, const char *const *outputs, size_t count,
		       struct err *err)
{
	struct buf parent CLEANUP(buf_release) = BUF_INIT;
	if (!path_is_safe(entry->path))
		return err_set(err, ERR_DATA, "a cached output has the path '%s', which leaves the project", entry->path);
	bool listed = false;
	for (size_t i = 0; i < count && !listed; i++)
		listed = strcmp(entry->path, outputs[i]) == 0;
	path_dir(&parent, entry->path);
	if (!listed && !map_has(dirs, parent.data))
		return err_set(err, ERR_DATA, "a cached output has the path '%s', which the target does not declare", entry->path);
	if (entry->type == HASH_LINK && !link_stays_inside(entry->path, entry->target))
		return err_set(err, ERR_DATA, "the output '%s' is a link that leads out of the project", entry->path);
	return 0;
}

int manifest_check(const struct manifest *manifest, const char *const *outputs, size_t count, struct err *err)
{
	struct map dirs CLEANUP(map_release) = MAP_INIT;
	struct map seen CLEANUP(map_release) = MAP_INIT;
	for (size_t i = 0; i < manifest->len; i++) {
		const struct manifest_entry *entry = &manifest->at[i];
		if (check_entry(entry, &dirs, outputs, count, err) < 0)
			return -1;
		if (!map_set(&seen, entry->path, NULL))
			return err_set(err, ERR_DATA, "a cached output lists '%s' twice", entry->path);
		if (entry->type == HASH_DIR)
			map_set(&dirs, entry->path, NULL);
	}
	return 0;
}
