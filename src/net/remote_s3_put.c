/*
 * Sending objects that go in one request. The bytes are hashed before they leave: a small file in memory; a larger one while it is
 * streamed, and its last piece is held back if the digest is wrong. The server compares Content-MD5 with what arrives.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "net/remote_s3_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void add_md5_header(struct s3_op *op, const struct digest *md5)
{
	struct buf line = BUF_INIT;
	buf_addstr(&line, "content-md5: ");
	s3_base64(&line, md5->bytes, digest_len(DIGEST_MD5));
	strlist_take(&op->headers, buf_detach(&line));
}

void s3_put_without_etag(struct s3_op *op, const struct remote_item *item)
{
	op->ret_outcome = S3_FAILED;
	err_set(&op->ret_err, ERR_NET, "something answered the %s of '%s' with status %u and no ETag, which every S3 server names", op->method,
		item->key, op->request.ret_status);
	err_hint(&op->ret_err, "does the network want you to log in, or is there a proxy in the way? is the remote's endpointurl that of an S3 server?");
}

static bool names_etag(const struct http_request *request)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	return http_header(request, "etag", &value) != NULL;
}

static void on_sent(struct s3_op *op)
{
	struct s3_slot *slot = op->ctx;
	struct s3_run *run = slot->run;
	struct remote_item *item = slot->item;
	enum s3_etag etag = op->ret_outcome == S3_OK ? s3_judge_etag(&op->request, item) : S3_ETAG_SILENT;
	run->etags_are_md5 = run->etags_are_md5 || etag == S3_ETAG_SAME;
	if (etag == S3_ETAG_OTHER && !slot->second) {
		slot->second = true; /* the answer may be to another request */
		s3_start(run->remote->s3, op);
		return;
	}
	if (etag == S3_ETAG_OTHER && run->etags_are_md5) {
		op->ret_outcome = S3_FAILED;
		err_set(&op->ret_err, ERR_NET, "the server says of '%s' that it has other bytes than were sent", item->key);
		err_hint(&op->ret_err, "is there a proxy in the way that mixes up answers?");
	}
	if (op->ret_outcome == S3_OK && !names_etag(&op->request)) {
		s3_put_without_etag(op, item);
	}
	if (op->ret_outcome == S3_OK) {
		item->ret_state = REMOTE_DONE;
		item->ret_size = op->body_len;
		s3_take_version(&op->request, item);
		s3_run_settled(run, item);
	} else {
		if (op->ret_outcome != S3_FAILED)
			err_set(&op->ret_err, ERR_NET, "the server does not take '%s' (status %u)", item->key, op->request.ret_status);
		s3_run_failed(run, item, op, slot->damaged);
	}
	s3_slot_clear(slot, false);
	s3_run_fill(run);
}

/* The file as one piece of memory, compared with what the item says. 0, or -1 with the item settled. */
static int read_small(struct s3_slot *slot, struct remote_item *item, size_t size)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct digest digest;
	size_t have = 0;
	if (slot->small_cap < size) {
		free(slot->small);
		slot->small = mem_alloc(size);
		slot->small_cap = size;
	}
	while (have < size) {
		ssize_t got = sys.pread(slot->fd, slot->small + have, size - have, (off_t)have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			err_set_errno(&err, ERR_FAILED, got < 0 ? errno : EIO, "cannot read '%s'", item->path);
			remote_item_failed(item, &err);
			return -1;
		}
		have += (size_t)got;
	}
	digest_bytes(item->expect.kind == DIGEST_NONE ? DIGEST_MD5 : item->expect.kind, slot->small, size, &digest);
	if (item->expect.kind != DIGEST_NONE && !digest_eq(&digest, &item->expect)) {
		remote_item_wrong_digest(item, "the local copy", &digest);
		return -1;
	}
	if (digest.kind == DIGEST_MD5)
		add_md5_header(&slot->op, &digest);
	return 0;
}

static bool start_over(struct s3_op *op)
{
	struct s3_slot *slot = op->ctx;
	if (slot->stream)
		digest_drop(slot->stream);
	slot->stream = slot->item->expect.kind == DIGEST_NONE ? NULL : digest_begin(slot->item->expect.kind);
	slot->moved = 0;
	return true;
}

static bool hash_sent(struct http_request *request, const void *bytes, size_t len)
{
	struct s3_op *op = request->ctx;
	struct s3_slot *slot = op->ctx;
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

void s3_begin_put(struct s3_slot *slot, struct remote_item *item)
{
	struct s3_run *run = slot->run;
	uint64_t size;
	s3_slot_use(slot, item, "PUT");
	if (remote_item_open(item, &slot->fd, &size) < 0 || (size <= S3_SMALL && read_small(slot, item, (size_t)size) < 0)) {
		s3_slot_clear(slot, false);
		s3_run_settled(run, item);
		return;
	}
	if (size > run->large) {
		s3_large_put(slot, size);
		return;
	}
	slot->op.body_len = size;
	slot->op.done = on_sent;
	slot->op.use = S3_USE_CREATE;
	if (size <= S3_SMALL) {
		fs_close_fd(&slot->fd);
		slot->fd = -1;
		slot->op.body = slot->small;
	} else {
		slot->op.body_fd = slot->fd;
		slot->op.bulk = true;
		slot->op.on_try = start_over;
		slot->op.on_body = hash_sent;
		if (item->expect.kind == DIGEST_MD5)
			add_md5_header(&slot->op, &item->expect);
	}
	s3_start(run->remote->s3, &slot->op);
}
