#include "cli/commands.h"

#include "base/text.h"

#include <string.h>

static void add_option_line(struct buf *out, const struct option *option)
{
	struct buf left CLEANUP(buf_release) = BUF_INIT;
	if (option->short_name)
		buf_addf(&left, "-%c", option->short_name);
	else
		buf_addstr(&left, "  ");
	if (option->long_name)
		buf_addf(&left, "%s--%s", option->short_name ? ", " : "  ", option->long_name);
	if (option->arg_name)
		buf_addf(&left, option->kind == OPTION_CHOICE ? "[=%s]" : option->long_name ? "=%s" : " %s", option->arg_name);
	buf_addf(out, "  %-26s %s\n", left.data, option->help);
}

static void add_command_lines(struct buf *out, const struct command *const *list)
{
	for (; *list; list++)
		buf_addf(out, "  %-26s %s\n", (*list)->name, (*list)->summary);
}

void help_add(struct buf *out, const char *full_name, const struct command *command, const struct option *options,
	      const struct option *common)
{
	buf_addf(out, "Usage: %s%s%s\n\n%s\n", full_name, *command->usage ? " " : "", command->usage, command->summary);
	if (command->help && *command->help)
		buf_addf(out, "\n%s%s", command->help, text_ends(command->help, "\n") ? "" : "\n");
	if (command->subcommands) {
		buf_addstr(out, "\nCommands:\n");
		add_command_lines(out, command->subcommands);
		buf_addf(out, "\n'%s COMMAND --help' explains each.\n", full_name);
	}
	const struct option *const tables[] = { options, common };
	for (size_t t = 0, shown = 0; t < ARRAY_LEN(tables); t++)
		for (const struct option *option = tables[t]; option && option->help; option++) {
			if (option_is_hidden(option->kind))
				continue;
			buf_addstr(out, shown++ ? "" : "\nOptions:\n");
			add_option_line(out, option);
		}
}

static const char general_help[] =
	"Usage: mlmake [TARGET...] [OPTIONS] [-- ARGS]\n"
	"       mlmake COMMAND ...\n"
	"\n"
	"Runs the targets of a machine-learning repository by content hash, versions its data in\n"
	"DVC's formats, generates its CI workflow and checks its commits.\n"
	"\n"
	"  mlmake test                run a target; what it needs runs first, what is unchanged does not run\n"
	"  mlmake data push           upload what `mlmake data add` has recorded\n"
	"  mlmake ci generate         write .github/workflows from the same targets\n"
	"  mlmake hook install        check each commit before it is made\n";

static int run_help(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option none[] = { OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, none, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	if (args.len) {
		argv[args.len + 1] = (char[]){ "--help" };
		cli->full_name = "mlmake";
		return cli_dispatch(cli, all_commands, (int)args.len + 2, argv, err);
	}
	buf_addstr(&out, general_help);
	buf_addstr(&out, "\nCommands:\n");
	add_command_lines(&out, all_commands);
	buf_addstr(&out, "\nOptions of all commands:\n"
			 "  -C DIR                     go to DIR first\n"
			 "      --quiet                no notes and no progress\n"
			 "  -h, --help                 show the help of the command\n"
			 "\n"
			 "'mlmake run --help' lists those of running targets.\n"
			 "\n"
			 "Exit codes: 0 done; 1 a target or check failed; 2 usage or configuration; 3 data missing or\n"
			 "damaged; 4 network or remote; 5 locked by another; 70 a bug; 71 out of memory; 130, 143 interrupted.\n"
			 "\n"
			 "'mlmake COMMAND --help' explains a command, 'mlmake list' shows the targets here.\n");
	cli_out_bytes(cli, out.data, out.len);
	return 0;
}

const struct command cmd_help = {
	.name = "help",
	.summary = "show help for mlmake or for one command",
	.usage = "[COMMAND...]",
	.help = "Examples:\n  mlmake help\n  mlmake help data\n  mlmake help data push\n",
	.operands = OPERANDS_COMMANDS,
	.most = MANY,
	.run = run_help,
};

static int run_version(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option none[] = { OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, none, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (cli->json)
		cli_out(cli, "{\"version\": \"%s\"}\n", MLMAKE_VERSION);
	else
		cli_out(cli, "mlmake %s\n", MLMAKE_VERSION);
	return 0;
}

const struct command cmd_version = {
	.name = "version",
	.summary = "print the version",
	.usage = "",
	.help = "Example:\n  mlmake version\n",
	.has_json = true,
	.run = run_version,
};
