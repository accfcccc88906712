/*
 * data import, import-url and update: content into the cache first, then the record, then the work tree.
 */
#include "features/data/import.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/checkout.h"
#include "features/data/record.h"
#include "features/data/rwlock.h"

#include <string.h>

struct importing {
	struct data_repo *repo;
	const struct data_import_options *options;
	bool plain;              /* where it is from is not recorded: data_add_copy */
	char *rel;               /* of the output */
	char *dvc_path;
	const char *reads;       /* a path of this machine that is read; NULL */
	struct dvc_file file;
	struct intake intake;
};

static void importing_release(struct importing *importing)
{
	free(importing->rel);
	free(importing->dvc_path);
	dvc_file_release(&importing->file);
	intake_release(&importing->intake);
}

/* Where it goes: its own name here, the name that was given, or in the directory that was given. */
static int choose_place(struct importing *importing, const char *name, struct err *err)
{
	struct buf rel CLEANUP(buf_release) = BUF_INIT, inside CLEANUP(buf_release) = BUF_INIT;
	const char *out = importing->options->out;
	if (!out && (!*name || text_eq(name, ".") || text_eq(name, "..") || text_eq(name, "/"))) {
		err_set(err, ERR_CONFIG, "what is imported has no name of its own");
		return err_hint(err, "-o OUT gives it one");
	}
	if (repo_path(importing->repo, out ? out : name, &rel, err) < 0)
		return -1;
	char *abs OWNED = repo_abs(importing->repo, rel.data);
	bool is_dir = out && fs_is_dir(abs);
	if (is_dir)
		path_join(&inside, text_eq(rel.data, ".") ? "" : rel.data, name);
	importing->rel = mem_strdup(is_dir ? inside.data : rel.data);
	importing->dvc_path = mem_printf("%s.dvc", importing->rel);
	return 0;
}

static int check_new(struct importing *importing, const struct outs *outs, struct err *err)
{
	struct data_repo *repo = importing->repo;
	const struct tracked *owner = outs_find(outs, importing->rel);
	char *abs OWNED = repo_abs(repo, importing->rel), *dvc OWNED = repo_abs(repo, importing->dvc_path);
	struct stat st;
	bool exists, recorded;
	bool same = owner && text_eq(owner->path, importing->rel) && text_eq(owner->dvc_path, importing->dvc_path) &&
		    !(importing->plain && owner->has_source);
	if (owner && !same) {
		err_set(err, ERR_CONFIG, "%s is tracked by %s already", owner->path, owner->dvc_path);
		return err_hint(err, "-o OUT names another place");
	}
	if (record_check_place(outs, importing->rel, owner, err) < 0 || repo_check_parents(repo, importing->rel, err) < 0 ||
	    record_check_not_ignored(repo, importing->rel, false, err) < 0 || record_check_git(repo, importing->rel, err) < 0 ||
	    fs_lstat(abs, &st, &exists, err) < 0 || fs_lstat(dvc, &st, &recorded, err) < 0)
		return -1;
	if (importing->options->force || (!exists && !recorded))
		return 0;
	err_set(err, ERR_FAILED, "%s exists already", exists ? importing->rel : importing->dvc_path);
	if (importing->plain)
		return err_hint(err, "--force replaces it, --out names another place");
	return recorded ? err_hint(err, "mlmake data update %s imports it again; --force replaces it", importing->dvc_path)
			: err_hint(err, "--force replaces it, -o OUT names another place");
}

static int name_place(void *ctx, struct rwlock *held, struct err *err)
{
	struct importing *importing = ctx;
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	char *abs OWNED = repo_abs(importing->repo, importing->rel);
	rwlock_write(held, abs);
	if (importing->reads)
		rwlock_read(held, importing->reads);
	return outs_load(importing->repo, &outs, err) < 0 ? -1 : check_new(importing, &outs, err);
}

/* Whether a collection that ran meanwhile left all that was brought. */
static bool is_all_there(const struct importing *importing)
{
	const struct intake *intake = &importing->intake;
	if (!odb_has(&importing->repo->odb, &intake->id, NULL))
		return false;
	for (size_t i = 0; i < intake->dir.len; i++) {
		struct odb_id id = odb_member(&intake->id, intake->dir.entries[i].md5);
		if (!odb_has(&importing->repo->odb, &id, NULL))
			return false;
	}
	return true;
}

