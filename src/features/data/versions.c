#include "features/data/versions_internal.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/transfer.h"
#include "features/data/transfer_report.h"

#include <stdlib.h>
#include <string.h>

#define FETCH_BATCH ((size_t)4096)

/* ---- the files ---- */

struct odb_id version_file_id(const struct version_file *file)
{
	return (struct odb_id){ file->digest, false };
}

char *version_file_describe(const struct version_file *file)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(&file->digest, hex);
	return mem_printf("%s (md5 %s)", file->key, hex);
}

void version_file_failed(struct versioned *run, const struct version_file *file, const struct remote_item *item)
{
	if (item)
		report_failed(run->ret, file->key, item);
	else
		report_stopped(run->ret, file->key);
}

/* A name that is not configured any more is taken for this remote's former one: the md5 decides in the end. */
static const char *version_of(const struct versioned *run, const struct dvc_version *cloud)
{
	if (!cloud->remote || (!text_eq(cloud->remote, run->name) && config_remote_exists(&run->repo->config, cloud->remote)))
		return NULL;
	return cloud->version_id;
}

static void add_file(struct versioned *run, const struct tracked *tracked, const char *relpath, const struct digest *digest,
		     const struct dvc_version *cloud, bool has_size, uint64_t size)
{
	struct version_file file = { .tracked = tracked, .digest = *digest, .relpath = arena_strdup(&run->arena, relpath) };
	struct odb_id id = version_file_id(&file);
	file.key = *relpath ? arena_join(&run->arena, tracked->path, relpath) : tracked->path;
	file.size = has_size ? size : REMOTE_SIZE_UNKNOWN;
	if (!has_size && odb_has(&run->repo->odb, &id, &size))
		file.size = size;
	file.version = cloud ? version_of(run, cloud) : NULL;
	file.etag = file.version ? cloud->etag : NULL;
	if (!file.version)
		file.version = dvc_out_other(tracked->out, run->name, relpath, digest);
	vec_push(&run->files, file);
}

static void add_members(struct versioned *run, const struct selected *selected)
{
	const struct tracked *tracked = selected->tracked;
	struct dvc_dir manifest CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct err failure CLEANUP(err_release) = ERR_INIT;
	if (tracked_read_manifest(run->repo, tracked, &manifest, &failure) < 0) {
		strlist_take(&run->ret->missing, mem_printf("%s/: %s, and %s lists no versions: it was not pushed to '%s'", tracked->path,
							    failure.message, tracked->dvc_path, run->name));
		return;
	}
	if (selected_check_part(selected, &manifest, &failure) < 0)
		strlist_add(&run->ret->missing, failure.message);
	for (size_t i = 0; i < manifest.len; i++) {
		const char *rel = manifest.entries[i].relpath;
		struct digest digest = { .kind = DIGEST_MD5 };
		memcpy(digest.bytes, manifest.entries[i].md5, 16);
		const struct dvc_member *member = dvc_out_member(tracked->out, rel);
		if (selected_covers(selected, rel))
			add_file(run, tracked, rel, &digest, member ? &member->cloud : NULL, member && member->has_size, member ? member->size : 0);
	}
}

/* NULL: it can be. */
static const char *why_not(const struct tracked *tracked, bool for_push)
{
	if (for_push && tracked->stage)
		return "dvc.lock records it, and the versions there are dvc's to write: dvc push";
	if (for_push && tracked->source)
		return "it is an import, whose versions are dvc's to write: dvc push";
	if (tracked->out->legacy)
		return "DVC 2 recorded it, whose md5 may be of other line ends: mlmake data migrate";
	if (!for_push && tracked->stage)
		return "dvc.lock records it, and the versions there are dvc's to read: dvc fetch";
	return NULL;
}

static bool is_cached(struct data_repo *repo, const struct tracked *tracked)
{
	struct odb_id id = tracked_id(tracked);
	return !id.is_dir && odb_has(&repo->odb, &id, NULL);
}

