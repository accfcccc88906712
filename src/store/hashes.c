#include "store/hashes_internal.h"

#include "base/path.h"
#include "base/pool.h"
#include "store/clock.h"
#include "store/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARALLEL_STATS 512 /* below that a thread costs more than it saves */
#define STATS_PER_TASK 256
#define PREFETCHED_AT_ONCE 16384
#define READ_ATTEMPTS 3
#define WATCHED_FROM ((uint64_t)16 << 20) /* less is read before anybody looks */

int hashes_new(struct state *state, const char *root, struct hashes **ret, struct err *err)
{
	int fd = sys.openat(AT_FDCWD, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot open '%s'", root);
	struct hashes *hashes = mem_alloc(sizeof(*hashes));
	hashes->state = state;
	hashes->root = mem_strdup(root);
	hashes->root_fd = fd;
	hashes->clock_fd = -1;
	hashes->seen_clock = CLOCK_NONE;
	buf_init(&hashes->last_key);
	*ret = hashes;
	return 0;
}

static void free_record(void *pointer)
{
	struct dir_record *record = pointer;
	statrec_release(&record->saved);
	map_release_values(&record->fresh, free);
	free(record);
}

void hashes_free(struct hashes *hashes)
{
	if (!hashes)
		return;
	map_release_values(&hashes->dirs, free_record);
	hashes_forget_stamps(hashes);
	buf_release(&hashes->last_key);
	fs_close_fd(&hashes->clock_fd);
	sys.close(hashes->root_fd);
	free(hashes->root);
	free(hashes);
}

const char *hashes_root(const struct hashes *hashes)
{
	return hashes->root;
}

uint64_t hashes_files_read(const struct hashes *hashes)
{
	return hashes->files_read;
}

uint64_t hashes_boot_of(struct hashes *hashes)
{
	if (!hashes->boot)
		hashes->boot = clock_boot();
	return hashes->boot;
}

void hashes_load_saved(struct hashes *hashes, const char *key, struct dir_record *record)
{
	const void *bytes;
	size_t len;
	statrec_release(&record->saved);
	record->loaded = true;
	if (hashes->state && state_get(hashes->state, STATE_STAT, key, &bytes, &len))
		statrec_load(&record->saved, record->kind, bytes, len);
}

static struct dir_record *record_of(struct hashes *hashes, enum digest_kind kind, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	size_t dir_len = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
	*ret_name = slash ? slash + 1 : path;
	struct buf *last = &hashes->last_key;
	if (hashes->last_record && last->len == dir_len + 1 && last->data[0] == '0' + (char)kind &&
	    memcmp(last->data + 1, path, dir_len) == 0)
		return hashes->last_record;
	buf_reset(last);
	buf_addch(last, (char)('0' + (char)kind));
	buf_add(last, path, dir_len);
	struct map_entry *entry = map_entry(&hashes->dirs, last->data);
	struct dir_record *record = entry->value ? entry->value : mem_alloc(sizeof(*record));
	record->kind = kind;
	hashes->last_record = entry->value = record;
	if (!record->loaded)
		hashes_load_saved(hashes, last->data, record);
	return record;
}

bool hashes_same_stamp(const struct fs_stamp *recorded, const struct fs_stamp *now)
{
	struct fs_stamp as_now = *recorded;
	as_now.dev = now->dev;
	return fs_stamp_same(&as_now, now);
}

static bool find_digest(struct hashes *hashes, enum digest_kind kind, const char *path, const struct fs_stamp *stamp,
			struct digest *ret)
{
	const char *name;
	struct dir_record *record = record_of(hashes, kind, path, &name);
	const struct fresh *fresh = record->fresh.len ? map_get(&record->fresh, name) : NULL;
	if (fresh) {
		*ret = fresh->digest;
		return hashes_same_stamp(&fresh->stamp, stamp);
	}
	size_t index = record->saved.count ? statrec_find(&record->saved, name, strlen(name)) : SIZE_MAX;
	if (index == SIZE_MAX)
		return false;
	struct statrec_entry entry;
	statrec_at(&record->saved, kind, index, &entry);
	*ret = entry.digest;
	return hashes_same_stamp(&entry.stamp, stamp) && (!entry.unsynced || record->saved.boot == hashes_boot_of(hashes));
}

static void remember(struct hashes *hashes, enum digest_kind kind, const char *path, const struct digest *digest,
		     const struct fs_stamp *stamp, bool verify)
{
	const char *name;
	if (!stamp->size)
		return;
	struct dir_record *record = record_of(hashes, kind, path, &name);
	struct map_entry *entry = map_entry(&record->fresh, name);
	if (!entry->value) {
		entry->value = mem_alloc(sizeof(struct fresh));
		hashes->unsaved++;
	}
	*(struct fresh *)entry->value = (struct fresh){ .stamp = *stamp, .digest = *digest, .verify = verify };
	record->dirty = true;
}

void hashes_record(struct hashes *hashes, enum digest_kind kind, const char *path, const struct digest *digest,
		   const struct fs_stamp *stamp)
{
	remember(hashes, kind, path, digest, stamp, true);
}

static void set_type(struct hash_item *item, mode_t mode)
{
	item->type = S_ISREG(mode) ? HASH_FILE : S_ISLNK(mode) ? HASH_LINK : S_ISDIR(mode) ? HASH_DIR : HASH_SPECIAL;
	item->executable = S_ISREG(mode) && (mode & S_IXUSR);
}

static struct err *new_err(void)
{
	return mem_alloc(sizeof(struct err));
}

static const char *prefetched_path(const void *ctx, uint32_t number)
{
	const struct hashes *hashes = ctx;
	return hashes->stamps.at[number].path;
}

static const struct fs_stamp *find_prefetched(const struct hashes *hashes, const char *path)
{
	uint32_t found = index_find(&hashes->stamp_index, path, strlen(path));
	return found == INDEX_NONE ? NULL : &hashes->stamps.at[found].stamp;
}

static void stat_item(const struct hashes *hashes, struct hash_item *item)
{
	struct stat st;
	item->type = HASH_ABSENT;
	item->executable = item->was_read = item->racy = false;
	item->digest = (struct digest){ .kind = DIGEST_NONE };
	item->stamp = (struct fs_stamp){ 0 };
	item->err = NULL;
	const struct fs_stamp *known = item->follow ? NULL : find_prefetched(hashes, item->path);
	if (item->seen)
		known = item->seen;
	if (known) {
		if (known->mode) {
			item->stamp = *known;
			set_type(item, (mode_t)known->mode);
		}
		return;
	}
	if (sys.fstatat(hashes->root_fd, item->path, &st, item->follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return;
		item->err = new_err();
		err_set_errno(item->err, ERR_FAILED, errno, "cannot look at '%s'", item->path);
		return;
	}
	fs_stamp_of(&item->stamp, &st);
	set_type(item, st.st_mode);
}

struct stat_work {
	const struct hashes *hashes;
	struct hash_item *items;
	size_t count;
};

static void stat_some(void *ctx, size_t task)
{
	struct stat_work *work = ctx;
	size_t end = (task + 1) * STATS_PER_TASK;
	for (size_t i = task * STATS_PER_TASK; i < end && i < work->count; i++)
		stat_item(work->hashes, &work->items[i]);
}

static void stat_items(const struct hashes *hashes, struct hash_item *items, size_t count)
{
	struct stat_work work = { hashes, items, count };
	size_t tasks = (count + STATS_PER_TASK - 1) / STATS_PER_TASK;
	if (count >= PARALLEL_STATS)
		pool_each(0, tasks, stat_some, &work);
	else
		for (size_t i = 0; i < tasks; i++)
			stat_some(&work, i);
}

static void prefetch_some(struct hashes *hashes, const char *const *paths, size_t count)
{
	struct hash_item *items OWNED = mem_alloc(count * sizeof(*items));
	for (size_t i = 0; i < count; i++)
		items[i].path = paths[i];
	stat_items(hashes, items, count);
	for (size_t i = 0; i < count; i++) {
		if (items[i].err)
			continue;
		vec_push(&hashes->stamps, (struct prefetched){ paths[i], items[i].stamp });
		if (!index_add(&hashes->stamp_index, (uint32_t)hashes->stamps.len - 1))
			hashes->stamps.len--;
	}
	hash_items_release(items, count);
}

/* In pieces: what a lookup needs is twice as large as what is kept of it. */
void hashes_prefetch(struct hashes *hashes, const char *const *paths, size_t count)
{
	hashes_forget_stamps(hashes);
	hashes->stamp_index = (struct index)INDEX_INIT(prefetched_path, hashes);
	index_reserve(&hashes->stamp_index, count);
	vec_reserve(&hashes->stamps, count);
	for (size_t at = 0; at < count; at += PREFETCHED_AT_ONCE)
		prefetch_some(hashes, paths + at, count - at < PREFETCHED_AT_ONCE ? count - at : PREFETCHED_AT_ONCE);
}

void hashes_forget_stamps(struct hashes *hashes)
{
	vec_release(&hashes->stamps);
	index_release(&hashes->stamp_index);
}

static void hash_link(struct hashes *hashes, struct hash_item *item)
{
	struct buf target CLEANUP(buf_release) = BUF_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct err *err = new_err();
	path_join(&path, hashes->root, item->path);
	if (fs_read_link(path.data, &target, err) < 0) {
		item->err = err;
		return;
	}
	free(err);
	item->racy = true;
	digest_bytes(DIGEST_SHA256, target.data, target.len, &item->digest);
}

bool hashes_is_racy(const struct fs_stamp *stamp, int64_t clock)
{
	return stamp->mtime_ns >= clock || stamp->ctime_ns >= clock;
}

/* Without a clock nothing is known to be old enough. */
int64_t hashes_clock_of(struct hashes *hashes)
{
	if (hashes->clock_fd == -1)
		hashes->clock_fd = clock_open(hashes->root, true);
	return hashes->seen_clock = clock_now(hashes->clock_fd);
}

struct reading {
	VEC(struct digest_job) jobs;
	VEC(size_t) items; /* of each job */
};

/* A clock by which the files that are about to be read can be judged: an earlier reading is as good where they are older than that. */
static int64_t clock_before(struct hashes *hashes, const struct hash_item *items, const struct reading *reading)
{
	for (size_t i = 0; i < reading->items.len; i++)
		if (hashes_is_racy(&items[reading->items.at[i]].stamp, hashes->seen_clock))
			return hashes_clock_of(hashes);
	return hashes->seen_clock;
}

static void settle_job(struct hashes *hashes, enum digest_kind kind, struct hash_item *item, struct digest_job *job,
		       int64_t clock)
{
	if (job->ret_status < 0) {
		item->err = new_err();
		err_move(item->err, &job->ret_err);
		return;
	}
	item->digest = job->ret;
	item->stamp = job->ret_stamp;
	item->was_read = true;
	set_type(item, (mode_t)job->ret_stamp.mode);
	item->racy = hashes_is_racy(&item->stamp, clock);
	if (!item->racy)
		remember(hashes, kind, item->path, &item->digest, &item->stamp, false);
}

void hashes_watch(struct hashes *hashes, digest_told_fn *told, void *ctx)
{
	hashes->told = told;
	hashes->told_ctx = ctx;
}

static void tell_bytes(void *ctx, uint64_t bytes)
{
	const struct hashes *hashes = ctx;
	hashes->told(hashes->told_ctx, hashes->bytes_read + bytes);
}

static void read_jobs(struct hashes *hashes, enum digest_kind kind, const struct hash_item *items, struct reading *reading)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < reading->jobs.len; i++) {
		reading->jobs.at[i].kind = (uint8_t)kind;
		bytes += items[reading->items.at[i]].stamp.size;
	}
	if (hashes->told && bytes >= WATCHED_FROM)
		digest_files_told(reading->jobs.at, reading->jobs.len, tell_bytes, hashes);
	else
		digest_files(kind, reading->jobs.at, reading->jobs.len);
	hashes->files_read += reading->jobs.len;
	hashes->bytes_read += bytes;
}