static int bring(struct importing *importing, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	const struct data_import_options *options = importing->options;
	struct dvc_out *out = &importing->file.outs[0];
	path_dir(&dir, importing->dvc_path);
	if (import_bring(importing->repo, &importing->file.deps[0], dir.data, !options->no_download, &importing->intake, err) < 0)
		return -1;
	if (!options->no_download)
		intake_describe(&importing->intake, out);
	if (importing->plain)
		return 0;
	free(importing->file.md5);
	importing->file.md5 = dvc_file_stage_md5(&importing->file);
	return 0;
}

/* As add does: what else the .dvc says stays. */
static int write_plain(struct importing *importing, struct data_added *added, struct data_add_report *ret, struct err *err)
{
	const struct intake *intake = &importing->intake;
	char *abs OWNED = repo_abs(importing->repo, importing->rel);
	if (fs_mkdirs_for(abs, err) < 0)
		return -1;
	const struct record record = { .path = importing->rel, .dvc_path = importing->dvc_path, .id = intake->id, .has_size = true,
				       .size = intake->size, .nfiles = intake->nfiles, .exec = importing->file.outs[0].isexec };
	return record_write(importing->repo, &record, &added->changed, &ret->to_stage, &ret->staged, err);
}

static int write_record(struct importing *importing, struct data_added *added, struct data_add_report *ret, struct err *err)
{
	if (importing->plain)
		return write_plain(importing, added, ret, err);
	struct data_repo *repo = importing->repo;
	struct strlist files CLEANUP(strlist_release) = { 0 };
	struct git_repo *git;
	char *dvc OWNED = repo_abs(repo, importing->dvc_path);
	if (fs_mkdirs_for(dvc, err) < 0 || record_ignore(repo, importing->rel, &files, err) < 0 ||
	    dvc_file_write(dvc, &importing->file, &added->changed, err) < 0 || repo_git(repo, &git, err) < 0)
		return -1;
	if (added->changed)
		strlist_add(&files, importing->dvc_path);
	ret->staged = git && repo->config.autostage;
	if (record_stage(repo, &files, err) < 0)
		return -1;
	for (size_t i = 0; git && i < files.len; i++)
		strlist_add(&ret->to_stage, files.at[i]);
	return 0;
}

static int check_out(struct importing *importing, bool force, bool exact, struct err *err)
{
	struct tracked tracked = { .path = importing->rel, .dvc_path = importing->dvc_path, .out = &importing->file.outs[0], .is_import = true };
	struct selected selected = { &tracked, NULL };
	struct data_checkout_options options = { .force = force, .exact = exact };
	struct data_checkout_report report CLEANUP(data_checkout_report_release) = { .files = 0 };
	if (checkout_one(importing->repo, &selected, &options, &report, NULL, err) < 0)
		return -1;
	if (report.unsafe.len) {
		err_set(err, ERR_FAILED, "%s has changes that are in no cache and would be lost", report.unsafe.at[0]);
		return err_hint(err, "--force drops them");
	}
	if (!report.missing.len && !report.damaged.len)
		return 0;
	err_set(err, ERR_DATA, "%s cannot be taken from the cache any more", report.missing.len ? report.missing.at[0] : report.damaged.at[0]);
	return err_hint(err, "mlmake data pull %s brings it again", importing->dvc_path);
}

static void report_one(struct importing *importing, struct data_added *added, struct data_add_report *ret)
{
	added->path = mem_strdup(importing->rel);
	added->dvc_path = mem_strdup(importing->dvc_path);
	vec_push(&ret->added, *added);
}

/* What stood there goes, now that what replaces it is in the cache. Of the same kind, it is replaced file by file when that is checked out. */
static int clear_place(struct importing *importing, struct err *err)
{
	char *abs OWNED = repo_abs(importing->repo, importing->rel);
	struct stat st;
	bool exists;
	if (fs_lstat(abs, &st, &exists, err) < 0)
		return -1;
	bool same_kind = exists && (importing->intake.is_dir ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode));
	return exists && !same_kind && importing->options->force ? fs_remove_tree(abs, err) : 0;
}

