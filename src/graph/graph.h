/*
 * The project: its root, its configuration (mlmake.yaml, else what rules infer) and the graph of its targets.
 * Immutable once loaded; everything lives in the project's arena.
 *
 *     struct project *project;
 *     project_load(&options, &project, err);
 *     struct plan plan; plan_make(project, names, count, &plan, err);
 *     for (size_t i = 0; i < plan.len; i++) use(&project->targets[plan.order[i]]);
 */
#ifndef GRAPH_GRAPH_H
#define GRAPH_GRAPH_H

#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "formats/digest.h"
#include "graph/provider.h"

/* Who writes results for others (engine/share_policy.h). */
enum cache_push { CACHE_PUSH_CI, CACHE_PUSH_NEVER, CACHE_PUSH_ALWAYS };

enum cache_mode { CACHE_ON, CACHE_LOCAL, CACHE_OFF };

/* Whether the git hook runs a target: HOOK_DEFAULT leaves it to the hook (it runs what is called lint). */
enum hook_mode { HOOK_DEFAULT, HOOK_ON, HOOK_OFF };

/* A place in a file that was loaded: a span for many, without the text. project_span gives the whole. */
struct place {
	uint32_t line, col; /* from 1; 0: no place */
	uint16_t len;       /* 0: unknown, or beyond what fits */
	uint16_t source;    /* index of the file + 1; 0: no place */
};

struct string_list { /* in the arena */
	const char **at;
	size_t len;
};

struct env_var {
	const char *name;
	const char *value; /* NULL in pass_env and secrets: from the environment */
};
struct env_list {
	struct env_var *at;
	size_t len;
};

struct input_pattern {
	const char *glob;  /* relative to the root; without '!' */
	bool exclude;
	bool named;        /* no magic: must exist or be made by a target */
	struct place place;
};

struct output {
	const char *path;  /* relative to the root, normalised, below it */
	bool track;        /* versioned as data after a success */
	bool metrics;
	struct place place;
};

struct param_ref {
	const char *file;  /* relative to the root */
	struct string_list keys; /* dotted; empty: the whole file */
	struct place place;
};

/* A tool whose version counts: how to ask, from a rule. */
struct tool_ref {
	const char *name;
	struct string_list version_argv; /* empty: the resolved executable's identity counts */
};

/* What an exit code means, or one bit of it. */
struct exit_meaning {
	int code;
	bool is_bit;
	const char *text;
};

/* `pools`: so many targets of a pool run at once. */
struct pool_limit {
	const char *name;
	unsigned limit;
};

/* What most targets leave at what it is without being said: equal ones are shared. Whoever adds a member here, to struct target, or to what they
 * hold, adds it to saved.c: a graph is kept between runs. */
struct target_settings {
	struct string_list shell; /* argv prefix: {"sh", "-eu", "-c"} */
	struct env_list env, pass_env, secrets;
	struct { struct tool_ref *at; size_t len; } tools;
	struct { int *at; size_t len; } success_codes; /* exit codes that count as success besides 0 (pytest 5), with a warning */
	struct { struct exit_meaning *at; size_t len; } exit_meanings; /* for messages */
	struct string_list path; /* directories that it puts in front of the PATH of those that need it, relative to the root */
	const char *stamp;      /* a file whose content is this target's result instead of its outputs (.venv/...), NULL if none */
	uint64_t timeout_ms;    /* 0: none */
	uint64_t backoff_ms;    /* before the second attempt; twice as long before each one after it */
	struct {
		unsigned cpus, gpus;     /* 0: not said */
		uint64_t memory;         /* bytes */
	} resources;
	const struct pool_limit *pool; /* NULL if none */
	const struct ci_options *ci; /* NULL if none */
	uint64_t retries;       /* as wide as the others, so that nothing lies between the members */
};

struct target {
	uint32_t id;            /* index in project->targets */
	const char *name;
	const char *desc;       /* "" if none */
	const char *origin;     /* file it was declared in (mlmake.yaml), or "rule:<name>" */
	struct place place;
	bool is_private, always, persist, interactive;
	bool inferred;          /* contributed by a rule */
	enum hook_mode hook;
	bool is_alias;          /* nothing to run: only needs */
	enum cache_mode cache;

