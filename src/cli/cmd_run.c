/* mlmake run, and what `mlmake TARGET...` means. */
#include "cli/commands.h"

#include "base/jobserver.h"
#include "base/text.h"
#include "cli/shortcut.h"
#include "cli/show_run.h"
#include "cli/trace.h"
#include "cli/watch_run.h"
#include "engine/since.h"

#include <stdlib.h>
#include <string.h>

#define TICK_MS 200

struct request {
	bool keep_going, dry_run, question, force, why, no_cache, cache_push, replay, touch, watch;
	unsigned jobs;
	double max_load;
	struct watcher *watcher;     /* NULL: no --watch */
	struct jobserver *jobserver; /* of a make above us; NULL: none */
	const char *trace, *since;
	VEC(const char *) names;
	VEC(const char *) overrides;
	VEC(const char *) args;
};

static void release_request(struct request *request)
{
	vec_release(&request->names);
	vec_release(&request->overrides);
	vec_release(&request->args);
	jobserver_free(request->jobserver);
}

static bool is_override(const char *word)
{
	return word[0] != '=' && strchr(word, '=') != NULL;
}

/* As cli_parse. */
static int parse(struct cli *cli, int argc, char **argv, struct request *ret, struct err *err)
{
	struct args args;
	const struct option options[] = {
		{ 'j', "jobs", "N", "run up to N targets at once (default: one a processor, and one more)", OPTION_UINT, &ret->jobs },
		{ 'l', "load-average", "LOAD", "start nothing new beside others while the load average is above LOAD", OPTION_DECIMAL, &ret->max_load },
		{ 'k', "keep-going", NULL, "after a failure go on with what does not need the failed target", OPTION_FLAG, &ret->keep_going },
		{ 'n', "dry-run", NULL, "say what would run and why; run nothing", OPTION_FLAG, &ret->dry_run },
		{ 'q', "question", NULL, "run and print nothing; exit 1 if anything would run", OPTION_FLAG, &ret->question },
		{ 0, "since", "REV", "of the named targets, those that a change since REV affects (also REV..., A..B)", OPTION_STRING, &ret->since },
		{ 0, "watch", NULL, "run again whenever what was read changes, until Ctrl-C", OPTION_FLAG, &ret->watch },
		{ 'B', "force", NULL, "run the targets and all that they need, whatever is up to date", OPTION_FLAG, &ret->force },
		{ 0, "touch", NULL, "run nothing: record the outputs as they are as up to date", OPTION_FLAG, &ret->touch },
		{ 0, "why", NULL, "say of each target why it runs", OPTION_FLAG, &ret->why },
		{ 'v', "verbose", NULL, "the same, and name the targets that are up to date", OPTION_FLAG, &cli->verbose },
		{ 0, "no-cache", NULL, "neither take outputs from the output cache nor keep them there", OPTION_FLAG, &ret->no_cache },
		{ 0, "cache-push", NULL, "share the results on the remote that 'cache:' names, wherever this runs", OPTION_FLAG, &ret->cache_push },
		{ 0, "replay", NULL, "print what up-to-date and restored targets printed when they ran", OPTION_FLAG, &ret->replay },
		{ 0, "trace", "FILE", "write a timeline of the run, for ui.perfetto.dev", OPTION_STRING, &ret->trace },
		OPTION_CONFIG_FILE(cli),
		OPTION_END,
	};
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	for (size_t i = 0; i < args.len; i++) {
		if (is_override(args.at[i]))
			vec_push(&ret->overrides, args.at[i]);
		else
			vec_push(&ret->names, args.at[i]);
	}
	for (size_t i = 0; i < args.after_len; i++)
		vec_push(&ret->args, args.after[i]);
	return go_on;
}

/* A word that is no target may be a misspelt command. */
static int add_command_hint(const struct project *project, const struct request *request, struct err *err)
{
	VEC(const char *) names = { 0 };
	for (size_t i = 0; all_commands[i]; i++)
		vec_push(&names, all_commands[i]->name);
	for (size_t i = 0; i < request->names.len; i++) {
		const char *word = request->names.at[i];
		const char *near = project_find(project, word) ? NULL : text_nearest(word, names.at, names.len);
		if (near && (!err->hint || !strstr(err->hint, "did you mean"))) {
			err_hint(err, "did you mean 'mlmake %s'?", near);
			break;
		}
	}
	vec_release(&names);
	return -1;
}

