/*
 * push and fetch. What a remote is said to have counts for nothing: each object is asked for, and each byte that moves is hashed.
 */
#include "features/data/transfer.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/checkout.h"
#include "features/data/import.h"
#include "features/data/objects.h"
#include "features/data/push_known.h"
#include "features/data/transfer_report.h"
#include "features/data/versions.h"
#include "store/state.h"
#include "store/workdir.h"

#include <string.h>

/* Objects that are fetched before they are synced and kept. */
#define FETCH_BATCH ((size_t)4096)
/* Objects that are pushed in one go: their paths take more memory than all else. */
#define PUSH_BATCH ((size_t)65536)

struct transfer {
	struct data_repo *repo;
	const struct data_transfer_options *options;
	struct data_transfer_report *ret;
	struct remote *remote;
	struct arena arena;
	struct objects objects;
	const char *verb;
	size_t total, before;
	uint64_t bytes_before, bytes_total; /* total 0: not known */
	uint64_t expected;                  /* bytes of what is not cached, if unsized is false */
	bool unsized;
	const struct batch *moving;         /* NULL: only asking */
	char *slow;                         /* what holds it up; NULL: nothing */
};

static void transfer_release(struct transfer *transfer)
{
	remote_close(transfer->remote);
	objects_release(&transfer->objects);
	arena_release(&transfer->arena);
	free(transfer->slow);
}

struct batch {
	struct remote_item *items;
	uint32_t *index; /* of each item's object */
	size_t count;
};

static void batch_init(struct batch *batch, size_t most)
{
	batch->items = mem_alloc((most + 1) * sizeof(*batch->items));
	batch->index = mem_alloc((most + 1) * sizeof(*batch->index));
	batch->count = 0;
}

static void batch_release(struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		err_release(&batch->items[i].ret_err);
	free(batch->items);
	free(batch->index);
}

static void batch_add(struct batch *batch, const struct objects *objects, uint32_t index, const char *path)
{
	const struct object *object = &objects->list.at[index];
	batch->items[batch->count] =
		(struct remote_item){ .key = object->key, .path = path, .size = object->size, .expect = object->id.digest,
				      .max_size = object->id.is_dir ? DVC_DIR_MAX_BYTES : 0 };
	batch->index[batch->count++] = index;
}

static bool on_progress(void *ctx, size_t items_done, uint64_t bytes_done)
{
	const struct transfer *transfer = ctx;
	repo_progress_of(transfer->repo, &(struct data_progress){ .verb = transfer->verb, .done = transfer->before + items_done,
								  .total = transfer->total, .bytes = transfer->bytes_before + bytes_done,
								  .total_bytes = transfer->bytes_total, .slow = transfer->slow });
	return true;
}

static void on_slow(void *ctx, const struct remote_item *item, const char *why)
{
	struct transfer *transfer = ctx;
	const char *name = item ? item->key : transfer->ret && transfer->ret->remote ? transfer->ret->remote : "the remote";
	if (item && transfer->moving)
		name = transfer->objects.list.at[transfer->moving->index[item - transfer->moving->items]].name;
	free(transfer->slow);
	transfer->slow = why ? mem_printf("%s: %s", name, why) : NULL;
}

/* The bytes of a batch whose sizes are all known; else 0. */
static uint64_t bytes_of(const struct batch *batch)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < batch->count; i++) {
		if (batch->items[i].size == REMOTE_SIZE_UNKNOWN)
			return 0;
		sum += batch->items[i].size;
	}
	return sum;
}

static int open_remote(struct data_repo *repo, const char *name, unsigned jobs, uint64_t limit_rate, bool aware, struct arena *arena,
		       struct remote **ret, char **ret_name, struct err *err)
{
	struct remote_spec spec;
	if ((aware ? config_remote_any : config_remote)(&repo->config, name, arena, &spec, err) < 0)
		return -1;
	if (jobs)
		spec.jobs = jobs;
	struct strlist unknown CLEANUP(strlist_release) = { 0 };
	config_remote_unknown(&repo->config, name, &unknown);
	for (size_t i = 0; i < unknown.len; i++)
		repo_warn(repo, "%s", unknown.at[i]);
	if (ret_name && !*ret_name)
		*ret_name = mem_strdup(spec.name);
	if (limit_rate)
		spec.limit_rate = limit_rate == DATA_RATE_ANY ? 0 : limit_rate;
	struct buf state CLEANUP(buf_release) = BUF_INIT;
	if (state_find_dir(repo->root, &state, err) < 0)
		return -1;
	spec.resume_dir = arena_printf(arena, "%s/uploads", state.data);
	spec.pack_dir = arena_printf(arena, "%s/packs", state.data);
	if (spec.packed && workdir_make(state.data, err) < 0)
		return -1;
	struct buf partial CLEANUP(buf_release) = BUF_INIT;
	odb_partial_dir(&repo->odb, &partial);
	spec.partial_dir = arena_strdup(arena, partial.data);
	return remote_open(&spec, ret, err);
}

