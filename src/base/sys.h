/*
 * The system calls that touch files, through one table, so that a test can
 * make the n-th one fail (tests/fault). Code outside src/base/sys.c never
 * calls these functions directly; reading clocks is free. What decides whether a target
 * is up to date reads the environment here as well, so that a witness sees it (base/witness.h).
 * Same arguments, results and errno as in the manual pages.
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include "base/compiler.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct sys_table {
	int (*openat)(int dir, const char *path, int flags, mode_t mode);
	int (*close)(int fd);
	ssize_t (*read)(int fd, void *to, size_t len);
	ssize_t (*pread)(int fd, void *to, size_t len, off_t at);
	ssize_t (*write)(int fd, const void *from, size_t len);
	ssize_t (*pwrite)(int fd, const void *from, size_t len, off_t at);
	int (*fstat)(int fd, struct stat *ret);
	int (*fstatat)(int dir, const char *path, struct stat *ret, int flags);
	int (*renameat)(int from_dir, const char *from, int to_dir, const char *to);
	int (*unlinkat)(int dir, const char *path, int flags);
	int (*linkat)(int from_dir, const char *from, int to_dir, const char *to, int flags);
	int (*symlinkat)(const char *target, int dir, const char *path);
	ssize_t (*readlinkat)(int dir, const char *path, char *to, size_t len);
	int (*mkdirat)(int dir, const char *path, mode_t mode);
	int (*fchmodat)(int dir, const char *path, mode_t mode, int flags);
	int (*fchmod)(int fd, mode_t mode);
	int (*futimens)(int fd, const struct timespec times[2]);
	int (*fsync)(int fd);
	int (*fdatasync)(int fd);
	int (*sync_file_range)(int fd, off_t at, off_t len, unsigned flags);
	int (*ftruncate)(int fd, off_t len);
	int (*fallocate)(int fd, int mode, off_t at, off_t len);
	int (*flock)(int fd, int operation);
	int (*ofd_lock)(int fd, int operation, struct flock *range); /* fcntl: F_OFD_SETLK, F_OFD_GETLK */
	int (*ficlone)(int to, int from); /* ioctl(FICLONE) */
	ssize_t (*copy_file_range)(int from, off_t *from_at, int to, off_t *to_at, size_t len, unsigned flags);
	DIR *(*fdopendir)(int fd);
	struct dirent *(*readdir)(DIR *dir);
	char *(*getenv)(const char *name);

	/* Says that something is about to be asked past this table: a process started, a library that opens files itself. */
	void (*unseen)(const char *what);
	struct witness *witness; /* who looks on (base/witness.h); NULL: nobody */
};

extern struct sys_table sys;

#endif
