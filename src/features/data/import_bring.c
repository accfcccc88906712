#include "features/data/import.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/checkout.h"
#include "vcs/git_mirror.h"

#include <string.h>

/* The path of a directory as it was typed, once, somewhere in the repository. */
static char *find_directory(const struct data_repo *repo, const char *url, const char *dir_rel)
{
	char *beside OWNED = repo_abs(repo, dir_rel);
	const char *const bases[] = { repo->cwd, beside, repo->root };
	for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
		char *path = path_joined(bases[i], url);
		if (fs_is_dir(path))
			return path;
		free(path);
	}
	return mem_strdup(url);
}

static int bring_from_repository(struct data_repo *repo, struct dvc_dep *dep, const char *dir_rel, bool content, struct intake *intake,
				 struct err *err)
{
	struct source *source;
	struct source_files files = { .is_dir = false };
	char *url OWNED = git_is_url(dep->repo_url) ? mem_strdup(dep->repo_url) : find_directory(repo, dep->repo_url, dir_rel);
	const char *rev = dep->repo_rev_lock ? dep->repo_rev_lock : dep->repo_rev;
	repo_progress(repo, "looking at", 0, 0, 0);
	if (source_open(repo, &repo->ui, url, rev, SOURCE_COMMIT, &source, err) < 0)
		return -1;
	source_set_remote(source, dep->repo_remote);
	/* What was imported before may be in a cache there, whatever became of the remote. */
	int status = dep->repo_rev_lock ? 0 : source_check_remote(source, dep->repo_remote, err);
	if (status == 0)
		status = source_list(source, dep->path, content ? SOURCE_FILES : SOURCE_TOPS, &files, err);
	if (status == 0 && content)
		status = intake_source(intake, repo, source, &files, err);
	if (status == 0 && content)
		status = intake_finish(intake, repo, err);
	if (status == 0 && !dep->repo_rev_lock)
		dep->repo_rev_lock = mem_strdup(source_commit(source));
	source_files_release(&files);
	source_close(source);
	return status;
}

int import_bring(struct data_repo *repo, struct dvc_dep *dep, const char *dir_rel, bool content, struct intake *intake, struct err *err)
{
	return dep->repo_url ? bring_from_repository(repo, dep, dir_rel, content, intake, err)
			     : import_bring_url(repo, dep, dir_rel, content, intake, err);
}

const char *import_alien(const struct dvc_file *file)
{
	if (file->dep_count != 1 || file->out_count != 1)
		return "it has several outputs or dependencies";
	if (file->deps[0].alien)
		return file->deps[0].alien;
	return file->deps[0].path ? NULL : "it has no path";
}

static int check_same(struct data_repo *repo, const struct tracked *tracked, const struct intake *intake, struct err *err)
{
	const struct dvc_out *out = tracked->out;
	struct odb_id id = tracked_id(tracked);
	bool same = id.is_dir == intake->id.is_dir && digest_eq(&id.digest, &intake->id.digest);
	if (out->digest.kind == DIGEST_NONE)
		return 0;
	if (out->legacy && import_keep_legacy(repo, &id, intake, &same, err) < 0)
		return -1;
	if (same)
		return 0;
	err_set(err, ERR_DATA, "what %s was imported from is not what %s records any more", tracked->path, tracked->dvc_path);
	return err_hint(err, "mlmake data update %s takes it as it is now", tracked->dvc_path);
}

int import_restore(struct data_repo *repo, const struct tracked *tracked, struct intake *intake, struct err *err)
{
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	char *abs OWNED = repo_abs(repo, tracked->dvc_path);
	if (dvc_file_read(abs, tracked->dvc_path, &file, err) < 0)
		return -1;
	const char *alien = import_alien(&file);
	if (alien) {
		err_set(err, ERR_CONFIG, "%s is an import of a kind that dvc alone knows (%s)", tracked->dvc_path, alien);
		return err_hint(err, "dvc pull %s", tracked->dvc_path);
	}
	path_dir(&dir, tracked->dvc_path);
	if (import_bring(repo, &file.deps[0], dir.data, true, intake, err) < 0)
		return err_note(err, "%s was imported from there (%s)", tracked->path, tracked->dvc_path);
	return check_same(repo, tracked, intake, err);
}

/* Pull and fetch */

static bool is_cached(struct data_repo *repo, const struct tracked *tracked)
{
	struct dvc_dir manifest CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct odb_id id = tracked_id(tracked);
	if (!odb_has(&repo->odb, &id, NULL))
		return false;
	if (id.is_dir && tracked_read_manifest(repo, tracked, &manifest, &ignored) < 0)
		return false;
	for (size_t i = 0; i < manifest.len; i++) {
		struct odb_id member = odb_member(&id, manifest.entries[i].md5);
		if (!odb_has(&repo->odb, &member, NULL))
			return false;
	}
	return true;
}

size_t import_fetch(struct data_repo *repo, const struct selection *chosen, struct data_transfer_report *ret)
{
	size_t count = 0;
	for (size_t i = 0; i < chosen->list.len; i++) {
		const struct tracked *tracked = chosen->list.at[i].tracked;
		struct intake intake CLEANUP(intake_release) = INTAKE_INIT;
		struct err failure CLEANUP(err_release) = ERR_INIT;
		struct err odd CLEANUP(err_release) = ERR_INIT;
		bool partial = tracked_is_partial(tracked);
		if (!tracked->is_import && !partial)
			continue;
		count++;
		if (!partial && tracked_check_supported(tracked, &odd) < 0)
			strlist_add(&ret->broken, odd.message);
		else if (!partial && is_cached(repo, tracked))
			ret->present++;
		else if (import_restore(repo, tracked, &intake, &failure) == 0) {
			ret->moved += intake.nfiles;
			ret->bytes += intake.size;
		} else
			strlist_take(failure.code == ERR_DATA ? &ret->missing : &ret->failed,
				     mem_printf("%s: %s", tracked->path, failure.message));
	}
	return count;
}

int import_check_out_partial(struct data_repo *repo, const struct tracked *tracked, const struct data_checkout_options *options,
			     struct data_checkout_report *ret, struct err *err)
{
	struct intake intake CLEANUP(intake_release) = INTAKE_INIT;
	struct dvc_out out = { .cache = true };
	struct tracked whole = *tracked;
	struct selected selected = { &whole, NULL };
	if (import_restore(repo, tracked, &intake, err) < 0) {
		strlist_take(&ret->missing, mem_printf("%s (%s)", tracked->path, err->message));
		err_release(err);
		return 0;
	}
	intake_describe(&intake, &out);
	out.path = tracked->out->path;
	whole.out = &out;
	return checkout_one(repo, &selected, options, ret, NULL, err);
}
