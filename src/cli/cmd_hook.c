#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/hook_checks.h"

#include "base/path.h"
#include "base/text.h"
#include "features/hook/hook.h"
#include "formats/json.h"

#include <string.h>

static const char *presence_name(const struct hook_status *status)
{
	static const char *const names[] = { [HOOK_ABSENT] = "absent", [HOOK_OURS] = "installed", [HOOK_OTHER] = "other" };
	return names[status->presence];
}

static void print_status_json(struct cli *cli, const struct hook_status *status, bool changed)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_str(&w, "path", status->path);
	json_pair_str(&w, "state", presence_name(status));
	json_pair_bool(&w, "changed", changed);
	json_pair_str(&w, "kept", status->kept);
	json_pair_str(&w, "program", status->program);
	json_pair_bool(&w, "merge_driver", status->merge_driver);
	json_key(&w, "projects");
	json_open_array(&w);
	for (size_t i = 0; i < status->projects.len; i++)
		json_put_str(&w, status->projects.at[i]);
	json_end(&w);
	cli_out_bytes(cli, out.data, out.len);
}

typedef int change_fn(const char *dir, struct hook_status *ret, bool *ret_changed, struct err *err);

static int look_unchanged(const char *dir, struct hook_status *ret, bool *ret_changed, struct err *err)
{
	*ret_changed = false;
	return hook_look(dir, ret, err);
}

/* Options, then one of install, uninstall and status. Returns as cli_parse does. */
static int change(struct cli *cli, change_fn *fn, int argc, char **argv, struct hook_status *ret, bool *ret_changed, struct err *err)
{
	static const struct option options[] = { OPTION_END };
	struct buf cwd CLEANUP(buf_release) = BUF_INIT;
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (path_cwd(&cwd, err) < 0 || fn(cwd.data, ret, ret_changed, err) < 0)
		return -1;
	if (cli->json)
		print_status_json(cli, ret, *ret_changed);
	return 1;
}

static int run_install(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct hook_status status CLEANUP(hook_status_release) = { 0 };
	bool changed = false;
	int go_on = change(cli, hook_install, argc, argv, &status, &changed, err);
	if (go_on <= 0 || cli->json)
		return go_on < 0 ? go_on : 0;
	cli_note(cli, "%s %s", changed ? "installed" : "already installed:", status.path);
	if (status.kept)
		cli_note(cli, "the hook that was there runs first; it is kept as %s", status.kept);
	if (status.outside)
		cli_warn(cli, "core.hooksPath leads out of this repository: other repositories may run this hook, too");
	return 0;
}

static int run_uninstall(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct hook_status status CLEANUP(hook_status_release) = { 0 };
	bool changed = false;
	int go_on = change(cli, hook_uninstall, argc, argv, &status, &changed, err);
	if (go_on <= 0 || cli->json)
		return go_on < 0 ? go_on : 0;
	if (!changed && status.presence == HOOK_OTHER)
		cli_note(cli, "left alone, because mlmake did not install it: %s", status.path);
	else if (!changed)
		cli_note(cli, "there is no hook to remove");
	else if (status.presence == HOOK_OTHER)
		cli_note(cli, "removed; the hook that was there before is back: %s", status.path);
	else
		cli_note(cli, "removed %s", status.path);
	return 0;
}

static int run_status(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct hook_status status CLEANUP(hook_status_release) = { 0 };
	bool changed = false;
	int go_on = change(cli, look_unchanged, argc, argv, &status, &changed, err);
	if (go_on <= 0)
		return go_on;
	int code = status.presence == HOOK_OURS ? 0 : ERR_FAILED;
	if (cli->json)
		return code;
	if (status.presence == HOOK_ABSENT)
		cli_out(cli, "pre-commit: not installed\n");
	else
		cli_out(cli, "pre-commit: %s: %s\n", status.presence == HOOK_OURS ? "installed" : "not mlmake's", status.path);
	for (size_t i = 0; i < status.projects.len; i++)
		cli_out(cli, "checks: %s\n", status.projects.at[i]);
	if (status.kept)
		cli_out(cli, "runs first: %s\n", status.kept);
	if (status.merge_driver)
		cli_out(cli, "git merges .dvc files member by member\n");
	return code;
}

static void on_progress(void *ctx, const char *doing)
{
	struct cli *cli = ctx;
	OWNED char *verb = mem_printf("checking %s", doing);
	if (cli->terminal)
		cli_progress(cli, verb, 0, 0, 0);
}

