#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/remote_s3_impl.h"
#include "net/s3_list.h"
#include "net/s3_partial.h"
#include "net/sigv4.h"
#include "net/xml.h"

#include <stdlib.h>

#define TELL_MS 100
#define SLOW_MS 3000      /* nothing moves for so long: it is worth a word */
#define SLOWED_FOR_MS 5000

/* Slots and items. */

void s3_slot_clear(struct s3_slot *slot, bool keep)
{
	hash_job_drop(slot->hash);
	slot->hash = NULL;
	s3_op_release(&slot->op);
	if (slot->stream)
		digest_drop(slot->stream);
	slot->stream = NULL;
	if (!slot->large)
		fs_close_fd(&slot->fd);
	slot->fd = -1;
	if (slot->created && !keep)
		sys.unlinkat(AT_FDCWD, slot->item->path, 0);
	free(slot->key);
	slot->key = NULL;
	slot->created = slot->damaged = slot->second = false;
	slot->moved = 0;
	slot->large = NULL;
	if (slot->item)
		slot->run->running--;
	slot->item = NULL;
}

void s3_slot_use(struct s3_slot *slot, struct remote_item *item, const char *method)
{
	if (!slot->item)
		slot->run->running++;
	slot->item = item;
	slot->key = s3_key(slot->run->remote->s3, item->key);
	slot->op.method = method;
	slot->op.key = slot->key;
	slot->op.ctx = slot;
	if (!item->version)
		return;
	struct buf query = BUF_INIT;
	buf_addstr(&query, "versionId=");
	sigv4_encode(&query, item->version, false);
	strlist_take(&slot->op.query, buf_detach(&query));
	slot->op.versioned = true;
}

void s3_take_version(const struct http_request *request, const struct remote_item *item)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	if (!item->ret_version)
		return;
	remote_version_release(item->ret_version);
	if (http_header(request, "x-amz-version-id", &value) && value.len && !text_eq(value.data, "null"))
		item->ret_version->id = mem_strdup(value.data);
	const char *etag = http_header(request, "etag", &value);
	if (etag && value.len > 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
		item->ret_version->etag = mem_strndup(value.data + 1, value.len - 2);
	else if (etag && value.len)
		item->ret_version->etag = mem_strdup(value.data);
}

void s3_run_settled(struct s3_run *run, struct remote_item *item)
{
	run->settled++;
	run->flow.work += S3_FLOW_REQUEST + (item->ret_state == REMOTE_DONE ? item->ret_size : 0);
	if (item->ret_state == REMOTE_DONE)
		run->bytes += item->ret_size;
}

void s3_run_stop(struct s3_run *run, struct err *why)
{
	if (!run->stopped)
		err_move(run->err, why);
	run->stopped = true;
}

void s3_run_failed(struct s3_run *run, struct remote_item *item, struct s3_op *op, bool damaged)
{
	if (op->ret_hopeless) { /* the item stays pending: the run's error is the reason */
		s3_run_stop(run, &op->ret_err);
	} else {
		remote_item_failed(item, &op->ret_err);
		if (damaged)
			item->ret_state = REMOTE_DAMAGED;
	}
	s3_run_settled(run, item);
}

enum s3_etag s3_judge_etag(const struct http_request *request, const struct remote_item *item)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	struct digest etag;
	if (item->expect.kind != DIGEST_MD5 || http_header(request, "x-amz-server-side-encryption-customer-algorithm", &value) ||
	    (http_header(request, "x-amz-server-side-encryption", &value) && text_starts(value.data, "aws:kms")) ||
	    !http_header(request, "etag", &value) || value.len != 34 || value.data[0] != '"')
		return S3_ETAG_SILENT;
	buf_truncate(&value, 33);
	if (!digest_parse(&etag, DIGEST_MD5, value.data + 1))
		return S3_ETAG_SILENT;
	return digest_eq(&etag, &item->expect) ? S3_ETAG_SAME : S3_ETAG_OTHER;
}

static struct s3_slot *free_slot(struct s3_run *run)
{
	for (size_t i = 0; i < run->slot_count; i++) {
		if (!run->slots[i].item)
			return &run->slots[i];
	}
	return NULL;
}

static bool may_begin(const struct s3_run *run)
{
	if (run->next == run->count)
		return false;
	uint64_t size = run->items[run->next].size;
	return size == REMOTE_SIZE_UNKNOWN || size <= run->large || !s3_large_enough(run);
}

