/*
 * What a run looks like: a live line and short results on a terminal, plain lines elsewhere, or one JSON event a line.
 *
 *     struct show show;
 *     show_begin(&show, cli, project, "test");
 *     struct run_sink sink = { .event = show_event, .ctx = &show };
 *     engine_run(project, &plan, &options, &sink, &summary, err);
 *     show_end(&show, &summary);
 */
#ifndef CLI_SHOW_RUN_H
#define CLI_SHOW_RUN_H

#include "cli/cli.h"
#include "engine/engine.h"

struct failure {
	const struct target *target;
	char *message;
	char *tail; /* the last lines that it printed */
};

struct show {
	struct cli *cli;
	const struct project *project;
	const char *wanted;        /* the targets that were asked for, for the last line */
	bool silent;               /* -q */
	bool explain;              /* --why */
	bool touch;                /* --touch */
	const struct plan *replay; /* its requested targets print their kept log where they do not run; NULL: none does */
	const char *again;         /* "mlmake" and what is to be given again with a target that failed */
	const struct target *args_target; /* the one that args are for; NULL: there are none */
	const char *args;          /* " -- ...", quoted */
	void (*before)(void *ctx);  /* --watch: called before the first news, and the only thing to be said where there are none; NULL: called */
	void *before_ctx;
	uint64_t started_ms;
	uint64_t eta_at_ms;        /* 0: unknown */
	const struct target *printed; /* whose output stands last in what was printed */
	VEC(const struct target *) running;
	VEC(struct failure) failures;
};

void show_begin(struct show *show, struct cli *cli, const struct project *project, const char *wanted);
void show_event(void *ctx, const struct run_event *event);
void show_end(struct show *show, const struct run_summary *summary);
void show_release(struct show *show);

const char *show_outcome_name(enum run_outcome outcome); /* as in JSON */

#endif