int transfer_open_remote(struct data_repo *repo, const char *name, unsigned jobs, struct arena *arena, struct remote **ret, char **ret_name,
			 struct err *err)
{
	return open_remote(repo, name, jobs, 0, false, arena, ret, ret_name, err);
}

int transfer_open_aware(struct data_repo *repo, const char *name, unsigned jobs, uint64_t limit_rate, struct arena *arena, struct remote **ret,
			char **ret_name, struct err *err)
{
	return open_remote(repo, name, jobs, limit_rate, true, arena, ret, ret_name, err);
}

/* Asks for all objects that are not known to be there; on_remote says. */
static int check_all(struct transfer *transfer, struct err *err)
{
	struct batch batch CLEANUP(batch_release) = { NULL, NULL, 0 };
	batch_init(&batch, transfer->objects.list.len);
	for (uint32_t i = 0; i < transfer->objects.list.len; i++) {
		if (!transfer->objects.list.at[i].on_remote)
			batch_add(&batch, &transfer->objects, i, NULL);
	}
	transfer->verb = "checking";
	transfer->total = batch.count;
	transfer->before = 0;
	transfer->bytes_total = 0;
	struct remote_sink sink = { .progress = on_progress, .ctx = transfer, .slow = on_slow };
	int status = remote_check(transfer->remote, batch.items, batch.count, &sink, err);
	for (size_t i = 0; status < 0 && transfer->ret && i < batch.count; i++) {
		if (transfer->objects.list.at[batch.index[i]].wanted)
			report_stopped(transfer->ret, transfer->objects.list.at[batch.index[i]].name);
	}
	for (size_t i = 0; status == 0 && i < batch.count; i++) {
		struct object *object = &transfer->objects.list.at[batch.index[i]];
		object->on_remote = batch.items[i].ret_state == REMOTE_DONE;
		object->asked = batch.items[i].ret_state != REMOTE_FAILED;
		if (!object->asked && transfer->ret)
			report_failed(transfer->ret, object->name, &batch.items[i]);
	}
	return status;
}

/* A dry run's answer: what stands in the batch would be moved. */
static int plan(struct transfer *transfer, const struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct object *object = &transfer->objects.list.at[batch->index[i]];
		strlist_take(&transfer->ret->planned, object_describe(object));
		transfer->ret->moved++;
		transfer->ret->bytes += object->size == REMOTE_SIZE_UNKNOWN ? 0 : object->size;
		object->on_remote = true; /* or in the cache: as if it had been moved */
	}
	return 0;
}

static void take_put(struct transfer *transfer, const struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct object *object = &transfer->objects.list.at[batch->index[i]];
		const struct remote_item *item = &batch->items[i];
		switch (item->ret_state) {
		case REMOTE_DONE:
			object->on_remote = true;
			transfer->ret->moved++;
			transfer->ret->bytes += item->ret_size;
			break;
		case REMOTE_MISSING:
			strlist_take(&transfer->ret->missing, object_describe(object));
			break;
		case REMOTE_DAMAGED: {
			char *what OWNED = object_describe(object);
			strlist_take(&transfer->ret->damaged, mem_printf("%s: damaged in the cache", what));
			break;
		}
		default:
			report_failed(transfer->ret, object->name, item);
		}
	}
}

static int put(struct transfer *transfer, struct batch *batch, struct err *err)
{
	struct remote_sink sink = { .progress = on_progress, .ctx = transfer, .slow = on_slow };
	if (!batch->count)
		return 0;
	if (transfer->options->dry)
		return plan(transfer, batch);
	uint64_t bytes = bytes_of(batch);
	transfer->bytes_total = bytes ? transfer->bytes_before + bytes : 0;
	transfer->moving = batch;
	int status = remote_put(transfer->remote, batch->items, batch->count, &sink, err);
	transfer->moving = NULL;
	take_put(transfer, batch);
	transfer->before += batch->count;
	transfer->bytes_before = transfer->ret->bytes;
	return status;
}

