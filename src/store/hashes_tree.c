/* All that is below a directory. */
#include "store/hashes.h"

#include "base/fs.h"
#include "base/path.h"
#include "store/codec.h"

#include <stdlib.h>
#include <string.h>

struct tree_walk {
	struct hash_tree *tree;
	const char *dir;
	VEC(char *) full; /* the path of each entry below the root, for the lookup */
};

static int collect_entry(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct tree_walk *walk = ctx;
	(void)err;
	struct hash_item item = { .path = arena_strdup(&walk->tree->arena, entry->rel) };
	vec_push(walk->tree, item);
	vec_push(&walk->full, arena_printf(&walk->tree->arena, "%s/%s", walk->dir, entry->rel));
	return 0;
}

static int compare_items(const void *a, const void *b)
{
	return strcmp(((const struct hash_item *)a)->path, ((const struct hash_item *)b)->path);
}

int hashes_tree(struct hashes *hashes, enum digest_kind kind, const char *dir, struct hash_tree *ret, struct err *err)
{
	*ret = (struct hash_tree){ 0 };
	struct tree_walk walk = { .tree = ret, .dir = dir };
	OWNED char *full = path_joined(hashes_root(hashes), dir);
	int failed = fs_walk(full, collect_entry, &walk, err);
	for (size_t i = 0; i < ret->len && !failed; i++) {
		char *rel = walk.full.at[i];
		walk.full.at[i] = (char *)(uintptr_t)ret->at[i].path;
		ret->at[i].path = rel;
	}
	if (!failed)
		hashes_lookup_many(hashes, kind, ret->at, ret->len);
	for (size_t i = 0; i < ret->len && !failed; i++) {
		ret->at[i].path = walk.full.at[i];
		if (ret->at[i].err) {
			err_move(err, ret->at[i].err);
			failed = -1;
		}
	}
	vec_release(&walk.full);
	if (failed) {
		hash_tree_release(ret);
		return -1;
	}
	vec_sort(ret, compare_items);
	return 0;
}

void hash_tree_release(struct hash_tree *tree)
{
	hash_items_release(tree->at, tree->len);
	vec_release(tree);
	arena_release(&tree->arena);
}

void hash_tree_digest(const struct hash_tree *tree, struct digest *ret)
{
	struct buf framed CLEANUP(buf_release) = BUF_INIT;
	codec_add_u64(&framed, tree->len);
	for (size_t i = 0; i < tree->len; i++) {
		const struct hash_item *item = &tree->at[i];
		codec_add_u8(&framed, (uint8_t)item->type);
		codec_add_u8(&framed, item->executable);
		codec_add_str(&framed, item->path);
		codec_add_digest(&framed, &item->digest);
	}
	digest_bytes(DIGEST_SHA256, framed.data, framed.len, ret);
}
