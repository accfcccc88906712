/* mlmake schema: the language, for editors. */
#include "cli/commands.h"

#include "graph/schema.h"

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	const struct option options[] = {OPTION_END};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	schema_write(&out);
	cli_out_bytes(cli, out.data, out.len);
	return 0;
}

const struct command cmd_schema = {
	.name = "schema",
	.summary = "print the JSON Schema of mlmake.yaml",
	.usage = "",
	.help = "For editors: the same table validates. For the YAML language server, write it to a file and name that in the first line\n"
		"of mlmake.yaml:\n"
		"\n"
		"  mlmake schema > mlmake.schema.json\n"
		"  # yaml-language-server: $schema=mlmake.schema.json",
	.run = run,
};
