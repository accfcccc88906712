/*
 * data gc. What is in use is collected first, and anything that cannot be read ends it before an object is touched: an object is
 * deleted because it is known to be unused, never because nobody could tell.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/browse.h"
#include "features/data/gc_remote.h"
#include "features/data/objects.h"
#include "features/data/transfer.h"
#include "features/data/transfer_report.h"
#include "vcs/git_revs.h"

#include <string.h>

#define MAX_RECORD ((size_t)64 << 20)

/* HELD: used, and the remote's copy does not do for it. Elsewhere: branches and tags outside of the scopes. */
enum use { HELD = 1, USED, USED_ELSEWHERE };

/* Where records are from. */
struct origin {
	struct data_repo *owner;
	enum use use;
	bool in_tree, may_skip;
	const char *name;
};

struct unused {
	struct odb_id id;
	uint64_t size;
	bool on_remote;
};

struct gc {
	struct data_repo *repo;
	const struct data_gc_options *options;
	struct data_gc_report *ret;
	struct map used;  /* keys to enum use */
	struct map blobs; /* git objects and manifests that were read */
	VEC(struct unused) unused;
	VEC(struct gc_copy) copies; /* used objects of the cache that the remote might have */
};

static void gc_release(struct gc *gc)
{
	map_release(&gc->used);
	map_release(&gc->blobs);
	vec_release(&gc->unused);
	vec_release(&gc->copies);
}

static bool mark(struct gc *gc, const struct odb_id *id, enum use use)
{
	struct buf key CLEANUP(buf_release) = BUF_INIT;
	odb_add_key(&key, id);
	struct map_entry *entry = map_entry(&gc->used, key.data);
	bool fresh = !entry->value || (uintptr_t)entry->value > use;
	if (fresh)
		entry->value = (void *)(uintptr_t)use;
	return fresh;
}

static enum use use_of(const struct gc *gc, const struct odb_id *id)
{
	struct buf key CLEANUP(buf_release) = BUF_INIT;
	odb_add_key(&key, id);
	return (enum use)(uintptr_t)map_get(&gc->used, key.data);
}

/* An unreadable record: the end; or skipped, where that is allowed and the record is neither of the work tree nor of the index. */
static int unreadable(struct gc *gc, const struct origin *from, const char *what, const struct err *why, struct err *err)
{
	if (from->may_skip && gc->options->skip_failed) {
		repo_warn(gc->repo, "skipped: %s: %s", what, why->message);
		return 0;
	}
	err_set(err, why->code == ERR_NET ? ERR_NET : ERR_DATA, "%s cannot be read, so nobody can tell what is in use: %s", what, why->message);
	err_note(err, "%s has that record", from->name);
	if (from->use == USED_ELSEWHERE)
		return err_hint(err, "--strict leaves other branches and tags out, --skip-failed goes on as if it recorded nothing");
	if (from->may_skip)
		return err_hint(err, "--skip-failed goes on as if it recorded nothing");
	return from->in_tree && why->hint ? err_hint(err, "%s", why->hint) : err_hint(err, "mend or remove it first");
}

static int mark_members(struct gc *gc, const struct origin *from, const struct tracked *tracked, enum use use, struct err *err)
{
	struct dvc_dir manifest CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct err failure CLEANUP(err_release) = ERR_INIT;
	if (browse_manifest(from->owner, tracked, &manifest, &failure) < 0) {
		char *what OWNED = mem_printf("the manifest of %s", tracked->path);
		return unreadable(gc, from, what, &failure, err);
	}
	struct odb_id top = tracked_id(tracked);
	for (size_t i = 0; i < manifest.len; i++) {
		struct odb_id id = odb_member(&top, manifest.entries[i].md5);
		mark(gc, &id, use);
	}
	return 0;
}

/* HELD, where only the cache's copy counts: imports are fetched from elsewhere, other projects and pinned outputs have remotes of their own, a
 * name of DVC 2 is one for any line ends, and symbolic links in the work tree would lead to nothing. */
static enum use use_of_out(const struct gc *gc, const struct origin *from, const struct tracked *tracked)
{
	const char *pinned = tracked->out->remote;
	const struct odb_links *links = &from->owner->config.links;
	bool held = from->owner != gc->repo || tracked->is_import || tracked->out->legacy || (pinned && !text_eq(pinned, gc->ret->remote));
	for (size_t i = 0; i < links->count; i++)
		held = held || (from->in_tree && links->order[i] == ODB_SYMLINK);
	return gc->options->not_in_remote && held ? HELD : from->use;
}