	const struct target_settings *settings;
	struct string_list run; /* commands, interpolated except for what is known only at run time */
	const char *dir;        /* relative to the root; "" is the root */
	struct { struct input_pattern *at; size_t len; } inputs;
	struct { struct output *at; size_t len; } outputs;
	struct { struct param_ref *at; size_t len; } params;
	struct string_list path_front; /* what is in front of its own PATH: `path` of those in needs */

	struct { uint32_t *at; size_t len; } needs;   /* in the key */
	struct { uint32_t *at; size_t len; } after;   /* order alone: says nothing about what is in a plan */
	struct { uint32_t *at; size_t len; } makes_inputs; /* targets that make one of the inputs */
	struct { uint32_t *at; size_t len; } used_by; /* reverse of the three above, no duplicates */
};

struct ci_options {
	const char *runner;      /* NULL: ubuntu-24.04 */
	const char *environment; /* GitHub environment, NULL if none */
	struct env_list permissions;
	bool skip;               /* not a job */
};

struct ci_settings {         /* top level `ci:` */
	const char *install;     /* shell lines that put mlmake on the runner's PATH; NULL: the built-in step */
	const char *schedule;    /* cron, NULL if none */
	struct string_list targets; /* that become jobs; empty: the conventional ones that exist */
	const char *path;        /* NULL: .github/workflows/mlmake.yml */
	struct string_list branches; /* default {"main"} */
};

struct cache_settings {      /* top level `cache:` */
	const char *remote;      /* NULL: results are not shared */
	enum cache_push push;
	uint64_t timeout_ms;     /* 0: not said */
};

struct matched_rule {
	const char *name;
	const char *why;         /* "found requirements.txt" */
	const char *desc;
	const char *origin;      /* "built in", or its file */
	struct string_list targets; /* that it contributed; those that mlmake.yaml declares itself are not here */
};

struct project {
	struct arena arena;
	const char *root;        /* absolute, normalised */
	const char *config_path; /* relative to the root; NULL: nothing but rules */
	const char *default_target; /* NULL if none */
	struct target *targets;
	size_t target_count;
	struct matched_rule *rules;
	size_t rule_count;
	struct pool_limit *pools;
	size_t pool_count;
	struct ci_settings ci;
	struct cache_settings cache;
	const struct provider *provider;
	struct project_internal *internal; /* graph/internal.h */
};

/* Configuration as it was at another time: asked for each YAML file before the work tree is. Returns 1 where it knows (*ret_exists, and the bytes
 * appended if it does), 0 where the file in the work tree counts, -1 with err. path is relative to the root. */
struct project_overlay {
	int (*read)(void *ctx, const char *path, struct buf *out, bool *ret_exists, struct err *err);
	void *ctx;
};

struct project_options {
	const char *dir;          /* where to look upward from; NULL: the current directory */
	const char *config_file;  /* -f; NULL: mlmake.yaml of the root */
	struct string_list overrides; /* "vars.x=1", "params.train.lr=0.1" */
	const struct provider *provider; /* may be NULL */
	const struct project_overlay *overlay; /* NULL: none */
};

/* The nearest directory upward with mlmake.yaml, else the git root, else dir. Appends an absolute path. */
int project_find_root(const char *dir, struct buf *ret_root, struct err *err) MUST_CHECK;
/* What the configuration says is kept, and taken from there while all that it was read from is as it was (store/snapshot.h). */
int project_load(const struct project_options *options, struct project **ret, struct err *err) MUST_CHECK;
/* Appends all that what is loaded from root is a function of, but files and variables. */
int project_question(const struct project_options *options, const char *root, struct buf *out, struct err *err) MUST_CHECK;
void project_free(struct project *project);

/* Where place is, with the line's text where wanted: the file is read for that, once. Strings belong to the project. */
struct span project_span(const struct project *project, const struct place *place, bool with_text);
/* err_at with that. Returns -1. */
int project_err_at(const struct project *project, const struct place *place, struct err *err);

/* The text of a rule: the repository's own, else the built-in one. Appends; ret_origin as in matched_rule (owned by the caller). */
int rule_text(const char *root, const char *name, struct buf *out, char **ret_origin, struct err *err) MUST_CHECK;

/* NULL if there is none of that name. */
struct target *project_find(const struct project *project, const char *name);

/* Errors: ERR_CONFIG with the nearest name as hint. */
int project_target(const struct project *project, const char *name, const struct target **ret, struct err *err) MUST_CHECK;

