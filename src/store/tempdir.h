/*
 * Directories for temporaries, one a process: locked while it lives, and removed by the next process that makes one beside
 * it when it died.
 *
 *     struct temp_dir dir CLEANUP(temp_dir_drop) = TEMP_DIR_INIT;
 *     temp_dir_make(&dir, "/repo/.dvc/tmp", "staging-", err);
 */
#ifndef STORE_TEMPDIR_H
#define STORE_TEMPDIR_H

#include "base/err.h"

struct temp_dir {
	char *path; /* NULL: none was made */
	int fd;     /* holds the lock on it */
};
#define TEMP_DIR_INIT { NULL, -1 }

/* "<parent>/<prefix>XXXXXX", mode 0700; parent must exist. Directories of that prefix that nobody holds are removed first. */
int temp_dir_make(struct temp_dir *dir, const char *parent, const char *prefix, struct err *err) MUST_CHECK;

/* With all in it. What cannot be removed is left to the next sweep. */
void temp_dir_drop(struct temp_dir *dir);

#endif
