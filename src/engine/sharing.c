/* A run and the results of others: asked for before a target runs, offered after one did. */
#include "engine/run.h"

#include "engine/cache.h"
#include "engine/share_policy.h"
#include "engine/share_store.h"

#include <stdlib.h>
#include <string.h>

#define WAIT_MS 100

static void on_warning(void *ctx, const char *message)
{
	run_warn(ctx, NULL, "%s", message);
}

static void say(struct run *run, const struct share_decision *decision)
{
	OWNED char *text = mem_printf("results are read from the remote '%s', and %swritten there: %s", run->sharing.remote,
				      decision->push ? "" : "not ", decision->why);
	struct run_event event = { .kind = RUN_NOTE, .message = text };
	run_emit(run, &event);
}

void sharing_begin(struct run *run)
{
	const char *name = share_remote_name(run->project);
	struct share_decision decision;
	if (!name || !run->cache)
		return;
	run->sharing.remote = name;
	share_decide(run->project->cache.push, run->options->cache_push, &decision);
	run->sharing.push = decision.push;
	if (decision.refused)
		run_warn(run, NULL, "results are not shared on the remote '%s': %s", name, decision.why);
	if (run->options->explain)
		say(run, &decision);
	free(decision.why);
}

/* On first use: what is up to date needs no remote. NULL if there is none, which was told. */
static struct share *open_share(struct run *run)
{
	struct sharing *sharing = &run->sharing;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct share_setup setup = { .cache = run->cache, .remote = &sharing->where.spec, .timeout_ms = run->project->cache.timeout_ms };
	const struct share_sink sink = { .warn = on_warning, .ctx = run };
	if (sharing->tried || !sharing->remote)
		return sharing->share;
	sharing->tried = true;
	if (share_remote_find(run->project, &sharing->where, &err) < 0 || cache_limit(&setup.max_bytes, &err) < 0 || share_open(&setup, run->loop, &sink, &sharing->share, &err) < 0) {
		sharing->share = NULL;
		run_warn(run, NULL, "results are not shared: %s%s%s", err.message, err.hint ? "; " : "", err.hint ? err.hint : "");
	}
	return sharing->share;
}

static bool is_shared(const struct run *run, const struct target *target, const struct fingerprint *fp)
{
	return run->sharing.remote && target->cache == CACHE_ON && check_uses_cache(run, target) && (fp->has_inputs || target->outputs.len);
}

static bool is_known_here(struct run *run, struct fingerprint *fp)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct action action;
	bool found;
	if (outputs_find(run->cache, fingerprint_key(fp), &action, &found, &ignored) < 0)
		return false;
	if (found)
		action_release(&action);
	return found;
}

/* -n */
static void foresee(struct run *run, struct node *node, const struct action *action)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct manifest manifest;
	check_result(run, node->target, &action->manifest, &run->results[node->target->id]);
	manifest_copy(&action->manifest, &manifest);
	if (check_foresee(run, node->target, &manifest, &err) < 0)
		run_fail(run, &err);
	manifest_release(&manifest);
}

static void on_answer(void *ctx, bool found, const struct action *action)
{
	struct node *node = ctx;
	struct run *run = node->asked_by;
	run->sharing.asking--;
	node->shared = found;
	if (found && run->options->dry_run)
		foresee(run, node, action);
	run_undecide(run, node);
}

bool sharing_ask(struct run *run, struct node *node)
{
	const struct target *target = node->target;
	if (node->asked_by || run->options->force || run->options->touch || run->options->stop_at_first || !is_shared(run, target, &run->fp) ||
	    check_always_runs(run, target, &run->fp) || is_known_here(run, &run->fp) || !open_share(run))
		return false;
	struct string_list paths = check_paths(target);
	bool asked = share_ask(run->sharing.share, fingerprint_key(&run->fp), paths.at, paths.len, run->options->dry_run, on_answer, node);
	free(paths.at);
	node->asked_by = asked ? run : NULL;
	run->sharing.asking += asked;
	return asked;
}

void sharing_offer(struct run *run, const struct target *target, const struct action *action)
{
	/* What was accepted as it is was not made from what its key says. */
	if (run->sharing.push && !run->options->touch && target->cache == CACHE_ON && open_share(run))
		share_offer(run->sharing.share, run->project->root, target->name, action);
}

void sharing_offer_current(struct run *run, const struct target *target, struct fingerprint *fp, const struct record *record)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct action action;
	bool found;
	if (!run->options->cache_push || !run->sharing.push || !is_shared(run, target, fp) ||
	    outputs_find(run->cache, fingerprint_key(fp), &action, &found, &ignored) < 0 || !found)
		return;
	if (manifest_same(&action.manifest, &record->outputs))
		sharing_offer(run, target, &action);
	action_release(&action);
}

int sharing_finish(struct run *run, struct err *err)
{
	struct share *share = run->sharing.share;
	size_t pending;
	if (!share)
		return 0;
	while ((pending = share_pending(share)) > 0) {
		OWNED char *text = mem_printf("sharing %zu result%s on the remote '%s'", pending, pending == 1 ? "" : "s", run->sharing.remote);
		struct run_event event = { .kind = RUN_SHARING, .message = text };
		if (run->summary->signal_number)
			share_stop_sending(share);
		run_emit(run, &event);
		if (loop_step(run->loop, WAIT_MS, err) < 0)
			return -1;
	}
	/* What the threads have said last. */
	return loop_step(run->loop, 0, err);
}

void sharing_end(struct run *run)
{
	if (run->sharing.share)
		share_count(run->sharing.share, &run->summary->shared);
	share_close(run->sharing.share);
	run->sharing.share = NULL;
	share_remote_release(&run->sharing.where);
}
