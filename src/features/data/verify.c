/*
 * data verify: every object read again. Nothing is taken from stat records, and of a remote nothing from what it says about itself,
 * unless --quick asks for that.
 */
#include "base/mem.h"
#include "base/text.h"
#include "features/data/known.h"
#include "features/data/objects.h"
#include "features/data/transfer.h"
#include "features/data/transfer_report.h"

#include <errno.h>
#include <string.h>

#define HASH_BATCH ((size_t)2048)
#define GET_BATCH ((size_t)256)
#define GET_BATCH_BYTES ((uint64_t)256 << 20)

enum health { UNSEEN, SOUND, MISSING, DAMAGED, UNREADABLE };

struct checked {
	enum health cache, remote;
	bool cache_due;  /* it ought to be in the cache */
	uint64_t size;   /* of a sound one */
	char *why;       /* of a damaged one */
};

struct verify {
	struct data_repo *repo;
	const struct data_verify_options *options;
	struct data_verify_report *ret;
	struct objects objects;
	VEC(struct checked) checked; /* of each object */
	size_t done;                 /* objects of the cache that were looked at */
};

static void verify_release(struct verify *verify)
{
	for (size_t i = 0; i < verify->checked.len; i++)
		free(verify->checked.at[i].why);
	vec_release(&verify->checked);
	objects_release(&verify->objects);
}

/* Room for objects that came since. */
static void extend(struct verify *verify, bool cache_due)
{
	while (verify->checked.len < verify->objects.list.len)
		vec_push(&verify->checked, ((struct checked){ .cache_due = cache_due }));
}

/* The cache. */

static void judge(struct verify *verify, size_t index, struct digest_job *job)
{
	struct checked *checked = &verify->checked.at[index];
	const struct object *object = &verify->objects.list.at[index];
	free(checked->why);
	checked->why = NULL;
	if (job->ret_status < 0 && job->ret_err.sys_errno == EACCES) {
		checked->cache = UNREADABLE; /* another user's: nothing is known of it */
		strlist_take(&verify->ret->failed, mem_printf("%s: %s", object->name, job->ret_err.message));
		return;
	}
	if (job->ret_status < 0) {
		checked->cache = job->ret_err.sys_errno == ENOENT ? MISSING : DAMAGED;
		checked->why = checked->cache == DAMAGED ? mem_strdup(job->ret_err.message) : NULL;
		return;
	}
	checked->size = job->ret_stamp.size;
	verify->ret->cache_bytes += checked->size;
	checked->cache = job->ret_stable && digest_eq(&job->ret, &object->id.digest) ? SOUND : DAMAGED;
	if (checked->cache == SOUND)
		return;
	char hex[DIGEST_HEX_MAX];
	digest_hex(&job->ret, hex);
	checked->why = mem_printf("its md5 is %s, %llu bytes", hex, (unsigned long long)checked->size);
}

static void show_verifying(void *ctx, uint64_t bytes)
{
	const struct verify *verify = ctx;
	repo_progress(verify->repo, "verifying", verify->done, verify->objects.list.len, verify->ret->cache_bytes + bytes);
}

/* Reads the objects that are meant and were not looked at yet. */
static void read_cache(struct verify *verify)
{
	size_t count = verify->objects.list.len;
	verify->done = 0;
	for (size_t at = 0; at < count;) {
		struct arena paths CLEANUP(arena_release) = { 0 };
		struct digest_job *jobs OWNED = mem_alloc(HASH_BATCH * sizeof(*jobs));
		size_t *index OWNED = mem_alloc(HASH_BATCH * sizeof(*index));
		size_t n = 0;
		for (; at < count && n < HASH_BATCH; at++) {
			struct buf path CLEANUP(buf_release) = BUF_INIT;
			if (verify->checked.at[at].cache != UNSEEN || !verify->objects.list.at[at].wanted)
				continue;
			odb_add_path(&verify->repo->odb, &path, &verify->objects.list.at[at].id);
			jobs[n].path = arena_strdup(&paths, path.data);
			jobs[n].kind = verify->objects.list.at[at].id.digest.kind;
			index[n++] = at;
		}
		digest_files_told(jobs, n, show_verifying, verify);
		for (size_t i = 0; i < n; i++) {
			judge(verify, index[i], &jobs[i]);
			err_release(&jobs[i].ret_err);
		}
		verify->done += n;
		show_verifying(verify, 0);
	}
}