static int mark_outs(struct gc *gc, const struct origin *from, const struct outs *outs, struct err *err)
{
	for (size_t i = 0; i < outs->broken.len; i++)
		if (unreadable(gc, from, outs->broken.at[i].dvc_path, &outs->broken.at[i].err, err) < 0)
			return -1;
	for (size_t i = 0; i < outs->list.len; i++) {
		const struct tracked *tracked = &outs->list.at[i];
		struct odb_id id = tracked_id(tracked);
		if (tracked->out->has_files && id.digest.kind == DIGEST_NONE) {
			err_set(err, ERR_CONFIG, "%s lists files whose objects are not known here", tracked->dvc_path);
			return err_hint(err, "use dvc gc in this repository");
		}
		enum use use = use_of_out(gc, from, tracked);
		if (id.digest.kind == DIGEST_NONE || !mark(gc, &id, use))
			continue;
		if (id.is_dir && mark_members(gc, from, tracked, use, err) < 0)
			return -1;
	}
	return 0;
}

static bool is_record(const char *name)
{
	return dvc_file_is_name(name) || text_eq(name, "dvc.lock");
}

static int mark_blob(struct gc *gc, const struct origin *from, struct git_repo *git, const struct git_entry *entry, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct outs outs CLEANUP(outs_release) = { .everything = true };
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	struct err failure CLEANUP(err_release) = ERR_INIT;
	char *seen OWNED = mem_printf("%d %s %s", from->use, from->owner->root, entry->oid);
	if (!map_set(&gc->blobs, seen, NULL))
		return 0;
	if (git_blob_read(git, entry->oid, MAX_RECORD, &text, err) < 0)
		return -1;
	if (text_eq(path_base(entry->path), "dvc.lock"))
		outs_take_lock(&outs, "", text.data, text.len, NULL, 0);
	else if (dvc_file_parse(text.data, text.len, entry->path, &file, &failure) < 0)
		outs_take_broken(&outs, entry->path, &failure);
	else
		outs_take(&outs, "", entry->path, NULL, &file);
	return mark_outs(gc, from, &outs, err);
}

static int mark_entries(struct gc *gc, const struct origin *from, struct git_repo *git, const struct git_entries *entries, struct err *err)
{
	for (size_t i = 0; i < entries->len; i++)
		if (is_record(path_base(entries->at[i].path)) && mark_blob(gc, from, git, &entries->at[i], err) < 0)
			return -1;
	return 0;
}

static int mark_commits(struct gc *gc, const struct origin *from, struct git_repo *git, const struct strlist *commits, struct err *err)
{
	struct git_entries entries CLEANUP(git_entries_release) = { 0 };
	if (git_commits_entries(git, commits, is_record, &entries, err) < 0)
		return -1;
	return mark_entries(gc, from, git, &entries, err);
}

static int choose_commits(const struct data_gc_options *options, struct git_repo *git, struct strlist *ret, struct err *err)
{
	struct strlist tips CLEANUP(strlist_release) = { 0 }, all CLEANUP(strlist_release) = { 0 }, heads CLEANUP(strlist_release) = { 0 };
	if (options->commits)
		return git_tips(git, GIT_EVERY_REF, &tips, err) < 0 ? -1 : git_ancestors(git, &tips, ret, err);
	if (options->has_since && (git_tips(git, GIT_EVERY_REF, &tips, err) < 0 || git_ancestors(git, &tips, &all, err) < 0 ||
				   git_since(git, &all, options->since, ret, err) < 0))
		return -1;
	if ((options->branches && git_tips(git, GIT_BRANCHES, &heads, err) < 0) || (options->tags && git_tips(git, GIT_TAGS, ret, err) < 0))
		return -1;
	unsigned each = options->rev_commits ? options->rev_commits : 1;
	for (size_t i = 0; i < heads.len; i++)
		if (git_first_parents(git, heads.at[i], each, ret, err) < 0)
			return -1;
	for (size_t i = 0; i < options->revs.len; i++)
		if (git_first_parents(git, options->revs.at[i], each, ret, err) < 0)
			return -1;
	return 0;
}

