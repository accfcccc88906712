/*
 * Objects that go in parts, several at once.
 *
 * Up: the digest of the whole file is computed by one thread while parts are sent, and the upload is completed only if it is the
 * expected one; each part is signed with its own sha256, which the server compares with what arrives. What the server took is recorded, so
 * that a later run goes on with it (net/s3_resume.h). Down: parts are written at their
 * place, all of the version that the first answer named (If-Match); a thread hashes as far as the parts are there without a gap.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/remote_s3_impl.h"
#include "net/s3_resume.h"
#include "net/sigv4.h"
#include "net/xml.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_AT_ONCE 4      /* large objects */
#define MAX_PARTS_AT_ONCE 8
#define COMPLETE_WAIT_S 120 /* servers put the parts together before they answer */
#define ABORT_WAIT_MS 3000
#define MAX_LISTING (1024 * 1024) /* of parts: a page has a thousand */

struct s3_large {
	struct s3_run *run;
	struct remote_item *item;
	int fd;
	uint64_t size, part_size;
	unsigned parts, next, running, done;
	bool ready;              /* parts may be taken */
	bool hashed;
	bool ended;              /* settled, or about to be once the upload is aborted */
	bool is_gone;            /* put: the server knows the upload no more */
	bool second;             /* get: fetched again after a wrong digest */
	struct hash_job *hash;
	char *key;
	char **etags;            /* put: of each part */
	struct s3_resume resume; /* put */
	char *upload_id;         /* put */
	char *etag;              /* get: of the version that is fetched */
	bool *have;              /* get */
	unsigned frontier;       /* get: parts there without a gap */
	struct s3_op op;         /* start, complete, abort */
};

static void large_free(struct s3_large *large)
{
	hash_job_drop(large->hash);
	s3_op_release(&large->op);
	fs_close_fd(&large->fd);
	for (unsigned i = 0; large->etags && i < large->parts; i++)
		free(large->etags[i]);
	free(large->etags);
	s3_resume_release(&large->resume);
	free(large->key);
	free(large->upload_id);
	free(large->etag);
	free(large->have);
	free(large);
}

static void large_remove(struct s3_large *large)
{
	struct s3_run *run = large->run;
	for (size_t i = 0; i < run->larges.len; i++) {
		if (run->larges.at[i] == large)
			run->larges.at[i] = run->larges.at[--run->larges.len];
	}
	large_free(large);
}

/* The item's state and error are set. */
static void settle(struct s3_large *large)
{
	struct s3_run *run = large->run;
	if (!run->put && large->item->ret_state != REMOTE_DONE)
		sys.unlinkat(AT_FDCWD, large->item->path, 0);
	s3_run_settled(run, large->item);
	large_remove(large);
	s3_run_fill(run);
}

static void on_aborted(struct s3_op *op)
{
	settle(op->ctx);
}

static void use_op(struct s3_large *large, const char *method)
{
	struct s3_op *op = &large->op;
	s3_op_release(op);
	op->method = method;
	op->key = large->key;
	op->ctx = large;
}

static void add_upload_id(struct s3_large *large, struct strlist *query)
{
	struct buf text = BUF_INIT;
	buf_addstr(&text, "uploadId=");
	sigv4_encode(&text, large->upload_id, false);
	strlist_take(query, buf_detach(&text));
}

static void start_abort(struct s3_large *large, void (*done)(struct s3_op *op))
{
	use_op(large, "DELETE");
	add_upload_id(large, &large->op.query);
	large->op.done = done;
	s3_start(large->run->remote->s3, &large->op);
}

/* Whether the parts that were sent are of use to a later run: there is a record of them, and the file was not at fault. */
static bool may_go_on_later(const struct s3_large *large)
{
	return large->resume.path && !large->is_gone && large->item->ret_state != REMOTE_DAMAGED;
}

/* Ends the object with the state and error that its item has. */
static void give_up(struct s3_large *large)
{
	struct s3_run *run = large->run;
	large->ended = true;
	for (size_t i = 0; i < run->slot_count; i++) {
		if (run->slots[i].large == large)
			s3_slot_clear(&run->slots[i], true);
	}
	hash_job_drop(large->hash);
	large->hash = NULL;
	if (large->upload_id && !run->stopped && !may_go_on_later(large)) {
		s3_resume_end(&large->resume);
		start_abort(large, on_aborted);
	} else {
		settle(large);
	}
}

