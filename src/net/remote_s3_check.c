/*
 * Which of many objects are there: a HEAD for each, or a listing of all that share their prefix, whichever takes less.
 *
 * Names that are digests are spread evenly, so the last name of the first page tells how many there are in all: if it stands
 * at a 50th of the range, there are about 50 pages.
 */
#include "base/mem.h"
#include "base/text.h"
#include "net/http_answer.h"
#include "net/remote_s3_impl.h"
#include "net/s3_list.h"

#include <stdlib.h>
#include <string.h>

#define LIST_FROM 200   /* keys; fewer are asked for one by one */
#define PAGE_COST 8     /* HEADs that take as long as one page */
#define SLICES 16       /* by the first hex digit, listed side by side */

static void on_head(struct s3_op *op)
{
	struct s3_slot *slot = op->ctx;
	struct s3_run *run = slot->run;
	struct remote_item *item = slot->item;
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	if (op->ret_outcome == S3_OK) {
		item->ret_state = REMOTE_DONE;
		http_stamp(&op->request, item->ret_stamp);
		s3_take_version(&op->request, item);
		if (http_header(&op->request, "content-length", &value) && text_parse_u64(value.data, &item->ret_size) &&
		    item->size != REMOTE_SIZE_UNKNOWN && item->size != item->ret_size)
			remote_item_wrong_size(item, "the remote copy", item->ret_size);
		enum s3_etag etag = s3_judge_etag(&op->request, item);
		run->etags_are_md5 = run->etags_are_md5 || etag == S3_ETAG_SAME;
		if (item->ret_state == REMOTE_DONE && etag == S3_ETAG_OTHER)
			err_set(&item->ret_err, ERR_DATA, "the ETag of the remote copy of '%s' is not its md5", item->key);
		s3_run_settled(run, item);
	} else if (op->ret_outcome == S3_FAILED) {
		s3_run_failed(run, item, op, false);
	} else {
		item->ret_state = REMOTE_MISSING;
		s3_run_settled(run, item);
	}
	s3_slot_clear(slot, false);
	s3_run_fill(run);
}

static void begin_head(struct s3_slot *slot, struct remote_item *item)
{
	s3_slot_use(slot, item, "HEAD");
	slot->op.done = on_head;
	slot->op.use = S3_USE_READ;
	s3_start(slot->run->remote->s3, &slot->op);
}

/* A HEAD has no body to tell a missing bucket from a missing object by. */
static int bucket_exists(struct remote_s3 *remote, struct err *err)
{
	struct s3_op op CLEANUP(s3_op_release) = S3_OP_INIT;
	op.method = "GET";
	strlist_add(&op.query, "list-type=2");
	strlist_add(&op.query, "max-keys=1");
	if (s3_run(remote->s3, &op, err) == 0)
		return 0;
	if (op.request.ret_status != 403)
		return -1;
	err_release(err); /* listing is not allowed, which is no reason to give up */
	return 0;
}

static int check_by_heads(struct remote_s3 *remote, struct remote_item *items, size_t count, const struct remote_sink *sink,
			  struct err *err)
{
	struct s3_run run = { .remote = remote, .items = items, .count = count, .begin = begin_head, .sink = sink };
	if (s3_run_items(&run, err) < 0)
		return -1;
	bool missing = true;
	for (size_t i = 0; i < count; i++) {
		missing = missing && items[i].ret_state == REMOTE_MISSING;
		/* Where no ETag is an md5, none says anything. */
		if (items[i].ret_state == REMOTE_DONE && items[i].ret_err.message) {
			if (run.etags_are_md5)
				items[i].ret_state = REMOTE_DAMAGED;
			else
				err_release(&items[i].ret_err);
		}
	}
	return missing ? bucket_exists(remote, err) : 0;
}

/* Listing. */

struct listing {
	struct remote_item **sorted; /* by key */
	size_t count;
	char last[5];                /* first hex digits of the last name, behind the prefix */
	size_t prefix_len;
	size_t running;
};

static int compare_keys(const void *a, const void *b)
{
	const struct remote_item *const *left = a, *const *right = b;
	return strcmp((*left)->key, (*right)->key);
}

static int note_object(void *ctx, const char *name, uint64_t size, int64_t modified_s UNUSED, struct err *err UNUSED)
{
	struct listing *listing = ctx;
	size_t low = 0, high = listing->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(listing->sorted[middle]->key, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < listing->count && strcmp(listing->sorted[low]->key, name) == 0; low++) {
		struct remote_item *item = listing->sorted[low];
		item->ret_size = size;
		if (item->size != REMOTE_SIZE_UNKNOWN && item->size != size)
			remote_item_wrong_size(item, "the remote copy", size);
		else
			item->ret_state = REMOTE_DONE;
	}
	size_t at = listing->prefix_len, have = 0;
	for (const char *c = strlen(name) > at ? name + at : ""; *c && have < 4; c++) {
		if (*c != '/')
			listing->last[have++] = *c;
	}
	listing->last[have] = '\0';
	return 0;
}

