#include "store/tempdir.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"

#include <sys/file.h>

static void sweep(const char *parent, const char *prefix)
{
	int fd = sys.openat(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : sys.fdopendir(fd);
	if (!dir) {
		fs_close_fd(&fd);
		return;
	}
	for (struct dirent *entry; (entry = sys.readdir(dir));) {
		if (!text_starts(entry->d_name, prefix))
			continue;
		char *path OWNED = path_joined(parent, entry->d_name);
		int child CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
		if (child < 0 || sys.flock(child, LOCK_EX | LOCK_NB) < 0)
			continue;
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		if (fs_remove_tree(path, &ignored) < 0)
			err_release(&ignored);
	}
	closedir(dir);
}

int temp_dir_make(struct temp_dir *dir, const char *parent, const char *prefix, struct err *err)
{
	sweep(parent, prefix);
	/* Another process may sweep the new directory before it is locked; then it is made again. */
	for (int attempt = 0; attempt < 100; attempt++) {
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		if (fs_temp_dir(parent, prefix, &path, err) < 0)
			return -1;
		int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
		if (fd < 0 || sys.flock(fd, LOCK_EX | LOCK_NB) < 0 || !fs_is_dir(path.data))
			continue;
		dir->fd = fd;
		fd = -1;
		dir->path = buf_detach(&path);
		return 0;
	}
	return err_set(err, ERR_FAILED, "cannot make a temporary directory in %s", parent);
}

void temp_dir_drop(struct temp_dir *dir)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (dir->path && fs_remove_tree(dir->path, &ignored) < 0)
		err_release(&ignored);
	fs_close_fd(&dir->fd);
	free(dir->path);
	*dir = (struct temp_dir)TEMP_DIR_INIT;
}
