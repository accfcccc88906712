/*
 * data remove, move, unprotect.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/outs.h"
#include "features/data/record.h"
#include "features/data/rwlock.h"
#include "features/data/walk.h"

#include <string.h>

static bool is_shared(const struct data_repo *repo, const char *abs, const struct walk_file *file)
{
	struct buf target CLEANUP(buf_release) = BUF_INIT, joined CLEANUP(buf_release) = BUF_INIT, full CLEANUP(buf_release) = BUF_INIT;
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (!file->is_link)
		return file->stamp.nlink > 1 || !(file->stamp.mode & 0200);
	if (fs_read_link(abs, &target, &ignored) < 0)
		return false;
	path_dir(&dir, abs);
	path_join(&joined, dir.data, target.data);
	path_normalize(&full, joined.data);
	return path_inside(repo->odb.dir, full.data); /* a link of the user's own stays one */
}

/* Under the lock. Links to nothing are added to lost, which may be NULL. */
static int unprotect_path(struct data_repo *repo, const char *path, size_t *files, struct strlist *lost, struct err *err)
{
	struct walk walk CLEANUP(walk_release) = WALK_INIT;
	struct buf staging CLEANUP(buf_release) = BUF_INIT, parent CLEANUP(buf_release) = BUF_INIT;
	if (repo_check_parents(repo, path, err) < 0 || walk_path(repo, path, &walk, err) < 0)
		return -1;
	path_dir(&parent, path);
	int status = 0;
	for (size_t i = 0; status == 0 && i < walk.files.len; i++) {
		const struct walk_file *file = &walk.files.at[i];
		char *abs OWNED = mem_printf("%s/%s%s%s", repo->root, path, *file->rel ? "/" : "", file->rel);
		if (!is_shared(repo, abs, file))
			continue;
		if (!staging.len && repo_staging(repo, parent.data, &staging, err) < 0)
			return -1;
		char *copy OWNED = mem_printf("%s/%zu", staging.data, i);
		status = fs_copy_file(abs, copy, file->exec ? 0777 : 0666, err);
		if (status == 0)
			status = fs_rename(copy, abs, err);
		*files += status == 0;
	}
	for (size_t i = 0; lost && i < walk.broken.len; i++)
		strlist_take(lost, path_joined(path, walk.broken.at[i]));
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (staging.len && fs_remove_tree(staging.data, &late) < 0 && status == 0)
		status = err_move(err, &late);
	return status;
}

int data_unprotect(struct data_repo *repo, const char *const *paths, size_t count, size_t *ret_files, struct err *err)
{
	struct held_outs outs CLEANUP(held_outs_release) = HELD_OUTS_INIT;
	struct strlist lost CLEANUP(strlist_release) = { 0 };
	*ret_files = 0;
	if (held_outs_take(repo, paths, count, &outs, err) < 0)
		return -1;
	repo_unlock(repo);
	int status = selection_check_parts(repo, &outs.chosen, true, err);
	for (size_t i = 0; status == 0 && i < outs.chosen.list.len; i++) {
		const struct selected *selected = &outs.chosen.list.at[i];
		char *path OWNED = selected->sub ? path_joined(selected->tracked->path, selected->sub) : mem_strdup(selected->tracked->path);
		status = unprotect_path(repo, path, ret_files, &lost, err);
	}
	if (status < 0 || !lost.len)
		return status;
	err_set(err, ERR_DATA, "%s is a broken symbolic link: there is nothing to copy", lost.at[0]);
	if (lost.len > 1)
		err_note(err, "and so do %zu more", lost.len - 1);
	return err_hint(err, "bring it first: mlmake data pull %s", lost.at[0]);
}

/* remove */

static int check_own(const struct tracked *tracked, const char *sub, const char *doing, struct err *err)
{
	if (sub) {
		err_set(err, ERR_CONFIG, "%s/%s is a part of %s, which is tracked as a whole", tracked->path, sub, tracked->path);
		return err_hint(err, "change the data, then: mlmake data commit %s", tracked->path);
	}
	if (!tracked->stage)
		return 0;
	err_set(err, ERR_CONFIG, "%s is an output of the stage '%s': %s is not for mlmake data to %s", tracked->path, tracked->stage,
		tracked->dvc_path, doing);
	return err_hint(err, "change the stage in %s", tracked->dvc_path);
}

