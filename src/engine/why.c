/* Questions about targets that run nothing. */
#include "engine/engine.h"

#include "engine/record.h"

#include <string.h>

struct question {
	const char *name;
	struct strlist *reasons;
};

static void take_reasons(void *ctx, const struct run_event *event)
{
	struct question *question = ctx;
	if (event->kind != RUN_FINISHED || event->outcome != RUN_WOULD_RUN || strcmp(event->target->name, question->name) != 0)
		return;
	for (size_t i = 0; i < event->reason_count; i++)
		strlist_add(question->reasons, event->reasons[i]);
}

int engine_why(const struct project *project, const char *name, struct strlist *ret_reasons, struct err *err)
{
	struct plan plan = { 0 };
	struct question question = { .name = name, .reasons = ret_reasons };
	struct run_options options = { .dry_run = true, .explain = true };
	struct run_sink sink = { .event = take_reasons, .ctx = &question };
	struct run_summary summary;
	if (plan_make(project, &name, 1, &plan, err) < 0)
		return -1;
	int failed = engine_run(project, &plan, &options, &sink, &summary, err);
	plan_release(&plan);
	return failed;
}

int engine_last_run(const struct project *project, const char *name, struct strlist *ret_reasons, uint64_t *ret_finished_at,
		    struct err *err)
{
	struct state *state;
	struct record record = RECORD_INIT;
	*ret_finished_at = 0;
	if (state_open(project->root, &state, err) < 0)
		return -1;
	record_load(&record, state, name);
	if (record.exists) {
		*ret_finished_at = record.finished_at;
		for (size_t i = 0; i < record.reasons.len; i++)
			strlist_add(ret_reasons, record.reasons.at[i]);
	}
	record_release(&record);
	state_close(state);
	return 0;
}
