/*
 * Files to objects and objects to files, in batches: copy all of a batch, hash the copies (many at once), then keep them.
 */
#include "base/mem.h"
#include "base/pool.h"
#include "store/odb.h"
#include "store/odb_internal.h"

#include <errno.h>
#include <string.h>

/* Copying is half waiting and half the kernel's work: a few threads more than processors. */
#define COPY_THREADS 4

/* What is done of a batch, which takes two goes over its bytes: copying, and hashing the copies. */
struct watched {
	const struct odb_sink *sink;
	struct meter meter;
	size_t items_before;
	uint64_t bytes_before;
};

static uint64_t bytes_done(struct watched *watched)
{
	return watched->bytes_before + meter_read(&watched->meter) / 2;
}

static void tell_meanwhile(void *ctx)
{
	struct watched *watched = ctx;
	watched->sink->progress(watched->sink->ctx, watched->items_before, bytes_done(watched));
}

static void do_watched(struct watched *watched, pool_fn *work, void *ctx)
{
	if (watched->sink && watched->sink->progress)
		pool_watch(work, ctx, tell_meanwhile, watched);
	else
		work(ctx, 0);
}

struct copy {
	struct meter *meter;
	const char *from;
	char *to;
	mode_t mode;
	struct fs_stamp before;
	struct err err;
	bool changed; /* from changed while it was copied */
};

static void copy_one(void *ctx, size_t i)
{
	struct copy *copy = (struct copy *)ctx + i;
	struct stat st;
	if (sys.fstatat(AT_FDCWD, copy->from, &st, 0) < 0) {
		err_set_errno(&copy->err, ERR_FAILED, errno, "cannot read %s", copy->from);
		return;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(&copy->err, ERR_FAILED, "%s is not a regular file", copy->from);
		return;
	}
	fs_stamp_of(&copy->before, &st);
	if (fs_copy_file_metered(copy->from, copy->to, copy->mode, copy->meter, &copy->err) < 0)
		return;
	struct fs_stamp after;
	if (sys.fstatat(AT_FDCWD, copy->from, &st, 0) == 0)
		fs_stamp_of(&after, &st);
	else
		after = (struct fs_stamp){ 0 };
	copy->changed = !fs_stamp_same(&copy->before, &after);
}

static void copies_release(struct copy *copies, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(copies[i].to);
		err_release(&copies[i].err);
	}
	free(copies);
}

static void jobs_release(struct digest_job *jobs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		err_release(&jobs[i].ret_err);
	free(jobs);
}

static void unlink_all(struct copy *copies, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sys.unlinkat(AT_FDCWD, copies[i].to, 0);
}

static int compare_publish(const void *a, const void *b)
{
	const struct odb_publish *left = a, *right = b;
	return memcmp(left->id.digest.bytes, right->id.digest.bytes, 16);
}

/* Of the objects that are there already, finds those whose bytes are wrong; the others need no publishing. */
static size_t drop_present(struct odb *odb, struct odb_publish *items, size_t count)
{
	struct digest_job *jobs = mem_alloc(count * sizeof(*jobs));
	char **paths = mem_alloc(count * sizeof(*paths));
	size_t *index OWNED = mem_alloc(count * sizeof(*index));
	size_t n = 0, kept = 0;
	for (size_t i = 0; i < count; i++) {
		if (!odb_has(odb, &items[i].id, NULL))
			continue;
		struct buf path = BUF_INIT;
		odb_add_path(odb, &path, &items[i].id);
		jobs[n].path = paths[n] = buf_detach(&path);
		index[n++] = i;
	}
	digest_files(DIGEST_MD5, jobs, n);
	for (size_t i = 0, next = 0; i < count; i++) {
		bool present = next < n && index[next] == i;
		bool right = present && jobs[next].ret_status == 0 && digest_eq(&jobs[next].ret, &items[i].id.digest);
		next += present;
		if (right)
			sys.unlinkat(AT_FDCWD, items[i].temp, 0);
		else
			items[kept++] = items[i];
	}
	for (size_t i = 0; i < n; i++)
		free(paths[i]);
	free(paths);
	jobs_release(jobs, n);
	return kept;
}

