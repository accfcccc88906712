/* Targets that need no look: nothing that they depend on changed since they were found up to date (doubts.h). */
#include "engine/run.h"

#include "engine/doubts.h"

#include <stdlib.h>

bool belief_holds(const struct run *run, const struct target *target)
{
	return run->wanted && !run->options->doubts->in_doubt[target->id];
}

bool belief_wants(const struct run *run, const struct target *target)
{
	return !run->wanted || run->wanted[target->id];
}

/* The results that somebody's key holds: an alias hands the question on. */
static void find_wanted(struct run *run)
{
	for (size_t i = run->plan->len; i-- > 0;) {
		const struct target *target = run->nodes[run->plan->order[i]].target;
		bool asks = run_is_nothing(target) ? run->wanted[target->id] : !belief_holds(run, target);
		for (size_t k = 0; asks && k < target->needs.len; k++)
			run->wanted[target->needs.at[k]] = true;
	}
}

static bool load_result(struct run *run, const struct target *target)
{
	if (run_is_nothing(target)) {
		check_result(run, target, &(struct manifest){ 0 }, &run->results[target->id]);
		return true;
	}
	record_load(&run->record, run->state, target->name);
	run->results[target->id] = run->record.result;
	return run->record.exists;
}

void belief_begin(struct run *run)
{
	const struct run_doubts *doubts = run->options->doubts;
	/* What others have written since the question was asked may be of any target. */
	if (!doubts || run->options->force || run->options->touch || state_seen(run->state) != doubts->transaction)
		return;
	run->wanted = mem_alloc((run->project->target_count + 1) * sizeof(*run->wanted));
	find_wanted(run);
	for (size_t i = 0; i < run->plan->len; i++) {
		const struct target *target = run->nodes[run->plan->order[i]].target;
		if (!run->wanted[target->id] || !belief_holds(run, target) || load_result(run, target))
			continue;
		/* A damaged record. */
		belief_end(run);
		return;
	}
	if (state_seen(run->state) != doubts->transaction)
		belief_end(run);
	run->summary->believed = run->wanted != NULL;
}

void belief_end(struct run *run)
{
	free(run->wanted);
	run->wanted = NULL;
}
