/* mlmake data: the family, and its members that need few lines: init, add, checkout, root. */
#include "cli/cmd_data.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "cli/commands.h"
#include "graph/graph.h"

#include <string.h>

#define SHOWN_MAX 100

static void show_progress(void *ctx, const struct data_progress *progress)
{
	cli_progress_of(ctx, &(struct cli_progress){ .verb = progress->verb, .done = progress->done, .total = progress->total,
						     .bytes = progress->bytes, .total_bytes = progress->total_bytes, .slow = progress->slow });
}

static void show_note(void *ctx, const char *text)
{
	cli_note(ctx, "%s", text);
}

static void show_warning(void *ctx, const char *text)
{
	cli_warn(ctx, "%s", text);
}

/* Of an alias, such as the target of a matrix, those of what it stands for. */
static void add_outputs(const struct project *project, const struct target *target, bool tracked_only, struct strlist *ret)
{
	for (size_t i = 0; target->is_alias && i < target->needs.len; i++)
		add_outputs(project, &project->targets[target->needs.at[i]], tracked_only, ret);
	for (size_t i = 0; i < target->outputs.len; i++) {
		const struct output *output = &target->outputs.at[i];
		if (output->track || !tracked_only)
			strlist_take(ret, mem_printf("%s/%s", project->root, output->path));
	}
}

/* What a target's name stands for: its outputs that are versioned, or, where none says so, all, which may be recorded all the same. */
static int find_outputs(void *ctx, const char *word, struct strlist *ret, struct err *err)
{
	struct cli *cli = ctx;
	struct project *project CLEANUP(cli_drop_project) = NULL;
	if (cli_load(cli, &project, err) < 0)
		return err_note(err, "while looking whether '%s', which no .dvc file records, is a target", word);
	const struct target *target = project_find(project, word);
	if (!target)
		return 0;
	add_outputs(project, target, true, ret);
	if (!ret->len)
		add_outputs(project, target, false, ret);
	if (ret->len)
		return 0;
	err_set(err, ERR_CONFIG, "the target '%s' has no outputs, and no .dvc file records a path of that name", word);
	return err_hint(err, "mlmake data ls -R shows what is tracked");
}

struct data_ui data_cli_ui(struct cli *cli)
{
	return (struct data_ui){ show_progress, show_note, show_warning, find_outputs, cli };
}

int data_cli_open(struct cli *cli, struct data_repo **ret, struct err *err)
{
	return data_cli_open_at(cli, NULL, ret, err);
}

int data_cli_open_at(struct cli *cli, const char *dir, struct data_repo **ret, struct err *err)
{
	const struct data_ui ui = data_cli_ui(cli);
	uint64_t wait_ms = 0;
	if (cli->lock_timeout && !text_parse_duration(cli->lock_timeout, &wait_ms)) {
		err_set(err, ERR_CONFIG, "'%s' is no time", cli->lock_timeout);
		return err_hint(err, "--lock-timeout takes 30s, 2m; 0s: do not wait");
	}
	if (data_open(dir, &ui, ret, err) < 0)
		return -1;
	if (cli->lock_timeout)
		data_set_lock_wait(*ret, wait_ms);
	return 0;
}

void data_close_ptr(struct data_repo **repo)
{
	data_close(*repo);
	*repo = NULL;
}

void data_warn_list(struct cli *cli, const char *title, const struct strlist *list)
{
	if (!list->len)
		return;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	buf_addstr(&text, title);
	for (size_t i = 0; i < list->len && i < SHOWN_MAX; i++)
		buf_addf(&text, "\n  %s", list->at[i]);
	if (list->len > SHOWN_MAX)
		buf_addf(&text, "\n  and %zu more", list->len - SHOWN_MAX);
	cli_warn(cli, "%s", text.data);
}

void data_show_hints(struct cli *cli, const struct strlist *hints)
{
	for (size_t i = 0; i < hints->len; i++)
		cli_note(cli, "hint: %s", hints->at[i]);
}

void data_json_list(struct json_writer *w, const char *key, const struct strlist *list)
{
	if (!list->len)
		return;
	json_key(w, key);
	json_open_array(w);
	for (size_t i = 0; i < list->len; i++)
		json_put_str(w, list->at[i]);
	json_close(w);
}

