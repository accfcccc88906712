/* What is to be done about each target, once all that it waits for is done. */
#include "engine/run.h"

#include <stdlib.h>

#define TRIM_EVERY 1024 /* targets */
#define DECIDE_MS 1     /* before it is looked whether something may start, where something is ready */

/* -n: what is not known before it has run. NULL if all is known. */
static const struct target *unknown_before(struct run *run, const struct target *target)
{
	for (size_t i = 0; i < target->needs.len; i++)
		if (run->nodes[target->needs.at[i]].would_run)
			return run->nodes[target->needs.at[i]].target;
	return check_unforeseen(run, target);
}

static void finish_dry(struct run *run, struct node *node, struct strlist *reasons)
{
	struct run_event event = { .outcome = RUN_WOULD_RUN, .reasons = (const char *const *)reasons->at, .reason_count = reasons->len };
	node->would_write = true;
	if (run->options->stop_at_first)
		run->stop = true;
	run_done(run, node, &event);
}

static int would_restore(struct run *run, struct node *node, bool *ret, struct err *err)
{
	struct job probe = { .run = run, .node = node, .fp = run->fp };
	int failed = check_restore(run, &probe, ret, err);
	run->fp = probe.fp;
	return failed;
}

static void finish_at_once(struct run *run, struct node *node, enum run_outcome outcome)
{
	struct run_event event = { .outcome = outcome };
	run_done(run, node, &event);
}

static void decide_checked(struct run *run, struct node *node, struct strlist *reasons)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct hashes_left left = { 0 };
	bool restores;
	bool may_wait = !node->read_ahead && !run->options->dry_run && !run->options->look_only;
	hashes_leave(run->hashes, AHEAD_FROM, may_wait ? &left : NULL);
	enum verdict verdict = check_target(run, node, &run->fp, &run->record, reasons, &err);
	hashes_leave(run->hashes, 0, NULL);
	if (verdict == VERDICT_LATER) {
		ahead_read_inputs(run, node, &left);
		return;
	}
	hashes_left_release(&left);
	if (!run->knows_critical) {
		node->expected = run->record.duration_ms;
		node->was_checked = true;
	}
	switch (verdict) {
	case VERDICT_ERROR:
		run_fail(run, &err);
		return;
	case VERDICT_CURRENT:
		sharing_offer_current(run, node->target, &run->fp, &run->record);
		finish_at_once(run, node, RUN_UP_TO_DATE);
		return;
	case VERDICT_LATER:
	case VERDICT_RUN:
		break;
	}
	if (run->options->look_only) {
		run->summary->would_run++;
		run->stop = true;
		return;
	}
	if (sharing_ask(run, node))
		return;
	if (!run->options->dry_run) {
		run_ready(run, node);
		return;
	}
	if (run->options->touch) {
		restores = false;
	} else if (would_restore(run, node, &restores, &err) < 0) {
		run_fail(run, &err);
		return;
	}
	node->would_run = !restores && !node->shared;
	if (restores)
		strlist_add(reasons, "(its outputs would come from the output cache)");
	else if (node->shared)
		strlist_take(reasons, mem_printf("(its outputs would come from the remote '%s')", run->sharing.remote));
	finish_dry(run, node, reasons);
}

static void decide(struct run *run, struct node *node)
{
	struct strlist reasons = { 0 };
	const struct target *unknown = run->options->dry_run ? unknown_before(run, node->target) : NULL;
	if (node->doomed) {
		finish_at_once(run, node, RUN_SKIPPED);
	} else if (belief_holds(run, node->target)) {
		node->was_checked = true;
		finish_at_once(run, node, RUN_UP_TO_DATE);
	} else if (run_is_nothing(node->target)) {
		node->would_run = unknown != NULL;
		if (belief_wants(run, node->target))
			check_result(run, node->target, &(struct manifest){ 0 }, &run->results[node->target->id]);
		finish_at_once(run, node, RUN_UP_TO_DATE);
	} else if (unknown) {
		node->would_run = true;
		strlist_take(&reasons, mem_printf("'%s' would %s first", unknown->name, run->nodes[unknown->id].would_run ? "run" : "be restored"));
		finish_dry(run, node, &reasons);
	} else {
		decide_checked(run, node, &reasons);
	}
	strlist_release(&reasons);
}

struct placed {
	uint64_t place;
	struct node *node;
};

static int compare_places(const void *a, const void *b)
{
	uint64_t x = ((const struct placed *)a)->place, y = ((const struct placed *)b)->place;
	return (x > y) - (x < y);
}

/* Where nobody sees the order, that in which records lie in the database: each of its pages is looked at once, and can be given back. */
static bool order_by_records(struct run *run)
{
	size_t first = run->next_undecided, count = run->undecided.len - first;
	if (!run->options->look_only || count < RUN_MANY)
		return false;
	struct placed *placed OWNED = mem_alloc(count * sizeof(*placed));
	for (size_t i = 0; i < count; i++) {
		struct node *node = run->undecided.at[first + i];
		placed[i] = (struct placed){ state_key(node->target->name), node };
	}
	qsort(placed, count, sizeof(*placed), compare_places);
	for (size_t i = 0; i < count; i++)
		run->undecided.at[first + i] = placed[i].node;
	return true;
}

/* Enough is known to keep all slots busy for now. */
static bool may_start(const struct run *run, uint64_t since_ms)
{
	return run->ready.len >= run->resources.cpus && loop_now_ms() - since_ms >= DECIDE_MS;
}

bool decide_undecided(struct run *run)
{
	uint64_t since_ms = loop_now_ms();
	bool any = false;
	while (!run->stop && run->next_undecided < run->undecided.len) {
		bool ordered = order_by_records(run);
		for (size_t end = run->undecided.len; !run->stop && run->next_undecided < end;) {
			decide(run, run->undecided.at[run->next_undecided++]);
			any = true;
			if (ordered && run->next_undecided % TRIM_EVERY == 0)
				state_trim(run->state);
			if (run->ready.len && may_start(run, since_ms))
				return true;
		}
	}
	return any;
}