static void note_end(void *ctx, struct s3_lister *lister UNUSED)
{
	struct listing *listing = ctx;
	listing->running--;
}

static int wait_for_listers(struct remote_s3 *remote, struct listing *listing, const struct remote_sink *sink, struct err *err)
{
	while (listing->running > 0) {
		if (loop_step(remote->loop, 100, err) < 0 || remote_tell(sink, 0, 0, err) < 0)
			return -1;
	}
	return 0;
}

/* Up to and with the last '/' that all keys share. */
static char *common_prefix(const struct listing *listing)
{
	const char *first = listing->sorted[0]->key, *last = listing->sorted[listing->count - 1]->key;
	size_t len = 0, keep = 0;
	while (first[len] && first[len] == last[len]) {
		len++;
		if (first[len - 1] == '/')
			keep = len;
	}
	return mem_strndup(first, keep);
}

static uint64_t estimate_pages(const struct listing *listing)
{
	char *end;
	unsigned long at = strtoul(listing->last, &end, 16);
	if (*end || strlen(listing->last) != 4)
		return UINT64_MAX; /* no digests: no way to tell */
	return 0x10000 / (at + 1);
}

static int list_slices(struct remote_s3 *remote, struct listing *listing, const char *prefix, const struct remote_sink *sink,
		       struct err *err)
{
	struct s3_lister listers[SLICES];
	for (unsigned i = 0; i < SLICES; i++) {
		char *slice OWNED = mem_printf("%s%x", prefix, i);
		listing->running++;
		s3_lister_start(&listers[i], remote->s3, slice, 0, note_object, note_end, listing);
	}
	int status = wait_for_listers(remote, listing, sink, err);
	for (unsigned i = 0; i < SLICES; i++) {
		if (status == 0 && listers[i].ret_status < 0)
			status = err_move(err, &listers[i].ret_err);
		s3_lister_release(&listers[i]);
	}
	return status;
}

/* The first page; *ret_more if there are others. Where listing is refused HEADs may be allowed all the same. */
static int list_first_page(struct remote_s3 *remote, struct listing *listing, const char *prefix, bool *ret_refused, bool *ret_more,
			   const struct remote_sink *sink, struct err *err)
{
	struct s3_lister lister;
	listing->running = 1;
	s3_lister_start(&lister, remote->s3, prefix, 1, note_object, note_end, listing);
	int status = wait_for_listers(remote, listing, sink, err);
	*ret_more = lister.ret_more;
	*ret_refused = lister.ret_status < 0 && lister.op.request.ret_status == 403 && !lister.op.ret_hopeless;
	if (status == 0 && lister.ret_status < 0 && !*ret_refused)
		status = err_move(err, &lister.ret_err);
	s3_lister_release(&lister);
	return status;
}

/* *ret_whole: the listing has told of every item; else HEADs must. */
static int check_by_list(struct remote_s3 *remote, struct listing *listing, const struct remote_sink *sink, bool *ret_whole, struct err *err)
{
	char *prefix OWNED = common_prefix(listing);
	bool refused, more;
	listing->prefix_len = strlen(prefix);
	if (list_first_page(remote, listing, prefix, &refused, &more, sink, err) < 0)
		return -1;
	*ret_whole = !refused && !more;
	if (refused || !more)
		return 0;
	uint64_t pages = estimate_pages(listing);
	if (pages == UINT64_MAX || pages * PAGE_COST > listing->count)
		return 0;
	*ret_whole = true;
	return list_slices(remote, listing, prefix, sink, err);
}

int s3_check(struct remote_s3 *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	bool of_versions = false; /* which a listing says nothing of */
	for (size_t i = 0; i < count && !of_versions; i++)
		of_versions = items[i].version || items[i].ret_version;
	if (count < LIST_FROM || of_versions)
		return check_by_heads(remote, items, count, sink, err);
	struct listing listing = { .count = count };
	bool whole = false;
	listing.sorted = mem_alloc(count * sizeof(struct remote_item *));
	for (size_t i = 0; i < count; i++)
		listing.sorted[i] = &items[i];
	qsort(listing.sorted, count, sizeof(struct remote_item *), compare_keys);
	int status = s3_ready(remote->s3, err);
	if (status == 0)
		status = check_by_list(remote, &listing, sink, &whole, err);
	free(listing.sorted);
	if (status < 0)
		return -1;
	if (!whole) {
		for (size_t i = 0; i < count; i++) {
			items[i].ret_state = REMOTE_PENDING;
			err_release(&items[i].ret_err);
		}
		return check_by_heads(remote, items, count, sink, err);
	}
	for (size_t i = 0; i < count; i++) {
		if (items[i].ret_state == REMOTE_PENDING)
			items[i].ret_state = REMOTE_MISSING;
	}
	return remote_tell(sink, count, 0, err);
}
