/*
 * What happens to one object of an ssh remote: a chain of answers, each of which asks for the next thing.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/remote_sftp_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static char *remote_path(const struct sftp_slot *slot, const char *key)
{
	return mem_printf("%s/%s", sftp_root(slot->run->remote->sftp), key);
}

void sftp_slot_clear(struct sftp_slot *slot, bool keep)
{
	if (slot->stream)
		digest_drop(slot->stream);
	fs_close_fd(&slot->fd);
	if (slot->created && !keep)
		sys.unlinkat(AT_FDCWD, slot->item->path, 0);
	buf_release(&slot->handle);
	free(slot->path);
	free(slot->temp);
	*slot = (struct sftp_slot){ .run = slot->run, .fd = -1, .handle = BUF_INIT };
}

static void settle(struct sftp_slot *slot, bool keep)
{
	struct sftp_run *run = slot->run;
	run->settled++;
	if (slot->item->ret_state == REMOTE_DONE)
		run->bytes += slot->item->ret_size;
	sftp_slot_clear(slot, keep);
}

static void on_cleaned(void *ctx, const struct sftp_reply *reply);

void sftp_slot_begin_anew(struct sftp_slot *slot)
{
	err_release(&slot->item->ret_err);
	slot->item->ret_state = REMOTE_PENDING;
	sftp_slot_clear(slot, false);
}

/* The item has its state, or the connection is lost: takes down what is there when nothing is under way. */
static void wind_down(struct sftp_slot *slot)
{
	struct sftp *sftp = slot->run->remote->sftp;
	if (slot->waiting > 0)
		return;
	if (slot->lost) {
		sftp_slot_begin_anew(slot);
		return;
	}
	if (slot->handle.len) {
		slot->waiting++;
		sftp_ask_handle(sftp, SFTP_CLOSE, &slot->handle, on_cleaned, slot);
		buf_reset(&slot->handle);
	} else if (slot->temp) {
		char *temp OWNED = slot->temp;
		slot->temp = NULL;
		slot->waiting++;
		sftp_ask_path(sftp, SFTP_REMOVE, temp, on_cleaned, slot);
	} else
		settle(slot, false);
}

/* Counts the answer. False if the slot cannot go on with it. */
static bool heard(struct sftp_slot *slot, const struct sftp_reply *reply)
{
	slot->waiting--;
	if (!reply)
		slot->lost = true;
	if (!slot->failed && !slot->lost)
		return true;
	wind_down(slot);
	return false;
}

static void on_cleaned(void *ctx, const struct sftp_reply *reply)
{
	struct sftp_slot *slot = ctx;
	if (heard(slot, reply)) /* never: a slot that cleans up has failed */
		wind_down(slot);
}

static void give_up(struct sftp_slot *slot)
{
	slot->failed = true;
	wind_down(slot);
}

/* What the server says of a path or handle. */
static void refuse(struct sftp_slot *slot, const struct sftp_reply *reply, const char *what)
{
	struct remote_item *item = slot->item;
	struct buf why CLEANUP(buf_release) = BUF_INIT;
	text_add_printable(&why, reply->len ? reply->bytes : "no reason given", reply->len && reply->len < 200 ? reply->len : 200);
	err_set(&item->ret_err, ERR_NET, "the server cannot %s '%s': %s", what, item->key, why.data);
	if (reply->status == SFTP_PERMISSION_DENIED)
		err_hint(&item->ret_err, "may this user do that there?");
	item->ret_state = REMOTE_FAILED;
	give_up(slot);
}

static void fail_locally(struct sftp_slot *slot, const char *what)
{
	err_set_errno(&slot->item->ret_err, ERR_FAILED, errno, "cannot %s '%s'", what, slot->item->path);
	slot->item->ret_state = REMOTE_FAILED;
	give_up(slot);
}

static bool is_right(struct sftp_slot *slot)
{
	struct remote_item *item = slot->item;
	struct digest digest;
	if (!slot->stream)
		return true;
	digest_end(slot->stream, &digest);
	slot->stream = NULL;
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (slot->hash_again && digest_file(item->expect.kind, item->path, &digest, NULL, NULL, &err) < 0) {
		remote_item_failed(item, &err);
		return false;
	}
	if (digest_eq(&digest, &item->expect))
		return true;
	remote_item_wrong_digest(item, slot->put ? "the local copy" : "the remote copy", &digest);
	return false;
}

