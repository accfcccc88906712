#include "formats/digest_input.h"

#include "base/pool.h"

#include <errno.h>

int digest_input_open(struct digest_input *input, const char *path, struct err *err)
{
	input->fd = sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	if (input->fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot open %s", path);
	struct stat st;
	if (sys.fstat(input->fd, &st) < 0) {
		int number = errno;
		digest_input_close(input);
		return err_set_errno(err, ERR_FAILED, number, "cannot look at %s", path);
	}
	if (!S_ISREG(st.st_mode)) {
		digest_input_close(input);
		return err_set(err, ERR_FAILED, "%s is not a regular file", path);
	}
	input->path = path;
	input->total = 0;
	input->meter = NULL;
	fs_stamp_of(&input->before, &st);
	return 0;
}

int digest_input_read(struct digest_input *input, void *to, size_t len, size_t *ret_got, struct err *err)
{
	size_t got = 0;
	/* At the size that it is said to have it ends; if it does not, the stat afterwards shows that. Files that say 0 may have more (/proc). */
	while (got < len && (!input->before.size || input->total + got != input->before.size)) {
		ssize_t n = sys.read(input->fd, (char *)to + got, len - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(err, ERR_FAILED, errno, "cannot read %s", input->path);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	input->total += got;
	meter_add(input->meter, got);
	*ret_got = got;
	return 0;
}

void digest_input_finish(struct digest_input *input, struct fs_stamp *ret_stamp, bool *ret_stable)
{
	struct stat st;
	struct fs_stamp after;
	*ret_stamp = input->before;
	*ret_stable = false;
	if (sys.fstatat(AT_FDCWD, input->path, &st, 0) == 0) {
		fs_stamp_of(&after, &st);
		*ret_stable = fs_stamp_same(&input->before, &after) && after.size == input->total;
	}
	digest_input_close(input);
}

void digest_input_close(struct digest_input *input)
{
	if (input->fd >= 0)
		sys.close(input->fd);
	input->fd = -1;
}
