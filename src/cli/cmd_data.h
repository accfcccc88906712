/*
 * What the subcommands of `mlmake data` share.
 */
#ifndef CLI_CMD_DATA_H
#define CLI_CMD_DATA_H

#include "cli/cli.h"
#include "features/data/data.h"
#include "formats/json.h"

extern const struct command cmd_data_status, cmd_data_push, cmd_data_fetch, cmd_data_pull, cmd_data_remote;
extern const struct command cmd_data_verify, cmd_data_diff, cmd_data_ls, cmd_data_get, cmd_data_gc;
extern const struct command cmd_data_migrate;
extern const struct command cmd_data_remove, cmd_data_move, cmd_data_unprotect, cmd_data_config, cmd_data_merge, cmd_data_import, cmd_data_import_url, cmd_data_update;

/* Shows progress, notes and warnings on this cli. */
struct data_ui data_cli_ui(struct cli *cli);

/* Opens the repository here, which tells its progress, notes and warnings on this cli. */
int data_cli_open(struct cli *cli, struct data_repo **ret, struct err *err) MUST_CHECK;
/* The same for the repository that holds dir. */
int data_cli_open_at(struct cli *cli, const char *dir, struct data_repo **ret, struct err *err) MUST_CHECK;

void data_close_ptr(struct data_repo **repo); /* for CLEANUP */

/* Prints title and the lines indented below it, on stderr, if there are any; at most a hundred. */
void data_warn_list(struct cli *cli, const char *title, const struct strlist *list);

/* What to check about what such a list names. */
void data_show_hints(struct cli *cli, const struct strlist *hints);

/* "key": [...], left out when empty. */
void data_json_list(struct json_writer *w, const char *key, const struct strlist *list);
void data_json_print(struct cli *cli, struct buf *text);

/* Prints the git command that stages what changed (relative to the root), as it is typed here. */
void data_show_to_stage(struct cli *cli, const struct data_repo *repo, const struct strlist *to_stage);

/* Prints what add, commit and the imports did. */
void data_show_added(struct cli *cli, const struct data_repo *repo, const struct data_add_report *report);

/* Why there is no --with-deps, and no --config of another repository. */
extern const char data_no_with_deps[], data_no_config[];

/* Prints what a checkout did (counted: it was said already) and could not do; the exit code. missing_told: what is missing was named already. */
int data_show_checkout(struct cli *cli, const struct data_checkout_report *report, bool counted, bool missing_told);
void data_json_checkout(struct json_writer *w, const struct data_checkout_report *report);

#endif
