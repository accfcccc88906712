/* mlmake stats: how long targets take, and what the output cache has saved. */
#include "cli/commands.h"

#include "base/text.h"
#include "engine/history.h"
#include "formats/json.h"

#include <stdlib.h>
#include <string.h>

struct line {
	const struct target *target;
	struct history history;
};
struct lines {
	VEC(struct line) list;
};

static uint64_t mean_ms(const struct history *history)
{
	return history->succeeded ? history->ran_ms / history->succeeded : 0;
}

/* How long the last run took that ended well, or whose outputs were restored. */
static uint64_t last_ms(const struct history *history)
{
	for (size_t i = history->last_len; i-- > 0;)
		if (history->last[i].outcome != RUN_FAILED)
			return history->last[i].duration_ms;
	return 0;
}

static int slowest_first(const void *a, const void *b)
{
	const struct line *left = a, *right = b;
	uint64_t x = mean_ms(&left->history), y = mean_ms(&right->history);
	if (x != y)
		return x < y ? 1 : -1;
	return left->target->id < right->target->id ? -1 : 1;
}

static const char *outcome_of(const struct history_entry *entry)
{
	return entry->outcome == RUN_FAILED ? "failed" : entry->outcome == RUN_RESTORED ? "restored" : "succeeded";
}

static void put_line(struct json_writer *w, const struct line *line)
{
	const struct history *history = &line->history;
	json_open_object(w);
	json_pair_str(w, "target", line->target->name);
	json_pair_uint(w, "succeeded", history->succeeded);
	json_pair_uint(w, "failed", history->failed);
	json_pair_uint(w, "restored", history->restored);
	json_pair_uint(w, "ran_ms", history->ran_ms);
	json_pair_uint(w, "mean_ms", mean_ms(history));
	json_pair_uint(w, "saved_ms", history->saved_ms);
	json_key(w, "last");
	json_open_array(w);
	for (size_t i = 0; i < history->last_len; i++) {
		json_open_object(w);
		json_pair_uint(w, "finished_at", history->last[i].finished_at);
		json_pair_str(w, "outcome", outcome_of(&history->last[i]));
		json_pair_uint(w, "duration_ms", history->last[i].duration_ms);
		json_close(w);
	}
	json_close(w);
	json_close(w);
}

static void print_json(struct cli *cli, const struct lines *lines)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_int(&w, "version", 1);
	json_key(&w, "targets");
	json_open_array(&w);
	for (size_t i = 0; i < lines->list.len; i++)
		put_line(&w, &lines->list.at[i]);
	json_end(&w);
	cli_out_bytes(cli, out.data, out.len);
}

static void add_time(struct buf *out, uint64_t ms, bool known)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	if (known)
		text_add_duration(&text, ms);
	else
		buf_addch(&text, '-');
	buf_addf(out, "  %8s", text.data);
}

static void print_text(struct cli *cli, const struct lines *lines, size_t limit)
{
	struct history all = { 0 };
	size_t width = strlen("target");
	for (size_t i = 0; i < lines->list.len; i++) {
		const struct line *line = &lines->list.at[i];
		all.succeeded += line->history.succeeded;
		all.failed += line->history.failed;
		all.restored += line->history.restored;
		all.ran_ms += line->history.ran_ms;
		all.saved_ms += line->history.saved_ms;
		if (i < limit && strlen(line->target->name) > width)
			width = strlen(line->target->name);
	}
	cli_out(cli, "%-*s  %8s  %8s  %6s  %6s  %8s  %8s\n", (int)width, "target", "mean", "last", "ran", "failed", "restored", "saved");
	for (size_t i = 0; i < lines->list.len && i < limit; i++) {
		const struct history *history = &lines->list.at[i].history;
		struct buf out CLEANUP(buf_release) = BUF_INIT;
		buf_addf(&out, "%-*s", (int)width, lines->list.at[i].target->name);
		add_time(&out, mean_ms(history), history->succeeded > 0);
		add_time(&out, last_ms(history), history->succeeded + history->restored > 0);
		buf_addf(&out, "  %6llu  %6llu  %8llu", (unsigned long long)history->succeeded, (unsigned long long)history->failed,
			 (unsigned long long)history->restored);
		add_time(&out, history->saved_ms, history->restored > 0);
		cli_out(cli, "%s\n", out.data);
	}
	struct buf ran CLEANUP(buf_release) = BUF_INIT, saved CLEANUP(buf_release) = BUF_INIT;
	text_add_duration(&ran, all.ran_ms);
	text_add_duration(&saved, all.saved_ms);
	cli_out(cli, "%llu run%s took %s, %llu restored saved %s\n", (unsigned long long)all.succeeded, all.succeeded == 1 ? "" : "s", ran.data,
		(unsigned long long)all.restored, saved.data);
}

static int load(const struct project *project, const struct string_list *names, struct lines *ret, struct err *err)
{
	struct state *state;
	if (state_open(project->root, &state, err) < 0)
		return -1;
	size_t count = names->len ? names->len : project->target_count;
	for (size_t i = 0; i < count; i++) {
		struct line line = { .target = names->len ? project_find(project, names->at[i]) : &project->targets[i] };
		history_load(&line.history, state, line.target->name);
		if (line.history.last_len)
			vec_push(&ret->list, line);
	}
	state_close(state);
	vec_sort(&ret->list, slowest_first);
	return 0;
}

static int show(struct cli *cli, const struct project *project, const char *const *words, size_t count, size_t limit, struct err *err)
{
	struct lines lines = { 0 };
	struct string_list names;
	int failed = project_select(project, words, count, &names, err);
	if (!failed)
		failed = load(project, &names, &lines, err);
	free(names.at);
	if (!failed && cli->json)
		print_json(cli, &lines);
	else if (!failed && lines.list.len)
		print_text(cli, &lines, limit);
	else if (!failed)
		cli_note(cli, "nothing has run here yet");
	vec_release(&lines.list);
	return failed;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	unsigned limit = 20;
	const struct option options[] = {
		{ 'n', "top", "N", "the N slowest alone (default: 20)", OPTION_UINT, &limit },
		OPTION_CONFIG_FILE(cli),
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct project *project CLEANUP(cli_drop_project) = NULL;
	if (cli_load(cli, &project, err) < 0)
		return -1;
	return show(cli, project, args.at, args.len, limit, err);
}

const struct command cmd_stats = {
	.name = "stats",
	.summary = "show how long targets take, and what the output cache saved",
	.usage = "[OPTIONS] [TARGET...]",
	.help = "The slowest targets first: the mean time of their successes, the last one, how often they ran, failed and were restored from the\n"
		"output cache, and the time that this saved. What was up to date does not count. --json has the last 20 runs of each, too.\n"
		"\n"
		"  mlmake stats\n"
		"  mlmake stats 'test*'\n"
		"  mlmake stats -n 5 --json",
	.has_json = true,
	.operands = OPERANDS_TARGETS,
	.most = MANY,
	.run = run,
};
