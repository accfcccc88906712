/*
 * Objects that go in parts, several at once.
 *
 * Up: the digest of the whole file is computed by one thread while parts are sent, and the upload is completed only if it is the
 * expected one; each part is signed with its own sha256, which the server compares with what arrives. What the server took is recorded, so
 * that a later run goes on with it (net/s3_resume.h). Down: remote_s3_large_get.c.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/remote_s3_large.h"
#include "net/sigv4.h"
#include "net/xml.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_AT_ONCE 4      /* large objects */
#define MAX_PARTS_AT_ONCE 8
#define COMPLETE_PATIENCE 8 /* servers put the parts together before they answer */
#define ABORT_WAIT_MS 3000
#define MAX_LISTING (1024 * 1024) /* of parts: a page has a thousand */

static void large_free(struct s3_large *large)
{
	hash_job_drop(large->hash);
	s3_large_drop_twin(large);
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
	s3_partial_release(&large->partial);
	free(large);
}

void s3_large_remove(struct s3_large *large)
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
		s3_large_leave(large);
	s3_large_uncount(large);
	s3_run_settled(run, large->item);
	s3_large_remove(large);
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

void s3_large_stop(struct s3_large *large)
{
	struct s3_run *run = large->run;
	for (size_t i = 0; i < run->slot_count; i++) {
		if (run->slots[i].large == large)
			s3_slot_clear(&run->slots[i], true);
	}
	hash_job_drop(large->hash);
	large->hash = NULL;
	s3_large_drop_twin(large);
}

/* Ends the object with the state and error that its item has. */
static void give_up(struct s3_large *large)
{
	struct s3_run *run = large->run;
	large->ended = true;
	s3_large_stop(large);
	if (large->upload_id && !run->stopped && !may_go_on_later(large)) {
		s3_resume_end(&large->resume);
		start_abort(large, on_aborted);
	} else {
		settle(large);
	}
}

void s3_large_give_up_for(struct s3_large *large, struct err *why)
{
	remote_item_failed(large->item, why);
	give_up(large);
}

/* For an op that ended badly. */
void s3_large_give_up_for_op(struct s3_large *large, struct s3_op *op)
{
	struct s3_run *run = large->run;
	large->is_gone = large->is_gone || (run->put && op->ret_outcome == S3_ABSENT);
	if (op->ret_outcome != S3_FAILED)
		err_set(&op->ret_err, ERR_NET, "the server refuses '%s' (status %u)", large->item->key, op->request.ret_status);
	if (op->ret_hopeless) {
		s3_run_stop(run, &op->ret_err);
		give_up(large);
	} else {
		s3_large_give_up_for(large, &op->ret_err);
	}
}

static void on_hashed(void *ctx, int status, const struct digest *digest, struct err *err)
{
	struct s3_large *large = ctx;
	large->hash = NULL;
	large->hashed = true;
	if (status < 0) {
		s3_large_give_up_for(large, err);
	} else if (digest_eq(digest, &large->item->expect)) {
		s3_large_maybe_finish(large);
	} else if (!large->run->put && !large->second) {
		large->second = true;
		large->hashed = false;
		s3_large_drop_twin(large);
		large->next = large->done = large->frontier = 0;
		large->allowed = 0;
		memset(large->have, 0, large->parts * sizeof(*large->have));
		s3_partial_void(&large->partial);
		s3_large_uncount(large);
		struct err failure CLEANUP(err_release) = ERR_INIT;
		if (s3_large_start_hash(large, 0, &failure) == 0)
			s3_run_fill(large->run);
		else
			s3_large_give_up_for(large, &failure);
	} else {
		remote_item_wrong_digest(large->item, large->run->put ? "the local copy" : "the remote copy", digest);
		give_up(large);
	}
}

struct s3_large *s3_large_new(struct s3_slot *slot, uint64_t size, uint64_t part_size)
{
	struct s3_large *large = mem_alloc(sizeof(*large));
	large->run = slot->run;
	large->item = slot->item;
	large->fd = slot->fd;
	slot->fd = -1;
	large->size = size;
	large->key = mem_strdup(slot->key);
	large->op = (struct s3_op)S3_OP_INIT;
	large->partial = (struct s3_partial)S3_PARTIAL_INIT;
	large->twin_fd = -1;
	large->part_size = part_size ? part_size : slot->run->part;
	while (large->part_size * S3_MAX_PARTS < size)
		large->part_size *= 2;
	large->parts = (unsigned)((size + large->part_size - 1) / large->part_size);
	large->have = mem_alloc(large->parts * sizeof(*large->have));
	large->hashed = slot->item->expect.kind == DIGEST_NONE;
	vec_push(&slot->run->larges, large);
	return large;
}

