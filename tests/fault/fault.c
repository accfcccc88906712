/*
 * Linked into build/mlmake-fault: makes system calls of the table in base/sys.h fail, or the process die, where
 * MLMAKE_FAULT says.
 *
 *     MLMAKE_FAULT=write:ENOSPC:3      the third write fails
 *     MLMAKE_FAULT=write:ENOSPC:3+     and all after it
 *     MLMAKE_FAULT=renameat:KILL:2     SIGKILL before the second rename
 *     MLMAKE_FAULT=any:KILL:57         before the 57th call that changes the file system
 *     MLMAKE_FAULT_LOG=FILE            appends the number of counted calls at exit
 *     MLMAKE_FAULT_TICK_MS=40          files' times seem to advance 40 ms at a time, as on file systems with coarse clocks
 *     MLMAKE_FAULT_SLOW_MS=50          each read of 64 KiB or more takes that long
 */
#include "base/sys.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct sys_table real;
static struct {
	char call[32];
	int number; /* errno; 0: SIGKILL */
	unsigned long at;
	bool onward;
	atomic_ulong count;
} fault;

static bool strikes(const char *call)
{
	if (strcmp(fault.call, call) != 0 && strcmp(fault.call, "any") != 0)
		return false;
	unsigned long count = atomic_fetch_add(&fault.count, 1) + 1;
	if (count != fault.at && !(fault.onward && count > fault.at))
		return false;
	if (!fault.number)
		kill(getpid(), SIGKILL);
	errno = fault.number;
	return true;
}

static int fault_openat(int dir, const char *path, int flags, mode_t mode)
{
	if ((flags & (O_CREAT | O_WRONLY | O_RDWR)) && strikes("openat"))
		return -1;
	return real.openat(dir, path, flags, mode);
}

static ssize_t fault_read(int fd, void *to, size_t len)
{
	if (strcmp(fault.call, "any") != 0 && strikes("read"))
		return -1;
	return real.read(fd, to, len);
}

static ssize_t fault_pread(int fd, void *to, size_t len, off_t at)
{
	if (strcmp(fault.call, "any") != 0 && strikes("pread"))
		return -1;
	return real.pread(fd, to, len, at);
}

#define FAULTY(type, name, parameters, arguments) \
	static type fault_##name parameters       \
	{                                         \
		if (strikes(#name))               \
			return -1;                \
		return real.name arguments;       \
	}
FAULTY(ssize_t, write, (int fd, const void *from, size_t len), (fd, from, len))
FAULTY(ssize_t, pwrite, (int fd, const void *from, size_t len, off_t at), (fd, from, len, at))
FAULTY(int, renameat, (int from_dir, const char *from, int to_dir, const char *to), (from_dir, from, to_dir, to))
FAULTY(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
FAULTY(int, linkat, (int from_dir, const char *from, int to_dir, const char *to, int flags),
       (from_dir, from, to_dir, to, flags))
FAULTY(int, symlinkat, (const char *target, int dir, const char *path), (target, dir, path))
FAULTY(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
FAULTY(int, fchmodat, (int dir, const char *path, mode_t mode, int flags), (dir, path, mode, flags))
FAULTY(int, fchmod, (int fd, mode_t mode), (fd, mode))
FAULTY(int, fsync, (int fd), (fd))
FAULTY(int, fdatasync, (int fd), (fd))
FAULTY(int, ftruncate, (int fd, off_t len), (fd, len))
FAULTY(int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len))
FAULTY(int, ofd_lock, (int fd, int operation, struct flock *range), (fd, operation, range))
FAULTY(int, ficlone, (int to, int from), (to, from))
FAULTY(ssize_t, copy_file_range, (int from, off_t *from_at, int to, off_t *to_at, size_t len, unsigned flags),
       (from, from_at, to, to_at, len, flags))

static int64_t tick_ns;

static void blur(struct timespec *time)
{
	int64_t ns = time->tv_sec * INT64_C(1000000000) + time->tv_nsec;
	ns -= ns % tick_ns;
	*time = (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

static int coarse_fstat(int fd, struct stat *ret)
{
	if (fstat(fd, ret) < 0)
		return -1;
	blur(&ret->st_mtim);
	blur(&ret->st_ctim);
	return 0;
}

static int coarse_fstatat(int dir, const char *path, struct stat *ret, int flags)
{
	if (fstatat(dir, path, ret, flags) < 0)
		return -1;
	blur(&ret->st_mtim);
	blur(&ret->st_ctim);
	return 0;
}

static struct timespec slow;

static ssize_t slow_read(int fd, void *to, size_t len)
{
	if (len >= 65536)
		nanosleep(&slow, NULL);
	return read(fd, to, len);
}

static int errno_by_name(const char *name)
{
	static const struct {
		const char *name;
		int number;
	} known[] = { { "ENOSPC", ENOSPC }, { "EIO", EIO }, { "EACCES", EACCES }, { "EDQUOT", EDQUOT }, { "EXDEV", EXDEV },
		      { "EINTR", EINTR }, { "EINVAL", EINVAL }, { "ENOLCK", ENOLCK }, { "EMFILE", EMFILE }, { "KILL", 0 } };
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].number;
	fprintf(stderr, "MLMAKE_FAULT: unknown error '%s'\n", name);
	_exit(70);
}

static void write_log(void)
{
	FILE *log = fopen(getenv("MLMAKE_FAULT_LOG"), "a");
	if (!log)
		return;
	fprintf(log, "%lu\n", atomic_load(&fault.count));
	fclose(log);
}

__attribute__((constructor)) static void install(void)
{
	const char *text = getenv("MLMAKE_FAULT"), *tick = getenv("MLMAKE_FAULT_TICK_MS");
	char number[16], tail[2] = "";
	if (tick && (tick_ns = strtol(tick, NULL, 10) * 1000000) > 0) {
		sys.fstat = coarse_fstat;
		sys.fstatat = coarse_fstatat;
	}
	const char *slow_ms = getenv("MLMAKE_FAULT_SLOW_MS");
	if (slow_ms) {
		long ms = strtol(slow_ms, NULL, 10);
		slow = (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
		sys.read = slow_read;
	}
	if (!text)
		return;
	if (sscanf(text, "%31[^:]:%15[^:]:%lu%1s", fault.call, number, &fault.at, tail) < 3) {
		fprintf(stderr, "MLMAKE_FAULT: not CALL:ERROR:N[+]: '%s'\n", text);
		_exit(70);
	}
	fault.number = errno_by_name(number);
	fault.onward = tail[0] == '+';
	if (getenv("MLMAKE_FAULT_LOG"))
		atexit(write_log);
	real = sys;
	sys.openat = fault_openat;
	sys.read = fault_read;
	sys.pread = fault_pread;
	sys.write = fault_write;
	sys.pwrite = fault_pwrite;
	sys.renameat = fault_renameat;
	sys.unlinkat = fault_unlinkat;
	sys.linkat = fault_linkat;
	sys.symlinkat = fault_symlinkat;
	sys.mkdirat = fault_mkdirat;
	sys.fchmodat = fault_fchmodat;
	sys.fchmod = fault_fchmod;
	sys.fsync = fault_fsync;
	sys.fdatasync = fault_fdatasync;
	sys.ftruncate = fault_ftruncate;
	sys.fallocate = fault_fallocate;
	sys.ofd_lock = fault_ofd_lock;
	sys.ficlone = fault_ficlone;
	sys.copy_file_range = fault_copy_file_range;
}
