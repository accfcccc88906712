#include "store/outputs_gc.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "store/lock.h"
#include "store/outputs_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_EVERY_S 3600
#define LOOK_AFTER_BYTES ((uint64_t)1 << 30)
#define TEMPORARY_MAX_AGE_S (24 * 3600)

/* A file of the cache, or a record of its index. */
struct piece {
	char *path;       /* in the index: the name alone */
	const char *name; /* "ab/cdef...", in path */
	uint64_t bytes;
	int64_t used_ms;
	bool indexed;
	bool named;       /* an object: by an action record */
	bool kept;
};

struct collection {
	struct outputs *cache;
	const struct outputs_gc_options *options;
	struct outputs_gc_result *result;
	VEC(struct piece) actions, objects;
	struct map object_index; /* name -> index + 1 */
	uint64_t kept;
	int64_t now_s;
};

const char *outputs_dir(const struct outputs *cache)
{
	return cache->dir;
}

struct count {
	uint64_t *files;
	uint64_t *bytes;
};

static int count_file(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct count *count = ctx;
	(void)err;
	if (S_ISREG(entry->st->st_mode)) {
		if (count->files)
			++*count->files;
		*count->bytes += (uint64_t)entry->st->st_size;
	}
	return 0;
}

/* A user may remove the whole cache at any time. */
static int walk_below(const struct outputs *cache, const char *sub, fs_visit_fn *visit, void *ctx, struct err *err)
{
	OWNED char *dir = path_joined(cache->dir, sub);
	return fs_walk_if_there(dir, visit, ctx, err);
}

static int count_below(const struct outputs *cache, const char *sub, uint64_t *files, uint64_t *bytes, struct err *err)
{
	struct count count = { files, bytes };
	return walk_below(cache, sub, count_file, &count, err);
}

static int count_record(void *ctx, const char *name, const void *bytes, size_t len, struct err *err)
{
	struct count *count = ctx;
	(void)name, (void)bytes, (void)err;
	++*count->files;
	*count->bytes += len;
	return 0;
}

int outputs_usage(struct outputs *cache, struct outputs_usage *ret, struct err *err)
{
	*ret = (struct outputs_usage){ 0 };
	struct count actions = { &ret->actions, &ret->bytes }, objects = { &ret->objects, &ret->bytes };
	if (outputs_index_each(cache, STATE_ACTIONS, count_record, &actions, err) < 0 ||
	    outputs_index_each(cache, STATE_OBJECTS, count_record, &objects, err) < 0)
		return -1;
	if (count_below(cache, "actions", &ret->actions, &ret->bytes, err) < 0 || count_below(cache, "objects", &ret->objects, &ret->bytes, err) < 0)
		return -1;
	return count_below(cache, "tmp", NULL, &ret->bytes, err);
}

static void add_piece(struct collection *c, const struct piece *piece, bool is_action)
{
	if (is_action) {
		vec_push(&c->actions, *piece);
		return;
	}
	vec_push(&c->objects, *piece);
	map_set(&c->object_index, piece->name, (void *)(uintptr_t)c->objects.len);
}

static void add_file(struct collection *c, const struct fs_entry *entry, bool is_action)
{
	struct piece piece = {
		.path = mem_strdup(entry->path),
		.bytes = (uint64_t)entry->st->st_size,
		.used_ms = (int64_t)entry->st->st_mtim.tv_sec * 1000 + entry->st->st_mtim.tv_nsec / 1000000,
	};
	piece.name = piece.path + (entry->rel - entry->path);
	if (S_ISREG(entry->st->st_mode))
		add_piece(c, &piece, is_action);
	else
		free(piece.path);
}

/* What is in the index was put there together with what names it: it has no age of its own. */
static void add_record(struct collection *c, const char *name, size_t len, int64_t used_ms, bool is_action)
{
	struct piece piece = { .path = mem_printf("%.2s/%s", name, strlen(name) > 2 ? name + 2 : ""), .bytes = len, .used_ms = used_ms, .indexed = true };
	piece.name = piece.path;
	add_piece(c, &piece, is_action);
}