static const char *cache_path(const struct transfer *transfer, const struct object *object, struct arena *arena)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	odb_add_path(&transfer->repo->odb, &path, &object->id);
	return arena_strdup(arena, path.data);
}

static int put_some(struct transfer *transfer, const uint32_t *wanted, size_t count, struct err *err)
{
	struct arena paths CLEANUP(arena_release) = { 0 };
	struct batch batch CLEANUP(batch_release) = { NULL, NULL, 0 };
	batch_init(&batch, count);
	for (size_t i = 0; i < count; i++)
		batch_add(&batch, &transfer->objects, wanted[i], cache_path(transfer, &transfer->objects.list.at[wanted[i]], &paths));
	return put(transfer, &batch, err);
}

static int put_wanted(struct transfer *transfer, const uint32_t *wanted, size_t count, struct err *err)
{
	for (size_t at = 0; at < count; at += PUSH_BATCH) {
		size_t n = count - at < PUSH_BATCH ? count - at : PUSH_BATCH;
		if (put_some(transfer, wanted + at, n, err) == 0)
			continue;
		for (size_t i = at + n; i < count; i++)
			report_stopped(transfer->ret, transfer->objects.list.at[wanted[i]].name);
		return -1;
	}
	return 0;
}

static int put_members(struct transfer *transfer, struct err *err)
{
	VEC(uint32_t) wanted = { 0 };
	for (uint32_t i = 0; i < transfer->objects.list.len; i++) {
		const struct object *object = &transfer->objects.list.at[i];
		if (object->on_remote && object->wanted)
			transfer->ret->present++;
		/* Whether the remote has it could not be learnt, which the report says. */
		if (object->on_remote || object->id.is_dir || !object->wanted || !object->asked)
			continue;
		if (object->cached)
			vec_push(&wanted, i);
		else
			strlist_take(&transfer->ret->missing, object_describe(object));
	}
	transfer->total = wanted.len;
	int status = put_wanted(transfer, wanted.at, wanted.len, err);
	vec_release(&wanted);
	return status;
}

/* A manifest goes up when all that it lists is there: whoever sees it may rely on it. */
static int put_manifests(struct transfer *transfer, struct err *err)
{
	struct batch batch CLEANUP(batch_release) = { NULL, NULL, 0 };
	batch_init(&batch, transfer->objects.dirs.len);
	for (size_t i = 0; i < transfer->objects.dirs.len; i++) {
		const struct object_dir *dir = &transfer->objects.dirs.at[i];
		const struct object *manifest = &transfer->objects.list.at[dir->manifest];
		bool complete = true;
		for (size_t k = 0; k < dir->members.len; k++)
			complete = complete && transfer->objects.list.at[dir->members.at[k]].on_remote;
		bool twice = false;
		for (size_t k = 0; k < batch.count; k++)
			twice = twice || batch.index[k] == dir->manifest;
		if (manifest->on_remote || twice || !manifest->asked)
			continue;
		if (complete)
			batch_add(&batch, &transfer->objects, dir->manifest, cache_path(transfer, manifest, &transfer->arena));
		else
			report_withheld(transfer->ret, transfer->repo, &transfer->objects, dir);
	}
	return put(transfer, &batch, err);
}

static void name_withheld(struct transfer *transfer)
{
	for (size_t i = 0; i < transfer->objects.list.len; i++) {
		const struct object *object = &transfer->objects.list.at[i];
		if (object->id.is_dir && object->wanted && !object->on_remote && object->asked)
			report_stopped(transfer->ret, object->name);
	}
}

/* What the cache lacks of an output, by the size that its .dvc records: a manifest has none of its members. Of contents that are there twice, or
 * in another directory as well, that sum says too much. count, dirs: what was there before it was added. */
static void expect_bytes(struct transfer *transfer, const struct selected *selected, size_t count, size_t dirs)
{
	const struct objects *objects = &transfer->objects;
	const struct dvc_out *out = selected->tracked->out;
	uint64_t size = out->size;
	size_t fresh = objects->list.len - count;
	if (!out->is_dir && !fresh)
		return;
	bool whole = !out->is_dir || (objects->dirs.len > dirs && objects->dirs.at[dirs].members.len <= fresh);
	if (!out->has_size || out->legacy || selected->sub || !whole) {
		transfer->unsized = true;
		return;
	}
	for (size_t i = count; i < objects->list.len; i++) {
		uint64_t cached = objects->list.at[i].cached && !objects->list.at[i].id.is_dir ? objects->list.at[i].size : 0;
		size -= cached < size ? cached : size;
	}
	transfer->expected += size;
}

