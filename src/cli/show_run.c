#include "cli/show_run.h"

#include "base/loop.h"
#include "base/text.h"
#include "formats/json.h"

#include <stdlib.h>
#include <string.h>

#define TAIL_LINES 10
#define NARROW 40 /* columns, in which not everything has room */
#define TAIL_BYTES ((size_t)64 << 10)
#define FORMAT_VERSION 1

void show_begin(struct show *show, struct cli *cli, const struct project *project, const char *wanted)
{
	*show = (struct show){ .cli = cli, .project = project, .wanted = wanted, .started_ms = loop_now_ms() };
}

void show_release(struct show *show)
{
	for (size_t i = 0; i < show->failures.len; i++) {
		free(show->failures.at[i].message);
		free(show->failures.at[i].tail);
	}
	vec_release(&show->failures);
	vec_release(&show->running);
}

const char *show_outcome_name(enum run_outcome outcome)
{
	switch (outcome) {
	case RUN_UP_TO_DATE:
		return "up-to-date";
	case RUN_RESTORED:
		return "restored";
	case RUN_SUCCEEDED:
		return "succeeded";
	case RUN_FAILED:
		return "failed";
	case RUN_SKIPPED:
		return "skipped";
	case RUN_INTERRUPTED:
		return "interrupted";
	case RUN_WOULD_RUN:
		return "would-run";
	case RUN_ACCEPTED:
		return "accepted";
	}
	return "unknown";
}

/* JSON */

static void put_reasons(struct json_writer *w, const struct run_event *event)
{
	if (!event->reason_count)
		return;
	json_key(w, "reasons");
	json_open_array(w);
	for (size_t i = 0; i < event->reason_count; i++)
		json_put_str(w, event->reasons[i]);
	json_close(w);
}

static void put_eta(struct json_writer *w, const struct run_event *event)
{
	if (event->eta_ms)
		json_pair_uint(w, "eta_ms", event->eta_ms);
}

static void put_finished(struct json_writer *w, const struct run_event *event)
{
	json_pair_str(w, "outcome", show_outcome_name(event->outcome));
	if (event->outcome == RUN_FAILED || event->exit_code)
		json_pair_int(w, "exit_code", event->exit_code);
	if (event->timed_out)
		json_pair_bool(w, "timed_out", true);
	if (event->message)
		json_pair_str(w, "message", event->message);
	json_pair_uint(w, "duration_ms", event->duration_ms);
	json_pair_uint(w, "done", event->done);
	json_pair_uint(w, "total", event->total);
	put_eta(w, event);
	put_reasons(w, event);
}

static const char *event_name(enum run_event_kind kind)
{
	static const char *const names[] = {
		[RUN_PLANNED] = "planned", [RUN_WAITING] = "waiting", [RUN_STARTED] = "started", [RUN_OUTPUT] = "output",
		[RUN_FINISHED] = "finished", [RUN_WARNING] = "warning", [RUN_RESTARTED] = "restarted", [RUN_TICK] = "tick",
		[RUN_NOTE] = "note", [RUN_SHARING] = "sharing",
	};
	return names[kind];
}

static void begin_line(struct json_writer *w, struct buf *out, const char *name)
{
	json_begin(w, out, JSON_COMPACT);
	json_open_object(w);
	json_pair_int(w, "version", FORMAT_VERSION);
	json_pair_str(w, "event", name);
}

static void end_line(struct show *show, struct json_writer *w, struct buf *out)
{
	json_end(w);
	buf_addch(out, '\n');
	cli_out_bytes(show->cli, out->data, out->len);
	cli_flush(show->cli);
}

static void json_event(struct show *show, const struct run_event *event)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	if (event->kind == RUN_TICK || event->kind == RUN_SHARING)
		return;
	begin_line(&w, &out, event_name(event->kind));
	if (event->target)
		json_pair_str(&w, "target", event->target->name);
	switch (event->kind) {
	case RUN_PLANNED:
		json_pair_uint(&w, "total", event->total);
		break;
	case RUN_OUTPUT:
		json_pair_str(&w, "stream", event->is_stderr ? "stderr" : "stdout");
		json_key(&w, "text");
		json_put_strn(&w, event->bytes, event->len);
		break;
	case RUN_FINISHED:
		put_finished(&w, event);
		break;
	case RUN_STARTED:
	case RUN_RESTARTED:
		put_eta(&w, event);
		put_reasons(&w, event);
		break;
	default:
		json_pair_str(&w, "message", event->message);
	}
	end_line(show, &w, &out);
}

