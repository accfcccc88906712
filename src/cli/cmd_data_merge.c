/* mlmake data merge-driver: what git runs to merge a .dvc file */
#include "cli/cmd_data.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"

/* The nearest directory above path that is there: a merge may be about to make the others. */
static void existing_parent(const char *path, struct buf *ret)
{
	path_dir(ret, path);
	while (!fs_is_dir(ret->data) && !text_eq(ret->data, ".") && !text_eq(ret->data, "/")) {
		struct buf up CLEANUP(buf_release) = BUF_INIT;
		path_dir(&up, ret->data);
		buf_setstr(ret, up.data);
	}
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option options[] = { OPTION_END };
	struct args args;
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct strlist conflicts CLEANUP(strlist_release) = { 0 };
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	const char *path = args.at[3];
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	existing_parent(path, &dir);
	if (data_cli_open_at(cli, dir.data, &repo, err) < 0 || data_merge(repo, args.at, path, &conflicts, err) < 0)
		return -1;
	struct buf title CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&title, "conflict in %s (git checkout --ours or --theirs takes one side; then git add, mlmake data checkout):", path);
	data_warn_list(cli, title.data, &conflicts);
	return conflicts.len ? ERR_FAILED : 0;
}

const struct command cmd_data_merge = {
	.name = "merge-driver",
	.summary = "merge a .dvc file, for git",
	.usage = "BASE OURS THEIRS PATH",
	.help = "git runs this for .dvc files once mlmake hook install was there (git config merge.mlmake.driver). Directories are merged member\n"
		"by member: what one side added, changed or removed is taken, and the merged manifest is in the cache before git sees its name.\n"
		"Where both sides changed the same member it is listed, the exit code is 1 and OURS holds git's conflict markers.\n\n"
		"Example:\n"
		"  git merge experiment && mlmake data checkout\n",
	.least = 4,
	.most = 4,
	.run = run,
};