static int import_new(struct importing *importing, struct data_add_report *ret, struct err *err)
{
	struct rwlock held CLEANUP(rwlock_release) = RWLOCK_INIT;
	struct data_repo *repo = importing->repo;
	const struct data_import_options *options = importing->options;
	struct data_added added = { .changed = false };
	importing->file.frozen = !importing->plain;
	dvc_file_add_out(&importing->file, path_base(importing->rel));
	if (rwlock_enter(repo, name_place, importing, &held, err) < 0)
		return -1;
	repo_unlock(repo);
	if (!options->no_exec && bring(importing, err) < 0)
		return -1;
	if (repo_lock(repo, err) < 0)
		return -1;
	bool content = !options->no_exec && !options->no_download;
	int status = 0;
	if (content && !is_all_there(importing)) {
		err_set(err, ERR_DATA, "a garbage collection took what was imported before it was recorded");
		status = err_hint(err, "import it again");
	}
	if (status == 0)
		status = write_record(importing, &added, ret, err);
	repo_unlock(repo);
	if (status == 0 && content)
		status = clear_place(importing, err) < 0 ? -1 : check_out(importing, options->force, true, err);
	if (status == 0)
		report_one(importing, &added, ret);
	return status;
}

int data_import(struct data_repo *repo, const char *url, const char *path, const struct data_import_options *options,
		struct data_add_report *ret, struct err *err)
{
	struct importing importing CLEANUP(importing_release) = { .repo = repo, .options = options, .file = DVC_FILE_INIT, .intake = INTAKE_INIT };
	struct buf normal CLEANUP(buf_release) = BUF_INIT;
	*ret = (struct data_add_report){ .staged = false };
	path_normalize(&normal, path);
	if (choose_place(&importing, path_base(normal.data), err) < 0)
		return -1;
	struct dvc_dep *dep = dvc_file_add_dep(&importing.file, path);
	dep->repo_url = mem_strdup(url);
	dep->repo_rev = mem_strdup(options->rev);
	dep->repo_remote = mem_strdup(options->remote);
	int status = import_new(&importing, ret, err);
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (repo_save_hashes(repo, &late) < 0)
		repo_warn(repo, "the stat records could not be saved: %s", late.message);
	return status;
}

/* A relative path counts from the .dvc file. dvc keeps it as it was typed where both are the same. */
static char *path_for_record(const struct importing *importing, const char *url)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT, joined CLEANUP(buf_release) = BUF_INIT, abs CLEANUP(buf_release) = BUF_INIT;
	struct buf relative CLEANUP(buf_release) = BUF_INIT;
	if (strstr(url, "://"))
		return mem_strdup(url);
	path_dir(&dir, importing->dvc_path);
	char *base OWNED = repo_abs(importing->repo, dir.data);
	path_join(&joined, importing->repo->cwd, url);
	path_normalize(&abs, joined.data);
	bool inside = path_inside(importing->repo->root, abs.data);
	if (!inside && (url[0] == '/' || text_eq(base, importing->repo->cwd)))
		return mem_strdup(url);
	path_relative(&relative, base, abs.data);
	return buf_detach(&relative);
}

static int import_url(struct data_repo *repo, const char *url, const struct data_import_options *options, bool plain,
		      struct data_add_report *ret, struct err *err)
{
	struct importing importing CLEANUP(importing_release) = {
		.repo = repo, .options = options, .plain = plain, .file = DVC_FILE_INIT, .intake = INTAKE_INIT
	};
	struct buf normal CLEANUP(buf_release) = BUF_INIT, joined CLEANUP(buf_release) = BUF_INIT, local CLEANUP(buf_release) = BUF_INIT;
	*ret = (struct data_add_report){ .staged = false };
	const char *scheme = strstr(url, "://");
	char *address OWNED = mem_strndup(url, scheme ? strcspn(url, "?#") : strlen(url));
	path_normalize(&normal, scheme ? address + (scheme - url) + 3 : address);
	bool bare_host = scheme && !strchr(normal.data, '/');
	if (choose_place(&importing, bare_host ? "" : path_base(normal.data), err) < 0)
		return -1;
	char *path OWNED = path_for_record(&importing, url);
	struct dvc_dep *dep = dvc_file_add_dep(&importing.file, path);
	for (size_t i = 0; i < options->fs_config.len; i++)
		strlist_add(&dep->fs_config, options->fs_config.at[i]);
	path_join(&joined, repo->cwd, url);
	path_normalize(&local, joined.data);
	importing.reads = scheme ? NULL : local.data;
	int status = import_new(&importing, ret, err);
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (repo_save_hashes(repo, &late) < 0)
		repo_warn(repo, "the stat records could not be saved: %s", late.message);
	return status;
}

