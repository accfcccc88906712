/* The hook as a file in git's directory of hooks. */
#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "features/hook/hook.h"
#include "features/hook/merge_driver.h"
#include "vcs/git.h"

#include <string.h>

#define MAX_HOOK ((size_t)1 << 20)
#define MARKER "\n# Installed by mlmake: "
#define PROJECT_LINE "\n# project: "
#define PROGRAM_LINE "\n# program: "
#define KEPT_SUFFIX ".before-mlmake"

void hook_status_release(struct hook_status *status)
{
	free(status->path);
	free(status->kept);
	free(status->program);
	strlist_release(&status->projects);
	*status = (struct hook_status){ 0 };
}

/* The git repository around dir, and dir's project relative to its top. */
static int find_project(const char *dir, struct git_repo **ret, struct buf *ret_below, struct err *err)
{
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	if (project_find_root(dir, &root, err) < 0 || git_open(root.data, ret, err) < 0)
		return -1;
	const char *top = *ret ? git_top(*ret) : NULL;
	if (!top) {
		err_set(err, ERR_CONFIG, "%s is not in the work tree of a git repository", root.data);
		return err_hint(err, "git init, then try again");
	}
	/* Both as git sees them: a project reached through a link lies where the link leads. */
	if (path_inside(top, root.data))
		path_relative(ret_below, top, root.data);
	else
		buf_addstr(ret_below, ".");
	if (strpbrk(ret_below->data, "\n\r"))
		return err_set(err, ERR_CONFIG, "the project's directory has a line break in its name");
	return 0;
}

static void read_lines(const char *text, const char *prefix, struct strlist *ret)
{
	for (const char *at = strstr(text, prefix); at; at = strstr(at, prefix)) {
		at += strlen(prefix);
		strlist_take(ret, mem_strndup(at, strcspn(at, "\n")));
	}
}

static int read_hook(struct hook_status *status, struct buf *text, struct err *err)
{
	struct stat st;
	bool exists;
	if (fs_lstat(status->path, &st, &exists, err) < 0)
		return -1;
	status->presence = exists ? HOOK_OTHER : HOOK_ABSENT;
	if (!exists || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > MAX_HOOK)
		return 0;
	if (fs_read_file(status->path, MAX_HOOK, text, err) < 0)
		return -1;
	if (!strstr(text->data, MARKER))
		return 0;
	struct strlist program CLEANUP(strlist_release) = { 0 };
	status->presence = HOOK_OURS;
	read_lines(text->data, PROJECT_LINE, &status->projects);
	read_lines(text->data, PROGRAM_LINE, &program);
	status->program = program.len ? mem_strdup(program.at[0]) : NULL;
	return 0;
}

static int look(struct git_repo *repo, struct hook_status *ret, struct buf *text, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	if (git_hooks_dir(repo, &dir, err) < 0)
		return -1;
	ret->outside = !path_inside(git_common_dir(repo), dir.data) && !path_inside(git_top(repo), dir.data);
	ret->path = path_joined(dir.data, "pre-commit");
	OWNED char *kept = mem_printf("%s" KEPT_SUFFIX, ret->path);
	struct stat st;
	bool exists;
	if (fs_lstat(kept, &st, &exists, err) < 0)
		return -1;
	if (exists)
		ret->kept = mem_strdup(kept);
	return merge_driver_look(repo, &ret->merge_driver, err) < 0 ? -1 : read_hook(ret, text, err);
}

int hook_look(const char *dir, struct hook_status *ret, struct err *err)
{
	struct git_repo *repo CLEANUP(git_close_ptr) = NULL;
	struct buf below CLEANUP(buf_release) = BUF_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	if (find_project(dir, &repo, &below, err) < 0)
		return -1;
	return look(repo, ret, &text, err);
}

/* Lines that check every project; the last word is theirs. */
static void add_calls(struct buf *out, const struct strlist *projects)
{
	if (projects->len == 1 && text_eq(projects->at[0], ".")) {
		buf_addstr(out, "exec \"$mlmake\" hook run pre-commit\n");
		return;
	}
	buf_addstr(out, "status=0\n");
	for (size_t i = 0; i < projects->len; i++) {
		OWNED char *dir = mem_printf("./%s", projects->at[i]);
		buf_addstr(out, "if [ -d ");
		text_add_shell_quoted(out, dir);
		buf_addstr(out, " ]; then\n\t(cd ");
		text_add_shell_quoted(out, dir);
		buf_addstr(out, " && exec \"$mlmake\" hook run pre-commit) || status=$?\nfi\n");
	}
	buf_addstr(out, "exit \"$status\"\n");
}

