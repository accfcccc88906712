/* mlmake data remove, move, unprotect */
#include "cli/cmd_data.h"

static int run_remove(struct cli *cli, int argc, char **argv, struct err *err)
{
	bool with_data = false, force = false;
	const struct option options[] = {
		{ 0, "outs", NULL, "delete the data, too", OPTION_FLAG, &with_data },
		{ 'f', "force", NULL, "with --outs: even what is in no cache", OPTION_FLAG, &force },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct strlist removed CLEANUP(strlist_release) = { 0 }, to_stage CLEANUP(strlist_release) = { 0 };
	if (data_cli_open(cli, &repo, err) < 0 ||
	    data_remove(repo, args.at, args.len, with_data, force, &removed, &to_stage, err) < 0)
		return -1;
	for (size_t i = 0; i < removed.len; i++)
		cli_note(cli, with_data ? "removed %s and its data" : "%s is no longer tracked; its data stays", removed.at[i]);
	data_show_to_stage(cli, repo, &to_stage);
	return 0;
}

const struct command cmd_data_remove = {
	.name = "remove",
	.summary = "stop tracking data",
	.usage = "[OPTIONS] PATH...",
	.help = "Removes the .dvc file and the line in .gitignore. The data stays in the work tree, as files of its own, unless --outs is given;\n"
		"what the cache and the remotes have stays, too, until mlmake data gc.\n\n"
		"Examples:\n"
		"  mlmake data remove data/old.csv\n"
		"  mlmake data remove models/v1.dvc --outs\n",
	.least = 1,
	.most = MANY,
	.locks = true,
	.run = run_remove,
};

static int run_move(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option options[] = { OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct strlist to_stage CLEANUP(strlist_release) = { 0 };
	struct buf to CLEANUP(buf_release) = BUF_INIT;
	if (data_cli_open(cli, &repo, err) < 0 ||
	    data_move(repo, args.at[0], args.at[1], &to, &to_stage, err) < 0)
		return -1;
	cli_note(cli, "%s is %s now", args.at[0], to.data);
	data_show_to_stage(cli, repo, &to_stage);
	return 0;
}

const struct command cmd_data_move = {
	.name = "move",
	.summary = "rename tracked data",
	.usage = "FROM TO",
	.help = "Moves the data, its .dvc file and its line in .gitignore. TO is a new name, or a directory.\n\n"
		"Examples:\n"
		"  mlmake data move data/raw.csv data/2024.csv\n"
		"  mlmake data move model.onnx models\n",
	.least = 2,
	.most = 2,
	.locks = true,
	.run = run_move,
};

static int run_unprotect(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option options[] = { OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	size_t files = 0;
	if (data_cli_open(cli, &repo, err) < 0 ||
	    data_unprotect(repo, args.at, args.len, &files, err) < 0)
		return -1;
	if (files)
		cli_note(cli, "%zu %s now", files, files == 1 ? "file is a copy" : "files are copies");
	else
		cli_note(cli, "no links were there: nothing to copy");
	return 0;
}

const struct command cmd_data_unprotect = {
	.name = "unprotect",
	.summary = "make files that are links into the cache writable copies",
	.usage = "PATH...",
	.help = "With cache.type hardlink or symlink, files in the work tree are the objects of the cache themselves, and read-only. This makes\n"
		"copies of them, which may be changed without harm to the cache.\n\n"
		"Example:\n"
		"  mlmake data unprotect data/train.csv\n",
	.least = 1,
	.most = MANY,
	.locks = true,
	.run = run_unprotect,
};