static void give_up_for(struct s3_large *large, struct err *why)
{
	remote_item_failed(large->item, why);
	give_up(large);
}

/* For an op that ended badly. */
static void give_up_for_op(struct s3_large *large, struct s3_op *op)
{
	struct s3_run *run = large->run;
	large->is_gone = run->put && op->ret_outcome == S3_ABSENT;
	if (op->ret_outcome != S3_FAILED)
		err_set(&op->ret_err, ERR_NET, "the server refuses '%s' (status %u)", large->item->key, op->request.ret_status);
	if (op->ret_hopeless && !run->stopped) {
		run->stopped = true;
		err_move(run->err, &op->ret_err);
		err_set(&op->ret_err, ERR_NET, "not moved: the remote cannot be used");
	}
	give_up_for(large, &op->ret_err);
}

static void maybe_finish(struct s3_large *large);

static void on_hashed(void *ctx, int status, const struct digest *digest, struct err *err)
{
	struct s3_large *large = ctx;
	large->hash = NULL;
	large->hashed = true;
	if (status < 0) {
		give_up_for(large, err);
	} else if (digest_eq(digest, &large->item->expect)) {
		maybe_finish(large);
	} else if (!large->run->put && !large->second) {
		large->second = true;
		large->hashed = false;
		large->next = large->done = large->frontier = 0;
		memset(large->have, 0, large->parts * sizeof(*large->have));
		struct err failure CLEANUP(err_release) = ERR_INIT;
		large->hash = hash_job_start(large->run->remote->loop, large->item->expect.kind, large->fd, 0, large->size, 0, on_hashed, large,
					     &failure);
		if (large->hash)
			s3_run_fill(large->run);
		else
			give_up_for(large, &failure);
	} else {
		remote_item_wrong_digest(large->item, large->run->put ? "the local copy" : "the remote copy", digest);
		give_up(large);
	}
}

static struct s3_large *large_new(struct s3_slot *slot, uint64_t size)
{
	struct s3_large *large = mem_alloc(sizeof(*large));
	large->run = slot->run;
	large->item = slot->item;
	large->fd = slot->fd;
	large->size = size;
	large->key = mem_strdup(slot->key);
	large->op = (struct s3_op)S3_OP_INIT;
	large->part_size = S3_PART;
	while (large->part_size * S3_MAX_PARTS < size)
		large->part_size *= 2;
	large->parts = (unsigned)((size + large->part_size - 1) / large->part_size);
	large->hashed = slot->item->expect.kind == DIGEST_NONE;
	vec_push(&slot->run->larges, large);
	return large;
}

static int start_hash(struct s3_large *large, uint64_t allowed, struct err *err)
{
	if (large->hashed)
		return 0;
	large->hash = hash_job_start(large->run->remote->loop, large->item->expect.kind, large->fd, 0, large->size, allowed, on_hashed, large, err);
	return large->hash ? 0 : -1;
}

bool s3_large_enough(const struct s3_run *run)
{
	return run->larges.len >= MAX_AT_ONCE;
}

/* Up. */

static void on_upload_started(struct s3_op *op)
{
	struct s3_large *large = op->ctx;
	struct buf id CLEANUP(buf_release) = BUF_INIT;
	if (op->ret_outcome != S3_OK) {
		give_up_for_op(large, op);
		return;
	}
	if (!xml_find(op->response.data, op->response.len, "UploadId", &id) || id.len == 0) {
		err_set(&op->ret_err, ERR_NET, "the server gave no UploadId for '%s'", large->item->key);
		give_up_for(large, &op->ret_err);
		return;
	}
	large->upload_id = buf_detach(&id);
	s3_resume_begin(&large->resume, s3_place(large->run->remote->s3), large->key, large->upload_id);
	large->ready = true;
	s3_run_fill(large->run);
}

static void start_upload(struct s3_large *large)
{
	use_op(large, "POST");
	strlist_add(&large->op.query, "uploads=");
	large->op.done = on_upload_started;
	large->op.use = S3_USE_CREATE;
	s3_start(large->run->remote->s3, &large->op);
}