void data_json_print(struct cli *cli, struct buf *text)
{
	buf_addch(text, '\n');
	cli_out_bytes(cli, text->data, text->len);
}

static int run_init(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct data_init_options init = { .no_scm = false };
	const struct option options[] = {
		{ 0, "no-scm", NULL, "do without git", OPTION_FLAG, &init.no_scm },
		{ 0, "subdir", NULL, "make a repository of a directory below the top of the git repository", OPTION_FLAG, &init.subdir },
		{ 'f', "force", NULL, "replace the config of an existing one; the cache stays", OPTION_FLAG, &init.force },
		OPTION_END,
	};
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (data_init(&init, &root, err) < 0)
		return -1;
	cli_note(cli, "%s holds versioned data now", root.data);
	cli_note(cli, "next: mlmake data add PATH, and mlmake data remote add -d NAME URL");
	return 0;
}

static const struct command cmd_data_init = {
	.name = "init",
	.summary = "make this directory a data repository, as dvc init does",
	.usage = "[OPTIONS]",
	.help = "Makes .dvc and .dvcignore at the top of a git repository, and stages them. dvc and mlmake may both be used then.\n\n"
		"  mlmake data init",
	.run = run_init,
};

/* For git add: a name of its own options or of its magic is neither behind "./". */
static void add_git_path(struct buf *line, const char *cwd, const char *root, const char *path)
{
	char *abs OWNED = path_joined(root, path);
	struct buf rel CLEANUP(buf_release) = BUF_INIT, shown CLEANUP(buf_release) = BUF_INIT;
	path_relative(&rel, cwd, abs);
	buf_addf(&shown, "%s%s", strchr("-:", rel.data[0]) ? "./" : "", rel.data);
	buf_addch(line, ' ');
	text_add_shell_quoted(line, shown.data);
}

void data_show_to_stage(struct cli *cli, const struct data_repo *repo, const struct strlist *to_stage)
{
	struct buf line CLEANUP(buf_release) = BUF_INIT, cwd CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (!to_stage->len || path_cwd(&cwd, &ignored) < 0)
		return;
	if (to_stage->len > SHOWN_MAX) /* half of them would be worse than none */
		buf_addstr(&line, " -A -- ':/*.dvc' ':/*.gitignore'");
	for (size_t i = 0; i < to_stage->len && to_stage->len <= SHOWN_MAX; i++)
		add_git_path(&line, cwd.data, data_root(repo), to_stage->at[i]);
	cli_note(cli, "to record it in git: git add%s", line.data);
}

static void show_added_text(struct cli *cli, const struct data_add_report *report)
{
	for (size_t i = 0; i < report->added.len; i++) {
		const struct data_added *added = &report->added.at[i];
		cli_note(cli, "%s %s (%s)", added->changed ? "added" : "unchanged:", added->path, added->dvc_path);
		for (size_t k = 0; k < added->removed.len && k < SHOWN_MAX; k++)
			cli_note(cli, "  no longer in it: %s", added->removed.at[k]);
		if (added->removed.len > SHOWN_MAX)
			cli_note(cli, "  and %zu more", added->removed.len - SHOWN_MAX);
	}
}

static void print_added_json(struct cli *cli, const struct data_add_report *report)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &text, JSON_PYTHON);
	json_open_object(&w);
	json_key(&w, "added");
	json_open_array(&w);
	for (size_t i = 0; i < report->added.len; i++) {
		json_open_object(&w);
		json_pair_str(&w, "path", report->added.at[i].path);
		json_pair_str(&w, "dvc", report->added.at[i].dvc_path);
		json_pair_bool(&w, "changed", report->added.at[i].changed);
		data_json_list(&w, "removed", &report->added.at[i].removed);
		json_close(&w);
	}
	json_close(&w);
	data_json_list(&w, "to_stage", &report->to_stage);
	json_end(&w);
	data_json_print(cli, &text);
}

void data_show_added(struct cli *cli, const struct data_repo *repo, const struct data_add_report *report)
{
	cli_progress_clear(cli);
	if (cli->json)
		print_added_json(cli, report);
	else {
		show_added_text(cli, report);
		data_show_to_stage(cli, repo, &report->to_stage);
	}
}

static const char no_to_remote[] = "add it and push it: mlmake data add PATH && mlmake data push -r NAME PATH; the cache's copy goes with mlmake data gc";

