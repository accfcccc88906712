/* mlmake data diff */
#include "cli/cmd_data.h"

#include "base/mem.h"
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

struct diff_flags {
	bool hashes, markdown, hide_missing, exit_code;
	struct strlist targets;
};

static void diff_flags_release(struct diff_flags *flags)
{
	strlist_release(&flags->targets);
}

static void sections(const struct data_diff *diff, struct section ret[SECTIONS])
{
	static const struct data_diff_list none;
	ret[0] = (struct section){ "Added", "added", "added", &diff->added, false, false };
	ret[1] = (struct section){ "Deleted", "deleted", "deleted", &diff->deleted, false, false };
	ret[2] = (struct section){ "Renamed", "renamed", "renamed", &diff->renamed, true, false };
	ret[3] = (struct section){ "Modified", "modified", "modified", &diff->modified, false, true };
	ret[4] = (struct section){ "Not in cache", "not in cache", "not in cache", diff->with_missing ? &diff->not_in_cache : &none, false, false };
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
		if (k == SECTIONS - 1 && !diff->with_missing)
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

static size_t length(const char *text)
{
	size_t count = 0;
	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static size_t widest(size_t a, size_t b)
{
	return a > b ? a : b;
}

struct row {
	char *cells[3];
};

/* As dvc --md prints it: columns as wide as their widest cell, the heading with two more. */
static void print_markdown(struct cli *cli, const struct data_diff *diff, bool hashes)
{
	VEC(struct row) rows = { 0 };
	size_t width[3] = { 0 }, columns = hashes ? 3 : 2;
	struct section all[SECTIONS];
	sections(diff, all);
	vec_push(&rows, ((struct row){ { mem_strdup("Status"), mem_strdup(hashes ? "Hash" : "Path"), mem_strdup("Path") } }));
	for (size_t k = 0; k < SECTIONS; k++)
		for (size_t i = 0; i < all[k].list->len; i++) {
			const struct data_diff_entry *entry = &all[k].list->at[i];
			char *path = all[k].two_paths ? mem_printf("%s -> %s", entry->path, entry->new_path) : mem_strdup(entry->path);
			char *hash = mem_printf("%.8s%s%.8s", shown(entry->hash), all[k].two_hashes ? ".." : "",
						all[k].two_hashes ? shown(entry->new_hash) : "");
			vec_push(&rows, ((struct row){ { mem_strdup(all[k].word), hashes ? hash : path, hashes ? path : hash } }));
		}
	for (size_t i = 0; i < rows.len; i++)
		for (size_t c = 0; c < columns; c++)
			width[c] = widest(width[c], length(rows.at[i].cells[c]) + (i ? 0 : 2));
	for (size_t i = 0; i < rows.len; i++) {
		for (size_t c = 0; c < columns; c++)
			cli_out(cli, "| %s%*s ", rows.at[i].cells[c], (int)(width[c] - length(rows.at[i].cells[c])), "");
		cli_out(cli, "|\n");
		for (size_t c = 0; i == 0 && c < columns; c++) {
			cli_out(cli, "|");
			for (size_t n = 0; n < width[c] + 2; n++)
				cli_out(cli, "-");
		}
		if (i == 0)
			cli_out(cli, "|\n");
		for (size_t c = 0; c < 3; c++)
			free(rows.at[i].cells[c]);
	}
	cli_out(cli, "\n");
	vec_release(&rows);
}

static int show(struct cli *cli, const struct data_diff *diff, const struct diff_flags *flags)
{
	bool hashes = flags->hashes;
	bool same = !diff->added.len && !diff->deleted.len && !diff->modified.len && !diff->renamed.len;
	bool empty = same && !(diff->with_missing && diff->not_in_cache.len);
	cli_progress_clear(cli);
	if (cli->json)
		print_json(cli, diff, hashes, empty);
	else if (flags->markdown)
		print_markdown(cli, diff, hashes);
	else if (empty)
		cli_note(cli, "no differences");
	else
		print_text(cli, diff, hashes);
	data_warn_list(cli, "not compared:", &diff->warnings);
	data_warn_list(cli, "cannot be read:", &diff->broken);
	if (diff->broken.len)
		return ERR_DATA;
	return flags->exit_code && !same ? ERR_FAILED : 0;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct diff_flags flags CLEANUP(diff_flags_release) = { .hashes = false };
	const struct option options[] = {
		{ 0, "targets", "PATH...", "only those; the same as -- PATH...", OPTION_WORDS, &flags.targets },
		{ 0, "show-hash", NULL, "md5s, too", OPTION_FLAG, &flags.hashes },
		{ 0, "md", NULL, "as a table in Markdown", OPTION_FLAG, &flags.markdown },
		{ 0, "hide-missing", NULL, "do not list what of A is not in the cache", OPTION_FLAG, &flags.hide_missing },
		{ 0, "exit-code", NULL, "exit with 1 if anything differs", OPTION_FLAG, &flags.exit_code },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_diff diff CLEANUP(data_diff_release) = { .with_missing = false };
	for (size_t i = 0; i < args.after_len; i++)
		strlist_add(&flags.targets, args.after[i]);
	if (data_cli_open(cli, &repo, err) < 0 ||
	    data_diff(repo, args.len > 0 ? args.at[0] : NULL, args.len > 1 ? args.at[1] : NULL, (const char *const *)flags.targets.at,
		      flags.targets.len, &diff, err) < 0)
		return -1;
	diff.with_missing = diff.with_missing && !flags.hide_missing;
	return show(cli, &diff, &flags);
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
