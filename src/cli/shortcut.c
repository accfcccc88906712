#include "cli/shortcut.h"

#include "base/fs.h"
#include "base/path.h"
#include "store/codec.h"

#include <stdlib.h>
#include <string.h>

static void add_list(struct buf *out, const struct string_list *list)
{
	codec_add_u32(out, (uint32_t)list->len);
	for (size_t i = 0; i < list->len; i++)
		codec_add_str(out, list->at[i]);
}

static void look(struct shortcut *shortcut, const char *root)
{
	uint64_t files;
	if (!snapshot_ask(root, SNAPSHOT_RUNS, &shortcut->question, &shortcut->answer, &files))
		return;
	struct codec_in in = codec_in(shortcut->answer.data, shortcut->answer.len);
	shortcut->wanted = codec_str(&in);
	shortcut->up_to_date = codec_u64(&in);
	shortcut->found = codec_done(&in);
}

void shortcut_begin(struct shortcut *shortcut, struct cli *cli, const struct shortcut_request *request)
{
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	*shortcut = (struct shortcut){ .cli = cli, .question = BUF_INIT, .answer = BUF_INIT };
	const struct project_options load = { .config_file = cli->config_file, .overrides = *request->overrides };
	if (project_find_root(NULL, &root, &err) < 0 || project_question(&load, root.data, &shortcut->question, &err) < 0)
		return;
	codec_add_u8(&shortcut->question, request->dry_run);
	add_list(&shortcut->question, request->names);
	add_list(&shortcut->question, request->args);
	if (!request->long_way)
		look(shortcut, root.data);
	if (shortcut->found)
		return;
	/* A project of its own may get a directory of mlmake's before anything has run. */
	OWNED char *config = path_joined(root.data, "mlmake.yaml");
	shortcut->snapshot = snapshot_begin(root.data, !request->dry_run && fs_is_file(config));
}

static void keep(struct shortcut *shortcut, const struct buf *answer, uint64_t seen)
{
	const char *why_not;
	if (!shortcut->snapshot)
		return;
	snapshot_keep(shortcut->snapshot, SNAPSHOT_RUNS, &shortcut->question, answer, seen, &why_not);
	if (shortcut->cli->verbose)
		cli_note(shortcut->cli, why_not ? "no snapshot of this answer: %s" : "this answer is kept as a snapshot", why_not);
}

void shortcut_keep(struct shortcut *shortcut, const char *wanted, const struct run_summary *summary)
{
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	if (summary->restored || summary->succeeded || summary->failed || summary->skipped || summary->would_run || summary->accepted ||
	    summary->signal_number || summary->warnings)
		return;
	codec_add_str(&answer, wanted);
	codec_add_u64(&answer, summary->up_to_date);
	keep(shortcut, &answer, summary->state_seen);
}

void shortcut_release(struct shortcut *shortcut)
{
	snapshot_end(shortcut->snapshot);
	shortcut->snapshot = NULL;
	buf_release(&shortcut->question);
	buf_release(&shortcut->answer);
}
