#include "store/lock.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/vec.h"
#include "store/codec.h"
#include "store/workdir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#define FILE_NAME "targets"
#define PID_BITS 23 /* more than the kernel's ids have */
#define NAME_BITS 39
#define RANGES_AT ((off_t)1 << 62)
#define PRESENCE_AT ((off_t)1 << 61) /* one byte, shared by all who have the locks open */
#define HOLDER_BYTES 256
#define HOLDERS 256

struct lock {
	int fd;
	off_t at, len;       /* of its range; 0: the whole file, by flock */
	struct locks *locks; /* whose description of the file it shares; NULL: it has its own */
};

struct locks {
	char *dir, *command;
	int dir_fd;
	int fd;            /* -1: the kernel has no locks on ranges */
	int shared_fd;     /* what locks_try takes is taken on this; -1 until then */
	bool told_name;    /* the line about this process is written */
	bool closed;
	VEC(off_t) taken;  /* on shared_fd, which would take them twice */
};

static void read_holder(int fd, off_t at, struct lock_holder *ret)
{
	char text[sizeof(ret->command) + 24];
	ssize_t len = sys.pread(fd, text, sizeof(text) - 1, at);
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
static void write_holder(int fd, off_t at, const char *command)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&text, "%ld ", (long)getpid());
	for (const char *c = command; *c && text.len < sizeof(((struct lock_holder *)0)->command); c++)
		buf_addch(&text, *c == '\n' ? ' ' : *c);
	buf_addch(&text, '\n');
	/* The line ends where the newline is; what an earlier, longer one left behind it is not read. */
	if (sys.pwrite(fd, text.data, text.len, at) < 0)
		(void)sys.ftruncate(fd, at);
}

static int range_op(int fd, int operation, short type, off_t at, off_t len)
{
	struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = len };
	int result;
	do
		result = sys.ofd_lock(fd, operation, &range);
	while (result < 0 && errno == EINTR);
	return result;
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
		read_holder(fd, 0, ret_holder);
		return 0;
	}
	write_holder(fd, 0, command);
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

static void free_if_unused(struct locks *locks)
{
	if (!locks->closed || locks->taken.len)
		return;
	fs_close_fd(&locks->shared_fd);
	vec_release(&locks->taken);
	free(locks->dir);
	free(locks->command);
	free(locks);
}

static size_t place_of(const struct locks *locks, off_t at)
{
	size_t i = 0;
	while (i < locks->taken.len && locks->taken.at[i] != at)
		i++;
	return i;
}

void lock_release(struct lock *lock)
{
	if (!lock)
		return;
	/* Closing alone would leave it with whatever the target left running. */
	if (lock->len)
		(void)range_op(lock->fd, F_OFD_SETLK, F_UNLCK, lock->at, lock->len);
	else
		(void)sys.flock(lock->fd, LOCK_UN);
	if (lock->locks) {
		struct locks *locks = lock->locks;
		locks->taken.at[place_of(locks, lock->at)] = locks->taken.at[locks->taken.len - 1];
		locks->taken.len--;
		free_if_unused(locks);
	} else {
		sys.close(lock->fd);
	}
	free(lock);
}

