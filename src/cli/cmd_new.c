#include "cli/cli.h"
#include "cli/commands.h"

#include "base/mem.h"
#include "base/text.h"
#include "features/scaffold/scaffold.h"

static void list_templates(struct cli *cli)
{
	struct strlist names CLEANUP(strlist_release) = { 0 };
	scaffold_names(&names);
	for (size_t i = 0; i < names.len; i++) {
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		scaffold_describe(names.at[i], &text);
		cli_out(cli, "%-10s  %s\n", names.at[i], text.data);
	}
	cli_note(cli, "hint: `mlmake new TEMPLATE DIR` makes a project\n");
}

static int run_new(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option options[] = { OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (args.len == 0) {
		list_templates(cli);
		return 0;
	}
	if (args.len != 2) {
		err_set(err, ERR_CONFIG, "'new' takes a template and a directory, and got %zu word%s", args.len,
			args.len == 1 ? "" : "s");
		return err_hint(err, "mlmake new tabular my-project");
	}

	struct strlist files CLEANUP(strlist_release) = { 0 };
	if (scaffold_create(args.at[0], args.at[1], &files, err) < 0)
		return -1;
	for (size_t i = 0; i < files.len; i++)
		cli_out(cli, "%s/%s\n", args.at[1], files.at[i]);

	struct buf quoted CLEANUP(buf_release) = BUF_INIT;
	text_add_shell_quoted(&quoted, args.at[1]);
	cli_note(cli,
		 "\nmade %zu files from the template %s. Next:\n"
		 "    cd %s && git init\n"
		 "    mlmake data init   lets data and models be versioned\n"
		 "    mlmake list        what there is to run\n"
		 "    mlmake test        installs what the project needs, then tests it\n",
		 files.len, args.at[0], quoted.data);
	return 0;
}

const struct command cmd_new = {
	.name = "new",
	.summary = "make a project from a template",
	.usage = "[TEMPLATE DIR]",
	.help = "Writes the files of a template into DIR, which must be absent or empty (but for .git). Without arguments it\n"
		"lists the templates.\n"
		"\n"
		"    mlmake new\n"
		"    mlmake new tabular tumours\n",
	.operands = OPERANDS_TEMPLATES,
	.most = MANY,
	.run = run_new,
};