void s3_run_fill(struct s3_run *run)
{
	struct s3_slot *slot;
	while (!run->stopped && run->running < run->flow.limit && !s3_is_at_limit(run->remote->s3) && (slot = free_slot(run)) != NULL) {
		if (s3_large_take_part(slot))
			continue;
		if (!may_begin(run))
			return;
		run->begin(slot, &run->items[run->next++]);
	}
}

/* What is moving now, of objects that go in one piece; parts are counted as they come. */
static uint64_t moving(const struct s3_run *run)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < run->slot_count; i++)
		bytes += run->slots[i].item && !run->slots[i].large ? run->slots[i].moved : 0;
	return bytes;
}

static void tell_what_is_slow(struct s3_run *run, uint64_t now)
{
	const struct s3_slot *slowest = NULL;
	uint64_t idle = SLOW_MS, slowdowns = s3_slowdowns(run->remote->s3);
	if (!run->sink || !run->sink->slow)
		return;
	if (slowdowns != run->slowdowns)
		run->slowed_ms = now;
	run->slowdowns = slowdowns;
	for (size_t i = 0; i < run->slot_count; i++) {
		uint64_t since = run->slots[i].item ? http_idle_ms(&run->slots[i].op.request, now) : 0;
		if (since < idle)
			continue;
		idle = since;
		slowest = &run->slots[i];
	}
	char *why OWNED = NULL;
	if (slowest)
		why = mem_printf("no byte for %u s", (unsigned)(idle / 1000));
	else if (run->slowed_ms && now - run->slowed_ms < SLOWED_FOR_MS)
		why = mem_printf("it asks for less: %u at once", run->flow.limit);
	run->sink->slow(run->sink->ctx, slowest ? slowest->item : NULL, why);
}

static int tell(struct s3_run *run, uint64_t now, struct err *err)
{
	tell_what_is_slow(run, now);
	return remote_tell(run->sink, run->settled, run->bytes + moving(run), err);
}

static int step_until_settled(struct s3_run *run, struct err *err)
{
	uint64_t told = loop_now_ms();
	s3_run_fill(run);
	while (!run->stopped && run->settled < run->count) {
		if (loop_step(run->remote->loop, TELL_MS, err) < 0)
			return -1;
		uint64_t now = loop_now_ms();
		if (now - told < TELL_MS)
			continue;
		s3_flow_step(&run->flow, run->running >= run->flow.limit, s3_slowdowns(run->remote->s3), now);
		s3_run_fill(run);
		told = now;
		if (tell(run, now, err) < 0)
			return -1;
	}
	return run->stopped ? -1 : remote_tell(run->sink, run->settled, run->bytes, err);
}

int s3_run_items(struct s3_run *run, struct err *err)
{
	run->err = err;
	run->slot_count = s3_connections(run->remote->s3);
	run->large = s3_multipart_threshold(run->remote->s3, run->put);
	run->part = s3_multipart_chunksize(run->remote->s3, run->put);
	s3_flow_start(&run->flow, (unsigned)run->slot_count, loop_now_ms());
	if (run->remote->at_once)
		run->flow.limit = run->remote->at_once;
	run->slowdowns = run->flow.slowdowns = s3_slowdowns(run->remote->s3);
	run->lanes = hash_lanes_new();
	run->slots = mem_alloc(run->slot_count * sizeof(*run->slots));
	for (size_t i = 0; i < run->slot_count; i++)
		run->slots[i] = (struct s3_slot){ .run = run, .fd = -1, .op = S3_OP_INIT };
	int status = s3_ready(run->remote->s3, err);
	if (status == 0)
		status = step_until_settled(run, err);
	run->remote->at_once = run->flow.before ? run->flow.before : run->flow.limit;
	run->stopped = true; /* nothing starts while things are taken down */
	for (size_t i = 0; i < run->slot_count; i++) {
		s3_slot_clear(&run->slots[i], false);
		free(run->slots[i].small);
	}
	s3_large_drop_all(run);
	hash_lanes_free(run->lanes);
	free(run->slots);
	return status;
}

/* The remote. */

static int put_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	struct s3_run run = { .remote = (struct remote_s3 *)remote, .items = items, .count = count, .begin = s3_begin_put, .put = true,
			      .sink = sink };
	if (s3_run_items(&run, err) < 0)
		return -1;
	s3_large_end_abandoned((struct remote_s3 *)remote);
	return 0;
}

static int get_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	struct s3_run run = { .remote = (struct remote_s3 *)remote, .items = items, .count = count, .begin = s3_begin_get, .sink = sink };
	run.partials = s3_partial_any(run.remote->partial_dir);
	return s3_run_items(&run, err);
}

static int check_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	return s3_check((struct remote_s3 *)remote, items, count, sink, err);
}

