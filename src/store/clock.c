#include "store/clock.h"

#include "base/fs.h"
#include "store/codec.h"
#include "store/workdir.h"

#include <time.h>

#define LATER_STEP_NS 500000 /* ticks of kernels are 1 to 10 ms */
#define LATER_STEPS 40

int clock_open(const char *root, bool may_create)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (may_create && workdir_path(root, NULL, &path, &ignored) < 0)
		return -2;
	if (!may_create)
		buf_addf(&path, "%s/.mlmake", root);
	buf_addstr(&path, "/clock");
	int fd = sys.openat(AT_FDCWD, path.data, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | (may_create ? O_CREAT : 0), 0666);
	return fd < 0 ? -2 : fd;
}

/* By writing to a file that stays: making and removing one each time is slow, and ext4 does not like to reuse what was just removed. */
int64_t clock_now(int fd)
{
	struct stat st;
	struct fs_stamp stamp;
	if (fd < 0 || sys.pwrite(fd, "\n", 1, 0) != 1 || sys.fstat(fd, &st) < 0)
		return CLOCK_NONE;
	fs_stamp_of(&stamp, &st);
	return stamp.mtime_ns;
}

int64_t clock_later(int fd)
{
	const struct timespec wait = { .tv_nsec = LATER_STEP_NS };
	int64_t first = clock_now(fd), now = first;
	for (int i = 0; i < LATER_STEPS && now != CLOCK_NONE && now <= first; i++) {
		nanosleep(&wait, NULL);
		now = clock_now(fd);
	}
	return now;
}

uint64_t clock_boot(void)
{
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, "/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC, 0);
	char text[64];
	ssize_t len = fd < 0 ? -1 : sys.read(fd, text, sizeof(text));
	return len > 0 ? codec_checksum(text, (size_t)len) : 0;
}
