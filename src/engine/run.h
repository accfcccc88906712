/*
 * Inside the engine: one run, its targets, and the jobs that are on.
 *
 *     sched.c    what comes when: the ready queue, the loop, engine_run
 *     decide.c   what is to be done about a target: nothing, wait, run; with -n, what would be
 *     check.c    whether a target must run, and why; restoring from the output cache
 *     belief.c   which targets need no look
 *     exec.c     the processes of a job: commands, timeouts, signals
 *     output.c   what they print
 *     slots.c    the jobserver and the load average
 *     sharing.c  results of others, and for others
 *     changes.c  what --watch sees while targets run
 *     ahead.c    large inputs and outputs, read (and copied) by another thread
 *     finish.c   after the last command: outputs verified, kept and recorded; interrupted work put aside
 */
#ifndef ENGINE_RUN_H
#define ENGINE_RUN_H

#include "base/loop.h"
#include "base/proc.h"
#include "engine/engine.h"
#include "engine/environment.h"
#include "engine/fingerprint.h"
#include "engine/record.h"
#include "engine/resources.h"
#include "engine/share_store.h"
#include "store/lock.h"
#include "store/outputs.h"

/* Of a target in this run. */
struct node {
	const struct target *target;
	bool in_plan, finished;
	bool was_checked; /* expected is what its record says, or is not asked for */
	bool doomed;      /* something that it needs failed */
	unsigned restarts; /* --watch */
	bool would_run;   /* -n: its result is not known */
	bool would_write; /* -n: its files are not what they will be */
	bool read_ahead;  /* its large inputs were read once; what changed since then is read where it is met */
	struct run *asked_by; /* set once the remote was asked for its result */
	bool shared;      /* and had it */
	unsigned waiting; /* for so many others */
	size_t position;  /* in the plan */
	uint64_t expected; /* ms, by its last success; with run->knows_critical */
	uint64_t critical; /* ms from its start to the end of the longest chain behind it */
};

struct stream {
	int fd, write_fd;
	bool is_stderr;
	struct loop_source *source;
	struct buf line; /* what has come of an unfinished line */
	struct job *job;
};

struct job {
	struct run *run;
	struct node *node;
	struct fingerprint fp;
	struct record record;        /* as it was when the decision to run was made */
	struct strlist reasons;
	struct environment env;
	struct lock *lock;
	size_t read_locked;          /* so many of makes_inputs are held, where that is needed */
	VEC(struct lock *) reading;  /* shared, of those that always run and whose outputs it reads */
	struct loop_timer *lock_timer;
	bool said_waiting;
	bool restored;
	uint64_t saved_ms;           /* restored: what making it took */
	struct ahead *ahead;         /* its large outputs are being read, or copied out of the cache; NULL: not */
	struct outputs_taken taken;  /* out of the cache, large ones */
	VEC(struct fs_stamp) seen;   /* of its outputs, looked at just now */

	struct proc proc;
	struct stream streams[2];
	struct loop_timer *timeout_timer, *kill_timer, *retry_timer;
	struct claim claim;          /* what it holds of run->resources */
	struct jobserver *server;    /* that its processes are told of; NULL: none */
	struct jobserver *own_server; /* the same, where it is not the run's */
	enum jobserver_style style;
	size_t command;              /* that runs now */
	unsigned attempt;
	bool began;                  /* outputs were cleared: what is there now is this job's */
	bool timed_out, interrupted;
	bool ended;                  /* well, and gave back its claim: finish_success is what remains */
	bool stale;                  /* --watch: it is being ended, to start again */
	int exit_code;
	uint64_t started_ms, ended_ms; /* ended: of its last command */
	struct buf log;              /* bounded by OUTPUTS_LOG_MAX, for the output cache */
	int log_fd;                  /* -1 until something is printed */
};

/* Results shared through a remote (engine/share.h). */
struct sharing {
	const char *remote;          /* its name; NULL: not shared */
	bool push, tried;
	struct share *share;         /* NULL until needed */
	struct share_remote where;
	size_t asking;               /* nodes that wait for an answer */
};

/* Large inputs, read beside the loop for nodes that are decided after that. */
struct reading {
	struct ahead *now;           /* NULL: none */
	VEC(struct node *) nodes;    /* that wait for it */
	VEC(struct node *) next;     /* and for the files that come after it */
	struct hashes_left files;    /* those */
	struct map seen;             /* their paths */
};

