/*
 * A web or WebDAV server as a remote. Each object is one request, many side by side.
 *
 * A web server: HEAD, GET, and for uploads POST or PUT straight to the object's address, as dvc does. It cannot be listed.
 * WebDAV (RFC 4918): uploads go to a name of their own in .mlmake-tmp and are moved into place, so that nobody sees a part of one; collections are
 * made first; PROPFIND lists.
 *
 * What arrives is hashed on the way, and fetched once more if it is not what its name says; what is sent is hashed, too, and its last piece held
 * back if it is wrong.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/http_answer.h"
#include "net/remote_impl.h"
#include "net/web.h"
#include "net/web_list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TELL_MS 100
#define TEMP_DIR WEB_TEMP_DIR

struct remote_web {
	struct remote remote;
	struct loop *loop;
	struct web *web;
	char *temp; /* WebDAV: what temporary names begin with */
	int64_t clock_s; /* of the server, when it last took something */
	bool swept; /* of what earlier puts left */
};

struct web_run;
struct web_slot {
	struct web_run *run;
	struct remote_item *item; /* NULL: free */
	struct web_op op;
	char *temp;               /* the name that is uploaded to, until it is moved */
	int fd;
	bool created;             /* get: item->path is ours to remove */
	bool damaged;             /* the bytes are not the item's: ret_err says more */
	bool second;              /* get: it came damaged once and is fetched again */
	bool by_get;              /* check: the server knows no HEAD */
	struct digest_stream *stream;
	uint64_t moved, arrived;  /* arrived: get, also what is not the item's part */
};

typedef void web_begin_fn(struct web_slot *slot);
struct web_run {
	struct remote_web *remote;
	struct remote_item *items;
	size_t count, next, settled;
	uint64_t bytes;
	web_begin_fn *begin;
	struct web_slot *slots;
	size_t slot_count;
	bool stopped;
	const struct remote_sink *sink;
	struct err *err; /* why it stopped */
};

static void slot_clear(struct web_slot *slot, bool keep)
{
	web_op_release(&slot->op);
	if (slot->stream)
		digest_drop(slot->stream);
	fs_close_fd(&slot->fd);
	if (slot->created && !keep)
		sys.unlinkat(AT_FDCWD, slot->item->path, 0);
	free(slot->temp);
	*slot = (struct web_slot){ .run = slot->run, .fd = -1, .op = WEB_OP_INIT };
}

static void fill(struct web_run *run);

/* The item has its ret_state. */
static void settle(struct web_slot *slot, bool keep)
{
	struct web_run *run = slot->run;
	run->settled++;
	if (slot->item->ret_state == REMOTE_DONE)
		run->bytes += slot->item->ret_size;
	slot_clear(slot, keep);
	fill(run);
}

/* By what the op failed with; what is hopeless ends the run. */
static void settle_failed(struct web_slot *slot)
{
	struct web_run *run = slot->run;
	struct web_op *op = &slot->op;
	struct remote_item *item = slot->item;
	if (op->ret_outcome == WEB_CONFLICT)
		err_set(&op->ret_err, ERR_NET, "the server refuses '%s' (status 409): the collection above it is missing", item->key);
	else if (op->ret_outcome == WEB_ABSENT)
		err_set(&op->ret_err, ERR_NET, "the server knows no %s at %s (status %u)", op->method, op->url.data, op->request.ret_status);
	if (op->ret_hopeless) { /* the item stays pending: the run's error is the reason */
		if (!run->stopped)
			err_move(run->err, &op->ret_err);
		run->stopped = true;
	} else {
		remote_item_failed(item, &op->ret_err);
		if (slot->damaged)
			item->ret_state = REMOTE_DAMAGED;
	}
	settle(slot, false);
}

static void slot_request(struct web_slot *slot, const char *method, const char *key, void (*done)(struct web_op *op))
{
	web_op_release(&slot->op);
	slot->op.method = method;
	slot->op.key = key;
	slot->op.done = done;
	slot->op.ctx = slot;
}

static void slot_start(struct web_slot *slot)
{
	web_start(slot->run->remote->web, &slot->op);
}

