/*
 * What the files of `mlmake cache` share.
 */
#ifndef CLI_CMD_CACHE_H
#define CLI_CMD_CACHE_H

#include "cli/commands.h"
#include "engine/share_store.h"
#include "formats/json.h"

extern const struct command cmd_cache_push, cmd_cache_pull;

/* The project here, and the remote for its results: ERR_CONFIG if there is none. Release both, also after an error. */
int cache_remote(struct cli *cli, struct project **ret_project, struct share_remote *ret, struct err *err) MUST_CHECK;

/* Where results are shared, and whether they are written; usage may be NULL. */
void cache_add_sharing_json(struct json_writer *w, const struct project *project, const struct share_remote *remote,
			    const struct share_usage *usage);
void cache_add_sharing(struct buf *out, const struct project *project, const struct share_remote *remote, const struct share_usage *usage);

/* older_than NULL: 30d. */
int cache_gc_remote(struct cli *cli, const char *older_than, bool dry_run, struct err *err) MUST_CHECK;

#endif