/* What cannot be handled goes to the report; what was never there to be had is an error. */
static int add_objects(struct transfer *transfer, const struct selection *chosen, struct err *err)
{
	for (size_t i = 0; i < chosen->list.len; i++) {
		const struct selected *selected = &chosen->list.at[i];
		struct err odd CLEANUP(err_release) = ERR_INIT;
		size_t before = transfer->objects.list.len, dirs = transfer->objects.dirs.len;
		if (tracked_check_supported(selected->tracked, &odd) < 0)
			strlist_add(&transfer->ret->broken, odd.message);
		else if (objects_add(transfer->repo, &transfer->objects, selected, &odd) < 0) {
			if (odd.code == ERR_CONFIG)
				return err_move(err, &odd);
			strlist_take(&transfer->ret->damaged, mem_printf("%s/: %s", selected->tracked->path, odd.message));
		} else {
			expect_bytes(transfer, selected, before, dirs);
		}
	}
	return 0;
}

static int get_manifests(struct transfer *transfer, const struct selection *chosen, struct err *err);

/* After a failure before any member was asked for: what of the selection itself is not here; for a push all of it, since nobody knows. */
static void name_tops(struct transfer *transfer, const struct selection *chosen, bool for_push)
{
	for (size_t i = 0; i < chosen->list.len; i++) {
		size_t before = transfer->objects.list.len;
		uint32_t index = objects_add_top(transfer->repo, &transfer->objects, &chosen->list.at[i]);
		const struct object *object = &transfer->objects.list.at[index];
		if (index >= before && (for_push || !object->cached))
			report_stopped(transfer->ret, object->name);
	}
}

static int push_group(struct data_repo *repo, const struct remote_group *group, const struct data_transfer_options *options,
		      struct data_transfer_report *ret, struct err *err)
{
	struct transfer transfer CLEANUP(transfer_release) = { .repo = repo, .options = options, .ret = ret, .objects = OBJECTS_INIT };
	size_t moved = ret->moved;
	uint64_t bytes = ret->bytes;
	if (open_remote(repo, group->remote, options->jobs, options->limit_rate, false, &transfer.arena, &transfer.remote, &ret->remote, err) < 0 ||
	    get_manifests(&transfer, &group->chosen, err) < 0) {
		name_tops(&transfer, &group->chosen, true);
		return -1;
	}
	if (add_objects(&transfer, &group->chosen, err) < 0)
		return -1;
	/* A manifest that is neither here nor there was named by get_manifests, one that was fetched to be looked at is not pushed. */
	ret->moved = moved;
	ret->bytes = bytes;
	if ((!options->verify && push_mark_known(repo, transfer.remote, &transfer.objects, err) < 0) || check_all(&transfer, err) < 0)
		return -1;
	transfer.verb = "pushing";
	transfer.before = 0;
	if (put_members(&transfer, err) < 0) {
		name_withheld(&transfer);
		return -1;
	}
	if (put_manifests(&transfer, err) < 0)
		return -1;
	return options->dry ? 0 : push_note_known(repo, transfer.remote, &transfer.objects, err);
}

/* Fetching. */

static int keep(struct transfer *transfer, const struct batch *batch, struct err *err)
{
	struct odb_publish *publish OWNED = mem_alloc((batch->count + 1) * sizeof(*publish));
	size_t count = 0;
	for (size_t i = 0; i < batch->count; i++) {
		struct object *object = &transfer->objects.list.at[batch->index[i]];
		const struct remote_item *item = &batch->items[i];
		char *what OWNED = object_describe(object);
		switch (item->ret_state) {
		case REMOTE_DONE:
			publish[count++] = (struct odb_publish){ item->path, object->id };
			object->cached = true;
			transfer->ret->moved++;
			transfer->ret->bytes += item->ret_size;
			break;
		case REMOTE_MISSING:
			strlist_take(&transfer->ret->missing, mem_strdup(what));
			report_hint(&transfer->ret->hints, item);
			break;
		case REMOTE_DAMAGED:
			strlist_take(&transfer->ret->damaged, mem_printf("%s: damaged on the remote '%s'", what, transfer->ret->remote));
			break;
		default:
			report_failed(transfer->ret, object->name, item);
		}
	}
	if (odb_publish(&transfer->repo->odb, publish, count, err) < 0)
		return -1;
	for (size_t i = 0; i < batch->count; i++)
		if (batch->items[i].ret_twin)
			odb_offer(&transfer->repo->odb, &transfer->objects.list.at[batch->index[i]].id, batch->items[i].ret_twin);
	return 0;
}