static int mark_repo(struct gc *gc, struct data_repo *owner, struct err *err)
{
	struct outs outs CLEANUP(outs_release) = { .everything = true };
	struct git_entries index CLEANUP(git_entries_release) = { 0 };
	struct strlist commits CLEANUP(strlist_release) = { 0 }, others CLEANUP(strlist_release) = { 0 };
	const struct data_gc_options *options = gc->options;
	const struct origin tree = { owner, USED, .in_tree = true, .name = "the work tree" };
	const struct origin staged = { owner, USED, .name = "git's index" };
	const struct origin chosen = { owner, USED, .may_skip = true, .name = "a commit in the chosen scopes" };
	const struct origin other = { owner, USED_ELSEWHERE, .may_skip = true, .name = "another branch or tag" };
	struct git_repo *git;
	if (outs_load(owner, &outs, err) < 0 || mark_outs(gc, &tree, &outs, err) < 0 || repo_git(owner, &git, err) < 0)
		return -1;
	if (!git && (options->branches || options->tags || options->commits || options->revs.len || options->has_since)) {
		err_set(err, ERR_CONFIG, "%s is not in a git repository, so it has no branches, tags or commits", owner->root);
		return err_hint(err, "-w alone is about the work tree");
	}
	if (!git)
		return 0;
	if (git_entries_read(git, &index, err) < 0 || mark_entries(gc, &staged, git, &index, err) < 0 ||
	    choose_commits(options, git, &commits, err) < 0 || mark_commits(gc, &chosen, git, &commits, err) < 0)
		return -1;
	if (options->strict || options->commits)
		return 0;
	return git_tips(git, GIT_BRANCHES_AND_TAGS, &others, err) < 0 ? -1 : mark_commits(gc, &other, git, &others, err);
}

static int mark_projects(struct gc *gc, struct err *err)
{
	for (size_t i = 0; i < gc->options->projects.len; i++) {
		struct data_repo *other;
		if (data_open(gc->options->projects.at[i], &gc->repo->ui, &other, err) < 0)
			return -1;
		int status = mark_repo(gc, other, err);
		data_close(other);
		if (status < 0)
			return err_note(err, "in the project %s", gc->options->projects.at[i]);
	}
	return 0;
}

/* What is there and unused. */

static void take_unused(struct gc *gc, const struct odb_id *id, uint64_t size, bool on_remote)
{
	struct buf name CLEANUP(buf_release) = BUF_INIT;
	object_add_name(&name, id);
	vec_push(&gc->unused, ((struct unused){ *id, size, on_remote }));
	strlist_take(&gc->ret->names, mem_printf("%s%s", on_remote ? "remote: " : "", name.data));
	*(on_remote ? &gc->ret->remote_objects : &gc->ret->objects) += 1;
	*(on_remote ? &gc->ret->remote_bytes : &gc->ret->bytes) += size;
}

static void consider(struct gc *gc, const struct odb_id *id, uint64_t size, bool on_remote)
{
	enum use use = use_of(gc, id);
	/* Manifests stay: they are small, and say what there is to fetch. */
	if (gc->options->not_in_remote && use > HELD && !id->is_dir && id->digest.kind == DIGEST_MD5) {
		vec_push(&gc->copies, ((struct gc_copy){ .id = *id, .size = size }));
		return;
	}
	gc->ret->kept += use == USED_ELSEWHERE;
	if (!use)
		take_unused(gc, id, size, on_remote);
}

static int consider_copies(struct gc *gc, struct remote *remote, struct err *err)
{
	if (gc_find_copies(gc->repo, remote, gc->copies.at, gc->copies.len, gc->options->quick, &gc->ret->damaged, &gc->ret->unread, err) < 0)
		return -1;
	for (size_t i = 0; i < gc->copies.len; i++) {
		const struct gc_copy *copy = &gc->copies.at[i];
		if (copy->ret_there)
			take_unused(gc, &copy->id, copy->size, false);
		else
			gc->ret->kept += use_of(gc, &copy->id) == USED_ELSEWHERE;
		gc->ret->copied += copy->ret_there;
	}
	return 0;
}

static int consider_cached(void *ctx, const struct odb_id *id, uint64_t size, struct err *err UNUSED)
{
	consider(ctx, id, size, false);
	return 0;
}

static int consider_listed(void *ctx, const char *key, uint64_t size, int64_t modified_s UNUSED, struct err *err UNUSED)
{
	struct odb_id id;
	if (odb_id_of_key(key, &id))
		consider(ctx, &id, size, true);
	return 0;
}