static int replace(struct verify *verify, const uint32_t *index, const struct remote_item *items, size_t count, struct err *err)
{
	struct odb_publish *publish OWNED = mem_alloc((count + 1) * sizeof(*publish));
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		struct object *object = &verify->objects.list.at[index[i]];
		struct checked *checked = &verify->checked.at[index[i]];
		struct buf where CLEANUP(buf_release) = BUF_INIT;
		if (items[i].ret_state != REMOTE_DONE || checked->cache == SOUND)
			continue;
		if (checked->cache == DAMAGED && odb_quarantine(&verify->repo->odb, &object->id, &where, err) < 0)
			return -1;
		if (where.len)
			repo_note(verify->repo, "the damaged object of %s was moved to %s", object->name, where.data);
		publish[n++] = (struct odb_publish){ items[i].path, object->id };
	}
	if (odb_publish(&verify->repo->odb, publish, n, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct object *object = &verify->objects.list.at[index[i]];
		struct checked *checked = &verify->checked.at[index[i]];
		if (items[i].ret_state != REMOTE_DONE || checked->cache == SOUND)
			continue;
		char *what OWNED = object_describe(object);
		strlist_take(&verify->ret->repaired, mem_printf("%s: in the cache", what));
		checked->cache = SOUND;
		checked->size = items[i].ret_size;
		object->cached = true;
	}
	return 0;
}

/* A remote. */

struct remote_run {
	struct verify *verify;
	struct remote *remote;
	struct arena arena;
	VEC(uint32_t) wanted;
	size_t done;
};

static void remote_run_release(struct remote_run *run)
{
	remote_close(run->remote);
	arena_release(&run->arena);
	vec_release(&run->wanted);
}

static bool on_progress(void *ctx, size_t items_done, uint64_t bytes_done)
{
	const struct remote_run *run = ctx;
	repo_progress(run->verify->repo, "verifying the remote", run->done + items_done, run->wanted.len,
		      run->verify->ret->remote_bytes + bytes_done);
	return true;
}

static void take_state(struct verify *verify, uint32_t index, const struct remote_item *item)
{
	struct checked *checked = &verify->checked.at[index];
	char *what OWNED = object_describe(&verify->objects.list.at[index]);
	switch (item->ret_state) {
	case REMOTE_DONE:
		checked->remote = SOUND;
		break;
	case REMOTE_MISSING:
		checked->remote = MISSING;
		break;
	case REMOTE_DAMAGED:
		checked->remote = DAMAGED;
		break;
	default:
		strlist_take(&verify->ret->failed, mem_printf("%s: %s", what, item->ret_err.message ? item->ret_err.message : "failed"));
		report_hint(&verify->ret->hints, item);
	}
}

static void fill_item(struct remote_run *run, struct remote_item *item, uint32_t index, const char *path)
{
	const struct object *object = &run->verify->objects.list.at[index];
	const struct checked *checked = &run->verify->checked.at[index];
	*item = (struct remote_item){ .key = object->key, .path = path, .expect = object->id.digest,
				      .max_size = object->id.is_dir ? DVC_DIR_MAX_BYTES : 0 };
	item->size = checked->cache == SOUND ? checked->size : REMOTE_SIZE_UNKNOWN;
}