static void fill(struct web_run *run)
{
	for (size_t i = 0; i < run->slot_count && !run->stopped && run->next < run->count; i++) {
		if (run->slots[i].item || web_is_at_limit(run->remote->web))
			continue;
		run->slots[i].item = &run->items[run->next++];
		run->begin(&run->slots[i]);
	}
}

static int step_until_settled(struct web_run *run, struct err *err)
{
	uint64_t told = loop_now_ms();
	fill(run);
	while (!run->stopped && run->settled < run->count) {
		if (loop_step(run->remote->loop, TELL_MS, err) < 0)
			return -1;
		fill(run);
		if (loop_now_ms() - told < TELL_MS)
			continue;
		told = loop_now_ms();
		if (remote_tell(run->sink, run->settled, run->bytes, err) < 0)
			return -1;
	}
	return run->stopped ? -1 : remote_tell(run->sink, run->settled, run->bytes, err);
}

static int run_items(struct remote_web *remote, struct remote_item *items, size_t count, web_begin_fn *begin, const struct remote_sink *sink,
		     struct err *err)
{
	struct web_run run = { .remote = remote, .items = items, .count = count, .begin = begin, .sink = sink, .err = err };
	run.slot_count = web_connections(remote->web);
	if (run.slot_count > count)
		run.slot_count = count;
	run.slots = mem_alloc((run.slot_count + 1) * sizeof(*run.slots));
	for (size_t i = 0; i < run.slot_count; i++)
		run.slots[i] = (struct web_slot){ .run = &run, .fd = -1, .op = WEB_OP_INIT };
	int status = step_until_settled(&run, err);
	run.stopped = true; /* nothing starts while things are taken down */
	for (size_t i = 0; i < run.slot_count; i++)
		slot_clear(&run.slots[i], false);
	free(run.slots);
	return status;
}

/* What is there? */

static void on_head(struct web_op *op);

static bool drop_body(struct http_request *request, const void *bytes UNUSED, size_t len UNUSED)
{
	err_set(&request->ret_err, ERR_NET, "more than asked for"); /* only the headers are wanted */
	return false;
}

static void begin_check(struct web_slot *slot)
{
	slot_request(slot, slot->by_get ? "GET" : "HEAD", slot->item->key, on_head);
	if (slot->by_get)
		slot->op.on_data = drop_body;
	slot_start(slot);
}

static void on_head(struct web_op *op)
{
	struct web_slot *slot = op->ctx;
	struct remote_item *item = slot->item;
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	bool cut = slot->by_get && op->ret_outcome == WEB_FAILED && op->request.ret_headers.len && op->ret_err.message &&
		   text_eq(op->ret_err.message, "more than asked for");
	if (op->ret_outcome == WEB_UNABLE && !slot->by_get) {
		slot->by_get = true;
		begin_check(slot);
	} else if (op->ret_outcome == WEB_OK || cut) {
		item->ret_state = REMOTE_DONE;
		http_stamp(&op->request, item->ret_stamp);
		item->ret_size = item->size == REMOTE_SIZE_UNKNOWN ? 0 : item->size;
		if (http_header(&op->request, "content-length", &value) && text_parse_u64(value.data, &item->ret_size) &&
		    item->size != REMOTE_SIZE_UNKNOWN && item->size != item->ret_size)
			remote_item_wrong_size(item, "the remote copy", item->ret_size);
		settle(slot, false);
	} else if (op->ret_outcome == WEB_ABSENT) {
		item->ret_state = REMOTE_MISSING;
		settle(slot, false);
	} else
		settle_failed(slot);
}

static int check_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	return run_items((struct remote_web *)remote, items, count, begin_check, sink, err);
}

/* Fetching. */

static bool open_target(struct web_slot *slot, struct err *err)
{
	if (slot->fd >= 0)
		return true;
	slot->created = remote_item_create(slot->item, &slot->fd, err) == 0;
	return slot->created;
}

static void hash_from_start(struct web_slot *slot)
{
	if (slot->stream)
		digest_drop(slot->stream);
	slot->stream = slot->item->expect.kind == DIGEST_NONE ? NULL : digest_begin(slot->item->expect.kind);
	slot->moved = slot->arrived = 0;
}

