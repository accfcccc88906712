#include "features/data/checkout.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/rwlock.h"

#include <errno.h>
#include <string.h>

/* What has to happen to one out. */
struct change {
	const char *rel;      /* member; "" for an out that is a file */
	struct digest digest;
	bool replaces;        /* a file is there */
};

struct plan {
	struct data_repo *repo;
	const struct tracked *tracked;
	const struct data_checkout_options *options;
	struct dvc_dir manifest;
	struct walk walk;
	VEC(struct change) changes;
	struct strlist removals; /* members */
	bool kept;               /* files that are not recorded stay: --force */
	bool set_exec;           /* the file is as recorded but for its executable bit */
	bool replaces_kind;      /* a file where a directory belongs or the reverse */
};

static void plan_release(struct plan *plan)
{
	dvc_dir_release(&plan->manifest);
	walk_release(&plan->walk);
	vec_release(&plan->changes);
	strlist_release(&plan->removals);
}

static char *member_path(const struct plan *plan, const char *rel)
{
	return *rel ? path_joined(plan->tracked->path, rel) : mem_strdup(plan->tracked->path);
}

/* A file that would be lost: with --force it may be overwritten, otherwise its bytes must be in the cache. */
static void guard(const struct plan *plan, const struct walk_file *file, struct strlist *unsafe)
{
	if (!plan->options->force && !walk_is_cached(plan->repo, &plan->walk, file))
		strlist_take(unsafe, member_path(plan, file->rel));
}

static void plan_member(struct plan *plan, const char *rel, const uint8_t md5[16], struct strlist *unsafe)
{
	struct change change = { .rel = rel, .digest = { .kind = (uint8_t)plan->walk.kind } };
	memcpy(change.digest.bytes, md5, 16);
	const struct walk_file *file = walk_find(&plan->walk, rel);
	if (file && digest_eq(&file->digest, &change.digest) && !plan->options->relink) {
		plan->set_exec = !plan->tracked->out->is_dir && plan->tracked->out->isexec && !file->exec;
		return;
	}
	change.replaces = file != NULL;
	if (file && !digest_eq(&file->digest, &change.digest))
		guard(plan, file, unsafe);
	vec_push(&plan->changes, change);
}

/* Whether an unrecorded file stands where a recorded one needs a directory, or the reverse. */
static bool is_in_the_way(const struct plan *plan, const char *rel)
{
	for (const char *at = strchr(rel, '/'); at; at = strchr(at + 1, '/')) {
		char *part OWNED = mem_strndup(rel, (size_t)(at - rel));
		if (dvc_dir_find(&plan->manifest, part))
			return true;
	}
	return dvc_dir_has_part(&plan->manifest, rel);
}

static void plan_dir(struct plan *plan, const struct selected *selected, struct strlist *unsafe)
{
	for (size_t i = 0; i < plan->manifest.len; i++)
		if (selected_covers(selected, plan->manifest.entries[i].relpath))
			plan_member(plan, plan->manifest.entries[i].relpath, plan->manifest.entries[i].md5, unsafe);
	for (size_t i = 0; i < plan->walk.files.len; i++) {
		const struct walk_file *file = &plan->walk.files.at[i];
		if (!selected_covers(selected, file->rel) || dvc_dir_find(&plan->manifest, file->rel))
			continue;
		if (walk_is_cached(plan->repo, &plan->walk, file) || (plan->options->force && plan->options->exact))
			strlist_add(&plan->removals, file->rel);
		else if (!plan->options->force || is_in_the_way(plan, file->rel))
			strlist_take(unsafe, member_path(plan, file->rel));
		else
			plan->kept = true;
	}
}

static int make_plan(struct plan *plan, const struct selected *selected, struct strlist *unsafe, struct err *err)
{
	const struct tracked *tracked = plan->tracked;
	struct data_repo *repo = plan->repo;
	if (tracked->out->is_dir && tracked_read_manifest(repo, tracked, &plan->manifest, err) < 0)
		return -1;
	if (walk_part(repo, tracked->path, selected->sub, &plan->walk, err) < 0 || walk_hash(repo, &plan->walk, err) < 0)
		return -1;
	if (!plan->walk.files.len && !plan->walk.odd.len && selected_check_part(selected, &plan->manifest, err) < 0)
		return -1;
	bool odd_top = plan->walk.exists && !plan->walk.is_dir && !plan->walk.files.len;
	if (odd_top)
		strlist_add(unsafe, plan->walk.odd.at[0]);
	plan->replaces_kind = plan->walk.exists && !odd_top && plan->walk.is_dir != tracked->out->is_dir;
	if (plan->replaces_kind) {
		for (size_t i = 0; i < plan->walk.files.len; i++) {
			guard(plan, &plan->walk.files.at[i], unsafe);
			strlist_add(&plan->removals, plan->walk.files.at[i].rel);
		}
		plan->walk.files.len = 0;
	}
	if (tracked->out->is_dir)
		plan_dir(plan, selected, unsafe);
	else
		plan_member(plan, "", tracked->out->digest.bytes, unsafe);
	return 0;
}

