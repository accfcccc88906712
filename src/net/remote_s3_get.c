/*
 * Fetching objects that come in one request. What arrives is written and hashed at once; an object that is not what it should be is
 * fetched once more, since the wire may have been at fault, and its file removed.
 *
 * Where the size is not known, or is large, only the first part is asked for; the answer says how much more there is.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/http_answer.h"
#include "net/remote_s3_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void on_fetched(struct s3_op *op);

static bool open_target(struct s3_slot *slot, struct err *err)
{
	if (slot->fd >= 0)
		return true;
	slot->created = remote_item_create(slot->item, &slot->fd, err) == 0;
	return slot->created;
}

static bool start_over(struct s3_op *op)
{
	struct s3_slot *slot = op->ctx;
	if (slot->stream)
		digest_drop(slot->stream);
	slot->stream = slot->item->expect.kind == DIGEST_NONE ? NULL : digest_begin(slot->item->expect.kind);
	slot->moved = slot->from = 0;
	if (slot->fd >= 0 && sys.ftruncate(slot->fd, 0) < 0) {
		err_set_errno(&op->request.ret_err, ERR_FAILED, errno, "cannot empty '%s'", slot->item->path);
		return false;
	}
	return true;
}

/* What came of the object: only what was asked for, where that is a part of it. */
static bool cut_part(struct s3_slot *slot, struct http_request *request, const char **bytes, size_t *len)
{
	const struct remote_item *item = slot->item;
	uint64_t arrived = slot->from;
	slot->from += *len;
	if (!item->part || http_take_range(request, item->from, item->size, arrived, bytes, len))
		return true;
	slot->damaged = true;
	err_set(&request->ret_err, ERR_NET, "the server sent other bytes of '%s' than were asked for", item->key);
	return false;
}

static bool take_bytes(struct http_request *request, const void *from, size_t len)
{
	struct s3_op *op = request->ctx;
	struct s3_slot *slot = op->ctx;
	const struct remote_item *item = slot->item;
	const char *bytes = from;
	if (!open_target(slot, &request->ret_err) || !cut_part(slot, request, &bytes, &len))
		return false;
	if (item->size != REMOTE_SIZE_UNKNOWN && len > item->size - slot->moved) {
		slot->damaged = true;
		err_set(&request->ret_err, ERR_DATA, "the remote copy of '%s' is larger than the %" PRIu64 " bytes expected", item->key,
			item->size);
		return false;
	}
	if (item->size == REMOTE_SIZE_UNKNOWN && item->max_size && len > item->max_size - slot->moved) {
		slot->damaged = slot->second = true; /* the wire is not at fault */
		err_set(&request->ret_err, ERR_DATA, "the remote copy of '%s' is larger than the %" PRIu64 " bytes that it may have", item->key,
			item->max_size);
		return false;
	}
	if (remote_write_at(slot->fd, bytes, len, slot->moved) < 0) {
		err_set_errno(&request->ret_err, ERR_FAILED, errno, "cannot write '%s'", item->path);
		return false;
	}
	if (slot->stream)
		digest_add(slot->stream, bytes, len);
	slot->moved += len;
	return true;
}

/* The whole object's size, where a part of it was sent ("Content-Range: bytes 0-99/1234"). */
static uint64_t total_size(const struct s3_slot *slot)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	uint64_t total;
	const char *range = slot->op.request.ret_status == 206 ? http_header(&slot->op.request, "content-range", &value) : NULL;
	const char *slash = range && text_starts(range, "bytes 0-") ? strchr(range, '/') : NULL;
	return slash && text_parse_u64(slash + 1, &total) ? total : slot->moved;
}

static void settle(struct s3_slot *slot, bool keep)
{
	struct s3_run *run = slot->run;
	struct remote_item *item = slot->item;
	s3_slot_clear(slot, keep);
	s3_run_settled(run, item);
	s3_run_fill(run);
}

