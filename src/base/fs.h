/*
 * Files: whole reads, atomic writes, trees, copies.
 *
 * Errors carry ERR_FAILED (ERR_DATA where said), the errno and the path. All
 * descriptors are opened O_CLOEXEC.
 */
#ifndef BASE_FS_H
#define BASE_FS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/sys.h"
#include "base/vec.h"

void fs_close_fd(int *fd); /* for CLEANUP(fs_close_fd) int fd = -1 */

/* What tells one state of a file from another without reading it. Compared for inequality, never for order. */
struct fs_stamp {
	uint64_t size;
	int64_t mtime_ns;
	int64_t ctime_ns;
	uint64_t ino;
	uint64_t dev;
	uint32_t mode;  /* type and permission bits */
	uint32_t nlink;
};
void fs_stamp_of(struct fs_stamp *ret, const struct stat *st);
/* Equal in every field; ctime is left out where either has nlink > 1 (a link elsewhere changes it), nlink always. */
bool fs_stamp_same(const struct fs_stamp *a, const struct fs_stamp *b);

bool fs_exists(const char *path);  /* follows links; false on any error */
bool fs_is_dir(const char *path);
bool fs_is_file(const char *path); /* regular, through links */

/* lstat. A missing file is not an error: *ret_exists says. */
int fs_lstat(const char *path, struct stat *ret, bool *ret_exists, struct err *err) MUST_CHECK;

/* Appends the whole file. More than max bytes is an error, as is what is not a regular file. A missing file is an
 * error with sys_errno ENOENT. */
int fs_read_file(const char *path, size_t max, struct buf *out, struct err *err) MUST_CHECK;

enum fs_durability { FS_VOLATILE, FS_SYNCED };

/* Writes to a temporary name beside path, syncs it (and then the directory) if FS_SYNCED, renames. On failure path
 * is as it was and the temporary is gone. Parents must exist. mode is subject to the umask. A symbolic link at
 * path is replaced, not followed. */
int fs_write_file(const char *path, const void *bytes, size_t len, mode_t mode, enum fs_durability durability,
		  struct err *err) MUST_CHECK;

/* write(2) until all is written. */
int fs_write_all(int fd, const void *bytes, size_t len);

/* Whoever makes a directory, or something in it, does so again that many times where somebody else removes it meanwhile (ENOENT). */
#define FS_ATTEMPTS 10

int fs_mkdirs(const char *path, struct err *err) MUST_CHECK;          /* mkdir -p */
int fs_mkdirs_for(const char *file_path, struct err *err) MUST_CHECK; /* of the directory that will hold it */
int fs_sync_dir(const char *path, struct err *err) MUST_CHECK;
int fs_remove(const char *path, struct err *err) MUST_CHECK;          /* unlink; absent is done */
int fs_remove_tree(const char *path, struct err *err) MUST_CHECK;     /* rm -rf; never follows links */
int fs_rename(const char *from, const char *to, struct err *err) MUST_CHECK;
int fs_read_link(const char *path, struct buf *out, struct err *err) MUST_CHECK;

/* Copies bytes of a regular file to a new file `to` (must not exist; created with mode): reflink, else
 * copy_file_range, else read and write. Not synced. On failure `to` is removed. */
int fs_copy_file(const char *from, const char *to, mode_t mode, struct err *err) MUST_CHECK;
/* The same, adding what it has copied to the meter on the way; all at once where blocks are shared. */
struct meter;
int fs_copy_file_metered(const char *from, const char *to, mode_t mode, struct meter *meter, struct err *err) MUST_CHECK;
/* The same by reflink alone; false, and no file, where that is not to be had. */
bool fs_clone_file(const char *from, const char *to, mode_t mode);

/* A directory to work in that did not exist before, "<parent>/<prefix>XXXXXX", mode 0700. Appends its path. */
int fs_temp_dir(const char *parent, const char *prefix, struct buf *out, struct err *err) MUST_CHECK;

/* The file system's clock: the mtime that a file written now in dir gets, in ns. */
int fs_clock(const char *dir, int64_t *ret_ns, struct err *err) MUST_CHECK;

/* Every entry below dir, directories before what is in them, entries sorted by name, links not followed. path is dir joined
 * with rel. visit returns 0 to go on, 1 to skip what is below a directory, -1 to stop with err. */
struct fs_entry {
	const char *path;
	const char *rel;      /* below dir, '/' separated */
	const struct stat *st;
	unsigned depth;       /* 0 for what is directly in dir */
};
typedef int fs_visit_fn(void *ctx, const struct fs_entry *entry, struct err *err);
int fs_walk(const char *dir, fs_visit_fn *visit, void *ctx, struct err *err) MUST_CHECK;
int fs_walk_if_there(const char *dir, fs_visit_fn *visit, void *ctx, struct err *err) MUST_CHECK; /* of a missing one nothing is visited */

#endif