static char *joined(const char *first, const char *const *words, size_t count)
{
	struct buf text = BUF_INIT;
	buf_addstr(&text, first);
	for (size_t i = 0; i < count; i++) {
		if (text.len)
			buf_addch(&text, ' ');
		buf_addstr(&text, words[i]);
	}
	return buf_detach(&text);
}

/* What stands before and behind a target's name when it is run again as now. */
static void add_again(struct buf *before, struct buf *behind, const struct cli *cli, const struct request *request)
{
	buf_addstr(before, "mlmake");
	if (cli->config_file) {
		buf_addstr(before, " -f ");
		text_add_shell_quoted(before, cli->config_file);
	}
	for (size_t i = 0; i < request->overrides.len; i++) {
		buf_addch(before, ' ');
		text_add_shell_quoted(before, request->overrides.at[i]);
	}
	for (size_t i = 0; i < request->args.len; i++) {
		buf_addstr(behind, i ? " " : " -- ");
		text_add_shell_quoted(behind, request->args.at[i]);
	}
}

static int exit_code_of(const struct request *request, const struct run_summary *summary)
{
	if (summary->signal_number)
		return 128 + summary->signal_number;
	if (request->question)
		return summary->would_run ? ERR_FAILED : 0;
	return summary->failed || summary->skipped ? ERR_FAILED : 0;
}

static int run_plan(struct cli *cli, const struct project *project, const struct plan *plan, const struct request *request,
		    struct shortcut *shortcut, struct err *err)
{
	OWNED char *wanted = joined("", request->names.at, request->names.len);
	OWNED char *command = joined("mlmake", request->names.at, request->names.len);
	struct buf again CLEANUP(buf_release) = BUF_INIT, args CLEANUP(buf_release) = BUF_INIT;
	struct show show CLEANUP(show_release);
	struct run_summary summary;
	const struct run_options options = {
		.jobs = request->jobs,
		.jobserver = request->jobserver,
		.max_load = request->max_load,
		.keep_going = request->keep_going,
		.force = request->force,
		.dry_run = request->dry_run || request->question,
		.stop_at_first = request->question,
		.no_cache = request->no_cache,
		.cache_push = request->cache_push,
		.touch = request->touch,
		.explain = request->why || cli->verbose || request->dry_run || cli->json,
		.eta = cli->terminal || cli->json,
		.tick_ms = cli->terminal && !cli->json ? TICK_MS : 0,
		.command = command,
		.doubts = request->watcher ? NULL : shortcut_doubts(shortcut, project, plan),
		.changes = request->watcher ? &request->watcher->changes : NULL,
		.args = { .at = request->args.at, .len = request->args.len },
	};
	show_begin(&show, cli, project, wanted);
	add_again(&again, &args, cli, request);
	show.again = again.data;
	show.args = args.data;
	show.args_target = args.len && plan->requested_len ? &project->targets[plan->requested[plan->requested_len - 1]] : NULL;
	show.silent = request->question;
	show.replay = request->replay ? plan : NULL;
	show.touch = request->touch;
	show.explain = request->why || cli->verbose;
	if (request->watcher)
		watcher_show(request->watcher, &show);
	struct trace trace CLEANUP(trace_release);
	const struct run_sink sink = { .event = show_event, .ctx = &show };
	trace_begin(&trace, &sink);
	const struct run_sink traced = { .event = trace_event, .ctx = &trace };
	if (engine_run(project, plan, &options, request->trace ? &traced : &sink, &summary, err) < 0)
		return -1;
	if (request->trace && trace_write(&trace, request->trace, err) < 0)
		return -1;
	if (request->watcher)
		watcher_ended(request->watcher, &show, &summary);
	else
		shortcut_keep(shortcut, wanted, &summary);
	show_end(&show, &summary);
	return exit_code_of(request, &summary);
}

static void show_shortcut(struct cli *cli, const struct shortcut *shortcut, const struct request *request)
{
	struct show show CLEANUP(show_release);
	const struct run_summary summary = { .up_to_date = shortcut->up_to_date };
	show_begin(&show, cli, NULL, shortcut->wanted);
	show.silent = request->question;
	show_end(&show, &summary);
}

static void add_affected(const struct project *project, const struct since *since, const struct target *target, struct map *chosen)
{
	if (!since->because[target->id] || map_has(chosen, target->name))
		return;
	/* An alias stands for what it needs, and not all of that is affected. */
	for (size_t i = 0; target->is_alias && i < target->needs.len; i++)
		add_affected(project, since, &project->targets[target->needs.at[i]], chosen);
	if (!target->is_alias)
		map_set(chosen, target->name, (void *)(uintptr_t)target->name);
}