static int run_add(struct cli *cli, int argc, char **argv, struct err *err)
{
	const char *out = NULL;
	bool force = false;
	struct data_add_options add = { .no_commit = false };
	const struct option options[] = {
		{ 0, "no-commit", NULL, "record it without putting it into the cache; mlmake data commit does that later", OPTION_FLAG,
		  &add.no_commit },
		{ 0, "glob", NULL, "PATHs are patterns: *, ?, [a-z], ** for any directories", OPTION_FLAG, &add.glob },
		{ 'o', "out", "OUT", "copy PATH, which may lie elsewhere or be a URL, to OUT and add that", OPTION_STRING, &out },
		{ 'f', "force", NULL, "with --out: replace what is there", OPTION_FLAG, &force },
		{ 0, "no-relink", NULL, "leave the files as they are, whatever cache.type says", OPTION_FLAG, &add.no_relink },
		{ 0, "to-remote", NULL, no_to_remote, OPTION_REFUSED, NULL },
		{ 'r', "remote", NULL, no_to_remote, OPTION_REFUSED, NULL },
		{ 0, "remote-jobs", NULL, no_to_remote, OPTION_REFUSED, NULL },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (out && (args.len != 1 || add.glob || add.no_commit)) {
		err_set(err, ERR_CONFIG, "--out takes one PATH, and neither --glob nor --no-commit");
		return err_hint(err, "for example mlmake data add ../raw/train.csv --out data/train.csv");
	}
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_add_report report CLEANUP(data_add_report_release) = { .staged = false };
	if (data_cli_open(cli, &repo, err) < 0)
		return -1;
	if (out ? data_add_copy(repo, args.at[0], out, force, &report, err) < 0 : data_add(repo, args.at, args.len, &add, &report, err) < 0)
		return -1;
	data_show_added(cli, repo, &report);
	return 0;
}

const char data_no_with_deps[] = "name what it depends on, too, or give no path at all: then it is done for all data";

static int run_commit(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct data_add_options add = { .no_commit = false };
	const struct option options[] = {
		{ 'f', "force", NULL, "", OPTION_ACCEPTED, NULL },
		{ 'R', "recursive", NULL, "", OPTION_ACCEPTED, NULL },
		{ 'd', "with-deps", NULL, data_no_with_deps, OPTION_REFUSED, NULL },
		{ 0, "no-relink", NULL, "leave the files as they are, whatever cache.type says", OPTION_FLAG, &add.no_relink },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_add_report report CLEANUP(data_add_report_release) = { .staged = false };
	struct strlist absent CLEANUP(strlist_release) = { 0 };
	if (data_cli_open(cli, &repo, err) < 0 ||
	    data_commit(repo, args.at, args.len, &add, &report, &absent, err) < 0)
		return -1;
	data_show_added(cli, repo, &report);
	data_warn_list(cli, "not here, so left as recorded:", &absent);
	return 0;
}

static const struct command cmd_data_commit = {
	.name = "commit",
	.summary = "record the data as it is now, where it is tracked already",
	.usage = "[OPTIONS] [PATH...]",
	.help = "Does what mlmake data add does, for what is tracked: all of it, or PATHs. Outputs whose data is not checked out stay as they\n"
		"are recorded.\n\n"
		"Examples:\n"
		"  mlmake data commit\n"
		"  mlmake data commit data/train.csv\n",
	.has_json = true,
	.most = MANY,
	.locks = true,
	.run = run_commit,
};

static const struct command cmd_data_add = {
	.name = "add",
	.summary = "put files and directories under version control as data",
	.usage = "[OPTIONS] PATH...",
	.help = "Copies the content into the cache and writes PATH.dvc and a line in .gitignore, as dvc add does.\n\n"
		"A path inside of a tracked directory changes that part alone and keeps members that are not there; the directory itself\n"
		"is taken exactly as it is, and members that are gone are listed. What cannot be versioned (links to directories, broken\n"
		"links, FIFOs, names that are not UTF-8) is an error that names it, and then nothing is recorded.\n\n"
		"Examples:\n"
		"  mlmake data add data/raw models/model.onnx\n"
		"  mlmake data add --glob 'data/**/*.parquet'\n"
		"  mlmake data add /mnt/share/train.csv --out data/train.csv\n",
	.has_json = true,
	.least = 1,
	.most = MANY,
	.locks = true,
	.run = run_add,
};

int data_show_checkout(struct cli *cli, const struct data_checkout_report *report, bool counted, bool missing_told)
{
	static const char letters[] = "AMD";
	const struct strlist *changed[] = { &report->added, &report->modified, &report->deleted };
	cli_progress_clear(cli);
	for (size_t k = 0; k < ARRAY_LEN(changed) && !cli->json && !counted; k++)
		for (size_t i = 0; i < changed[k]->len; i++)
			cli_out(cli, "%c       %s\n", letters[k], changed[k]->at[i]);
	if (!missing_told)
		data_warn_list(cli, "not in the cache, so left as it was (mlmake data pull fetches it):", &report->missing);
	data_warn_list(cli, "damaged in the cache, so left as it was (mlmake data pull fetches it again):", &report->damaged);
	data_warn_list(cli, "would be lost, so left as it was (mlmake data add keeps it, --force drops changes):", &report->unsafe);
	data_warn_list(cli, "cannot be read:", &report->broken);
	if (report->missing.len || report->damaged.len || report->broken.len)
		return ERR_DATA;
	return report->unsafe.len ? ERR_FAILED : 0;
}

void data_json_checkout(struct json_writer *w, const struct data_checkout_report *report)
{
	json_pair_uint(w, "files", report->files);
	data_json_list(w, "added", &report->added);
	data_json_list(w, "modified", &report->modified);
	data_json_list(w, "deleted", &report->deleted);
	data_json_list(w, "unsafe", &report->unsafe);
	data_json_list(w, "not_in_cache", &report->missing);
	data_json_list(w, "damaged_in_cache", &report->damaged);
	data_json_list(w, "unreadable", &report->broken);
}

static int run_checkout(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct data_checkout_options checkout = { .force = false };
	bool allow_missing = false, summary = false;
	const struct option options[] = {
		{ 'f', "force", NULL, "overwrite changed files that are in no cache; untracked ones stay", OPTION_FLAG, &checkout.force },
		{ 0, "relink", NULL, "make every file anew, by the links that cache.type asks for", OPTION_FLAG, &checkout.relink },
		{ 0, "allow-missing", NULL, "exit with 0 even if the cache lacks data; it is listed all the same", OPTION_FLAG, &allow_missing },
		{ 0, "summary", NULL, "only print how many outputs changed", OPTION_FLAG, &summary },
		{ 'R', "recursive", NULL, "", OPTION_ACCEPTED, NULL },
		{ 'd', "with-deps", NULL, data_no_with_deps, OPTION_REFUSED, NULL },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_checkout_report report CLEANUP(data_checkout_report_release) = { .files = 0 };
	if (data_cli_open(cli, &repo, err) < 0 ||
	    data_checkout(repo, args.at, args.len, &checkout, &report, err) < 0)
		return -1;
	if (cli->json) {
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		struct json_writer w;
		json_begin(&w, &text, JSON_PYTHON);
		json_open_object(&w);
		data_json_checkout(&w, &report);
		json_end(&w);
		data_json_print(cli, &text);
	} else if (summary)
		cli_out(cli, "%zu modified, %zu added, %zu deleted\n", report.modified.len, report.added.len, report.deleted.len);
	int code = data_show_checkout(cli, &report, summary, false);
	if (allow_missing && !report.damaged.len && !report.broken.len)
		return report.unsafe.len ? ERR_FAILED : 0;
	return code;
}

static const struct command cmd_data_checkout = {
	.name = "checkout",
	.summary = "make the data in the work tree what the .dvc files say",
	.usage = "[OPTIONS] [PATH...]",
	.help = "Takes content from the cache and verifies every copy. Bytes that are in no cache are never destroyed without --force:\n"
		"they are listed, that path is left as it was, and the exit code is 1. Missing or damaged objects give exit code 3.\n\n"
		"  git switch experiment && mlmake data checkout\n"
		"  mlmake data checkout data/raw",
	.has_json = true,
	.most = MANY,
	.locks = true,
	.run = run_checkout,
};

static int run_root(struct cli *cli, int argc, char **argv, struct err *err)
{
	const struct option options[] = { OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	if (data_cli_open(cli, &repo, err) < 0)
		return -1;
	cli_out(cli, "%s\n", data_root(repo));
	return 0;
}

static const struct command cmd_data_root = {
	.name = "root",
	.summary = "print the directory that holds .dvc",
	.usage = "",
	.help = "Prints the absolute path of the data repository's root.\n\n"
		"  cd \"$(mlmake data root)\"",
	.run = run_root,
};

static const struct command *const subcommands[] = {
	&cmd_data_init,     &cmd_data_add,  &cmd_data_commit, &cmd_data_status, &cmd_data_diff,
	&cmd_data_import,   &cmd_data_import_url, &cmd_data_update, &cmd_data_remove,   &cmd_data_move, &cmd_data_unprotect,
	&cmd_data_checkout, &cmd_data_ls,   &cmd_data_get,    &cmd_data_push,   &cmd_data_fetch,
	&cmd_data_pull,     &cmd_data_verify, &cmd_data_gc, &cmd_data_remote, &cmd_data_config, &cmd_data_root, &cmd_data_merge,
	&cmd_data_migrate, NULL,
};

/* dvc's commands that are none of ours, or go by another name. */
static const struct command_word elsewhere[] = {
	{ "list", "mlmake data ls" },
	{ "mv", "mlmake data move" },
	{ "rm", "mlmake data remove" },
	{ "get-url", "mlmake data import-url URL OUT, then mlmake data remove OUT, leaves the plain file; curl or aws s3 cp take it, too" },
	{ "list-url", "aws s3 ls lists a bucket; mlmake data ls URL lists a data repository" },
	{ "ls-url", "aws s3 ls lists a bucket; mlmake data ls URL lists a data repository" },
	{ "import-db", "databases are dvc's part: dvc import-db writes the .dvc file, and mlmake data pushes and pulls the result" },
	{ "repro", "mlmake runs targets: mlmake run TARGET. Stages of dvc.yaml are run by dvc repro" },
	{ "run", "mlmake runs targets: mlmake run TARGET. Stages of dvc.yaml are run by dvc repro" },
	{ "stage", "mlmake list shows the targets here; stages of dvc.yaml are made by dvc stage add" },
	{ "dag", "mlmake graph shows the targets and what needs what" },
	{ "cache", "mlmake data config cache.dir DIR sets where the cache lies" },
	{ "destroy", "remove .dvc and the .dvc files with git rm; mlmake data remove --outs PATH does it path by path" },
	{ "install", "mlmake hook install sets up git's hooks and merge driver" },
	{ "git-hook", "mlmake hook run is what the installed hooks call" },
	{ "version", "mlmake version" },
	{ "doctor", "mlmake doctor" },
	{ "completion", "mlmake completion bash|zsh|fish" },
	{ "check-ignore", "mlmake data add says what .dvcignore leaves out; git check-ignore tells of .gitignore" },
	{ "du", "mlmake data ls -R --size lists sizes" },
	{ "freeze", "dvc freeze STAGE writes frozen: true into dvc.yaml" },
	{ "unfreeze", "dvc unfreeze STAGE takes frozen: true out of dvc.yaml" },
	{ "exp", "experiments are dvc's part: dvc exp" },
	{ "experiments", "experiments are dvc's part: dvc exp" },
	{ "queue", "experiments are dvc's part: dvc queue" },
	{ "params", "dvc params diff compares parameters" },
	{ "metrics", "dvc metrics show and dvc metrics diff" },
	{ "plots", "dvc plots show and dvc plots diff" },
	{ "artifacts", "dvc artifacts get; mlmake data get URL PATH --rev TAG takes a file at a tag" },
	{ "dataset", "datasets are dvc's part: dvc dataset" },
	{ "studio", "dvc studio" },
	{ NULL, NULL },
};

const struct command cmd_data = {
	.name = "data",
	.summary = "version data and models, in DVC's formats",
	.usage = "COMMAND ...",
	.help = "Data and models in git repositories: the content lies in a cache and on remotes, git keeps small .dvc files.\n"
		"Everything is in the formats of DVC 3, so that colleagues may go on using dvc.\n\n"
		"  mlmake data init\n"
		"  mlmake data remote add -d storage s3://ml-data/project\n"
		"  mlmake data add data/raw && git add . && git commit -m 'Add the data'\n"
		"  mlmake data push\n"
		"  mlmake data pull            in another clone",
	.elsewhere = elsewhere,
	.subcommands = subcommands,
};
