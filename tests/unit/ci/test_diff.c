/* What features/ci/diff.c prints is what patch(1) makes one text of the other with. */
#include "unit/unit.h"

#include "base/proc.h"
#include "features/ci/diff.h"

static void write_text(const char *path, const struct buf *text)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	assert_ok(fs_write_file(path, text->data, text->len, 0666, FS_VOLATILE, &err), &err);
}

static void assert_patches(const struct buf *from, const struct buf *to)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf diff CLEANUP(buf_release) = BUF_INIT;
	struct buf said CLEANUP(buf_release) = BUF_INIT;
	struct buf got CLEANUP(buf_release) = BUF_INIT;
	diff_unified(&diff, "a/text", from->data, "b/text", to->data);
	write_text("text", from);
	const char *argv[] = { "patch", "-p1", "-F0", "--no-backup-if-mismatch", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	spec.argv = argv;
	struct proc_capture capture = { .input = diff.data, .input_len = diff.len, .out = &said, .errout = &said, .max = 1 << 16 };
	assert_ok(proc_run(&spec, &capture, &err), &err);
	if (capture.ret_exit || strstr(said.data, "offset"))
		fail_msg("%s\n%s", said.data, diff.data);
	/* patch removes what it has emptied. */
	if (to->len)
		assert_ok(fs_read_file("text", 1 << 20, &got, &err), &err);
	assert_string_equal(got.data, to->data);
}

static void test_equal_texts_give_nothing(void **state)
{
	struct buf diff CLEANUP(buf_release) = BUF_INIT;
	(void)state;
	diff_unified(&diff, "a", "x\ny\n", "b", "x\ny\n");
	assert_string_equal(diff.data, "");
}

static void test_form(void **state)
{
	struct buf diff CLEANUP(buf_release) = BUF_INIT;
	(void)state;
	diff_unified(&diff, "a", "1\n2\n3\n4\n5\n6\n", "b", "1\n2\n3\n4\nfive\n6");
	assert_string_equal(diff.data, "--- a\n+++ b\n@@ -2,5 +2,5 @@\n 2\n 3\n 4\n-5\n-6\n+five\n+6\n\\ No newline at end of file\n");
	buf_reset(&diff);
	diff_unified(&diff, "/dev/null", "", "b", "new\n");
	assert_string_equal(diff.data, "--- /dev/null\n+++ b\n@@ -0,0 +1 @@\n+new\n");
}

/* Texts of few different lines, so that much is in common, edited at random. */
static void test_random_edits(void **state)
{
	unsigned seed = 12345;
	(void)state;
	for (int round = 0; round < 60; round++) {
		struct buf from CLEANUP(buf_release) = BUF_INIT;
		struct buf to CLEANUP(buf_release) = BUF_INIT;
		int lines = rand_r(&seed) % 40;
		for (int i = 0; i <= lines; i++) {
			int word = rand_r(&seed) % 9, chance = rand_r(&seed) % 12;
			buf_addf(&from, "line %d\n", word);
			if (chance > 0)
				buf_addf(&to, "line %d\n", chance == 1 ? word + 1 : word);
			if (chance == 2)
				buf_addstr(&to, "added\n");
		}
		if (strcmp(from.data, to.data) != 0)
			assert_patches(&from, &to);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_texts_give_nothing),
		cmocka_unit_test(test_form),
		in_temp_dir(test_random_edits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