static int take_indexed_action(void *ctx, const char *name, const void *bytes, size_t len, struct err *err)
{
	struct codec_in in = codec_in(bytes, len);
	(void)err;
	add_record(ctx, name, len, (int64_t)codec_u64(&in), true);
	return 0;
}

static int take_indexed_object(void *ctx, const char *name, const void *bytes, size_t len, struct err *err)
{
	(void)bytes, (void)err;
	add_record(ctx, name, len, 0, false);
	return 0;
}

static int take_action(void *ctx, const struct fs_entry *entry, struct err *err)
{
	(void)err;
	add_file(ctx, entry, true);
	return 0;
}

static int take_object(void *ctx, const struct fs_entry *entry, struct err *err)
{
	(void)err;
	add_file(ctx, entry, false);
	return 0;
}

/* What a process that was killed left in its directory. */
static int drop_temporary(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct collection *c = ctx;
	if (!S_ISDIR(entry->st->st_mode) || c->now_s - entry->st->st_mtim.tv_sec < TEMPORARY_MAX_AGE_S)
		return 1;
	return c->options->dry_run ? 1 : fs_remove_tree(entry->path, err) < 0 ? -1 : 1;
}

static int look(struct collection *c, struct err *err)
{
	/* Objects first: one that is stored meanwhile is not among them, and what names it has no time to be missed. */
	if (outputs_index_each(c->cache, STATE_OBJECTS, take_indexed_object, c, err) < 0 ||
	    outputs_index_each(c->cache, STATE_ACTIONS, take_indexed_action, c, err) < 0)
		return -1;
	/* Actions first: an object that is stored meanwhile is younger than the grace. */
	if (walk_below(c->cache, "actions", take_action, c, err) < 0 || walk_below(c->cache, "objects", take_object, c, err) < 0)
		return -1;
	return walk_below(c->cache, "tmp", drop_temporary, c, err);
}

static struct piece *object_of(struct collection *c, const struct digest *digest)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(digest, hex);
	OWNED char *name = mem_printf("%.2s/%s", hex, hex + 2);
	size_t index = (size_t)(uintptr_t)map_get(&c->object_index, name);
	return index ? &c->objects.at[index - 1] : NULL;
}

static bool digest_of(const struct piece *piece, struct digest *ret)
{
	OWNED char *hex = mem_printf("%.2s%s", piece->name, strlen(piece->name) > 3 ? piece->name + 3 : "");
	return strlen(hex) == 64 && digest_parse(ret, DIGEST_SHA256, hex);
}

static bool read_piece(struct collection *c, const struct piece *piece, struct action *ret)
{
	struct buf file CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct digest key;
	const void *record;
	size_t len;
	int64_t used_ms;
	*ret = (struct action)ACTION_INIT;
	if (!digest_of(piece, &key))
		return false;
	if (piece->indexed)
		return outputs_index_get(c->cache, STATE_ACTIONS, &key, &file) &&
		       outputs_index_open_action(&file, &used_ms, &record, &len) && outputs_read_action(record, len, &key, ret);
	return fs_read_file(piece->path, ACTION_MAX, &file, &ignored) == 0 && outputs_read_action(file.data, file.len, &key, ret);
}

/* Keeps an action and its objects if what that adds fits, or must. */
static void weigh(struct collection *c, struct piece *piece, bool needed)
{
	struct action action;
	uint64_t added = piece->bytes;
	VEC(struct piece *) own = { 0 };
	bool good = read_piece(c, piece, &action);
	for (size_t i = 0; good && i < action.manifest.len; i++) {
		if (action.manifest.at[i].type != HASH_FILE)
			continue;
		struct piece *object = object_of(c, &action.manifest.at[i].digest);
		if (!object || object->kept)
			continue;
		object->named = object->kept = true;
		added += object->bytes;
		vec_push(&own, object);
	}
	piece->kept = good && (needed || added <= c->options->max_bytes - (c->kept < c->options->max_bytes ? c->kept : c->options->max_bytes));
	if (piece->kept)
		c->kept += added;
	for (size_t i = 0; !piece->kept && i < own.len; i++)
		own.at[i]->kept = false;
	vec_release(&own);
	action_release(&action);
}