static void add_selected(struct versioned *run, const struct selected *selected, bool for_push)
{
	const struct tracked *tracked = selected->tracked;
	struct err odd CLEANUP(err_release) = ERR_INIT;
	const char *why = why_not(tracked, for_push);
	if (tracked_check_supported(tracked, &odd) < 0)
		strlist_add(&run->ret->broken, odd.message);
	else if (why && !for_push && is_cached(run->repo, tracked))
		run->ret->present++;
	else if (why)
		strlist_take(&run->ret->failed, mem_printf("%s: %s", tracked->path, why));
	else if (tracked->out->is_dir)
		add_members(run, selected);
	else
		add_file(run, tracked, "", &tracked->out->digest, &tracked->out->cloud, tracked->out->has_size, tracked->out->size);
}

int versioned_begin(struct versioned *run, const struct remote_group *group, const struct data_transfer_options *options, bool for_push,
		    struct err *err)
{
	if (transfer_open_aware(run->repo, group->remote, options->jobs, options->limit_rate, &run->arena, &run->remote, &run->name, err) < 0)
		return -1;
	if (!run->ret->remote)
		run->ret->remote = mem_strdup(run->name);
	for (size_t i = 0; i < group->chosen.list.len; i++)
		add_selected(run, &group->chosen.list.at[i], for_push);
	return 0;
}

void versioned_release(struct versioned *run)
{
	remote_close(run->remote);
	for (size_t i = 0; i < run->files.len; i++)
		remote_version_release(&run->files.at[i].now);
	vec_release(&run->files);
	arena_release(&run->arena);
	free(run->name);
}

void version_batch_init(struct version_batch *batch, size_t most)
{
	batch->items = mem_alloc((most + 1) * sizeof(*batch->items));
	batch->files = mem_alloc((most + 1) * sizeof(struct version_file *));
	batch->count = 0;
}

void version_batch_add(struct version_batch *batch, struct version_file *file, const char *path)
{
	batch->items[batch->count] = (struct remote_item){ .key = file->key, .path = path, .size = file->size, .expect = file->digest };
	batch->files[batch->count++] = file;
}

void version_batch_release(struct version_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		err_release(&batch->items[i].ret_err);
	free(batch->items);
	free(batch->files);
}

static bool on_progress(void *ctx, size_t items_done, uint64_t bytes_done)
{
	const struct versioned *run = ctx;
	repo_progress(run->repo, run->verb, run->before + items_done, run->total, run->bytes_before + bytes_done);
	return true;
}

struct remote_sink versioned_sink(struct versioned *run)
{
	return (struct remote_sink){ .progress = on_progress, .ctx = run };
}

/* ---- fetch ---- */

static int publish(struct versioned *run, const struct version_batch *batch, struct err *err)
{
	struct odb_publish *done OWNED = mem_alloc((batch->count + 1) * sizeof(*done));
	size_t count = 0;
	for (size_t i = 0; i < batch->count; i++) {
		if (batch->items[i].ret_state != REMOTE_DONE)
			continue;
		done[count++] = (struct odb_publish){ batch->items[i].path, version_file_id(batch->files[i]) };
		run->ret->moved++;
		run->ret->bytes += batch->items[i].ret_size;
	}
	return odb_publish(&run->repo->odb, done, count, err);
}

static void report_one(struct versioned *run, const struct version_file *file, const struct remote_item *item)
{
	char *what OWNED = version_file_describe(file);
	if (item->ret_state == REMOTE_MISSING)
		strlist_take(&run->ret->missing, mem_printf("%s: the version %s is gone from '%s'", what, file->version, run->name));
	else if (item->ret_state == REMOTE_DAMAGED)
		strlist_take(&run->ret->damaged, mem_printf("%s: other bytes in the version %s on '%s'", what, file->version, run->name));
	else
		version_file_failed(run, file, item);
}

static const char *digest_key(const struct version_file *file, struct arena *arena)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(&file->digest, hex);
	return arena_strdup(arena, hex);
}