/* That every file is in the cache, so that nothing is lost with it. */
static int check_kept(struct data_repo *repo, const char *path, struct err *err)
{
	struct walk walk CLEANUP(walk_release) = WALK_INIT;
	if (walk_path(repo, path, &walk, err) < 0 || walk_hash(repo, &walk, err) < 0)
		return -1;
	for (size_t i = 0; i < walk.files.len; i++) {
		if (walk_is_cached(repo, &walk, &walk.files.at[i]))
			continue;
		err_set(err, ERR_FAILED, "%s%s%s is in no cache and would be lost", path, *walk.files.at[i].rel ? "/" : "", walk.files.at[i].rel);
		return err_hint(err, "-f deletes it all the same; without --outs the data stays");
	}
	if (walk.odd.len) {
		err_set(err, ERR_FAILED, "%s, is in no cache and would be lost", walk.odd.at[0]);
		return err_hint(err, "-f deletes it all the same; without --outs the data stays");
	}
	return 0;
}

static bool shares_record(const struct outs *outs, size_t index, const struct selection *chosen)
{
	for (size_t i = 0; i < chosen->list.len; i++)
		if (text_eq(chosen->list.at[i].tracked->dvc_path, outs->list.at[index].dvc_path))
			return true;
	return false;
}

static int remove_chosen(struct data_repo *repo, const struct outs *outs, const struct selection *chosen, bool with_data, bool force,
			 struct strlist *ret_removed, struct strlist *to_stage, struct err *err)
{
	size_t files = 0;
	for (size_t i = 0; i < chosen->list.len; i++)
		if (check_own(chosen->list.at[i].tracked, chosen->list.at[i].sub, "remove", err) < 0)
			return -1;
	/* A .dvc goes with all of its outputs. */
	for (size_t i = 0; i < outs->list.len; i++) {
		const char *path = outs->list.at[i].path;
		if (!shares_record(outs, i, chosen))
			continue;
		if (repo_check_parents(repo, path, err) < 0 || (with_data && !force && check_kept(repo, path, err) < 0) ||
		    (!with_data && unprotect_path(repo, path, &files, NULL, err) < 0))
			return -1;
	}
	for (size_t i = 0; i < outs->list.len; i++) {
		const struct tracked *tracked = &outs->list.at[i];
		char *abs OWNED = repo_abs(repo, tracked->path);
		char *dvc OWNED = repo_abs(repo, tracked->dvc_path);
		if (!shares_record(outs, i, chosen))
			continue;
		if (fs_remove(dvc, err) < 0 || (with_data && fs_remove_tree(abs, err) < 0) ||
		    record_unignore(repo, tracked->path, to_stage, err) < 0)
			return -1;
		if (!strlist_has(to_stage, tracked->dvc_path))
			strlist_add(to_stage, tracked->dvc_path);
		strlist_add(ret_removed, tracked->path);
	}
	return record_stage(repo, to_stage, err);
}

int data_remove(struct data_repo *repo, const char *const *paths, size_t count, bool with_data, bool force, struct strlist *ret_removed,
		struct strlist *ret_to_stage, struct err *err)
{
	struct held_outs outs CLEANUP(held_outs_release) = HELD_OUTS_INIT;
	if (held_outs_take(repo, paths, count, &outs, err) < 0)
		return -1;
	int status = remove_chosen(repo, &outs.outs, &outs.chosen, with_data, force, ret_removed, ret_to_stage, err);
	repo_unlock(repo);
	return status;
}

/* move */

static int check_target(struct data_repo *repo, const struct outs *outs, const char *from, const char *to, struct err *err)
{
	char *abs OWNED = repo_abs(repo, to);
	char *dvc OWNED = mem_printf("%s.dvc", abs);
	struct stat st;
	bool exists, dvc_exists, ignored;
	if (!path_is_safe(to) || path_inside(".dvc", to) || path_inside(".git", to) || path_inside(".mlmake", to) ||
	    dvc_file_is_name(path_base(to)) || !text_is_utf8(to, strlen(to)))
		return err_set(err, ERR_CONFIG, "%s is no place for data", to);
	if (repo_check_parents(repo, to, err) < 0 || fs_lstat(abs, &st, &exists, err) < 0 || fs_lstat(dvc, &st, &dvc_exists, err) < 0 ||
	    repo_ignored(repo, to, false, &ignored, err) < 0)
		return -1;
	if (exists || dvc_exists)
		return err_set(err, ERR_FAILED, "%s%s exists already", to, exists ? "" : ".dvc");
	if (ignored)
		return err_set(err, ERR_CONFIG, "%s is ignored by .dvcignore", to);
	const struct tracked *owner = outs_find(outs, to);
	if (owner)
		return err_set(err, ERR_CONFIG, "%s is inside of %s, which %s tracks", to,
			       text_eq(owner->path, from) ? "itself" : owner->path, owner->dvc_path);
	return 0;
}