/* The targets that words of a command line mean, in order, no target twice: a word with magic (test*, {lint,test}) that is no
 * target's name stands for all targets that are not private and whose name it matches. A word that means none is an error.
 * ret->at is the caller's to free, also after an error. */
int project_select(const struct project *project, const char *const *words, size_t count, struct string_list *ret,
		   struct err *err) MUST_CHECK;

/* Why a target depends on another, and where it says so. */
enum edge_kind { EDGE_NEEDS, EDGE_AFTER, EDGE_INPUT };
struct edge {
	uint32_t to;       /* id of what it depends on */
	enum edge_kind kind;
	struct place place;
	const char *input; /* of EDGE_INPUT: the path or glob */
};
struct edge_list {
	struct edge *at;   /* in the arena */
	size_t len;
};
const struct edge_list *project_edges(const struct project *project, const struct target *target);

/* A shortest way of edges from a target to one that it depends on; `after` counts only where nothing else leads there. ret->at is
 * the caller's to free; ret->len is 0 if there is no way. */
struct route {
	struct route_step {
		const struct target *from;
		const struct edge *edge;
	} *at;
	size_t len;
};
void project_route(const struct project *project, const struct target *from, const struct target *to, struct route *ret);

/* What must be looked at for the named targets (words as in project_select): they and all that they reach by needs and inputs, in topological order (ties by
 * declaration). A target whose values could not be found (${env:NAME} that is not set) is an error only here. */
struct plan {
	uint32_t *order;
	size_t len;
	uint32_t *requested;
	size_t requested_len;
};
int plan_make(const struct project *project, const char *const *names, size_t count, struct plan *ret, struct err *err) MUST_CHECK;
void plan_release(struct plan *plan);

/* The files that a target's inputs stand for: sorted, relative to the root. Lists each directory once a project_files, leaving
 * out what git ignores unless named (or made by a target that this one depends on), .git, .mlmake and .dvc's insides. What lies in a
 * tracked directory counts by the whole of it: one entry, whose path is the tracked path, checked out or not. An input that
 * another target makes and that does not exist yet is left out. */
struct input_file {
	const char *path;
	bool tracked;          /* is tracked[tracked_index] of the list that project_files holds */
	bool absent;           /* tracked, and not in the work tree */
	uint32_t tracked_index;
};
struct input_files {
	struct input_file *at;
	size_t len, cap;
};
struct project_files;
int project_files_new(const struct project *project, struct project_files **ret, struct err *err) MUST_CHECK;
void project_files_free(struct project_files *files);
/* Looks at path again, and at all below it: a target has just written there. */
void project_files_forget(struct project_files *files, const char *path);
/* -n: from now on path is a directory, with nothing in it yet, or a file, whatever is there. */
int project_files_pretend(struct project_files *files, const char *path, bool is_dir, struct err *err) MUST_CHECK;
/* Asks the provider again what is tracked: a target's output has just been versioned. Input lists made before are void. */
int project_files_reload_tracked(struct project_files *files, struct err *err) MUST_CHECK;
/* A named input that does not exist, is not tracked and that no target makes is an error with its position. Paths live as long as
 * files; the caller frees ret->at. */
int project_files_of(struct project_files *files, const struct target *target, struct input_files *ret, struct err *err) MUST_CHECK;
/* Looks whether files came or went where a target's patterns look: then project_files_of gives what is there now. Returns project_files_changes. */
uint64_t project_files_recheck(struct project_files *files, const struct target *target);
/* Where it is another number than at a project_files_of, files may have come or gone since; other targets' rechecks find them, too. */
uint64_t project_files_changes(const struct project_files *files);
/* Whether a change of path, a file or (with is_dir) a directory that counts as a whole, changes what the target's inputs stand for. What targets
 * make counts for those that name it, or depend on its maker. */
bool project_reads(const struct project *project, const struct target *target, const char *path, bool is_dir);
/* The target that makes path, or a directory that it lies in; NULL if none does. */
const struct target *project_maker(const struct project *project, const char *path);
/* The first glob that matches nothing, which may be a typing error; NULL if there is none. */
const struct input_pattern *project_files_unmatched(struct project_files *files, const struct target *target);
const struct tracked_list *project_files_tracked(const struct project_files *files);

#endif
