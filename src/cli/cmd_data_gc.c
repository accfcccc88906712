/* mlmake data gc */
#include "cli/cmd_data.h"

#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct gc_flags {
	struct data_gc_options gc;
	struct cli *cli;
	bool workspace, force;
	const char *num, *date;
};

static void gc_flags_release(struct gc_flags *flags)
{
	strlist_release(&flags->gc.revs);
	strlist_release(&flags->gc.projects);
}

static void add_amount(struct buf *line, size_t objects, uint64_t bytes, const char *where)
{
	text_add_count(line, objects);
	buf_addf(line, " %s (", objects == 1 ? "object" : "objects");
	text_add_bytes(line, bytes);
	buf_addf(line, ") %s", where);
}

static void add_all(struct buf *line, const struct data_gc_report *report, bool cleaned)
{
	add_amount(line, report->objects, report->bytes, "of the cache");
	if (!cleaned)
		return;
	buf_addstr(line, " and ");
	add_amount(line, report->remote_objects, report->remote_bytes, "of the remote");
	buf_addf(line, " '%s'", report->remote);
}

static bool ask(void *ctx, const struct data_gc_report *report)
{
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	const struct gc_flags *flags = ctx;
	char answer[16] = "";
	add_all(&line, report, flags->gc.with_remote);
	cli_progress_clear(flags->cli);
	fprintf(stderr, "Nothing in the chosen scopes records %s", line.data);
	if (report->copied)
		fprintf(stderr, ", but for %zu that the remote '%s' has, too", report->copied, report->remote);
	fprintf(stderr, ". Delete for good? [y/N] ");
	fflush(stderr);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static void print_json(struct cli *cli, const struct data_gc_report *report, const struct data_gc_options *options)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &text, JSON_PYTHON);
	json_open_object(&w);
	json_pair_bool(&w, "deleted", report->deleted);
	json_pair_uint(&w, "used", report->used);
	json_pair_uint(&w, "kept_for_other_branches", report->kept);
	json_pair_uint(&w, "objects", report->objects);
	json_pair_uint(&w, "bytes", report->bytes);
	if (report->remote)
		json_pair_str(&w, "remote", report->remote);
	if (options->not_in_remote)
		json_pair_uint(&w, "on_remote", report->copied);
	if (options->with_remote) {
		json_pair_uint(&w, "remote_objects", report->remote_objects);
		json_pair_uint(&w, "remote_bytes", report->remote_bytes);
		json_pair_uint(&w, "remote_leftovers", report->leftovers);
	}
	data_json_list(&w, "unused", &report->names);
	data_json_list(&w, "failed", &report->failed);
	data_json_list(&w, "damaged_on_remote", &report->damaged);
	data_json_list(&w, "unread_on_remote", &report->unread);
	data_json_list(&w, "hints", &report->hints);
	json_end(&w);
	data_json_print(cli, &text);
}

static int show(struct cli *cli, const struct data_gc_report *report, const struct data_gc_options *options)
{
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	bool any = report->objects || report->remote_objects, dry = options->dry;
	cli_progress_clear(cli);
	add_all(&line, report, options->with_remote);
	if (cli->json)
		print_json(cli, report, options);
	for (size_t i = 0; dry && !cli->json && i < report->names.len; i++)
		cli_out(cli, "%s\n", report->names.at[i]);
	if (!any)
		cli_note(cli, "nothing to delete");
	else
		cli_note(cli, "%s %s", report->deleted ? "deleted" : dry ? "would delete" : "left", line.data);
	if (report->copied)
		cli_note(cli, "the remote '%s' has %zu of them; mlmake data pull brings them back", report->remote, report->copied);
	if (report->leftovers)
		cli_note(cli, "removed what %zu %s left on the remote '%s'", report->leftovers, report->leftovers == 1 ? "killed push" : "killed pushes",
			 report->remote);
	if (report->kept)
		cli_note(cli, "kept %zu %s that only other branches or tags record; --strict deletes them", report->kept,
			 report->kept == 1 ? "object" : "objects");
	data_warn_list(cli, "could not be deleted:", &report->failed);
	data_warn_list(cli, "kept, as the remote's copy is damaged (mlmake data verify -r NAME --repair):", &report->damaged);
	data_warn_list(cli, "kept, as the remote's copy could not be read:", &report->unread);
	data_show_hints(cli, &report->hints);
	if (report->damaged.len)
		return ERR_DATA;
	if (report->failed.len || report->unread.len)
		return ERR_NET;
	return any && !dry && !report->deleted ? ERR_FAILED : 0;
}