static int move_record(struct data_repo *repo, const struct tracked *tracked, const char *to, struct strlist *to_stage, struct err *err)
{
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	char *from_abs OWNED = repo_abs(repo, tracked->path), *to_abs OWNED = repo_abs(repo, to);
	char *from_dvc OWNED = repo_abs(repo, tracked->dvc_path), *to_dvc OWNED = mem_printf("%s.dvc", to_abs);
	char *own_name OWNED = mem_printf("%s.dvc", tracked->path), *to_dvc_rel OWNED = mem_printf("%s.dvc", to);
	if (dvc_file_read(from_dvc, tracked->dvc_path, &file, err) < 0)
		return -1;
	if (file.out_count != 1 || file.dep_count || !text_eq(own_name, tracked->dvc_path)) {
		err_set(err, ERR_CONFIG, "%s is more than the record of %s, so it cannot be moved", tracked->dvc_path, tracked->path);
		return err_hint(err, "dvc move may do it");
	}
	free(file.outs[0].path);
	file.outs[0].path = mem_strdup(path_base(to));
	dvc_out_forget_versions(&file.outs[0]);
	/* At every moment one of the two .dvc files is whole. */
	if (fs_mkdirs_for(to_abs, err) < 0 || record_ignore(repo, to, to_stage, err) < 0 || dvc_file_write(to_dvc, &file, NULL, err) < 0)
		return -1;
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (fs_exists(from_abs) && fs_rename(from_abs, to_abs, err) < 0) {
		if (fs_remove(to_dvc, &late) < 0)
			err_note(err, "%s is left behind", to_dvc_rel);
		return -1;
	}
	if (fs_remove(from_dvc, err) < 0 || record_unignore(repo, tracked->path, to_stage, err) < 0)
		return -1;
	strlist_add(to_stage, tracked->dvc_path);
	strlist_add(to_stage, to_dvc_rel);
	return record_stage(repo, to_stage, err);
}

static int move_held(struct data_repo *repo, const struct held_outs *outs, const char *to, struct buf *ret_to, struct strlist *to_stage,
		     struct err *err)
{
	struct buf rel CLEANUP(buf_release) = BUF_INIT;
	if (repo_path(repo, to, &rel, err) < 0)
		return -1;
	if (outs->chosen.list.len != 1) {
		err_set(err, ERR_CONFIG, "%s holds several outputs", outs->paths[0]);
		return err_hint(err, "move them one by one");
	}
	const struct tracked *tracked = outs->chosen.list.at[0].tracked;
	char *abs OWNED = repo_abs(repo, rel.data);
	path_join(ret_to, text_eq(rel.data, ".") ? "" : rel.data, fs_is_dir(abs) ? path_base(tracked->path) : "");
	if (ret_to->len && ret_to->data[ret_to->len - 1] == '/')
		buf_truncate(ret_to, ret_to->len - 1);
	if (check_own(tracked, outs->chosen.list.at[0].sub, "move", err) < 0 ||
	    check_target(repo, &outs->outs, tracked->path, ret_to->data, err) < 0)
		return -1;
	return move_record(repo, tracked, ret_to->data, to_stage, err);
}

int data_move(struct data_repo *repo, const char *from, const char *to, struct buf *ret_to, struct strlist *ret_to_stage, struct err *err)
{
	struct held_outs outs CLEANUP(held_outs_release) = HELD_OUTS_INIT;
	if (held_outs_take(repo, &from, 1, &outs, err) < 0)
		return -1;
	int status = move_held(repo, &outs, to, ret_to, ret_to_stage, err);
	repo_unlock(repo);
	return status;
}
