/* mlmake data config */
#include "cli/cmd_data.h"

struct config_flags {
	bool system, global, project, local;
	bool unset, list, origin;
};

static int level_of(const struct config_flags *flags)
{
	return flags->local ? DATA_LOCAL : flags->project ? DATA_PROJECT : flags->global ? DATA_GLOBAL : flags->system ? DATA_SYSTEM : DATA_ANY_LEVEL;
}

static void print_json(struct cli *cli, const struct data_settings *settings)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &text, JSON_PYTHON);
	json_open_array(&w);
	for (size_t i = 0; i < settings->len; i++) {
		json_open_object(&w);
		json_pair_str(&w, "name", settings->at[i].name);
		json_pair_str(&w, "value", settings->at[i].value);
		json_pair_str(&w, "file", settings->at[i].file);
		json_close(&w);
	}
	json_end(&w);
	data_json_print(cli, &text);
}

static int show(struct cli *cli, struct data_repo *repo, const struct config_flags *flags, const char *name, struct err *err)
{
	struct data_settings settings CLEANUP(data_settings_release) = { .at = NULL };
	if (data_config_get(repo, level_of(flags), name, &settings, err) < 0)
		return -1;
	if (cli->json)
		print_json(cli, &settings);
	for (size_t i = 0; !cli->json && i < settings.len; i++) {
		const struct data_setting *setting = &settings.at[i];
		if (flags->origin)
			cli_out(cli, "%s\t", setting->file);
		if (name)
			cli_out(cli, "%s\n", setting->value);
		else
			cli_out(cli, "%s=%s\n", setting->name, setting->value);
	}
	if (!name || settings.len)
		return 0;
	err_set(err, ERR_FAILED, "'%s' is not set", name);
	return err_hint(err, "%s --list shows what is", cli->full_name);
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct config_flags flags = { .unset = false };
	const struct option options[] = {
		{ 'l', "list", NULL, "all options that are set", OPTION_FLAG, &flags.list },
		{ 0, "show-origin", NULL, "the file that sets it, too", OPTION_FLAG, &flags.origin },
		{ 'u', "unset", NULL, "remove the option", OPTION_FLAG, &flags.unset },
		{ 0, "global", NULL, "the user's configuration", OPTION_FLAG, &flags.global },
		{ 0, "system", NULL, "the machine's configuration", OPTION_FLAG, &flags.system },
		{ 0, "project", NULL, "the project's, .dvc/config (where writes go without any)", OPTION_FLAG, &flags.project },
		{ 0, "local", NULL, ".dvc/config.local, which git ignores: for secrets", OPTION_FLAG, &flags.local },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	bool good = flags.list ? !args.len && !flags.unset : flags.unset ? args.len == 1 : args.len == 1 || args.len == 2;
	if (!good || flags.system + flags.global + flags.project + flags.local > 1) {
		err_set(err, ERR_CONFIG, "'%s' wants %s", cli->full_name, good ? "one level at most" : cli->command->usage);
		return err_hint(err, "'%s --help' shows examples", cli->full_name);
	}
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	if (data_cli_open(cli, &repo, err) < 0)
		return -1;
	if (flags.list || (args.len == 1 && !flags.unset))
		return show(cli, repo, &flags, args.len ? args.at[0] : NULL, err);
	int level = level_of(&flags);
	return data_config_set(repo, level == DATA_ANY_LEVEL ? DATA_PROJECT : (enum data_level)level, args.at[0],
			       flags.unset ? NULL : args.at[1], err);
}

const struct command cmd_data_config = {
	.name = "config",
	.summary = "show and change options of .dvc/config",
	.usage = "NAME [VALUE] | --unset NAME | --list",
	.help = "Options are named section.option or remote.NAME.option. Without a level, the value that takes effect is shown, and .dvc/config is\n"
		"written. A write changes that line alone: comments and order stay. Paths are given relative to the current directory.\n\n"
		"Examples:\n"
		"  mlmake data config cache.type hardlink,copy\n"
		"  mlmake data config cache.dir ../shared-cache\n"
		"  mlmake data config --list --show-origin\n"
		"  mlmake data config --local --unset remote.storage.profile\n",
	.has_json = true,
	.most = 2,
	.locks = true,
	.run = run,
};