static int publish_copies(struct odb *odb, struct odb_import *items, struct copy *copies, size_t count, struct err *err)
{
	struct odb_publish *publish OWNED = mem_alloc(count * sizeof(*publish));
	for (size_t i = 0; i < count; i++)
		publish[i] = (struct odb_publish){ copies[i].to, { items[i].ret_digest, false } };
	/* Files of the same content become one object. */
	qsort(publish, count, sizeof(*publish), compare_publish);
	size_t unique = 0;
	for (size_t i = 0; i < count; i++) {
		if (unique && compare_publish(&publish[unique - 1], &publish[i]) == 0)
			sys.unlinkat(AT_FDCWD, publish[i].temp, 0);
		else
			publish[unique++] = publish[i];
	}
	return odb_publish(odb, publish, drop_present(odb, publish, unique), err);
}

static int hash_copies(struct odb_import *items, const struct copy *copies, size_t count, struct err *err)
{
	struct digest_job *jobs = mem_alloc(count * sizeof(*jobs));
	int status = 0;
	for (size_t i = 0; i < count; i++)
		jobs[i] = (struct digest_job){ .path = copies[i].to, .meter = copies[i].meter };
	digest_files(DIGEST_MD5, jobs, count);
	for (size_t i = 0; i < count && status == 0; i++) {
		items[i].ret_digest = jobs[i].ret;
		items[i].ret_stamp = copies[i].before;
		if (jobs[i].ret_status < 0)
			status = err_move(err, &jobs[i].ret_err);
	}
	jobs_release(jobs, count);
	return status;
}

static int import_batch(struct odb *odb, struct odb_import *items, size_t count, struct meter *meter, struct err *err)
{
	struct copy *copies = mem_alloc(count * sizeof(*copies));
	int status = 0;
	for (size_t i = 0; i < count && status == 0; i++) {
		struct buf temp = BUF_INIT;
		status = odb_temp_path(odb, &temp, err);
		copies[i] = (struct copy){ .meter = meter, .from = items[i].path, .to = buf_detach(&temp), .mode = 0600 };
	}
	if (status == 0)
		pool_each(COPY_THREADS, count, copy_one, copies);
	for (size_t i = 0; i < count && status == 0; i++) {
		if (copies[i].err.code)
			status = err_move(err, &copies[i].err);
		else if (copies[i].changed) {
			err_set(err, ERR_FAILED, "%s changed while it was read", items[i].path);
			status = err_hint(err, "wait until whatever writes it has finished, and add it again");
		}
	}
	if (status == 0)
		status = hash_copies(items, copies, count, err);
	if (status == 0)
		status = publish_copies(odb, items, copies, count, err);
	if (status < 0)
		unlink_all(copies, count);
	copies_release(copies, count);
	return status;
}

static uint64_t size_of(const char *path)
{
	struct stat st;
	return sys.fstatat(AT_FDCWD, path, &st, 0) < 0 ? 0 : (uint64_t)st.st_size;
}

static int tell(const struct odb_sink *sink, size_t items_done, uint64_t bytes_done, struct err *err)
{
	if (sink && sink->progress && !sink->progress(sink->ctx, items_done, bytes_done))
		return err_set(err, ERR_SIGINT, "interrupted");
	return 0;
}

struct import_work {
	struct odb *odb;
	struct odb_import *items;
	size_t count;
	struct meter *meter;
	struct err *err;
	int status;
};

static void import_aside(void *ctx, size_t index)
{
	struct import_work *work = ctx;
	(void)index;
	work->status = import_batch(work->odb, work->items, work->count, work->meter, work->err);
}

