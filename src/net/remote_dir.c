/*
 * A directory as a remote, laid out as dvc lays out a local one: objects of mode 0444 at their keys.
 *
 * Work goes in batches: copy (cloning where the file system can), hash the copies many at once, then sync, rename and
 * sync the directories. What is hashed is always the copy, so damage on the way is seen as well. Copies are made in
 * .mlmake-tmp below the remote's root, where a garbage collection of the objects does not look.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/pool.h"
#include "base/text.h"
#include "net/remote_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH_ITEMS 2048
#define BATCH_BYTES (1ull << 30)
#define SYNC_THREADS 16
#define TEMP_DIR ".mlmake-tmp"
#define TEMP_STALE_S (24 * 3600)
#define TEMP_TRIES 100

struct remote_dir {
	struct remote remote;
	char *root;
};

/* One batch of put or get. Copies are temporaries for put, the final files for get. */
struct batch {
	struct remote_dir *dir;
	struct remote_item *items;
	size_t count;
	bool put;
	const char *temp; /* put: directory of the temporaries */
	char **copies;    /* of each item */
};

static char *object_path(const struct remote_dir *dir, const char *key)
{
	return path_joined(dir->root, key);
}

static void check_one(void *ctx, size_t index)
{
	struct batch *batch = ctx;
	struct remote_item *item = &batch->items[index];
	char *path OWNED = object_path(batch->dir, item->key);
	struct stat st = { 0 };
	bool exists;
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (fs_lstat(path, &st, &exists, &err) < 0) {
		remote_item_failed(item, &err);
	} else if (!exists || !S_ISREG(st.st_mode)) {
		item->ret_state = REMOTE_MISSING;
	} else {
		item->ret_size = (uint64_t)st.st_size;
		if (item->size != REMOTE_SIZE_UNKNOWN && item->size != item->ret_size)
			remote_item_wrong_size(item, "the remote copy", item->ret_size);
		else
			item->ret_state = REMOTE_DONE;
	}
}

static int dir_check(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	for (size_t at = 0; at < count; at += BATCH_ITEMS) {
		struct batch batch = { .dir = (struct remote_dir *)remote, .items = items + at };
		batch.count = count - at < BATCH_ITEMS ? count - at : BATCH_ITEMS;
		pool_each(batch.count < 64 ? 1 : 0, batch.count, check_one, &batch);
		if (remote_tell(sink, at + batch.count, 0, err) < 0)
			return -1;
	}
	return 0;
}

/* The item's part of an object; settles the item where that fails. */
static void copy_part(struct remote_item *item, const char *source, const struct stat *st)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	char bytes[64 << 10];
	uint64_t size = (uint64_t)st->st_size, at = 0;
	if (item->from > size || item->size > size - item->from) {
		remote_item_wrong_size(item, "the remote copy", size);
		return;
	}
	int from CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, source, O_RDONLY | O_CLOEXEC, 0), to CLEANUP(fs_close_fd) = -1;
	if (from < 0) {
		err_set_errno(&err, ERR_FAILED, errno, "cannot read '%s'", source);
		remote_item_failed(item, &err);
		return;
	}
	if (remote_item_create(item, &to, &err) < 0) {
		remote_item_failed(item, &err);
		return;
	}
	while (at < item->size) {
		size_t due = item->size - at < sizeof(bytes) ? (size_t)(item->size - at) : sizeof(bytes);
		ssize_t got = sys.pread(from, bytes, due, (off_t)(item->from + at));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || remote_write_at(to, bytes, (size_t)got, at) < 0) {
			err_set_errno(&err, ERR_FAILED, got == 0 ? EIO : errno, "cannot copy a part of '%s'", source);
			sys.unlinkat(AT_FDCWD, item->path, 0);
			remote_item_failed(item, &err);
			return;
		}
		at += (uint64_t)got;
	}
	item->ret_size = at;
}

