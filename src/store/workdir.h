/*
 * `.mlmake/` of a project: what costs time, never data, to lose. Ignored by git through a .gitignore of its own,
 * so that no file of the project changes.
 *
 *     .mlmake/state/        LMDB: stat records and results (store/state.h)
 *     .mlmake/snapshots/    answers that hold while nothing changes (store/snapshot.h)
 *     .mlmake/clock         what time it is for the files (store/clock.h)
 *     .mlmake/locks/        one file a target (store/lock.h)
 *     .mlmake/logs/         what a target last printed
 *     .mlmake/interrupted/  what an interrupted target had written
 *     .mlmake/staging/      outputs on their way into the work tree
 *     .mlmake/packs/        indexes of packed remotes, and packs on their way (net/remote_packed_impl.h)
 */
#ifndef STORE_WORKDIR_H
#define STORE_WORKDIR_H

#include "base/buf.h"
#include "base/err.h"

/* Appends "<root>/.mlmake" or "<root>/.mlmake/<sub>" and makes sure that it exists. sub may be NULL. */
int workdir_path(const char *root, const char *sub, struct buf *out, struct err *err) MUST_CHECK;

/* Makes sure that directory dir, a `.mlmake` or one that stands in for it, exists and holds its .gitignore. */
int workdir_make(const char *dir, struct err *err) MUST_CHECK;

/* Appends name as one path component: what could be taken for another path, hidden or too long is written as
 * %XX or ends in a digest. Different names give different components. */
void workdir_add_name(struct buf *out, const char *name);

/* Appends the user's cache directory for mlmake: $MLMAKE_CACHE_DIR, $XDG_CACHE_HOME/mlmake or ~/.cache/mlmake.
 * ERR_CONFIG if none of the three variables says where that is. */
int workdir_user_cache(struct buf *out, struct err *err) MUST_CHECK;

#endif
