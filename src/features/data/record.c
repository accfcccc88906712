#include "features/data/record.h"

#include "features/data/versions.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/dvcfile.h"

#include <errno.h>
#include <string.h>

#define MAX_GITIGNORE ((size_t)16 << 20)

void gitignore_escape(struct buf *out, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; i < len; i++) {
		/* dvc escapes the first set. It writes a newline and trailing spaces as they are, which git reads as two
		 * lines and as no spaces: the data would not be ignored. */
		bool trailing_space = name[i] == ' ' && strspn(name + i, " ") == len - i;
		if (name[i] == '\n' || name[i] == '\r') {
			buf_addch(out, '?');
			continue;
		}
		if (strchr("\\!#*?[]", name[i]) || trailing_space)
			buf_addch(out, '\\');
		buf_addch(out, name[i]);
	}
}

static bool has_line(const struct buf *text, const char *line)
{
	size_t len = strlen(line);
	for (const char *at = text->data; *at;) {
		size_t n = strcspn(at, "\n");
		if (n == len && memcmp(at, line, len) == 0)
			return true;
		at += n + (at[n] == '\n');
	}
	return false;
}

int record_ignore(struct data_repo *repo, const char *path, struct strlist *to_stage, struct err *err)
{
	struct git_repo *git;
	struct buf git_path CLEANUP(buf_release) = BUF_INIT, dir CLEANUP(buf_release) = BUF_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT, line CLEANUP(buf_release) = BUF_INIT;
	bool ignored = false;
	if (repo_git(repo, &git, err) < 0)
		return -1;
	if (!git)
		return 0;
	if (repo_git_path(repo, path, &git_path, err) < 0 || git_is_ignored(git, git_path.data, &ignored, err) < 0)
		return -1;
	if (ignored)
		return 0;
	path_dir(&dir, path);
	char *rel OWNED = path_joined(text_eq(dir.data, ".") ? "" : dir.data, ".gitignore");
	char *abs OWNED = repo_abs(repo, rel);
	if (fs_exists(abs) && fs_read_file(abs, MAX_GITIGNORE, &text, err) < 0)
		return -1;
	buf_addch(&line, '/');
	gitignore_escape(&line, path_base(path));
	if (has_line(&text, line.data))
		return 0;
	if (text.len && text.data[text.len - 1] != '\n')
		buf_addch(&text, '\n');
	buf_addf(&text, "%s\n", line.data);
	strlist_add(to_stage, rel);
	return fs_write_file(abs, text.data, text.len, 0666, FS_SYNCED, err);
}

/* Cuts every line that equals line; whether there was one. */
static bool cut_line(struct buf *text, const char *line)
{
	struct buf rest = BUF_INIT;
	size_t len = strlen(line);
	bool found = false;
	for (const char *at = text->data; *at;) {
		size_t n = strcspn(at, "\n"), whole = n + (at[n] == '\n');
		bool same = n == len && memcmp(at, line, len) == 0;
		found = found || same;
		if (!same)
			buf_add(&rest, at, whole);
		at += whole;
	}
	buf_release(text);
	*text = rest;
	return found;
}

int record_unignore(struct data_repo *repo, const char *path, struct strlist *to_stage, struct err *err)
{
	struct git_repo *git;
	struct buf dir CLEANUP(buf_release) = BUF_INIT, text CLEANUP(buf_release) = BUF_INIT, line CLEANUP(buf_release) = BUF_INIT;
	if (repo_git(repo, &git, err) < 0)
		return -1;
	path_dir(&dir, path);
	char *rel OWNED = path_joined(text_eq(dir.data, ".") ? "" : dir.data, ".gitignore");
	char *abs OWNED = repo_abs(repo, rel);
	if (!git || !fs_exists(abs))
		return 0;
	if (fs_read_file(abs, MAX_GITIGNORE, &text, err) < 0)
		return -1;
	buf_addch(&line, '/');
	gitignore_escape(&line, path_base(path));
	if (!cut_line(&text, line.data))
		return 0;
	if (!strlist_has(to_stage, rel))
		strlist_add(to_stage, rel);
	return text.len ? fs_write_file(abs, text.data, text.len, 0666, FS_SYNCED, err) : fs_remove(abs, err);
}

static int write_dvc(struct data_repo *repo, const struct record *record, bool *ret_changed, struct err *err)
{
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	char *abs OWNED = repo_abs(repo, record->dvc_path);
	struct dvc_out *out = NULL;
	if (fs_exists(abs)) {
		if (dvc_file_read(abs, record->dvc_path, &file, err) < 0)
			return -1;
		for (size_t i = 0; i < file.out_count && !out; i++)
			if (file.out_count == 1 || text_eq(path_base(file.outs[i].path), path_base(record->path)))
				out = &file.outs[i];
	}
	if (!out)
		out = dvc_file_add_out(&file, path_base(record->path));
	out->digest = record->id.digest;
	out->is_dir = record->id.is_dir;
	out->legacy = false;
	out->has_size = record->has_size;
	out->size = record->size;
	out->has_nfiles = record->id.is_dir;
	out->nfiles = record->id.is_dir ? record->nfiles : 0;
	out->isexec = !record->id.is_dir && record->exec;
	if (out->has_files && versions_list_again(repo, record->path, &record->id, out, err) < 0)
		return -1;
	return dvc_file_write(abs, &file, ret_changed, err);
}

