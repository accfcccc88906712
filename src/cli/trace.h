/*
 * A run as a timeline: a file in Chrome's trace event format, for ui.perfetto.dev or chrome://tracing. One row for each target that ran at the
 * same time as others.
 *
 *     struct trace trace;
 *     trace_begin(&trace, &sink);                      sink: who gets the events as well
 *     struct run_sink traced = { trace_event, &trace };
 *     engine_run(project, &plan, &options, &traced, &summary, err);
 *     trace_write(&trace, "trace.json", err);
 *     trace_release(&trace);
 *
 * Format: "Trace Event Format", complete events ("ph": "X"), times in microseconds since the beginning of the run.
 */
#ifndef CLI_TRACE_H
#define CLI_TRACE_H

#include "engine/engine.h"
#include "formats/json.h"

struct trace {
	const struct run_sink *next;
	uint64_t began_us;
	struct buf events; /* of JSON, separated by commas */
	struct {
		struct trace_row {
			const struct target *target; /* that is on it now; NULL: free */
			uint64_t since_us;
		} *at;
		size_t len, cap;
	} rows;
};

void trace_begin(struct trace *trace, const struct run_sink *next);
void trace_event(void *ctx, const struct run_event *event);
int trace_write(struct trace *trace, const char *path, struct err *err) MUST_CHECK;
void trace_release(struct trace *trace);

#endif
