/* mlmake rules: what is known without being told. */
#include "cli/commands.h"

#include "base/text.h"
#include "formats/json.h"
#include "graph/graph.h"

#include <stdlib.h>

static void add_targets(struct buf *out, const struct matched_rule *rule)
{
	for (size_t i = 0; i < rule->targets.len; i++)
		buf_addf(out, "%s%s", i ? ", " : "", rule->targets.at[i]);
	if (rule->targets.len == 0)
		buf_addstr(out, "nothing that mlmake.yaml does not declare itself");
}

static void rules_json(struct cli *cli, const struct project *project)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_int(&w, "version", 1);
	json_key(&w, "rules");
	json_open_array(&w);
	for (size_t i = 0; i < project->rule_count; i++) {
		const struct matched_rule *rule = &project->rules[i];
		json_open_object(&w);
		json_pair_str(&w, "name", rule->name);
		json_pair_str(&w, "desc", rule->desc);
		json_pair_str(&w, "why", rule->why);
		json_pair_str(&w, "origin", rule->origin);
		json_key(&w, "targets");
		json_open_array(&w);
		for (size_t k = 0; k < rule->targets.len; k++)
			json_put_str(&w, rule->targets.at[k]);
		json_close(&w);
		json_close(&w);
	}
	json_end(&w);
	cli_out_bytes(cli, out.data, out.len);
}

static void rules_text(struct cli *cli, const struct project *project)
{
	for (size_t i = 0; i < project->rule_count; i++) {
		const struct matched_rule *rule = &project->rules[i];
		struct buf targets CLEANUP(buf_release) = BUF_INIT;
		add_targets(&targets, rule);
		cli_out(cli, "%s: %s\n  because: %s\n  gives: %s\n  from: %s\n", rule->name, rule->desc, rule->why,
			targets.data, rule->origin);
	}
	if (project->rule_count == 0)
		cli_note(cli, "no rule contributes anything here");
}

static int run_list(struct cli *cli, int argc, char **argv, struct err *err)
{
	const struct option options[] = {OPTION_CONFIG_FILE(cli), OPTION_END};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (args.len > 0) {
		err_set(err, ERR_CONFIG, "'mlmake rules' has no command '%s'", args.at[0]);
		return err_hint(err, "'mlmake rules show %s' prints a rule", args.at[0]);
	}
	struct project *project CLEANUP(cli_drop_project) = NULL;
	if (cli_load(cli, &project, err) < 0)
		return -1;
	if (cli->json)
		rules_json(cli, project);
	else
		rules_text(cli, project);
	return 0;
}

static int run_show(struct cli *cli, int argc, char **argv, struct err *err)
{
	const struct option options[] = {OPTION_END};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	char *origin OWNED = NULL;
	if (project_find_root(NULL, &root, err) < 0 || rule_text(root.data, args.at[0], &text, &origin, err) < 0)
		return -1;
	cli_out(cli, "# %s\n", origin);
	cli_out_bytes(cli, text.data, text.len);
	return 0;
}

static const struct command cmd_rules_show = {
	.name = "show",
	.summary = "print a rule",
	.usage = "NAME",
	.help = "Prints the rule as it is, after a comment that says where it is from. Copied to rules/NAME.yaml in "
		"the repository\n"
		"and changed there, it is used instead of the built-in one.\n"
		"\n"
		"  mlmake rules show pytest > rules/pytest.yaml",
	.operands = OPERANDS_RULES,
	.least = 1,
	.most = 1,
	.wants = "the name of one rule",
	.wants_hint = "'mlmake rules' lists those that matched",
	.run = run_show,
};

static const struct command *const subcommands[] = {&cmd_rules_show, NULL};

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	if (argc > 1 && text_eq(argv[1], cmd_rules_show.name))
		return cli_dispatch(cli, subcommands, argc, argv, err);
	return run_list(cli, argc, argv, err);
}

const struct command cmd_rules = {
	.name = "rules",
	.summary = "show which rules matched and why",
	.usage = "[show NAME]",
	.help = "A rule infers targets from what lies in the repository. Shows those that contribute something here.\n"
		"\n"
		"  mlmake rules\n"
		"  mlmake rules show pytest",
	.has_json = true,
	.most = MANY,
	.run = run,
	.subcommands = subcommands,
};
