/*
 * data ls and data get.
 */
#include "features/data/browse.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/transfer.h"
#include "vcs/git_revs.h"

#include <string.h>

int browse_outs(struct data_repo *repo, const char *rev, struct outs *ret, struct err *err)
{
	struct git_repo *git;
	char commit[GIT_HEX];
	if (!rev)
		return outs_load(repo, ret, err);
	if (repo_git(repo, &git, err) < 0)
		return -1;
	if (!git) {
		err_set(err, ERR_CONFIG, "%s is not in a git repository, so there is no revision '%s'", repo->root, rev);
		return err_hint(err, "leave the revision out to mean the work tree");
	}
	return git_resolve(git, rev, commit, err) < 0 ? -1 : outs_load_commit(repo, commit, ret, err);
}

int browse_need(struct data_repo *repo, const struct tracked *tracked, const struct odb_id *id, const char *name, struct err *err)
{
	if (odb_has(&repo->odb, id, NULL))
		return 0;
	struct arena arena CLEANUP(arena_release) = { 0 };
	struct buf key CLEANUP(buf_release) = BUF_INIT, temp CLEANUP(buf_release) = BUF_INIT;
	struct remote *remote;
	char hex[DIGEST_HEX_MAX];
	digest_hex(&id->digest, hex);
	if (tracked->is_import) { /* which is on no remote of ours */
		err_set(err, ERR_DATA, "%s (md5 %s) is not in the cache", name, hex);
		return err_hint(err, "mlmake data fetch %s brings it from where it was imported", tracked->path);
	}
	if (!tracked->out->remote && !repo->config.default_remote) {
		err_set(err, ERR_DATA, "%s (md5 %s) is not in the cache, and no remote is configured", name, hex);
		return err_hint(err, "mlmake data remote add -d NAME URL says where data is");
	}
	odb_add_key(&key, id);
	if (transfer_open_remote(repo, tracked->out->remote, 0, &arena, &remote, NULL, err) < 0)
		return -1;
	struct remote_item item = { .key = key.data, .size = REMOTE_SIZE_UNKNOWN, .expect = id->digest,
				    .max_size = id->is_dir ? DVC_DIR_MAX_BYTES : 0 };
	int status = odb_temp_path(&repo->odb, &temp, err);
	item.path = temp.data;
	if (status == 0)
		status = remote_get(remote, &item, 1, NULL, err);
	if (status == 0 && item.ret_state == REMOTE_DONE) {
		struct odb_publish publish = { temp.data, *id };
		status = odb_publish(&repo->odb, &publish, 1, err);
	} else if (status == 0 && item.ret_state == REMOTE_FAILED)
		status = err_move(err, &item.ret_err);
	else if (status == 0) {
		err_set(err, ERR_DATA, "%s (md5 %s) is not in the cache, and %s on the remote", name, hex,
			item.ret_state == REMOTE_MISSING ? "missing" : "damaged");
		status = err_hint(err, "push it from where it was made: mlmake data push");
	}
	err_release(&item.ret_err);
	remote_close(remote);
	return status;
}

int browse_manifest(struct data_repo *repo, const struct tracked *tracked, struct dvc_dir *ret, struct err *err)
{
	struct odb_id id = tracked_id(tracked);
	char *name OWNED = mem_printf("the manifest of %s", tracked->path);
	if (tracked_check_supported(tracked, err) < 0 || (!tracked->out->has_files && browse_need(repo, tracked, &id, name, err) < 0))
		return -1;
	return tracked_read_manifest(repo, tracked, ret, err);
}

/* ls */

struct listing {
	struct data_repo *repo;
	const struct data_ls_options *options;
	const char *top;  /* relative to the root, "" for it */
	struct data_listing *ret;
	struct map seen;
	bool found;
};

/* Adds what stands at path: itself, or without -R the directory right below the top that it is in. */
static void list_path(struct listing *listing, const char *path, const struct digest *digest, bool is_dir, bool exec, bool has_size,
		      uint64_t size)
{
	const char *rel = text_eq(path, listing->top) ? path_base(path) : *listing->top ? path + strlen(listing->top) + 1 : path;
	const char *slash = strchr(rel, '/');
	bool part = slash && !listing->options->recursive;
	char *shown OWNED = part ? mem_strndup(rel, (size_t)(slash - rel)) : mem_strdup(rel);
	listing->found = true;
	if (!map_set(&listing->seen, shown, NULL))
		return;
	struct data_listed listed = { .path = mem_strdup(shown), .is_dir = part || is_dir };
	if (!part) {
		listed.is_out = true;
		listed.exec = exec;
		listed.has_size = has_size;
		listed.size = size;
		if (digest && digest->kind != DIGEST_NONE) {
			char hex[DIGEST_HEX_MAX];
			digest_hex(digest, hex);
			listed.md5 = mem_printf("%s%s", hex, is_dir ? ".dir" : "");
		}
	}
	vec_push(&listing->ret->list, listed);
}

