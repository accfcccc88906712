/* The way out of the output cache. */
#include "base/path.h"
#include "store/outputs_internal.h"
#include "store/workdir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TAKEN_AT_ONCE ((size_t)1 << 20)

static int write_new(const char *to, const void *bytes, size_t len, struct err *err)
{
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || fs_write_all(fd, bytes, len) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot write '%s'", to);
	return 0;
}

/* From the index, as one entry below. *ret_found is false if it is not there. */
static int stage_small(struct outputs *cache, const struct manifest_entry *entry, const char *to, bool *ret_found, bool *ret_whole, struct err *err)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct digest digest;
	*ret_found = entry->size <= OUTPUTS_SMALL_MAX && outputs_index_get(cache, STATE_OBJECTS, &entry->digest, &bytes);
	if (!*ret_found)
		return 0;
	digest_bytes(DIGEST_SHA256, bytes.data, bytes.len, &digest);
	*ret_whole = digest_eq(&digest, &entry->digest);
	return *ret_whole ? write_new(to, bytes.data, bytes.len, err) : outputs_index_remove(cache, STATE_OBJECTS, &entry->digest, err);
}

/* One entry into the staging directory. *ret_whole is false if its object is missing or damaged. */
static int stage_object(struct outputs *cache, const struct manifest_entry *entry, const char *to, bool *ret_whole, struct err *err)
{
	struct buf place CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	struct digest digest;
	struct fs_stamp stamp;
	bool stable;
	outputs_add_place(cache, "objects", &entry->digest, &place);
	if (fs_lstat(place.data, &st, ret_whole, err) < 0)
		return -1;
	*ret_whole = *ret_whole && S_ISREG(st.st_mode) && (uint64_t)st.st_size == entry->size;
	if (*ret_whole && fs_copy_file(place.data, to, 0600, err) < 0) {
		if (fs_exists(place.data) || !outputs_is_gone(err))
			return -1;
		*ret_whole = false;
	} else if (*ret_whole) {
		if (digest_file(DIGEST_SHA256, to, &digest, &stamp, &stable, err) < 0)
			return -1;
		*ret_whole = digest_eq(&digest, &entry->digest);
	}
	return *ret_whole ? 0 : fs_remove(place.data, err);
}

struct restoring {
	struct outputs *cache;
	const char *staging; /* beginning of the names of what waits */
	const char *root;
	const struct action *action;
	const char *const *paths;
	size_t count;
	struct outputs_taken *taken;
};

/* *ret_taken is false if it does not wait anywhere. */
static int stage_taken(struct outputs_taken *taken, const struct manifest_entry *entry, const char *to, bool *ret_taken, struct err *err)
{
	char hex[DIGEST_HEX_MAX];
	*ret_taken = false;
	if (!taken || !taken->paths.len)
		return 0;
	digest_hex(&entry->digest, hex);
	OWNED char *waits = map_get(&taken->paths, hex);
	if (!waits)
		return 0;
	map_set(&taken->paths, hex, NULL);
	*ret_taken = true;
	return fs_rename(waits, to, err);
}

static int stage_file(const struct restoring *r, const struct manifest_entry *entry, const char *to, bool *ret_whole, struct err *err)
{
	struct outputs *cache = r->cache;
	bool is_small, is_taken;
	if (stage_taken(r->taken, entry, to, &is_taken, err) < 0)
		return -1;
	if (!is_taken && (stage_small(cache, entry, to, &is_small, ret_whole, err) < 0 || (!is_small && stage_object(cache, entry, to, ret_whole, err) < 0)))
		return -1;
	if (!*ret_whole)
		return 0;
	if (sys.fchmodat(AT_FDCWD, to, (mode_t)entry->mode, 0) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot set the mode of '%s'", to);
	return 0;
}

int outputs_read(struct outputs *cache, const struct manifest_entry *entry, size_t max, struct buf *out, bool *ret_whole, struct err *err)
{
	struct buf place CLEANUP(buf_release) = BUF_INIT;
	struct digest digest;
	size_t before = out->len;
	*ret_whole = false;
	if (entry->type != HASH_FILE || entry->size > max)
		return 0;
	if (entry->size > OUTPUTS_SMALL_MAX || !outputs_index_get(cache, STATE_OBJECTS, &entry->digest, out)) {
		outputs_add_place(cache, "objects", &entry->digest, &place);
		if (fs_read_file(place.data, max, out, err) < 0) {
			if (!outputs_is_gone(err))
				return -1;
			err_release(err);
			return 0;
		}
	}
	digest_bytes(DIGEST_SHA256, out->data + before, out->len - before, &digest);
	*ret_whole = digest_eq(&digest, &entry->digest);
	return 0;
}

/* Which of the paths an entry belongs to, and where it waits: "<staging>/<number of the path>" and what is below. */
static void add_staged(struct buf *out, const char *staging, const char *const *paths, size_t count, const char *path)
{
	size_t best = 0, best_len = SIZE_MAX;
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(paths[i]);
		if (path_inside(paths[i], path) && len < best_len) {
			best = i;
			best_len = len;
		}
	}
	buf_addf(out, "%s-%zu%s", staging, best, best_len == SIZE_MAX ? "" : path + best_len);
}