int odb_import(struct odb *odb, struct odb_import *items, size_t count, const struct odb_sink *sink, struct err *err)
{
	uint64_t done_bytes = 0;
	for (size_t at = 0; at < count;) {
		uint64_t bytes = size_of(items[at].path);
		size_t n = 1;
		while (at + n < count && n < ODB_BATCH_FILES) {
			uint64_t size = size_of(items[at + n].path);
			if (bytes + size > ODB_BATCH_BYTES)
				break;
			bytes += size;
			n++;
		}
		struct watched watched = { .sink = sink, .items_before = at, .bytes_before = done_bytes };
		struct import_work work = { odb, items + at, n, &watched.meter, err, -1 };
		do_watched(&watched, import_aside, &work);
		if (work.status < 0)
			return -1;
		at += n;
		done_bytes += bytes;
		if (tell(sink, at, done_bytes, err) < 0)
			return -1;
	}
	return 0;
}

struct export_job {
	const struct odb *odb;
	struct odb_export *items;
	struct err *failures; /* of each item */
	struct meter *meter;
	bool *as_made; /* by item: a copy of what this process has verified */
};

bool odb_links_share(const struct odb_links *links)
{
	for (size_t i = 0; i < links->count && links->order[i] != ODB_COPY; i++)
		if (links->order[i] != ODB_REFLINK)
			return true;
	return false;
}

enum made { MADE_NOTHING, MADE_LINK, MADE_CLONE, MADE_BEFORE };

/* Not where the file system cannot, or not to this place. A link shares the object's mode, so the object gets the bit, as dvc does it. */
static bool link_object(const struct odb_export *item, enum odb_link type, const char *object)
{
	if (item->exec && sys.fchmodat(AT_FDCWD, object, 0544, 0) < 0)
		return false;
	return (type == ODB_HARDLINK ? sys.linkat(AT_FDCWD, object, AT_FDCWD, item->to, 0) : sys.symlinkat(object, AT_FDCWD, item->to)) == 0;
}

static mode_t mode_of(const struct odb_export *item)
{
	return item->exec ? 0766 : 0666;
}

/* By the first way that works; nothing where it is to be a copy. */
static enum made make_link(const struct odb_export *item, const char *object, bool empty)
{
	for (size_t i = 0; item->links && i < item->links->count; i++) {
		enum odb_link type = item->links->order[i];
		bool last = i + 1 == item->links->count || item->links->order[i + 1] == ODB_COPY;
		if (type == ODB_COPY || (type == ODB_REFLINK && last) || (type == ODB_HARDLINK && empty))
			break;
		if (type == ODB_REFLINK ? fs_clone_file(object, item->to, mode_of(item)) : link_object(item, type, object))
			return type == ODB_REFLINK ? MADE_CLONE : MADE_LINK;
	}
	return MADE_NOTHING;
}