/* Downloads and hashes a batch; what the cache needs of it is kept if that is wanted. */
static int read_batch(struct remote_run *run, const uint32_t *index, size_t count, struct err *err)
{
	struct verify *verify = run->verify;
	struct remote_item *items OWNED = mem_alloc(count * sizeof(*items));
	struct arena paths CLEANUP(arena_release) = { 0 };
	struct remote_sink sink = { .progress = on_progress, .ctx = run };
	for (size_t i = 0; i < count; i++) {
		struct buf temp CLEANUP(buf_release) = BUF_INIT;
		if (odb_temp_path(&verify->repo->odb, &temp, err) < 0)
			return -1;
		fill_item(run, &items[i], index[i], arena_strdup(&paths, temp.data));
	}
	int status = remote_get(run->remote, items, count, &sink, err);
	for (size_t i = 0; status == 0 && i < count; i++) {
		take_state(verify, index[i], &items[i]);
		verify->ret->remote_bytes += items[i].ret_state == REMOTE_DONE ? items[i].ret_size : 0;
	}
	if (status == 0 && verify->options->repair)
		status = replace(verify, index, items, count, err);
	for (size_t i = 0; i < count; i++) {
		struct err late CLEANUP(err_release) = ERR_INIT;
		if (fs_remove(items[i].path, &late) < 0 && status == 0)
			status = err_move(err, &late);
		err_release(&items[i].ret_err);
	}
	run->done += count;
	return status;
}

static int read_all(struct remote_run *run, const uint32_t *index, size_t count, struct err *err)
{
	for (size_t at = 0; at < count;) {
		size_t n = 0;
		uint64_t bytes = 0;
		while (at + n < count && n < GET_BATCH && bytes < GET_BATCH_BYTES)
			bytes += run->verify->checked.at[index[at + n++]].size;
		if (read_batch(run, index + at, n, err) < 0)
			return -1;
		at += n;
	}
	return 0;
}

static int ask_sizes(struct remote_run *run, struct err *err)
{
	size_t count = run->wanted.len;
	struct remote_item *items OWNED = mem_alloc((count + 1) * sizeof(*items));
	struct remote_sink sink = { .progress = on_progress, .ctx = run };
	for (size_t i = 0; i < count; i++)
		fill_item(run, &items[i], run->wanted.at[i], NULL);
	int status = remote_check(run->remote, items, count, &sink, err);
	for (size_t i = 0; i < count; i++) {
		if (status == 0)
			take_state(run->verify, run->wanted.at[i], &items[i]);
		err_release(&items[i].ret_err);
	}
	return status;
}

/* Sends sound objects of the cache where the remote has none: members, or manifests. */
static int mend_remote(struct remote_run *run, bool manifests, struct err *err)
{
	struct verify *verify = run->verify;
	struct arena paths CLEANUP(arena_release) = { 0 };
	struct remote_item *items OWNED = mem_alloc((run->wanted.len + 1) * sizeof(*items));
	uint32_t *index OWNED = mem_alloc((run->wanted.len + 1) * sizeof(*index));
	size_t count = 0;
	for (size_t i = 0; i < run->wanted.len; i++) {
		const struct object *object = &verify->objects.list.at[run->wanted.at[i]];
		const struct checked *checked = &verify->checked.at[run->wanted.at[i]];
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		if (object->id.is_dir != manifests || checked->cache != SOUND || (checked->remote != MISSING && checked->remote != DAMAGED))
			continue;
		odb_add_path(&verify->repo->odb, &path, &object->id);
		fill_item(run, &items[count], run->wanted.at[i], arena_strdup(&paths, path.data));
		index[count++] = run->wanted.at[i];
	}
	int status = remote_put(run->remote, items, count, NULL, err);
	for (size_t i = 0; i < count; i++) {
		char *what OWNED = object_describe(&verify->objects.list.at[index[i]]);
		if (status == 0)
			take_state(verify, index[i], &items[i]);
		if (status == 0 && items[i].ret_state == REMOTE_DONE)
			strlist_take(&verify->ret->repaired, mem_printf("%s: on the remote '%s'", what, verify->ret->remote));
		err_release(&items[i].ret_err);
	}
	return status;
}

