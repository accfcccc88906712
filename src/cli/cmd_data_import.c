/* mlmake data import, import-url, update */
#include "cli/cmd_data.h"

#include <string.h>

static int run_import(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct data_import_options import = { .out = NULL };
	const struct option options[] = {
		{ 'o', "out", "OUT", "write it there (its own name, here)", OPTION_STRING, &import.out },
		{ 0, "rev", "REV", "a branch, tag or commit of the other repository (its default branch)", OPTION_STRING, &import.rev },
		{ 0, "remote", "NAME", "the remote of the other repository to take data from (its default one)", OPTION_STRING, &import.remote },
		{ 0, "no-exec", NULL, "only write the .dvc file", OPTION_FLAG, &import.no_exec },
		{ 0, "no-download", NULL, "record the commit, and leave the data where it is", OPTION_FLAG, &import.no_download },
		{ 'f', "force", NULL, "replace what is there", OPTION_FLAG, &import.force },
		{ 'j', "jobs", "N", "", OPTION_ACCEPTED, NULL },
		{ 0, "config", NULL, data_no_config, OPTION_REFUSED, NULL },
		{ 0, "remote-config", NULL, data_no_config, OPTION_REFUSED, NULL },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (import.no_exec && import.no_download)
		return err_set(err, ERR_CONFIG, "--no-exec and --no-download exclude each other");
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_add_report report CLEANUP(data_add_report_release) = { .staged = false };
	if (data_cli_open(cli, &repo, err) < 0 || data_import(repo, args.at[0], args.at[1], &import, &report, err) < 0)
		return -1;
	data_show_added(cli, repo, &report);
	return 0;
}

const struct command cmd_data_import = {
	.name = "import",
	.summary = "take data from another repository, and remember which commit it is from",
	.usage = "[OPTIONS] URL PATH",
	.help = "Brings a file or directory of another data or git repository here, and writes a .dvc file that names the repository and the\n"
		"commit, as dvc import does. mlmake data update brings a newer version; mlmake data pull brings this one again in another\n"
		"clone. URL is a directory or the address of a git repository. Nothing of that repository is executed.\n\n"
		"Examples:\n"
		"  mlmake data import https://github.com/iterative/dataset-registry get-started/data.xml\n"
		"  mlmake data import ../models model.onnx --rev v1.0 -o models/model.onnx\n",
	.has_json = true,
	.least = 2,
	.most = 2,
	.wants = "a repository and a path in it",
	.locks = true,
	.run = run_import,
};

static const char no_to_remote[] = "the data comes here first: mlmake data push -r NAME PATH uploads it then";

static int run_import_url(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct data_import_options import = { .out = NULL };
	const struct option options[] = {
		{ 0, "no-exec", NULL, "only write the .dvc file", OPTION_FLAG, &import.no_exec },
		{ 0, "no-download", NULL, "record the source's state, and leave the data where it is", OPTION_FLAG, &import.no_download },
		{ 0, "fs-config", "OPTION=VALUE", "of the server: endpointurl, region, profile; several, and repeated", OPTION_PAIRS, &import.fs_config },
		{ 'f', "force", NULL, "replace what is there", OPTION_FLAG, &import.force },
		{ 'j', "jobs", "N", "", OPTION_ACCEPTED, NULL },
		{ 0, "to-remote", NULL, no_to_remote, OPTION_REFUSED, NULL },
		{ 'r', "remote", NULL, no_to_remote, OPTION_REFUSED, NULL },
		{ 0, "version-aware", NULL, "mlmake records the etag, and takes a copy that stays; dvc import-url --version-aware records S3's version",
		  OPTION_REFUSED, NULL },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	struct strlist fs_config CLEANUP(strlist_release) = import.fs_config; /* freed in any case */
	if (go_on <= 0)
		return go_on;
	if (import.no_exec && import.no_download)
		return err_set(err, ERR_CONFIG, "--no-exec and --no-download exclude each other");
	for (size_t i = 0; i < fs_config.len; i++)
		if (!strchr(fs_config.at[i], '='))
			return err_set(err, ERR_CONFIG, "'%s' is no OPTION=VALUE", fs_config.at[i]);
	import.out = args.len == 2 ? args.at[1] : NULL;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_add_report report CLEANUP(data_add_report_release) = { .staged = false };
	if (data_cli_open(cli, &repo, err) < 0 || data_import_url(repo, args.at[0], &import, &report, err) < 0)
		return -1;
	data_show_added(cli, repo, &report);
	return 0;
}

const struct command cmd_data_import_url = {
	.name = "import-url",
	.summary = "take a file or directory from a path or URL, and remember its state there",
	.usage = "[OPTIONS] URL [OUT]",
	.help = "Brings a file over HTTP, or a file or directory of S3 or of this machine, here and writes a .dvc file with the etag, checksum or\n"
		"md5 that the source has now, as dvc import-url does. mlmake data update brings it again when it has changed there.\n"
		"remote://NAME/path is a path on a remote of .dvc/config, with that remote's credentials.\n\n"
		"Examples:\n"
		"  mlmake data import-url https://example.com/iris.csv data/iris.csv\n"
		"  mlmake data import-url s3://public-data/images\n"
		"  mlmake data import-url remote://storage/raw/2024 data/raw\n",
	.has_json = true,
	.least = 1,
	.most = 2,
	.wants = "a path or URL, and where it goes",
	.locks = true,
	.run = run_import_url,
};

static int run_update(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct data_import_options import = { .out = NULL };
	const struct option options[] = {
		{ 0, "rev", "REV", "the branch, tag or commit to go to", OPTION_STRING, &import.rev },
		{ 0, "no-download", NULL, "record the source's state, and leave the data where it is", OPTION_FLAG, &import.no_download },
		{ 'f', "force", NULL, "overwrite changed files that are in no cache", OPTION_FLAG, &import.force },
		{ 'R', "recursive", NULL, "", OPTION_ACCEPTED, NULL },
		{ 'j', "jobs", "N", "", OPTION_ACCEPTED, NULL },
		{ 0, "to-remote", NULL, no_to_remote, OPTION_REFUSED, NULL },
		{ 'r', "remote", NULL, no_to_remote, OPTION_REFUSED, NULL },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_add_report report CLEANUP(data_add_report_release) = { .staged = false };
	if (data_cli_open(cli, &repo, err) < 0 || data_update(repo, args.at, args.len, &import, &report, err) < 0)
		return -1;
	data_show_added(cli, repo, &report);
	return 0;
}

const struct command cmd_data_update = {
	.name = "update",
	.summary = "bring imports to what their sources are now",
	.usage = "[OPTIONS] [PATH...]",
	.help = "Looks at the sources of imports, all of them or those of PATHs, and brings what has changed. The branch or tag that an import\n"
		"names is looked up anew; --rev goes to another one. Changes of your own to the data stop it.\n\n"
		"Examples:\n"
		"  mlmake data update\n"
		"  mlmake data update models/model.onnx --rev v2.0\n",
	.has_json = true,
	.most = MANY,
	.locks = true,
	.run = run_update,
};
