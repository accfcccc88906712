/*
 * Fetching in parts: each is written at its place, all of the version that the first answer named (If-Match), and a thread hashes as far as they are
 * there without a gap. A part that broke off goes on where it was, in this run or a later one (net/s3_partial.h).
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/remote_s3_large.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#define NOTE_EVERY (1u << 20)

/* So much is there from the beginning on. A digest takes longer than a copy, and whoever waits for both waits for the digest: as long as it is
 * behind, the processors are left to it and to the download. */
static void allow(struct s3_large *large, uint64_t bytes)
{
	bool waits = !large->hash || hash_job_at(large->hash) + HASH_LANES_LAG >= large->allowed;
	if (large->hash)
		hash_job_allow(large->hash, bytes);
	if (large->twinning && (waits || large->done == large->parts))
		hash_job_allow(large->twinning, bytes);
	large->allowed = bytes;
}

static void advance(struct s3_large *large)
{
	while (large->frontier < large->parts && large->have[large->frontier])
		large->frontier++;
	allow(large, large->frontier * large->part_size);
}

static void on_twinned(void *ctx, int status, const struct digest *none UNUSED, struct err *err UNUSED)
{
	struct s3_large *large = ctx;
	large->twinning = NULL;
	if (status < 0)
		s3_large_drop_twin(large);
	s3_large_maybe_finish(large);
}