static int run_remote(struct remote_run *run, struct err *err)
{
	struct verify *verify = run->verify;
	const struct data_verify_options *options = verify->options;
	VEC(uint32_t) needed = { 0 };
	int status = 0;
	verify->ret->remote_objects += options->with_remote ? run->wanted.len : 0;
	if (options->with_remote && options->quick)
		status = ask_sizes(run, err);
	for (size_t i = 0; i < run->wanted.len; i++) {
		const struct checked *checked = &verify->checked.at[run->wanted.at[i]];
		bool mend = options->repair && checked->cache_due && (checked->cache == MISSING || checked->cache == DAMAGED);
		if ((options->with_remote && !options->quick) || mend)
			vec_push(&needed, run->wanted.at[i]);
	}
	if (status == 0)
		status = read_all(run, needed.at, needed.len, err);
	vec_release(&needed);
	if (status < 0 || !options->with_remote || !options->repair)
		return status;
	return mend_remote(run, false, err) < 0 ? -1 : mend_remote(run, true, err);
}

static int open_run(struct remote_run *run, const char *name, struct err *err)
{
	struct verify *verify = run->verify;
	if (transfer_open_remote(verify->repo, name, verify->options->jobs, &run->arena, &run->remote, &verify->ret->remote, err) < 0)
		return -1;
	/* What push believes is of no use to somebody who doubts it. */
	if (verify->options->with_remote && remote_place(run->remote))
		known_forget(verify->repo, remote_place(run->remote));
	return 0;
}

/* The objects of a group's outs, each once; manifests alone where that is asked for. */
static void collect(struct remote_run *run, const struct selection *chosen, bool manifests_only)
{
	struct verify *verify = run->verify;
	bool *taken OWNED = mem_alloc(verify->objects.list.len + 1);
	for (size_t i = 0; i < chosen->list.len; i++) {
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		if (tracked_check_supported(chosen->list.at[i].tracked, &ignored) < 0)
			continue;
		uint32_t top = objects_add_top(verify->repo, &verify->objects, &chosen->list.at[i]);
		bool is_dir = verify->objects.list.at[top].id.is_dir;
		if (!taken[top] && (is_dir || !manifests_only))
			vec_push(&run->wanted, top);
		taken[top] = true;
		for (size_t k = 0; is_dir && !manifests_only && k < verify->objects.dirs.len; k++) {
			const struct object_dir *dir = &verify->objects.dirs.at[k];
			for (size_t m = 0; dir->manifest == top && m < dir->members.len; m++) {
				uint32_t member = dir->members.at[m];
				if (!taken[member] && verify->objects.list.at[member].wanted)
					vec_push(&run->wanted, member);
				taken[member] = true;
			}
		}
	}
}

static int look_at_group(struct verify *verify, const struct remote_group *group, bool manifests_only, struct err *err)
{
	struct remote_run run CLEANUP(remote_run_release) = { .verify = verify };
	collect(&run, &group->chosen, manifests_only);
	bool any_bad = verify->options->with_remote && !manifests_only;
	for (size_t i = 0; i < run.wanted.len; i++)
		any_bad = any_bad || verify->checked.at[run.wanted.at[i]].cache != SOUND;
	if (!any_bad)
		return 0;
	if (open_run(&run, group->remote, err) < 0)
		return -1;
	if (!manifests_only)
		return run_remote(&run, err);
	size_t bad = 0;
	for (size_t i = 0; i < run.wanted.len; i++)
		if (verify->checked.at[run.wanted.at[i]].cache != SOUND)
			run.wanted.at[bad++] = run.wanted.at[i];
	run.wanted.len = bad;
	return read_all(&run, run.wanted.at, bad, err);
}

/* Of --all. */