/* Sorts what could not be exported into the report; *ret_bad counts. */
static void report_bad(const struct plan *plan, const struct change *change, enum odb_result result, struct data_checkout_report *ret,
		       struct damaged_ids *damaged, size_t *ret_bad)
{
	char hex[DIGEST_HEX_MAX];
	char *path OWNED = member_path(plan, change->rel);
	digest_hex(&change->digest, hex);
	++*ret_bad;
	strlist_take(result == ODB_ABSENT ? &ret->missing : &ret->damaged, mem_printf("%s (md5 %s)", path, hex));
	if (result == ODB_DAMAGED && damaged)
		vec_push(&damaged->list, ((struct odb_id){ change->digest, false }));
}

#define MANY_FILES 1000          /* from here on listing the cache is faster than looking */
#define EXPORTED_AT_ONCE 65536

/* All that changes is made in staging, verified, before anything in the work tree is touched. */
struct staged {
	const struct plan *plan;
	bool whole;              /* the tree as it will be; else one numbered file each */
	struct buf dir, to;      /* what goes with it, and where they are made: the same, or a directory in it */
	struct fs_stamp *stamps; /* of each change */
	size_t before;           /* exported so far */
	uint64_t bytes_before, bytes;
};

static bool export_progress(void *ctx, size_t items_done, uint64_t bytes_done)
{
	struct staged *staged = ctx;
	staged->bytes = staged->bytes_before + bytes_done;
	repo_progress(staged->plan->repo, "checking out", staged->before + items_done, staged->plan->changes.len, staged->bytes);
	return true;
}

static void staged_release(struct staged *staged)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (staged->dir.len && fs_remove_tree(staged->dir.data, &ignored) < 0)
		err_release(&ignored); /* swept by the next checkout */
	buf_release(&staged->dir);
	buf_release(&staged->to);
	free(staged->stamps);
}

/* A look at names alone, to be told before anything is copied: what is exported is verified. */
static void check_presence(const struct plan *plan, struct data_checkout_report *ret, struct damaged_ids *damaged, size_t *ret_bad)
{
	size_t count = plan->changes.len;
	struct odb_id *ids OWNED = mem_alloc((count + 1) * sizeof(*ids));
	bool *present OWNED = mem_alloc(count + 1);
	for (size_t i = 0; i < count; i++)
		ids[i] = (struct odb_id){ plan->changes.at[i].digest, false };
	if (count >= MANY_FILES)
		odb_list_many(&plan->repo->odb, ids, count, present);
	for (size_t i = 0; i < count; i++)
		if (!present[i] && !odb_has(&plan->repo->odb, &ids[i], NULL))
			report_bad(plan, &plan->changes.at[i], odb_exists(&plan->repo->odb, &ids[i]) ? ODB_DAMAGED : ODB_ABSENT, ret, damaged, ret_bad);
}

static const char *staged_path(const struct staged *staged, size_t index, struct arena *arena)
{
	if (!staged->whole)
		return arena_printf(arena, "%s/%zu", staged->to.data, index);
	return arena_join(arena, staged->to.data, staged->plan->changes.at[index].rel);
}

static int make_parents(const char *path, struct buf *last, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	path_dir(&dir, path);
	if (last->len && text_eq(dir.data, last->data))
		return 0;
	buf_reset(last);
	buf_add(last, dir.data, dir.len);
	return fs_mkdirs(dir.data, err);
}

