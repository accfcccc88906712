#include "store/lock.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/workdir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

struct lock {
	int fd;
};

static void read_holder(int fd, struct lock_holder *ret)
{
	char text[sizeof(ret->command) + 24];
	ssize_t len = sys.pread(fd, text, sizeof(text) - 1, 0);
	if (len <= 0)
		return;
	text[len] = 0;
	char *rest;
	long pid = strtol(text, &rest, 10);
	if (pid <= 0 || pid > INT32_MAX || *rest != ' ')
		return;
	ret->pid = (pid_t)pid;
	rest[1 + strcspn(rest + 1, "\n")] = 0;
	snprintf(ret->command, sizeof(ret->command), "%s", rest + 1);
}

/* Who holds the lock is told for people; a failure to write it down is none of the lock. */
static void write_holder(int fd, const char *command)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&text, "%ld ", (long)getpid());
	for (const char *c = command; *c && text.len < sizeof(((struct lock_holder *)0)->command); c++)
		buf_addch(&text, *c == '\n' ? ' ' : *c);
	buf_addch(&text, '\n');
	/* The line ends where the newline is; what an earlier, longer one left behind it is not read. */
	if (sys.pwrite(fd, text.data, text.len, 0) < 0)
		(void)sys.ftruncate(fd, 0);
}

int lock_try(const char *dir, const char *name, const char *command, struct lock **ret, struct lock_holder *ret_holder,
	     struct err *err)
{
	*ret = NULL;
	memset(ret_holder, 0, sizeof(*ret_holder));
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&path, "%s/", dir);
	workdir_add_name(&path, name);
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot open the lock '%s'", path.data);
	while (sys.flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return err_set_errno(err, ERR_FAILED, errno, "cannot lock '%s'", path.data);
		read_holder(fd, ret_holder);
		return 0;
	}
	write_holder(fd, command);
	struct lock *lock = mem_alloc(sizeof(*lock));
	lock->fd = fd;
	fd = -1;
	*ret = lock;
	return 0;
}

int lock_fd(const struct lock *lock)
{
	return lock->fd;
}

void lock_release(struct lock *lock)
{
	if (!lock)
		return;
	/* Closing alone would leave it with whatever the target left running. */
	(void)sys.flock(lock->fd, LOCK_UN);
	sys.close(lock->fd);
	free(lock);
}