static void json_summary(struct show *show, const struct run_summary *summary)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	begin_line(&w, &out, "summary");
	json_pair_uint(&w, "up_to_date", summary->up_to_date);
	json_pair_uint(&w, "restored", summary->restored);
	json_pair_uint(&w, "succeeded", summary->succeeded);
	json_pair_uint(&w, "failed", summary->failed);
	json_pair_uint(&w, "skipped", summary->skipped);
	json_pair_uint(&w, "would_run", summary->would_run);
	json_pair_uint(&w, "fetched", summary->shared.fetched);
	json_pair_uint(&w, "shared", summary->shared.sent);
	json_pair_uint(&w, "not_shared", summary->shared.unsent);
	json_pair_uint(&w, "accepted", summary->accepted);
	json_pair_int(&w, "signal", summary->signal_number);
	json_pair_uint(&w, "duration_ms", summary->duration_ms);
	end_line(show, &w, &out);
}

/* Kept logs */

#define REPLAY_MAX ((size_t)16 << 20)

/* Asked for by its name, or by an alias of it. */
static bool is_requested(const struct show *show, const uint32_t *ids, size_t count, const struct target *target)
{
	for (size_t i = 0; i < count; i++) {
		const struct target *one = &show->project->targets[ids[i]];
		if (one == target || (one->is_alias && is_requested(show, one->needs.at, one->needs.len, target)))
			return true;
	}
	return false;
}

static void replay(struct show *show, const struct run_event *event)
{
	struct buf log CLEANUP(buf_release) = BUF_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct json_writer w;
	bool found, cut;
	bool kept = event->kind == RUN_FINISHED && (event->outcome == RUN_UP_TO_DATE || event->outcome == RUN_RESTORED);
	if (!show->replay || !kept || !is_requested(show, show->replay->requested, show->replay->requested_len, event->target))
		return;
	if (engine_log(show->project, event->target, REPLAY_MAX, &log, &found, &cut, &err) < 0)
		cli_warn(show->cli, "%s", err.message);
	if (!log.len)
		return;
	if (!show->cli->json) {
		cli_out_bytes(show->cli, log.data, log.len);
		cli_flush(show->cli);
		return;
	}
	begin_line(&w, &out, "output");
	json_pair_str(&w, "target", event->target->name);
	json_pair_str(&w, "stream", "stdout");
	json_pair_bool(&w, "replayed", true);
	json_key(&w, "text");
	json_put_strn(&w, log.data, log.len);
	end_line(show, &w, &out);
}

/* People */

static void draw(struct show *show, const struct run_event *event)
{
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	if (!show->cli->terminal || show->cli->quiet || !show->running.len)
		return;
	if (event->eta_ms)
		show->eta_at_ms = loop_now_ms() + event->eta_ms;
	buf_addf(&line, "[%zu/%zu]", event->done, event->total);
	if (show->cli->width >= NARROW || !show->eta_at_ms) {
		buf_addch(&line, ' ');
		text_add_duration(&line, loop_now_ms() - show->started_ms);
	}
	if (show->eta_at_ms > loop_now_ms()) {
		buf_addstr(&line, " ETA ");
		text_add_duration(&line, (show->eta_at_ms - loop_now_ms() + 999) / 1000 * 1000);
	}
	for (size_t i = 0; i < show->running.len; i++)
		buf_addf(&line, "%s%s", i ? ", " : "  ", show->running.at[i]->name);
	cli_status(show->cli, line.data);
}

static void drop_running(struct show *show, const struct target *target)
{
	for (size_t i = 0; i < show->running.len; i++) {
		if (show->running.at[i] != target)
			continue;
		memmove(&show->running.at[i], &show->running.at[i + 1], (show->running.len - i - 1) * sizeof(*show->running.at));
		show->running.len--;
		return;
	}
}

