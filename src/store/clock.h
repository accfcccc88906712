/*
 * What time it is for the files of a project, and since when the machine runs.
 *
 * The time is the mtime that a write to `.mlmake/clock` gets now: the file system's, not the wall clock's. A file whose mtime and
 * ctime are before it cannot change any more without one of them changing too.
 */
#ifndef STORE_CLOCK_H
#define STORE_CLOCK_H

#include "base/compiler.h"

#define CLOCK_NONE INT64_MIN
/* The kernel starts to write a dirty page out after 30 s; a file older than this is on disk. */
#define CLOCK_SYNCED_AFTER_NS ((int64_t)120 * 1000000000)

/* A descriptor for clock_now; -2 if there can be none (a tree that may not be written). The caller closes it. With may_create false
 * nothing is made where mlmake has never run. */
int clock_open(const char *root, bool may_create);

/* In ns; CLOCK_NONE if fd is negative or the file system does not tell. */
int64_t clock_now(int fd);

/* The same at a later tick: all that was written before this call is older. Waits for that, some milliseconds; where the file system counts in longer steps
 * it gives up, and answers as clock_now. */
int64_t clock_later(int fd);

/* 64 bits that stand for this boot of the machine; 0 if the kernel does not tell. */
uint64_t clock_boot(void);

#endif
