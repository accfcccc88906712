/* The tables of graph/schema.h: every key of mlmake.yaml and of a rule. */
#include "graph/schema.h"

#define END                                                                                                            \
	{                                                                                                              \
		NULL, SCHEMA_FREE, NULL, NULL, NULL                                                                    \
	}

static const char *const yes_no_local[] = {"true", "false", "local", NULL};
static const char *const auto_none[] = {"auto", "none", NULL};
static const char *const true_false[] = {"true", "false", NULL};

static const struct schema_key output_keys[] = {
	{"path", SCHEMA_TEXT, "file or directory, relative to the project's root", NULL, NULL},
	{"track", SCHEMA_BOOL, "version it as data: PATH.dvc is written after a success", NULL, NULL},
	{"cache", SCHEMA_TEXT, "keep a copy of it to restore: true, false or local", yes_no_local, NULL},
	END,
};

static const struct schema_key tool_keys[] = {
	{"name", SCHEMA_TEXT, "the program", NULL, NULL},
	{"version", SCHEMA_TEXTS, "the command that prints its version; without it the program's file counts", NULL,
	 NULL},
	END,
};

static const struct schema_key target_ci_keys[] = {
	{"runner", SCHEMA_TEXT, "label of the runner, ubuntu-24.04 by default", NULL, NULL},
	{"environment", SCHEMA_TEXT, "GitHub environment that the job is in", NULL, NULL},
	{"permissions", SCHEMA_TEXT_MAP, "permissions of the job's token", NULL, NULL},
	{"skip", SCHEMA_BOOL, "no job for this target", NULL, NULL},
	{"triggers", SCHEMA_LATER, "use `ci: {schedule: ...}` at the top level", NULL, NULL},
	{"path", SCHEMA_LATER, "use `ci: {path: ...}` at the top level", NULL, NULL},
	END,
};

static const struct schema_key resource_keys[] = {
	{"cpu", SCHEMA_INT, "processors: so many of the places of -j", NULL, NULL},
	{"memory", SCHEMA_TEXT, "8G, 512M", NULL, NULL},
	{"gpu", SCHEMA_INT, "GPUs, given to it in CUDA_VISIBLE_DEVICES", NULL, NULL},
	END,
};

const struct schema_key target_keys[] = {
	{"desc", SCHEMA_TEXT, "one line for `mlmake list`", NULL, NULL},
	{"needs", SCHEMA_TEXTS, "targets that run first and whose result is part of this one's key", NULL, NULL},
	{"after", SCHEMA_TEXTS, "targets that run first where both are asked for; not part of the key", NULL, NULL},
	{"inputs", SCHEMA_TEXTS, "files, directories and globs that it reads; ! excludes", NULL, NULL},
	{"outputs", SCHEMA_ITEMS, "files and directories that it writes", NULL, output_keys},
	{"metrics", SCHEMA_ITEMS, "outputs that hold metrics", NULL, output_keys},
	{"params", SCHEMA_TEXTS, "parameters that it reads: file:key, file:a,b or file", NULL, NULL},
	{"run", SCHEMA_TEXTS, "the command, or a list of them", NULL, NULL},
	{"matrix", SCHEMA_TEXTS_MAP, "a target for each combination of values: ${matrix.NAME}", NULL, NULL},
	{"dir", SCHEMA_TEXT, "where it runs, relative to the project's root", NULL, NULL},
	{"shell", SCHEMA_TEXTS, "what runs the commands instead of `sh -eu -c`", NULL, NULL},
	{"timeout", SCHEMA_DURATION, "how long it may take: 90s, 15m, 2h", NULL, NULL},
	{"retries", SCHEMA_INT, "how often it is run again after a failure", NULL, NULL},
	{"backoff", SCHEMA_DURATION, "how long to wait before it is run again, 1s by default; twice as long each time", NULL, NULL},
	{"resources", SCHEMA_OBJECT, "what it takes of the machine while it runs", NULL, resource_keys},
	{"pool", SCHEMA_TEXT, "one of pools: so many of its targets run at once", NULL, NULL},
	{"env", SCHEMA_TEXT_MAP, "environment that is set, and part of the key", NULL, NULL},
	{"pass_env", SCHEMA_TEXTS, "environment variables passed through, and part of the key", NULL, NULL},
	{"secrets", SCHEMA_TEXTS, "environment variables passed through, masked, and never part of the key", NULL,
	 NULL},
	{"cache", SCHEMA_TEXT, "keep its outputs to restore them: true, local (this machine only) or false",
	 yes_no_local, NULL},
	{"always", SCHEMA_BOOL, "run it every time", NULL, NULL},
	{"persist", SCHEMA_BOOL, "keep its outputs in place while it runs, instead of removing them first", NULL, NULL},
	{"interactive", SCHEMA_BOOL, "give it the terminal", NULL, NULL},
	{"alias", SCHEMA_BOOL, "a name for the targets in its needs; nothing to run", NULL, NULL},
	{"private", SCHEMA_BOOL, "leave it out of `mlmake list`", NULL, NULL},
	{"hook", SCHEMA_TEXT, "whether the git hook runs it", true_false, NULL},
	{"tools", SCHEMA_ITEMS, "programs whose version is part of the key", NULL, tool_keys},
	{"success_codes", SCHEMA_INTS, "exit codes that count as success, with a warning", NULL, NULL},
	{"exit_codes", SCHEMA_TEXT_MAP, "what exit codes mean: {1: tests failed}", NULL, NULL},
	{"exit_bits", SCHEMA_TEXT_MAP, "what the bits of the exit code mean: {1: fatal, 2: errors, 4: warnings}", NULL, NULL},
	{"stamp", SCHEMA_TEXT, "a file whose content is this target's result for those that need it", NULL, NULL},
	{"path", SCHEMA_TEXTS, "directories put in front of the PATH of targets that need this one, such as .venv/bin", NULL,
	 NULL},
	{"ci", SCHEMA_OBJECT, "the job of this target in the generated workflow", NULL, target_ci_keys},
	{"kind", SCHEMA_LATER, "write the command in run:", NULL, NULL},
	{"with", SCHEMA_LATER, "write the command in run:", NULL, NULL},
	{"when", SCHEMA_LATER, "test the condition in run:", NULL, NULL},
	{"gate", SCHEMA_LATER, "test the metric in run:", NULL, NULL},
	{"on", SCHEMA_LATER, "targets run on this machine", NULL, NULL},
	{"sandbox", SCHEMA_LATER, "targets run without a sandbox", NULL, NULL},
	END,
};