struct run {
	const struct project *project;
	const struct plan *plan;
	const struct run_options *options;
	const struct run_sink *sink;
	struct run_summary *summary;
	struct err *err;             /* of the run itself, set by a callback; then failed */
	bool failed;

	struct loop *loop;
	int null_fd;                 /* what targets read; -1: each opens its own */
	struct state *state;
	size_t notices_told;
	struct hashes *hashes;
	struct outputs *cache;       /* NULL: not used */
	bool noted;                  /* that this project uses it */
	struct sharing sharing;
	struct reading reading;
	struct fingerprints fps;
	struct fingerprint fp;       /* scratch of the check */
	struct record record;        /* scratch of the check */
	struct locks *locks;         /* NULL with dry_run */
	size_t held_max;
	VEC(struct lock *) held;     /* of targets that are done and whose records are not yet to be seen by others */
	struct map programs;         /* "PATH\nshell" -> where that is, owned */
	struct environment_passed passed;

	struct node *nodes;          /* by target id */
	struct digest *results;      /* by target id */
	bool *wanted;                /* by target id: whose results are asked for; NULL: nothing is believed, and all may be */
	VEC(struct node *) undecided; /* all that they wait for is done */
	size_t next_undecided;
	VEC(struct node *) ready;    /* a heap: must run, longest chain first */
	bool knows_critical;
	bool knows_durations;        /* of some */
	uint64_t expected_left;      /* ms of work, of what has not finished */
	struct resources resources;
	struct jobserver *own_server; /* NULL: one was joined, or none is there */
	struct loop_source *token_source;
	struct loop_timer *retry_timer; /* of the ready queue */
	uint64_t load_second;        /* what started in that second, and in the one before it */
	unsigned started_now, started_before;
	VEC(struct job *) jobs;
	size_t ended;                /* of them, so many */
	size_t done;
	bool stop;                   /* start nothing new */
	struct loop_timer *tick_timer, *flush_timer, *cache_timer;
	struct loop_source *change_source; /* --watch: one of the two */
	struct loop_timer *change_timer;
	uint64_t saved_ms;           /* when stat records were last handed over */
	uint64_t company_ms;         /* when it was last asked whether somebody may wait for a lock */
	uint64_t started_ms;
};

/* sched.c */
void run_emit(struct run *run, struct run_event *event);
void run_warn(struct run *run, const struct target *target, const char *fmt, ...) PRINTF_LIKE(3, 4);
void run_undecide(struct run *run, struct node *node); /* it is to be looked at again */
void run_ready(struct run *run, struct node *node);    /* it must run, when its turn comes */
#define RUN_MANY 256 /* targets: where it is worth while to prepare what each needs for all at once */
void run_fail(struct run *run, struct err *err); /* takes err: the run ends with it */
void run_done(struct run *run, struct node *node, struct run_event *event); /* reports the outcome and releases what waits for it */
void run_job_ended(struct run *run, struct job *job); /* its last command, well: finish_success comes now, or once others were started */
void run_job_over(struct run *run, struct job *job); /* frees it */
const struct string_list *run_args_of(const struct run *run, const struct target *target); /* NULL if none */
bool run_is_nothing(const struct target *target); /* it stands for what it needs */

/* check.c */
enum verdict { VERDICT_CURRENT, VERDICT_RUN, VERDICT_ERROR, VERDICT_LATER };
/* Fills fp and record; reasons only where it must run. VERDICT_LATER: inputs were left unread (hashes_leave), and nothing is known. */
enum verdict check_target(struct run *run, struct node *node, struct fingerprint *fp, struct record *record, struct strlist *reasons,
			  struct err *err);
bool check_uses_cache(const struct run *run, const struct target *target);
/* As in make: where nothing says what a target depends on or makes, it is wanted for what it does. */
bool check_always_runs(const struct run *run, const struct target *target, const struct fingerprint *fp);
/* Whether outputs that the cache has may be taken from there. */
bool check_may_restore(const struct run *run, const struct target *target, const struct fingerprint *fp);
/* Outputs from the cache, if its key is known there: *ret_restored. With dry_run nothing is touched. */
int check_restore(struct run *run, struct job *job, bool *ret_restored, struct err *err) MUST_CHECK;
/* The paths that must be there after a success: outputs, then the stamp file. at: free it. */
struct string_list check_paths(const struct target *target);
/* Outputs that were made or taken away since directories were listed, maybe by another process. Costs nothing where none was. */
void check_look_anew(struct run *run, const struct target *target);
/* -n: takes the manifest of outputs that would be restored; what reads them is then checked by that, as far as it can be. */
int check_foresee(struct run *run, const struct target *target, struct manifest *manifest, struct err *err) MUST_CHECK;
/* -n: a target whose outputs would be restored, and what this one reads of them is not known before; NULL if all is. */
const struct target *check_unforeseen(struct run *run, const struct target *target);
void check_result(const struct run *run, const struct target *target, const struct manifest *outputs, struct digest *ret);

