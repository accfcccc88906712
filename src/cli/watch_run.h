/*
 * mlmake --watch: running again when what was read has changed.
 *
 *     struct watcher watcher CLEANUP(watcher_release);
 *     watcher_begin(&watcher, cli, &overrides, err)
 *     return watcher_loop(&watcher, once, ctx, err);
 *
 * once loads the project, calls watcher_follow before it runs, runs with &watcher.changes as run_options.changes and watcher_show, and says by
 * watcher_ended how it went.
 */
#ifndef CLI_WATCH_RUN_H
#define CLI_WATCH_RUN_H

#include "cli/show_run.h"
#include "engine/watching.h"

struct watcher {
	struct cli *cli;
	struct project_options load;
	struct watching *watching;
	struct run_changes changes;
	struct project *project; /* followed */
	struct plan plan;
	struct project *now;     /* loaded while targets run; until the next change of the configuration */
	struct strlist changed;  /* why it runs again; empty: everything may have changed */
	bool again;              /* not the first time */
	bool said;               /* this time there was something to tell */
	bool ran;                /* this time a target ran */
	int signal_number;
};

int watcher_begin(struct watcher *watcher, struct cli *cli, const struct project_options *load, struct err *err) MUST_CHECK;
void watcher_release(struct watcher *watcher);

/* project NULL: it cannot be loaded. Both must stay until the next call, or until watcher_keep takes them over. */
int watcher_follow(struct watcher *watcher, const struct project *project, const struct plan *plan, struct err *err) MUST_CHECK;
void watcher_keep(struct watcher *watcher, struct project **project, struct plan *plan);
void watcher_show(struct watcher *watcher, struct show *show);
void watcher_ended(struct watcher *watcher, const struct show *show, const struct run_summary *summary);

/* Returns an exit code once a signal came, or -1 with err: the first time failed, or nothing can be watched. */
int watcher_loop(struct watcher *watcher, int (*once)(void *ctx, struct err *err), void *ctx, struct err *err);

#endif
