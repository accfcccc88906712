/* mlmake log: what a target printed when it last ran. */
#include "cli/commands.h"

#include "base/text.h"
#include "engine/engine.h"
#include "formats/json.h"

#include <limits.h>
#include <string.h>

#define LOG_MAX ((size_t)64 << 20)

/* The last count lines. */
static const char *last_lines(const struct buf *log, unsigned count, size_t *ret_len)
{
	const char *end = log->data + log->len, *from = end;
	unsigned seen = 0;
	while (from > log->data) {
		if (from[-1] == '\n' && from != end && ++seen == count)
			break;
		from--;
	}
	*ret_len = count ? (size_t)(end - from) : 0;
	return from;
}

static void print_json(struct cli *cli, const struct project *project, const struct target *target, const char *text, size_t len, bool cut)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	engine_log_path(project, target, &path);
	json_begin(&w, &out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_int(&w, "version", 1);
	json_pair_str(&w, "target", target->name);
	json_pair_str(&w, "path", path.data);
	json_pair_bool(&w, "cut", cut);
	json_key(&w, "text");
	json_put_strn(&w, text, len);
	json_end(&w);
	cli_out_bytes(cli, out.data, out.len);
}

static int print_log(struct cli *cli, const struct project *project, const char *name, unsigned lines, struct err *err)
{
	const struct target *target;
	struct buf log CLEANUP(buf_release) = BUF_INIT;
	bool found, cut;
	if (project_target(project, name, &target, err) < 0 || engine_log(project, target, LOG_MAX, &log, &found, &cut, err) < 0)
		return -1;
	if (!found) {
		struct buf quoted CLEANUP(buf_release) = BUF_INIT;
		text_add_shell_quoted(&quoted, name);
		err_set(err, ERR_FAILED, "there is no log of '%s'", name);
		if (target->is_alias)
			return err_hint(err, "it runs nothing itself: ask for one of the targets that it needs");
		return err_hint(err, "it has not run here, or printed nothing before it failed; 'mlmake %s' runs it", quoted.data);
	}
	size_t len;
	const char *text = last_lines(&log, lines, &len);
	if (cli->json) {
		print_json(cli, project, target, text, len, cut || len < log.len);
		return 0;
	}
	cli_out_bytes(cli, text, len);
	if (!log.len)
		cli_note(cli, "%s printed nothing", name);
	if (cut && len == log.len)
		cli_note(cli, "only the last %zu MiB are shown", LOG_MAX >> 20);
	return 0;
}

static bool print_more(void *ctx, const char *bytes, size_t len)
{
	cli_out_bytes(ctx, bytes, len);
	return fflush(stdout) == 0;
}

/* *ret_done: it ran, and all of it was printed. */
static int follow(struct cli *cli, const struct project *project, const char *name, bool *ret_done, struct err *err)
{
	const struct target *target;
	if (cli->json) {
		err_set(err, ERR_CONFIG, "--follow prints what comes, and has no JSON");
		return err_hint(err, "mlmake --json %s tells what a run does while it does it", name);
	}
	if (project_target(project, name, &target, err) < 0 || engine_follow(project, target, print_more, cli, ret_done, err) < 0)
		return -1;
	if (!*ret_done)
		cli_note(cli, "%s does not run now; this is from its last run", name);
	return 0;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	unsigned lines = UINT_MAX;
	bool follows = false, done = false;
	const struct option options[] = {
		{ 'n', "lines", "N", "the last N lines alone", OPTION_UINT, &lines },
		{ 0, "follow", NULL, "while it runs: what it prints as it comes, until it ends", OPTION_FLAG, &follows },
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
	if (follows && follow(cli, project, args.at[0], &done, err) < 0)
		return -1;
	return done ? 0 : print_log(cli, project, args.at[0], lines, err);
}

const struct command cmd_log = {
	.name = "log",
	.summary = "print what a target printed when it last ran",
	.usage = "[OPTIONS] TARGET",
	.help = "Standard output and error as they came, secrets masked. Of a target whose outputs came from the output cache, what it printed\n"
		"when it made them. Running with --replay prints the same for targets that need not run.\n"
		"\n"
		"  mlmake log train\n"
		"  mlmake log -n 20 train      the last 20 lines\n"
		"  mlmake log --follow train   of a run that another mlmake is at, for example in the background",
	.operands = OPERANDS_TARGETS,
	.has_json = true,
	.least = 1,
	.most = 1,
	.wants = "one target",
	.wants_hint = "'mlmake list' shows them",
	.run = run,
};