static struct chunk *free_chunk(struct sftp_slot *slot)
{
	for (size_t i = 0; i < SFTP_WINDOW; i++)
		if (!slot->chunks[i].busy)
			return &slot->chunks[i];
	return NULL;
}

/* Fetching. */

static void pump_get(struct sftp_slot *slot);

static void on_closed(void *ctx, const struct sftp_reply *reply)
{
	struct sftp_slot *slot = ctx;
	if (!heard(slot, reply))
		return;
	if (!is_right(slot)) {
		give_up(slot);
		return;
	}
	slot->item->ret_state = REMOTE_DONE;
	slot->item->ret_size = slot->size;
	settle(slot, true);
}

static void on_read(void *ctx, const struct sftp_reply *reply)
{
	struct chunk *chunk = ctx;
	struct sftp_slot *slot = chunk->slot;
	chunk->busy = false;
	if (!heard(slot, reply))
		return;
	if (reply->is_status && reply->status == SFTP_EOF) {
		remote_item_wrong_size(slot->item, "the remote copy", chunk->at); /* it became shorter */
		give_up(slot);
		return;
	}
	if (reply->is_status || reply->len == 0 || reply->len > chunk->len) {
		refuse(slot, reply, "read");
		return;
	}
	if (remote_write_at(slot->fd, reply->bytes, reply->len, chunk->at) < 0) {
		fail_locally(slot, "write");
		return;
	}
	if (slot->stream && chunk->at == slot->hashed) {
		digest_add(slot->stream, reply->bytes, reply->len);
		slot->hashed += reply->len;
	} else
		slot->hash_again = true;
	if (reply->len < chunk->len) { /* the rest of it */
		chunk->at += reply->len;
		chunk->len -= (uint32_t)reply->len;
		chunk->busy = true;
		slot->waiting++;
		slot->hash_again = slot->hash_again || slot->asked > chunk->at + chunk->len;
		sftp_read(slot->run->remote->sftp, &slot->handle, slot->item->from + chunk->at, chunk->len, on_read, chunk);
		return;
	}
	pump_get(slot);
}

static void pump_get(struct sftp_slot *slot)
{
	struct remote_sftp *remote = slot->run->remote;
	struct chunk *chunk;
	while (slot->asked < slot->size && (chunk = free_chunk(slot)) != NULL) {
		uint64_t left = slot->size - slot->asked;
		uint32_t len = left < SFTP_CHUNK ? (uint32_t)left : SFTP_CHUNK;
		if (!http_rate_take(&remote->rate, len, loop_now_ms()))
			break;
		*chunk = (struct chunk){ slot, slot->asked, len, true };
		slot->asked += chunk->len;
		slot->waiting++;
		sftp_read(remote->sftp, &slot->handle, slot->item->from + chunk->at, chunk->len, on_read, chunk);
	}
	if (slot->asked == slot->size && slot->waiting == 0 && slot->handle.len) {
		slot->waiting++;
		sftp_ask_handle(remote->sftp, SFTP_CLOSE, &slot->handle, on_closed, slot);
		buf_reset(&slot->handle);
	}
}

static void on_size(void *ctx, const struct sftp_reply *reply)
{
	struct sftp_slot *slot = ctx;
	struct remote_item *item = slot->item;
	if (!heard(slot, reply))
		return;
	if (!reply->has_attributes) {
		refuse(slot, reply, "tell the size of");
		return;
	}
	slot->size = reply->size;
	if (item->part && item->from <= slot->size && item->size <= slot->size - item->from)
		slot->size = item->size;
	if (item->size != REMOTE_SIZE_UNKNOWN && item->size != slot->size) {
		remote_item_wrong_size(item, "the remote copy", slot->size);
		give_up(slot);
		return;
	}
	if (item->size == REMOTE_SIZE_UNKNOWN && item->max_size && slot->size > item->max_size) {
		remote_item_too_large(item, slot->size);
		give_up(slot);
		return;
	}
	if (remote_item_create(item, &slot->fd, &item->ret_err) < 0) {
		item->ret_state = REMOTE_FAILED;
		give_up(slot);
		return;
	}
	slot->created = true;
	pump_get(slot);
}