static int check(struct cli *cli, const struct gc_flags *flags, struct err *err)
{
	const struct data_gc_options *gc = &flags->gc;
	if (!flags->workspace && !gc->branches && !gc->tags && !gc->commits && !gc->revs.len && !gc->has_since) {
		err_set(err, ERR_CONFIG, "'%s' wants to know what is to be kept", cli->full_name);
		return err_hint(err, "-w the work tree, -a all branches, -T all tags, -A all commits, --rev REV, --date YYYY-MM-DD");
	}
	if (gc->not_in_remote && gc->with_remote) {
		err_set(err, ERR_CONFIG, "--not-in-remote and --cloud exclude each other");
		return err_hint(err, "-r NAME says which remote is asked");
	}
	if (gc->quick && !gc->not_in_remote)
		return err_set(err, ERR_CONFIG, "--quick is about --not-in-remote");
	if (!flags->force && !gc->dry && !isatty(STDIN_FILENO)) {
		err_set(err, ERR_CONFIG, "there is nobody to ask whether to delete");
		return err_hint(err, "--dry shows what would go, -f deletes it without asking");
	}
	return 0;
}

static int take_num(struct gc_flags *flags, struct err *err)
{
	char *end;
	if (!flags->num)
		return 0;
	errno = 0;
	long num = strtol(flags->num, &end, 10);
	if (errno || *end || end == flags->num || num < -1 || num == 0 || num >= UINT_MAX) {
		err_set(err, ERR_CONFIG, "'%s' is no number of commits", flags->num);
		return err_hint(err, "--rev main -n 10: the last ten; -n -1: all of them");
	}
	if (!flags->gc.revs.len && !flags->gc.branches) {
		err_set(err, ERR_CONFIG, "-n says how many commits of a --rev or of the branches are meant, and there is none");
		return err_hint(err, "--rev HEAD -n %s, or -a -n %s", flags->num, flags->num);
	}
	flags->gc.rev_commits = num < 0 ? UINT_MAX : (unsigned)num;
	return 0;
}

