/*
 * The short way to "nothing to do": a snapshot (store/snapshot.h) of an earlier run with the same arguments that had nothing to do.
 *
 *     struct shortcut shortcut CLEANUP(shortcut_release) = SHORTCUT_INIT;
 *     shortcut_begin(&shortcut, cli, &request);
 *     if (shortcut.found) print shortcut.wanted and shortcut.up_to_date, and be done
 *     ... load the project; options.doubts = shortcut_doubts(&shortcut, project, &plan); run ...
 *     shortcut_keep(&shortcut, wanted, &summary);
 *     if (shortcut_again(&shortcut)) the same once more with options.look_only, as the next run would do it
 */
#ifndef CLI_SHORTCUT_H
#define CLI_SHORTCUT_H

#include "cli/cli.h"
#include "engine/doubts.h"
#include "store/snapshot.h"

struct shortcut {
	struct cli *cli;
	struct buf question;
	struct snapshot *snapshot;
	bool found;
	struct buf answer;
	const char *wanted; /* in answer */
	uint64_t up_to_date;
	char *root;
	bool made_much;
	struct snapshot_changes changes; /* why there is no answer */
	struct run_doubts doubts;
};
#define SHORTCUT_INIT { .question = BUF_INIT, .answer = BUF_INIT }

/* Looks for an answer; where there is none, all that is read from here on is witnessed, until the release at the latest. An error leads
 * the long way, which says what is wrong. */
struct shortcut_request {
	const struct string_list *names, *overrides, *args;
	bool dry_run;
	bool long_way; /* do not look, but remember */
};
void shortcut_begin(struct shortcut *shortcut, struct cli *cli, const struct shortcut_request *request);

/* Before a run: which targets must be looked at; NULL: all. */
const struct run_doubts *shortcut_doubts(struct shortcut *shortcut, const struct project *project, const struct plan *plan);

/* After a run: remembers it if there was nothing to do. */
void shortcut_keep(struct shortcut *shortcut, const char *wanted, const struct run_summary *summary);

/* After shortcut_keep of a run that made much of what it was asked for, and once all that it needed is freed: true if it is worth while to look at once,
 * while all is in memory, whether anything is to do now, so that the next run need not. All that is read from here on is witnessed. */
bool shortcut_again(struct shortcut *shortcut);
void shortcut_release(struct shortcut *shortcut);

#endif