/* The next files to try, one of each content that the cache lacks. */
static int next_batch(struct versioned *run, struct version_batch *batch, struct arena *paths, struct err *err)
{
	struct map chosen CLEANUP(map_release) = MAP_INIT;
	for (size_t i = 0; i < run->files.len && batch->count < FETCH_BATCH; i++) {
		struct version_file *file = &run->files.at[i];
		struct odb_id id = version_file_id(file);
		struct buf temp CLEANUP(buf_release) = BUF_INIT;
		if (file->tried || !file->version || !map_set(&chosen, digest_key(file, paths), NULL))
			continue;
		if (odb_has(&run->repo->odb, &id, NULL)) {
			file->tried = true;
			continue;
		}
		if (odb_temp_path(&run->repo->odb, &temp, err) < 0)
			return -1;
		version_batch_add(batch, file, arena_strdup(paths, temp.data));
		batch->items[batch->count - 1].version = file->version;
		file->tried = true;
	}
	return 0;
}

/* Whether another file with this content may still be tried. */
static bool has_other(const struct versioned *run, const struct version_file *file)
{
	for (size_t i = 0; i < run->files.len; i++)
		if (!run->files.at[i].tried && run->files.at[i].version && digest_eq(&run->files.at[i].digest, &file->digest))
			return true;
	return false;
}

static int fetch_batch(struct versioned *run, struct version_batch *batch, struct err *err)
{
	struct remote_sink sink = versioned_sink(run);
	struct err late CLEANUP(err_release) = ERR_INIT;
	int status = remote_get(run->remote, batch->items, batch->count, &sink, err);
	/* What did arrive is kept even when the rest cannot. */
	if (publish(run, batch, &late) < 0 && status == 0)
		status = err_move(err, &late);
	for (size_t i = 0; i < batch->count; i++)
		if (batch->items[i].ret_state != REMOTE_DONE && (status < 0 || !has_other(run, batch->files[i])))
			report_one(run, batch->files[i], &batch->items[i]);
	run->before += batch->count;
	run->bytes_before = run->ret->bytes;
	return status;
}

static void name_untried(struct versioned *run)
{
	for (size_t i = 0; i < run->files.len; i++) {
		struct odb_id id = version_file_id(&run->files.at[i]);
		if (!run->files.at[i].tried && run->files.at[i].version && !odb_has(&run->repo->odb, &id, NULL))
			version_file_failed(run, &run->files.at[i], NULL);
	}
}

static int fetch_all(struct versioned *run, struct err *err)
{
	for (;;) {
		struct version_batch batch CLEANUP(version_batch_release) = { NULL, NULL, 0 };
		struct arena paths CLEANUP(arena_release) = { 0 };
		version_batch_init(&batch, FETCH_BATCH);
		if (next_batch(run, &batch, &paths, err) < 0)
			return -1;
		if (!batch.count)
			return 0;
		if (fetch_batch(run, &batch, err) < 0) {
			name_untried(run);
			return -1;
		}
	}
}

/* What would be fetched; whether the versions are there still is asked for. */
static int plan_fetch(struct versioned *run, struct err *err)
{
	struct version_batch batch CLEANUP(version_batch_release) = { NULL, NULL, 0 };
	struct remote_sink sink = versioned_sink(run);
	version_batch_init(&batch, run->files.len);
	for (size_t i = 0; i < run->files.len; i++) {
		struct odb_id id = version_file_id(&run->files.at[i]);
		if (!run->files.at[i].version || odb_has(&run->repo->odb, &id, NULL))
			continue;
		version_batch_add(&batch, &run->files.at[i], NULL);
		batch.items[batch.count - 1].version = run->files.at[i].version;
	}
	if (remote_check(run->remote, batch.items, batch.count, &sink, err) < 0)
		return -1;
	for (size_t i = 0; i < batch.count; i++) {
		if (batch.items[i].ret_state != REMOTE_DONE) {
			report_one(run, batch.files[i], &batch.items[i]);
			continue;
		}
		strlist_take(&run->ret->planned, version_file_describe(batch.files[i]));
		run->ret->moved++;
		run->ret->bytes += batch.items[i].ret_size;
	}
	return 0;
}