static int stage_all(struct data_repo *repo, const struct strlist *paths, struct err *err)
{
	for (size_t i = 0; i < paths->len; i++) {
		struct buf git_path CLEANUP(buf_release) = BUF_INIT;
		if (repo_git_path(repo, paths->at[i], &git_path, err) < 0 || git_stage(repo->git, git_path.data, err) < 0)
			return err_note(err, "core.autostage of .dvc/config asks for this");
	}
	return 0;
}

/* What went and was never in git is nothing to stage: git add fails for it, and then stages nothing at all. */
static int drop_unknown(struct data_repo *repo, struct strlist *paths, struct err *err)
{
	struct strlist known = { 0 };
	int status = 0;
	for (size_t i = 0; status == 0 && i < paths->len; i++) {
		struct buf git_path CLEANUP(buf_release) = BUF_INIT;
		char *abs OWNED = repo_abs(repo, paths->at[i]);
		bool tracked = fs_exists(abs);
		if (!tracked && (repo_git_path(repo, paths->at[i], &git_path, err) < 0 ||
				 git_is_tracked(repo->git, git_path.data, &tracked, err) < 0))
			status = -1;
		else if (tracked)
			strlist_add(&known, paths->at[i]);
	}
	strlist_release(paths);
	*paths = known;
	return status;
}

int record_stage(struct data_repo *repo, struct strlist *to_stage, struct err *err)
{
	struct git_repo *git;
	if (repo_git(repo, &git, err) < 0 || (git && drop_unknown(repo, to_stage, err) < 0))
		return -1;
	if (git && !repo->config.autostage)
		return 0;
	int status = git ? stage_all(repo, to_stage, err) : 0;
	strlist_release(to_stage);
	return status;
}

int record_write(struct data_repo *repo, const struct record *record, bool *ret_changed, struct strlist *to_stage, bool *ret_staged,
		 struct err *err)
{
	struct strlist files CLEANUP(strlist_release) = { 0 };
	struct git_repo *git;
	*ret_changed = false;
	if (record_ignore(repo, record->path, &files, err) < 0 || write_dvc(repo, record, ret_changed, err) < 0 ||
	    repo_git(repo, &git, err) < 0)
		return -1;
	if (*ret_changed)
		strlist_add(&files, record->dvc_path);
	*ret_staged = git && repo->config.autostage;
	if (*ret_staged)
		return stage_all(repo, &files, err);
	for (size_t i = 0; git && i < files.len; i++)
		if (!strlist_has(to_stage, files.at[i]))
			strlist_add(to_stage, files.at[i]);
	return 0;
}

int record_check_place(const struct outs *outs, const char *rel, const struct tracked *owner, struct err *err)
{
	if (text_eq(rel, "."))
		return err_set(err, ERR_CONFIG, "the whole repository cannot be tracked as data: name a file or directory in it");
	if (path_inside(".dvc", rel) || path_inside(".git", rel) || path_inside(".mlmake", rel))
		return err_set(err, ERR_CONFIG, "%s is not data of yours", rel);
	if (dvc_file_is_name(path_base(rel))) {
		err_set(err, ERR_CONFIG, "%s is a .dvc file, which git tracks, not the data cache", rel);
		return err_hint(err, "name the data that it stands for");
	}
	if (!text_is_utf8(rel, strlen(rel)))
		return err_set(err, ERR_FAILED, "a name that is not UTF-8 cannot be recorded in a .dvc file");
	for (size_t i = 0; i < outs->list.len; i++) {
		const struct tracked *tracked = &outs->list.at[i];
		if (tracked == owner || !path_inside(rel, tracked->path))
			continue;
		err_set(err, ERR_CONFIG, "%s contains %s, which %s tracks already", rel, tracked->path, tracked->dvc_path);
		return err_hint(err, "remove %s first, or leave %s as it is", tracked->dvc_path, rel);
	}
	return 0;
}

int record_check_not_ignored(struct data_repo *repo, const char *rel, bool is_dir, struct err *err)
{
	bool ignored;
	if (repo_ignored(repo, rel, is_dir, &ignored, err) < 0)
		return -1;
	if (!ignored)
		return 0;
	err_set(err, ERR_CONFIG, "%s is ignored by .dvcignore", rel);
	return err_hint(err, "a line like !/%s there takes it back in", rel);
}

int record_check_git(struct data_repo *repo, const char *path, struct err *err)
{
	struct git_repo *git;
	struct buf git_path CLEANUP(buf_release) = BUF_INIT;
	bool tracked = false;
	if (repo_git(repo, &git, err) < 0)
		return -1;
	if (!git)
		return 0;
	if (repo_git_path(repo, path, &git_path, err) < 0 || git_is_tracked(git, git_path.data, &tracked, err) < 0)
		return -1;
	if (!tracked)
		return 0;
	struct buf quoted CLEANUP(buf_release) = BUF_INIT;
	text_add_shell_quoted(&quoted, path);
	err_set(err, ERR_FAILED, "%s is tracked by git already", path);
	return err_hint(err, "take it out of git first: git rm -r --cached %s", quoted.data);
}
