/*
 * Locks that the kernel drops with their holder. The file that is locked stays; it tells who holds what, for messages alone.
 *
 * One lock, one file:
 *
 *     struct lock *lock; struct lock_holder holder;
 *     lock_try(dir, "gc", "mlmake cache gc", &lock, &holder, err);
 *     if (!lock) ... busy: ask again later (a timer of the loop); say on whom
 *     int keep[] = { lock_fd(lock) };   given to children, which hold it too: an orphan keeps it until it ends
 *     lock_release(lock);
 *
 * Many locks, one file, so that taking one makes no file:
 *
 *     locks_open(dir, "mlmake train", &locks, err);
 *     locks_try(locks, "train", &lock, &holder, err);   as above
 *     lock_release(lock);
 *     locks_close(locks);
 *
 * The file is <dir>/targets. A name is a range of bytes far behind the file's end, locked by an open file description (fcntl(2), F_OFD_SETLK):
 * 39 bits of the name's checksum say where it begins, the holder's process id how long it is, so that who meets
 * it knows on whom to wait. The locks of one process share a description, since a descriptor each costs every child that is started; what a killed
 * process left running thus keeps all that it had, until it ends. Two names with the same bits (a chance of 1 in 100 among 100,000) wait for each other and no more. The first
 * 64 KiB of the file hold a line a process, "PID COMMAND\n", at 256 times the last eight bits of the id. Where the kernel
 * has no such locks, each name has a file of its own.
 */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "base/err.h"

#include <sys/types.h>

struct lock;
struct locks;

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

/* Makes dir where it is missing. command: as the user called it. */
int locks_open(const char *dir, const char *command, struct locks **ret, struct err *err) MUST_CHECK;
void locks_close(struct locks *locks); /* what was taken stays taken; NULL is fine */

int locks_try(struct locks *locks, const char *name, struct lock **ret, struct lock_holder *ret_holder, struct err *err) MUST_CHECK;

/* The same for who reads what the lock is for: many may have it, while nobody has it with locks_try. Where the kernel has no locks on ranges
 * it is not taken: *ret is NULL and *ret_free true. */
int locks_try_shared(struct locks *locks, const char *name, struct lock **ret, bool *ret_free, struct lock_holder *ret_holder,
		     struct err *err) MUST_CHECK;

/* Whether another process has a lock now. Takes nothing, where the kernel can tell. */
bool locks_is_taken(struct locks *locks, const char *name);

/* Whether another process has the same locks open now, and so may wait for one. */
bool locks_have_company(struct locks *locks);

#endif