/* What the cache has counts as present, what has no version there cannot be had. */
static void sort_out(struct versioned *run)
{
	struct map had CLEANUP(map_release) = MAP_INIT; /* contents of which there is a version, under whatever name */
	for (size_t i = 0; i < run->files.len; i++)
		if (run->files.at[i].version)
			map_set(&had, digest_key(&run->files.at[i], &run->arena), NULL);
	for (size_t i = 0; i < run->files.len; i++) {
		const struct version_file *file = &run->files.at[i];
		struct odb_id id = version_file_id(file);
		char *what OWNED = version_file_describe(file);
		if (odb_has(&run->repo->odb, &id, NULL))
			run->ret->present++;
		else if (file->version)
			run->total++;
		else if (!map_has(&had, digest_key(file, &run->arena)))
			strlist_take(&run->ret->missing, mem_printf("%s: %s records no version of it on '%s': it was not pushed there", what,
								    file->tracked->dvc_path, run->name));
	}
}

int versions_fetch(struct data_repo *repo, const struct remote_group *group, const struct data_transfer_options *options,
		   struct data_transfer_report *ret, struct err *err)
{
	struct versioned run CLEANUP(versioned_release) = { .repo = repo, .ret = ret, .verb = "fetching" };
	if (versioned_begin(&run, group, options, false, err) < 0)
		return -1;
	for (size_t i = 0; i < group->chosen.list.len && !options->dry; i++) {
		const struct tracked *tracked = group->chosen.list.at[i].tracked;
		struct err odd CLEANUP(err_release) = ERR_INIT;
		if (tracked->out->is_dir && tracked_check_supported(tracked, &odd) == 0 && tracked_keep_manifest(repo, tracked, err) < 0)
			return -1;
	}
	sort_out(&run);
	return options->dry ? plan_fetch(&run, err) : fetch_all(&run, err);
}

/* ---- status -c ---- */

int versions_not_in_remote(struct data_repo *repo, const struct remote_group *group, const struct data_status_options *options,
			   struct data_transfer_report *report, struct strlist *ret, struct err *err)
{
	struct data_transfer_options plain = { .remote = options->remote, .jobs = options->jobs };
	struct versioned run CLEANUP(versioned_release) = { .repo = repo, .ret = report, .verb = "checking" };
	struct version_batch batch CLEANUP(version_batch_release) = { NULL, NULL, 0 };
	struct remote_sink sink = versioned_sink(&run);
	if (versioned_begin(&run, group, &plain, false, err) < 0)
		return -1;
	version_batch_init(&batch, run.files.len);
	for (size_t i = 0; i < run.files.len; i++)
		if (run.files.at[i].version) {
			version_batch_add(&batch, &run.files.at[i], NULL);
			batch.items[batch.count - 1].version = run.files.at[i].version;
		}
	run.total = batch.count;
	if (remote_check(run.remote, batch.items, batch.count, &sink, err) < 0)
		return -1;
	for (size_t i = 0; i < batch.count; i++) {
		batch.files[i]->on_remote = batch.items[i].ret_state == REMOTE_DONE;
		batch.files[i]->tried = batch.items[i].ret_state == REMOTE_FAILED;
		if (batch.files[i]->tried)
			version_file_failed(&run, batch.files[i], &batch.items[i]);
	}
	for (size_t i = 0; i < report->missing.len; i++)
		repo_warn(repo, "%s", report->missing.at[i]);
	for (size_t i = 0; i < run.files.len; i++) {
		const struct version_file *file = &run.files.at[i];
		if (file->tried)
			continue;
		char *name OWNED = *file->relpath ? mem_printf("%s/", file->tracked->path) : mem_strdup(file->key);
		if (!file->on_remote && !strlist_has(ret, name))
			strlist_add(ret, name);
		if (!file->on_remote && *file->relpath && options->granular)
			strlist_add(ret, file->key);
	}
	return 0;
}