static bool get_again(struct web_op *op)
{
	struct web_slot *slot = op->ctx;
	hash_from_start(slot);
	if (slot->fd < 0 || (sys.ftruncate(slot->fd, 0) == 0 && lseek(slot->fd, 0, SEEK_SET) == 0))
		return true;
	err_set_errno(&op->request.ret_err, ERR_FAILED, errno, "cannot empty '%s'", slot->item->path);
	return false;
}

static bool take_bytes(struct http_request *request, const void *from, size_t len)
{
	struct web_op *op = request->ctx;
	struct web_slot *slot = op->ctx;
	const struct remote_item *item = slot->item;
	const char *bytes = from;
	uint64_t arrived = slot->arrived;
	uint64_t most = item->size != REMOTE_SIZE_UNKNOWN ? item->size : item->max_size ? item->max_size : UINT64_MAX;
	if (!open_target(slot, &request->ret_err))
		return false;
	slot->arrived += len;
	if (item->part && !http_take_range(request, item->from, item->size, arrived, &bytes, &len)) {
		slot->damaged = true;
		err_set(&request->ret_err, ERR_NET, "the server sent other bytes of '%s' than were asked for", item->key);
		return false;
	}
	if (len > most - slot->moved) {
		slot->damaged = true;
		err_set(&request->ret_err, ERR_DATA, "the remote copy of '%s' is larger than the %" PRIu64 " bytes expected", item->key, most);
		return false;
	}
	if (fs_write_all(slot->fd, bytes, len) < 0) {
		err_set_errno(&request->ret_err, ERR_FAILED, errno, "cannot write '%s'", item->path);
		return false;
	}
	if (slot->stream)
		digest_add(slot->stream, bytes, len);
	slot->moved += len;
	return true;
}

/* Whether size and digest are the item's; else it is marked as damaged. */
static bool is_right(struct web_slot *slot)
{
	struct remote_item *item = slot->item;
	if (item->size != REMOTE_SIZE_UNKNOWN && item->size != slot->moved) {
		remote_item_wrong_size(item, "the remote copy", slot->moved);
		return false;
	}
	return !slot->stream || remote_item_check_stream(item, &slot->stream, "the remote copy");
}

static void on_fetched(struct web_op *op)
{
	struct web_slot *slot = op->ctx;
	struct remote_item *item = slot->item;
	if (op->ret_outcome == WEB_ABSENT) {
		remote_item_missing(item, "on the remote");
		settle(slot, false);
		return;
	}
	if (item->part && op->request.ret_status == 416) {
		remote_item_wrong_size(item, "the remote copy", 0);
		settle(slot, false);
		return;
	}
	bool came = op->ret_outcome == WEB_OK && open_target(slot, &op->ret_err);
	if (came && is_right(slot)) {
		item->ret_size = slot->moved;
		item->ret_state = REMOTE_DONE;
		settle(slot, true);
	} else if ((came || slot->damaged) && !slot->second) {
		slot->second = true;
		slot->damaged = false;
		err_release(&item->ret_err);
		item->ret_state = REMOTE_PENDING;
		slot_start(slot);
	} else if (came)
		settle(slot, false);
	else
		settle_failed(slot);
}

static void begin_get(struct web_slot *slot)
{
	slot_request(slot, "GET", slot->item->key, on_fetched);
	slot->op.bulk = slot->item->size != REMOTE_SIZE_UNKNOWN && slot->item->size > ((uint64_t)128 << 10);
	if (slot->item->part)
		strlist_take(&slot->op.headers, mem_printf("Range: bytes=%" PRIu64 "-%" PRIu64, slot->item->from, slot->item->from + slot->item->size - 1));
	slot->op.on_try = get_again;
	slot->op.on_data = take_bytes;
	slot_start(slot);
}

static int get_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	return run_items((struct remote_web *)remote, items, count, begin_get, sink, err);
}

/* Sending. */

static bool put_again(struct web_op *op)
{
	hash_from_start(op->ctx);
	return true;
}

static bool hash_sent(struct http_request *request, const void *bytes, size_t len)
{
	struct web_op *op = request->ctx;
	struct web_slot *slot = op->ctx;
	slot->moved += len;
	if (!slot->stream)
		return true;
	digest_add(slot->stream, bytes, len);
	if (slot->moved < op->body_len)
		return true;
	if (remote_item_check_stream(slot->item, &slot->stream, "the local copy"))
		return true;
	slot->damaged = true;
	err_move(&request->ret_err, &slot->item->ret_err);
	return false;
}