uint64_t s3_large_part_len(const struct s3_large *large, unsigned part)
{
	uint64_t from = part * large->part_size;
	return large->size - from < large->part_size ? large->size - from : large->part_size;
}

void s3_large_count(struct s3_large *large, uint64_t bytes)
{
	large->counted += bytes;
	large->run->bytes += bytes;
}

void s3_large_uncount(struct s3_large *large)
{
	large->run->bytes -= large->counted;
	large->counted = 0;
}

int s3_large_start_hash(struct s3_large *large, uint64_t allowed, struct err *err)
{
	if (large->hashed)
		return 0;
	struct loop *loop = large->run->remote->loop;
	if (large->item->expect.kind == DIGEST_MD5)
		large->hash = hash_job_start_shared(large->run->lanes, loop, large->fd, large->size, allowed, on_hashed, large, err);
	else
		large->hash = hash_job_start(loop, large->item->expect.kind, large->fd, 0, large->size, allowed, on_hashed, large, err);
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
		s3_large_give_up_for_op(large, op);
		return;
	}
	if (!xml_find(op->response.data, op->response.len, "UploadId", &id) || id.len == 0) {
		err_set(&op->ret_err, ERR_NET, "the server gave no UploadId for '%s'", large->item->key);
		s3_large_give_up_for(large, &op->ret_err);
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
		s3_large_give_up_for_op(large, op);
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
	struct s3_large *large = s3_large_new(slot, size, 0);
	struct err err CLEANUP(err_release) = ERR_INIT;
	s3_slot_clear(slot, true);
	large->etags = mem_alloc(large->parts * sizeof(*large->etags));
	if (s3_large_start_hash(large, size, &err) < 0) {
		remote_item_failed(large->item, &err);
		s3_run_settled(large->run, large->item);
		s3_large_remove(large);
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
	s3_large_count(large, slot->op.body_len);
	large->run->flow.work += slot->op.body_len;
	s3_slot_clear(slot, true);
	s3_large_maybe_finish(large);
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
		s3_large_give_up_for_op(large, op);
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
		s3_large_give_up_for(slot->large, err);
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
		s3_large_give_up_for(large, &err);
}

/* The ETag of the whole is in the body of this answer. */
static void take_version(struct s3_large *large)
{
	struct remote_version *version = large->item->ret_version;
	struct buf etag = BUF_INIT;
	s3_take_version(&large->op.request, large->item);
	if (!version || version->etag || !xml_find(large->op.response.data, large->op.response.len, "ETag", &etag) || !etag.len) {
		buf_release(&etag);
		return;
	}
	bool quoted = etag.len > 2 && etag.data[0] == '"' && etag.data[etag.len - 1] == '"';
	version->etag = quoted ? mem_strndup(etag.data + 1, etag.len - 2) : mem_strdup(etag.data);
	buf_release(&etag);
}

/* The ETag of an object that was put together of these parts: the md5 of their md5s, and how many they are. False where their ETags are no md5s. */
static bool etag_of_parts(const struct s3_large *large, struct buf *ret)
{
	struct buf md5s CLEANUP(buf_release) = BUF_INIT;
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	for (unsigned i = 0; i < large->parts; i++) {
		char *bare OWNED = mem_strdup(large->etags[i] + (large->etags[i][0] == '"'));
		bare[strcspn(bare, "\"")] = '\0';
		if (strlen(bare) != 2 * digest_len(DIGEST_MD5) || !digest_parse(&digest, DIGEST_MD5, bare))
			return false;
		buf_add(&md5s, (const char *)digest.bytes, digest_len(DIGEST_MD5));
	}
	digest_bytes(DIGEST_MD5, md5s.data, md5s.len, &digest);
	digest_hex(&digest, hex);
	buf_addf(ret, "%s-%u", hex, large->parts);
	return true;
}

static void on_looked_at(struct s3_op *op)
{
	struct s3_large *large = op->ctx;
	struct buf due CLEANUP(buf_release) = BUF_INIT;
	struct buf etag CLEANUP(buf_release) = BUF_INIT;
	bool same = op->ret_outcome == S3_OK && etag_of_parts(large, &due) && http_header(&op->request, "etag", &etag) && strstr(etag.data, due.data);
	if (same) {
		s3_resume_end(&large->resume);
		large->item->ret_state = REMOTE_DONE;
		large->item->ret_size = large->size;
		s3_take_version(&op->request, large->item);
		settle(large);
		return;
	}
	struct err err CLEANUP(err_release) = ERR_INIT;
	large->is_gone = true;
	err_set(&err, ERR_NET, "the server does not know the upload of '%s' any more (status 404)", large->item->key);
	err_hint(&err, "did somebody end it? the same command begins it anew");
	s3_large_give_up_for(large, &err);
}

static void on_completed(struct s3_op *op)
{
	struct s3_large *large = op->ctx;
	struct buf etag CLEANUP(buf_release) = BUF_INIT;
	/* The answer to an earlier try, which may be one of libcurl's own, may have been lost: then the upload has become the object. */
	if (op->ret_outcome == S3_ABSENT) {
		use_op(large, "HEAD");
		large->op.use = S3_USE_READ;
		large->op.done = on_looked_at;
		s3_start(large->run->remote->s3, &large->op);
		return;
	}
	if (op->ret_outcome == S3_OK && !xml_find(op->response.data, op->response.len, "ETag", &etag))
		s3_put_without_etag(op, large->item);
	if (op->ret_outcome != S3_OK) {
		s3_large_give_up_for_op(large, op);
		return;
	}
	s3_resume_end(&large->resume);
	large->item->ret_state = REMOTE_DONE;
	large->item->ret_size = large->size;
	take_version(large);
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
	large->op.patience = COMPLETE_PATIENCE;
	large->op.done = on_completed;
	s3_start(large->run->remote->s3, &large->op);
}

/* Both. */

/* One with a part to be moved. Of those that are fetched, the one that has the fewest slots: what comes of several at a time is hashed
 * together. Of those that are sent, the first: it is there to be hashed anyhow. NULL: none. */
static struct s3_large *next_to_move(const struct s3_run *run)
{
	struct s3_large *best = NULL;
	for (size_t i = 0; i < run->larges.len; i++) {
		struct s3_large *large = run->larges.at[i];
		while (large->next < large->parts && large->have[large->next])
			large->next++;
		if (!large->ready || large->ended || large->next == large->parts || large->running == MAX_PARTS_AT_ONCE)
			continue;
		if (run->put)
			return large;
		if (!best || large->running < best->running)
			best = large;
	}
	return best;
}

bool s3_large_take_part(struct s3_slot *slot)
{
	struct s3_run *run = slot->run;
	struct s3_large *large = next_to_move(run);
	if (!large)
		return false;
	s3_slot_use(slot, large->item, "GET");
	slot->large = large;
	slot->part = large->next++;
	large->running++;
	slot->op.bulk = true;
	if (run->put)
		begin_put_part(slot, large, slot->part * large->part_size, s3_large_part_len(large, slot->part));
	else
		s3_large_begin_get_part(slot, large);
	return true;
}

void s3_large_maybe_finish(struct s3_large *large)
{
	struct s3_run *run = large->run;
	if (large->ended || large->done < large->parts || !large->hashed || large->twinning) {
		s3_run_fill(run);
		return;
	}
	if (run->put) {
		large->ended = true;
		complete_upload(large);
		s3_run_fill(run);
		return;
	}
	s3_large_finish_get(large);
	settle(large);
}

bool s3_large_end_abandoned(struct remote_s3 *remote)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	char *key OWNED = NULL, *id OWNED = NULL;
	struct s3_op op CLEANUP(s3_op_release) = S3_OP_INIT;
	struct buf text = BUF_INIT;
	if (!remote->resume_dir || !s3_resume_abandoned(remote->resume_dir, s3_place(remote->s3), &key, &id))
		return false;
	op.method = "DELETE";
	op.key = key;
	buf_addstr(&text, "uploadId=");
	sigv4_encode(&text, id, false);
	strlist_take(&op.query, buf_detach(&text));
	return s3_run(remote->s3, &op, &ignored) == 0;
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
			s3_large_leave(large);
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