int data_import_url(struct data_repo *repo, const char *url, const struct data_import_options *options, struct data_add_report *ret,
		    struct err *err)
{
	return import_url(repo, url, options, false, ret, err);
}

int data_add_copy(struct data_repo *repo, const char *source, const char *out, bool force, struct data_add_report *ret, struct err *err)
{
	const struct data_import_options options = { .out = out, .force = force };
	return import_url(repo, source, &options, true, ret, err);
}

/* update */

static bool same_text(const char *a, const char *b)
{
	return (a && b) ? text_eq(a, b) : a == b;
}

static bool same_source(const struct dvc_dep *now, const struct dvc_dep *before)
{
	return same_text(now->repo_rev_lock, before->repo_rev_lock) && same_text(now->md5, before->md5) &&
	       same_text(now->etag, before->etag) && same_text(now->checksum, before->checksum);
}

static void set_revision(struct dvc_dep *dep, const char *rev)
{
	if (rev) {
		free(dep->repo_rev);
		dep->repo_rev = mem_strdup(rev);
	}
	free(dep->repo_rev_lock);
	dep->repo_rev_lock = NULL;
}

/* What is recorded of a source that is known only by its state: nothing of its content. */
static void forget_content(struct dvc_out *out)
{
	out->digest = (struct digest){ .kind = DIGEST_NONE };
	out->is_dir = out->has_size = out->has_nfiles = out->isexec = false;
}

static int update_one(struct data_repo *repo, const struct tracked *tracked, const struct data_import_options *options,
		      struct data_add_report *ret, struct err *err)
{
	struct importing importing CLEANUP(importing_release) = { .repo = repo, .options = options, .file = DVC_FILE_INIT, .intake = INTAKE_INIT };
	struct dvc_file before CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	struct data_added added = { .changed = false };
	char *abs OWNED = repo_abs(repo, tracked->dvc_path);
	importing.rel = mem_strdup(tracked->path);
	importing.dvc_path = mem_strdup(tracked->dvc_path);
	if (dvc_file_read(abs, tracked->dvc_path, &importing.file, err) < 0 || dvc_file_read(abs, tracked->dvc_path, &before, err) < 0)
		return -1;
	const char *alien = import_alien(&importing.file);
	if (alien) {
		err_set(err, ERR_CONFIG, "%s is an import of a kind that dvc alone knows (%s)", tracked->dvc_path, alien);
		return err_hint(err, "dvc update %s", tracked->dvc_path);
	}
	if (importing.file.deps[0].repo_url)
		set_revision(&importing.file.deps[0], options->rev);
	else if (options->rev)
		return err_set(err, ERR_CONFIG, "%s is no import from a repository, so it has no revisions", tracked->dvc_path);
	if (bring(&importing, err) < 0)
		return err_note(err, "%s was imported from there (%s)", tracked->path, tracked->dvc_path);
	/* After the md5 of the whole was made, as dvc has it. */
	if (options->no_download && !same_source(&importing.file.deps[0], &before.deps[0]))
		forget_content(&importing.file.outs[0]);
	/* Bytes that would be lost stop it before anything is recorded. */
	if (!options->no_download && check_out(&importing, options->force, false, err) < 0)
		return -1;
	if (repo_lock(repo, err) < 0)
		return -1;
	int status = write_record(&importing, &added, ret, err);
	repo_unlock(repo);
	if (status == 0)
		report_one(&importing, &added, ret);
	return status;
}

int data_update(struct data_repo *repo, const char *const *paths, size_t count, const struct data_import_options *options,
		struct data_add_report *ret, struct err *err)
{
	struct held_outs outs CLEANUP(held_outs_release) = HELD_OUTS_INIT;
	*ret = (struct data_add_report){ .staged = false };
	if (held_outs_take(repo, paths, count, &outs, err) < 0)
		return -1;
	repo_unlock(repo);
	int status = 0;
	for (size_t i = 0; status == 0 && i < outs.chosen.list.len; i++) {
		const struct tracked *tracked = outs.chosen.list.at[i].tracked;
		if (tracked->has_source)
			status = update_one(repo, tracked, options, ret, err);
		else if (count && outs.chosen.list.len == count) {
			err_set(err, ERR_CONFIG, "%s is no import", tracked->path);
			status = err_hint(err, "mlmake data add %s records it as it is", tracked->path);
		}
	}
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (repo_save_hashes(repo, &late) < 0)
		repo_warn(repo, "the stat records could not be saved: %s", late.message);
	return status;
}