/* Reads the files of todo; those that changed meanwhile are left in it. */
static void read_once(struct hashes *hashes, enum digest_kind kind, struct hash_item *items, struct reading *reading)
{
	int64_t clock = hashes->state ? clock_before(hashes, items, reading) : CLOCK_NONE;
	size_t left = 0;
	read_jobs(hashes, kind, items, reading);
	for (size_t i = 0; i < reading->jobs.len; i++) {
		struct digest_job *job = &reading->jobs.at[i];
		if (job->ret_status == 0 && !job->ret_stable) {
			reading->items.at[left] = reading->items.at[i];
			reading->jobs.at[left++] = (struct digest_job){ .path = job->path };
			continue;
		}
		settle_job(hashes, kind, &items[reading->items.at[i]], job, clock);
	}
	reading->jobs.len = reading->items.len = left;
}

static void read_files(struct hashes *hashes, enum digest_kind kind, struct hash_item *items, struct reading *reading)
{
	for (int attempt = 0; attempt < READ_ATTEMPTS && reading->jobs.len; attempt++)
		read_once(hashes, kind, items, reading);
	for (size_t i = 0; i < reading->jobs.len; i++) {
		struct hash_item *item = &items[reading->items.at[i]];
		item->err = new_err();
		err_set(item->err, ERR_FAILED, "'%s' changes while it is read", item->path);
		err_hint(item->err, "wait until whatever writes it has finished");
	}
}

