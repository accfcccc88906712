/*
 * What a plan stands for, under watch: the files of its inputs and parameters, and the configuration.
 *
 *     struct watching *watching;
 *     watching_new(&watching, err);
 *     watching_follow(watching, project, &plan, err);    before the run: what changes from here on is seen
 *     ... run; run_options.changes = watching_changes(watching) ...
 *     if (!watching_pending(watching)) wait until watching_fd(watching) is readable and ask again
 *     watching_take(watching, &paths, &config_changed);
 *     watching_free(watching);
 *
 * What targets make does not count: who edits that by hand is noticed by the next run. New directories are followed as they come. When the
 * kernel's queue overflows, everything may have changed, and pending says so.
 */
#ifndef ENGINE_WATCHING_H
#define ENGINE_WATCHING_H

#include "base/err.h"
#include "base/vec.h"
#include "graph/graph.h"

struct watching;

int watching_new(struct watching **ret, struct err *err) MUST_CHECK;
void watching_free(struct watching *watching); /* NULL is fine */

/* project, and what plan points to, must stay until the next call. project NULL: it cannot be loaded now; then the configuration below root is followed. */
int watching_follow(struct watching *watching, const char *root, const struct project *project, const struct plan *plan, struct err *err) MUST_CHECK;

int watching_fd(const struct watching *watching);
/* Reads what the kernel has. Whether something that counts has changed since the last take. */
bool watching_pending(struct watching *watching);
/* Hands over what changed, relative to the root, each once; *ret_config: the configuration is among it, or may be. */
void watching_take(struct watching *watching, struct strlist *ret_paths, bool *ret_config);
/* The same without ending it: the paths that came since the last peek. Owned by watching, until the next call. */
const struct strlist *watching_peek(struct watching *watching, bool *ret_config);

#endif
