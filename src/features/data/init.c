/*
 * data init: what `dvc init` makes, byte for byte.
 */
#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/data.h"
#include "vcs/git.h"

#include <string.h>

static const char dvcignore[] = "# Add patterns of files dvc should ignore, which could improve\n"
				"# the performance. Learn more at\n"
				"# https://dvc.org/doc/user-guide/dvcignore\n";

static int check_git(const char *root, const struct data_init_options *options, struct git_repo **git, struct err *err)
{
	bool ignored = false;
	if (options->no_scm)
		return 0;
	if (git_open(root, git, err) < 0)
		return -1;
	if (!*git || !git_top(*git)) {
		/* Without it no .gitignore is written, and a later `git add .` would take the data itself. */
		err_set(err, ERR_CONFIG, "%s is in no git repository", root);
		return err_hint(err, "git init first; or give --no-scm for data that git shall never know of");
	}
	if (!text_eq(git_top(*git), root) && !options->subdir) {
		err_set(err, ERR_CONFIG, "%s is not the top of its git repository, which is %s", root, git_top(*git));
		return err_hint(err, "run it there, or give --subdir for a data repository of this directory alone");
	}
	struct buf rel CLEANUP(buf_release) = BUF_INIT;
	struct buf dvc CLEANUP(buf_release) = BUF_INIT;
	path_join(&dvc, root, ".dvc/config");
	path_relative(&rel, git_top(*git), dvc.data);
	if (git_is_ignored(*git, rel.data, &ignored, err) < 0)
		return -1;
	if (!ignored)
		return 0;
	err_set(err, ERR_CONFIG, "%s/.dvc is ignored by git", root);
	return err_hint(err, "add the line '!.dvc' to .gitignore");
}

static int write_if_absent(const char *root, const char *name, const char *text, bool replace, struct err *err)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	path_join(&path, root, name);
	if (fs_exists(path.data) && !replace)
		return 0;
	return fs_write_file(path.data, text, strlen(text), 0666, FS_SYNCED, err);
}

static int stage(struct git_repo *git, const char *root, struct err *err)
{
	static const char *const names[] = { ".dvc/config", ".dvc/.gitignore", ".dvcignore" };
	for (size_t i = 0; git && git_top(git) && i < ARRAY_LEN(names); i++) {
		struct buf path CLEANUP(buf_release) = BUF_INIT, rel CLEANUP(buf_release) = BUF_INIT;
		path_join(&path, root, names[i]);
		path_relative(&rel, git_top(git), path.data);
		if (git_stage(git, rel.data, err) < 0)
			return -1;
	}
	return 0;
}

int data_init(const struct data_init_options *options, struct buf *ret_root, struct err *err)
{
	struct buf root CLEANUP(buf_release) = BUF_INIT, dvc CLEANUP(buf_release) = BUF_INIT, tmp CLEANUP(buf_release) = BUF_INIT;
	struct git_repo *git CLEANUP(git_close_ptr) = NULL;
	if (path_cwd(&root, err) < 0 || check_git(root.data, options, &git, err) < 0)
		return -1;
	path_join(&dvc, root.data, ".dvc");
	path_join(&tmp, dvc.data, "tmp");
	if (fs_exists(dvc.data) && !options->force) {
		err_set(err, ERR_FAILED, "%s exists: this is a data repository already", dvc.data);
		return err_hint(err, "-f replaces its config; the cache stays");
	}
	if (fs_mkdirs(tmp.data, err) < 0)
		return -1;
	bool has_git = git && git_top(git);
	const char *config = has_git ? "" : "[core]\n    no_scm = True\n";
	if (has_git && write_if_absent(root.data, ".dvc/.gitignore", "/config.local\n/tmp\n/cache\n", true, err) < 0)
		return -1;
	if (write_if_absent(root.data, ".dvcignore", dvcignore, false, err) < 0 ||
	    write_if_absent(root.data, ".dvc/tmp/btime", "", false, err) < 0 ||
	    write_if_absent(root.data, ".dvc/config", config, true, err) < 0)
		return -1;
	buf_addstr(ret_root, root.data);
	return stage(git, root.data, err);
}
