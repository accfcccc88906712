#include "unit/scratch.h"

#include "base/proc.h"
#include "base/witness.h"

static bool is_below_ours(void *ctx, const char *path)
{
	(void)ctx;
	return strstr(path, "/ours/") != NULL;
}

static const struct witness_file *find(const struct witness *witness, const char *end, bool follow)
{
	const struct witness_files *files = witness_files(witness);
	for (size_t i = 0; i < files->len; i++) {
		size_t len = strlen(files->at[i].path), tail = strlen(end);
		if (files->at[i].follow == follow && len >= tail && strcmp(files->at[i].path + len - tail, end) == 0)
			return &files->at[i];
	}
	return NULL;
}

static void sees_what_is_asked(void **ctx)
{
	struct scratch *s = *ctx;
	struct buf text = BUF_INIT;
	scratch_write(s, "a/read", "text");
	scratch_write(s, "a/seen", "");
	char *read = path_joined(s->root.data, "a/read"), *absent = path_joined(s->root.data, "a/absent");
	char *dir = path_joined(s->root.data, "a"), *link = path_joined(s->root.data, "link");
	assert_int_equal(sys.symlinkat("a", AT_FDCWD, link), 0);

	struct witness *witness = witness_begin(is_below_ours, NULL);
	OK(fs_read_file(read, 100, &text, &s->err));
	assert_false(fs_exists(absent));
	int fd = sys.openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	struct stat st;
	assert_int_equal(sys.fstatat(fd, "seen", &st, AT_SYMLINK_NOFOLLOW), 0);
	sys.close(fd);
	buf_reset(&text);
	OK(fs_read_link(link, &text, &s->err));
	setenv("WITNESS_TEST", "value", 1);
	assert_string_equal(sys.getenv("WITNESS_TEST"), "value");
	assert_null(sys.getenv("WITNESS_NONE"));
	assert_string_equal(sys.getenv("WITNESS_TEST"), "value");
	witness_end(witness);
	assert_false(fs_exists("/after/the/end"));

	assert_null(witness_fault(witness));
	assert_true(find(witness, "/project/a/read", true)->exists);
	assert_int_equal(find(witness, "/project/a/read", true)->stamp.size, 4);
	assert_false(find(witness, "/project/a/absent", true)->exists);
	assert_true(find(witness, "/project/a", true)->exists);
	assert_true(find(witness, "/project/a/seen", false)->exists);
	assert_true(S_ISLNK(find(witness, "/project/link", false)->stamp.mode));
	assert_null(find(witness, "/after/the/end", true));
	assert_int_equal(witness_vars(witness)->len, 2);
	assert_string_equal(witness_vars(witness)->at[0].value, "value");
	assert_null(witness_vars(witness)->at[1].value);
	witness_free(witness);
	buf_release(&text);
	free(read);
	free(absent);
	free(dir);
	free(link);
}

/* A directory that was opened before is no place to start from after it. */
static void forgets_after_a_fault(void **ctx)
{
	struct scratch *s = *ctx;
	struct stat st;
	scratch_write(s, "a/seen", "");
	char *dir = path_joined(s->root.data, "a");
	struct witness *witness = witness_begin(is_below_ours, NULL);
	int fd = sys.openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	assert_null(sys.getenv("WITNESS_NONE"));
	assert_int_equal(witness_files(witness)->len, 1);
	assert_int_equal(witness_vars(witness)->len, 1);
	sys.unseen("somebody else was at it");
	sys.unseen("again");
	assert_int_equal(sys.fstatat(fd, "seen", &st, 0), 0);
	assert_true(fs_exists(dir));
	assert_null(sys.getenv("WITNESS_NONE"));
	scratch_write(s, "a/written", "");
	assert_int_equal(witness_files(witness)->len, 0);
	assert_int_equal(witness_vars(witness)->len, 0);
	assert_string_equal(witness_fault(witness), "somebody else was at it");
	sys.close(fd);
	witness_free(witness);
	free(dir);
}

static const char *fault_after(struct scratch *s, void (*work)(struct scratch *))
{
	struct witness *witness = witness_begin(is_below_ours, NULL);
	work(s);
	const char *fault = witness_fault(witness);
	witness_free(witness);
	return fault;
}

static void work_write(struct scratch *s)
{
	scratch_write(s, "file", "x");
}

static void work_write_ours(struct scratch *s)
{
	char *path = path_joined(s->root.data, "ours/file");
	OK(fs_write_file(path, "x", 1, 0644, FS_VOLATILE, &s->err));
	free(path);
}

static void work_make_dir(struct scratch *s)
{
	char *path = path_joined(s->root.data, "dir");
	OK(fs_mkdirs(path, &s->err));
	free(path);
}

static void work_remove(struct scratch *s)
{
	char *path = path_joined(s->root.data, "file");
	OK(fs_remove(path, &s->err));
	free(path);
}

static void work_spawn(struct scratch *s)
{
	const char *argv[] = { "true", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct proc_capture capture = { .max = 10 };
	spec.argv = argv;
	OK(proc_run(&spec, &capture, &s->err));
}

static void work_loop(struct scratch *s)
{
	char *path = path_joined(s->root.data, "loop/x");
	fs_exists(path);
	free(path);
}

static void says_what_it_cannot_vouch_for(void **ctx)
{
	struct scratch *s = *ctx;
	scratch_write(s, "ours/other", "");
	char *loop = path_joined(s->root.data, "loop");
	assert_int_equal(sys.symlinkat("loop", AT_FDCWD, loop), 0);
	free(loop);
	assert_string_equal(fault_after(s, work_write), "something was written");
	assert_null(fault_after(s, work_write_ours));
	assert_string_equal(fault_after(s, work_make_dir), "something was written");
	assert_string_equal(fault_after(s, work_remove), "something was written");
	assert_string_equal(fault_after(s, work_spawn), "a process was started");
	assert_string_equal(fault_after(s, work_loop), "a file that cannot be looked at");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(sees_what_is_asked), TEST(forgets_after_a_fault), TEST(says_what_it_cannot_vouch_for) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
