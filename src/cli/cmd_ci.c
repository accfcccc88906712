#include "cli/ci_wiring.h"
#include "cli/cli.h"
#include "cli/commands.h"

#include "features/ci/ci.h"
#include "formats/json.h"

static const char *state_name(enum ci_state state)
{
	static const char *const names[] = {
		[CI_CURRENT] = "current", [CI_MISSING] = "missing", [CI_STALE] = "stale",
		[CI_EDITED] = "edited",	  [CI_FOREIGN] = "foreign",
	};
	return names[state];
}

static void add_strings(struct json_writer *w, const char *key, const struct strlist *list)
{
	json_key(w, key);
	json_open_array(w);
	for (size_t i = 0; i < list->len; i++)
		json_put_str(w, list->at[i]);
	json_close(w);
}

static void print_json(struct cli *cli, const struct ci_report *report)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_str(&w, "path", report->path);
	json_pair_str(&w, "check", report->gate);
	json_pair_str(&w, "state", state_name(report->state));
	json_pair_bool(&w, "written", report->written);
	json_pair_str(&w, "diff", report->diff.data);
	add_strings(&w, "orphans", &report->orphans);
	add_strings(&w, "removed", &report->removed);
	add_strings(&w, "notes", &report->notes);
	json_end(&w);
	cli_out_bytes(cli, out.data, out.len);
}

static int open_project(struct cli *cli, struct project **ret, struct buf *ret_top, struct ci_request *ret_request, struct err *err)
{
	if (cli_load(cli, ret, err) < 0)
		return -1;
	ci_wiring_top((*ret)->root, ret_top);
	*ret_request = (struct ci_request){ .project = *ret, .repo_root = ret_top->data };
	return 0;
}

static int run_generate(struct cli *cli, int argc, char **argv, struct err *err)
{
	bool force = false;
	const struct option options[] = {
		{ 0, "force", NULL, "overwrite a workflow that was edited by hand, or that mlmake did not generate", OPTION_FLAG, &force },
		OPTION_CONFIG_FILE(cli),
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct project *project CLEANUP(cli_drop_project) = NULL;
	struct buf top CLEANUP(buf_release) = BUF_INIT;
	struct ci_request request;
	struct ci_report report CLEANUP(ci_report_release) = CI_REPORT_INIT;
	if (open_project(cli, &project, &top, &request, err) < 0 ||
	    ci_generate(&request, force, &report, err) < 0)
		return -1;
	if (cli->json) {
		print_json(cli, &report);
		return 0;
	}
	if (report.written)
		cli_out(cli, "%s\n", report.path);
	else
		cli_note(cli, "%s is up to date", report.path);
	for (size_t i = 0; i < report.removed.len; i++)
		cli_note(cli, "removed %s, which was generated under another ci.path", report.removed.at[i]);
	for (size_t i = 0; i < report.notes.len; i++)
		cli_note(cli, "note: %s", report.notes.at[i]);
	if (report.written && report.state == CI_MISSING)
		cli_note(cli, "require the check '%s' in the branch protection rules; docs/ci.md lists the variables and secrets",
			 report.gate);
	return 0;
}

static int run_check(struct cli *cli, int argc, char **argv, struct err *err)
{
	const struct option options[] = { OPTION_CONFIG_FILE(cli), OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct project *project CLEANUP(cli_drop_project) = NULL;
	struct buf top CLEANUP(buf_release) = BUF_INIT;
	struct ci_request request;
	struct ci_report report CLEANUP(ci_report_release) = CI_REPORT_INIT;
	if (open_project(cli, &project, &top, &request, err) < 0 ||
	    ci_check(&request, &report, err) < 0)
		return -1;
	bool fine = report.state == CI_CURRENT && !report.orphans.len;
	if (cli->json) {
		print_json(cli, &report);
		return fine ? 0 : ERR_FAILED;
	}
	cli_out_bytes(cli, report.diff.data, report.diff.len);
	if (fine) {
		cli_note(cli, "%s is up to date", report.path);
		return 0;
	}
	if (report.state != CI_CURRENT)
		err_set(err, ERR_FAILED, "%s", report.why);
	else
		err_set(err, ERR_FAILED, "%s was generated under another ci.path", report.orphans.at[0]);
	bool guarded = report.state == CI_EDITED || report.state == CI_FOREIGN;
	return err_hint(err, "run: mlmake ci generate%s", guarded ? " --force" : "");
}

static const struct command generate = {
	.name = "generate",
	.summary = "write the workflow of this project to .github/workflows",
	.usage = "[--force]",
	.help = "Makes one GitHub Actions workflow from the target graph: a job for each of lint, typecheck, test and\n"
		"build that there is (or for those that ci.targets names), in the order that their needs ask for, and\n"
		"a job 'mlmake' over all of them to require in branch protection. The same project gives the same\n"
		"bytes. A workflow that was edited by hand is not overwritten without --force.\n"
		"\n"
		"Examples:\n"
		"  mlmake ci generate\n"
		"  mlmake ci generate --force      take back what was edited by hand\n",
	.has_json = true,
	.wants_hint = "the workflow is made from all targets that ci.targets names, or from lint, typecheck, test and build",
	.run = run_generate,
};

static const struct command check = {
	.name = "check",
	.summary = "compare the workflow with what would be generated",
	.usage = "",
	.help = "Writes nothing. Prints the difference and exits 1 when the workflow is missing, stale or edited.\n"
		"\n"
		"Examples:\n"
		"  mlmake ci check\n"
		"  mlmake ci check | patch -p1     the same as `mlmake ci generate --force`\n",
	.has_json = true,
	.wants_hint = "the workflow is made from all targets that ci.targets names, or from lint, typecheck, test and build",
	.run = run_check,
};

static const struct command *const subcommands[] = { &generate, &check, NULL };

const struct command cmd_ci = {
	.name = "ci",
	.summary = "generate the CI workflow from the targets, and check it",
	.usage = "COMMAND",
	.help = "The workflow runs what `mlmake` runs here, so CI cannot drift from it. docs/ci.md describes it.\n"
		"\n"
		"Examples:\n"
		"  mlmake ci generate\n"
		"  mlmake ci check\n",
	.subcommands = subcommands,
};
