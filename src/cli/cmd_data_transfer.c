/* mlmake data push, fetch, pull */
#include "cli/cmd_data.h"

#include "base/mem.h"
#include "base/text.h"

struct transfer_flags {
	struct data_transfer_options transfer;
	struct data_checkout_options checkout;
	const char *limit_rate;
};

#define NAMED_MAX 10 /* so that the reason above and the hint below stay in sight */

/* What did not move: each for its own reason, or all that is left for the one of the error. */
static void json_failed(struct json_writer *w, const struct data_transfer_report *report, const struct err *err)
{
	struct strlist all CLEANUP(strlist_release) = { 0 };
	strlist_add_all(&all, &report->failed);
	for (size_t i = 0; i < report->stopped.len; i++)
		strlist_take(&all, mem_printf("%s: not moved: %s", report->stopped.at[i], err->message));
	data_json_list(w, "failed", &all);
	data_json_list(w, "hints", &report->hints);
}

static void json_transfer(struct json_writer *w, const char *moved, const struct data_transfer_report *report, const struct err *err)
{
	if (report->remote)
		json_pair_str(w, "remote", report->remote);
	if (report->planned.len)
		data_json_list(w, "planned", &report->planned);
	if (report->recorded.len)
		data_json_list(w, "recorded", &report->recorded);
	json_pair_uint(w, moved, report->moved);
	json_pair_uint(w, "bytes", report->bytes);
	json_pair_uint(w, "present", report->present);
	data_json_list(w, "missing", &report->missing);
	data_json_list(w, "damaged", &report->damaged);
	data_json_list(w, "withheld", &report->withheld);
	json_failed(w, report, err);
	data_json_list(w, "unreadable", &report->broken);
}

static int transfer_exit(const struct data_transfer_report *report)
{
	if (report->missing.len || report->damaged.len || report->broken.len)
		return ERR_DATA;
	return report->failed.len ? ERR_NET : report->withheld.len ? ERR_DATA : 0;
}

/* What a dry run would move: names on stdout, the sum as of a real one. */
static void show_planned(struct cli *cli, const struct data_transfer_report *report)
{
	for (size_t i = 0; !cli->json && i < report->planned.len; i++)
		cli_out(cli, "%s\n", report->planned.at[i]);
}

static void show_lists(struct cli *cli, bool push, const struct data_transfer_report *report)
{
	cli_progress_clear(cli);
	data_warn_list(cli, push ? "neither in the cache nor on the remote:" : "not on the remote:", &report->missing);
	data_warn_list(cli, "damaged:", &report->damaged);
	data_warn_list(cli, "failed:", &report->failed);
	data_warn_list(cli, "not whole on the remote, so that nobody can pull it yet:", &report->withheld);
	data_show_hints(cli, &report->hints);
	data_warn_list(cli, "cannot be handled:", &report->broken);
}

/* The reason is the error; what it kept from moving stands with it, once. */
static int stopped(struct cli *cli, bool push, const struct data_transfer_report *report, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	const struct strlist *names = &report->stopped;
	show_lists(cli, push, report);
	if (!names->len || err->code == ERR_CONFIG) /* nothing was tried */
		return -1;
	text_add_count(&text, names->len);
	buf_addf(&text, " %s not moved:", names->len == 1 ? "object was" : "objects were");
	for (size_t i = 0; i < names->len && i < NAMED_MAX; i++)
		buf_addf(&text, "\n  %s", names->at[i]);
	if (names->len > NAMED_MAX)
		buf_addf(&text, "\n  and %zu more, which --json lists", names->len - NAMED_MAX);
	return err_note(err, "%s", text.data);
}

/* The versions of a version_aware remote are in these, and nobody else can fetch before they are committed. */
static void show_recorded(struct cli *cli, const struct data_transfer_report *report)
{
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	for (size_t i = 0; i < report->recorded.len; i++) {
		buf_addch(&line, ' ');
		text_add_shell_quoted(&line, report->recorded.at[i]);
	}
	if (line.len)
		cli_note(cli, "versions recorded; to commit them: git add%s", line.data);
}

