#include "features/data/gc_remote.h"

#include "base/mem.h"
#include "features/data/objects.h"

#define BATCH ((size_t)256)
#define BATCH_BYTES ((uint64_t)256 << 20) /* of disk that reading takes at most, but for a single larger object */

struct asking {
	struct data_repo *repo;
	struct remote *remote;
	bool quick;
	struct strlist *damaged, *unread;
	size_t before, total;
	uint64_t bytes;
};

static bool on_progress(void *ctx, size_t items_done, uint64_t bytes_done)
{
	struct asking *asking = ctx;
	repo_progress(asking->repo, "reading", asking->before + items_done, asking->total, asking->bytes + bytes_done);
	return true;
}

static int name_items(struct data_repo *repo, const struct gc_copy *copies, size_t count, bool quick, struct arena *names,
		      struct remote_item *items, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct buf key CLEANUP(buf_release) = BUF_INIT, temp CLEANUP(buf_release) = BUF_INIT;
		if (!quick && odb_temp_path(&repo->odb, &temp, err) < 0)
			return -1;
		odb_add_key(&key, &copies[i].id);
		items[i] = (struct remote_item){ .key = arena_strdup(names, key.data), .size = copies[i].size, .expect = copies[i].id.digest,
						 .path = quick ? NULL : arena_strdup(names, temp.data) };
	}
	return 0;
}

static void take_answer(struct asking *asking, struct gc_copy *copy, const struct remote_item *item)
{
	struct buf name CLEANUP(buf_release) = BUF_INIT;
	object_add_name(&name, &copy->id);
	copy->ret_there = item->ret_state == REMOTE_DONE;
	asking->bytes += copy->ret_there ? item->ret_size : 0;
	if (item->ret_state == REMOTE_DAMAGED)
		strlist_add(asking->damaged, name.data);
	else if (item->ret_state == REMOTE_FAILED)
		strlist_take(asking->unread, mem_printf("%s: %s", name.data, item->ret_err.message ? item->ret_err.message : "failed"));
}

static int look_at_some(struct asking *asking, struct gc_copy *copies, size_t count, struct err *err)
{
	bool quick = asking->quick;
	struct remote_item *items OWNED = mem_alloc((count + 1) * sizeof(*items));
	struct arena names CLEANUP(arena_release) = { 0 };
	struct remote_sink sink = { .progress = on_progress, .ctx = asking };
	if (name_items(asking->repo, copies, count, quick, &names, items, err) < 0)
		return -1;
	int status = (quick ? remote_check : remote_get)(asking->remote, items, count, &sink, err);
	for (size_t i = 0; i < count; i++) {
		struct err late CLEANUP(err_release) = ERR_INIT;
		if (status == 0)
			take_answer(asking, &copies[i], &items[i]);
		if (items[i].path && fs_remove(items[i].path, &late) < 0 && status == 0)
			status = err_move(err, &late);
		err_release(&items[i].ret_err);
	}
	asking->before += count;
	return status;
}

int gc_find_copies(struct data_repo *repo, struct remote *remote, struct gc_copy *copies, size_t count, bool quick, struct strlist *ret_damaged,
		   struct strlist *ret_unread, struct err *err)
{
	struct asking asking = { .repo = repo, .remote = remote, .quick = quick, .damaged = ret_damaged, .unread = ret_unread, .total = count };
	for (size_t at = 0; at < count;) {
		size_t n = 0;
		uint64_t bytes = 0;
		while (at + n < count && (quick || (n < BATCH && bytes < BATCH_BYTES)))
			bytes += copies[at + n++].size;
		if (look_at_some(&asking, copies + at, n, err) < 0)
			return -1;
		at += n;
	}
	return 0;
}
