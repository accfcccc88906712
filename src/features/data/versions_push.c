#include "features/data/versions_internal.h"

#include "base/mem.h"
#include "base/text.h"

#include <string.h>

#define PUSH_BATCH ((size_t)65536)

static bool etag_is_md5(const struct version_file *file)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(&file->digest, hex);
	return text_eq(file->now.etag, hex);
}

/* A recorded version that is there, with the ETag that it had, needs nothing. Where none is recorded, the newest one is taken for what a push left that came no
 * further than that, if its ETag is the md5. */
static void take_answer(struct versioned *run, struct version_file *file, const struct remote_item *item)
{
	file->tried = item->ret_state == REMOTE_FAILED;
	if (file->tried)
		version_file_failed(run, file, item);
	else if (item->ret_state == REMOTE_DONE)
		file->on_remote = file->version ? !file->etag || !file->now.etag || text_eq(file->etag, file->now.etag)
						: file->now.id && etag_is_md5(file);
	run->ret->present += file->on_remote;
	if (!file->on_remote || file->version)
		remote_version_release(&file->now);
}

static int check_all(struct versioned *run, struct err *err)
{
	struct version_batch batch CLEANUP(version_batch_release) = { NULL, NULL, 0 };
	struct remote_sink sink = versioned_sink(run);
	version_batch_init(&batch, run->files.len);
	for (size_t i = 0; i < run->files.len; i++) {
		struct version_file *file = &run->files.at[i];
		version_batch_add(&batch, file, NULL);
		batch.items[i].version = file->version;
		batch.items[i].ret_version = &file->now;
	}
	run->verb = "checking";
	run->total = batch.count;
	int status = remote_check(run->remote, batch.items, batch.count, &sink, err);
	for (size_t i = 0; i < batch.count; i++) {
		if (status == 0)
			take_answer(run, batch.files[i], &batch.items[i]);
		else
			version_file_failed(run, batch.files[i], NULL);
	}
	return status;
}

static void take_put(struct versioned *run, struct version_file *file, const struct remote_item *item)
{
	char *what OWNED = version_file_describe(file);
	switch (item->ret_state) {
	case REMOTE_DONE:
		run->ret->moved++;
		run->ret->bytes += item->ret_size;
		file->on_remote = file->now.id != NULL;
		if (!file->on_remote)
			strlist_take(&run->ret->failed, mem_printf("%s: the server named no version of it: does the bucket keep versions?", file->key));
		break;
	case REMOTE_MISSING:
		strlist_take(&run->ret->missing, mem_strdup(what));
		break;
	case REMOTE_DAMAGED:
		strlist_take(&run->ret->damaged, mem_printf("%s: damaged in the cache", what));
		break;
	default:
		version_file_failed(run, file, item);
	}
}

static int put_batch(struct versioned *run, struct version_file *const *files, size_t count, struct err *err)
{
	struct version_batch batch CLEANUP(version_batch_release) = { NULL, NULL, 0 };
	struct arena paths CLEANUP(arena_release) = { 0 };
	struct remote_sink sink = versioned_sink(run);
	version_batch_init(&batch, count);
	for (size_t i = 0; i < count; i++) {
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		struct odb_id id = version_file_id(files[i]);
		odb_add_path(&run->repo->odb, &path, &id);
		version_batch_add(&batch, files[i], arena_strdup(&paths, path.data));
		batch.items[i].ret_version = &files[i]->now;
	}
	int status = remote_put(run->remote, batch.items, count, &sink, err);
	for (size_t i = 0; i < count; i++)
		take_put(run, files[i], &batch.items[i]);
	run->before += count;
	run->bytes_before = run->ret->bytes;
	return status;
}

static int put_all(struct versioned *run, bool dry, struct err *err)
{
	struct version_file **wanted OWNED = mem_alloc((run->files.len + 1) * sizeof(struct version_file *));
	size_t count = 0;
	for (size_t i = 0; i < run->files.len; i++) {
		struct version_file *file = &run->files.at[i];
		struct odb_id id = version_file_id(file);
		if (file->on_remote || file->tried)
			continue;
		if (odb_has(&run->repo->odb, &id, &file->size))
			wanted[count++] = file;
		else
			strlist_take(&run->ret->missing, version_file_describe(file));
	}
	run->verb = "pushing";
	run->total = count;
	for (size_t i = 0; dry && i < count; i++) {
		strlist_take(&run->ret->planned, version_file_describe(wanted[i]));
		run->ret->moved++;
		run->ret->bytes += wanted[i]->size;
	}
	for (size_t at = 0; !dry && at < count; at += PUSH_BATCH) {
		size_t n = count - at < PUSH_BATCH ? count - at : PUSH_BATCH;
		if (put_batch(run, wanted + at, n, err) == 0)
			continue;
		for (size_t i = at + n; i < count; i++)
			version_file_failed(run, wanted[i], NULL);
		return -1;
	}
	return 0;
}

int versions_push(struct data_repo *repo, const struct remote_group *group, const struct data_transfer_options *options,
		  struct data_transfer_report *ret, struct err *err)
{
	struct versioned run CLEANUP(versioned_release) = { .repo = repo, .ret = ret };
	if (versioned_begin(&run, group, options, true, err) < 0)
		return -1;
	if (remote_check_versions(run.remote, err) < 0) {
		for (size_t i = 0; i < run.files.len; i++)
			version_file_failed(&run, &run.files.at[i], NULL);
		return -1;
	}
	if (check_all(&run, err) < 0)
		return -1;
	int status = put_all(&run, options->dry, err);
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (!options->dry && versions_record(&run, &late) < 0 && status == 0)
		status = err_move(err, &late);
	return status;
}
