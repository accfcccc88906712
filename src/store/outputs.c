#include "store/outputs.h"

#include "base/path.h"
#include "store/outputs_internal.h"
#include "store/workdir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ACTION_MAGIC 0x31414c4du /* "MLA1" */
#define ACTION_VERSION 1u

void action_release(struct action *action)
{
	manifest_release(&action->manifest);
	buf_release(&action->log);
}

int outputs_open(struct outputs **ret, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	if (workdir_user_cache(&dir, err) < 0)
		return -1;
	buf_addstr(&dir, "/v1");
	struct outputs *cache = mem_alloc(sizeof(*cache));
	cache->dir = buf_detach(&dir);
	*ret = cache;
	return 0;
}

static void forget_dirs(struct outputs *cache)
{
	if (cache->tmp)
		(void)sys.unlinkat(AT_FDCWD, cache->tmp, AT_REMOVEDIR);
	free(cache->tmp);
	cache->tmp = NULL;
	map_release(&cache->made);
}

void outputs_close(struct outputs *cache)
{
	if (!cache)
		return;
	outputs_close_staging(cache);
	outputs_index_close(cache);
	forget_dirs(cache);
	free(cache->dir);
	free(cache);
}

void outputs_add_place(const struct outputs *cache, const char *kind, const struct digest *digest, struct buf *out)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(digest, hex);
	buf_addf(out, "%s/%s/%.2s/%s", cache->dir, kind, hex, hex + 2);
}

static int make_dir_for(struct outputs *cache, const char *path, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	path_dir(&dir, path);
	if (map_has(&cache->made, dir.data))
		return 0;
	if (fs_mkdirs(dir.data, err) < 0)
		return -1;
	map_set(&cache->made, dir.data, NULL);
	return 0;
}

static int add_temporary(struct outputs *cache, struct buf *out, struct err *err)
{
	if (!cache->tmp) {
		struct buf tmp CLEANUP(buf_release) = BUF_INIT;
		OWNED char *parent = path_joined(cache->dir, "tmp");
		if (fs_mkdirs(parent, err) < 0 || fs_temp_dir(parent, "store-", &tmp, err) < 0)
			return -1;
		cache->tmp = buf_detach(&tmp);
	}
	buf_addf(out, "%s/%u", cache->tmp, cache->serial++);
	return 0;
}

static int put_object(struct outputs *cache, const char *root, const struct manifest_entry *entry, struct err *err)
{
	struct buf place CLEANUP(buf_release) = BUF_INIT;
	struct buf staged CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	bool exists;
	outputs_add_place(cache, "objects", &entry->digest, &place);
	if (fs_lstat(place.data, &st, &exists, err) < 0)
		return -1;
	if (exists && S_ISREG(st.st_mode) && (uint64_t)st.st_size == entry->size)
		return 0;
	if (make_dir_for(cache, place.data, err) < 0 || add_temporary(cache, &staged, err) < 0)
		return -1;
	OWNED char *from = path_joined(root, entry->path);
	if (fs_copy_file(from, staged.data, 0444, err) < 0)
		return -1;
	if (fs_rename(staged.data, place.data, err) == 0) {
		cache->stored_bytes += entry->size;
		return 0;
	}
	(void)sys.unlinkat(AT_FDCWD, staged.data, 0);
	return -1;
}

/* Whoever removes the cache removes directories that were made for it. */
static int store_object(struct outputs *cache, const char *root, const struct manifest_entry *entry, struct err *err)
{
	if (put_object(cache, root, entry, err) == 0)
		return 0;
	if (err->sys_errno != ENOENT)
		return -1;
	forget_dirs(cache);
	err_release(err);
	return put_object(cache, root, entry, err);
}

/* The copy is hashed when it is restored, as all are; here the one that is renamed is the one that is whole. */
static int bring_through(const char *tmp, const char *from, const char *place, struct err *err)
{
	OWNED char *staged = path_joined(tmp, "0");
	if (fs_copy_file(from, staged, 0444, err) < 0)
		return -1;
	if (fs_mkdirs_for(place, err) == 0 && fs_rename(staged, place, err) == 0)
		return 0;
	(void)sys.unlinkat(AT_FDCWD, staged, 0);
	return -1;
}