static void copy_one(void *ctx, size_t index)
{
	struct batch *batch = ctx;
	struct remote_item *item = &batch->items[index];
	char *object OWNED = object_path(batch->dir, item->key);
	const char *source = batch->put ? item->path : object;
	const char *what = batch->put ? "the local copy" : "the remote copy";
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct stat st = { 0 };
	batch->copies[index] = batch->put ? mem_printf("%s/%zu", batch->temp, index) : mem_strdup(item->path);
	if (sys.fstatat(AT_FDCWD, source, &st, 0) < 0 && errno == ENOENT) {
		remote_item_missing(item, batch->put ? "here" : "on the remote");
		if (!batch->put && !fs_is_dir(batch->dir->root))
			err_hint(&item->ret_err, "there is no directory %s: is what it lies on mounted, and the remote's url right?", batch->dir->root);
	} else if (item->part) {
		copy_part(item, source, &st);
	} else if (item->size != REMOTE_SIZE_UNKNOWN && S_ISREG(st.st_mode) && (uint64_t)st.st_size != item->size) {
		remote_item_wrong_size(item, what, (uint64_t)st.st_size);
	} else if (item->size == REMOTE_SIZE_UNKNOWN && item->max_size && (uint64_t)st.st_size > item->max_size) {
		remote_item_too_large(item, (uint64_t)st.st_size);
	} else if (fs_copy_file(source, batch->copies[index], batch->put ? 0444 : 0600, &err) < 0) {
		remote_item_failed(item, &err);
	} else {
		item->ret_size = (uint64_t)st.st_size;
	}
	if (item->ret_state != REMOTE_PENDING) {
		free(batch->copies[index]);
		batch->copies[index] = NULL;
	}
}

static void drop_copy(struct batch *batch, size_t index)
{
	sys.unlinkat(AT_FDCWD, batch->copies[index], 0);
	free(batch->copies[index]);
	batch->copies[index] = NULL;
}

static void verify(struct batch *batch)
{
	VEC(struct digest_job) jobs = { 0 };
	VEC(size_t) of = { 0 };
	for (size_t i = 0; i < batch->count; i++) {
		if (!batch->copies[i] || batch->items[i].expect.kind == DIGEST_NONE)
			continue;
		vec_push(&jobs, ((struct digest_job){ .path = batch->copies[i], .kind = batch->items[i].expect.kind }));
		vec_push(&of, i);
	}
	digest_files_mixed(jobs.at, jobs.len);
	for (size_t j = 0; j < jobs.len; j++) {
		struct digest_job *job = &jobs.at[j];
		struct remote_item *item = &batch->items[of.at[j]];
		if (job->ret_status < 0)
			remote_item_failed(item, &job->ret_err);
		else if (!digest_eq(&job->ret, &item->expect))
			remote_item_wrong_digest(item, batch->put ? "the local copy" : "the remote copy", &job->ret);
		else
			item->ret_size = job->ret_stamp.size;
		if (item->ret_state != REMOTE_PENDING)
			drop_copy(batch, of.at[j]);
		err_release(&job->ret_err);
	}
	vec_release(&jobs);
	vec_release(&of);
}

static void copy_and_verify(struct batch *batch)
{
	pool_each(batch->count < 8 ? 1 : 0, batch->count, copy_one, batch);
	verify(batch);
}

static int rename_into_place(const char *from, const char *to, struct err *err)
{
	if (sys.renameat(AT_FDCWD, from, AT_FDCWD, to) == 0)
		return 0;
	if (errno != ENOENT)
		return err_set_errno(err, ERR_FAILED, errno, "cannot put '%s' into place", to);
	if (fs_mkdirs_for(to, err) < 0)
		return -1;
	return fs_rename(from, to, err);
}

