#include "base/fs.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/pool.h"
#include "base/text.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define READ_MIN 4096
#define COPY_CHUNK (256u << 10)
#define WHOLE_PIECE ((size_t)1 << 30)
#define WATCHED_PIECE ((size_t)16 << 20) /* so that a watcher sees it advance */

void fs_close_fd(int *fd)
{
	if (*fd >= 0)
		sys.close(*fd);
	*fd = -1;
}

static int64_t in_ns(struct timespec time)
{
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void fs_stamp_of(struct fs_stamp *ret, const struct stat *st)
{
	*ret = (struct fs_stamp){
		.size = (uint64_t)st->st_size,
		.mtime_ns = in_ns(st->st_mtim),
		.ctime_ns = in_ns(st->st_ctim),
		.ino = st->st_ino,
		.dev = st->st_dev,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
	};
}

bool fs_stamp_same(const struct fs_stamp *a, const struct fs_stamp *b)
{
	bool linked = a->nlink > 1 || b->nlink > 1;
	return a->size == b->size && a->mtime_ns == b->mtime_ns && (linked || a->ctime_ns == b->ctime_ns) &&
	       a->ino == b->ino && a->dev == b->dev && a->mode == b->mode;
}

bool fs_exists(const char *path)
{
	struct stat st;
	return sys.fstatat(AT_FDCWD, path, &st, 0) == 0;
}

bool fs_is_dir(const char *path)
{
	struct stat st;
	return sys.fstatat(AT_FDCWD, path, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

bool fs_is_file(const char *path)
{
	struct stat st;
	return sys.fstatat(AT_FDCWD, path, &st, 0) == 0 && S_ISREG(st.st_mode);
}

int fs_lstat(const char *path, struct stat *ret, bool *ret_exists, struct err *err)
{
	*ret_exists = sys.fstatat(AT_FDCWD, path, ret, AT_SYMLINK_NOFOLLOW) == 0;
	if (*ret_exists || errno == ENOENT || errno == ENOTDIR)
		return 0;
	return err_set_errno(err, ERR_FAILED, errno, "cannot look at '%s'", path);
}

int fs_read_file(const char *path, size_t max, struct buf *out, struct err *err)
{
	/* O_NONBLOCK: opening a FIFO must not hang. */
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	struct stat st;
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot open '%s'", path);
	if (sys.fstat(fd, &st) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot look at '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_FAILED, "'%s' is not a regular file", path);
	size_t start = out->len;
	/* With room for the read that finds the end. */
	buf_reserve(out, st.st_size < (off_t)max ? (size_t)st.st_size + READ_MIN : READ_MIN);
	for (;;) {
		if (out->cap - out->len < READ_MIN)
			buf_reserve(out, COPY_CHUNK);
		ssize_t got = sys.read(fd, out->data + out->len, out->cap - out->len - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			buf_truncate(out, start);
			return err_set_errno(err, ERR_FAILED, errno, "cannot read '%s'", path);
		}
		buf_truncate(out, out->len + (size_t)got);
		if (out->len - start > max) {
			buf_truncate(out, start);
			return err_set(err, ERR_FAILED, "'%s' is larger than the %zu bytes allowed for it", path, max);
		}
		if (got == 0)
			return 0;
	}
}

int fs_write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;
	while (len) {
		ssize_t wrote = sys.write(fd, at, len);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return -1;
		at += wrote;
		len -= (size_t)wrote;
	}
	return 0;
}

static void add_unique_name(struct buf *out)
{
	static atomic_uint counter;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	buf_addf(out, "%x.%lx.%x", (unsigned)getpid(), (unsigned long)now.tv_nsec ^ (unsigned long)now.tv_sec << 20,
		 atomic_fetch_add(&counter, 1));
}

/* Writes, syncs and closes fd; the descriptor is closed in any case. */
static int fill_and_close(int fd, const void *bytes, size_t len, enum fs_durability durability)
{
	int failed = fs_write_all(fd, bytes, len);
	if (!failed && durability == FS_SYNCED)
		failed = sys.fdatasync(fd);
	int number = errno;
	if (sys.close(fd) < 0 && !failed) {
		failed = -1;
		number = errno;
	}
	errno = number;
	return failed;
}

int fs_write_file(const char *path, const void *bytes, size_t len, mode_t mode, enum fs_durability durability,
		  struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct buf temp CLEANUP(buf_release) = BUF_INIT;
	path_dir(&dir, path);
	buf_addf(&temp, "%s/.mlmake-", dir.data);
	add_unique_name(&temp);
	buf_addstr(&temp, ".tmp");
	int fd = sys.openat(AT_FDCWD, temp.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot create a file in '%s'", dir.data);
	if (fill_and_close(fd, bytes, len, durability) < 0 ||
	    sys.renameat(AT_FDCWD, temp.data, AT_FDCWD, path) < 0) {
		int number = errno;
		sys.unlinkat(AT_FDCWD, temp.data, 0);
		return err_set_errno(err, ERR_FAILED, number, "cannot write '%s'", path);
	}
	return durability == FS_SYNCED ? fs_sync_dir(dir.data, err) : 0;
}

/* 0, or an errno; ENOENT also where what was there a moment ago is gone. */
static int make_dir(const char *path)
{
	struct stat st;
	int number = sys.mkdirat(AT_FDCWD, path, 0777) == 0 ? 0 : errno;
	if (number != EEXIST)
		return number;
	if (fs_is_dir(path))
		return 0;
	return sys.fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? EEXIST : errno;
}

static int make_each_dir(const char *path, struct err *err)
{
	struct buf partial CLEANUP(buf_release) = BUF_INIT;
	for (size_t i = 1;; i++) {
		if (path[i - 1] == '\0')
			return 0;
		if (path[i] != '/' && path[i] != '\0')
			continue;
		buf_reset(&partial);
		buf_add(&partial, path, i);
		int number = make_dir(partial.data);
		if (number)
			return err_set_errno(err, ERR_FAILED, number, "cannot create directory '%s'", partial.data);
	}
}

int fs_mkdirs(const char *path, struct err *err)
{
	for (int again = FS_ATTEMPTS; !fs_is_dir(path) && make_each_dir(path, err) < 0; again--) {
		if (err->sys_errno != ENOENT || !again)
			return -1;
		err_release(err);
	}
	return 0;
}

int fs_mkdirs_for(const char *file_path, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	path_dir(&dir, file_path);
	return fs_mkdirs(dir.data, err);
}

int fs_sync_dir(const char *path, struct err *err)
{
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	/* Some file systems cannot sync directories, and say EINVAL. */
	if (fd < 0 || (sys.fsync(fd) < 0 && errno != EINVAL))
		return err_set_errno(err, ERR_FAILED, errno, "cannot sync directory '%s'", path);
	return 0;
}

int fs_remove(const char *path, struct err *err)
{
	if (sys.unlinkat(AT_FDCWD, path, 0) == 0 || errno == ENOENT || errno == ENOTDIR)
		return 0;
	return err_set_errno(err, ERR_FAILED, errno, "cannot remove '%s'", path);
}

int fs_rename(const char *from, const char *to, struct err *err)
{
	if (sys.renameat(AT_FDCWD, from, AT_FDCWD, to) == 0)
		return 0;
	return err_set_errno(err, ERR_FAILED, errno, "cannot rename '%s' to '%s'", from, to);
}

int fs_read_link(const char *path, struct buf *out, struct err *err)
{
	char target[4097];
	ssize_t len = sys.readlinkat(AT_FDCWD, path, target, sizeof(target));
	if (len < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot read the link '%s'", path);
	if ((size_t)len == sizeof(target))
		return err_set(err, ERR_FAILED, "the target of the link '%s' is too long", path);
	buf_add(out, target, (size_t)len);
	return 0;
}

static bool cannot_here(int number)
{
	return number == EXDEV || number == EOPNOTSUPP || number == ENOTTY || number == ENOSYS || number == EINVAL ||
	       number == EBADF || number == EPERM || number == ETXTBSY;
}

struct moving {
	int from, to;
	struct meter *meter; /* NULL: nobody watches */
	uint64_t counted;    /* that is in it */
};

static void count_moved(struct moving *moving, ssize_t bytes)
{
	meter_add(moving->meter, (uint64_t)bytes);
	moving->counted += (uint64_t)bytes;
}

static int copy_by_reading(struct moving *moving)
{
	OWNED char *chunk = mem_try(COPY_CHUNK);
	if (!chunk) {
		errno = ENOMEM;
		return -1;
	}
	for (;;) {
		ssize_t got = sys.read(moving->from, chunk, COPY_CHUNK);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return (int)got;
		if (fs_write_all(moving->to, chunk, (size_t)got) < 0)
			return -1;
		count_moved(moving, got);
	}
}

static int copy_bytes(struct moving *moving)
{
	const size_t piece = moving->meter ? WATCHED_PIECE : WHOLE_PIECE;
	if (sys.ficlone(moving->to, moving->from) == 0)
		return 0;
	if (!cannot_here(errno))
		return -1;
	bool any = false;
	for (;;) {
		ssize_t got = sys.copy_file_range(moving->from, NULL, moving->to, NULL, piece, 0);
		if (got > 0) {
			any = true;
			count_moved(moving, got);
		} else if (got == 0 && any)
			return 0;
		else if (got == 0 || (!any && cannot_here(errno)))
			return copy_by_reading(moving); /* also for files that say 0 bytes and have some, as in /proc */
		else if (errno != EINTR)
			return -1;
	}
}

static int clone_bytes(struct moving *moving)
{
	return sys.ficlone(moving->to, moving->from);
}

static int make_copy(const char *from, const char *to, mode_t mode, int (*move_bytes)(struct moving *moving), struct meter *meter, struct err *err)
{
	int source CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, from, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	struct stat st;
	if (source < 0 || sys.fstat(source, &st) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot open '%s'", from);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_FAILED, "'%s' is not a regular file", from);
	int target CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (target < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot create '%s'", to);
	struct moving moving = { source, target, meter, 0 };
	int failed = move_bytes(&moving);
	int number = errno;
	int closed = sys.close(target);
	target = -1;
	if (!failed && !closed) {
		if ((uint64_t)st.st_size > moving.counted)
			meter_add(meter, (uint64_t)st.st_size - moving.counted);
		return 0;
	}
	if (!failed)
		number = errno;
	sys.unlinkat(AT_FDCWD, to, 0);
	return err_set_errno(err, ERR_FAILED, number, "cannot copy '%s' to '%s'", from, to);
}

int fs_copy_file(const char *from, const char *to, mode_t mode, struct err *err)
{
	return make_copy(from, to, mode, copy_bytes, NULL, err);
}

int fs_copy_file_metered(const char *from, const char *to, mode_t mode, struct meter *meter, struct err *err)
{
	return make_copy(from, to, mode, copy_bytes, meter, err);
}

bool fs_clone_file(const char *from, const char *to, mode_t mode)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	return make_copy(from, to, mode, clone_bytes, NULL, &ignored) == 0;
}

int fs_temp_dir(const char *parent, const char *prefix, struct buf *out, struct err *err)
{
	size_t start = out->len;
	for (int tries = 0; tries < 100; tries++) {
		buf_truncate(out, start);
		buf_addf(out, "%s/%s", parent, prefix);
		add_unique_name(out);
		if (sys.mkdirat(AT_FDCWD, out->data + start, 0700) == 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	int number = errno;
	buf_truncate(out, start);
	return err_set_errno(err, ERR_FAILED, number, "cannot create a directory in '%s'", parent);
}

int fs_clock(const char *dir, int64_t *ret_ns, struct err *err)
{
	struct buf probe CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	buf_addf(&probe, "%s/.mlmake-", dir);
	add_unique_name(&probe);
	buf_addstr(&probe, ".tmp");
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, probe.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot create a file in '%s'", dir);
	int failed = sys.fstat(fd, &st);
	int number = errno;
	sys.unlinkat(AT_FDCWD, probe.data, 0);
	if (failed)
		return err_set_errno(err, ERR_FAILED, number, "cannot look at a file in '%s'", dir);
	*ret_ns = in_ns(st.st_mtim);
	return 0;
}