/* Keeps of the record what the server lists with the same ETag: the first thousand parts; the others are sent again. */
static void compare_parts(struct s3_large *large, const struct buf *listing)
{
	struct xml_scan scan = { .at = listing->data, .end = listing->data + listing->len };
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct buf etag CLEANUP(buf_release) = BUF_INIT;
	bool *listed OWNED = mem_alloc(large->parts * sizeof(*listed));
	uint64_t number = 0;
	while (xml_next(&scan)) {
		if (scan.kind == XML_OPEN && xml_is(&scan, "PartNumber")) {
			xml_text(&scan, &text);
			number = text_parse_u64(text.data, &number) ? number : 0;
		} else if (scan.kind == XML_OPEN && xml_is(&scan, "ETag")) {
			xml_text(&scan, &etag);
		} else if (scan.kind == XML_CLOSE && xml_is(&scan, "Part") && number >= 1 && number <= large->parts) {
			listed[number - 1] = text_eq(large->resume.parts[number - 1].etag, etag.data);
		}
	}
	for (unsigned i = 0; i < large->parts; i++) {
		if (listed[i])
			continue;
		free(large->resume.parts[i].etag);
		large->resume.parts[i].etag = NULL;
	}
}

static void on_parts_listed(struct s3_op *op)
{
	struct s3_large *large = op->ctx;
	if (op->ret_outcome == S3_FAILED) {
		give_up_for_op(large, op);
		return;
	}
	if (op->ret_outcome != S3_OK) { /* it was ended by somebody, or by age */
		free(large->upload_id);
		large->upload_id = NULL;
		start_upload(large);
		return;
	}
	compare_parts(large, &op->response);
	large->ready = true;
	s3_run_fill(large->run);
}

static void list_parts(struct s3_large *large)
{
	large->upload_id = mem_strdup(large->resume.upload_id);
	use_op(large, "GET");
	add_upload_id(large, &large->op.query);
	large->op.response_max = MAX_LISTING;
	large->op.done = on_parts_listed;
	s3_start(large->run->remote->s3, &large->op);
}

void s3_large_put(struct s3_slot *slot, uint64_t size)
{
	struct s3_large *large = large_new(slot, size);
	struct err err CLEANUP(err_release) = ERR_INIT;
	slot->fd = -1;
	s3_slot_clear(slot, true);
	large->etags = mem_alloc(large->parts * sizeof(*large->etags));
	if (start_hash(large, size, &err) < 0) {
		remote_item_failed(large->item, &err);
		s3_run_settled(large->run, large->item);
		large_remove(large);
		return;
	}
	const struct remote_s3 *remote = large->run->remote;
	s3_resume_open(&large->resume, remote->resume_dir, s3_place(remote->s3), large->key, size, large->part_size, &large->item->expect);
	if (large->resume.upload_id)
		list_parts(large);
	else
		start_upload(large);
}

static void take_part(struct s3_slot *slot, char *etag)
{
	struct s3_large *large = slot->large;
	large->etags[slot->part] = etag;
	large->running--;
	large->done++;
	large->run->bytes += slot->op.body_len;
	large->run->flow.work += slot->op.body_len;
	s3_slot_clear(slot, true);
	maybe_finish(large);
}

static void on_part_sent(struct s3_op *op)
{
	struct s3_slot *slot = op->ctx;
	struct s3_large *large = slot->large;
	struct buf etag = BUF_INIT;
	if (op->ret_outcome == S3_OK && !http_header(&op->request, "etag", &etag)) {
		op->ret_outcome = S3_FAILED;
		err_set(&op->ret_err, ERR_NET, "the server gave no ETag for a part of '%s'", large->item->key);
	}
	if (op->ret_outcome != S3_OK) {
		buf_release(&etag);
		give_up_for_op(large, op);
		return;
	}
	s3_resume_note(&large->resume, slot->part, slot->payload_hash, etag.data);
	take_part(slot, buf_detach(&etag));
}

static void on_part_hashed(void *ctx, int status, const struct digest *digest, struct err *err)
{
	struct s3_slot *slot = ctx;
	slot->hash = NULL;
	if (status < 0) {
		give_up_for(slot->large, err);
		return;
	}
	digest_hex(digest, slot->payload_hash);
	const struct s3_resume_part *known = slot->large->resume.parts ? &slot->large->resume.parts[slot->part] : NULL;
	if (known && known->etag && text_eq(known->sha256, slot->payload_hash)) {
		take_part(slot, mem_strdup(known->etag));
		return;
	}
	s3_start(slot->run->remote->s3, &slot->op);
}

