/*
 * .dvc/tmp/rwlock: which paths a command reads and writes while it does not hold .dvc/tmp/lock. dvc's file and dvc's rules: who
 * writes a path excludes everybody else who names it, a path above it or one below it; entries of processes that are gone
 * are dropped. The file is JSON and is changed under .dvc/tmp/rwlock.lock alone.
 *
 *     struct rwlock held CLEANUP(rwlock_release) = RWLOCK_INIT;
 *     rwlock_enter(repo, name_paths, ctx, &held, err);   .dvc/tmp/lock is held now, and the paths are ours
 *     repo_unlock(repo);
 *     ... bytes move ...
 *     repo_lock(repo, err); ... metadata changes ...; repo_unlock(repo);
 */
#ifndef FEATURES_DATA_RWLOCK_H
#define FEATURES_DATA_RWLOCK_H

#include "features/data/outs.h"

struct rwlock {
	struct data_repo *repo;     /* NULL: nothing is taken */
	struct strlist read, write; /* absolute paths */
};
#define RWLOCK_INIT { .repo = NULL }

/* Says what will be read and written, with rwlock_read and rwlock_write. Called under the lock, again after each wait: what it
 * learnt before may have changed. */
typedef int rwlock_names_fn(void *ctx, struct rwlock *held, struct err *err);

/* Takes .dvc/tmp/lock and the entries, waiting for both as long as the repository does; ERR_LOCKED names who has them. On failure
 * neither is held. */
int rwlock_enter(struct data_repo *repo, rwlock_names_fn *names, void *ctx, struct rwlock *held, struct err *err) MUST_CHECK;

void rwlock_read(struct rwlock *held, const char *abs);
void rwlock_write(struct rwlock *held, const char *abs);

/* Gives the entries up; a failure is a warning. */
void rwlock_release(struct rwlock *held);

/* The outputs that paths mean, held for writing until the release. */
struct held_outs {
	struct data_repo *repo;
	const char *const *paths;
	size_t count;
	struct outs outs;
	struct selection chosen;
	struct rwlock held;
};
#define HELD_OUTS_INIT { .outs = OUTS_INIT, .chosen = SELECTION_INIT, .held = RWLOCK_INIT }

/* .dvc/tmp/lock is held, too, when it returns 0, and the caller's to give up. */
int held_outs_take(struct data_repo *repo, const char *const *paths, size_t count, struct held_outs *ret, struct err *err) MUST_CHECK;
void held_outs_release(struct held_outs *outs);

#endif