static const char *name_twin(void *ctx, const struct remote_item *item, uint64_t size)
{
	struct transfer *transfer = ctx;
	const struct object *object = &transfer->objects.list.at[transfer->moving->index[item - transfer->moving->items]];
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	return !object->id.is_dir && checkout_prepare(transfer->repo, object->name, size, &path) ? arena_strdup(&transfer->arena, path.data) : NULL;
}

static int get_batch(struct transfer *transfer, struct batch *batch, struct err *err)
{
	struct remote_sink sink = { on_progress, transfer, on_slow, transfer->options->checks_out ? name_twin : NULL };
	if (!batch->count)
		return 0;
	/* Of several batches, those behind this one are not counted in bytes, unless the records say how many there are. */
	uint64_t bytes = batch->count == transfer->total - transfer->before ? bytes_of(batch) : 0;
	transfer->bytes_total = bytes ? transfer->bytes_before + bytes : transfer->unsized ? 0 : transfer->expected;
	transfer->moving = batch;
	int status = remote_get(transfer->remote, batch->items, batch->count, &sink, err);
	transfer->moving = NULL;
	struct err late CLEANUP(err_release) = ERR_INIT;
	/* What did arrive is kept even when the rest cannot. */
	if (keep(transfer, batch, &late) < 0 && status == 0)
		status = err_move(err, &late);
	transfer->before += batch->count;
	transfer->bytes_before = transfer->ret->bytes;
	return status;
}

static int plan_get(struct transfer *transfer, struct batch *batch, struct err *err)
{
	struct remote_sink sink = { .progress = on_progress, .ctx = transfer };
	size_t there = 0;
	if (remote_check(transfer->remote, batch->items, batch->count, &sink, err) < 0)
		return -1;
	for (size_t i = 0; i < batch->count; i++) {
		struct object *object = &transfer->objects.list.at[batch->index[i]];
		struct remote_item *item = &batch->items[i];
		if (item->ret_state == REMOTE_DONE) {
			object->size = item->ret_size;
			batch->index[there++] = batch->index[i];
		} else if (item->ret_state == REMOTE_MISSING)
			strlist_take(&transfer->ret->missing, object_describe(object));
		else
			report_failed(transfer->ret, object->name, item);
		err_release(&item->ret_err);
	}
	batch->count = there;
	return plan(transfer, batch);
}

static int get_some(struct transfer *transfer, const uint32_t *wanted, size_t count, bool dry, struct err *err)
{
	struct arena paths CLEANUP(arena_release) = { 0 };
	struct batch batch CLEANUP(batch_release) = { NULL, NULL, 0 };
	batch_init(&batch, count);
	for (size_t i = 0; i < count; i++) {
		struct buf temp CLEANUP(buf_release) = BUF_INIT;
		if (odb_temp_path(&transfer->repo->odb, &temp, err) < 0)
			return -1;
		batch_add(&batch, &transfer->objects, wanted[i], arena_strdup(&paths, temp.data));
	}
	return dry ? plan_get(transfer, &batch, err) : get_batch(transfer, &batch, err);
}

/* A dry run fetches manifests all the same (for_the_user is false), to see what they list. */
static int get_objects(struct transfer *transfer, const uint32_t *wanted, size_t count, bool for_the_user, struct err *err)
{
	transfer->verb = "fetching";
	transfer->total = count;
	transfer->before = 0;
	bool dry = transfer->options->dry && for_the_user;
	for (size_t at = 0; at < count; at += FETCH_BATCH) {
		size_t n = count - at < FETCH_BATCH ? count - at : FETCH_BATCH;
		if (get_some(transfer, wanted + at, n, dry, err) == 0)
			continue;
		for (size_t i = at + n; i < count; i++)
			report_stopped(transfer->ret, transfer->objects.list.at[wanted[i]].name);
		return -1;
	}
	return 0;
}

