#include "cli/cli.h"
#include "cli/commands.h"

#include "features/scaffold/scaffold.h"

static int run_init(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option options[] = { OPTION_END };
	int operands, done;
	if (cli_parse(cli, options, argc, argv, &operands, NULL, &done, err) < 0)
		return -1;
	if (done >= 0)
		return done;
	if (operands > 0) {
		err_set(err, ERR_CONFIG, "'init' takes no arguments, and got '%s'", argv[1]);
		return err_hint(err, "it writes mlmake.yaml into the current directory; `mlmake -C DIR init` into another");
	}
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
	.run = run_init,
};