static void on_moved(struct web_op *op)
{
	struct web_slot *slot = op->ctx;
	if (op->ret_outcome != WEB_OK) {
		settle_failed(slot);
		return;
	}
	slot->run->remote->clock_s = http_date(&op->request);
	slot->item->ret_state = REMOTE_DONE;
	slot->item->ret_size = slot->moved;
	settle(slot, false);
}

static void on_sent(struct web_op *op)
{
	struct web_slot *slot = op->ctx;
	if (op->ret_outcome != WEB_OK || !slot->temp) {
		on_moved(op);
		return;
	}
	slot_request(slot, "MOVE", slot->temp, on_moved);
	op->to_key = slot->item->key;
	slot_start(slot);
}

/* Nothing passes through hash_sent where there is nothing to send. */
static bool is_right_empty(struct web_slot *slot)
{
	hash_from_start(slot);
	return is_right(slot);
}

static void begin_put(struct web_slot *slot)
{
	struct remote_web *remote = slot->run->remote;
	uint64_t size = 0;
	if (remote_item_open(slot->item, &slot->fd, &size) < 0 || (size == 0 && !is_right_empty(slot))) {
		settle(slot, false);
		return;
	}
	if (remote->temp)
		slot->temp = mem_printf("%s%zu", remote->temp, (size_t)(slot->item - slot->run->items));
	slot_request(slot, web_upload_method(remote->web), slot->temp ? slot->temp : slot->item->key, on_sent);
	slot->op.body_len = size;
	if (size > 0) {
		slot->op.body_fd = slot->fd;
		slot->op.bulk = size > ((uint64_t)128 << 10);
		slot->op.on_body = hash_sent;
	}
	slot->op.on_try = put_again;
	slot_start(slot);
}

/* Collections. MKCOL of one that is there is answered with 405. */

static void on_made(struct web_op *op)
{
	struct web_slot *slot = op->ctx;
	if (op->ret_outcome != WEB_OK && op->ret_outcome != WEB_UNABLE && op->ret_outcome != WEB_CONFLICT) {
		settle_failed(slot);
		return;
	}
	slot->item->ret_state = REMOTE_DONE; /* a conflict shows when something is put there */
	settle(slot, false);
}

static void begin_make(struct web_slot *slot)
{
	slot_request(slot, "MKCOL", slot->item->key, on_made);
	slot_start(slot);
}

/* The remote's root, and what is above it if need be. */
static int make_root(struct web *web, struct err *err)
{
	const char *path = web_path(web);
	bool down = false;
	for (size_t at = strlen(path); at > 0;) {
		struct web_op op CLEANUP(web_op_release) = WEB_OP_INIT;
		char *above OWNED = mem_strndup(path, at);
		op.method = "MKCOL";
		op.key = above;
		op.of_host = true;
		if (web_run(web, &op, err) < 0)
			return -1;
		bool absent = op.ret_outcome == WEB_CONFLICT || op.ret_outcome == WEB_ABSENT;
		if (at == strlen(path) && (!absent || down))
			break;
		if (!absent || down) { /* what is above is there now */
			down = true;
			at += 1 + strcspn(path + at + 1, "/");
		} else
			while (at > 0 && path[--at] != '/')
				;
	}
	return 0; /* what is wrong shows when something is put there */
}

/* The collections that the items are in, those above first. */
static int make_collections(struct remote_web *remote, const struct remote_item *items, size_t count, struct err *err)
{
	struct strlist names CLEANUP(strlist_release) = { 0 };
	if (make_root(remote->web, err) < 0)
		return -1;
	remote_parents(items, count, TEMP_DIR, &names);
	struct remote_item *made OWNED = mem_alloc(names.len * sizeof(*made));
	for (size_t i = 0; i < names.len; i++)
		made[i] = (struct remote_item){ .key = names.at[i] };
	int status = 0;
	for (size_t at = 0, n; at < names.len && status == 0; at += n) {
		n = remote_same_depth(&names, at);
		status = run_items(remote, made + at, n, begin_make, NULL, err);
	}
	for (size_t i = 0; i < names.len; i++)
		err_release(&made[i].ret_err);
	return status;
}