int outputs_bring(const struct outputs *cache, const char *from, const struct digest *digest, uint64_t size, uint64_t *ret_bytes,
		  struct err *err)
{
	struct buf place CLEANUP(buf_release) = BUF_INIT;
	struct buf tmp CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	bool exists;
	*ret_bytes = 0;
	if (size <= OUTPUTS_SMALL_MAX)
		return 0;
	outputs_add_place(cache, "objects", digest, &place);
	if (fs_lstat(place.data, &st, &exists, err) < 0)
		return -1;
	if (exists && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size)
		return 0;
	OWNED char *parent = path_joined(cache->dir, "tmp");
	if (fs_mkdirs(parent, err) < 0 || fs_temp_dir(parent, "store-", &tmp, err) < 0)
		return -1;
	int failed = bring_through(tmp.data, from, place.data, err);
	(void)sys.unlinkat(AT_FDCWD, tmp.data, AT_REMOVEDIR);
	*ret_bytes = failed ? 0 : size;
	return failed;
}

void outputs_brought(struct outputs *cache, uint64_t bytes)
{
	cache->stored_bytes += bytes;
}

/* Into the index. What was read is what the manifest says, or nothing is kept. */
static int store_small(struct outputs *cache, const char *root, const struct manifest_entry *entry, struct err *err)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct digest digest;
	if (outputs_index_has(cache, STATE_OBJECTS, &entry->digest, (size_t)entry->size))
		return 0;
	OWNED char *from = path_joined(root, entry->path);
	if (fs_read_file(from, OUTPUTS_SMALL_MAX, &bytes, err) < 0)
		return -1;
	digest_bytes(DIGEST_SHA256, bytes.data, bytes.len, &digest);
	if (!digest_eq(&digest, &entry->digest))
		return err_set(err, ERR_FAILED, "'%s' changed after its target had ended", entry->path);
	cache->stored_bytes += bytes.len;
	return outputs_index_put(cache, STATE_OBJECTS, &entry->digest, bytes.data, bytes.len, err);
}

static int store_file(struct outputs *cache, const char *root, const struct manifest_entry *entry, struct err *err)
{
	if (entry->size <= OUTPUTS_SMALL_MAX && outputs_index(cache, true))
		return store_small(cache, root, entry, err);
	return store_object(cache, root, entry, err);
}

static int store_record(struct outputs *cache, const struct digest *key, const struct buf *record, struct err *err)
{
	struct buf place CLEANUP(buf_release) = BUF_INIT;
	cache->stored_bytes += record->len;
	if (record->len <= OUTPUTS_RECORD_MAX && outputs_index(cache, true))
		return outputs_index_put_action(cache, key, record->data, record->len, err);
	cache->shelves[key->bytes[0]] = SHELF_UNKNOWN;
	outputs_add_place(cache, "actions", key, &place);
	if (fs_mkdirs_for(place.data, err) < 0 || fs_write_file(place.data, record->data, record->len, 0644, FS_VOLATILE, err) < 0)
		return -1;
	/* What is in the index is looked at first. */
	return outputs_index_remove(cache, STATE_ACTIONS, key, err);
}

int outputs_store(struct outputs *cache, const char *root, const struct action *action, const char *const *paths, size_t count,
		  struct err *err)
{
	struct buf body CLEANUP(buf_release) = BUF_INIT;
	struct buf record CLEANUP(buf_release) = BUF_INIT;
	if (manifest_check(&action->manifest, paths, count, err) < 0)
		return -1;
	for (size_t i = 0; i < action->manifest.len; i++)
		if (action->manifest.at[i].type == HASH_FILE && store_file(cache, root, &action->manifest.at[i], err) < 0)
			return err_note(err, "while keeping '%s' in the output cache", action->manifest.at[i].path);
	codec_add_digest(&body, &action->key);
	codec_add_u64(&body, action->duration_ms);
	manifest_add(&body, &action->manifest);
	codec_add_bytes(&body, action->log.data, action->log.len < OUTPUTS_LOG_MAX ? action->log.len : OUTPUTS_LOG_MAX);
	codec_add_u32(&record, ACTION_MAGIC);
	codec_add_u32(&record, ACTION_VERSION);
	struct digest sum;
	digest_bytes(DIGEST_SHA256, body.data, body.len, &sum);
	codec_add_digest(&record, &sum);
	buf_add(&record, body.data, body.len);
	return store_record(cache, &action->key, &record, err);
}

