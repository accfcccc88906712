/* mlmake data remote */
#include "cli/cmd_data.h"

#include "base/text.h"

struct remote_flags {
	bool system, global, project, local;
	bool make_default, force, unset;
};

/* Reads the options and opens the repository. Returns as cli_parse does. */
static int begin(struct cli *cli, struct remote_flags *flags, const struct option *extra, size_t extra_count, int argc, char **argv,
		 struct args *ret, struct data_repo **ret_repo, struct err *err)
{
	struct option options[8] = {
		{ 0, "global", NULL, "the user's configuration", OPTION_FLAG, &flags->global },
		{ 0, "system", NULL, "the machine's configuration", OPTION_FLAG, &flags->system },
		{ 0, "project", NULL, "the project's, .dvc/config (as without any)", OPTION_FLAG, &flags->project },
		{ 0, "local", NULL, ".dvc/config.local, which git ignores: for secrets", OPTION_FLAG, &flags->local },
	};
	size_t n = 4;
	for (size_t i = 0; i < extra_count; i++)
		options[n++] = extra[i];
	options[n] = (struct option)OPTION_END;
	int go_on = cli_parse(cli, options, argc, argv, ret, err);
	return go_on > 0 && data_cli_open(cli, ret_repo, err) < 0 ? -1 : go_on;
}

static enum data_level level_of(const struct remote_flags *flags)
{
	return flags->local ? DATA_LOCAL : flags->global ? DATA_GLOBAL : flags->system ? DATA_SYSTEM : DATA_PROJECT;
}

static int run_add(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct remote_flags flags = { .force = false };
	const struct option extra[] = {
		{ 'd', "default", NULL, "make it the default remote", OPTION_FLAG, &flags.make_default },
		{ 'f', "force", NULL, "replace the url of one that exists", OPTION_FLAG, &flags.force },
	};
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct args args;
	int go_on = begin(cli, &flags, extra, 2, argc, argv, &args, &repo, err);
	if (go_on <= 0)
		return go_on;
	if (data_remote_add(repo, level_of(&flags), args.at[0], args.at[1], flags.make_default, flags.force, err) < 0)
		return -1;
	cli_note(cli, "remote '%s' is %s%s", args.at[0], args.at[1], flags.make_default ? ", the default" : "");
	return 0;
}

static int run_list(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct remote_flags flags = { .force = false };
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_remote_list list CLEANUP(data_remote_list_release) = { .at = NULL };
	struct args args;
	int go_on = begin(cli, &flags, NULL, 0, argc, argv, &args, &repo, err);
	if (go_on <= 0)
		return go_on;
	if (data_remote_list(repo, &list, err) < 0)
		return -1;
	if (!cli->json) {
		for (size_t i = 0; i < list.len; i++)
			cli_out(cli, "%s\t%s%s\n", list.at[i].name, list.at[i].url,
				list.at[i].is_default ? "\t(default)" : list.at[i].is_packed ? "\t(packed, in mlmake.yaml)" : "");
		return 0;
	}
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &text, JSON_PYTHON);
	json_open_array(&w);
	for (size_t i = 0; i < list.len; i++) {
		json_open_object(&w);
		json_pair_str(&w, "name", list.at[i].name);
		json_pair_str(&w, "url", list.at[i].url);
		json_pair_bool(&w, "default", list.at[i].is_default);
		json_pair_bool(&w, "packed", list.at[i].is_packed);
		json_close(&w);
	}
	json_end(&w);
	data_json_print(cli, &text);
	return 0;
}

static int run_modify(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct remote_flags flags = { .force = false };
	const struct option extra[] = { { 'u', "unset", NULL, "remove the option", OPTION_FLAG, &flags.unset } };
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct args args;
	int go_on = begin(cli, &flags, extra, 1, argc, argv, &args, &repo, err);
	if (go_on <= 0)
		return go_on;
	if ((args.len == 3) == flags.unset)
		return err_set(err, ERR_CONFIG, "'%s' wants a value, or --unset without one", cli->full_name);
	return data_remote_modify(repo, level_of(&flags), args.at[0], args.at[1], flags.unset ? NULL : args.at[2], err);
}

