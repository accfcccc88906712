/* mlmake data status */
#include "cli/cmd_data.h"

#include "base/text.h"

struct status_flags {
	struct data_status_options status;
	bool exit_code;
	bool silent; /* -q */
};

static void json_changes(struct json_writer *w, const char *key, const struct data_changes *changes)
{
	if (!changes->modified.len && !changes->added.len && !changes->deleted.len && !changes->unknown.len && !changes->renamed.len)
		return;
	json_key(w, key);
	json_open_object(w);
	data_json_list(w, "modified", &changes->modified);
	data_json_list(w, "added", &changes->added);
	data_json_list(w, "deleted", &changes->deleted);
	data_json_list(w, "unknown", &changes->unknown);
	if (changes->renamed.len) {
		json_key(w, "renamed");
		json_open_array(w);
		for (size_t i = 0; i < changes->renamed.len; i++) {
			json_open_object(w);
			json_pair_str(w, "old", changes->renamed.at[i].from);
			json_pair_str(w, "new", changes->renamed.at[i].to);
			json_close(w);
		}
		json_close(w);
	}
	json_close(w);
}

static void print_json(struct cli *cli, const struct data_status *status, bool unchanged)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &text, JSON_PYTHON);
	json_open_object(&w);
	data_json_list(&w, "not_in_cache", &status->not_in_cache);
	data_json_list(&w, "not_in_remote", &status->not_in_remote);
	data_json_list(&w, "failed", &status->not_asked);
	data_json_list(&w, "hints", &status->hints);
	json_changes(&w, "committed", &status->committed);
	json_changes(&w, "uncommitted", &status->uncommitted);
	data_json_list(&w, "untracked", &status->untracked);
	if (unchanged)
		data_json_list(&w, "unchanged", &status->unchanged);
	json_end(&w);
	data_json_print(cli, &text);
}

/* A blank line stands between sections. */
static void heading(struct cli *cli, bool *any, const char *title, const char *hint)
{
	cli_out(cli, "%s%s\n  (%s)\n", *any ? "\n" : "", title, hint);
	*any = true;
}

static void list(struct cli *cli, bool *any, const char *title, const char *hint, const struct strlist *names)
{
	if (!names->len)
		return;
	heading(cli, any, title, hint);
	for (size_t i = 0; i < names->len; i++)
		cli_out(cli, "        %s\n", names->at[i]);
}

static void changes(struct cli *cli, bool *any, const char *title, const char *hint, const struct data_changes *changed)
{
	const struct {
		const char *word;
		const struct strlist *names;
	} kinds[] = { { "modified", &changed->modified }, { "added", &changed->added }, { "deleted", &changed->deleted },
		      { "unknown", &changed->unknown } };
	size_t count = changed->renamed.len;
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		count += kinds[k].names->len;
	if (!count)
		return;
	heading(cli, any, title, hint);
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (size_t i = 0; i < kinds[k].names->len; i++)
			cli_out(cli, "        %s: %s\n", kinds[k].word, kinds[k].names->at[i]);
	for (size_t i = 0; i < changed->renamed.len; i++)
		cli_out(cli, "        renamed: %s -> %s\n", changed->renamed.at[i].from, changed->renamed.at[i].to);
}

static bool has_changes(const struct data_changes *changed)
{
	return changed->modified.len || changed->added.len || changed->deleted.len || changed->unknown.len || changed->renamed.len;
}