/* The last lines of a target's log, indented; NULL if it printed nothing. */
static char *read_tail(const struct show *show, const struct target *target)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	char chunk[4096];
	engine_log_path(show->project, target, &path);
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path.data, O_RDONLY | O_CLOEXEC, 0);
	struct stat st;
	if (fd < 0 || sys.fstat(fd, &st) < 0)
		return NULL;
	off_t from = st.st_size > (off_t)sizeof(chunk) ? st.st_size - (off_t)sizeof(chunk) : 0;
	ssize_t len = sys.pread(fd, chunk, sizeof(chunk), from);
	if (len <= 0)
		return NULL;
	size_t lines = 0, start = (size_t)len;
	while (start > 0 && (chunk[start - 1] != '\n' || start == (size_t)len || ++lines < TAIL_LINES))
		start--;
	struct buf tail = BUF_INIT;
	for (size_t at = start; at < (size_t)len;) {
		const char *newline = memchr(chunk + at, '\n', (size_t)len - at);
		size_t line = newline ? (size_t)(newline - chunk) - at : (size_t)len - at;
		buf_addstr(&tail, "    ");
		buf_add(&tail, chunk + at, line);
		buf_addch(&tail, '\n');
		at += line + 1;
	}
	return buf_detach(&tail);
}

static void add_reasons(struct buf *out, const struct run_event *event)
{
	for (size_t i = 0; i < event->reason_count; i++)
		buf_addf(out, "%s%s", i ? ", " : "", event->reasons[i]);
}

static void print_result(struct show *show, const struct run_event *event, const char *word)
{
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&line, "[%zu/%zu] %s ... %s", event->done, event->total, event->target->name, word);
	if (event->outcome == RUN_SUCCEEDED || event->outcome == RUN_FAILED) {
		buf_addch(&line, ' ');
		text_add_duration(&line, event->duration_ms);
	}
	if (event->outcome == RUN_FAILED)
		buf_addf(&line, " (%s)", event->message ? event->message : "failed");
	cli_note(show->cli, "%s", line.data);
}

static void people_finished(struct show *show, const struct run_event *event)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	drop_running(show, event->target);
	switch (event->outcome) {
	case RUN_UP_TO_DATE:
		if (show->cli->verbose)
			print_result(show, event, "up to date");
		break;
	case RUN_RESTORED:
		buf_addf(&text, "restored %s", event->message ? event->message : "from the cache");
		print_result(show, event, text.data);
		break;
	case RUN_SUCCEEDED:
		print_result(show, event, "ok");
		break;
	case RUN_FAILED:
		print_result(show, event, "failed");
		vec_push(&show->failures, (struct failure){ .target = event->target, .message = mem_strdup(event->message),
							    .tail = read_tail(show, event->target) });
		break;
	case RUN_SKIPPED:
		buf_addf(&text, "skipped: %s", event->message ? event->message : "something that it needs failed");
		print_result(show, event, text.data);
		break;
	case RUN_INTERRUPTED:
		print_result(show, event, "interrupted");
		break;
	case RUN_WOULD_RUN:
		add_reasons(&text, event);
		if (!show->silent)
			cli_out(show->cli, "%s: would %s: %s\n", event->target->name, show->touch ? "be accepted" : "run", text.data);
		break;
	case RUN_ACCEPTED:
		print_result(show, event, "accepted as it is");
		break;
	}
}

static void people_event(struct show *show, const struct run_event *event)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	switch (event->kind) {
	case RUN_PLANNED:
		break;
	case RUN_WAITING:
		cli_note(show->cli, "%s", event->message);
		break;
	case RUN_STARTED:
		vec_push(&show->running, event->target);
		add_reasons(&text, event);
		if (show->explain && event->reason_count)
			cli_note(show->cli, "%s runs: %s", event->target->name, text.data);
		break;
	case RUN_OUTPUT:
		cli_progress_clear(show->cli);
		show->printed = event->target;
		if (event->is_stderr) {
			fwrite(event->bytes, 1, event->len, stderr);
			break;
		}
		cli_out_bytes(show->cli, event->bytes, event->len);
		cli_flush(show->cli);
		break;
	case RUN_FINISHED:
		people_finished(show, event);
		break;
	case RUN_RESTARTED:
		drop_running(show, event->target);
		add_reasons(&text, event);
		cli_note(show->cli, "%s starts again: %s", event->target->name, text.data);
		break;
	case RUN_WARNING:
		cli_warn(show->cli, "%s", event->message);
		break;
	case RUN_NOTE:
		cli_note(show->cli, "%s", event->message);
		break;
	case RUN_SHARING:
		if (show->cli->terminal && !show->cli->quiet)
			cli_status(show->cli, event->message);
		return;
	case RUN_TICK:
		break;
	}
	draw(show, event);
}

