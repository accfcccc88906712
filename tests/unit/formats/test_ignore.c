#include "formats/ignore.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct glob_case {
	const char *pattern;
	const char *path;
	bool match;
};

static void test_glob_match(void **state)
{
	(void)state;
	static const struct glob_case cases[] = {
		{ "a.c", "a.c", true }, { "a.c", "b/a.c", false }, { "*.c", "a.c", true }, { "*.c", "b/a.c", false },
		{ "*", ".hidden", true }, { "*", "", true }, { "?", "a", true }, { "?", "/", false }, { "a?c", "abc", true },
		{ "a*b*c", "aXbYbZc", true }, { "a*b*c", "aXbYbZ", false }, { "src/*/x", "src/a/x", true },
		{ "src/*/x", "src/a/b/x", false }, { "src/**", "src", false }, { "src/**", "src/a", true },
		{ "src/**", "src/a/b", true }, { "**", "a/b", true }, { "**/x", "x", true }, { "**/x", "a/b/x", true },
		{ "**/x", "a/bx", false }, { "a/**/b", "a/b", true }, { "a/**/b", "a/x/y/b", true }, { "a/**/b", "ab", false },
		{ "a**b", "axyb", true }, { "a**b", "ax/yb", false }, { "**/a/*/b", "a/x/a/y/b", true },
		{ "**/a*b/**/c", "q/axb/c", true }, { "**/*.py", "src/deep/x.py", true }, { "***/x", "a/b/x", true },
		{ "[a-c]x", "bx", true }, { "[!a-c]x", "bx", false }, { "[^a-c]x", "dx", true }, { "[]]", "]", true },
		{ "[a-]", "-", true }, { "[[:digit:]]*", "7up", true }, { "[[:digit:]]*", "up", false }, { "[[:bogus:]]", "b", false },
		{ "[a", "[a", false }, { "[!x]", "/", false }, { "\\*", "*", true }, { "\\*", "a", false }, { "a\\", "a\\", false },
		{ "\\[a]", "[a]", true }, { "{a,b}.c", "b.c", true }, { "{a,b}.c", "c.c", false }, { "{a}", "{a}", true },
		{ "x{,y}", "x", true }, { "x{,y}", "xy", true }, { "{a,{b,c}d}e", "cde", true }, { "{a,{b,c}d}e", "ce", false },
		{ "{src,lib}/**/*.{c,h}", "lib/x/y.h", true }, { "{src,lib}/**/*.{c,h}", "lib/x/y.o", false },
		{ "\\{a,b}", "{a,b}", true }, { "\\{a,b}", "a", false }, { "", "", true }, { "", "a", false },
		{ "\xc3\xa9*", "\xc3\xa9t\xc3\xa9", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (glob_match(cases[i].pattern, cases[i].path) != cases[i].match)
			fail_msg("'%s' against '%s' should be %d", cases[i].pattern, cases[i].path, cases[i].match);
}

static void test_glob_may_match_below(void **state)
{
	(void)state;
	static const struct glob_case cases[] = {
		{ "src/*.c", "src", true }, { "src/*.c", "src/a", false }, { "src/*.c", "lib", false }, { "src/**/x", "src/a/b", true },
		{ "**/x", "any/thing", true }, { "a/b/c", "a", true }, { "a/b/c", "a/b", true }, { "a/b/c", "a/b/c", false },
		{ "a*/x", "abc", true }, { "a*/x", "b", false }, { "{src,lib}/*.c", "lib", true }, { "{src,lib}/*.c", "doc", false },
		{ "*.c", "src", false }, { "*.c", "", true }, { "*/*", "src", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (glob_may_match_below(cases[i].pattern, cases[i].path) != cases[i].match)
			fail_msg("'%s' below '%s' should be %d", cases[i].pattern, cases[i].path, cases[i].match);
}

static void test_glob_parts(void **state)
{
	(void)state;
	assert_true(glob_has_magic("a*"));
	assert_true(glob_has_magic("{a,b}"));
	assert_false(glob_has_magic("{a}"));
	assert_false(glob_has_magic("src/train.py"));
	assert_int_equal(glob_literal_dir("src/x/*.py"), 5);
	assert_int_equal(glob_literal_dir("src*/x"), 0);
	assert_int_equal(glob_literal_dir("**"), 0);
}

/* Patterns that take exponential time in a naive matcher. */
static void test_hostile_patterns_are_bounded(void **state)
{
	(void)state;
	char text[4001], deep[4001], pattern[4096] = "";
	memset(text, 'a', 4000);
	text[4000] = 0;
	for (size_t i = 0; i < 4000; i++)
		deep[i] = i % 2 ? '/' : 'a';
	deep[3999] = 0;

	clock_t start = clock();
	for (int i = 0; i < 100; i++)
		strcat(pattern, "*a");
	strcat(pattern, "b");
	assert_false(glob_match(pattern, text));
	pattern[0] = 0;
	for (int i = 0; i < 100; i++)
		strcat(pattern, "**/a/");
	strcat(pattern, "b");
	assert_false(glob_match(pattern, deep));
	pattern[0] = 0;
	for (int i = 0; i < 100; i++)
		strcat(pattern, "{a,aa}");
	strcat(pattern, "b");
	assert_false(glob_match(pattern, text));
	memset(pattern, '{', 2000);
	pattern[2000] = 0;
	assert_false(glob_match(pattern, text));
	assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 2);
}

static struct ignore *ignore_of(const char *text)
{
	struct ignore *ignore = ignore_new();
	ignore_add(ignore, "", text, strlen(text), false);
	return ignore;
}

static void test_ignore_lines(void **state)
{
	(void)state;
	struct ignore *ignore = ignore_of("\xef\xbb\xbf# comment\n*.o\r\n!keep.o\n/top\nbuild/\n\n\\#odd\n\\!bang\ntrail  \nquoted\\ \na/b\nlast");
	assert_true(ignore_match(ignore, "x/y.o", false));
	assert_false(ignore_match(ignore, "x/keep.o", false));
	assert_true(ignore_match(ignore, "top", false));
	assert_false(ignore_match(ignore, "x/top", false));
	assert_true(ignore_match(ignore, "x/build", true));
	assert_false(ignore_match(ignore, "x/build", false));
	assert_true(ignore_match(ignore, "#odd", false));
	assert_true(ignore_match(ignore, "!bang", false));
	assert_true(ignore_match(ignore, "trail", false));
	assert_true(ignore_match(ignore, "quoted ", false));
	assert_true(ignore_match(ignore, "a/b", false));
	assert_false(ignore_match(ignore, "x/a/b", false));
	assert_true(ignore_match(ignore, "last", false));
	assert_false(ignore_match(ignore, "# comment", false));
	assert_true(ignore_match_with_parents(ignore, "build/deep/x", false));
	assert_false(ignore_match(ignore, "build/deep/x", false));
	ignore_free(ignore);
}

static void test_deeper_rules_win(void **state)
{
	(void)state;
	struct ignore *ignore = ignore_new();
	ignore_add(ignore, "a/b", "!x\n/only\n", 9, false);
	ignore_add(ignore, "", "x\n", 2, false);
	assert_false(ignore_match(ignore, "a/b/x", false));
	assert_true(ignore_match(ignore, "a/x", false));
	assert_true(ignore_match(ignore, "a/b/only", false));
	assert_false(ignore_match(ignore, "a/b/c/only", false));
	assert_true(ignore_has(ignore, "a/b"));
	assert_false(ignore_has(ignore, "a"));
	ignore_free(ignore);
}

static void test_trimmed_lines(void **state)
{
	(void)state;
	struct ignore *ignore = ignore_new();
	const char *text = "  *.tmp \t\n  # comment\n";
	ignore_add(ignore, "", text, strlen(text), true);
	assert_true(ignore_match(ignore, "x.tmp", false));
	assert_false(ignore_match(ignore, "  # comment", false));
	ignore_free(ignore);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_glob_match),
		cmocka_unit_test(test_glob_may_match_below),
		cmocka_unit_test(test_glob_parts),
		cmocka_unit_test(test_hostile_patterns_are_bounded),
		cmocka_unit_test(test_ignore_lines),
		cmocka_unit_test(test_deeper_rules_win),
		cmocka_unit_test(test_trimmed_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
