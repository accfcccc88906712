#include "unit/unit.h"

#include "base/mem.h"
#include "base/sys.h"

#include <errno.h>
#include <sys/stat.h>

static struct err err = ERR_INIT;

static void write_text(const char *path, const char *text)
{
	assert_ok(fs_write_file(path, text, strlen(text), 0644, FS_VOLATILE, &err), &err);
}

static void check_content(const char *path, const char *expected)
{
	struct buf content CLEANUP(buf_release) = BUF_INIT;
	assert_ok(fs_read_file(path, 1 << 20, &content, &err), &err);
	assert_string_equal(content.data, expected);
}

static int count_entry(void *ctx, const struct fs_entry *entry, struct err *ret_err)
{
	struct buf *seen = ctx;
	(void)ret_err;
	buf_addf(seen, "%s%s ", entry->rel, S_ISDIR(entry->st->st_mode) ? "/" : "");
	return strcmp(path_base(entry->rel), "skip") == 0;
}

static void test_write_replaces_whole_files(void **state)
{
	struct stat st;
	(void)state;
	write_text("a", "one");
	assert_ok(fs_write_file("a", "two", 3, 0600, FS_SYNCED, &err), &err);
	check_content("a", "two");
	assert_int_equal(stat("a", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(symlink("a", "link"), 0);
	write_text("link", "three"); /* replaces the link, does not write through it */
	check_content("a", "two");
	check_content("link", "three");
}

static ssize_t full_disk(int fd, const void *bytes, size_t len)
{
	(void)fd;
	(void)bytes;
	(void)len;
	errno = ENOSPC;
	return -1;
}

static void test_full_disk_leaves_the_old_file(void **state)
{
	struct buf seen CLEANUP(buf_release) = BUF_INIT;
	ssize_t (*real_write)(int, const void *, size_t) = sys.write;
	(void)state;
	write_text("a", "old");
	sys.write = full_disk;
	int failed = fs_write_file("a", "new", 3, 0644, FS_SYNCED, &err);
	sys.write = real_write;
	assert_error(failed, &err, ERR_FAILED, "'a'");
	assert_int_equal(err.sys_errno, ENOSPC);
	assert_non_null(err.hint);
	check_content("a", "old");
	assert_ok(fs_walk(".", count_entry, &seen, &err), &err);
	assert_string_equal(seen.data, "a ");
}

static void test_reading_is_bounded_and_regular(void **state)
{
	struct buf content CLEANUP(buf_release) = BUF_INIT;
	(void)state;
	write_text("a", "0123456789");
	assert_error(fs_read_file("a", 9, &content, &err), &err, ERR_FAILED, "larger");
	assert_int_equal(content.len, 0);
	assert_error(fs_read_file("none", 9, &content, &err), &err, ERR_FAILED, "none");
	assert_int_equal(err.sys_errno, ENOENT);
	assert_int_equal(mkfifo("pipe", 0600), 0);
	assert_error(fs_read_file("pipe", 9, &content, &err), &err, ERR_FAILED, "regular"); /* and does not hang */
	assert_error(fs_read_file(".", 9, &content, &err), &err, ERR_FAILED, "regular");
}

static void test_trees(void **state)
{
	struct buf seen CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	bool exists;
	(void)state;
	assert_ok(fs_mkdirs("t/b/c", &err), &err);
	assert_ok(fs_mkdirs("t/skip/hidden", &err), &err);
	assert_ok(fs_mkdirs_for("t/d/file", &err), &err);
	write_text("t/b/c/x", "x");
	write_text("t/a", "a");
	write_text("outside", "stays");
	assert_int_equal(symlink("../outside", "t/link"), 0);
	assert_int_equal(symlink("..", "t/up"), 0);
	assert_ok(fs_walk("t", count_entry, &seen, &err), &err);
	assert_string_equal(seen.data, "a b/ b/c/ b/c/x d/ link skip/ up ");
	assert_ok(fs_remove_tree("t", &err), &err);
	assert_ok(fs_lstat("t", &st, &exists, &err), &err);
	assert_false(exists);
	check_content("outside", "stays");
	assert_ok(fs_remove_tree("t", &err), &err);
	assert_ok(fs_remove("t", &err), &err);
	assert_error(fs_mkdirs("outside/x", &err), &err, ERR_FAILED, "outside");
}

/* What somebody else does at the worst moment: before a directory of this name is opened. */
static const char *victim;
static struct sys_table kernel;
static unsigned raced;

static int open_too_late(int dir, const char *path, int flags, mode_t mode)
{
	if (victim && strcmp(path, victim) == 0) {
		const char *gone = victim;
		victim = NULL;
		raced++;
		assert_ok(fs_remove_tree(gone[0] == '.' ? "t/b" : "t/b/c", &err), &err);
	}
	return kernel.openat(dir, path, flags, mode);
}

static int make_too_late(int dir, const char *path, mode_t mode)
{
	if (victim && strcmp(path, victim) == 0) {
		victim = NULL;
		raced++;
		assert_ok(fs_remove_tree("t", &err), &err);
	}
	return kernel.mkdirat(dir, path, mode);
}

static void test_trees_that_others_remove_meanwhile(void **state)
{
	static const char *const moments[] = { "c", "." };
	(void)state;
	kernel = sys;
	raced = 0;
	for (size_t i = 0; i < 4; i++) {
		struct buf seen CLEANUP(buf_release) = BUF_INIT;
		assert_ok(fs_mkdirs("t/b/c/d", &err), &err);
		victim = moments[i % 2];
		sys.openat = open_too_late;
		int failed = i < 2 ? fs_walk("t/b", count_entry, &seen, &err) : fs_remove_tree("t/b", &err);
		sys.openat = kernel.openat;
		assert_ok(failed, &err);
		assert_null(strstr(seen.data ? seen.data : "", "d/"));
	}
	victim = "t/b/c";
	sys.mkdirat = make_too_late;
	int failed = fs_mkdirs("t/b/c", &err);
	sys.mkdirat = kernel.mkdirat;
	assert_ok(failed, &err);
	assert_true(fs_is_dir("t/b/c"));
	assert_int_equal(raced, 5);
	assert_ok(fs_walk_if_there("t/none", count_entry, NULL, &err), &err);
	assert_error(fs_walk("t/none", count_entry, NULL, &err), &err, ERR_FAILED, "none");
}

static void test_copy(void **state)
{
	(void)state;
	write_text("a", "content");
	assert_ok(fs_copy_file("a", "b", 0644, &err), &err);
	check_content("b", "content");
	assert_error(fs_copy_file("a", "b", 0644, &err), &err, ERR_FAILED, "'b'");
	assert_int_equal(err.sys_errno, EEXIST);
	write_text("empty", "");
	assert_ok(fs_copy_file("empty", "empty2", 0600, &err), &err);
	check_content("empty2", "");
	assert_error(fs_copy_file(".", "c", 0600, &err), &err, ERR_FAILED, "regular");
	assert_false(fs_exists("c"));
}

static int no_clone(int to, int from)
{
	(void)to;
	(void)from;
	errno = EOPNOTSUPP;
	return -1;
}

static ssize_t no_range(int from, off_t *from_at, int to, off_t *to_at, size_t len, unsigned flags)
{
	(void)from, (void)from_at, (void)to, (void)to_at, (void)len, (void)flags;
	errno = EXDEV;
	return -1;
}

static void test_copy_where_the_kernel_does_not_help(void **state)
{
	struct sys_table real = sys;
	struct buf big CLEANUP(buf_release) = BUF_INIT;
	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_addf(&big, "%d\n", i);
	write_text("a", big.data);
	sys.ficlone = no_clone;
	sys.copy_file_range = no_range;
	int failed = fs_copy_file("a", "b", 0644, &err);
	sys.write = full_disk;
	int full = fs_copy_file("a", "c", 0644, &err);
	sys = real;
	assert_int_equal(failed, 0);
	check_content("b", big.data);
	assert_int_equal(full, -1);
	assert_int_equal(err.sys_errno, ENOSPC);
	assert_false(fs_exists("c"));
}

static void test_stamps(void **state)
{
	struct stat st;
	struct fs_stamp a, b;
	int64_t clock_ns;
	(void)state;
	write_text("a", "content");
	assert_int_equal(lstat("a", &st), 0);
	fs_stamp_of(&a, &st);
	assert_ok(fs_clock(".", &clock_ns, &err), &err);
	assert_true(clock_ns >= a.mtime_ns);
	b = a;
	assert_true(fs_stamp_same(&a, &b));
	b.mtime_ns--; /* older is different, too */
	assert_false(fs_stamp_same(&a, &b));
	b = a;
	b.ctime_ns++;
	assert_false(fs_stamp_same(&a, &b));
	b.nlink = 2; /* a link elsewhere may have changed it */
	assert_true(fs_stamp_same(&a, &b));
}

static int release_error(void **state)
{
	(void)state;
	err_release(&err);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_temp_dir(test_write_replaces_whole_files),
		in_temp_dir(test_full_disk_leaves_the_old_file),
		in_temp_dir(test_reading_is_bounded_and_regular),
		in_temp_dir(test_trees),
		in_temp_dir(test_trees_that_others_remove_meanwhile),
		in_temp_dir(test_copy),
		in_temp_dir(test_copy_where_the_kernel_does_not_help),
		in_temp_dir(test_stamps),
	};
	return cmocka_run_group_tests(tests, NULL, release_error);
}
