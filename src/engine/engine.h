/*
 * Running a plan: fingerprints, up-to-date check, scheduler, records.
 * Specification: docs/decisions on the key and the up-to-date rule.
 *
 *     struct run_options options = { .jobs = 0 };
 *     engine_run(project, &plan, &options, &sink, &summary, err);
 *
 * With `cache: {remote: NAME}` results are shared with other clones: a target that is about to run, and that the output cache does not know,
 * is looked for there; what targets make is put there where engine/share_policy.h allows it.
 *
 * The engine prints nothing: what happens goes to the sink as events, in order, on the calling thread.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/err.h"
#include "engine/share.h"
#include "graph/graph.h"

struct jobserver;
struct run_doubts;

/* Who knows what changes while targets run: a target whose key is not what it was starts again. */
struct run_changes {
	int fd; /* readable when there may be something */
	/* Paths relative to the root, since the last call; valid until the next. *ret_now: the project as it is configured now, if that changed and can be loaded;
	 * then nothing new starts. */
	const struct strlist *(*peek)(void *ctx, const struct project **ret_now);
	void *ctx;
};

struct run_options {
	unsigned jobs;        /* 0: as many as jobserver has slots, else one a processor and one more */
	struct jobserver *jobserver; /* that was joined; the caller's. NULL: the run has one of its own */
	double max_load;      /* nothing new starts beside others above that load average; 0: any */
	bool keep_going;      /* -k */
	bool force;           /* -B: the requested targets and all they need run */
	bool dry_run;         /* -n */
	bool touch;           /* --touch: nothing runs; outputs that are there are recorded as made from what is there now */
	bool no_cache;        /* neither read nor write the output cache */
	bool cache_push;      /* share what is made, and what is up to date, wherever this runs */
	bool restore_only;    /* run no command: a target whose result is not known is skipped */
	bool look_only;       /* begin like any run, and stop where a target would run: would_run then says so */
	bool explain;         /* events carry reasons */
	bool stop_at_first;   /* with dry_run: no need to look further once anything would run (-q) */
	const struct run_changes *changes; /* --watch; NULL: files are what they are */
	const struct run_doubts *doubts; /* engine/doubts.h: the others are up to date; NULL: all are looked at */
	bool eta;             /* events say how long it may take: costs looking up how long each target took */
	unsigned tick_ms;     /* RUN_TICK this often while targets run; 0: never */
	const char *command;  /* as the user called it, for those who wait for our locks; NULL: "mlmake" */
	struct string_list args; /* after --: for the last requested target */
};

enum run_event_kind {
	RUN_PLANNED,   /* once: total */
	RUN_WAITING,   /* for a lock: message names the holder */
	RUN_STARTED,   /* reason is set where explain or dry_run */
	RUN_OUTPUT,    /* whole lines of a target: bytes, len; is_stderr */
	RUN_FINISHED,  /* outcome */
	RUN_WARNING,   /* message; target may be NULL */
	RUN_NOTE,      /* message: what was decided; where explain */
	RUN_SHARING,   /* message: targets are done, and their results on their way to others; again and again */
	RUN_RESTARTED, /* reasons: it read what is not so any more, is being ended, and starts again */
	RUN_TICK,      /* time passes: for a live line */
};
enum run_outcome {
	RUN_UP_TO_DATE, /* nothing to do */
	RUN_RESTORED,   /* outputs came from the cache */
	RUN_SUCCEEDED,  /* exit_code is one of success_codes where not 0 */
	RUN_FAILED,     /* exit_code, timed_out; message */
	RUN_SKIPPED,    /* something it needs failed */
	RUN_INTERRUPTED,
	RUN_WOULD_RUN,  /* -n */
	RUN_ACCEPTED,   /* --touch */
};
struct run_event {
	enum run_event_kind kind;
	const struct target *target; /* NULL where none */
	enum run_outcome outcome;
	int exit_code;
	bool timed_out;
	bool is_stderr;
	const char *message;
	const char *const *reasons;  /* "src/train.py changed", "params.yaml:train.lr 0.01 -> 0.1" */
	size_t reason_count;
	const char *bytes;
	size_t len;
	uint64_t duration_ms;
	uint64_t eta_ms;             /* with eta: until all is done, by how long targets took last time; 0: unknown */
	size_t done, running, total;
};
struct run_sink {
	void (*event)(void *ctx, const struct run_event *event);
	void *ctx;
};
struct run_summary {
	size_t up_to_date, restored, succeeded, failed, skipped, would_run, accepted;
	size_t warnings;
	struct share_counts shared;
	int signal_number;    /* that ended the run, 0 if none */
	bool believed;        /* only what was in doubt (run_options) was looked at */
	uint64_t state_seen;  /* state_seen of the database at the end (store/state.h) */
	uint64_t duration_ms;
};

/* 0 if the run could be carried out, even with failed targets (see summary); -1 for errors of its own. */
int engine_run(const struct project *project, const struct plan *plan, const struct run_options *options,
	       const struct run_sink *sink, struct run_summary *ret, struct err *err) MUST_CHECK;

/* Why a target would run now, without running anything: strings owned by the list; empty when it is up to date. */
int engine_why(const struct project *project, const char *name, struct strlist *ret_reasons, struct err *err) MUST_CHECK;

/* Why it ran when it last succeeded; empty if it never did. *ret_finished_at: seconds since 1970, 0 if never. */
int engine_last_run(const struct project *project, const char *name, struct strlist *ret_reasons, uint64_t *ret_finished_at,
		    struct err *err) MUST_CHECK;

/* Appends the path of the file that holds what a target last printed (it may not exist). */
void engine_log_path(const struct project *project, const struct target *target, struct buf *out);

/* Appends what a target printed when it last ran (the last max bytes; *ret_cut says if there was more): from that file, else from
 * the output cache. *ret_found is false if nothing is known of a run; a target that printed nothing is found and empty. */
int engine_log(const struct project *project, const struct target *target, size_t max, struct buf *out, bool *ret_found, bool *ret_cut,
	       struct err *err) MUST_CHECK;

/* Gives what a target prints while it runs to more, from the beginning, as it is written, until its run is over or more returns false. *ret_running is
 * false, and nothing is given, where it does not run now. */
int engine_follow(const struct project *project, const struct target *target, bool (*more)(void *ctx, const char *bytes, size_t len), void *ctx,
		  bool *ret_running, struct err *err) MUST_CHECK;

#endif