/* --since: of what was named, what is affected. */
static int restrict_names(struct cli *cli, const struct project *project, const struct project_options *load, struct request *request,
			  struct err *err)
{
	struct since since CLEANUP(since_release) = { 0 };
	struct map chosen CLEANUP(map_release) = MAP_INIT;
	struct string_list names = { 0 };
	int failed = project_select(project, request->names.at, request->names.len, &names, err);
	if (failed)
		add_command_hint(project, request, err);
	else
		failed = engine_since(project, load, request->since, &since, err);
	for (size_t i = 0; i < names.len && !failed; i++)
		add_affected(project, &since, project_find(project, names.at[i]), &chosen);
	free(names.at);
	request->names.len = 0;
	for (size_t i = 0; i < chosen.len; i++) {
		const char *name = chosen.entries[i].value;
		vec_push(&request->names, name);
		if (!cli->json && (request->why || cli->verbose || request->dry_run))
			cli_note(cli, "%s is affected: %s", name, since.because[project_find(project, name)->id]);
	}
	return failed;
}

static struct project_options load_options(const struct cli *cli, const struct request *request)
{
	return (struct project_options){
		.config_file = cli->config_file,
		.provider = cli->provider,
		.overrides = { .at = request->overrides.at, .len = request->overrides.len },
	};
}

static int run_request(struct cli *cli, struct request *request, struct shortcut *shortcut, struct err *err)
{
	struct project *project CLEANUP(cli_drop_project) = NULL;
	struct plan plan CLEANUP(plan_release) = { 0 };
	const struct project_options load = load_options(cli, request);
	if (project_load(&load, &project, err) < 0) {
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		/* Until it is mended. */
		return request->watcher && watcher_follow(request->watcher, NULL, NULL, &ignored) < 0 ? err_move(err, &ignored) : -1;
	}
	if (!request->names.len && project->default_target)
		vec_push(&request->names, project->default_target);
	if (!request->names.len && request->args.len) {
		err_set(err, ERR_CONFIG, "no target is named that could be given '%s'", request->args.at[0]);
		return err_hint(err, "name it before the '--': mlmake test -- -k slow");
	}
	if (!request->names.len && request->watcher) {
		err_set(err, ERR_CONFIG, "--watch wants a target");
		return err_hint(err, "mlmake --watch test; 'mlmake list' shows what there is");
	}
	if (!request->names.len) {
		char *list[] = { (char *)(uintptr_t)"list", (char *)(uintptr_t)"--since", (char *)(uintptr_t)request->since, NULL };
		return cmd_list.run(cli, request->since ? 3 : 1, list, err);
	}
	if (request->since && restrict_names(cli, project, &load, request, err) < 0)
		return -1;
	if (!request->names.len) {
		cli_note(cli, "nothing of it is affected by what changed since %s", request->since);
		return 0;
	}
	if (plan_make(project, request->names.at, request->names.len, &plan, err) < 0)
		return add_command_hint(project, request, err);
	if (request->watcher && watcher_follow(request->watcher, project, &plan, err) < 0)
		return -1;
	int code = run_plan(cli, project, &plan, request, shortcut, err);
	if (request->watcher)
		watcher_keep(request->watcher, &project, &plan);
	return code;
}

static void tell_warning(void *ctx, const struct run_event *event)
{
	if (event->kind == RUN_WARNING)
		cli_warn(ctx, "%s", event->message);
}

/* What the next run would find, found while all is at hand. It takes nothing from the run before whatever goes wrong here. */
static void look_again(struct cli *cli, struct request *request, struct shortcut *shortcut)
{
	struct project *project CLEANUP(cli_drop_project) = NULL;
	struct plan plan CLEANUP(plan_release) = { 0 };
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	const struct project_options load = load_options(cli, request);
	const struct run_options options = {
		.jobs = 1,
		.look_only = true,
		.no_cache = request->no_cache,
		.args = { .at = request->args.at, .len = request->args.len },
	};
	const struct run_sink sink = { .event = tell_warning, .ctx = cli };
	struct run_summary summary;
	if (project_load(&load, &project, &ignored) < 0)
		return;
	if (!request->names.len && project->default_target)
		vec_push(&request->names, project->default_target);
	OWNED char *wanted = joined("", request->names.at, request->names.len);
	if (plan_make(project, request->names.at, request->names.len, &plan, &ignored) == 0 &&
	    engine_run(project, &plan, &options, &sink, &summary, &ignored) == 0)
		shortcut_keep(shortcut, wanted, &summary);
}