/* What says no more than that there may be news is left out before the first. */
static void json_later(struct show *show, const struct run_event *event)
{
	if (!show->before)
		json_event(show, event);
}

/* Not that something is up to date, or will be looked at. */
static bool is_news(const struct run_event *event)
{
	return event->kind == RUN_STARTED || event->kind == RUN_WAITING || event->kind == RUN_WARNING ||
	       (event->kind == RUN_FINISHED && event->outcome != RUN_UP_TO_DATE);
}

void show_event(void *ctx, const struct run_event *event)
{
	struct show *show = ctx;
	if (show->silent && event->kind != RUN_WARNING)
		return;
	if (show->before && is_news(event)) {
		show->before(show->before_ctx);
		show->before = NULL;
	}
	replay(show, event);
	if (show->cli->json)
		json_later(show, event);
	else
		people_event(show, event);
}

/* Whether both streams are read in one place, as on a terminal: then what a target printed stands there already. */
static bool same_place(void)
{
	struct stat out, err;
	return sys.fstat(STDOUT_FILENO, &out) == 0 && sys.fstat(STDERR_FILENO, &err) == 0 && out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}

static void print_failures(struct show *show)
{
	for (size_t i = 0; i < show->failures.len; i++) {
		const struct failure *failure = &show->failures.at[i];
		bool stands_above = show->failures.len == 1 && show->printed == failure->target && same_place();
		cli_progress_clear(show->cli);
		fprintf(stderr, "\nfailed: %s (%s)\n", failure->target->name, failure->message ? failure->message : "no reason given");
		if (failure->tail && !stands_above)
			fprintf(stderr, "  its last lines:\n%s", failure->tail);
		struct buf again CLEANUP(buf_release) = BUF_INIT;
		text_add_shell_quoted(&again, failure->target->name);
		fprintf(stderr, "  to run it again: %s %s%s\n", show->again ? show->again : "mlmake", again.data,
			show->args_target == failure->target ? show->args : "");
	}
}

static void note_shared(struct show *show, const struct share_counts *shared)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	if (!shared->sent && !shared->unsent)
		return;
	buf_addf(&text, "shared %zu result%s (", shared->sent, shared->sent == 1 ? "" : "s");
	text_add_bytes(&text, shared->sent_bytes);
	buf_addch(&text, ')');
	if (shared->unsent)
		buf_addf(&text, ", %zu could not be", shared->unsent);
	cli_note(show->cli, "%s", text.data);
}

static void add_count(struct buf *out, size_t count, const char *what)
{
	if (count)
		buf_addf(out, "%s%zu %s", out->len ? ", " : "", count, what);
}

void show_end(struct show *show, const struct run_summary *summary)
{
	struct buf counts CLEANUP(buf_release) = BUF_INIT;
	struct buf took CLEANUP(buf_release) = BUF_INIT;
	cli_progress_clear(show->cli);
	if (show->cli->json && !show->silent && !show->before) {
		json_summary(show, summary);
		return;
	}
	if (show->silent || show->before)
		return;
	print_failures(show);
	note_shared(show, &summary->shared);
	add_count(&counts, summary->failed, "failed");
	add_count(&counts, summary->skipped, "not run");
	add_count(&counts, summary->succeeded, "ran");
	add_count(&counts, summary->would_run, show->touch ? "would be accepted" : "would run");
	add_count(&counts, summary->accepted, "accepted");
	add_count(&counts, summary->restored, "from the cache");
	add_count(&counts, summary->up_to_date, "up to date");
	text_add_duration(&took, summary->duration_ms);
	if (summary->signal_number)
		cli_note(show->cli, "%s: interrupted after %s (%s)", show->wanted, took.data, counts.data);
	else if (summary->failed)
		cli_note(show->cli, "%s: failed after %s (%s)", show->wanted, took.data, counts.data);
	else if (summary->succeeded || summary->restored || summary->accepted)
		cli_note(show->cli, "%s: done in %s (%s)", show->wanted, took.data, counts.data);
	else if (summary->would_run)
		cli_note(show->cli, "%s: nothing was run (%s)", show->wanted, counts.data);
	else
		cli_note(show->cli, "%s: nothing to do%s%s%s", show->wanted, counts.len ? " (" : "", counts.data, counts.len ? ")" : "");
}