static int list_members(struct listing *listing, const struct tracked *tracked, struct err *err)
{
	struct dvc_dir manifest CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct odb_id top = tracked_id(tracked);
	if (browse_manifest(listing->repo, tracked, &manifest, err) < 0)
		return -1;
	bool itself = text_eq(tracked->path, listing->top);
	listing->found = listing->found || itself;
	if (!manifest.len && listing->options->empty && !itself)
		list_path(listing, tracked->path, &top.digest, true, false, false, 0);
	for (size_t i = 0; i < manifest.len; i++) {
		struct odb_id id = odb_member(&top, manifest.entries[i].md5);
		char *path OWNED = path_joined(tracked->path, manifest.entries[i].relpath);
		uint64_t size = 0;
		if (*listing->top && !path_inside(listing->top, path))
			continue;
		bool cached = listing->options->sizes && odb_has(&listing->repo->odb, &id, &size);
		list_path(listing, path, &id.digest, false, false, cached, size);
	}
	/* A member's directory is data as well. */
	for (size_t i = 0; i < listing->ret->list.len; i++)
		listing->ret->list.at[i].is_out = listing->ret->list.at[i].is_out || path_inside(tracked->path, listing->top);
	return 0;
}

static int list_tracked(struct listing *listing, const struct tracked *tracked, struct err *err)
{
	const struct dvc_out *out = tracked->out;
	bool inside = !*listing->top || path_inside(listing->top, tracked->path);
	bool above = out->is_dir && *listing->top && path_inside(tracked->path, listing->top);
	if (!inside && !above)
		return 0;
	if (out->is_dir && (above || listing->options->recursive))
		return list_members(listing, tracked, err);
	list_path(listing, tracked->path, &out->digest, out->is_dir, out->isexec, out->has_size, out->size);
	return 0;
}

static int compare_listed(const void *a, const void *b)
{
	return strcmp(((const struct data_listed *)a)->path, ((const struct data_listed *)b)->path);
}

int data_ls(struct data_repo *repo, const char *path, const struct data_ls_options *options, struct data_listing *ret, struct err *err)
{
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	struct buf rel CLEANUP(buf_release) = BUF_INIT;
	*ret = (struct data_listing){ .list = { 0 } };
	if (repo_path(repo, path ? path : ".", &rel, err) < 0 || browse_outs(repo, options->rev, &outs, err) < 0)
		return -1;
	struct listing listing = { .repo = repo, .options = options, .ret = ret, .top = text_eq(rel.data, ".") ? "" : rel.data };
	int status = 0;
	for (size_t i = 0; status == 0 && i < outs.list.len; i++)
		status = list_tracked(&listing, &outs.list.at[i], err);
	map_release(&listing.seen);
	if (status < 0)
		return -1;
	for (size_t i = 0; i < outs.broken.len; i++) {
		const struct err *why = &outs.broken.at[i].err;
		strlist_take(&ret->broken, mem_printf("%s: %s", outs.broken.at[i].dvc_path, why->message));
	}
	if (!listing.found && path && !ret->broken.len && *listing.top) {
		err_set(err, ERR_CONFIG, "there is no tracked data at %s%s%s", path, options->rev ? " in " : "", options->rev ? options->rev : "");
		return err_hint(err, "mlmake data ls -R shows all there is");
	}
	vec_sort(&ret->list, compare_listed);
	return 0;
}

void data_listing_release(struct data_listing *listing)
{
	for (size_t i = 0; i < listing->list.len; i++) {
		free(listing->list.at[i].path);
		free(listing->list.at[i].md5);
	}
	vec_release(&listing->list);
	strlist_release(&listing->broken);
}

/* get */

struct getting {
	struct data_repo *repo;
	const struct tracked *tracked;
	struct dvc_dir manifest;
	VEC(struct odb_export) items;
	struct arena names;
	struct buf staging; /* a fresh directory beside the target */
};

static void getting_release(struct getting *getting)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (getting->staging.len && fs_remove_tree(getting->staging.data, &ignored) < 0)
		err_release(&ignored);
	dvc_dir_release(&getting->manifest);
	vec_release(&getting->items);
	arena_release(&getting->names);
	buf_release(&getting->staging);
}

static int want_file(struct getting *getting, const struct digest *digest, const char *rel, const char *name, struct err *err)
{
	struct odb_id id = { *digest, false };
	const char *to = arena_printf(&getting->names, "%s/got%s%s", getting->staging.data, *rel ? "/" : "", rel);
	if (browse_need(getting->repo, getting->tracked, &id, name, err) < 0 || fs_mkdirs_for(to, err) < 0)
		return -1;
	vec_push(&getting->items, ((struct odb_export){ .id = id, .to = to, .exec = getting->tracked->out->isexec }));
	return 0;
}