/* What holds no bytes need not be read or remembered. */
static void take_empty(struct hashes *hashes, enum digest_kind kind, struct digest *ret)
{
	if (hashes->empty[kind].kind == DIGEST_NONE)
		digest_bytes(kind, "", 0, &hashes->empty[kind]);
	*ret = hashes->empty[kind];
}

/* Whether the item is a file that has to be read. */
static bool needs_reading(struct hashes *hashes, enum digest_kind kind, struct hash_item *item)
{
	if (item->err)
		return false;
	if (item->type == HASH_LINK)
		hash_link(hashes, item);
	if (item->type == HASH_FILE && !item->stamp.size) {
		take_empty(hashes, kind, &item->digest);
		return false;
	}
	/* Records are of names, so what a link leads to is remembered under the link's name but judged by the file's own
	 * stamp: pointing the link elsewhere changes that. */
	if (item->type != HASH_FILE || find_digest(hashes, kind, item->path, &item->stamp, &item->digest))
		return false;
	item->digest = (struct digest){ .kind = DIGEST_NONE };
	return true;
}

void hashes_known_many(struct hashes *hashes, enum digest_kind kind, struct hash_item *items, size_t count)
{
	stat_items(hashes, items, count);
	for (size_t i = 0; i < count; i++)
		needs_reading(hashes, kind, &items[i]);
}