static void on_removed(struct web_op *op)
{
	struct web_slot *slot = op->ctx;
	if (op->ret_outcome != WEB_OK && op->ret_outcome != WEB_ABSENT) {
		settle_failed(slot);
		return;
	}
	slot->item->ret_state = REMOTE_DONE;
	settle(slot, false);
}

static void begin_remove(struct web_slot *slot)
{
	slot_request(slot, "DELETE", slot->item->key, on_removed);
	slot_start(slot);
}

static int remove_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	return run_items((struct remote_web *)remote, items, count, begin_remove, sink, err);
}

/* Temporaries of items that did not get into place. */
static void drop_temporaries(struct remote_web *remote, const struct remote_item *items, size_t count)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct remote_item *left OWNED = mem_alloc((count + 1) * sizeof(*left));
	struct strlist keys CLEANUP(strlist_release) = { 0 };
	for (size_t i = 0; i < count; i++)
		if (items[i].ret_state == REMOTE_FAILED || items[i].ret_state == REMOTE_DAMAGED)
			strlist_take(&keys, mem_printf("%s%zu", remote->temp, i));
	for (size_t i = 0; i < keys.len; i++)
		left[i] = (struct remote_item){ .key = keys.at[i] };
	if (run_items(remote, left, keys.len, begin_remove, NULL, &ignored) < 0)
		err_release(&ignored);
	for (size_t i = 0; i < keys.len; i++)
		err_release(&left[i].ret_err);
}

static int put_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	struct remote_web *web = (struct remote_web *)remote;
	if (!web_is_dav(web->web))
		return run_items(web, items, count, begin_put, sink, err);
	web->temp = remote_temp_names(TEMP_DIR);
	int status = make_collections(web, items, count, err);
	if (status == 0) {
		status = run_items(web, items, count, begin_put, sink, err);
		if (status == 0)
			drop_temporaries(web, items, count);
	}
	if (status == 0 && !web->swept && web->clock_s) {
		web->swept = true;
		remote_drop_stale(remote, TEMP_DIR, web->clock_s);
	}
	free(web->temp);
	web->temp = NULL;
	return status;
}

/* The server's clock is in any answer; it has no other way to tell. */
static size_t sweep(struct remote *remote)
{
	struct remote_web *web = (struct remote_web *)remote;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct web_op op CLEANUP(web_op_release) = WEB_OP_INIT;
	op.method = "HEAD";
	op.key = "";
	if (!web_is_dav(web->web) || web_run(web->web, &op, &ignored) < 0)
		return 0;
	return remote_drop_stale(remote, TEMP_DIR, http_date(&op.request));
}

static int list_items(struct remote *remote, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err)
{
	struct remote_web *web = (struct remote_web *)remote;
	if (!web_is_dav(web->web)) {
		err_set(err, ERR_NET, "the objects at %s cannot be listed: it is a web server", web_place(web->web));
		return err_hint(err, "a WebDAV server can: use webdav:// or webdavs:// if it is one");
	}
	return web_list(web->web, prefix, visit, ctx, err);
}

static const char *place_of(const struct remote *remote)
{
	return web_place(((const struct remote_web *)remote)->web);
}

static void close_remote(struct remote *remote)
{
	struct remote_web *web = (struct remote_web *)remote;
	web_free(web->web);
	loop_free(web->loop);
	free(web);
}

int remote_web_open(const struct remote_spec *spec, struct remote **ret, struct err *err)
{
	static const struct remote_class class = {
		.check = check_items, .put = put_items, .get = get_items, .remove = remove_items, .list = list_items, .sweep = sweep,
		.place = place_of, .close = close_remote,
	};
	struct remote_web *web = mem_alloc(sizeof(*web));
	web->remote.class = &class;
	if (loop_new(&web->loop, err) < 0) {
		free(web);
		return -1;
	}
	if (web_open(spec, web->loop, &web->web, err) < 0) {
		loop_free(web->loop);
		free(web);
		return -1;
	}
	*ret = &web->remote;
	return 0;
}
