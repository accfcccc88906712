#include "features/data/gc_remote.h"

#include "base/mem.h"

#define BATCH ((size_t)256)
#define BATCH_BYTES ((uint64_t)256 << 20) /* of disk that reading takes at most, but for a single larger object */

struct asking {
	struct data_repo *repo;
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

static int look_at_some(struct asking *asking, struct remote *remote, struct gc_copy *copies, size_t count, bool quick, struct err *err)
{
	struct remote_item *items OWNED = mem_alloc((count + 1) * sizeof(*items));
	struct arena names CLEANUP(arena_release) = { 0 };
	struct remote_sink sink = { .progress = on_progress, .ctx = asking };
	if (name_items(asking->repo, copies, count, quick, &names, items, err) < 0)
		return -1;
	int status = (quick ? remote_check : remote_get)(remote, items, count, &sink, err);
	for (size_t i = 0; i < count; i++) {
		struct err late CLEANUP(err_release) = ERR_INIT;
		copies[i].ret_there = status == 0 && items[i].ret_state == REMOTE_DONE;
		asking->bytes += copies[i].ret_there ? items[i].ret_size : 0;
		if (items[i].path && fs_remove(items[i].path, &late) < 0 && status == 0)
			status = err_move(err, &late);
		err_release(&items[i].ret_err);
	}
	asking->before += count;
	return status;
}

int gc_find_copies(struct data_repo *repo, struct remote *remote, struct gc_copy *copies, size_t count, bool quick, struct err *err)
{
	struct asking asking = { .repo = repo, .total = count };
	for (size_t at = 0; at < count;) {
		size_t n = 0;
		uint64_t bytes = 0;
		while (at + n < count && (quick || (n < BATCH && bytes < BATCH_BYTES)))
			bytes += copies[at + n++].size;
		if (look_at_some(&asking, remote, copies + at, n, quick, err) < 0)
			return -1;
		at += n;
	}
	return 0;
}
