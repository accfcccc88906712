#include "cli/trace.h"

#include "base/fs.h"
#include "cli/show_run.h"

#include <time.h>

static uint64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void trace_begin(struct trace *trace, const struct run_sink *next)
{
	*trace = (struct trace){ .next = next, .began_us = now_us(), .events = BUF_INIT };
}

void trace_release(struct trace *trace)
{
	buf_release(&trace->events);
	vec_release(&trace->rows);
}

static size_t take_row(struct trace *trace, const struct target *target, uint64_t since)
{
	size_t row = 0;
	while (row < trace->rows.len && trace->rows.at[row].target)
		row++;
	if (row == trace->rows.len)
		vec_push(&trace->rows, (struct trace_row){ NULL, 0 });
	trace->rows.at[row] = (struct trace_row){ target, since };
	return row;
}

static void add_event(struct trace *trace, const struct run_event *event, size_t row, uint64_t since, uint64_t until)
{
	struct json_writer w;
	buf_addstr(&trace->events, trace->events.len ? ",\n" : "");
	json_begin(&w, &trace->events, JSON_COMPACT);
	json_open_object(&w);
	json_pair_str(&w, "name", event->target->name);
	json_pair_str(&w, "cat", show_outcome_name(event->outcome));
	json_pair_str(&w, "ph", "X");
	json_pair_uint(&w, "ts", since - trace->began_us);
	json_pair_uint(&w, "dur", until - since);
	json_pair_int(&w, "pid", 1);
	json_pair_uint(&w, "tid", row + 1);
	json_key(&w, "args");
	json_open_object(&w);
	json_pair_str(&w, "outcome", show_outcome_name(event->outcome));
	if (event->exit_code)
		json_pair_int(&w, "exit_code", event->exit_code);
	json_key(&w, "reasons");
	json_open_array(&w);
	for (size_t i = 0; i < event->reason_count; i++)
		json_put_str(&w, event->reasons[i]);
	json_end(&w);
}

static void take_finished(struct trace *trace, const struct run_event *event)
{
	uint64_t now = now_us();
	for (size_t row = 0; row < trace->rows.len; row++) {
		if (trace->rows.at[row].target != event->target)
			continue;
		add_event(trace, event, row, trace->rows.at[row].since_us, now);
		trace->rows.at[row].target = NULL;
		return;
	}
	if (event->outcome != RUN_RESTORED)
		return;
	/* Nothing was started: it took what the event says. */
	uint64_t took = event->duration_ms * 1000;
	size_t row = take_row(trace, event->target, 0);
	add_event(trace, event, row, now - trace->began_us > took ? now - took : trace->began_us, now);
	trace->rows.at[row].target = NULL;
}

/* Up to here it ran, and for nothing. */
static void take_restarted(struct trace *trace, const struct run_event *event)
{
	struct run_event ended = *event;
	ended.outcome = RUN_INTERRUPTED;
	take_finished(trace, &ended);
}

void trace_event(void *ctx, const struct run_event *event)
{
	struct trace *trace = ctx;
	if (event->kind == RUN_STARTED)
		take_row(trace, event->target, now_us());
	else if (event->kind == RUN_FINISHED)
		take_finished(trace, event);
	else if (event->kind == RUN_RESTARTED)
		take_restarted(trace, event);
	trace->next->event(trace->next->ctx, event);
}

int trace_write(struct trace *trace, const char *path, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	buf_addstr(&text, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n");
	buf_add(&text, trace->events.data, trace->events.len);
	buf_addstr(&text, "\n]}\n");
	if (fs_write_file(path, text.data, text.len, 0666, FS_VOLATILE, err) == 0)
		return 0;
	return err_hint(err, "--trace takes the name of a file in a directory that exists");
}