static void make_script(struct buf *out, const char *program, const struct strlist *projects)
{
	buf_addstr(out, "#!/bin/sh" MARKER "checks what is staged before each commit.\n"
			"# `mlmake hook uninstall` removes it and puts back the hook that was here before;\n"
			"# `git commit --no-verify` goes past it once.");
	for (size_t i = 0; i < projects->len; i++)
		buf_addf(out, PROJECT_LINE "%s", projects->at[i]);
	buf_addf(out, PROGRAM_LINE "%s\n\n", program);
	buf_addstr(out, "kept=\"${0%/*}/pre-commit" KEPT_SUFFIX "\"\n"
			"if [ -x \"$kept\" ]; then\n"
			"\t\"$kept\" \"$@\" || exit $?\n"
			"fi\n\n"
			"fallback=");
	text_add_shell_quoted(out, program);
	buf_addstr(out, "\nif command -v mlmake >/dev/null 2>&1; then\n"
			"\tmlmake=mlmake\n"
			"elif [ -x \"$fallback\" ]; then\n"
			"\tmlmake=$fallback\n"
			"else\n"
			"\techo \"pre-commit: mlmake is neither on PATH nor at $fallback, so what is staged was not checked\" >&2\n"
			"\techo \"hint: install mlmake, remove this hook ($0), or go past it once: git commit --no-verify\" >&2\n"
			"\texit 1\n"
			"fi\n\n");
	add_calls(out, projects);
}

/* Ours goes in at once; what was there keeps working until then. */
static int put_script(struct hook_status *status, const struct buf *script, struct err *err)
{
	if (fs_mkdirs_for(status->path, err) < 0)
		return -1;
	bool moved = false;
	OWNED char *kept = mem_printf("%s" KEPT_SUFFIX, status->path);
	if (status->presence == HOOK_OTHER) {
		if (status->kept) {
			err_set(err, ERR_FAILED, "there are two hooks to keep: %s and %s", status->path, status->kept);
			return err_hint(err, "remove the one that is not needed");
		}
		if (fs_rename(status->path, kept, err) < 0)
			return -1;
		moved = true;
	}
	if (fs_write_file(status->path, script->data, script->len, 0777, FS_SYNCED, err) < 0) {
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		if (moved && fs_rename(kept, status->path, &ignored) < 0)
			err_note(err, "the hook that was there is now %s", kept);
		return -1;
	}
	return 0;
}

int hook_install(const char *dir, struct hook_status *ret, bool *ret_changed, struct err *err)
{
	struct git_repo *repo CLEANUP(git_close_ptr) = NULL;
	struct buf below CLEANUP(buf_release) = BUF_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct buf program CLEANUP(buf_release) = BUF_INIT;
	struct buf script CLEANUP(buf_release) = BUF_INIT;
	if (find_project(dir, &repo, &below, err) < 0 || look(repo, ret, &text, err) < 0)
		return -1;
	if (fs_read_link("/proc/self/exe", &program, err) < 0)
		return err_note(err, "looking for the path of this mlmake");
	if (!strlist_has(&ret->projects, below.data))
		strlist_add(&ret->projects, below.data);
	strlist_sort(&ret->projects);
	make_script(&script, program.data, &ret->projects);
	bool stale = ret->presence != HOOK_OURS || !text_eq(text.data, script.data);
	if ((stale && put_script(ret, &script, err) < 0) || merge_driver_install(repo, program.data, ret_changed, err) < 0)
		return -1;
	*ret_changed = *ret_changed || stale;
	hook_status_release(ret);
	return look(repo, ret, &text, err);
}

int hook_uninstall(const char *dir, struct hook_status *ret, bool *ret_changed, struct err *err)
{
	struct git_repo *repo CLEANUP(git_close_ptr) = NULL;
	struct buf below CLEANUP(buf_release) = BUF_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	if (find_project(dir, &repo, &below, err) < 0 || look(repo, ret, &text, err) < 0)
		return -1;
	if (merge_driver_uninstall(repo, ret_changed, err) < 0)
		return -1;
	ret->merge_driver = false;
	if (ret->presence == HOOK_OTHER)
		return 0;
	if (ret->kept && fs_rename(ret->kept, ret->path, err) < 0)
		return -1;
	if (!ret->kept && ret->presence == HOOK_OURS && fs_remove(ret->path, err) < 0)
		return -1;
	*ret_changed = *ret_changed || ret->kept || ret->presence == HOOK_OURS;
	hook_status_release(ret);
	buf_reset(&text);
	return look(repo, ret, &text, err);
}