bool outputs_read_action(const void *record, size_t record_len, const struct digest *key, struct action *ret)
{
	struct codec_in in = codec_in(record, record_len);
	struct digest sum, actual;
	if (codec_u32(&in) != ACTION_MAGIC || codec_u32(&in) != ACTION_VERSION)
		return false;
	codec_digest(&in, &sum);
	if (!codec_ok(&in))
		return false;
	digest_bytes(DIGEST_SHA256, in.at, codec_left(&in), &actual);
	if (!digest_eq(&sum, &actual))
		return false;
	codec_digest(&in, &ret->key);
	ret->duration_ms = codec_u64(&in);
	if (!digest_eq(&ret->key, key) || !manifest_read(&in, &ret->manifest))
		return false;
	size_t len;
	const void *log = codec_bytes(&in, &len);
	buf_init(&ret->log);
	buf_add(&ret->log, log, len);
	return codec_done(&in);
}

/* Its time is when it was last used: what has not been for longest goes first (store/outputs_gc.h). */
void outputs_mark_used(struct outputs *cache, const struct digest *key)
{
	struct buf place CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf indexed CLEANUP(buf_release) = BUF_INIT;
	const void *record;
	size_t len;
	int64_t used_ms;
	if (outputs_index_get(cache, STATE_ACTIONS, key, &indexed) && outputs_index_open_action(&indexed, &used_ms, &record, &len)) {
		int failed = outputs_index_put_action(cache, key, record, len, &ignored);
		(void)failed;
		return;
	}
	outputs_add_place(cache, "actions", key, &place);
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, place.data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
	if (fd >= 0)
		(void)sys.futimens(fd, NULL);
}

static int find_in_index(struct outputs *cache, const struct digest *key, struct action *ret, bool *ret_found, struct err *err)
{
	struct buf indexed CLEANUP(buf_release) = BUF_INIT;
	const void *record;
	size_t len;
	int64_t used_ms;
	if (!outputs_index_get(cache, STATE_ACTIONS, key, &indexed))
		return 0;
	*ret_found = outputs_index_open_action(&indexed, &used_ms, &record, &len) && outputs_read_action(record, len, key, ret);
	if (*ret_found)
		return 0;
	action_release(ret);
	*ret = (struct action)ACTION_INIT;
	return outputs_index_remove(cache, STATE_ACTIONS, key, err);
}

/* What was looked at just now may be removed by a collection: then it was not there. */
bool outputs_is_gone(struct err *err)
{
	bool gone = err->sys_errno == ENOENT;
	if (gone)
		err_release(err);
	return gone;
}

/* Few records are files, and most keys that are asked for have none at all: what is missing is looked at once. */
static bool has_shelf(struct outputs *cache, const struct digest *key)
{
	uint8_t first = key->bytes[0];
	if (cache->shelves[first] == SHELF_UNKNOWN) {
		OWNED char *dir = mem_printf("%s/actions/%02x", cache->dir, first);
		cache->shelves[first] = fs_is_dir(dir) ? SHELF_THERE : SHELF_MISSING;
	}
	return cache->shelves[first] == SHELF_THERE;
}

static int find_file(struct outputs *cache, const struct digest *key, struct action *ret, bool *ret_found, struct err *err)
{
	struct buf place CLEANUP(buf_release) = BUF_INIT;
	struct buf record CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	bool exists;
	if (!has_shelf(cache, key))
		return 0;
	outputs_add_place(cache, "actions", key, &place);
	if (fs_lstat(place.data, &st, &exists, err) < 0)
		return -1;
	if (!exists)
		return 0;
	if (fs_read_file(place.data, ACTION_MAX, &record, err) < 0)
		return outputs_is_gone(err) ? 0 : -1;
	*ret_found = outputs_read_action(record.data, record.len, key, ret);
	if (*ret_found)
		return 0;
	action_release(ret);
	return fs_remove(place.data, err);
}

int outputs_find(struct outputs *cache, const struct digest *key, struct action *ret, bool *ret_found, struct err *err)
{
	*ret_found = false;
	*ret = (struct action)ACTION_INIT;
	int failed = find_in_index(cache, key, ret, ret_found, err);
	return failed || *ret_found ? failed : find_file(cache, key, ret, ret_found, err);
}