static void begin_put_part(struct s3_slot *slot, struct s3_large *large, uint64_t from, uint64_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct s3_op *op = &slot->op;
	op->method = "PUT";
	op->body_fd = large->fd;
	op->body_at = from;
	op->body_len = len;
	op->payload_hash = slot->payload_hash;
	op->done = on_part_sent;
	op->use = S3_USE_PART;
	strlist_take(&op->query, mem_printf("partNumber=%u", slot->part + 1));
	add_upload_id(large, &op->query);
	slot->hash = hash_job_start(slot->run->remote->loop, DIGEST_SHA256, large->fd, from, len, len, on_part_hashed, slot, &err);
	if (!slot->hash)
		give_up_for(large, &err);
}

static void on_completed(struct s3_op *op)
{
	struct s3_large *large = op->ctx;
	if (op->ret_outcome != S3_OK) {
		give_up_for_op(large, op);
		return;
	}
	s3_resume_end(&large->resume);
	large->item->ret_state = REMOTE_DONE;
	large->item->ret_size = large->size;
	large->run->bytes -= large->size; /* counted part by part; s3_run_settled adds the whole */
	settle(large);
}

static void complete_upload(struct s3_large *large)
{
	struct buf body = BUF_INIT;
	use_op(large, "POST");
	buf_addstr(&body, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (unsigned i = 0; i < large->parts; i++)
		buf_addf(&body, "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>", i + 1, large->etags[i]);
	buf_addstr(&body, "</CompleteMultipartUpload>");
	add_upload_id(large, &large->op.query);
	strlist_add(&large->op.headers, "content-type: application/xml");
	free(large->etag);
	large->op.body_len = body.len;
	large->etag = buf_detach(&body); /* kept with the object until the answer is there */
	large->op.body = large->etag;
	large->op.idle_timeout_s = COMPLETE_WAIT_S;
	large->op.done = on_completed;
	s3_start(large->run->remote->s3, &large->op);
}

/* Down. */

void s3_large_get(struct s3_slot *slot, uint64_t size)
{
	struct s3_large *large = large_new(slot, size);
	struct s3_run *run = slot->run;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf etag = BUF_INIT;
	large->etag = http_header(&slot->op.request, "etag", &etag) ? buf_detach(&etag) : NULL;
	large->have = mem_alloc(large->parts * sizeof(*large->have));
	large->next = large->done = large->frontier = 1; /* the first is there, if parts are of the usual size */
	if (large->part_size != S3_PART)
		large->next = large->done = large->frontier = 0;
	slot->fd = -1;
	slot->created = false;
	s3_slot_clear(slot, true);
	if (sys.fallocate(large->fd, 0, 0, (off_t)size) < 0 && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) {
		err_set_errno(&err, ERR_FAILED, errno, "no room for '%s'", large->item->path);
		give_up_for(large, &err);
		return;
	}
	run->bytes += large->done * large->part_size;
	large->ready = true;
	if (start_hash(large, large->done * large->part_size, &err) < 0)
		give_up_for(large, &err);
	else
		s3_run_fill(run);
}

static uint64_t part_len(const struct s3_large *large, unsigned part)
{
	uint64_t from = part * large->part_size;
	return large->size - from < large->part_size ? large->size - from : large->part_size;
}

static bool restart_part(struct s3_op *op)
{
	struct s3_slot *slot = op->ctx;
	slot->moved = 0;
	return true;
}

static bool take_part_bytes(struct http_request *request, const void *bytes, size_t len)
{
	struct s3_op *op = request->ctx;
	struct s3_slot *slot = op->ctx;
	struct s3_large *large = slot->large;
	if (len > part_len(large, slot->part) - slot->moved) {
		err_set(&request->ret_err, ERR_NET, "the server sent more of '%s' than was asked for", large->item->key);
		return false;
	}
	const char *from = bytes;
	for (size_t left = len; left > 0;) {
		ssize_t put = sys.pwrite(large->fd, from, left, (off_t)(slot->part * large->part_size + slot->moved));
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0) {
			err_set_errno(&request->ret_err, ERR_FAILED, errno, "cannot write '%s'", large->item->path);
			return false;
		}
		from += put;
		left -= (size_t)put;
		slot->moved += (uint64_t)put;
	}
	return true;
}