/* A manifest in the cache that is damaged is moved away, so that it is fetched. */
static void drop_damaged_manifest(struct data_repo *repo, const struct tracked *tracked)
{
	struct odb_id id = tracked_id(tracked);
	struct buf where CLEANUP(buf_release) = BUF_INIT;
	struct err damage CLEANUP(err_release) = ERR_INIT, late CLEANUP(err_release) = ERR_INIT;
	if (!odb_has(&repo->odb, &id, NULL) || dvc_manifest_is_intact(repo, &id, &damage))
		return;
	if (odb_quarantine(&repo->odb, &id, &where, &late) == 0)
		repo_warn(repo, "%s; it was moved to %s", damage.message, where.data);
}

static int get_manifests(struct transfer *transfer, const struct selection *chosen, struct err *err)
{
	VEC(uint32_t) wanted = { 0 };
	for (size_t i = 0; i < chosen->list.len; i++) {
		const struct selected *selected = &chosen->list.at[i];
		struct err odd CLEANUP(err_release) = ERR_INIT;
		if (!selected->tracked->out->is_dir || tracked_check_supported(selected->tracked, &odd) < 0)
			continue;
		drop_damaged_manifest(transfer->repo, selected->tracked);
		size_t before = transfer->objects.list.len;
		uint32_t index = objects_add_top(transfer->repo, &transfer->objects, selected);
		if (index >= before && !transfer->objects.list.at[index].cached)
			vec_push(&wanted, index);
	}
	int status = get_objects(transfer, wanted.at, wanted.len, false, err);
	vec_release(&wanted);
	return status;
}

/* An import from a URL belongs to the remote like anything else; but where that lacks it, the source may still have it. */
static void name_sources(struct data_repo *repo, const struct selection *chosen)
{
	for (size_t i = 0; i < chosen->list.len; i++) {
		const struct tracked *tracked = chosen->list.at[i].tracked;
		struct odb_id id = tracked_id(tracked);
		if (tracked->has_source && !odb_has(&repo->odb, &id, NULL))
			repo_warn(repo, "mlmake data update %s takes it from where it was imported, as it is there now", tracked->dvc_path);
	}
}

static int fetch_group(struct data_repo *repo, const struct remote_group *group, const struct data_transfer_options *options,
		       struct data_transfer_report *ret, struct err *err)
{
	struct transfer transfer CLEANUP(transfer_release) = { .repo = repo, .options = options, .ret = ret, .objects = { .only_wanted = true } };
	VEC(uint32_t) wanted = { 0 };
	if (open_remote(repo, group->remote, options->jobs, options->limit_rate, false, &transfer.arena, &transfer.remote, &ret->remote, err) < 0 ||
	    get_manifests(&transfer, &group->chosen, err) < 0) {
		name_tops(&transfer, &group->chosen, false);
		name_sources(repo, &group->chosen);
		return -1;
	}
	if (options->dry)
		ret->moved = ret->bytes = 0;
	if (add_objects(&transfer, &group->chosen, err) < 0)
		return -1;
	for (uint32_t i = 0; i < transfer.objects.list.len; i++) {
		const struct object *object = &transfer.objects.list.at[i];
		if (object->id.is_dir || !object->wanted)
			continue;
		if (object->cached)
			ret->present++;
		else
			vec_push(&wanted, i);
	}
	transfer.expected += transfer.bytes_before;
	int status = get_objects(&transfer, wanted.at, wanted.len, true, err);
	vec_release(&wanted);
	if (!options->dry)
		name_sources(repo, &group->chosen);
	return status;
}

typedef int group_fn(struct data_repo *repo, const struct remote_group *group, const struct data_transfer_options *options,
		     struct data_transfer_report *ret, struct err *err);

