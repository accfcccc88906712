/* Walking and removing whole trees, by descriptor, so that nobody can swap a directory for a link underneath. */
#include "base/fs.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 512

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Of the directory that dir_fd, which stays the caller's, is open on. Nothing is in one that somebody has removed since. */
static int list_names(int dir_fd, const char *path, struct strlist *ret, struct err *err)
{
	int fd = sys.openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot open directory '%s'", path);
	DIR *dir CLEANUP(close_dir) = sys.fdopendir(fd);
	if (!dir) {
		int number = errno;
		sys.close(fd);
		return err_set_errno(err, ERR_FAILED, number, "cannot read directory '%s'", path);
	}
	for (;;) {
		errno = 0;
		const struct dirent *entry = sys.readdir(dir);
		if (!entry && errno)
			return err_set_errno(err, ERR_FAILED, errno, "cannot read directory '%s'", path);
		if (!entry)
			break;
		if (!is_dot(entry->d_name))
			strlist_add(ret, entry->d_name);
	}
	strlist_sort(ret);
	return 0;
}

struct walk {
	struct buf path;
	size_t root_len; /* of path, with the slash behind it */
	fs_visit_fn *visit;
	void *ctx;
};

static int walk_directory(struct walk *walk, int fd, unsigned depth, struct err *err);

static int walk_entry(struct walk *walk, int dir_fd, const char *name, unsigned depth, struct err *err)
{
	struct stat st;
	if (sys.fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return 0; /* removed since it was listed */
		return err_set_errno(err, ERR_FAILED, errno, "cannot look at '%s'", walk->path.data);
	}
	struct fs_entry entry = {
		.path = walk->path.data,
		.rel = walk->path.data + walk->root_len,
		.st = &st,
		.depth = depth,
	};
	int verdict = walk->visit(walk->ctx, &entry, err);
	if (verdict < 0)
		return -1;
	if (verdict > 0 || !S_ISDIR(st.st_mode))
		return 0;
	if (depth >= MAX_DEPTH)
		return err_set(err, ERR_FAILED, "directories are nested too deeply: '%s'", walk->path.data);
	int fd = sys.openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot open directory '%s'", walk->path.data);
	return walk_directory(walk, fd, depth + 1, err);
}

/* Takes fd over. */
static int walk_directory(struct walk *walk, int fd, unsigned depth, struct err *err)
{
	struct strlist names CLEANUP(strlist_release) = { 0 };
	int dir_fd CLEANUP(fs_close_fd) = fd;
	if (list_names(dir_fd, walk->path.data, &names, err) < 0)
		return -1;
	size_t len = walk->path.len;
	for (size_t i = 0; i < names.len; i++) {
		if (walk->path.data[len - 1] != '/')
			buf_addch(&walk->path, '/');
		buf_addstr(&walk->path, names.at[i]);
		if (walk_entry(walk, dir_fd, names.at[i], depth, err) < 0)
			return -1;
		buf_truncate(&walk->path, len);
	}
	return 0;
}

static void walk_release(struct walk *walk)
{
	buf_release(&walk->path);
}

static int walk_from(const char *dir, bool must_exist, fs_visit_fn *visit, void *ctx, struct err *err)
{
	struct walk walk CLEANUP(walk_release) = { .path = BUF_INIT, .visit = visit, .ctx = ctx };
	buf_addstr(&walk.path, dir);
	walk.root_len = walk.path.len + (walk.path.data[walk.path.len - 1] != '/');
	int fd = sys.openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0 && !must_exist && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot open directory '%s'", dir);
	return walk_directory(&walk, fd, 0, err);
}

int fs_walk(const char *dir, fs_visit_fn *visit, void *ctx, struct err *err)
{
	return walk_from(dir, true, visit, ctx, err);
}

int fs_walk_if_there(const char *dir, fs_visit_fn *visit, void *ctx, struct err *err)
{
	return walk_from(dir, false, visit, ctx, err);
}

/* Takes fd over. */
static int remove_inside(int fd, const char *path, unsigned depth, struct err *err)
{
	struct strlist names CLEANUP(strlist_release) = { 0 };
	int dir_fd CLEANUP(fs_close_fd) = fd;
	if (list_names(dir_fd, path, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.len; i++) {
		if (sys.unlinkat(dir_fd, names.at[i], 0) == 0 || errno == ENOENT)
			continue;
		if ((errno != EISDIR && errno != EPERM) || depth >= MAX_DEPTH)
			return err_set_errno(err, ERR_FAILED, errno, "cannot remove '%s/%s'", path, names.at[i]);
		int child = sys.openat(dir_fd, names.at[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
		if (child < 0 && errno == ENOENT)
			continue;
		if (child < 0)
			return err_set_errno(err, ERR_FAILED, errno, "cannot remove '%s/%s'", path, names.at[i]);
		if (remove_inside(child, path, depth + 1, err) < 0)
			return -1;
		if (sys.unlinkat(dir_fd, names.at[i], AT_REMOVEDIR) < 0 && errno != ENOENT)
			return err_set_errno(err, ERR_FAILED, errno, "cannot remove '%s/%s'", path, names.at[i]);
	}
	return 0;
}

int fs_remove_tree(const char *path, struct err *err)
{
	/* As a file, which it is nearly always. */
	if (sys.unlinkat(AT_FDCWD, path, 0) == 0 || errno == ENOENT)
		return 0;
	int fd = sys.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0) {
		if (errno == ENOTDIR || errno == ELOOP)
			return fs_remove(path, err);
		if (errno == ENOENT)
			return 0;
		return err_set_errno(err, ERR_FAILED, errno, "cannot remove '%s'", path);
	}
	if (remove_inside(fd, path, 0, err) < 0)
		return -1;
	if (sys.unlinkat(AT_FDCWD, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_set_errno(err, ERR_FAILED, errno, "cannot remove '%s'", path);
	return 0;
}
