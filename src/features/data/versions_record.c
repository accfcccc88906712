/*
 * Versions in .dvc files. A record that somebody else changed while bytes moved is read again, and gets versions of what it still says.
 */
#include "features/data/versions_internal.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/record.h"

#include <stdlib.h>
#include <string.h>

static const char *recorded_remote(const struct dvc_out *out)
{
	if (out->cloud.remote)
		return out->cloud.remote;
	for (size_t i = 0; i < out->members.len; i++)
		if (out->members.at[i].cloud.remote)
			return out->members.at[i].cloud.remote;
	return NULL;
}

/* `cloud` has room for one remote: whose versions are there already, else the one that dvc asks by itself. */
static bool goes_to_cloud(const struct versioned *run, const struct dvc_out *out)
{
	const struct data_config *config = &run->repo->config;
	const char *there = recorded_remote(out), *usual = out->remote ? out->remote : config->default_remote;
	if (there)
		return text_eq(there, run->name) || !config_remote_exists(config, there);
	return !usual || text_eq(usual, run->name) || !config_remote_is_aware(config, usual);
}

/* Sizes as far as the cache tells. */
static void list_members(struct data_repo *repo, const struct dvc_dir *manifest, struct dvc_out *out)
{
	struct dvc_out old = *out;
	out->members.at = NULL;
	out->members.len = out->members.cap = 0;
	for (size_t i = 0; i < manifest->len; i++) {
		struct odb_id id = { .digest = { .kind = DIGEST_MD5 } };
		memcpy(id.digest.bytes, manifest->entries[i].md5, 16);
		struct dvc_member *now = dvc_out_add_member(out, manifest->entries[i].relpath, &id.digest);
		const struct dvc_member *before = dvc_out_member(&old, now->relpath);
		if (before && digest_eq(&before->digest, &id.digest)) {
			now->has_size = before->has_size;
			now->size = before->size;
			now->isexec = before->isexec;
			dvc_version_set(&now->cloud, before->cloud.remote, before->cloud.version_id, before->cloud.etag);
		} else {
			now->has_size = odb_has(&repo->odb, &id, &now->size);
		}
	}
	for (size_t i = 0; i < old.members.len; i++) {
		free(old.members.at[i].relpath);
		dvc_version_clear(&old.members.at[i].cloud);
	}
	vec_release(&old.members);
}

int versions_list_again(struct data_repo *repo, const char *path, const struct odb_id *manifest, struct dvc_out *out, struct err *err)
{
	struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	if (!manifest->is_dir) {
		out->has_files = false;
		return 0;
	}
	if (dvc_manifest_read(repo, manifest, path, &dir, err) < 0)
		return -1;
	list_members(repo, &dir, out);
	for (size_t i = 0; i < out->members.len; i++) {
		struct dvc_member *member = &out->members.at[i];
		struct stat st;
		bool exists;
		if (member->cloud.remote)
			continue;
		char *full OWNED = mem_printf("%s/%s/%s", repo->root, path, member->relpath);
		if (fs_lstat(full, &st, &exists, err) < 0)
			return -1;
		member->isexec = exists && S_ISREG(st.st_mode) && (st.st_mode & S_IXUSR);
		if (exists && S_ISREG(st.st_mode) && !member->has_size) {
			member->has_size = true;
			member->size = (uint64_t)st.st_size;
		}
	}
	return 0;
}

struct content {
	const struct dvc_out *out;
	const struct dvc_dir *manifest;
};

static bool is_old(void *ctx, const struct dvc_other_version *other)
{
	const struct content *content = ctx;
	if (!content->out->is_dir)
		return *other->relpath || !digest_eq(&other->digest, &content->out->digest);
	const struct dvc_entry *entry = dvc_dir_find(content->manifest, other->relpath);
	return !entry || memcmp(entry->md5, other->digest.bytes, sizeof(entry->md5)) != 0;
}

static int note_versions(struct versioned *run, struct version_file *const *files, size_t count, struct dvc_out *out, struct err *err)
{
	struct dvc_dir manifest CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	bool to_cloud = goes_to_cloud(run, out);
	if (out->is_dir && tracked_read_manifest(run->repo, files[0]->tracked, &manifest, err) < 0)
		return -1;
	if (out->is_dir && !out->has_files && to_cloud) {
		out->has_files = true;
		list_members(run->repo, &manifest, out);
	}
	dvc_out_drop_others(out, is_old, &(struct content){ out, &manifest });
	for (size_t i = 0; i < count; i++) {
		const struct version_file *file = files[i];
		struct dvc_member *member = *file->relpath ? dvc_out_member(out, file->relpath) : NULL;
		if (!to_cloud)
			dvc_out_set_other(out, run->name, file->relpath, &file->digest, file->now.id);
		else if (member || !*file->relpath)
			dvc_version_set(member ? &member->cloud : &out->cloud, run->name, file->now.id, file->now.etag);
		if (member && !member->has_size && file->size != REMOTE_SIZE_UNKNOWN) {
			member->has_size = true;
			member->size = file->size;
		}
	}
	return 0;
}

/* The files of one output, all of which have versions that are not recorded. */
static int record_out(struct versioned *run, struct version_file *const *files, size_t count, struct strlist *to_stage, struct err *err)
{
	const struct tracked *tracked = files[0]->tracked;
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	char *abs OWNED = repo_abs(run->repo, tracked->dvc_path);
	struct dvc_out *out = NULL;
	bool changed;
	if (dvc_file_read(abs, tracked->dvc_path, &file, err) < 0)
		return -1;
	for (size_t i = 0; i < file.out_count && !out; i++)
		if (text_eq(file.outs[i].path, tracked->out->path))
			out = &file.outs[i];
	if (!out || !digest_eq(&out->digest, &tracked->out->digest) || out->is_dir != tracked->out->is_dir) {
		err_set(err, ERR_FAILED, "%s was changed meanwhile, so the versions of %s were not recorded", tracked->dvc_path, tracked->path);
		return err_hint(err, "push again");
	}
	if (note_versions(run, files, count, out, err) < 0 || dvc_file_write(abs, &file, &changed, err) < 0)
		return -1;
	if (changed && !strlist_has(to_stage, tracked->dvc_path))
		strlist_add(to_stage, tracked->dvc_path);
	return 0;
}

/* The files of an output stand together. */
static void record_all(struct versioned *run, struct strlist *to_stage)
{
	struct version_file **files OWNED = mem_alloc((run->files.len + 1) * sizeof(struct version_file *));
	for (size_t i = 0; i < run->files.len;) {
		const struct tracked *tracked = run->files.at[i].tracked;
		size_t count = 0;
		for (; i < run->files.len && run->files.at[i].tracked == tracked; i++)
			if (run->files.at[i].on_remote && run->files.at[i].now.id)
				files[count++] = &run->files.at[i];
		struct err failure CLEANUP(err_release) = ERR_INIT;
		if (count && record_out(run, files, count, to_stage, &failure) < 0)
			strlist_take(&run->ret->failed, mem_printf("%s: %s", tracked->path, failure.message));
	}
}

int versions_record(struct versioned *run, struct err *err)
{
	struct strlist to_stage CLEANUP(strlist_release) = { 0 };
	if (repo_lock(run->repo, err) < 0)
		return -1;
	record_all(run, &to_stage);
	int status = record_stage(run->repo, &to_stage, err);
	repo_unlock(run->repo);
	for (size_t i = 0; i < to_stage.len; i++)
		strlist_add(&run->ret->recorded, to_stage.at[i]);
	return status;
}