static void on_opened_to_read(void *ctx, const struct sftp_reply *reply)
{
	struct sftp_slot *slot = ctx;
	if (!heard(slot, reply))
		return;
	if (reply->is_status && reply->status == SFTP_NO_SUCH_FILE) {
		remote_item_missing(slot->item, "on the remote");
		give_up(slot);
		return;
	}
	if (reply->is_status) {
		refuse(slot, reply, "open");
		return;
	}
	buf_add(&slot->handle, reply->bytes, reply->len);
	slot->waiting++;
	sftp_ask_handle(slot->run->remote->sftp, SFTP_FSTAT, &slot->handle, on_size, slot);
}

void sftp_begin_get(struct sftp_slot *slot)
{
	slot->path = remote_path(slot, slot->item->key);
	slot->stream = slot->item->expect.kind == DIGEST_NONE ? NULL : digest_begin(slot->item->expect.kind);
	slot->waiting++;
	sftp_open_file(slot->run->remote->sftp, slot->path, false, on_opened_to_read, slot);
}

/* Sending. */

static void on_renamed(void *ctx, const struct sftp_reply *reply)
{
	struct sftp_slot *slot = ctx;
	if (!heard(slot, reply))
		return;
	if (reply->status != SFTP_OK) {
		refuse(slot, reply, "put into place");
		return;
	}
	free(slot->temp);
	slot->temp = NULL;
	slot->item->ret_state = REMOTE_DONE;
	slot->item->ret_size = slot->size;
	settle(slot, true);
}

/* Answers to fsync, fstat and close; the last one renames. */
static void on_finished(void *ctx, const struct sftp_reply *reply)
{
	struct sftp_slot *slot = ctx;
	if (!heard(slot, reply))
		return;
	if (reply->is_status && reply->status != SFTP_OK) {
		refuse(slot, reply, "keep");
		return;
	}
	if (reply->has_attributes && reply->size != slot->size) {
		err_set(&slot->item->ret_err, ERR_NET, "the server has %" PRIu64 " bytes of '%s' where %" PRIu64 " were sent", reply->size, slot->item->key,
			slot->size);
		slot->item->ret_state = REMOTE_FAILED;
		give_up(slot);
		return;
	}
	if (reply->has_attributes && reply->modified_s > slot->run->remote->clock_s)
		slot->run->remote->clock_s = reply->modified_s;
	if (slot->waiting > 0)
		return;
	slot->waiting++;
	sftp_rename(slot->run->remote->sftp, slot->temp, slot->path, on_renamed, slot);
}

static void finish_put(struct sftp_slot *slot)
{
	struct sftp *sftp = slot->run->remote->sftp;
	if (sftp_has_fsync(sftp)) {
		slot->waiting++;
		sftp_fsync(sftp, &slot->handle, on_finished, slot);
	}
	slot->waiting += 2;
	sftp_ask_handle(sftp, SFTP_FSTAT, &slot->handle, on_finished, slot);
	sftp_ask_handle(sftp, SFTP_CLOSE, &slot->handle, on_finished, slot);
	buf_reset(&slot->handle);
}

static void pump_put(struct sftp_slot *slot);

static void on_written(void *ctx, const struct sftp_reply *reply)
{
	struct chunk *chunk = ctx;
	struct sftp_slot *slot = chunk->slot;
	chunk->busy = false;
	if (!heard(slot, reply))
		return;
	if (reply->status != SFTP_OK) {
		refuse(slot, reply, "write");
		return;
	}
	pump_put(slot);
}

static void pump_put(struct sftp_slot *slot)
{
	struct remote_sftp *remote = slot->run->remote;
	struct chunk *chunk;
	char bytes[SFTP_CHUNK];
	while (slot->asked < slot->size && (chunk = free_chunk(slot)) != NULL) {
		uint64_t left = slot->size - slot->asked;
		size_t want = left < SFTP_CHUNK ? (size_t)left : SFTP_CHUNK;
		if (!http_rate_take(&remote->rate, want, loop_now_ms()))
			return;
		ssize_t got = sys.pread(slot->fd, bytes, want, (off_t)slot->asked);
		if (got <= 0) {
			errno = got < 0 ? errno : EIO;
			fail_locally(slot, "read");
			return;
		}
		if (slot->stream)
			digest_add(slot->stream, bytes, (size_t)got);
		*chunk = (struct chunk){ slot, slot->asked, (uint32_t)got, true };
		slot->asked += (uint64_t)got;
		slot->waiting++;
		sftp_write(remote->sftp, &slot->handle, chunk->at, bytes, chunk->len, on_written, chunk);
	}
	if (slot->asked < slot->size || slot->waiting > 0 || !slot->handle.len)
		return;
	if (is_right(slot))
		finish_put(slot);
	else
		give_up(slot);
}