/* What fails here leaves the object without a twin. */
static void begin_twin(struct s3_large *large)
{
	const struct remote_sink *sink = large->run->sink;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	large->twin = sink && sink->twin ? sink->twin(sink->ctx, large->item, large->size) : NULL;
	if (!large->twin)
		return;
	large->twin_fd = sys.openat(AT_FDCWD, large->twin, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (large->twin_fd < 0)
		large->twin = NULL;
	else if (sys.ficlone(large->twin_fd, large->fd) < 0)
		large->twinning = hash_job_start_copy(large->run->remote->loop, large->fd, large->twin_fd, large->size,
						      large->allowed, on_twinned, large, &ignored);
	if (!large->twinning)
		s3_large_drop_twin(large);
}

void s3_large_drop_twin(struct s3_large *large)
{
	hash_job_drop(large->twinning);
	large->twinning = NULL;
	fs_close_fd(&large->twin_fd);
	if (large->twin)
		sys.unlinkat(AT_FDCWD, large->twin, 0);
	large->twin = NULL;
}

/* Room for objects comes first. False if there was none to be had. */
static bool drop_twins(struct s3_run *run)
{
	bool any = false;
	for (size_t i = 0; i < run->larges.len; i++) {
		any = any || run->larges.at[i]->twin;
		s3_large_drop_twin(run->larges.at[i]);
	}
	for (size_t i = 0; i < run->count; i++) {
		if (!run->items[i].ret_twin)
			continue;
		any = sys.unlinkat(AT_FDCWD, run->items[i].ret_twin, 0) == 0 || any;
		run->items[i].ret_twin = NULL;
	}
	return any;
}

/* The file systems of some networks tell at the end what they could not write. */
static void finish_twin(struct s3_large *large)
{
	if (!large->twin)
		return;
	int closed = sys.close(large->twin_fd);
	large->twin_fd = -1;
	if (closed < 0) {
		s3_large_drop_twin(large);
		return;
	}
	large->item->ret_twin = large->twin;
	large->twin = NULL;
}

static void start(struct s3_large *large)
{
	struct s3_run *run = large->run;
	struct err err CLEANUP(err_release) = ERR_INIT;
	while (large->frontier < large->parts && large->have[large->frontier])
		large->frontier++;
	large->ready = true;
	large->allowed = large->frontier * large->part_size;
	if (s3_large_start_hash(large, large->allowed, &err) < 0) {
		s3_large_give_up_for(large, &err);
	} else {
		begin_twin(large);
		s3_large_maybe_finish(large);
	}
	s3_run_fill(run);
}

/* tmpfs makes all of the pages when it is asked for room, which takes as long as a good part of the download: it only says whether there is some. */
static int make_room(int fd, uint64_t size)
{
	struct statfs st;
	if (fstatfs(fd, &st) == 0 && st.f_type == TMPFS_MAGIC) {
		errno = ENOSPC;
		return st.f_blocks && (uint64_t)st.f_bavail * (uint64_t)st.f_bsize < size ? -1 : sys.ftruncate(fd, (off_t)size);
	}
	return sys.fallocate(fd, 0, 0, (off_t)size) < 0 && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL ? -1 : 0;
}

void s3_large_get(struct s3_slot *slot, uint64_t size)
{
	struct s3_large *large = s3_large_new(slot, size, 0);
	const struct remote_s3 *remote = slot->run->remote;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf etag = BUF_INIT;
	uint64_t first = slot->moved;
	large->etag = http_header(&slot->op.request, "etag", &etag) ? buf_detach(&etag) : NULL;
	slot->created = false;
	s3_slot_clear(slot, true);
	if (make_room(large->fd, size) < 0) {
		err_set_errno(&err, ERR_FAILED, errno, "no room for '%s'", large->item->path);
		s3_large_give_up_for(large, &err);
		return;
	}
	if (large->etag)
		s3_partial_begin(&large->partial, remote->partial_dir, s3_place(remote->s3), large->key, &large->item->expect, large->item->path, size,
				 large->part_size, large->etag);
	/* The first is there, if parts are of the usual size. */
	if (first == s3_large_part_len(large, 0)) {
		large->have[0] = true;
		large->done = 1;
		s3_large_count(large, first);
		s3_partial_note(&large->partial, 0, first);
	}
	start(large);
}

bool s3_large_go_on(struct s3_slot *slot)
{
	const struct remote_s3 *remote = slot->run->remote;
	const struct remote_item *item = slot->item;
	struct s3_partial partial;
	int fd = s3_partial_open(&partial, remote->partial_dir, s3_place(remote->s3), slot->key, &item->expect);
	if (fd < 0)
		return false;
	if ((item->size != REMOTE_SIZE_UNKNOWN && item->size != partial.size) ||
	    (item->size == REMOTE_SIZE_UNKNOWN && item->max_size && partial.size > item->max_size)) {
		fs_close_fd(&fd);
		s3_partial_drop(&partial);
		return false;
	}
	slot->fd = fd;
	struct s3_large *large = s3_large_new(slot, partial.size, partial.part_size);
	s3_slot_clear(slot, true);
	large->resumed = true;
	large->partial = partial;
	large->etag = mem_strdup(partial.etag);
	for (unsigned i = 0; i < large->parts; i++) {
		large->have[i] = partial.there[i] == s3_large_part_len(large, i);
		large->done += large->have[i];
		s3_large_count(large, partial.there[i]);
	}
	start(large);
	return true;
}

/* What an earlier run left is of no use: the object is another one now, or gone. */
static void begin_anew(struct s3_slot *slot)
{
	struct s3_large *large = slot->large;
	struct remote_item *item = large->item;
	struct s3_run *run = large->run;
	s3_large_stop(large);
	s3_large_uncount(large);
	s3_partial_drop(&large->partial);
	s3_large_remove(large);
	run->begin(slot, item);
	s3_run_fill(run);
}

static bool ask_for_the_rest(struct s3_op *op)
{
	struct s3_slot *slot = op->ctx;
	const struct s3_large *large = slot->large;
	uint64_t from = slot->part * large->part_size, len = s3_large_part_len(large, slot->part);
	if (slot->moved == len) /* it broke off behind the last byte */
		slot->moved = len - 1;
	slot->from = slot->moved;
	strlist_release(&op->headers);
	strlist_take(&op->headers, mem_printf("range: bytes=%" PRIu64 "-%" PRIu64, from + slot->from, from + len - 1));
	if (large->etag)
		strlist_take(&op->headers, mem_printf("if-match: %s", large->etag));
	return true;
}

static bool is_what_was_asked_for(const struct s3_slot *slot, const struct http_request *request)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	char *due OWNED = mem_printf("bytes %" PRIu64 "-", slot->part * slot->large->part_size + slot->from);
	return http_header(request, "content-range", &value) && text_starts(value.data, due);
}

