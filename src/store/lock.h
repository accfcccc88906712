/*
 * Locks that the kernel drops with their holder: flock(2) on a file that stays. The file tells who holds it, for
 * messages alone.
 *
 *     struct lock *lock; struct lock_holder holder;
 *     lock_try(dir, "train", "mlmake train", &lock, &holder, err);
 *     if (!lock) ... busy: ask again later (a timer of the loop); say on whom
 *     int keep[] = { lock_fd(lock) };   given to children, which hold it too: an orphan keeps it until it ends
 *     lock_release(lock);
 */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "base/err.h"

#include <sys/types.h>

struct lock;

struct lock_holder {
	pid_t pid;          /* 0 if unknown */
	char command[200];  /* "" if unknown */
};

/* dir must exist; name is any text (store/workdir.h makes a file name of it). *ret is NULL if another holds it; *ret_holder says who, as far as known. */
int lock_try(const char *dir, const char *name, const char *command, struct lock **ret, struct lock_holder *ret_holder,
	     struct err *err) MUST_CHECK;

int lock_fd(const struct lock *lock);

/* Gives it up, for children that inherited it as well. NULL is fine. */
void lock_release(struct lock *lock);

#endif