static int stage_entry(const struct restoring *r, const struct manifest_entry *entry, const char *to, bool *ret_whole, struct err *err)
{
	switch (entry->type) {
	case HASH_DIR:
		return fs_mkdirs(to, err);
	case HASH_LINK:
		if (sys.symlinkat(entry->target, AT_FDCWD, to) < 0)
			return err_set_errno(err, ERR_FAILED, errno, "cannot create the link '%s'", to);
		return 0;
	default:
		return stage_file(r, entry, to, ret_whole, err);
	}
}

/* Modes of directories come last: one that is read-only could not be filled. */
static int set_dir_modes(const struct restoring *r, struct err *err)
{
	const struct manifest *manifest = &r->action->manifest;
	for (size_t i = manifest->len; i-- > 0;) {
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		if (manifest->at[i].type != HASH_DIR)
			continue;
		add_staged(&path, r->staging, r->paths, r->count, manifest->at[i].path);
		if (sys.fchmodat(AT_FDCWD, path.data, (mode_t)manifest->at[i].mode, 0) < 0)
			return err_set_errno(err, ERR_FAILED, errno, "cannot set the mode of '%s'", path.data);
	}
	return 0;
}

static bool lies_in_another(const char *const *paths, size_t count, size_t index)
{
	for (size_t i = 0; i < count; i++)
		if (i != index && strcmp(paths[i], paths[index]) != 0 && path_inside(paths[i], paths[index]))
			return true;
	return false;
}

static int put_in_place(const struct restoring *r, struct err *err)
{
	for (size_t i = 0; i < r->count; i++) {
		struct buf from CLEANUP(buf_release) = BUF_INIT;
		OWNED char *to = path_joined(r->root, r->paths[i]);
		struct stat st;
		bool exists;
		if (lies_in_another(r->paths, r->count, i))
			continue;
		buf_addf(&from, "%s-%zu", r->staging, i);
		if (fs_remove_tree(to, err) < 0 || fs_lstat(from.data, &st, &exists, err) < 0)
			return -1;
		if (exists && (fs_mkdirs_for(to, err) < 0 || fs_rename(from.data, to, err) < 0))
			return -1;
	}
	return 0;
}

static int restore_through(const struct restoring *r, bool *ret_restored, struct err *err)
{
	const struct manifest *manifest = &r->action->manifest;
	bool whole = true;
	for (size_t i = 0; i < manifest->len && whole; i++) {
		struct buf to CLEANUP(buf_release) = BUF_INIT;
		add_staged(&to, r->staging, r->paths, r->count, manifest->at[i].path);
		if (stage_entry(r, &manifest->at[i], to.data, &whole, err) < 0)
			return -1;
	}
	if (!whole) {
		struct buf place CLEANUP(buf_release) = BUF_INIT;
		outputs_add_place(r->cache, "actions", &r->action->key, &place);
		return outputs_index_remove(r->cache, STATE_ACTIONS, &r->action->key, err) < 0 ? -1 : fs_remove(place.data, err);
	}
	if (set_dir_modes(r, err) < 0 || put_in_place(r, err) < 0)
		return -1;
	*ret_restored = true;
	return 0;
}

/* What stays behind is in nobody's way; the outcome is that of the restoring. */
static void sweep(const struct restoring *r)
{
	for (size_t i = 0; i < r->count; i++) {
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		OWNED char *path = mem_printf("%s-%zu", r->staging, i);
		int left = fs_remove_tree(path, &ignored);
		(void)left;
	}
}

void outputs_close_staging(struct outputs *cache)
{
	if (cache->staging)
		(void)sys.unlinkat(AT_FDCWD, cache->staging, AT_REMOVEDIR);
	free(cache->staging);
	free(cache->staging_root);
	cache->staging = cache->staging_root = NULL;
}