static bool take_part_bytes(struct http_request *request, const void *bytes, size_t len)
{
	struct s3_op *op = request->ctx;
	struct s3_slot *slot = op->ctx;
	struct s3_large *large = slot->large;
	if (len > s3_large_part_len(large, slot->part) - slot->moved || (slot->moved == slot->from && !is_what_was_asked_for(slot, request))) {
		slot->damaged = true;
		err_set(&request->ret_err, ERR_NET, "the server sent other bytes of '%s' than were asked for", large->item->key);
		return false;
	}
	const char *from = bytes;
	for (size_t left = len; left > 0;) {
		ssize_t put = sys.pwrite(large->fd, from, left, (off_t)(slot->part * large->part_size + slot->moved));
		int number = errno;
		if (put < 0 && (number == EINTR || (number == ENOSPC && drop_twins(large->run))))
			continue;
		if (put < 0) {
			err_set_errno(&request->ret_err, ERR_FAILED, number, "cannot write '%s'", large->item->path);
			return false;
		}
		from += put;
		left -= (size_t)put;
		slot->moved += (uint64_t)put;
	}
	s3_large_count(large, len);
	/* But for the last byte, which may be fetched once more (ask_for_the_rest). */
	if (slot->part == large->frontier && slot->moved / NOTE_EVERY != (slot->moved - len) / NOTE_EVERY)
		allow(large, slot->part * large->part_size + slot->moved - 1);
	if (large->partial.path && slot->moved - large->partial.there[slot->part] >= NOTE_EVERY)
		s3_partial_note(&large->partial, slot->part, slot->moved);
	return true;
}

static void on_part_fetched(struct s3_op *op)
{
	struct s3_slot *slot = op->ctx;
	struct s3_large *large = slot->large;
	uint64_t len = s3_large_part_len(large, slot->part);
	bool is_other = op->ret_outcome == S3_CHANGED || op->ret_outcome == S3_ABSENT || op->ret_outcome == S3_RANGE;
	if (is_other && large->resumed) {
		begin_anew(slot);
		return;
	}
	if (op->ret_outcome == S3_OK && slot->moved != len) {
		op->ret_outcome = S3_FAILED;
		slot->damaged = true;
		err_set(&op->ret_err, ERR_NET, "the server sent %" PRIu64 " bytes of '%s' where %" PRIu64 " were asked for", slot->moved - slot->from,
			large->item->key, len - slot->from);
	} else if (op->ret_outcome == S3_CHANGED) {
		op->ret_outcome = S3_FAILED;
		err_set(&op->ret_err, ERR_DATA, "'%s' changed on the remote while it was fetched", large->item->key);
	}
	if (op->ret_outcome == S3_FAILED && slot->damaged && !slot->second) { /* the wire may be at fault */
		slot->second = true;
		slot->damaged = false;
		s3_start(large->run->remote->s3, op);
		return;
	}
	s3_partial_note(&large->partial, slot->part, slot->moved);
	if (op->ret_outcome != S3_OK) {
		large->is_gone = is_other || op->ret_err.code != ERR_NET;
		s3_large_give_up_for_op(large, op);
		return;
	}
	/* The disk goes on with it while the next ones come: whoever syncs the whole then waits for the last alone. A hint, so it may fail. */
	sys.sync_file_range(large->fd, (off_t)(slot->part * large->part_size), (off_t)len, SYNC_FILE_RANGE_WRITE);
	large->have[slot->part] = true;
	large->running--;
	large->done++;
	large->run->flow.work += len;
	s3_slot_clear(slot, true);
	advance(large);
	s3_large_maybe_finish(large);
}

void s3_large_begin_get_part(struct s3_slot *slot, struct s3_large *large)
{
	struct s3_op *op = &slot->op;
	slot->moved = large->partial.path ? large->partial.there[slot->part] : 0;
	op->method = "GET";
	op->on_try = ask_for_the_rest;
	op->on_data = take_part_bytes;
	op->done = on_part_fetched;
	op->use = S3_USE_READ;
	s3_start(slot->run->remote->s3, op);
}

void s3_large_finish_get(struct s3_large *large)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct remote_item *item = large->item;
	if (large->partial.path && s3_partial_finish(&large->partial, large->fd, item->path, &err) < 0) {
		large->is_gone = true;
		remote_item_failed(item, &err);
		return;
	}
	finish_twin(large);
	item->ret_state = REMOTE_DONE;
	item->ret_size = large->size;
}

void s3_large_leave(struct s3_large *large)
{
	if (large->partial.path && !large->is_gone && large->item->ret_state != REMOTE_DAMAGED) {
		s3_partial_release(&large->partial);
		return;
	}
	bool moved_away = large->partial.path != NULL;
	s3_partial_drop(&large->partial);
	if (!moved_away)
		sys.unlinkat(AT_FDCWD, large->item->path, 0);
}