int64_t hashes_clock(struct hashes *hashes)
{
	return hashes->state ? hashes_clock_of(hashes) : CLOCK_NONE;
}

void hashes_learn(struct hashes *hashes, enum digest_kind kind, const char *path, const struct digest *digest,
		  const struct fs_stamp *stamp, int64_t clock)
{
	hashes->files_read++;
	if (!hashes_is_racy(stamp, clock))
		remember(hashes, kind, path, digest, stamp, false);
}

void hashes_leave(struct hashes *hashes, uint64_t from, struct hashes_left *left)
{
	hashes->leave_from = from;
	hashes->left = left;
}

bool hashes_are_left(const struct hashes *hashes)
{
	return hashes->left && hashes->left->len;
}

void hashes_left_release(struct hashes_left *left)
{
	for (size_t i = 0; i < left->len; i++)
		free(left->at[i].path);
	vec_release(left);
}

static bool is_left(struct hashes *hashes, enum digest_kind kind, const struct hash_item *item)
{
	if (!hashes->left || item->stamp.size < hashes->leave_from)
		return false;
	vec_push(hashes->left, (struct hash_left){ .path = mem_strdup(item->path), .kind = kind, .follow = item->follow });
	return true;
}

static void look_up_once(struct hashes *hashes, enum digest_kind kind, struct hash_item *items, size_t count)
{
	struct reading reading = { 0 };
	struct arena paths CLEANUP(arena_release) = { 0 };
	stat_items(hashes, items, count);
	for (size_t i = 0; i < count; i++) {
		struct hash_item *item = &items[i];
		if (!needs_reading(hashes, kind, item) || is_left(hashes, kind, item))
			continue;
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		path_join(&path, hashes->root, item->path);
		vec_push(&reading.jobs, (struct digest_job){ .path = arena_strndup(&paths, path.data, path.len) });
		vec_push(&reading.items, i);
	}
	if (reading.jobs.len)
		read_files(hashes, kind, items, &reading);
	vec_release(&reading.jobs);
	vec_release(&reading.items);
}

/* What failed because it became something else meanwhile (a link a file, a file nothing) is looked at again: another mlmake may be at it. */
static void look_again(struct hashes *hashes, enum digest_kind kind, struct hash_item *item)
{
	for (int attempt = 0; attempt < READ_ATTEMPTS && item->err; attempt++) {
		struct hash_item now = { .path = item->path, .follow = item->follow };
		hashes_forget_stamps(hashes);
		stat_item(hashes, &now);
		bool same = now.type == item->type && fs_stamp_same(&now.stamp, &item->stamp);
		hash_items_release(&now, 1);
		if (same)
			return;
		hash_items_release(item, 1);
		item->seen = NULL;
		look_up_once(hashes, kind, item, 1);
	}
}

void hashes_lookup_many(struct hashes *hashes, enum digest_kind kind, struct hash_item *items, size_t count)
{
	look_up_once(hashes, kind, items, count);
	for (size_t i = 0; i < count; i++)
		if (items[i].err)
			look_again(hashes, kind, &items[i]);
}

void hash_items_release(struct hash_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!items[i].err)
			continue;
		err_release(items[i].err);
		free(items[i].err);
		items[i].err = NULL;
	}
}

int hashes_lookup(struct hashes *hashes, enum digest_kind kind, struct hash_item *item, struct err *err)
{
	hashes_lookup_many(hashes, kind, item, 1);
	if (!item->err)
		return 0;
	err_move(err, item->err);
	free(item->err);
	item->err = NULL;
	return -1;
}