static void on_removed(struct s3_op *op)
{
	struct s3_slot *slot = op->ctx;
	struct s3_run *run = slot->run;
	struct remote_item *item = slot->item;
	if (op->ret_outcome == S3_FAILED) {
		s3_run_failed(run, item, op, false);
	} else {
		item->ret_state = REMOTE_DONE;
		s3_run_settled(run, item);
	}
	s3_slot_clear(slot, false);
	s3_run_fill(run);
}

static void begin_remove(struct s3_slot *slot, struct remote_item *item)
{
	s3_slot_use(slot, item, "DELETE");
	slot->op.done = on_removed;
	s3_start(slot->run->remote->s3, &slot->op);
}

static int remove_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	struct s3_run run = { .remote = (struct remote_s3 *)remote, .items = items, .count = count, .begin = begin_remove, .sink = sink };
	return s3_run_items(&run, err);
}

struct visiting {
	remote_visit_fn *visit;
	void *ctx;
	bool done;
};

static void note_listed(void *ctx, struct s3_lister *lister UNUSED)
{
	struct visiting *visiting = ctx;
	visiting->done = true;
}

static int pass_on(void *ctx, const char *name, uint64_t size, int64_t modified_s, struct err *err)
{
	struct visiting *visiting = ctx;
	return visiting->visit(visiting->ctx, name, size, modified_s, err);
}

static int list_items(struct remote *remote, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err)
{
	struct remote_s3 *s3 = (struct remote_s3 *)remote;
	struct visiting visiting = { .visit = visit, .ctx = ctx };
	struct s3_lister lister;
	int status = 0;
	if (s3_ready(s3->s3, err) < 0)
		return -1;
	s3_lister_start(&lister, s3->s3, prefix, 0, pass_on, note_listed, &visiting);
	while (status == 0 && !visiting.done)
		status = loop_step(s3->loop, -1, err);
	if (status == 0 && lister.ret_status < 0)
		status = err_move(err, &lister.ret_err);
	s3_lister_release(&lister);
	return status;
}

static int check_versions(struct remote *remote, struct err *err)
{
	struct remote_s3 *s3 = (struct remote_s3 *)remote;
	struct s3_op op CLEANUP(s3_op_release) = S3_OP_INIT;
	struct buf status CLEANUP(buf_release) = BUF_INIT;
	op.method = "GET";
	strlist_add(&op.query, "versioning=");
	if (s3_ready(s3->s3, err) < 0)
		return -1;
	if (s3_run(s3->s3, &op, err) < 0) {
		if (op.ret_hopeless)
			return -1;
		err_release(err); /* it may not be asked; the first answer to a PUT tells */
		return 0;
	}
	if (op.ret_outcome != S3_OK || (xml_find(op.response.data, op.response.len, "Status", &status) && text_eq(status.data, "Enabled")))
		return 0;
	err_set(err, ERR_CONFIG, "the bucket of the remote '%s' keeps no versions of its objects", s3_name(s3->s3));
	return err_hint(err, "switch them on (aws s3api put-bucket-versioning --versioning-configuration Status=Enabled), or version_aware off");
}

static size_t sweep(struct remote *remote)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	size_t gone = 0;
	while (s3_ready(((struct remote_s3 *)remote)->s3, &ignored) == 0 && s3_large_end_abandoned((struct remote_s3 *)remote))
		gone++;
	return gone;
}

static const char *place_of(const struct remote *remote)
{
	return s3_place(((const struct remote_s3 *)remote)->s3);
}

static void close_remote(struct remote *remote)
{
	struct remote_s3 *s3 = (struct remote_s3 *)remote;
	s3_free(s3->s3);
	loop_free(s3->loop);
	free(s3->resume_dir);
	free(s3->partial_dir);
	free(s3);
}

int remote_s3_open(const struct remote_spec *spec, struct remote **ret, struct err *err)
{
	static const struct remote_class class = {
		.check = check_items, .put = put_items, .get = get_items, .remove = remove_items, .list = list_items, .sweep = sweep,
		.place = place_of, .check_versions = check_versions, .close = close_remote,
	};
	struct remote_s3 *s3 = mem_alloc(sizeof(*s3));
	s3->remote.class = &class;
	if (loop_new(&s3->loop, err) < 0) {
		free(s3);
		return -1;
	}
	if (s3_open(spec, s3->loop, &s3->s3, err) < 0) {
		loop_free(s3->loop);
		free(s3);
		return -1;
	}
	s3->resume_dir = mem_strdup(spec->resume_dir);
	s3->partial_dir = mem_strdup(spec->partial_dir);
	*ret = &s3->remote;
	return 0;
}
