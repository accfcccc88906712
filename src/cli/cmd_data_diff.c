/* mlmake data diff */
#include "cli/cmd_data.h"

#include "base/text.h"

#include <string.h>

struct section {
	const char *title; /* as a heading, and as the key */
	const char *key;
	const char *word;  /* in the summary */
	const struct data_diff_list *list;
	bool two_paths, two_hashes;
};

#define SECTIONS 5

static void sections(const struct data_diff *diff, struct section ret[SECTIONS])
{
	ret[0] = (struct section){ "Added", "added", "added", &diff->added, false, false };
	ret[1] = (struct section){ "Deleted", "deleted", "deleted", &diff->deleted, false, false };
	ret[2] = (struct section){ "Renamed", "renamed", "renamed", &diff->renamed, true, false };
	ret[3] = (struct section){ "Modified", "modified", "modified", &diff->modified, false, true };
	ret[4] = (struct section){ "Not in cache", "not in cache", "not in cache", &diff->not_in_cache, false, false };
}

static void json_pair(struct json_writer *w, const char *key, const char *old, const char *new, bool two)
{
	if (!two) {
		json_pair_str(w, key, old);
		return;
	}
	json_key(w, key);
	json_open_object(w);
	json_pair_str(w, "old", old);
	json_pair_str(w, "new", new);
	json_close(w);
}

static void print_json(struct cli *cli, const struct data_diff *diff, bool hashes, bool empty)
{
	static const unsigned order[SECTIONS] = { 0, 1, 3, 2, 4 };
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct section all[SECTIONS];
	struct json_writer w;
	sections(diff, all);
	json_begin(&w, &text, JSON_PYTHON);
	json_open_object(&w);
	for (size_t k = 0; k < SECTIONS && !empty; k++) {
		const struct section *section = &all[order[k]];
		if (section->list == &diff->not_in_cache && !diff->with_missing)
			continue;
		json_key(&w, section->key);
		json_open_array(&w);
		for (size_t i = 0; i < section->list->len; i++) {
			const struct data_diff_entry *entry = &section->list->at[i];
			json_open_object(&w);
			json_pair(&w, "path", entry->path, entry->new_path, section->two_paths);
			if (hashes)
				json_pair(&w, "hash", entry->hash, entry->new_hash, section->two_hashes);
			json_close(&w);
		}
		json_close(&w);
	}
	json_end(&w);
	data_json_print(cli, &text);
}

static const char *shown(const char *hash)
{
	return hash ? hash : "-";
}

static void print_section(struct cli *cli, const struct section *section, bool hashes, struct buf *summary)
{
	size_t files = 0;
	if (!section->list->len)
		return;
	cli_out(cli, "%s:\n", section->title);
	for (size_t i = 0; i < section->list->len; i++) {
		const struct data_diff_entry *entry = &section->list->at[i];
		files += !text_ends(entry->path, "/");
		cli_out(cli, "    ");
		if (hashes)
			cli_out(cli, "%.8s%s%.8s  ", shown(entry->hash), section->two_hashes ? ".." : "", section->two_hashes ? shown(entry->new_hash) : "");
		cli_out(cli, section->two_paths ? "%s -> %s\n" : "%s\n", entry->path, entry->new_path);
	}
	cli_out(cli, "\n");
	if (files)
		buf_addf(summary, "%s%zu %s", summary->len ? ", " : "", files, section->word);
}

static void print_text(struct cli *cli, const struct data_diff *diff, bool hashes)
{
	struct buf summary CLEANUP(buf_release) = BUF_INIT;
	struct section all[SECTIONS];
	sections(diff, all);
	for (size_t k = 0; k < SECTIONS; k++)
		print_section(cli, &all[k], hashes, &summary);
	if (summary.len)
		cli_out(cli, "files summary: %s\n", summary.data);
}

static int show(struct cli *cli, const struct data_diff *diff, bool hashes, bool exit_code)
{
	bool same = !diff->added.len && !diff->deleted.len && !diff->modified.len && !diff->renamed.len;
	cli_progress_clear(cli);
	if (cli->json)
		print_json(cli, diff, hashes, same && !diff->not_in_cache.len);
	else if (same && !diff->not_in_cache.len)
		cli_note(cli, "no differences");
	else
		print_text(cli, diff, hashes);
	data_warn_list(cli, "not compared:", &diff->warnings);
	data_warn_list(cli, "cannot be read:", &diff->broken);
	if (diff->broken.len)
		return ERR_DATA;
	return exit_code && !same ? ERR_FAILED : 0;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	bool hashes = false, exit_code = false;
	const struct option options[] = {
		{ 0, "show-hash", NULL, "md5s, too", OPTION_FLAG, &hashes },
		{ 0, "exit-code", NULL, "exit with 1 if anything differs", OPTION_FLAG, &exit_code },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_diff diff CLEANUP(data_diff_release) = { .with_missing = false };
	if (data_cli_open(cli, &repo, err) < 0 ||
	    data_diff(repo, args.len > 0 ? args.at[0] : NULL, args.len > 1 ? args.at[1] : NULL, args.after, args.after_len, &diff, err) < 0)
		return -1;
	return show(cli, &diff, hashes, exit_code);
}

const struct command cmd_data_diff = {
	.name = "diff",
	.summary = "compare data at two revisions, or with the work tree",
	.usage = "[OPTIONS] [A [B]] [-- PATH...]",
	.help = "Lists files of tracked data that were added, deleted, renamed or modified from revision A (HEAD) to revision B (the data\n"
		"in the work tree as it is, recorded or not). Manifests that the cache lacks are fetched. --json prints what dvc diff --json\n"
		"prints. Exits with 0 whether or not anything differs, unless --exit-code is given.\n\n"
		"Examples:\n"
		"  mlmake data diff                       what changed since the last commit\n"
		"  mlmake data diff v1.0 HEAD -- data     between two revisions, below data\n"
		"  mlmake data diff --json --show-hash    for scripts\n",
	.has_json = true,
	.most = 2,
	.wants = "two revisions at most",
	.wants_hint = "paths come after --: mlmake data diff HEAD~1 HEAD -- data",
	.takes_after = true,
	.run = run,
};