static void print_refusal(struct cli *cli, const struct hook_refusal *refusal)
{
	struct err shown CLEANUP(err_release) = ERR_INIT;
	err_set(&shown, ERR_FAILED, "commit refused: %s", refusal->what);
	cli_print_err(cli, &shown);
	fputs(refusal->detail, stderr);
	size_t len = strlen(refusal->detail);
	if (len && refusal->detail[len - 1] != '\n')
		fputc('\n', stderr);
	fprintf(stderr, "hint: %s\n", refusal->mend);
}

static void print_report_json(struct cli *cli, const struct hook_report *report)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_bool(&w, "refused", report->refusals.len > 0);
	json_key(&w, "refusals");
	json_open_array(&w);
	for (size_t i = 0; i < report->refusals.len; i++) {
		json_open_object(&w);
		json_pair_str(&w, "what", report->refusals.at[i].what);
		json_pair_str(&w, "detail", report->refusals.at[i].detail);
		json_pair_str(&w, "mend", report->refusals.at[i].mend);
		json_close(&w);
	}
	json_end(&w);
	cli_out_bytes(cli, out.data, out.len);
}

static int pre_commit(struct cli *cli, struct err *err)
{
	struct hook_request request = {
		.provider = cli->provider,
		.checks = hook_checks,
		.check_count = hook_check_count,
		.check_ctx = cli,
		.progress = on_progress,
		.progress_ctx = cli,
	};
	struct hook_report report CLEANUP(hook_report_release) = { 0 };
	int rc = hook_pre_commit(&request, &report, err);
	cli_progress_clear(cli);
	if (cli->json && rc == 0)
		print_report_json(cli, &report);
	for (size_t i = 0; i < report.refusals.len && !cli->json; i++)
		print_refusal(cli, &report.refusals.at[i]);
	if (report.refusals.len && !cli->json)
		fputs("hint: `git commit --no-verify` commits without these checks\n", stderr);
	if (rc < 0)
		return -1;
	if (report.signal_number)
		return 128 + report.signal_number;
	return report.refusals.len ? ERR_FAILED : 0;
}

static int run_run(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option options[] = { OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (text_eq(args.at[0], "pre-commit"))
		return pre_commit(cli, err);
	err_set(err, ERR_CONFIG, "no hook '%s'", args.at[0]);
	return err_hint(err, "%s", cli->command->wants_hint);
}

static const struct command install = {
	.name = "install",
	.summary = "install the pre-commit hook in this repository",
	.usage = "",
	.help = "Writes the hook to where git looks for it (core.hooksPath and linked worktrees respected). A hook that\n"
		"is there already is kept and runs first. Doing it again brings the hook up to date.\n"
		"git is told to merge .dvc files with mlmake data merge-driver, too: .git/config and .git/info/attributes of this clone.\n"
		"\n"
		"Example:\n"
		"  mlmake hook install\n",
	.has_json = true,
	.wants_hint = "the one hook there is, is pre-commit",
	.run = run_install,
};

static const struct command uninstall = {
	.name = "uninstall",
	.summary = "remove the hook and put back the one that was there before",
	.usage = "",
	.help = "A hook that mlmake did not install is left alone.\n"
		"\n"
		"Example:\n"
		"  mlmake hook uninstall\n",
	.has_json = true,
	.wants_hint = "the one hook there is, is pre-commit",
	.run = run_uninstall,
};

static const struct command status_command = {
	.name = "status",
	.summary = "say whether the hook is installed, and where",
	.usage = "",
	.help = "Exits 0 if it is installed, else 1.\n"
		"\n"
		"Example:\n"
		"  mlmake hook status\n",
	.has_json = true,
	.run = run_status,
};

static const struct command run_command = {
	.name = "run",
	.summary = "do what the hook does, without a commit",
	.usage = "pre-commit",
	.help = "Looks at what is staged, never at the work tree, and exits 1 with the reasons when it should not be\n"
		"committed: lint (and targets with `hook: true`) fails on it, generated workflows are stale, or tracked\n"
		"data is not saved.\n"
		"\n"
		"Examples:\n"
		"  mlmake hook run pre-commit\n"
		"  git commit --no-verify          commit without the checks\n",
	.has_json = true,
	.least = 1,
	.most = 1,
	.wants = "the name of a hook",
	.wants_hint = "the one hook there is, is pre-commit: mlmake hook run pre-commit",
	.takes_after = true,
	.run = run_run,
};

static const struct command *const subcommands[] = { &install, &uninstall, &status_command, &run_command, NULL };

const struct command cmd_hook = {
	.name = "hook",
	.summary = "check commits before they are made",
	.usage = "COMMAND",
	.help = "The pre-commit hook refuses a commit whose staged content fails lint, whose generated workflows are\n"
		"stale, or whose tracked data is not saved. docs/hooks.md describes it.\n"
		"\n"
		"Examples:\n"
		"  mlmake hook install\n"
		"  mlmake hook run pre-commit\n",
	.subcommands = subcommands,
};