static int want_members(struct getting *getting, const char *sub, struct err *err)
{
	struct odb_id top = tracked_id(getting->tracked);
	if (browse_manifest(getting->repo, getting->tracked, &getting->manifest, err) < 0)
		return -1;
	for (size_t i = 0; i < getting->manifest.len; i++) {
		const struct dvc_entry *entry = &getting->manifest.entries[i];
		struct odb_id id = odb_member(&top, entry->md5);
		char *name OWNED = path_joined(getting->tracked->path, entry->relpath);
		if (*sub && !path_inside(sub, entry->relpath))
			continue;
		const char *rest = text_eq(sub, entry->relpath) ? "" : *sub ? entry->relpath + strlen(sub) + 1 : entry->relpath;
		if (want_file(getting, &id.digest, rest, name, err) < 0)
			return -1;
	}
	char *part OWNED = mem_strdup(*sub ? sub : NULL);
	return selected_check_part(&(struct selected){ getting->tracked, part }, &getting->manifest, err);
}

/* Damaged objects are set aside and fetched once more. */
static int export_all(struct getting *getting, struct err *err)
{
	struct data_repo *repo = getting->repo;
	for (int attempt = 0; attempt < 2; attempt++) {
		bool again = false;
		if (odb_export(&repo->odb, getting->items.at, getting->items.len, NULL, err) < 0)
			return -1;
		for (size_t i = 0; i < getting->items.len; i++) {
			const struct odb_export *item = &getting->items.at[i];
			struct buf where CLEANUP(buf_release) = BUF_INIT;
			if (item->ret_result == ODB_OK)
				continue;
			if (attempt)
				return err_set(err, ERR_DATA, "an object of %s is damaged in the cache", getting->tracked->path);
			if (item->ret_result == ODB_DAMAGED && odb_quarantine(&repo->odb, &item->id, &where, err) < 0)
				return -1;
			if (browse_need(repo, getting->tracked, &item->id, getting->tracked->path, err) < 0)
				return -1;
			again = true;
		}
		if (!again)
			return 0;
		for (size_t i = 0; i < getting->items.len; i++)
			if (getting->items.at[i].ret_result == ODB_OK && fs_remove(getting->items.at[i].to, err) < 0)
				return -1;
	}
	return 0;
}

int browse_place(const char *got, const char *target, bool force, struct err *err)
{
	struct stat st;
	bool exists;
	if (fs_lstat(target, &st, &exists, err) < 0)
		return -1;
	if (exists && (!force || S_ISDIR(st.st_mode))) {
		err_set(err, ERR_FAILED, "%s exists already", target);
		return err_hint(err, S_ISDIR(st.st_mode) ? "name another place with -o" : "-f overwrites it, -o names another place");
	}
	return fs_rename(got, target, err);
}

int browse_target(const char *cwd, const char *out, const char *name, struct buf *ret_target, struct buf *ret_staging, struct err *err)
{
	struct buf joined CLEANUP(buf_release) = BUF_INIT, dir CLEANUP(buf_release) = BUF_INIT;
	path_join(&joined, cwd, out ? out : name);
	if (out && fs_is_dir(joined.data)) {
		char *inside OWNED = path_joined(joined.data, name);
		buf_setstr(&joined, inside);
	}
	path_normalize(ret_target, joined.data);
	path_dir(&dir, ret_target->data);
	return fs_temp_dir(dir.data, ".mlmake-get-", ret_staging, err);
}

static int place(struct getting *getting, const char *target, bool force, struct err *err)
{
	char *got OWNED = path_joined(getting->staging.data, "got");
	if (getting->tracked->out->is_dir && fs_mkdirs_for(got, err) < 0)
		return -1;
	if (!getting->items.len && fs_mkdirs(got, err) < 0)
		return -1;
	return browse_place(got, target, force, err);
}

int data_get(struct data_repo *repo, const char *path, const struct data_get_options *options, struct buf *ret_target, size_t *ret_files,
	     struct err *err)
{
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	struct buf rel CLEANUP(buf_release) = BUF_INIT;
	struct getting getting CLEANUP(getting_release) = { .repo = repo, .manifest = DVC_DIR_INIT, .staging = BUF_INIT };
	if (repo_path(repo, path, &rel, err) < 0 || browse_outs(repo, options->rev, &outs, err) < 0)
		return -1;
	getting.tracked = outs_find(&outs, rel.data);
	if (!getting.tracked || (!getting.tracked->out->is_dir && !text_eq(getting.tracked->path, rel.data))) {
		err_set(err, ERR_CONFIG, "there is no tracked data at %s%s%s", path, options->rev ? " in " : "", options->rev ? options->rev : "");
		return err_hint(err, "mlmake data ls -R shows all there is");
	}
	if (tracked_check_supported(getting.tracked, err) < 0)
		return -1;
	if (browse_target(repo->cwd, options->out, path_base(rel.data), ret_target, &getting.staging, err) < 0)
		return -1;
	const char *sub = text_eq(getting.tracked->path, rel.data) ? "" : rel.data + strlen(getting.tracked->path) + 1;
	int status = getting.tracked->out->is_dir ? want_members(&getting, sub, err)
						  : want_file(&getting, &getting.tracked->out->digest, "", getting.tracked->path, err);
	if (status < 0 || export_all(&getting, err) < 0 || place(&getting, ret_target->data, options->force, err) < 0)
		return -1;
	*ret_files = getting.items.len;
	return 0;
}