static void print_text(struct cli *cli, const struct data_status *status, bool unchanged)
{
	bool any = false;
	/* What changed, or is only in part here, is not for commit to record. */
	list(cli, &any, "Not in the cache:", has_changes(&status->uncommitted) ? "mlmake data fetch downloads it" :
	     "mlmake data fetch downloads it, mlmake data commit takes it from the work tree", &status->not_in_cache);
	list(cli, &any, "Not on the remote:", "mlmake data push uploads it", &status->not_in_remote);
	changes(cli, &any, "Changed in .dvc files since the last commit:", "git commit records the .dvc files", &status->committed);
	changes(cli, &any, "Changed data that no .dvc file records yet:",
		"mlmake data add PATH records it, mlmake data checkout PATH takes it back", &status->uncommitted);
	list(cli, &any, "Untracked files:", "mlmake data add PATH versions them as data, git add PATH as text", &status->untracked);
	if (unchanged)
		list(cli, &any, "Unchanged:", "as recorded", &status->unchanged);
	if (!any && !status->broken.len && !status->not_asked.len)
		cli_out(cli, "No changes.\n");
}

static bool is_dirty(const struct data_status *status)
{
	return has_changes(&status->uncommitted) || status->not_in_cache.len || status->not_in_remote.len;
}

static int show(struct cli *cli, const struct data_status *status, const struct status_flags *flags)
{
	cli_progress_clear(cli);
	if (cli->json)
		print_json(cli, status, flags->status.unchanged);
	else if (!flags->silent)
		print_text(cli, status, flags->status.unchanged);
	data_warn_list(cli, "cannot be tracked:", &status->warnings);
	data_warn_list(cli, "cannot be read:", &status->broken);
	data_warn_list(cli, "the remote does not say whether it has:", &status->not_asked);
	data_show_hints(cli, &status->hints);
	if (status->broken.len || status->not_asked.len)
		return status->broken.len ? ERR_DATA : ERR_NET;
	return (flags->silent || flags->exit_code) && is_dirty(status) ? ERR_FAILED : 0;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct status_flags flags = { .exit_code = false };
	const char *untracked = "no";
	const struct option options[] = {
		{ 0, "granular", NULL, "list what is in directories, too", OPTION_FLAG, &flags.status.granular },
		{ 'c', "cloud", NULL, "compare with the remote", OPTION_FLAG, &flags.status.not_in_remote },
		{ 0, "not-in-remote", NULL, "the same", OPTION_FLAG, &flags.status.not_in_remote },
		{ 'r', "remote", "NAME", "the same with that remote instead of the default one", OPTION_STRING, &flags.status.remote },
		{ 'j', "jobs", "N", "requests at once", OPTION_UINT, &flags.status.jobs },
		{ 0, "untracked-files", "no|all", "list files that neither git nor the data tracks", OPTION_CHOICE, &untracked },
		{ 0, "no-remote-refresh", NULL, "what the remote has is not remembered: without -c nothing is asked", OPTION_REFUSED, NULL },
		{ 0, "unchanged", NULL, "list what is unchanged, too", OPTION_FLAG, &flags.status.unchanged },
		{ 0, "exit-code", NULL, "exit with 1 if data is not recorded or not in the cache", OPTION_FLAG, &flags.exit_code },
		{ 'q', NULL, NULL, "the same, and print nothing", OPTION_FLAG, &flags.silent },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	flags.status.not_in_remote = flags.status.not_in_remote || flags.status.remote;
	flags.status.untracked = text_eq(untracked, "all");
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_status status CLEANUP(data_status_release) = { .has_git = false };
	if (data_cli_open(cli, &repo, err) < 0 ||
	    data_status(repo, args.at, args.len, &flags.status, &status, err) < 0)
		return -1;
	return show(cli, &status, &flags);
}

const struct command cmd_data_status = {
	.name = "status",
	.summary = "what changed, and what the cache or the remote lacks",
	.usage = "[OPTIONS] [PATH...]",
	.help = "Compares the last commit, the .dvc files, the cache and the data. Exits with 0 even if something changed; with -q or\n"
		"--exit-code with 1 if data is not recorded or not in the cache (with -c: or not on the remote), and with 3 if a .dvc\n"
		"file cannot be read. --json prints what `dvc data status --json` prints.\n\n"
		"  mlmake data status\n"
		"  mlmake data status -q || mlmake data add data/raw",
	.has_json = true,
	.most = MANY,
	.run = run,
};