static void on_opened_to_write(void *ctx, const struct sftp_reply *reply)
{
	struct sftp_slot *slot = ctx;
	if (!heard(slot, reply))
		return;
	if (reply->is_status) {
		free(slot->temp);
		slot->temp = NULL;
		refuse(slot, reply, "create");
		return;
	}
	buf_add(&slot->handle, reply->bytes, reply->len);
	pump_put(slot);
}

void sftp_begin_put(struct sftp_slot *slot)
{
	struct remote_sftp *remote = slot->run->remote;
	slot->put = true;
	if (remote_item_open(slot->item, &slot->fd, &slot->size) < 0) {
		give_up(slot);
		return;
	}
	char *name OWNED = mem_printf("%s%zu", remote->temp, (size_t)(slot->item - slot->run->items));
	slot->path = remote_path(slot, slot->item->key);
	slot->temp = remote_path(slot, name);
	slot->stream = slot->item->expect.kind == DIGEST_NONE ? NULL : digest_begin(slot->item->expect.kind);
	slot->waiting++;
	sftp_open_file(remote->sftp, slot->temp, true, on_opened_to_write, slot);
}

/* Questions. */

static void on_stat(void *ctx, const struct sftp_reply *reply)
{
	struct sftp_slot *slot = ctx;
	struct remote_item *item = slot->item;
	if (!heard(slot, reply))
		return;
	if (reply->is_status && reply->status != SFTP_NO_SUCH_FILE) {
		refuse(slot, reply, "look at");
		return;
	}
	if (reply->is_status || (reply->mode && !S_ISREG(reply->mode))) {
		item->ret_state = REMOTE_MISSING;
	} else {
		item->ret_state = REMOTE_DONE;
		item->ret_size = reply->size;
		if (item->size != REMOTE_SIZE_UNKNOWN && item->size != reply->size)
			remote_item_wrong_size(item, "the remote copy", reply->size);
	}
	settle(slot, false);
}

void sftp_begin_check(struct sftp_slot *slot)
{
	slot->path = remote_path(slot, slot->item->key);
	slot->waiting++;
	sftp_ask_path(slot->run->remote->sftp, SFTP_STAT, slot->path, on_stat, slot);
}

static void on_removed(void *ctx, const struct sftp_reply *reply)
{
	struct sftp_slot *slot = ctx;
	if (!heard(slot, reply))
		return;
	if (reply->status != SFTP_OK && reply->status != SFTP_NO_SUCH_FILE) {
		refuse(slot, reply, "remove");
		return;
	}
	slot->item->ret_state = REMOTE_DONE;
	settle(slot, false);
}

void sftp_begin_remove(struct sftp_slot *slot)
{
	slot->path = remote_path(slot, slot->item->key);
	slot->waiting++;
	sftp_ask_path(slot->run->remote->sftp, SFTP_REMOVE, slot->path, on_removed, slot);
}

/* Whether it could be made shows when something is put into it: version 3 does not tell "exists" from other failures. */
static void on_made(void *ctx, const struct sftp_reply *reply)
{
	struct sftp_slot *slot = ctx;
	if (!heard(slot, reply))
		return;
	slot->item->ret_state = REMOTE_DONE;
	settle(slot, false);
}

void sftp_begin_make(struct sftp_slot *slot)
{
	slot->path = remote_path(slot, slot->item->key);
	slot->waiting++;
	sftp_ask_path(slot->run->remote->sftp, SFTP_MKDIR, slot->path, on_made, slot);
}

void sftp_slot_go_on(struct sftp_slot *slot)
{
	if (!slot->handle.len || slot->failed || slot->lost)
		return;
	if (slot->put)
		pump_put(slot);
	else if (slot->created)
		pump_get(slot);
}