static int show_transfer(struct cli *cli, const char *word, bool push, const struct data_transfer_report *report)
{
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	show_lists(cli, push, report);
	int code = transfer_exit(report);
	if (!report->moved && !code) {
		show_recorded(cli, report);
		cli_note(cli, push ? "everything is on the remote" : "everything is in the cache");
		return 0;
	}
	show_planned(cli, report);
	buf_addf(&line, "%s%s ", report->planned.len ? "would be " : "", word);
	text_add_count(&line, report->moved);
	buf_addf(&line, " %s, ", report->moved == 1 ? "object" : "objects");
	text_add_bytes(&line, report->bytes);
	cli_note(cli, "%s", line.data);
	show_recorded(cli, report);
	return code;
}

static const char no_revisions[] = "one revision at a time: check it out with git, or in a worktree of its own, and run this there; "
				   "mlmake data get PATH --rev REV takes a single path";

static int parse(struct cli *cli, struct transfer_flags *flags, bool for_push, bool with_checkout, int argc, char **argv, struct args *ret,
		 struct err *err)
{
	const struct option options[] = {
		{ 'r', "remote", "NAME", "that remote instead of the default one", OPTION_STRING, &flags->transfer.remote },
		{ 'j', "jobs", "N", "transfers at once", OPTION_UINT, &flags->transfer.jobs },
		{ 0, "limit-rate", "RATE", "bytes a second at most: 500k, 10M; 0: any, whatever mlmake.yaml says", OPTION_STRING, &flags->limit_rate },
		{ 'n', "dry-run", NULL, "say what would be moved, and move nothing", OPTION_FLAG, &flags->transfer.dry },
		{ 'R', "recursive", NULL, "", OPTION_ACCEPTED, NULL },
		{ 0, "no-run-cache", NULL, "", OPTION_ACCEPTED, NULL },
		{ 'd', "with-deps", NULL, data_no_with_deps, OPTION_REFUSED, NULL },
		{ 'a', "all-branches", NULL, no_revisions, OPTION_REFUSED, NULL },
		{ 'T', "all-tags", NULL, no_revisions, OPTION_REFUSED, NULL },
		{ 'A', "all-commits", NULL, no_revisions, OPTION_REFUSED, NULL },
		{ 0, "run-cache", NULL, "results of targets are shared by cache.remote of mlmake.yaml; dvc's run cache is moved by dvc", OPTION_REFUSED, NULL },
		{ 0, "glob", NULL, "name the directory, or leave the pattern unquoted for the shell", OPTION_REFUSED, NULL },
		{ 0, "max-size", NULL, "name the paths that are wanted; mlmake data ls -R --size lists sizes", OPTION_REFUSED, NULL },
		{ 0, "type", NULL, "name the paths that are wanted", OPTION_REFUSED, NULL },
		{ 0, "allow-missing", NULL, "what is missing is named, all else is done, and the exit code is 3", OPTION_REFUSED, NULL },
		for_push ? (struct option){ 0, "verify", NULL, "ask for every object, also of directories that were seen whole before",
					    OPTION_FLAG, &flags->transfer.verify }
		: with_checkout
			? (struct option){ 'f', "force", NULL, "overwrite changed files that are in no cache", OPTION_FLAG, &flags->checkout.force }
			: (struct option)OPTION_END,
		OPTION_END,
	};
	int go_on = cli_parse(cli, options, argc, argv, ret, err);
	if (go_on > 0 && flags->limit_rate && !text_parse_size(flags->limit_rate, &flags->transfer.limit_rate)) {
		err_set(err, ERR_CONFIG, "'%s' is no rate", flags->limit_rate);
		return err_hint(err, "--limit-rate takes bytes a second: 500k, 10M; 0: any");
	}
	if (go_on > 0 && flags->limit_rate && !flags->transfer.limit_rate)
		flags->transfer.limit_rate = DATA_RATE_ANY;
	return go_on;
}

