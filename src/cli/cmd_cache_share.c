/* mlmake cache push and pull, and what `mlmake cache status` and `gc` say and do of the remote. */
#include "cli/cmd_cache.h"

#include "base/text.h"
#include "cli/show_run.h"
#include "engine/share_policy.h"
#include "formats/json.h"

#include <stdlib.h>

int cache_remote(struct cli *cli, struct project **ret_project, struct share_remote *ret, struct err *err)
{
	*ret = (struct share_remote){ .name = NULL };
	if (cli_load(cli, ret_project, err) < 0 || share_remote_find(*ret_project, ret, err) < 0)
		return -1;
	if (ret->name)
		return 0;
	err_set(err, ERR_CONFIG, "results are not shared: mlmake.yaml names no remote for them");
	return err_hint(err, "write 'cache: {remote: NAME}'; 'mlmake data remote list' shows the remotes there are");
}

void cache_add_sharing_json(struct json_writer *w, const struct project *project, const struct share_remote *remote,
			    const struct share_usage *usage)
{
	struct share_decision decision;
	share_decide(project->cache.push, false, &decision);
	json_key(w, "remote");
	json_open_object(w);
	json_pair_str(w, "name", remote->name);
	json_pair_str(w, "url", remote->spec.url);
	json_pair_bool(w, "push", decision.push);
	json_pair_str(w, "why", decision.why);
	if (usage) {
		json_pair_uint(w, "results", usage->results);
		json_pair_uint(w, "objects", usage->objects);
		json_pair_uint(w, "bytes", usage->bytes);
	}
	json_close(w);
	free(decision.why);
}

void cache_add_sharing(struct buf *out, const struct project *project, const struct share_remote *remote, const struct share_usage *usage)
{
	struct share_decision decision;
	share_decide(project->cache.push, false, &decision);
	buf_addf(out, "shared on the remote '%s' (%s): read, and %swritten: %s\n", remote->name, remote->spec.url, decision.push ? "" : "not ",
		 decision.why);
	free(decision.why);
	if (!usage)
		return;
	text_add_bytes(out, usage->bytes);
	buf_addstr(out, ": ");
	text_add_count(out, usage->results);
	buf_addstr(out, " results, ");
	text_add_count(out, usage->objects);
	buf_addf(out, " files, on the remote '%s'\n", remote->name);
}

static bool on_collecting(void *ctx, size_t items_done, uint64_t bytes_done)
{
	cli_progress(ctx, "collecting", items_done, 0, bytes_done);
	return true;
}

int cache_gc_remote(struct cli *cli, const char *older_than, bool dry_run, struct err *err)
{
	struct project *project CLEANUP(cli_drop_project) = NULL;
	struct share_remote remote CLEANUP(share_remote_release);
	struct share_gc_result result;
	uint64_t ms = UINT64_C(30) * 24 * 3600 * 1000;
	const struct remote_sink sink = { .progress = on_collecting, .ctx = cli };
	if (cache_remote(cli, &project, &remote, err) < 0)
		return -1;
	if (older_than && !text_parse_duration(older_than, &ms)) {
		err_set(err, ERR_CONFIG, "'%s' is no duration", older_than);
		return err_hint(err, "write it as --older-than=30d or 12h");
	}
	const struct share_gc_options options = { .older_than_s = (int64_t)(ms / 1000), .dry_run = dry_run, .sink = &sink };
	int failed = share_gc(&remote, &options, &result, err);
	cli_progress_clear(cli);
	if (failed)
		return -1;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	if (cli->json) {
		struct json_writer w;
		json_begin(&w, &out, JSON_PRETTY);
		json_open_object(&w);
		json_pair_int(&w, "version", 1);
		json_pair_str(&w, "remote", remote.name);
		json_pair_bool(&w, "dry_run", dry_run);
		json_pair_uint(&w, "removed_results", result.removed_results);
		json_pair_uint(&w, "removed_objects", result.removed_objects);
		json_pair_uint(&w, "removed_bytes", result.removed_bytes);
		json_pair_uint(&w, "results", result.kept_results);
		json_pair_uint(&w, "objects", result.kept_objects);
		json_pair_uint(&w, "bytes", result.kept_bytes);
		json_end(&w);
	} else {
		buf_addstr(&out, dry_run ? "would remove " : "removed ");
		text_add_bytes(&out, result.removed_bytes);
		buf_addf(&out, " (%llu results, %llu files) from the remote '%s', ", (unsigned long long)result.removed_results,
			 (unsigned long long)result.removed_objects, remote.name);
		text_add_bytes(&out, result.kept_bytes);
		buf_addstr(&out, " stay\n");
	}
	cli_out_bytes(cli, out.data, out.len);
	return 0;
}

/* push and pull: the words, or all targets whose results can be shared. */
static int plan_words(const struct project *project, const struct args *args, struct plan *ret, struct err *err)
{
	VEC(const char *) names = { 0 };
	for (size_t i = 0; i < args->len; i++)
		vec_push(&names, args->at[i]);
	for (size_t i = 0; i < project->target_count && !args->len; i++) {
		const struct target *target = &project->targets[i];
		if (target->cache == CACHE_ON && target->outputs.len && !target->is_alias)
			vec_push(&names, target->name);
	}
	int failed = plan_make(project, names.at, names.len, ret, err);
	vec_release(&names);
	return failed;
}

struct pushing {
	struct cli *cli;
	const struct project *project;
	const struct plan *plan;
	struct strlist not_made;
};

