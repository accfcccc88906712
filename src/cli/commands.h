/*
 * Every command, in the order that help lists them.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/cli.h"

extern const struct command cmd_new;
extern const struct command cmd_init;
extern const struct command cmd_data;
extern const struct command cmd_cache;
extern const struct command cmd_ci;
extern const struct command cmd_clean;
extern const struct command cmd_hook;
extern const struct command cmd_doctor;
extern const struct command cmd_graph;
extern const struct command cmd_completion;
extern const struct command cmd_help;
extern const struct command cmd_list;
extern const struct command cmd_log;
extern const struct command cmd_rules;
extern const struct command cmd_run;
extern const struct command cmd_schema;
extern const struct command cmd_stats;
extern const struct command cmd_version;
extern const struct command cmd_why;

extern const struct command *const all_commands[]; /* NULL-terminated */

/* NULL if there is none of that name. */
const struct command *command_find(const struct command *const *list, const char *name);

/* Appends "Usage: ..." and all that a command's --help shows. options, and common, those that every command has, may be NULL. */
void help_add(struct buf *out, const char *full_name, const struct command *command, const struct option *options,
	      const struct option *common);

#endif