/* As in store/odb.c: many small writes become few large ones. */
static void start_one(void *ctx, size_t index)
{
	const struct batch *batch = ctx;
	int fd CLEANUP(fs_close_fd) = batch->copies[index] ? sys.openat(AT_FDCWD, batch->copies[index], O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0) : -1;
	if (fd >= 0)
		sys.sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static void publish_one(void *ctx, size_t index)
{
	struct batch *batch = ctx;
	struct remote_item *item = &batch->items[index];
	const char *copy = batch->copies[index];
	if (!copy)
		return;
	struct err err CLEANUP(err_release) = ERR_INIT;
	char *object OWNED = object_path(batch->dir, item->key);
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, copy, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
	if (fd < 0 || sys.fchmod(fd, 0444) < 0 || sys.fdatasync(fd) < 0) {
		err_set_errno(&err, ERR_FAILED, errno, "cannot write '%s' to disk", copy);
		remote_item_failed(item, &err);
	} else if (rename_into_place(copy, object, &err) < 0) {
		remote_item_failed(item, &err);
	}
	if (item->ret_state != REMOTE_PENDING)
		drop_copy(batch, index);
}

struct sync_dirs {
	struct strlist paths;
	struct err *errs; /* one of each */
};

static void sync_one(void *ctx, size_t index)
{
	struct sync_dirs *dirs = ctx;
	(void)!fs_sync_dir(dirs->paths.at[index], &dirs->errs[index]);
}

/* The directories of what was put into place, and those above them up to the root: any may be new. */
static int sync_touched(const struct batch *batch, struct err *err)
{
	struct sync_dirs dirs = { .errs = NULL };
	for (size_t i = 0; i < batch->count; i++) {
		if (!batch->copies[i])
			continue;
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		path_join(&path, batch->dir->root, batch->items[i].key);
		for (char *slash; path.len > strlen(batch->dir->root) && (slash = strrchr(path.data, '/')) != NULL;) {
			buf_truncate(&path, (size_t)(slash - path.data));
			strlist_add(&dirs.paths, path.data);
		}
	}
	strlist_sort(&dirs.paths);
	strlist_unique(&dirs.paths);
	dirs.errs = mem_alloc(dirs.paths.len * sizeof(*dirs.errs));
	pool_each(SYNC_THREADS, dirs.paths.len, sync_one, &dirs);
	int status = 0;
	for (size_t i = 0; i < dirs.paths.len; i++) {
		if (dirs.errs[i].code != ERR_NONE && status == 0)
			status = err_move(err, &dirs.errs[i]);
		err_release(&dirs.errs[i]);
	}
	free(dirs.errs);
	strlist_release(&dirs.paths);
	return status;
}

/* The next items that make one batch: so many files or bytes. */
static size_t batch_len(const struct remote_item *items, size_t left)
{
	uint64_t bytes = 0;
	size_t count = 0;
	while (count < left && count < BATCH_ITEMS && bytes < BATCH_BYTES) {
		bytes += items[count].size == REMOTE_SIZE_UNKNOWN ? 0 : items[count].size;
		count++;
	}
	return count;
}

static int move_all(struct batch *batch, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	uint64_t bytes = 0;
	int status = 0;
	for (size_t at = 0; at < count && status == 0; at += batch->count) {
		batch->items = items + at;
		batch->count = batch_len(batch->items, count - at);
		batch->copies = mem_alloc(batch->count * sizeof(*batch->copies));
		copy_and_verify(batch);
		if (batch->put) {
			if (batch->count > SYNC_THREADS)
				pool_each(0, batch->count, start_one, batch);
			pool_each(SYNC_THREADS, batch->count, publish_one, batch);
			status = sync_touched(batch, err);
		}
		for (size_t i = 0; i < batch->count; i++) {
			if (batch->copies[i]) {
				batch->items[i].ret_state = REMOTE_DONE;
				bytes += batch->items[i].ret_size;
			}
			free(batch->copies[i]);
		}
		free(batch->copies);
		if (status == 0)
			status = remote_tell(sink, at + batch->count, bytes, err);
	}
	return status;
}

struct sweep {
	time_t now;
	size_t gone;
};

static int drop_if_stale(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct sweep *sweep = ctx;
	if (sweep->now - entry->st->st_mtime <= TEMP_STALE_S)
		return 1;
	if (fs_remove_tree(entry->path, err) < 0)
		err_release(err); /* another machine's user may own it */
	else
		sweep->gone++;
	return 1;
}

static size_t dir_sweep(struct remote *remote)
{
	char *temp_root OWNED = path_joined(((struct remote_dir *)remote)->root, TEMP_DIR);
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct sweep sweep = { .now = time(NULL) };
	if (fs_walk_if_there(temp_root, drop_if_stale, &sweep, &ignored) == 0)
		sys.unlinkat(AT_FDCWD, temp_root, AT_REMOVEDIR); /* stays while another process works in it */
	return sweep.gone;
}

/* Another push that ends removes temp_root when nobody is in it, which may be just now. */
static int make_temp(const char *temp_root, struct buf *ret, struct err *err)
{
	struct sweep sweep = { .now = time(NULL) };
	for (int tries = 0;; tries++) {
		if (fs_mkdirs(temp_root, err) == 0 && fs_walk_if_there(temp_root, drop_if_stale, &sweep, err) == 0 &&
		    fs_temp_dir(temp_root, "put-", ret, err) == 0)
			return 0;
		if (err->sys_errno != ENOENT || tries == TEMP_TRIES)
			return -1;
		err_release(err);
	}
}

static int dir_put(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	struct remote_dir *dir = (struct remote_dir *)remote;
	struct batch batch = { .dir = dir, .put = true };
	char *temp_root OWNED = path_joined(dir->root, TEMP_DIR);
	struct buf temp CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (make_temp(temp_root, &temp, err) < 0) {
		if (err->code == ERR_FAILED)
			err->code = ERR_NET;
		if (!err->hint)
			err_hint(err, "is it mounted, a directory, and writable for you?");
		return err_note(err, "in the remote directory %s", dir->root);
	}
	batch.temp = temp.data;
	int status = move_all(&batch, items, count, sink, err);
	if (fs_remove_tree(temp.data, &ignored) == 0)
		sys.unlinkat(AT_FDCWD, temp_root, AT_REMOVEDIR); /* stays while another process works in it */
	return status;
}

static int dir_get(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	struct batch batch = { .dir = (struct remote_dir *)remote };
	return move_all(&batch, items, count, sink, err);
}

struct listing {
	const char *prefix;
	size_t dir_len; /* of the part of prefix that names a directory, its '/' included */
	remote_visit_fn *visit;
	void *ctx;
};

static int dir_remove(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct err failure CLEANUP(err_release) = ERR_INIT;
		char *path OWNED = object_path((struct remote_dir *)remote, items[i].key);
		if (fs_remove(path, &failure) < 0)
			remote_item_failed(&items[i], &failure);
		else
			items[i].ret_state = REMOTE_DONE;
		if (remote_tell(sink, i + 1, 0, err) < 0)
			return -1;
	}
	return 0;
}

