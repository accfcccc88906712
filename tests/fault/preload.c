/*
 * A library for LD_PRELOAD: lets the calls with which LMDB writes its files fail, or kills before them. LMDB is linked
 * into mlmake and does not know of the table in base/sys.h, which tests/fault/fault.c replaces.
 *
 *     MLMAKE_PRELOAD=KILL:3      SIGKILL before the third call
 *     MLMAKE_PRELOAD=ENOSPC:3    the third fails; EIO likewise
 *     MLMAKE_PRELOAD=ENOSPC:3+   and all after it
 *     MLMAKE_PRELOAD=SHORT:3     the third writes half of what it should, all after it find the disk full
 *     MLMAKE_PRELOAD_LOG=FILE    at exit, the number of calls that were counted
 *
 * Counted are calls on the files of the state database ("/state/" in their path) and of the output cache's index ("/v1/index/"):
 * open with O_CREAT, pwrite, writev, write, ftruncate, fdatasync, fsync and msync.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
	bool on, kills, is_short, onward;
	int number; /* errno */
	unsigned long at, count;
	pid_t pid;
} fault;

enum verdict { GO_ON, FAIL, HALF };

static bool is_state(const char *path)
{
	return strstr(path, "/state/") || strstr(path, "/v1/index/");
}

static bool is_state_fd(int fd)
{
	char name[64], path[4096];
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(name, path, sizeof(path) - 1);
	if (len < 0)
		return false;
	path[len] = 0;
	return is_state(path);
}

static enum verdict strike(void)
{
	unsigned long count = ++fault.count;
	if (count < fault.at || (count > fault.at && !fault.onward && !fault.is_short))
		return GO_ON;
	if (fault.kills)
		kill(getpid(), SIGKILL);
	if (fault.is_short && count == fault.at)
		return HALF;
	errno = fault.number;
	return FAIL;
}

static enum verdict strike_fd(int fd)
{
	int number = errno;
	bool counts = fault.on && is_state_fd(fd);
	errno = number;
	return counts ? strike() : GO_ON;
}

#define REAL(type, name, ...)                                              \
	static type (*real)(__VA_ARGS__);                                  \
	if (!real)                                                         \
		*(void **)(&real) = dlsym(RTLD_NEXT, #name)

ssize_t pwrite(int fd, const void *from, size_t len, off_t at)
{
	REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
	enum verdict verdict = strike_fd(fd);
	return verdict == FAIL ? -1 : real(fd, from, verdict == HALF ? len / 2 : len, at);
}

ssize_t write(int fd, const void *from, size_t len)
{
	REAL(ssize_t, write, int, const void *, size_t);
	enum verdict verdict = strike_fd(fd);
	return verdict == FAIL ? -1 : real(fd, from, verdict == HALF ? len / 2 : len);
}

ssize_t writev(int fd, const struct iovec *from, int count)
{
	REAL(ssize_t, writev, int, const struct iovec *, int);
	enum verdict verdict = strike_fd(fd);
	return verdict == FAIL ? -1 : real(fd, from, verdict == HALF ? (count + 1) / 2 : count);
}

int ftruncate(int fd, off_t len)
{
	REAL(int, ftruncate, int, off_t);
	return strike_fd(fd) == FAIL ? -1 : real(fd, len);
}

int fdatasync(int fd)
{
	REAL(int, fdatasync, int);
	return strike_fd(fd) == FAIL ? -1 : real(fd);
}

int fsync(int fd)
{
	REAL(int, fsync, int);
	return strike_fd(fd) == FAIL ? -1 : real(fd);
}

int msync(void *from, size_t len, int flags)
{
	REAL(int, msync, void *, size_t, int);
	return fault.on && strike() == FAIL ? -1 : real(from, len, flags);
}

int open(const char *path, int flags, ...)
{
	REAL(int, open, const char *, int, ...);
	va_list args;
	va_start(args, flags);
	int mode = va_arg(args, int);
	va_end(args);
	if (fault.on && (flags & O_CREAT) && is_state(path) && strike() == FAIL)
		return -1;
	return real(path, flags, mode);
}

static void write_log(void)
{
	FILE *log = getpid() == fault.pid ? fopen(getenv("MLMAKE_PRELOAD_LOG"), "w") : NULL;
	if (!log)
		return;
	fprintf(log, "%lu\n", fault.count);
	fclose(log);
}

__attribute__((constructor)) static void install(void)
{
	const char *text = getenv("MLMAKE_PRELOAD");
	char error[16], tail[2] = "";
	if (!text)
		return;
	if (sscanf(text, "%15[^:]:%lu%1s", error, &fault.at, tail) < 2) {
		fprintf(stderr, "MLMAKE_PRELOAD: not ERROR:N[+]: '%s'\n", text);
		_exit(70);
	}
	fault.kills = strcmp(error, "KILL") == 0;
	fault.is_short = strcmp(error, "SHORT") == 0;
	fault.onward = tail[0] == '+';
	fault.number = strcmp(error, "EIO") == 0 ? EIO : ENOSPC;
	fault.pid = getpid();
	fault.on = true;
	if (getenv("MLMAKE_PRELOAD_LOG"))
		atexit(write_log);
}