static void on_push_event(void *ctx, const struct run_event *event)
{
	struct pushing *pushing = ctx;
	if (event->kind == RUN_WARNING)
		cli_warn(pushing->cli, "%s", event->message);
	if (event->kind == RUN_SHARING && pushing->cli->terminal && !pushing->cli->quiet)
		cli_status(pushing->cli, event->message);
	if (event->kind != RUN_FINISHED || event->outcome != RUN_WOULD_RUN)
		return;
	for (size_t i = 0; i < pushing->plan->requested_len; i++)
		if (pushing->plan->requested[i] == event->target->id)
			strlist_add(&pushing->not_made, event->target->name);
}

static void print_pushed(struct cli *cli, const struct share_counts *counts, const struct strlist *not_made, const char *remote)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	cli_progress_clear(cli);
	if (cli->json) {
		struct json_writer w;
		json_begin(&w, &out, JSON_PRETTY);
		json_open_object(&w);
		json_pair_int(&w, "version", 1);
		json_pair_str(&w, "remote", remote);
		json_pair_uint(&w, "pushed", counts->sent);
		json_pair_uint(&w, "bytes", counts->sent_bytes);
		json_pair_uint(&w, "present", counts->present);
		json_pair_uint(&w, "failed", counts->unsent);
		json_key(&w, "not_made");
		json_open_array(&w);
		for (size_t i = 0; i < not_made->len; i++)
			json_put_str(&w, not_made->at[i]);
		json_end(&w);
	} else {
		buf_addf(&out, "pushed %zu result%s (", counts->sent, counts->sent == 1 ? "" : "s");
		text_add_bytes(&out, counts->sent_bytes);
		buf_addf(&out, ") to the remote '%s'", remote);
		if (counts->present)
			buf_addf(&out, ", %zu there already", counts->present);
		if (counts->unsent)
			buf_addf(&out, ", %zu could not be sent", counts->unsent);
		buf_addch(&out, '\n');
		for (size_t i = 0; i < not_made->len; i++)
			cli_note(cli, "not pushed, since it is not up to date: %s", not_made->at[i]);
	}
	cli_out_bytes(cli, out.data, out.len);
}

static int run_push(struct cli *cli, int argc, char **argv, struct err *err)
{
	const struct option options[] = { OPTION_CONFIG_FILE(cli), OPTION_END };
	struct project *project CLEANUP(cli_drop_project) = NULL;
	struct share_remote remote CLEANUP(share_remote_release) = { .name = NULL };
	struct plan plan CLEANUP(plan_release) = { 0 };
	struct share_decision decision;
	struct run_summary summary;
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (cache_remote(cli, &project, &remote, err) < 0 || plan_words(project, &args, &plan, err) < 0)
		return -1;
	share_decide(project->cache.push, true, &decision);
	OWNED char *why = decision.why;
	if (!decision.push)
		return err_set(err, ERR_FAILED, "results are not shared on the remote '%s': %s", remote.name, why);
	struct pushing pushing = { .cli = cli, .project = project, .plan = &plan };
	const struct run_sink sink = { .event = on_push_event, .ctx = &pushing };
	const struct run_options run = { .dry_run = true, .cache_push = true };
	int code = engine_run(project, &plan, &run, &sink, &summary, err);
	if (code == 0) {
		print_pushed(cli, &summary.shared, &pushing.not_made, remote.name);
		code = summary.shared.unsent ? ERR_NET : pushing.not_made.len && args.len ? ERR_FAILED : 0;
	}
	strlist_release(&pushing.not_made);
	return code;
}

static int run_pull(struct cli *cli, int argc, char **argv, struct err *err)
{
	const struct option options[] = {
		{ 'v', "verbose", NULL, "name the targets that are up to date, too", OPTION_FLAG, &cli->verbose },
		OPTION_CONFIG_FILE(cli),
		OPTION_END,
	};
	struct project *project CLEANUP(cli_drop_project) = NULL;
	struct share_remote remote CLEANUP(share_remote_release) = { .name = NULL };
	struct plan plan CLEANUP(plan_release) = { 0 };
	struct show show CLEANUP(show_release) = { .cli = cli };
	struct run_summary summary;
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	show_begin(&show, cli, NULL, "pull");
	if (cache_remote(cli, &project, &remote, err) < 0 || plan_words(project, &args, &plan, err) < 0)
		return -1;
	show.project = project;
	const struct run_sink sink = { .event = show_event, .ctx = &show };
	const struct run_options run = { .restore_only = true, .keep_going = true, .explain = cli->verbose };
	if (engine_run(project, &plan, &run, &sink, &summary, err) < 0)
		return -1;
	show_end(&show, &summary);
	if (summary.signal_number)
		return 128 + summary.signal_number;
	return summary.skipped ? ERR_FAILED : 0;
}

const struct command cmd_cache_push = {
	.name = "push",
	.summary = "share results that are up to date here",
	.usage = "[OPTIONS] [TARGET...]",
	.help = "Puts the results of the targets, and of what they need, on the remote that 'cache:' in mlmake.yaml names, as far as they are up\n"
		"to date and not there yet. Without a target: all that have outputs. Runs nothing.\n"
		"\n"
		"  mlmake cache push train\n"
		"  mlmake train --cache-push     run it, and share it",
	.operands = OPERANDS_TARGETS,
	.most = MANY,
	.has_json = true,
	.run = run_push,
};

const struct command cmd_cache_pull = {
	.name = "pull",
	.summary = "restore results that others have shared",
	.usage = "[OPTIONS] [TARGET...]",
	.help = "Restores the outputs of the targets, and of what they need, from the output cache or the remote that 'cache:' in mlmake.yaml\n"
		"names. Runs nothing: a target whose result is in neither is left as it is, and the exit code is 1.\n"
		"\n"
		"  mlmake cache pull train",
	.operands = OPERANDS_TARGETS,
	.most = MANY,
	.has_json = true,
	.run = run_pull,
};