static int answer_request(struct cli *cli, struct request *request, struct err *err)
{
	struct shortcut shortcut CLEANUP(shortcut_release) = SHORTCUT_INIT;
	const struct string_list names = { .at = request->names.at, .len = request->names.len };
	const struct string_list overrides = { .at = request->overrides.at, .len = request->overrides.len };
	const struct string_list args = { .at = request->args.at, .len = request->args.len };
	const struct shortcut_request wanted = {
		.names = &names,
		.overrides = &overrides,
		.args = &args,
		.dry_run = request->dry_run || request->question,
		/* These say something of single targets, which the snapshot does not know. */
		.long_way = cli->json || cli->verbose || request->replay || request->trace || request->cache_push,
	};
	if (!request->force && !request->since)
		shortcut_begin(&shortcut, cli, &wanted);
	if (shortcut.found) {
		show_shortcut(cli, &shortcut, request);
		return 0;
	}
	size_t named = request->names.len;
	int code = run_request(cli, request, &shortcut, err);
	request->names.len = named;
	if (code == 0 && shortcut_again(&shortcut))
		look_again(cli, request, &shortcut);
	return code;
}

struct watched_request {
	struct cli *cli;
	struct request *request;
	size_t named; /* on the command line: the default target may change */
};

static int run_watched(void *ctx, struct err *err)
{
	const struct watched_request *watched = ctx;
	struct shortcut none CLEANUP(shortcut_release) = SHORTCUT_INIT;
	watched->request->names.len = watched->named;
	int code = run_request(watched->cli, watched->request, &none, err);
	/* All that was asked for is run once; after that what changed is. */
	watched->request->force = false;
	return code;
}

static int watch(struct cli *cli, struct request *request, struct err *err)
{
	struct watcher watcher CLEANUP(watcher_release) = { .cli = cli };
	struct watched_request watched = { cli, request, request->names.len };
	const struct project_options load = load_options(cli, request);
	if (request->dry_run || request->question || request->touch || request->since) {
		err_set(err, ERR_CONFIG, "--watch runs what it is given: it goes with none of -n, -q, --touch and --since");
		return err_hint(err, "mlmake --watch test");
	}
	if (watcher_begin(&watcher, cli, &load, err) < 0)
		return -1;
	request->watcher = &watcher;
	return watcher_loop(&watcher, run_watched, &watched, err);
}

/* As in make: a -j of one's own leaves the one above. */
static void join_jobserver(struct cli *cli, struct request *request)
{
	const char *why_not = NULL;
	if (!request->jobs)
		jobserver_join(getenv("MAKEFLAGS"), &request->jobserver, &why_not);
	if (!why_not)
		return;
	cli_warn(cli, "one target at a time: the jobserver of the make above cannot be used: %s", why_not);
	request->jobs = 1;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct request request CLEANUP(release_request) = { 0 };
	int go_on = parse(cli, argc, argv, &request, err);
	if (go_on <= 0)
		return go_on;
	join_jobserver(cli, &request);
	return request.watch ? watch(cli, &request, err) : answer_request(cli, &request, err);
}

const struct command cmd_run = {
	.name = "run",
	.summary = "run targets and what they need",
	.usage = "[OPTIONS] [TARGET...] [KEY=VALUE...] [-- ARGS]",
	.help = "Runs what is not up to date: targets whose command, inputs, parameters, environment or tools changed since their last\n"
		"success, or whose outputs are not as they left them. 'run' may be left out. Without a target: the one that 'default:' in\n"
		"mlmake.yaml names, else a list. ARGS are given to the last target's command and count for its key.\n"
		"\n"
		"  mlmake test\n"
		"  mlmake -n train             what would run, and why\n"
		"  mlmake test -- -k slow      arguments for the command\n"
		"  mlmake train vars.lr=0.1    a value of mlmake.yaml for this run\n"
		"  mlmake -j8 -l 6 all         eight at once, none beside others above that load\n"
		"  mlmake --touch train        its outputs are right as they are: do not run it for that change\n"
		"  mlmake --watch test         again at each change, until Ctrl-C\n"
		"  mlmake --since main test    if what changed since main affects it\n"
		"  mlmake 'test*' lint         all targets whose names match\n"
		"  mlmake --replay test        what it printed, also if it need not run",
	.operands = OPERANDS_TARGETS,
	.has_json = true,
	.most = MANY,
	.takes_after = true,
	.run = run,
};
