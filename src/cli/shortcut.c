#include "cli/shortcut.h"

#include "base/fs.h"
#include "base/path.h"
#include "store/codec.h"

#include <stdlib.h>
#include <string.h>

/* A run that made fewer targets, or a smaller part of them, leaves the next one to find out that nothing is to do. */
#define AGAIN_MIN 256
#define AGAIN_PART 4

static void add_list(struct buf *out, const struct string_list *list)
{
	codec_add_u32(out, (uint32_t)list->len);
	for (size_t i = 0; i < list->len; i++)
		codec_add_str(out, list->at[i]);
}

static void look(struct shortcut *shortcut, const char *root)
{
	uint64_t files;
	if (!snapshot_ask(root, SNAPSHOT_RUNS, &shortcut->question, &shortcut->answer, &files, &shortcut->changes))
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
	shortcut->root = mem_strdup(root.data);
	/* A project of its own may get a directory of mlmake's before anything has run. */
	OWNED char *config = path_joined(root.data, "mlmake.yaml");
	shortcut->snapshot = snapshot_begin(root.data, !request->dry_run && fs_is_file(config));
}

const struct run_doubts *shortcut_doubts(struct shortcut *shortcut, const struct project *project, const struct plan *plan)
{
	/* What says what the graph is may not have changed. */
	if (!shortcut->changes.known || !shortcut->snapshot || snapshot_has_seen(shortcut->snapshot, &shortcut->changes) ||
	    !doubts_find(project, plan, &shortcut->changes, &shortcut->doubts))
		return NULL;
	snapshot_go_on(shortcut->snapshot, &shortcut->changes);
	return &shortcut->doubts;
}

/* Whether it is kept. */
static bool keep(struct shortcut *shortcut, const struct buf *answer, uint64_t seen)
{
	const char *why_not;
	if (!shortcut->snapshot)
		return false;
	snapshot_keep(shortcut->snapshot, SNAPSHOT_RUNS, &shortcut->question, answer, seen, &why_not);
	if (shortcut->cli->verbose)
		cli_note(shortcut->cli, why_not ? "no snapshot of this answer: %s" : "this answer is kept as a snapshot", why_not);
	return !why_not;
}

/* To look at a target takes a hundredth of what starting a command takes. */
static bool has_made_much(const struct run_summary *summary)
{
	return summary->succeeded >= AGAIN_MIN && summary->succeeded >= summary->up_to_date / AGAIN_PART &&
	       !summary->failed && !summary->skipped && !summary->signal_number && !summary->warnings;
}

static bool is_nothing_done(const struct run_summary *summary)
{
	return !(summary->restored || summary->succeeded || summary->failed || summary->skipped || summary->would_run || summary->accepted ||
		 summary->signal_number || summary->warnings);
}

void shortcut_keep(struct shortcut *shortcut, const char *wanted, const struct run_summary *summary)
{
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	codec_add_str(&answer, wanted);
	codec_add_u64(&answer, summary->up_to_date);
	shortcut->made_much = has_made_much(summary);
	bool kept = is_nothing_done(summary) && keep(shortcut, &answer, summary->state_seen);
	if (!kept && summary->believed)
		snapshot_revise(shortcut->root, &shortcut->question, &shortcut->changes, summary->state_seen, &shortcut->doubts.names);
}

bool shortcut_again(struct shortcut *shortcut)
{
	if (!shortcut->snapshot || !shortcut->made_much)
		return false;
	snapshot_end(shortcut->snapshot);
	snapshot_changes_release(&shortcut->changes);
	shortcut->snapshot = snapshot_begin_later(shortcut->root);
	return shortcut->snapshot != NULL;
}

void shortcut_release(struct shortcut *shortcut)
{
	snapshot_end(shortcut->snapshot);
	shortcut->snapshot = NULL;
	free(shortcut->root);
	snapshot_changes_release(&shortcut->changes);
	doubts_release(&shortcut->doubts);
	buf_release(&shortcut->question);
	buf_release(&shortcut->answer);
}