static int take_cached(void *ctx, const struct odb_id *id, uint64_t size UNUSED, struct err *err UNUSED)
{
	struct verify *verify = ctx;
	objects_add_id(verify->repo, &verify->objects, id, "an object that no .dvc here refers to");
	return 0;
}

static int take_listed(void *ctx, const char *key, uint64_t size UNUSED, int64_t modified_s UNUSED, struct err *err UNUSED)
{
	struct remote_run *run = ctx;
	struct verify *verify = run->verify;
	struct odb_id id;
	if (!odb_id_of_key(key, &id))
		return 0;
	uint32_t index = objects_add_id(verify->repo, &verify->objects, &id, "an object that no .dvc here refers to");
	extend(verify, false);
	if (verify->checked.at[index].remote == UNSEEN)
		vec_push(&run->wanted, index);
	return 0;
}

/* What lies there besides; and for what is damaged in the cache besides, a replacement. */
static int look_at_rest(struct verify *verify, struct err *err)
{
	struct remote_run run CLEANUP(remote_run_release) = { .verify = verify };
	if (open_run(&run, verify->options->remote, err) < 0)
		return -1;
	if (verify->options->with_remote && objects_list_remote(run.remote, take_listed, &run, err) < 0)
		return -1;
	for (uint32_t i = 0; !verify->options->with_remote && i < verify->checked.len; i++)
		if (verify->checked.at[i].remote == UNSEEN && verify->checked.at[i].cache == DAMAGED)
			vec_push(&run.wanted, i);
	return run_remote(&run, err);
}

/* The records. */

static void check_recorded_size(struct verify *verify, const struct selected *selected, uint32_t top)
{
	const struct tracked *tracked = selected->tracked;
	uint64_t sum = verify->checked.at[top].size;
	/* What DVC 2 named alike may differ in its line ends, and then in size. */
	if (!tracked->out->has_size || tracked->out->legacy || selected->sub || verify->checked.at[top].cache != SOUND)
		return;
	for (size_t k = 0; tracked->out->is_dir && k < verify->objects.dirs.len; k++) {
		const struct object_dir *dir = &verify->objects.dirs.at[k];
		if (dir->manifest != top)
			continue;
		sum = 0;
		for (size_t m = 0; m < dir->members.len; m++) {
			if (verify->checked.at[dir->members.at[m]].cache != SOUND)
				return;
			sum += verify->checked.at[dir->members.at[m]].size;
		}
		break;
	}
	if (sum != tracked->out->size)
		strlist_take(&verify->ret->broken, mem_printf("%s: it records %llu bytes for %s, the objects have %llu", tracked->dvc_path,
							      (unsigned long long)tracked->out->size, tracked->path,
							      (unsigned long long)sum));
}

static void add_members(struct verify *verify, const struct selection *chosen)
{
	for (size_t i = 0; i < chosen->list.len; i++) {
		const struct selected *selected = &chosen->list.at[i];
		struct err odd CLEANUP(err_release) = ERR_INIT;
		if (!selected->tracked->out->is_dir || tracked_check_supported(selected->tracked, &odd) < 0)
			continue;
		uint32_t top = objects_add_top(verify->repo, &verify->objects, selected);
		if (verify->checked.at[top].cache != SOUND)
			strlist_take(&verify->ret->broken, mem_printf("%s/: without its manifest nobody can tell what is in it",
								      selected->tracked->path));
		else if (objects_add(verify->repo, &verify->objects, selected, &odd) < 0)
			strlist_add(&verify->ret->broken, odd.message);
		extend(verify, true);
	}
}

