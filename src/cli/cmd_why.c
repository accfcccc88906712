/* mlmake why: why a target would run, or why it ran. */
#include "cli/commands.h"

#include "base/text.h"
#include "cli/edges.h"
#include "engine/engine.h"
#include "formats/json.h"

#include <time.h>

static void put_list(struct json_writer *w, const char *key, const struct strlist *list)
{
	json_key(w, key);
	json_open_array(w);
	for (size_t i = 0; i < list->len; i++)
		json_put_str(w, list->at[i]);
	json_close(w);
}

static void print_json(struct cli *cli, const char *name, const struct strlist *reasons, const struct strlist *last, uint64_t finished_at)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_int(&w, "version", 1);
	json_pair_str(&w, "target", name);
	json_pair_bool(&w, "up_to_date", reasons->len == 0);
	put_list(&w, "reasons", reasons);
	put_list(&w, "last_reasons", last);
	json_pair_uint(&w, "last_finished_at", finished_at);
	json_end(&w);
	cli_out_bytes(cli, out.data, out.len);
}

static void print_lines(struct cli *cli, const struct strlist *lines)
{
	for (size_t i = 0; i < lines->len; i++)
		cli_out(cli, "  %s\n", lines->at[i]);
}

/* As people say it: one unit, and no more than the record's seconds can tell. */
static void add_age(struct buf *out, uint64_t seconds)
{
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" } };
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		uint64_t count = seconds / units[i].seconds;
		if (!count)
			continue;
		buf_addf(out, "%llu %s%s ago", (unsigned long long)count, units[i].name, count == 1 ? "" : "s");
		return;
	}
	buf_addstr(out, "just now");
}

static void print_text(struct cli *cli, const char *name, const struct strlist *reasons, const struct strlist *last, uint64_t finished_at)
{
	struct buf ago CLEANUP(buf_release) = BUF_INIT;
	uint64_t now = (uint64_t)time(NULL);
	add_age(&ago, now > finished_at ? now - finished_at : 0);
	if (reasons->len) {
		cli_out(cli, "%s would run:\n", name);
		print_lines(cli, reasons);
	} else {
		cli_out(cli, "%s is up to date\n", name);
	}
	if (last->len) {
		cli_out(cli, "it last ran %s; why it did then:\n", ago.data);
		print_lines(cli, last);
	}
}

static int explain(struct cli *cli, const struct project *project, const char *name, struct err *err)
{
	struct strlist reasons CLEANUP(strlist_release) = { 0 }, last CLEANUP(strlist_release) = { 0 };
	uint64_t finished_at;
	if (engine_why(project, name, &reasons, err) < 0 || engine_last_run(project, name, &last, &finished_at, err) < 0)
		return -1;
	if (cli->json)
		print_json(cli, name, &reasons, &last, finished_at);
	else
		print_text(cli, name, &reasons, &last, finished_at);
	return 0;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	const struct option options[] = { OPTION_CONFIG_FILE(cli), OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct project *project CLEANUP(cli_drop_project) = NULL;
	if (cli_load(cli, &project, err) < 0)
		return -1;
	return args.len == 2 ? edges_explain(cli, project, args.at[0], args.at[1], err) : explain(cli, project, args.at[0], err);
}

const struct command cmd_why = {
	.name = "why",
	.summary = "say why a target would run, or how it depends on another",
	.usage = "[OPTIONS] TARGET [OTHER]",
	.help = "Names the input, parameter, variable, tool or output that changed since the target's last success, and why it ran then.\n"
		"Runs nothing. With two targets: the shortest way on which one depends on the other, in either direction; exit code 1\n"
		"if there is none.\n"
		"\n"
		"  mlmake why train\n"
		"  mlmake why evaluate prepare",
	.operands = OPERANDS_TARGETS,
	.has_json = true,
	.least = 1,
	.most = 2,
	.wants = "one target, or two",
	.wants_hint = "'mlmake list' shows them",
	.run = run,
};