/* A directory of this object's own in the project, on the file system that the outputs go to; kept for all that is restored. */
static int open_staging(struct outputs *cache, const char *root, struct err *err)
{
	struct buf parent CLEANUP(buf_release) = BUF_INIT;
	struct buf staging CLEANUP(buf_release) = BUF_INIT;
	if (cache->staging && strcmp(cache->staging_root, root) == 0)
		return 0;
	if (workdir_path(root, "staging", &parent, err) < 0 || fs_temp_dir(parent.data, "restore-", &staging, err) < 0)
		return -1;
	outputs_close_staging(cache);
	cache->staging = buf_detach(&staging);
	cache->staging_root = mem_strdup(root);
	return 0;
}

int outputs_restore(struct outputs *cache, const char *root, const struct action *action, const char *const *paths, size_t count,
		    struct outputs_taken *taken, bool *ret_restored, struct err *err)
{
	*ret_restored = false;
	if (manifest_check(&action->manifest, paths, count, err) < 0)
		return -1;
	if (count == 0) {
		*ret_restored = true;
		outputs_mark_used(cache, &action->key);
		return 0;
	}
	if (open_staging(cache, root, err) < 0)
		return -1;
	OWNED char *staging = mem_printf("%s/%u", cache->staging, cache->serial++);
	const struct restoring restoring = { cache, staging, root, action, paths, count, taken };
	int failed = restore_through(&restoring, ret_restored, err);
	if (failed || !*ret_restored)
		sweep(&restoring);
	else
		outputs_mark_used(cache, &action->key);
	return failed;
}

void outputs_taken_release(struct outputs_taken *taken)
{
	for (size_t i = 0; i < taken->paths.len; i++)
		if (taken->paths.entries[i].value)
			(void)sys.unlinkat(AT_FDCWD, taken->paths.entries[i].value, 0);
	map_release_values(&taken->paths, free);
}

int outputs_waiting_place(struct outputs *cache, const char *root, char **ret, struct err *err)
{
	if (open_staging(cache, root, err) < 0)
		return -1;
	*ret = mem_printf("%s/%u", cache->staging, cache->serial++);
	return 0;
}

/* What is written is what is hashed. */
static bool copy_hashed(int from, int to, const atomic_bool *stop, struct digest *ret, struct err *err)
{
	char *chunk OWNED = mem_alloc(TAKEN_AT_ONCE);
	struct digest_stream *stream = digest_begin(DIGEST_SHA256);
	ssize_t got;
	while ((got = atomic_load(stop) ? -1 : sys.read(from, chunk, TAKEN_AT_ONCE)) != 0) {
		if (got < 0 && errno == EINTR && !atomic_load(stop))
			continue;
		if (got < 0 || (to >= 0 && fs_write_all(to, chunk, (size_t)got) < 0))
			break;
		digest_add(stream, chunk, (size_t)got);
	}
	if (got == 0) {
		digest_end(stream, ret);
		return true;
	}
	if (!atomic_load(stop))
		err_set_errno(err, ERR_FAILED, errno, "cannot copy out of the output cache");
	digest_drop(stream);
	return false;
}

/* A clone is hashed by itself: it takes no time, and no room. */
static int take_bytes(const char *place, const char *to, const atomic_bool *stop, struct digest *ret, bool *ret_whole, struct err *err)
{
	bool cloned = fs_clone_file(place, to, 0600);
	int from CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, cloned ? to : place, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
	int out CLEANUP(fs_close_fd) = cloned ? -1 : sys.openat(AT_FDCWD, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	*ret_whole = false;
	if (from < 0 || (out < 0 && !cloned))
		return err_set_errno(err, ERR_FAILED, errno, "cannot copy '%s' to '%s'", place, to);
	*ret_whole = copy_hashed(from, out, stop, ret, err);
	return *ret_whole || atomic_load(stop) ? 0 : -1;
}

int outputs_take(const struct outputs *cache, const struct manifest_entry *entry, const char *to, const atomic_bool *stop, bool *ret_whole,
		 struct err *err)
{
	struct buf place CLEANUP(buf_release) = BUF_INIT;
	struct digest digest;
	struct stat st;
	outputs_add_place(cache, "objects", &entry->digest, &place);
	if (fs_lstat(place.data, &st, ret_whole, err) < 0)
		return -1;
	*ret_whole = *ret_whole && S_ISREG(st.st_mode) && (uint64_t)st.st_size == entry->size;
	if (!*ret_whole)
		return 0;
	int failed = take_bytes(place.data, to, stop, &digest, ret_whole, err);
	*ret_whole = *ret_whole && digest_eq(&digest, &entry->digest);
	if (!*ret_whole)
		(void)sys.unlinkat(AT_FDCWD, to, 0);
	return failed;
}
