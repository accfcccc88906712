#include "cli/cli.h"
#include "cli/commands.h"

#include "features/scaffold/scaffold.h"

static int run_init(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option options[] = { OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (scaffold_init(".", err) < 0)
		return -1;
	cli_out(cli, "mlmake.yaml\n");
	cli_note(cli, "wrote mlmake.yaml; `mlmake list` shows what there is to run\n");
	return 0;
}

const struct command cmd_init = {
	.name = "init",
	.summary = "write a commented mlmake.yaml",
	.usage = "",
	.help = "Writes an mlmake.yaml with one target and commented examples into the current directory. It is\n"
		"not needed to begin: without one, rules find what can be installed, checked, tested and built.\n"
		"\n"
		"  mlmake init\n",
	.wants_hint = "it writes mlmake.yaml into the current directory; `mlmake -C DIR init` into another",
	.run = run_init,
};