/* Whether size and digest are the item's; else it is marked as damaged. */
static bool is_right(struct s3_slot *slot, uint64_t total)
{
	struct remote_item *item = slot->item;
	if (item->size != REMOTE_SIZE_UNKNOWN && item->size != slot->moved) {
		remote_item_wrong_size(item, "the remote copy", slot->moved);
		return false;
	}
	if (total != slot->moved) {
		item->ret_state = REMOTE_DAMAGED;
		err_set(&item->ret_err, ERR_DATA, "the server sent %" PRIu64 " bytes of '%s' where it has %" PRIu64, slot->moved, item->key, total);
		return false;
	}
	return !slot->stream || remote_item_check_stream(item, &slot->stream, "the remote copy");
}

static void fetch_again(struct s3_slot *slot)
{
	slot->second = true;
	slot->damaged = false;
	err_release(&slot->item->ret_err);
	slot->item->ret_state = REMOTE_PENDING;
	s3_start(slot->run->remote->s3, &slot->op);
}

static void finish(struct s3_slot *slot)
{
	struct remote_item *item = slot->item;
	if (!open_target(slot, &slot->op.ret_err)) {
		remote_item_failed(item, &slot->op.ret_err);
		settle(slot, false);
		return;
	}
	uint64_t total = item->part ? slot->moved : total_size(slot);
	if (total > INT64_MAX) {
		item->ret_state = REMOTE_DAMAGED;
		err_set(&item->ret_err, ERR_DATA, "the server says that '%s' has %" PRIu64 " bytes, more than a file can have", item->key, total);
		settle(slot, false);
		return;
	}
	if (item->size == REMOTE_SIZE_UNKNOWN && item->max_size && total > item->max_size) {
		remote_item_too_large(item, total);
		settle(slot, false);
		return;
	}
	if (!item->part && total > slot->moved && slot->moved == slot->run->part && (item->size == REMOTE_SIZE_UNKNOWN || item->size == total)) {
		s3_large_get(slot, total);
		return;
	}
	if (is_right(slot, total)) {
		item->ret_size = slot->moved;
		item->ret_state = REMOTE_DONE;
		settle(slot, true);
	} else if (!slot->second) {
		fetch_again(slot);
	} else {
		settle(slot, false);
	}
}

static void on_fetched(struct s3_op *op)
{
	struct s3_slot *slot = op->ctx;
	struct s3_run *run = slot->run;
	struct remote_item *item = slot->item;
	switch (op->ret_outcome) {
	case S3_RANGE: /* nothing to take a part of: it is empty */
	case S3_OK:
		finish(slot);
		return;
	case S3_ABSENT:
		remote_item_missing(item, "on the remote");
		settle(slot, false);
		return;
	case S3_CHANGED:
		err_set(&op->ret_err, ERR_NET, "the server refuses '%s' (status %u)", item->key, op->request.ret_status);
		break;
	case S3_FAILED:
		if (slot->damaged && !slot->second) {
			fetch_again(slot);
			return;
		}
		break;
	}
	s3_run_failed(run, item, op, slot->damaged);
	s3_slot_clear(slot, false);
	s3_run_fill(run);
}

void s3_begin_get(struct s3_slot *slot, struct remote_item *item)
{
	s3_slot_use(slot, item, "GET");
	if (slot->run->partials && !item->part && s3_large_go_on(slot))
		return;
	if (item->part)
		strlist_take(&slot->op.headers, mem_printf("range: bytes=%" PRIu64 "-%" PRIu64, item->from, item->from + item->size - 1));
	else if (item->size == REMOTE_SIZE_UNKNOWN || item->size > slot->run->large)
		strlist_take(&slot->op.headers, mem_printf("range: bytes=0-%" PRIu64, slot->run->part - 1));
	slot->op.bulk = item->size != REMOTE_SIZE_UNKNOWN && item->size > S3_SMALL;
	slot->op.on_try = start_over;
	slot->op.on_data = take_bytes;
	slot->op.done = on_fetched;
	slot->op.use = S3_USE_READ;
	s3_start(slot->run->remote->s3, &slot->op);
}