/* Makes the directory, too. */
static int open_file(struct locks *locks, struct err *err)
{
	for (int again = FS_ATTEMPTS; fs_mkdirs(locks->dir, err) == 0; again--) {
		fs_close_fd(&locks->dir_fd);
		locks->dir_fd = sys.openat(AT_FDCWD, locks->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
		if (locks->dir_fd >= 0)
			locks->fd = sys.openat(locks->dir_fd, FILE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (locks->fd >= 0)
			return 0;
		if (errno != ENOENT || !again)
			return err_set_errno(err, ERR_FAILED, errno, "cannot open the locks in '%s'", locks->dir);
	}
	return -1;
}

int locks_open(const char *dir, const char *command, struct locks **ret, struct err *err)
{
	struct locks *locks = mem_alloc(sizeof(*locks));
	locks->dir = mem_strdup(dir);
	locks->command = mem_strdup(command);
	locks->fd = -1;
	locks->dir_fd = -1;
	locks->shared_fd = -1;
	if (open_file(locks, err) < 0) {
		locks_close(locks);
		return -1;
	}
	if (range_op(locks->fd, F_OFD_SETLK, F_RDLCK, PRESENCE_AT, 1) < 0) {
		int number = errno;
		fs_close_fd(&locks->fd);
		if (number != EINVAL && number != ENOSYS && number != EOPNOTSUPP) {
			locks_close(locks);
			return err_set_errno(err, ERR_FAILED, number, "cannot lock '%s/%s'", dir, FILE_NAME);
		}
	}
	*ret = locks;
	return 0;
}

void locks_close(struct locks *locks)
{
	if (!locks)
		return;
	fs_close_fd(&locks->fd);
	fs_close_fd(&locks->dir_fd);
	locks->closed = true;
	free_if_unused(locks);
}

static off_t range_of(const char *name)
{
	uint64_t bits = codec_checksum(name, strlen(name)) >> (64 - NAME_BITS);
	return RANGES_AT + (off_t)(bits << PID_BITS);
}

static off_t holder_place(pid_t pid)
{
	return (off_t)(pid % HOLDERS) * HOLDER_BYTES;
}

/* Whose the range is that is in the way. */
static void find_holder(int fd, off_t at, struct lock_holder *ret)
{
	struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
	if (sys.ofd_lock(fd, F_OFD_GETLK, &range) < 0 || range.l_type == F_UNLCK || range.l_len <= 1 || range.l_len >= (off_t)1 << PID_BITS)
		return;
	pid_t pid = (pid_t)(range.l_len - 1);
	read_holder(fd, holder_place(pid), ret);
	if (ret->pid != pid)
		*ret = (struct lock_holder){ .pid = pid };
}

/* Without the locks, two mlmake could make one target at once. */
static int cannot_open(const char *dir, struct err *err)
{
	int number = errno;
	err_set_errno(err, ERR_FAILED, number, "cannot open the locks in '%s'", dir);
	return number == ENOENT ? err_hint(err, "that directory was removed while this ran; run it again: what is finished is kept in the output cache") : -1;
}

static int open_description(struct locks *locks, struct err *err)
{
	int fd = sys.openat(locks->dir_fd, FILE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
	return fd < 0 ? cannot_open(locks->dir, err) : fd;
}

/* The file for locks_try, once; it counts for nothing any more where its directory was removed, and another mlmake makes a new one. */
static int open_shared(struct locks *locks, struct err *err)
{
	struct stat st;
	if (locks->shared_fd < 0)
		return (locks->shared_fd = open_description(locks, err)) < 0 ? -1 : 0;
	if (sys.fstat(locks->shared_fd, &st) == 0 && st.st_nlink > 0)
		return 0;
	errno = ENOENT;
	return cannot_open(locks->dir, err);
}

/* On fd, which *ret has then. */
static int try_range(struct locks *locks, int fd, const char *name, short type, struct lock **ret, struct lock_holder *ret_holder,
		     struct err *err)
{
	off_t at = range_of(name), len = (off_t)getpid() + 1;
	if (range_op(fd, F_OFD_SETLK, type, at, len) < 0) {
		if (errno != EAGAIN && errno != EACCES)
			return err_set_errno(err, ERR_FAILED, errno, "cannot lock '%s/%s'", locks->dir, FILE_NAME);
		find_holder(fd, at, ret_holder);
		return 0;
	}
	if (!locks->told_name)
		write_holder(fd, holder_place(getpid()), locks->command);
	locks->told_name = true;
	struct lock *lock = mem_alloc(sizeof(*lock));
	*lock = (struct lock){ .fd = fd, .at = at, .len = len };
	*ret = lock;
	return 0;
}

int locks_try(struct locks *locks, const char *name, struct lock **ret, struct lock_holder *ret_holder, struct err *err)
{
	*ret = NULL;
	memset(ret_holder, 0, sizeof(*ret_holder));
	if (locks->fd < 0)
		return lock_try(locks->dir, name, locks->command, ret, ret_holder, err);
	if (open_shared(locks, err) < 0)
		return -1;
	/* Another name with the same bits: as if somebody else had it. */
	if (place_of(locks, range_of(name)) < locks->taken.len) {
		ret_holder->pid = getpid();
		snprintf(ret_holder->command, sizeof(ret_holder->command), "%s", locks->command);
		return 0;
	}
	if (try_range(locks, locks->shared_fd, name, F_WRLCK, ret, ret_holder, err) < 0)
		return -1;
	if (*ret) {
		(*ret)->locks = locks;
		vec_push(&locks->taken, (*ret)->at);
	}
	return 0;
}

int locks_try_shared(struct locks *locks, const char *name, struct lock **ret, bool *ret_free, struct lock_holder *ret_holder,
		     struct err *err)
{
	*ret = NULL;
	*ret_free = true;
	memset(ret_holder, 0, sizeof(*ret_holder));
	if (locks->fd < 0)
		return 0;
	int fd = open_description(locks, err);
	if (fd < 0)
		return -1;
	int failed = try_range(locks, fd, name, F_RDLCK, ret, ret_holder, err);
	*ret_free = *ret != NULL;
	if (!*ret)
		sys.close(fd);
	return failed;
}

bool locks_is_taken(struct locks *locks, const char *name)
{
	struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = range_of(name), .l_len = 1 };
	if (locks->fd >= 0)
		return sys.ofd_lock(locks->fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct lock_holder holder;
	struct lock *lock;
	if (lock_try(locks->dir, name, locks->command, &lock, &holder, &ignored) < 0)
		return false;
	bool taken = lock == NULL;
	lock_release(lock);
	return taken;
}

bool locks_have_company(struct locks *locks)
{
	struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = PRESENCE_AT, .l_len = 1 };
	/* Where that cannot be known, somebody may be there. */
	return locks->fd < 0 || sys.ofd_lock(locks->fd, F_OFD_GETLK, &range) < 0 || range.l_type != F_UNLCK;
}