static const char *const push_modes[] = {"ci", "never", "always", NULL};

static const struct schema_key cache_keys[] = {
	{"remote", SCHEMA_TEXT, "a remote of the data configuration where results are shared; without it they are not", NULL, NULL},
	{"push", SCHEMA_TEXT, "who writes there: ci (pushes to the default branch, the default), never or always", push_modes, NULL},
	{"timeout", SCHEMA_DURATION, "how long the remote may be silent before targets run without it, 10s by default", NULL, NULL},
	END,
};

static const struct schema_key ci_keys[] = {
	{"install", SCHEMA_TEXT, "shell lines that put mlmake on the runner's PATH", NULL, NULL},
	{"schedule", SCHEMA_TEXT, "cron expression of a scheduled run", NULL, NULL},
	{"targets", SCHEMA_TEXTS, "targets that become jobs; by default the conventional ones that exist", NULL, NULL},
	{"path", SCHEMA_TEXT, "the workflow's file, .github/workflows/mlmake.yml by default", NULL, NULL},
	{"branches", SCHEMA_TEXTS, "branches whose pushes run it, main by default", NULL, NULL},
	END,
};

static const struct schema_key include_keys[] = {
	{"path", SCHEMA_TEXT, "the file, or the directory of a mlmake.yaml, relative to the file that says so", NULL, NULL},
	{"as", SCHEMA_TEXT, "what its targets' names begin with, instead of the directory's name", NULL, NULL},
	END,
};

static const struct schema_key data_remote_keys[] = {
	{"url", SCHEMA_TEXT, "where: remote://NAME[/sub] of a remote of .dvc/config, with its options, s3://bucket/prefix or a directory", NULL, NULL},
	{"packed", SCHEMA_BOOL, "true: small files travel in large packs, which only mlmake reads", NULL, NULL},
	END,
};

const struct schema_key data_keys[] = {
	{"limit_rate", SCHEMA_TEXT, "bytes a second that data is moved with at most: 500k, 10M; --limit-rate goes before it", NULL, NULL},
	{"remotes", SCHEMA_OBJECTS, "further remotes for `mlmake data push -r NAME` and its like", NULL, data_remote_keys},
	END,
};

const struct schema_key config_keys[] = {
	{"version", SCHEMA_INT, "version of the language: 1", NULL, NULL},
	{"vars", SCHEMA_FREE, "values for ${name}; maps and lists nest: ${name.key}, ${name.0}", NULL, NULL},
	{"env", SCHEMA_TEXT_MAP, "environment of every target, and part of its key", NULL, NULL},
	{"pass_env", SCHEMA_TEXTS, "environment variables passed to every target, and part of its key", NULL, NULL},
	{"secrets", SCHEMA_TEXTS, "environment variables passed to every target, masked, and never part of the key",
	 NULL, NULL},
	{"rules", SCHEMA_TEXTS, "auto (every rule that matches), none, or a list of rules", auto_none, NULL},
	{"default", SCHEMA_TEXT, "the target that a bare `mlmake` runs", NULL, NULL},
	{"targets", SCHEMA_OBJECTS, "what can be run", NULL, target_keys},
	{"include", SCHEMA_ITEMS, "other files of targets: services/api/mlmake.yaml gives api:test, ...", NULL, include_keys},
	{"pools", SCHEMA_TEXT_MAP, "names for targets' pool, and how many of each run at once", NULL, NULL},
	{"ci", SCHEMA_OBJECT, "the generated workflow", NULL, ci_keys},
	{"cache", SCHEMA_OBJECT, "sharing what targets made", NULL, cache_keys},
	{"data", SCHEMA_OBJECT, "settings of `mlmake data` that .dvc/config has no words for", NULL, data_keys},
	END,
};

const struct schema_key rule_keys[] = {
	{"mlmake_rule", SCHEMA_INT, "version of the rule format: 1; a file without this key is no rule", NULL, NULL},
	{"name", SCHEMA_TEXT, "its name; by default that of the file", NULL, NULL},
	{"desc", SCHEMA_TEXT, "one line for `mlmake rules`", NULL, NULL},
	{"detect", SCHEMA_FREE, "the condition under which it contributes its targets", NULL, NULL},
	{"vars", SCHEMA_FREE, "values for ${name} in its targets; mlmake.yaml's vars win", NULL, NULL},
	{"tools", SCHEMA_TEXTS_MAP,
	 "programs that its targets may name in tools, and the commands that print their versions", NULL, NULL},
	{"targets", SCHEMA_OBJECTS, "what it contributes, as in mlmake.yaml", NULL, target_keys},
	END,
};