/* decide.c */
/* Until the run stops, all are, or some that are ready should be started first; false if there were none. */
bool decide_undecided(struct run *run);

/* belief.c */
void belief_begin(struct run *run); /* after the layout: what is believed has its result, where that is asked for */
bool belief_holds(const struct run *run, const struct target *target); /* it is up to date */
bool belief_wants(const struct run *run, const struct target *target); /* its result */
void belief_end(struct run *run);

/* sharing.c */
void sharing_begin(struct run *run);
/* Asks for the result of the node, whose fingerprint is run->fp; false if there is nothing to wait for. With the answer the node is undecided again. */
bool sharing_ask(struct run *run, struct node *node);
void sharing_offer(struct run *run, const struct target *target, const struct action *action);
void sharing_offer_current(struct run *run, const struct target *target, struct fingerprint *fp, const struct record *record);
/* Waits until what was offered is there, or given up. */
int sharing_finish(struct run *run, struct err *err) MUST_CHECK;
void sharing_end(struct run *run);

/* exec.c */
void exec_start(struct run *run, struct node *node, const struct claim *claim); /* takes a job and the claim; begins with the lock */
void exec_signal(struct job *job, int signal_number); /* of the user: ends the job as interrupted */
void exec_taken(struct job *job); /* restores, or runs, what ahead_take was begun for */
void exec_reap(struct run *run); /* after SIGCHLD: goes on with the jobs whose process has ended */
void exec_end(struct job *job); /* its process: as a timeout does */
void exec_free(struct job *job);

/* output.c */
void output_init(struct job *job);
int output_open(struct job *job, struct err *err) MUST_CHECK; /* for its next command */
void output_drain(struct job *job); /* once that has ended */
void output_release(struct job *job);

/* changes.c */
void changes_open(struct run *run);
void changes_close(struct run *run);
void changes_again(struct job *job); /* a stale one has ended: its node is decided anew */

/* slots.c */
void slots_open(struct run *run);  /* and the resources */
void slots_close(struct run *run);
void slots_wait(struct run *run);  /* after TAKE_WAIT: the loop is woken when trying again may help */
bool slots_load_is_high(struct run *run); /* too high to start another; looked at again soon */
void slots_offer(struct job *job); /* puts MAKEFLAGS into its environment */
size_t slots_fds(const struct job *job, int ret[2]); /* that its processes must inherit: 0 or 2 */

/* ahead.c */
/* True if large files of a result that the output cache has are copied out of it by another thread: exec_taken is called when that is done,
 * with those in job->taken. False if there is nothing to wait for. */
bool ahead_take(struct job *job);
/* True if large outputs of the job, whose commands have ended, are read by another thread: finish_success is called when that is done.
 * False if there is nothing to wait for. */
bool ahead_begin(struct job *job);
#define AHEAD_FROM ((uint64_t)8 << 20) /* bytes: less is read where it is met */
/* Has files read, which it takes, and the node decided again after that. */
void ahead_read_inputs(struct run *run, struct node *node, struct hashes_left *files);
void ahead_end(struct run *run); /* all reading of inputs */
void ahead_free(struct ahead *ahead); /* waits for the thread, which then stops soon; NULL is fine */

/* finish.c */
void finish_success(struct job *job);
void finish_unknown(struct job *job); /* with restore_only: there is nothing to restore */
void finish_failure(struct job *job, const char *message);
void finish_interrupted(struct job *job);
void finish_accept(struct job *job); /* --touch */
/* Whether finish_track could succeed later; of the whole project (quick), or of each output. */
int finish_can_track(struct run *run, const struct target *target, bool whole_project, struct err *err) MUST_CHECK;
/* Versions the outputs that are declared so, and scans them anew where that may have changed them. */
int finish_track(struct run *run, const struct target *target, struct manifest *outputs, struct err *err) MUST_CHECK;
int finish_record(struct job *job, const struct manifest *outputs, uint64_t duration_ms, struct err *err) MUST_CHECK;

#endif