static void on_part_fetched(struct s3_op *op)
{
	struct s3_slot *slot = op->ctx;
	struct s3_large *large = slot->large;
	uint64_t len = part_len(large, slot->part);
	if (op->ret_outcome == S3_OK && slot->moved != len) {
		op->ret_outcome = S3_FAILED;
		err_set(&op->ret_err, ERR_NET, "the server sent %" PRIu64 " bytes of '%s' where %" PRIu64 " were asked for", slot->moved,
			large->item->key, len);
	} else if (op->ret_outcome == S3_CHANGED) {
		op->ret_outcome = S3_FAILED;
		err_set(&op->ret_err, ERR_DATA, "'%s' changed on the remote while it was fetched", large->item->key);
	}
	if (op->ret_outcome != S3_OK) {
		give_up_for_op(large, op);
		return;
	}
	large->have[slot->part] = true;
	large->running--;
	large->done++;
	large->run->bytes += len;
	large->run->flow.work += len;
	s3_slot_clear(slot, true);
	while (large->frontier < large->parts && (large->have[large->frontier]))
		large->frontier++;
	if (large->hash)
		hash_job_allow(large->hash, large->frontier * large->part_size);
	maybe_finish(large);
}

static void begin_get_part(struct s3_slot *slot, struct s3_large *large, uint64_t from, uint64_t len)
{
	struct s3_op *op = &slot->op;
	op->method = "GET";
	op->on_try = restart_part;
	op->on_data = take_part_bytes;
	op->done = on_part_fetched;
	op->use = S3_USE_READ;
	strlist_take(&op->headers, mem_printf("range: bytes=%" PRIu64 "-%" PRIu64, from, from + len - 1));
	if (large->etag)
		strlist_take(&op->headers, mem_printf("if-match: %s", large->etag));
	s3_start(slot->run->remote->s3, op);
}

/* Both. */

bool s3_large_take_part(struct s3_slot *slot)
{
	struct s3_run *run = slot->run;
	for (size_t i = 0; i < run->larges.len; i++) {
		struct s3_large *large = run->larges.at[i];
		if (!large->ready || large->ended || large->next == large->parts || large->running == MAX_PARTS_AT_ONCE)
			continue;
		s3_slot_use(slot, large->item, "GET");
		slot->large = large;
		slot->part = large->next++;
		large->running++;
		slot->op.bulk = true;
		uint64_t from = slot->part * large->part_size;
		if (run->put)
			begin_put_part(slot, large, from, part_len(large, slot->part));
		else
			begin_get_part(slot, large, from, part_len(large, slot->part));
		return true;
	}
	return false;
}

static void maybe_finish(struct s3_large *large)
{
	struct s3_run *run = large->run;
	if (large->ended || large->done < large->parts || !large->hashed) {
		s3_run_fill(run);
		return;
	}
	if (run->put) {
		large->ended = true;
		complete_upload(large);
		s3_run_fill(run);
		return;
	}
	large->item->ret_state = REMOTE_DONE;
	large->item->ret_size = large->size;
	run->bytes -= large->size < run->bytes ? large->size : run->bytes;
	settle(large);
}

void s3_large_end_abandoned(struct remote_s3 *remote)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	char *key OWNED = NULL, *id OWNED = NULL;
	struct s3_op op CLEANUP(s3_op_release) = S3_OP_INIT;
	struct buf text = BUF_INIT;
	if (!remote->resume_dir || !s3_resume_abandoned(remote->resume_dir, s3_place(remote->s3), &key, &id))
		return;
	op.method = "DELETE";
	op.key = key;
	buf_addstr(&text, "uploadId=");
	sigv4_encode(&text, id, false);
	strlist_take(&op.query, buf_detach(&text));
	if (s3_run(remote->s3, &op, &ignored) < 0)
		err_release(&ignored);
}

static void note_aborted(struct s3_op *op)
{
	struct s3_large *large = op->ctx;
	large->ended = true;
}

void s3_large_drop_all(struct s3_run *run)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	uint64_t until = loop_now_ms() + ABORT_WAIT_MS;
	for (size_t i = 0; i < run->larges.len; i++) {
		struct s3_large *large = run->larges.at[i];
		hash_job_drop(large->hash);
		large->hash = NULL;
		large->ended = !large->upload_id || may_go_on_later(large);
		if (!large->ended)
			start_abort(large, note_aborted);
		if (!run->put)
			sys.unlinkat(AT_FDCWD, large->item->path, 0);
	}
	for (size_t i = 0; i < run->larges.len; i++) {
		while (!run->larges.at[i]->ended && loop_now_ms() < until) {
			if (loop_step(run->remote->loop, 100, &ignored) < 0)
				break;
		}
	}
	while (run->larges.len > 0)
		large_free(run->larges.at[--run->larges.len]);
	vec_release(&run->larges);
}