static int list_one(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct listing *listing = ctx;
	if (listing->dir_len == 0 && strcmp(entry->rel, TEMP_DIR) == 0)
		return 1;
	const char *rest = listing->prefix + listing->dir_len;
	size_t common = strlen(entry->rel) < strlen(rest) ? strlen(entry->rel) : strlen(rest);
	if (strncmp(entry->rel, rest, common) != 0)
		return 1;
	if (!S_ISREG(entry->st->st_mode) || !text_starts(entry->rel, rest))
		return 0;
	char *key OWNED = mem_printf("%.*s%s", (int)listing->dir_len, listing->prefix, entry->rel);
	return listing->visit(listing->ctx, key, (uint64_t)entry->st->st_size, (int64_t)entry->st->st_mtim.tv_sec, err);
}

static int dir_list(struct remote *remote, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err)
{
	struct remote_dir *dir = (struct remote_dir *)remote;
	const char *slash = strrchr(prefix, '/');
	struct listing listing = { .prefix = prefix, .visit = visit, .ctx = ctx };
	listing.dir_len = slash ? (size_t)(slash + 1 - prefix) : 0;
	char *below OWNED = mem_printf("%s/%.*s", dir->root, (int)listing.dir_len, prefix);
	if (!fs_is_dir(below))
		return 0;
	return fs_walk(below, list_one, &listing, err);
}

static void dir_close(struct remote *remote)
{
	struct remote_dir *dir = (struct remote_dir *)remote;
	free(dir->root);
	free(dir);
}

int remote_dir_open(const struct remote_spec *spec, struct remote **ret, struct err *err UNUSED)
{
	static const struct remote_class class = {
		.check = dir_check, .put = dir_put, .get = dir_get, .remove = dir_remove, .list = dir_list, .sweep = dir_sweep,
		.close = dir_close,
	};
	struct remote_dir *dir = mem_alloc(sizeof(*dir));
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	path_normalize(&root, spec->url);
	dir->remote.class = &class;
	dir->root = buf_detach(&root);
	*ret = &dir->remote;
	return 0;
}