static void report(struct verify *verify)
{
	struct data_verify_report *ret = verify->ret;
	for (size_t i = 0; i < verify->checked.len; i++) {
		const struct checked *checked = &verify->checked.at[i];
		char *what OWNED = object_describe(&verify->objects.list.at[i]);
		bool due = checked->cache_due && verify->objects.list.at[i].wanted;
		ret->cache_objects += due;
		if (due && checked->cache == MISSING)
			strlist_add(&ret->cache_missing, what);
		if (checked->cache == DAMAGED)
			strlist_take(&ret->cache_damaged, mem_printf("%s: %s", what, checked->why ? checked->why : "damaged"));
		if (verify->options->with_remote && checked->remote == MISSING)
			strlist_add(&ret->remote_missing, what);
		if (verify->options->with_remote && checked->remote == DAMAGED)
			strlist_add(&ret->remote_damaged, what);
	}
}

static int verify_chosen(struct verify *verify, const struct selection *chosen, struct err *err)
{
	const struct data_verify_options *options = verify->options;
	struct remote_groups groups CLEANUP(groups_release) = { .list = { 0 } };
	groups_make(chosen, options->remote, true, &groups);
	for (size_t i = 0; i < chosen->list.len; i++) {
		struct err odd CLEANUP(err_release) = ERR_INIT;
		if (tracked_check_supported(chosen->list.at[i].tracked, &odd) < 0)
			strlist_add(&verify->ret->broken, odd.message);
		else if (chosen->list.at[i].tracked->out->cache)
			objects_add_top(verify->repo, &verify->objects, &chosen->list.at[i]);
	}
	extend(verify, true);
	read_cache(verify);
	for (size_t i = 0; options->repair && i < groups.list.len; i++)
		if (look_at_group(verify, &groups.list.at[i], true, err) < 0)
			return -1;
	add_members(verify, chosen);
	if (options->everything && odb_each(&verify->repo->odb, take_cached, verify, err) < 0)
		return -1;
	extend(verify, true);
	read_cache(verify);
	for (size_t i = 0; (options->repair || options->with_remote) && i < groups.list.len; i++)
		if (look_at_group(verify, &groups.list.at[i], false, err) < 0)
			return -1;
	if (options->everything && (options->with_remote || options->repair) && look_at_rest(verify, err) < 0)
		return -1;
	for (size_t i = 0; i < chosen->list.len; i++) {
		struct err odd CLEANUP(err_release) = ERR_INIT;
		if (chosen->list.at[i].tracked->out->cache && tracked_check_supported(chosen->list.at[i].tracked, &odd) == 0)
			check_recorded_size(verify, &chosen->list.at[i],
					    objects_add_top(verify->repo, &verify->objects, &chosen->list.at[i]));
	}
	report(verify);
	return 0;
}

int data_verify(struct data_repo *repo, const char *const *paths, size_t count, const struct data_verify_options *options,
		struct data_verify_report *ret, struct err *err)
{
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	struct selection chosen CLEANUP(selection_release) = SELECTION_INIT;
	struct verify verify CLEANUP(verify_release) = { .repo = repo, .options = options, .ret = ret, .objects = OBJECTS_INIT };
	*ret = (struct data_verify_report){ .remote = NULL };
	if (outs_load(repo, &outs, err) < 0 || outs_select(repo, &outs, paths, count, &chosen, err) < 0 ||
	    selection_check_parts(repo, &chosen, false, err) < 0)
		return -1;
	outs_add_broken(repo, &outs, paths, count, &ret->broken);
	if (options->with_remote || options->repair) { /* say it at once when there is no such remote */
		struct arena arena CLEANUP(arena_release) = { 0 };
		struct remote_spec spec;
		if (config_remote(&repo->config, options->remote, &arena, &spec, err) < 0)
			return -1;
	}
	return verify_chosen(&verify, &chosen, err);
}

void data_verify_report_release(struct data_verify_report *report)
{
	struct strlist *lists[] = { &report->cache_missing, &report->cache_damaged, &report->remote_missing, &report->remote_damaged,
				    &report->repaired, &report->failed, &report->hints, &report->broken };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		strlist_release(lists[i]);
	free(report->remote);
	report->remote = NULL;
}