/* Of several exports of one object the first that renames has it. */
static bool take_offered(const struct odb *odb, const struct odb_export *item)
{
	for (size_t i = 0; i < odb->offered.len; i++) {
		const struct odb_offered *offered = &odb->offered.at[i];
		struct stat st;
		struct fs_stamp now;
		if (!digest_eq(&offered->id.digest, &item->id.digest) || sys.fstatat(AT_FDCWD, offered->path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		fs_stamp_of(&now, &st);
		if (!fs_stamp_same(&offered->stamp, &now) ||
		    (item->exec && sys.fchmodat(AT_FDCWD, offered->path, (st.st_mode & 07777) | S_IXUSR, 0) < 0))
			continue;
		if (sys.renameat(AT_FDCWD, offered->path, AT_FDCWD, item->to) == 0)
			return true;
	}
	return false;
}

static void export_one(void *ctx, size_t i)
{
	struct export_job *job = ctx;
	struct odb_export *item = &job->items[i];
	struct buf object CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	odb_add_path(job->odb, &object, &item->id);
	item->ret_result = ODB_ABSENT;
	if (sys.fstatat(AT_FDCWD, object.data, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return;
	item->ret_result = ODB_OK;
	enum made made = make_link(item, object.data, st.st_size == 0);
	if (made == MADE_NOTHING && take_offered(job->odb, item))
		made = MADE_BEFORE;
	if (made != MADE_NOTHING)
		meter_add(job->meter, (uint64_t)st.st_size);
	if (made == MADE_LINK ||
	    (made == MADE_NOTHING && fs_copy_file_metered(object.data, item->to, mode_of(item), job->meter, &job->failures[i]) < 0))
		return;
	/* Looked at behind the copy: what was changed before its end shows. */
	struct stat copy;
	job->as_made[i] = sys.fstatat(AT_FDCWD, object.data, &st, AT_SYMLINK_NOFOLLOW) == 0 && odb_is_as_made(job->odb, &item->id, &st) &&
			  sys.fstatat(AT_FDCWD, item->to, &copy, AT_SYMLINK_NOFOLLOW) == 0 && copy.st_size == st.st_size;
	if (!job->as_made[i])
		return;
	fs_stamp_of(&item->ret_stamp, &copy);
	meter_add(job->meter, (uint64_t)st.st_size); /* which is not hashed */
}

/* Hashes what was made; what is wrong is removed again. */
static void verify_exports(struct odb_export *items, size_t count, const bool *as_made, struct meter *meter)
{
	struct digest_job *jobs = mem_alloc(count * sizeof(*jobs));
	size_t *index OWNED = mem_alloc(count * sizeof(*index));
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		if (items[i].ret_result != ODB_OK || as_made[i])
			continue;
		jobs[n] = (struct digest_job){ .path = items[i].to, .kind = items[i].id.digest.kind, .meter = meter };
		index[n++] = i;
	}
	digest_files_mixed(jobs, n);
	for (size_t i = 0; i < n; i++) {
		struct odb_export *item = &items[index[i]];
		item->ret_stamp = jobs[i].ret_stamp;
		if (jobs[i].ret_status == 0 && jobs[i].ret_stable && digest_eq(&jobs[i].ret, &item->id.digest))
			continue;
		item->ret_result = ODB_DAMAGED;
		sys.unlinkat(AT_FDCWD, item->to, 0);
	}
	jobs_release(jobs, n);
}

static int export_batch(struct odb *odb, struct odb_export *items, size_t count, struct meter *meter, struct err *err)
{
	struct err *failures OWNED = mem_alloc(count * sizeof(*failures));
	bool *as_made OWNED = mem_alloc(count * sizeof(*as_made));
	struct export_job job = { odb, items, failures, meter, as_made };
	int status = 0;
	pool_each(COPY_THREADS, count, export_one, &job);
	for (size_t i = 0; i < count; i++) {
		if (failures[i].code && status == 0)
			status = err_move(err, &failures[i]);
		err_release(&failures[i]);
	}
	if (status < 0 && err->sys_errno == EACCES)
		return err_hint(err, "its owner has to let you read it; cache.shared = group is for a cache that several users write to");
	if (status < 0)
		return -1;
	verify_exports(items, count, as_made, meter);
	return 0;
}

struct export_work {
	struct odb *odb;
	struct odb_export *items;
	size_t count;
	struct meter *meter;
	struct err *err;
	int status;
};

static void export_aside(void *ctx, size_t index)
{
	struct export_work *work = ctx;
	(void)index;
	work->status = export_batch(work->odb, work->items, work->count, work->meter, work->err);
}

int odb_export(struct odb *odb, struct odb_export *items, size_t count, const struct odb_sink *sink, struct err *err)
{
	uint64_t done_bytes = 0;
	for (size_t at = 0; at < count;) {
		size_t n = count - at < ODB_BATCH_FILES ? count - at : ODB_BATCH_FILES;
		struct watched watched = { .sink = sink, .items_before = at, .bytes_before = done_bytes };
		struct export_work work = { odb, items + at, n, &watched.meter, err, -1 };
		do_watched(&watched, export_aside, &work);
		if (work.status < 0)
			return -1;
		at += n;
		done_bytes = bytes_done(&watched);
		if (tell(sink, at, done_bytes, err) < 0)
			return -1;
	}
	return 0;
}
