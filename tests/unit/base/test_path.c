#include "unit/unit.h"

#include "base/mem.h"

static void check_normal(const char *path, const char *expected)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	path_normalize(&out, path);
	assert_string_equal(out.data, expected);
}

static void test_normalize(void **state)
{
	(void)state;
	check_normal("", ".");
	check_normal(".", ".");
	check_normal("a//b/./c/", "a/b/c");
	check_normal("a/../b", "b");
	check_normal("a/..", ".");
	check_normal("../../a", "../../a");
	check_normal("a/../../b", "../b");
	check_normal("/", "/");
	check_normal("/../a", "/a");
	check_normal("/a/b/../..", "/");
	check_normal("..a/.b", "..a/.b");
}

static void check_relative(const char *from, const char *to, const char *expected)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	path_relative(&out, from, to);
	assert_string_equal(out.data, expected);
}

static void test_relative(void **state)
{
	(void)state;
	check_relative("/a/b", "/a/b", ".");
	check_relative("/a", "/a/b/c", "b/c");
	check_relative("/a/b/c", "/a", "../..");
	check_relative("/a/bc", "/a/b", "../b");
	check_relative("/", "/x", "x");
	check_relative("/x/y", "/", "../..");
	check_relative("/x/y", "/z", "../../z");
}

static void test_join_and_parts(void **state)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	(void)state;
	OWNED char *joined = path_joined("a/", "b");
	assert_string_equal(joined, "a/b");
	OWNED char *absolute = path_joined("a", "/b");
	assert_string_equal(absolute, "/b");
	OWNED char *dot = path_joined(".", "b");
	assert_string_equal(dot, "b");
	assert_string_equal(path_base("a/b/c"), "c");
	path_dir(&dir, "a/b/c");
	assert_string_equal(dir.data, "a/b");
	buf_reset(&dir);
	path_dir(&dir, "/c");
	assert_string_equal(dir.data, "/");
	buf_reset(&dir);
	path_dir(&dir, "c");
	assert_string_equal(dir.data, ".");
}

static void test_safety(void **state)
{
	char long_name[300];
	(void)state;
	memset(long_name, 'x', sizeof(long_name));
	long_name[299] = '\0';
	assert_true(path_is_safe("a/b c/..d"));
	assert_false(path_is_safe(""));
	assert_false(path_is_safe("/a"));
	assert_false(path_is_safe("a/../b"));
	assert_false(path_is_safe("a//b"));
	assert_false(path_is_safe("a/"));
	assert_false(path_is_safe("./a"));
	assert_false(path_is_safe(long_name));
	assert_true(path_inside("/a", "/a/b"));
	assert_true(path_inside("/a", "/a"));
	assert_false(path_inside("/a", "/ab"));
	assert_true(path_inside(".", "x"));
	assert_false(path_inside(".", "../x"));
}

static void test_order(void **state)
{
	static const char *const sorted[] = { "", "a", "a/", "a/b", "a/b/c", "a/b.c", "a\001", "a b", "a.b", "aa", "b" };
	(void)state;
	for (size_t i = 0; i < sizeof(sorted) / sizeof(*sorted); i++)
		for (size_t k = 0; k < sizeof(sorted) / sizeof(*sorted); k++)
			assert_int_equal(path_compare(sorted[i], sorted[k]), (i > k) - (i < k));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_normalize),
		cmocka_unit_test(test_relative),
		cmocka_unit_test(test_join_and_parts),
		cmocka_unit_test(test_safety),
		cmocka_unit_test(test_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