/* Manifests go first: whoever sees one may rely on its members. */
static int delete_cached(struct gc *gc, bool manifests, struct err *err)
{
	for (size_t i = 0; i < gc->unused.len; i++) {
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		if (gc->unused.at[i].on_remote || gc->unused.at[i].id.is_dir != manifests)
			continue;
		odb_add_path(&gc->repo->odb, &path, &gc->unused.at[i].id);
		if (fs_remove(path.data, err) < 0)
			return -1;
		repo_progress(gc->repo, "deleting", i + 1, gc->unused.len, 0);
	}
	return 0;
}

static int delete_remote(struct gc *gc, struct remote *remote, bool manifests, struct err *err)
{
	struct remote_item *items OWNED = mem_alloc((gc->unused.len + 1) * sizeof(*items));
	struct arena keys CLEANUP(arena_release) = { 0 };
	size_t count = 0;
	for (size_t i = 0; i < gc->unused.len; i++) {
		struct buf key CLEANUP(buf_release) = BUF_INIT;
		if (!gc->unused.at[i].on_remote || gc->unused.at[i].id.is_dir != manifests)
			continue;
		odb_add_key(&key, &gc->unused.at[i].id);
		items[count++] = (struct remote_item){ .key = arena_strdup(&keys, key.data) };
	}
	int status = remote_remove(remote, items, count, NULL, err);
	for (size_t i = 0; i < count; i++) {
		if (items[i].ret_state == REMOTE_FAILED) {
			strlist_take(&gc->ret->failed, mem_printf("%s: %s", items[i].key,
								  items[i].ret_err.message ? items[i].ret_err.message : "failed"));
			report_hint(&gc->ret->hints, &items[i]);
		}
		err_release(&items[i].ret_err);
	}
	return status;
}

static int sweep(struct gc *gc, struct remote *remote, struct err *err)
{
	const struct data_gc_options *options = gc->options;
	if (odb_each(&gc->repo->odb, consider_cached, gc, err) < 0 ||
	    (options->with_remote && objects_list_remote(remote, consider_listed, gc, err) < 0) ||
	    (options->not_in_remote && consider_copies(gc, remote, err) < 0))
		return -1;
	if (options->dry || !gc->unused.len || (options->confirm && !options->confirm(options->ctx, gc->ret)))
		return 0;
	if (options->with_remote && (delete_remote(gc, remote, true, err) < 0 || delete_remote(gc, remote, false, err) < 0))
		return -1;
	if (delete_cached(gc, true, err) < 0 || delete_cached(gc, false, err) < 0)
		return -1;
	gc->ret->deleted = true;
	return 0;
}

static int collect(struct gc *gc, struct remote *remote, struct err *err)
{
	if (mark_repo(gc, gc->repo, err) < 0 || mark_projects(gc, err) < 0)
		return -1;
	for (size_t i = 0; i < gc->used.len; i++)
		gc->ret->used += (uintptr_t)gc->used.entries[i].value <= USED;
	return sweep(gc, remote, err);
}

static int collect_locked(struct gc *gc, struct err *err)
{
	const struct data_gc_options *options = gc->options;
	struct arena arena CLEANUP(arena_release) = { 0 };
	struct remote *remote = NULL;
	if ((options->with_remote || options->not_in_remote) &&
	    transfer_open_remote(gc->repo, options->remote, options->jobs, &arena, &remote, &gc->ret->remote, err) < 0)
		return -1;
	int status = collect(gc, remote, err);
	if (status == 0 && options->with_remote && !options->dry && (gc->ret->deleted || !gc->unused.len))
		gc->ret->leftovers = remote_sweep(remote);
	remote_close(remote);
	return status;
}

int data_gc(struct data_repo *repo, const struct data_gc_options *options, struct data_gc_report *ret, struct err *err)
{
	struct gc gc CLEANUP(gc_release) = { .repo = repo, .options = options, .ret = ret };
	*ret = (struct data_gc_report){ .remote = NULL };
	if (repo_lock(repo, err) < 0)
		return -1;
	int status = collect_locked(&gc, err);
	repo_unlock(repo);
	return status;
}

void data_gc_report_release(struct data_gc_report *report)
{
	strlist_release(&report->names);
	strlist_release(&report->failed);
	strlist_release(&report->damaged);
	strlist_release(&report->unread);
	strlist_release(&report->hints);
	free(report->remote);
	report->remote = NULL;
}