static int transfer_all(struct data_repo *repo, const char *const *paths, size_t count, const struct data_transfer_options *options,
			bool for_push, struct data_transfer_report *ret, struct err *err)
{
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	struct selection chosen CLEANUP(selection_release) = SELECTION_INIT;
	struct remote_groups groups CLEANUP(groups_release) = { .list = { 0 } };
	group_fn *run = for_push ? push_group : fetch_group;
	*ret = (struct data_transfer_report){ .remote = NULL };
	if (outs_load(repo, &outs, err) < 0 || outs_select(repo, &outs, paths, count, &chosen, err) < 0)
		return -1;
	outs_add_broken(repo, &outs, paths, count, &ret->broken);
	groups_make(&chosen, options->remote, for_push, &groups);
	size_t imports = for_push ? 0 : import_fetch(repo, &chosen, ret);
	if (imports && selection_check_parts(repo, &chosen, false, err) < 0)
		return -1;
	if (!groups.list.len && !imports) { /* say it when there is no remote, even with nothing to move */
		struct arena arena CLEANUP(arena_release) = { 0 };
		struct remote_spec spec;
		return config_remote_any(&repo->config, options->remote, &arena, &spec, err);
	}
	for (size_t i = 0; i < groups.list.len; i++) {
		const struct remote_group *group = &groups.list.at[i];
		bool aware = config_remote_is_aware(&repo->config, group->remote);
		group_fn *move = !aware ? run : for_push ? versions_push : versions_fetch;
		if (move(repo, group, options, ret, err) < 0) {
			report_ended_by(ret, err);
			return -1;
		}
	}
	return 0;
}

int data_push(struct data_repo *repo, const char *const *paths, size_t count, const struct data_transfer_options *options,
	      struct data_transfer_report *ret, struct err *err)
{
	return transfer_all(repo, paths, count, options, true, ret, err);
}

int data_fetch(struct data_repo *repo, const char *const *paths, size_t count, const struct data_transfer_options *options,
	       struct data_transfer_report *ret, struct err *err)
{
	return transfer_all(repo, paths, count, options, false, ret, err);
}

/* A directory lacks what any of its members lacks. What could not be asked for is said to be neither there nor absent. */
static void name_absent(const struct transfer *transfer, bool granular, struct strlist *ret)
{
	const struct objects *objects = &transfer->objects;
	for (size_t i = 0; i < objects->dirs.len; i++) {
		const struct object_dir *dir = &objects->dirs.at[i];
		struct object *manifest = &objects->list.at[dir->manifest];
		for (size_t k = 0; k < dir->members.len; k++) {
			struct object *member = &objects->list.at[dir->members.at[k]];
			if (member->asked && !member->on_remote) {
				manifest->on_remote = false;
				manifest->asked = true;
			}
			member->wanted = member->wanted && granular;
		}
	}
	for (size_t i = 0; i < objects->list.len; i++)
		if (objects->list.at[i].asked && !objects->list.at[i].on_remote && objects->list.at[i].wanted)
			strlist_add(ret, objects->list.at[i].name);
}

static int not_in_group(struct data_repo *repo, const struct remote_group *group, const struct data_status_options *options,
			struct data_transfer_report *report, struct strlist *ret, struct err *err)
{
	struct data_transfer_options plain = { .remote = options->remote, .jobs = options->jobs };
	struct transfer transfer CLEANUP(transfer_release) = { .repo = repo, .options = &plain, .ret = report, .objects = OBJECTS_INIT };
	if (transfer_open_remote(repo, group->remote, options->jobs, &transfer.arena, &transfer.remote, &report->remote, err) < 0)
		return -1;
	for (size_t i = 0; i < group->chosen.list.len; i++) {
		struct err odd CLEANUP(err_release) = ERR_INIT;
		if (tracked_check_supported(group->chosen.list.at[i].tracked, &odd) == 0 &&
		    objects_add(repo, &transfer.objects, &group->chosen.list.at[i], &odd) < 0)
			repo_warn(repo, "%s", odd.message);
	}
	if (check_all(&transfer, err) < 0)
		return -1;
	name_absent(&transfer, options->granular, ret);
	return 0;
}

int transfer_find_not_in_remote(struct data_repo *repo, const struct selection *chosen, const struct data_status_options *options,
				struct data_status *ret, struct err *err)
{
	struct remote_groups groups CLEANUP(groups_release) = { .list = { 0 } };
	struct data_transfer_report report CLEANUP(data_transfer_report_release) = { .remote = NULL };
	groups_make(chosen, options->remote, true, &groups);
	for (size_t i = 0; i < groups.list.len; i++) {
		bool aware = config_remote_is_aware(&repo->config, groups.list.at[i].remote);
		if ((aware ? versions_not_in_remote : not_in_group)(repo, &groups.list.at[i], options, &report, &ret->not_in_remote, err) < 0)
			return -1;
	}
	strlist_add_all(&ret->not_asked, &report.failed);
	strlist_add_all(&ret->hints, &report.hints);
	return 0;
}