static int run_remove(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct remote_flags flags = { .force = false };
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct args args;
	int go_on = begin(cli, &flags, NULL, 0, argc, argv, &args, &repo, err);
	if (go_on <= 0)
		return go_on;
	return data_remote_remove(repo, level_of(&flags), args.at[0], err);
}

static int run_rename(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct remote_flags flags = { .force = false };
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct args args;
	int go_on = begin(cli, &flags, NULL, 0, argc, argv, &args, &repo, err);
	if (go_on <= 0)
		return go_on;
	return data_remote_rename(repo, level_of(&flags), args.at[0], args.at[1], err);
}

static int show_default(struct cli *cli, struct data_repo *repo, struct err *err)
{
	struct data_remote_list list CLEANUP(data_remote_list_release) = { .at = NULL };
	if (data_remote_list(repo, &list, err) < 0)
		return -1;
	for (size_t i = 0; i < list.len; i++)
		if (list.at[i].is_default) {
			cli_out(cli, "%s\n", list.at[i].name);
			return 0;
		}
	cli_note(cli, "no default remote");
	return ERR_FAILED;
}

static int run_default(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct remote_flags flags = { .force = false };
	const struct option extra[] = { { 'u', "unset", NULL, "have no default", OPTION_FLAG, &flags.unset } };
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct args args;
	int go_on = begin(cli, &flags, extra, 1, argc, argv, &args, &repo, err);
	if (go_on <= 0)
		return go_on;
	if (!args.len && !flags.unset)
		return show_default(cli, repo, err);
	return data_remote_default(repo, level_of(&flags), flags.unset ? NULL : args.at[0], err);
}

static const struct command cmd_add = {
	.name = "add",
	.summary = "name a remote",
	.usage = "[OPTIONS] NAME URL",
	.help = "URL is a directory, s3://bucket/prefix, ssh://host/path, https://host/path or webdavs://host/path:\n\n    mlmake data remote add -d storage s3://ml-data/project\n"
		"    mlmake data remote modify storage endpointurl http://127.0.0.1:9000",
	.least = 2,
	.most = 2,
	.locks = true,
	.run = run_add,
};
static const struct command cmd_list = {
	.name = "list",
	.summary = "list the remotes",
	.usage = "[OPTIONS]",
	.help = "Name and url, one a line.\n\n    mlmake data remote list",
	.has_json = true,
	.run = run_list,
};
static const struct command cmd_modify = {
	.name = "modify",
	.summary = "set an option of a remote",
	.usage = "[OPTIONS] NAME OPTION [VALUE]",
	.help = "Changes that line of the config file alone; comments stay. Secrets belong into --local:\n\n"
		"    mlmake data remote modify --local storage secret_access_key ...",
	.least = 2,
	.most = 3,
	.locks = true,
	.run = run_modify,
};
static const struct command cmd_remove = {
	.name = "remove",
	.summary = "forget a remote",
	.usage = "[OPTIONS] NAME",
	.help = "Its data stays where it is.\n\n    mlmake data remote remove storage",
	.least = 1,
	.most = 1,
	.locks = true,
	.run = run_remove,
};
static const struct command cmd_rename = {
	.name = "rename",
	.summary = "give a remote another name",
	.usage = "[OPTIONS] NAME NEW",
	.help = "Also in config.local and where it is the default.\n\n    mlmake data remote rename storage archive",
	.least = 2,
	.most = 2,
	.locks = true,
	.run = run_rename,
};
static const struct command cmd_default = {
	.name = "default",
	.summary = "show or choose the default remote",
	.usage = "[OPTIONS] [NAME]",
	.help = "The remote that push, fetch and pull use unless told otherwise.\n\n    mlmake data remote default storage",
	.most = 1,
	.locks = true,
	.run = run_default,
};

static const struct command *const subcommands[] = { &cmd_add, &cmd_list, &cmd_modify, &cmd_remove, &cmd_rename, &cmd_default, NULL };

const struct command cmd_data_remote = {
	.name = "remote",
	.summary = "where data is pushed to",
	.usage = "COMMAND ...",
	.help = "Remotes are kept in .dvc/config, as dvc keeps them.\n\n    mlmake data remote add -d storage s3://ml-data/project",
	.subcommands = subcommands,
};