static int export_some(struct staged *staged, size_t count, struct data_checkout_report *ret, struct damaged_ids *damaged, size_t *ret_bad,
		       struct err *err)
{
	const struct plan *plan = staged->plan;
	const struct change *changes = plan->changes.at + staged->before;
	struct arena names CLEANUP(arena_release) = { 0 };
	struct buf last CLEANUP(buf_release) = BUF_INIT;
	struct odb_export *items OWNED = mem_alloc(count * sizeof(*items));
	for (size_t i = 0; i < count; i++) {
		items[i] = (struct odb_export){ .id = { changes[i].digest, false },
						.to = staged_path(staged, staged->before + i, &names),
						.exec = plan->tracked->out->isexec && !plan->tracked->out->is_dir,
						.links = &plan->repo->config.links };
		if (staged->whole && make_parents(items[i].to, &last, err) < 0)
			return -1;
	}
	struct odb_sink sink = { export_progress, staged };
	if (odb_export(&plan->repo->odb, items, count, &sink, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		staged->stamps[staged->before + i] = items[i].ret_stamp;
		if (items[i].ret_result != ODB_OK)
			report_bad(plan, &changes[i], items[i].ret_result, ret, damaged, ret_bad);
	}
	staged->before += count;
	staged->bytes_before = staged->bytes;
	return 0;
}

static int remove_stale(const struct plan *plan, struct err *err)
{
	for (size_t i = 0; i < plan->removals.len; i++) {
		char *rel OWNED = member_path(plan, plan->removals.at[i]);
		if (repo_check_parents(plan->repo, rel, err) < 0)
			return -1;
		char *abs OWNED = repo_abs(plan->repo, rel);
		if (fs_remove(abs, err) < 0)
			return -1;
		/* Directories that became empty go too, up to the out itself. */
		struct buf dir CLEANUP(buf_release) = BUF_INIT;
		path_dir(&dir, rel);
		while (path_inside(plan->tracked->path, dir.data) && !text_eq(dir.data, plan->tracked->path)) {
			char *path OWNED = repo_abs(plan->repo, dir.data);
			if (sys.unlinkat(AT_FDCWD, path, AT_REMOVEDIR) < 0)
				break;
			struct buf up CLEANUP(buf_release) = BUF_INIT;
			path_dir(&up, dir.data);
			buf_setstr(&dir, up.data);
		}
	}
	if (!plan->replaces_kind || !plan->walk.is_dir)
		return 0;
	char *abs OWNED = repo_abs(plan->repo, plan->tracked->path);
	if (sys.unlinkat(AT_FDCWD, abs, AT_REMOVEDIR) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot replace the directory %s by a file", plan->tracked->path);
	return 0;
}

static int place_each(const struct plan *plan, const struct staged *staged, struct err *err)
{
	for (size_t i = 0; i < plan->changes.len; i++) {
		char *rel OWNED = member_path(plan, plan->changes.at[i].rel);
		if (repo_check_parents(plan->repo, rel, err) < 0)
			return -1;
		char *abs OWNED = repo_abs(plan->repo, rel);
		if (fs_mkdirs_for(abs, err) < 0)
			return -1;
		struct stat st;
		bool exists;
		if (fs_lstat(abs, &st, &exists, err) < 0)
			return -1;
		/* Directories without a file below them may stand where a file belongs. */
		if (exists && S_ISDIR(st.st_mode) && sys.unlinkat(AT_FDCWD, abs, AT_REMOVEDIR) < 0)
			return err_set_errno(err, ERR_FAILED, errno, "cannot replace the directory %s by a file", rel);
		struct arena name CLEANUP(arena_release) = { 0 };
		if (fs_rename(staged_path(staged, i, &name), abs, err) < 0)
			return -1;
	}
	if (!plan->tracked->out->is_dir || plan->manifest.len)
		return 0;
	char *abs OWNED = repo_abs(plan->repo, plan->tracked->path);
	return fs_mkdirs(abs, err);
}

static int place_tree(const struct plan *plan, const struct staged *staged, struct err *err)
{
	char *abs OWNED = repo_abs(plan->repo, plan->tracked->path);
	return fs_rename(staged->to.data, abs, err);
}

/* A rename changes ctime alone, and that of a directory nothing of what is in it. False if it is no longer what was made. */
static bool stamp_placed(const struct plan *plan, const char *rel, struct fs_stamp *stamp)
{
	char *abs OWNED = repo_abs(plan->repo, rel);
	struct stat st;
	struct fs_stamp now;
	if (sys.fstatat(AT_FDCWD, abs, &st, 0) < 0)
		return false;
	fs_stamp_of(&now, &st);
	stamp->ctime_ns = now.ctime_ns;
	return fs_stamp_same(stamp, &now);
}

static int set_exec(const struct plan *plan, struct err *err)
{
	const char *rel = plan->tracked->path;
	const struct walk_file *file = walk_find(&plan->walk, "");
	char *abs OWNED = repo_abs(plan->repo, rel);
	struct hashes *hashes;
	struct fs_stamp stamp = file->stamp;
	stamp.mode |= S_IXUSR;
	if (repo_hashes(plan->repo, &hashes, err) < 0)
		return -1;
	if (sys.fchmodat(AT_FDCWD, abs, stamp.mode & 07777, 0) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot make %s executable, as it is recorded", rel);
	if (stamp_placed(plan, rel, &stamp))
		hashes_record(hashes, plan->walk.kind, rel, &file->digest, &stamp);
	return 0;
}

/* Records go to the database on the way, where they are many. */
static int remember(const struct plan *plan, const struct staged *staged, struct err *err)
{
	struct hashes *hashes;
	if (repo_hashes(plan->repo, &hashes, err) < 0)
		return -1;
	for (size_t i = 0; i < plan->changes.len; i++) {
		char *rel OWNED = member_path(plan, plan->changes.at[i].rel);
		struct fs_stamp stamp = staged->stamps[i];
		if (staged->whole || stamp_placed(plan, rel, &stamp))
			hashes_record(hashes, plan->walk.kind, rel, &plan->changes.at[i].digest, &stamp);
		if (hashes_unsaved(hashes) >= 2 * EXPORTED_AT_ONCE && hashes_unsaved(hashes) >= i / 4 && repo_save_hashes(plan->repo, err) < 0)
			return -1;
	}
	return 0;
}

static void report_done(const struct plan *plan, const struct selected *selected, struct data_checkout_report *ret)
{
	const struct tracked *tracked = plan->tracked;
	ret->files += plan->changes.len;
	bool fresh = !plan->walk.exists;
	if (!plan->changes.len && !plan->removals.len && !plan->set_exec && !fresh)
		return;
	bool part = selected->sub != NULL;
	char *name = part ? path_joined(tracked->path, selected->sub) : mem_printf("%s%s", tracked->path, tracked->out->is_dir ? "/" : "");
	strlist_take(fresh ? &ret->added : &ret->modified, name);
}

static int apply(struct plan *plan, const struct selected *selected, struct data_checkout_report *ret, struct damaged_ids *damaged,
		 struct err *err)
{
	struct staged staged CLEANUP(staged_release) = { .plan = plan, .dir = BUF_INIT, .to = BUF_INIT };
	struct buf parent CLEANUP(buf_release) = BUF_INIT;
	size_t bad = 0, count = plan->changes.len;
	check_presence(plan, ret, damaged, &bad);
	if (bad)
		return 0;
	staged.whole = plan->tracked->out->is_dir && !plan->walk.exists && count;
	staged.stamps = mem_alloc((count + 1) * sizeof(*staged.stamps));
	path_dir(&parent, plan->tracked->path);
	if (count && repo_staging(plan->repo, parent.data, &staged.dir, err) < 0)
		return -1;
	if (count)
		buf_addf(&staged.to, "%s%s", staged.dir.data, staged.whole ? "/tree" : "");
	while (staged.before < count) {
		size_t left = count - staged.before;
		if (export_some(&staged, left < EXPORTED_AT_ONCE ? left : EXPORTED_AT_ONCE, ret, damaged, &bad, err) < 0)
			return -1;
	}
	if (bad)
		return 0;
	if (remove_stale(plan, err) < 0 || (staged.whole ? place_tree(plan, &staged, err) : place_each(plan, &staged, err)) < 0)
		return -1;
	if (plan->set_exec && set_exec(plan, err) < 0)
		return -1;
	report_done(plan, selected, ret);
	return remember(plan, &staged, err);
}

int checkout_one(struct data_repo *repo, const struct selected *selected, const struct data_checkout_options *options,
		 struct data_checkout_report *ret, struct damaged_ids *damaged, struct err *err)
{
	struct plan plan CLEANUP(plan_release) = {
		.repo = repo, .tracked = selected->tracked, .options = options, .manifest = DVC_DIR_INIT,
		.walk = { .kind = tracked_kind(selected->tracked) }
	};
	struct strlist unsafe CLEANUP(strlist_release) = { 0 };
	if (tracked_is_partial(plan.tracked))
		return 0; /* nothing is recorded that it should be */
	if (tracked_check_supported(plan.tracked, err) < 0 || repo_check_parents(repo, plan.tracked->path, err) < 0)
		return -1;
	if (make_plan(&plan, selected, &unsafe, err) < 0) {
		/* A manifest that the cache has not, or has damaged, is missing data like any other. */
		if (err->code != ERR_DATA || !plan.tracked->out->is_dir)
			return -1;
		struct odb_id id = tracked_id(plan.tracked);
		struct err damage CLEANUP(err_release) = ERR_INIT;
		bool there = odb_exists(&repo->odb, &id);
		strlist_take(there ? &ret->damaged : &ret->missing, mem_printf("%s/ (%s)", plan.tracked->path, err->message));
		/* Right bytes with wrong content: nobody's copy is better. */
		if (there && damaged && !dvc_manifest_is_intact(repo, &id, &damage))
			vec_push(&damaged->list, id);
		err_release(err);
		return 0;
	}
	for (size_t i = 0; i < unsafe.len; i++)
		strlist_add(&ret->unsafe, unsafe.at[i]);
	return unsafe.len ? 0 : apply(&plan, selected, ret, damaged, err);
}

int data_checkout(struct data_repo *repo, const char *const *paths, size_t count, const struct data_checkout_options *options,
		  struct data_checkout_report *ret, struct err *err)
{
	struct held_outs targets CLEANUP(held_outs_release) = HELD_OUTS_INIT;
	*ret = (struct data_checkout_report){ .files = 0 };
	int status = held_outs_take(repo, paths, count, &targets, err);
	if (status == 0)
		repo_unlock(repo);
	for (size_t i = 0; status == 0 && i < targets.chosen.list.len; i++)
		status = checkout_one(repo, &targets.chosen.list.at[i], options, ret, NULL, err);
	outs_add_broken(repo, &targets.outs, paths, count, &ret->broken);
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (repo_save_hashes(repo, &late) < 0)
		repo_warn(repo, "the stat records could not be saved: %s", late.message);
	return status;
}

/* Below, copying takes less than it takes to notice. */
#define PREPARED_FROM ((uint64_t)64 << 20)

/* Only on the file system of .dvc/tmp: any other staging would lie where files that are tracked may lie. */
static bool may_be_renamed_to(const struct data_repo *repo, const char *rel, uint64_t size)
{
	struct buf at CLEANUP(buf_release) = BUF_INIT;
	char *abs OWNED = repo_abs(repo, rel), *dvc OWNED = repo_abs(repo, ".dvc");
	struct stat st, tmp;
	/* What is there already is most likely what it should be, where the size is. */
	if (sys.fstatat(AT_FDCWD, abs, &st, AT_SYMLINK_NOFOLLOW) == 0 && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size == size))
		return false;
	buf_setstr(&at, abs);
	do {
		struct buf up CLEANUP(buf_release) = BUF_INIT;
		path_dir(&up, at.data);
		buf_setstr(&at, up.data);
	} while (sys.fstatat(AT_FDCWD, at.data, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT && path_inside(repo->root, at.data));
	return sys.fstatat(AT_FDCWD, dvc, &tmp, 0) == 0 && S_ISDIR(st.st_mode) && st.st_dev == tmp.st_dev;
}

bool checkout_prepare(struct data_repo *repo, const char *rel, uint64_t size, struct buf *ret_path)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (size < PREPARED_FROM || odb_links_share(&repo->config.links) || !may_be_renamed_to(repo, rel, size) ||
	    repo_check_parents(repo, rel, &ignored) < 0 || repo_staging(repo, ".dvc", ret_path, &ignored) < 0)
		return false;
	buf_addstr(ret_path, "/ahead");
	return true;
}

int checkout_relink(struct data_repo *repo, const struct walk *walk, struct err *err)
{
	struct buf staging CLEANUP(buf_release) = BUF_INIT, parent CLEANUP(buf_release) = BUF_INIT;
	struct arena names CLEANUP(arena_release) = { 0 };
	size_t count = walk->files.len;
	struct odb_export *items OWNED = mem_alloc((count + 1) * sizeof(*items));
	path_dir(&parent, walk->path);
	if (!count)
		return 0;
	if (repo_staging(repo, parent.data, &staging, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		items[i] = (struct odb_export){ .id = { walk->files.at[i].digest, false },
						.to = arena_printf(&names, "%s/%zu", staging.data, i),
						.exec = !walk->is_dir && walk->files.at[i].exec,
						.links = &repo->config.links };
	int status = odb_export(&repo->odb, items, count, NULL, err);
	for (size_t i = 0; status == 0 && i < count; i++) {
		char *abs OWNED = mem_printf("%s/%s%s%s", repo->root, walk->path, *walk->files.at[i].rel ? "/" : "", walk->files.at[i].rel);
		if (items[i].ret_result != ODB_OK)
			status = err_set(err, ERR_DATA, "the object of %s is gone from the cache", abs);
		else
			status = fs_rename(items[i].to, abs, err);
	}
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (fs_remove_tree(staging.data, &ignored) < 0)
		err_release(&ignored);
	return status;
}

void data_checkout_report_release(struct data_checkout_report *report)
{
	struct strlist *lists[] = { &report->added, &report->modified, &report->deleted, &report->unsafe,
				    &report->missing, &report->damaged, &report->broken };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		strlist_release(lists[i]);
}
