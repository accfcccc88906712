/*
 * The command line: what a command is, how its options are read, how it prints.
 * One cmd_<name>.c a command; src/cli/commands.c lists them.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/err.h"
#include "base/buf.h"
#include "graph/provider.h"

#include <limits.h>
#include <stdio.h>

/* Options: a table, read by cli_parse. Short and long forms, "-j4", "-j 4", "--jobs=4", "--jobs 4", joined flags "-kn"; options may follow operands; "--" ends them. */
enum option_kind {
	OPTION_FLAG,
	OPTION_STRING,
	OPTION_UINT,
	OPTION_DECIMAL,
	OPTION_LIST,     /* may be repeated */
	OPTION_WORDS,    /* a list that takes every word up to the next option, as dvc's --targets does */
	OPTION_PAIRS,    /* a list of NAME=VALUE that takes more such words behind the first */
	OPTION_CHOICE,   /* arg_name "no|all": alone, it is the last of them; the next word is taken if it is one */
	/* What another tool's users type, in neither help nor completion: done anyway (arg_name: with a value), and not done (help is the hint). */
	OPTION_ACCEPTED,
	OPTION_REFUSED,
};
static inline bool option_is_hidden(enum option_kind kind)
{
	return kind == OPTION_ACCEPTED || kind == OPTION_REFUSED;
}
struct option {
	char short_name;        /* 0: none */
	const char *long_name;
	const char *arg_name;   /* "N", "FILE"; NULL for flags */
	const char *help;       /* one line */
	enum option_kind kind;
	void *value;            /* bool *, const char **, unsigned *, double *, struct strlist *; of a choice const char ** */
};
#define OPTION_END { 0, NULL, NULL, NULL, OPTION_FLAG, NULL }
/* For commands that read mlmake.yaml. */
#define OPTION_CONFIG_FILE(cli) { 'f', "file", "FILE", "use FILE instead of mlmake.yaml", OPTION_STRING, &(cli)->config_file }

/* What a command's operands are, for completion. */
enum operands { OPERANDS_FILES, OPERANDS_TARGETS, OPERANDS_RULES, OPERANDS_COMMANDS, OPERANDS_TEMPLATES, OPERANDS_SHELLS };

#define MANY UINT_MAX

struct cli;
struct command {
	const char *name;
	const char *summary;    /* one line, for the list */
	const char *usage;      /* after the name: "[OPTIONS] PATH..." */
	const char *help;       /* paragraphs and examples */
	bool has_json;          /* takes --json */
	bool locks;             /* takes --lock-timeout: changes what a data repository records */
	enum operands operands;
	unsigned least, most;   /* so many operands; most: 0 none, MANY */
	const char *wants;      /* for the message where there are too few or too many: "one target"; NULL: the usage without "[OPTIONS]" */
	const char *wants_hint; /* NULL: where the examples are */
	bool takes_after;       /* "-- WORD..." are no operands */
	bool yields;            /* to a target of the same name */
	/* Returns an exit code, or -1 with err. argv[0] is the command's name. Calls cli_parse first. */
	int (*run)(struct cli *cli, int argc, char **argv, struct err *err);
	const struct command_word *elsewhere; /* what is no subcommand, but may be typed as one; NULL or ended by {NULL} */
	const struct command *const *subcommands; /* NULL-terminated; run may be NULL then; shown in help and completed */
};

/* A word that is no command here, and where its work is done. */
struct command_word {
	const char *word, *hint;
};

/* What a command's options look like, for completion. */
struct option_words {
	struct strlist names;      /* "--jobs" TAB and its help */
	struct strlist with_value; /* "--jobs" and "-j": another word follows */
};

struct cli {
	const struct command *command; /* being run */
	const char *full_name;         /* "mlmake data add" */
	const struct provider *provider;
	const char *config_file;       /* -f */
	const char *lock_timeout;      /* as given; NULL: not */
	struct option_words *option_words; /* set: cli_parse only fills it, and returns 0 */
	bool json;
	bool quiet;
	bool verbose;
	bool color;                    /* of stderr */
	bool terminal;                 /* stderr is one that can be redrawn */
	unsigned width;                /* columns; 80 if unknown */
	int out_errno;                 /* of the first write to stdout that failed */
};

/* What stands in argv besides options, in order; NULL-terminated with what followed "--" behind the operands. */
struct args {
	const char *const *at;    /* operands */
	size_t len;
	const char *const *after; /* where the command takes_after */
	size_t after_len;
};

/* Reads argv[1..] by the table, which gets -h/--help, -C, --quiet and, where the command says so, --json and --lock-timeout; moves words within argv. 1: go on. Else the
 * command returns what this returned: 0 (help was printed), or -1 with ERR_CONFIG and a hint (an unknown option, too many operands).
 *
 *     struct args args;
 *     int go_on = cli_parse(cli, options, argc, argv, &args, err);
 *     if (go_on <= 0)
 *             return go_on;
 */
int cli_parse(struct cli *cli, const struct option *options, int argc, char **argv, struct args *ret, struct err *err) MUST_CHECK;

/* The project here, by -f; for CLEANUP(cli_drop_project) struct project *project = NULL. */
struct project;
int cli_load(struct cli *cli, struct project **ret, struct err *err) MUST_CHECK;
void cli_drop_project(struct project **project);

/* What -C does. */
int cli_go_to(const char *dir, struct err *err) MUST_CHECK;

/* Runs the subcommand that argv[1] names. */
int cli_dispatch(struct cli *cli, const struct command *const *subcommands, int argc, char **argv, struct err *err);

/* Results go to stdout; a failed write is seen at exit. Notes ("hint: ...", "pushed 3 objects") go to stderr unless -q. */
void cli_out(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cli_flush(struct cli *cli); /* what is on stdout is seen now */
void cli_out_bytes(struct cli *cli, const char *bytes, size_t len);
void cli_note(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cli_warn(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cli_print_err(struct cli *cli, const struct err *err);

/* A live line on a terminal ("pushing  1,204/10,000  80.1 MiB  12.3 MiB/s  ETA 7s"), redrawn at most ten times a second; nothing elsewhere.
 * Rate and time left are those of the last seconds, by bytes where their sum is known. Where the terminal is too narrow for all of it, the
 * less important parts go first, down to a percentage. Every other print clears it first. Totals 0: unknown. */
struct cli_progress {
	const char *verb;
	uint64_t done, total, bytes, total_bytes;
	const char *slow; /* stands at the end; on a narrow terminal in turn with the rest. NULL: nothing is */
};
void cli_progress_of(struct cli *cli, const struct cli_progress *now);
void cli_progress(struct cli *cli, const char *verb, uint64_t done, uint64_t total, uint64_t bytes);
/* The same with a line of one's own, cut to the terminal's width. */
void cli_status(struct cli *cli, const char *text);
void cli_progress_clear(struct cli *cli);

#endif