static int newest_first(const void *a, const void *b)
{
	const struct piece *left = a, *right = b;
	if (left->used_ms != right->used_ms)
		return left->used_ms < right->used_ms ? 1 : -1;
	return strcmp(left->name, right->name);
}

static void choose(struct collection *c)
{
	struct map needed CLEANUP(map_release) = MAP_INIT;
	for (size_t i = 0; i < c->options->needed_len; i++) {
		char hex[DIGEST_HEX_MAX];
		digest_hex(&c->options->needed[i], hex);
		OWNED char *name = mem_printf("%.2s/%s", hex, hex + 2);
		map_set(&needed, name, NULL);
	}
	vec_sort(&c->actions, newest_first);
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < c->actions.len; i++)
			if (map_has(&needed, c->actions.at[i].name) == (pass == 0))
				weigh(c, &c->actions.at[i], pass == 0);
}

static int drop(struct collection *c, const struct piece *piece, enum state_table table, uint64_t *count, struct err *err)
{
	struct digest digest;
	++*count;
	c->result->removed_bytes += piece->bytes;
	if (c->options->dry_run || (piece->indexed && !digest_of(piece, &digest)))
		return 0;
	return piece->indexed ? outputs_index_remove(c->cache, table, &digest, err) : fs_remove(piece->path, err);
}

static int sweep(struct collection *c, struct err *err)
{
	for (size_t i = 0; i < c->actions.len; i++)
		if (!c->actions.at[i].kept && drop(c, &c->actions.at[i], STATE_ACTIONS, &c->result->removed_actions, err) < 0)
			return -1;
	for (size_t i = 0; i < c->objects.len; i++) {
		const struct piece *object = &c->objects.at[i];
		if (object->kept)
			continue;
		if (!object->named && !object->indexed && c->now_s - object->used_ms / 1000 < OUTPUTS_GC_GRACE_S)
			c->kept += object->bytes;
		else if (drop(c, object, STATE_OBJECTS, &c->result->removed_objects, err) < 0)
			return -1;
	}
	c->result->kept_bytes = c->kept;
	return 0;
}

static void release(struct collection *c)
{
	for (size_t i = 0; i < c->actions.len; i++)
		free(c->actions.at[i].path);
	for (size_t i = 0; i < c->objects.len; i++)
		free(c->objects.at[i].path);
	vec_release(&c->actions);
	vec_release(&c->objects);
	map_release(&c->object_index);
}

int outputs_gc(struct outputs *cache, const struct outputs_gc_options *options, struct outputs_gc_result *ret, struct err *err)
{
	struct collection c = { .cache = cache, .options = options, .result = ret, .now_s = (int64_t)time(NULL) };
	struct lock_holder holder;
	struct lock *lock;
	*ret = (struct outputs_gc_result){ 0 };
	if (!fs_is_dir(cache->dir))
		return 0;
	if (lock_try(cache->dir, "gc", "mlmake cache gc", &lock, &holder, err) < 0) {
		if (err->sys_errno != ENOENT)
			return -1;
		err_release(err); /* removed meanwhile: there is nothing to collect */
		return 0;
	}
	if (!lock) {
		ret->busy = true;
		return 0;
	}
	int failed = look(&c, err);
	if (!failed) {
		choose(&c);
		failed = sweep(&c, err);
	}
	if (!failed)
		failed = outputs_flush(cache, err);
	release(&c);
	lock_release(lock);
	return failed;
}

bool outputs_gc_is_due(struct outputs *cache)
{
	OWNED char *path = path_joined(cache->dir, "looked");
	struct stat st;
	if (!cache->stored_bytes || !fs_is_dir(cache->dir))
		return false;
	bool fresh = sys.fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && time(NULL) - st.st_mtim.tv_sec < LOOK_EVERY_S;
	if (fresh && cache->stored_bytes < LOOK_AFTER_BYTES)
		return false;
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd >= 0)
		(void)sys.futimens(fd, NULL);
	return fd >= 0;
}