static int run_transfer(struct cli *cli, bool push, int argc, char **argv, struct err *err)
{
	struct transfer_flags flags = { .transfer = { .remote = NULL } };
	struct args args;
	int go_on = parse(cli, &flags, push, false, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_transfer_report report CLEANUP(data_transfer_report_release) = { .remote = NULL };
	if (data_cli_open(cli, &repo, err) < 0)
		return -1;
	int status = (push ? data_push : data_fetch)(repo, args.at, args.len, &flags.transfer, &report, err);
	if (cli->json && (status == 0 || report.failed.len || report.stopped.len)) {
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		struct json_writer w;
		json_begin(&w, &text, JSON_PYTHON);
		json_open_object(&w);
		json_transfer(&w, push ? "pushed" : "fetched", &report, err);
		json_end(&w);
		data_json_print(cli, &text);
	}
	if (status < 0)
		return stopped(cli, push, &report, err);
	return show_transfer(cli, push ? "pushed" : "fetched", push, &report);
}

static int run_push(struct cli *cli, int argc, char **argv, struct err *err)
{
	return run_transfer(cli, true, argc, argv, err);
}

static int run_fetch(struct cli *cli, int argc, char **argv, struct err *err)
{
	return run_transfer(cli, false, argc, argv, err);
}

static int run_pull(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct transfer_flags flags = { .transfer = { .remote = NULL } };
	struct args args;
	int go_on = parse(cli, &flags, false, true, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_transfer_report moved CLEANUP(data_transfer_report_release) = { .remote = NULL };
	struct data_checkout_report report CLEANUP(data_checkout_report_release) = { .files = 0 };
	if (data_cli_open(cli, &repo, err) < 0)
		return -1;
	bool dry = flags.transfer.dry;
	int status = dry ? data_fetch(repo, args.at, args.len, &flags.transfer, &moved, err)
			 : data_pull(repo, args.at, args.len, &flags.transfer, &flags.checkout, &moved, &report, err);
	if (cli->json && (status == 0 || moved.failed.len || moved.stopped.len)) {
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		struct json_writer w;
		json_begin(&w, &text, JSON_PYTHON);
		json_open_object(&w);
		json_transfer(&w, "fetched", &moved, err);
		if (!dry) {
			json_key(&w, "checkout");
			json_open_object(&w);
			data_json_checkout(&w, &report);
			json_close(&w);
		}
		json_end(&w);
		data_json_print(cli, &text);
	}
	if (status < 0)
		return stopped(cli, false, &moved, err);
	int transfer_code = show_transfer(cli, "fetched", false, &moved);
	if (dry)
		return transfer_code;
	int checkout_code = data_show_checkout(cli, &report, false, transfer_code != 0);
	if (transfer_code == ERR_NET && checkout_code == ERR_DATA)
		return ERR_NET;
	return transfer_code ? transfer_code : checkout_code;
}

#define COMMON_HELP                                                                                                          \
	"PATH is tracked data, a part of a tracked directory, or a target, which stands for its outputs.\n\n"                \
	"Every object is verified by size and md5. The exit code is 3 if something is missing or damaged, 4 if the remote\n" \
	"refused or could not be reached, and never 0 unless all of the data is where it belongs."

const struct command cmd_data_push = {
	.name = "push",
	.summary = "upload what the remote lacks",
	.usage = "[OPTIONS] [PATH...]",
	.help = "Asks the remote for every object, and uploads from the cache those that it lacks or has damaged; manifests of\n"
		"directories last. Directories that this clone has seen whole there in the last week are looked at, not asked for member\n"
		"by member, unless with --verify. To a version_aware remote files go under their own names, and the ids of their versions\n"
		"into the .dvc files, which are to be committed then.\n\n" COMMON_HELP
		"\n\n  mlmake data push\n  mlmake data push --dry-run\n  mlmake data push --limit-rate 10M\n  mlmake data push --verify        # also finds what others deleted\n  mlmake data push -r archive models",
	.has_json = true,
	.most = MANY,
	.locks = true,
	.run = run_push,
};

const struct command cmd_data_fetch = {
	.name = "fetch",
	.summary = "download into the cache what it lacks",
	.usage = "[OPTIONS] [PATH...]",
	.help = "Downloads objects that the cache lacks. The work tree is not touched.\n\n" COMMON_HELP
		"\n\n  mlmake data fetch data/raw",
	.has_json = true,
	.most = MANY,
	.run = run_fetch,
};

const struct command cmd_data_pull = {
	.name = "pull",
	.summary = "fetch, then checkout",
	.usage = "[OPTIONS] [PATH...]",
	.help = "Downloads what the cache lacks and makes the data in the work tree what the .dvc files say.\n\n" COMMON_HELP
		"\n\n  mlmake data pull\n  mlmake data pull --dry-run\n  mlmake data pull data/raw/train.csv",
	.has_json = true,
	.most = MANY,
	.locks = true,
	.run = run_pull,
};