/* The beginning of a day in local time, as dvc has it. */
static int take_date(struct gc_flags *flags, struct err *err)
{
	struct tm day = { .tm_isdst = -1 };
	if (!flags->date)
		return 0;
	const char *end = strptime(flags->date, "%Y-%m-%d", &day);
	time_t at = end && !*end ? mktime(&day) : (time_t)-1;
	if (at == (time_t)-1) {
		err_set(err, ERR_CONFIG, "'%s' is no date", flags->date);
		return err_hint(err, "--date 2026-01-31");
	}
	flags->gc.has_since = true;
	flags->gc.since = at;
	return 0;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct gc_flags flags CLEANUP(gc_flags_release) = { .force = false };
	struct data_gc_options *gc = &flags.gc;
	const struct option options[] = {
		{ 'w', "workspace", NULL, "keep what the work tree and git's index record (always kept)", OPTION_FLAG, &flags.workspace },
		{ 'a', "all-branches", NULL, "keep what the branches record", OPTION_FLAG, &gc->branches },
		{ 'T', "all-tags", NULL, "keep what the tags record", OPTION_FLAG, &gc->tags },
		{ 'A', "all-commits", NULL, "keep what any commit of any branch or tag records", OPTION_FLAG, &gc->commits },
		{ 0, "rev", "REV", "keep what that revision records (may be repeated)", OPTION_LIST, &gc->revs },
		{ 'n', "num", "N", "with --rev or -a: what the last N commits up to each record; -1: all", OPTION_STRING, &flags.num },
		{ 0, "date", "YYYY-MM-DD", "keep what commits of that day and later record, of any branch or tag", OPTION_STRING, &flags.date },
		{ 'p', "projects", "DIR", "keep what that data repository records, too (several, and repeated)", OPTION_WORDS, &gc->projects },
		{ 0, "strict", NULL, "delete what only other branches and tags record", OPTION_FLAG, &gc->strict },
		{ 'c', "cloud", NULL, "the default remote's objects, too", OPTION_FLAG, &gc->with_remote },
		{ 'r', "remote", "NAME", "that remote's objects, too", OPTION_STRING, &gc->remote },
		{ 0, "not-in-remote", NULL, "of what is recorded, keep only what the remote (the default one, or -r) has not", OPTION_FLAG,
		  &gc->not_in_remote },
		{ 0, "quick", NULL, "with that: tell from the sizes there, instead of reading it all", OPTION_FLAG, &gc->quick },
		{ 0, "skip-failed", NULL, "go on without revisions' records and manifests that cannot be read", OPTION_FLAG, &gc->skip_failed },
		{ 0, "dry", NULL, "list what would be deleted", OPTION_FLAG, &gc->dry },
		{ 'f', "force", NULL, "do not ask", OPTION_FLAG, &flags.force },
		{ 'j', "jobs", "N", "requests at once", OPTION_UINT, &gc->jobs },
		{ 0, "all-experiments", NULL, "dvc's experiments are commits below refs/exps: --rev keeps what one records, and may be repeated",
		  OPTION_REFUSED, NULL },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (take_num(&flags, err) < 0 || take_date(&flags, err) < 0 || check(cli, &flags, err) < 0)
		return -1;
	gc->with_remote = !gc->not_in_remote && (gc->with_remote || gc->remote);
	gc->confirm = flags.force ? NULL : ask;
	gc->ctx = &flags;
	flags.cli = cli;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_gc_report report CLEANUP(data_gc_report_release) = { .remote = NULL };
	if (data_cli_open(cli, &repo, err) < 0 || data_gc(repo, gc, &report, err) < 0)
		return -1;
	return show(cli, &report, gc);
}

const struct command cmd_data_gc = {
	.name = "gc",
	.summary = "delete objects that nothing records any more",
	.usage = "SCOPE... [OPTIONS]",
	.help = "Deletes objects of the cache, and with -c or -r of a remote, that neither the work tree nor git's index nor the chosen scopes\n"
		"record. What only other branches, tags, linked worktrees' commits\n"
		"and stashes record stays, too, unless --strict is given. When a .dvc file, dvc.lock or manifest\n"
		"cannot be read, nothing is deleted. Repositories that share the cache are named with -p.\n\n"
		"--not-in-remote makes room: what the remote has goes, too, once each object there was read and found right (which takes some\n"
		"room itself; --quick takes none). Manifests of\n"
		"directories stay, so that status and diff still know what there is, and so does what pull would look for elsewhere: imports,\n"
		"outputs with a remote of their own, and data of DVC 2; with cache.type symlink also what the work tree links to.\n\n"
		"Examples:\n"
		"  mlmake data gc -w --dry          what would go\n"
		"  mlmake data gc -a -T             keeps what branches and tags record; asks first\n"
		"  mlmake data gc --rev main -n 10 --strict  keeps what the last ten commits of main record\n"
		"  mlmake data gc -A --not-in-remote --dry  what would go of what was pushed, too\n"
		"  mlmake data gc -A -r storage -f  keeps what any commit records, cleans that remote, too\n",
	.has_json = true,
	.locks = true,
	.run = run,
};
