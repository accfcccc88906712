#include "../unit.h"

#include "formats/regex.h"

static struct regex *compile(const char *pattern, unsigned flags)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct regex *re;
	assert_ok(regex_new(&re, pattern, flags, &err), &err);
	return re;
}

/* All matches of the pattern, each as start-end, and group 1 in brackets. */
static void assert_matches(const char *pattern, unsigned flags, const char *text, const char *expected)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct regex *re CLEANUP(regex_freep) = compile(pattern, flags);
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct regex_match m = REGEX_MATCH_INIT;
	int found;
	while ((found = regex_next(re, text, strlen(text), &m, &err)) > 0) {
		buf_addf(&out, "%zu-%zu", m.groups[0].start, m.groups[0].end);
		if (m.count > 1 && m.groups[1].start != SIZE_MAX) {
			buf_addch(&out, '[');
			assert_true(regex_add_group(&out, &m, 1, text));
			buf_addch(&out, ']');
		}
		buf_addch(&out, ' ');
	}
	assert_int_equal(found, 0);
	assert_string_equal(out.data, expected);
}

static void matches(void **state)
{
	(void)state;
	assert_matches("^(\\w+)==", REGEX_MULTILINE, "a==1\nbc==2\n", "0-3[a] 5-9[bc] ");
	assert_matches("x*", 0, "axb", "0-0 1-2 2-2 3-3 ");
	assert_matches("", 0, "\xc3\xa9" "b", "0-0 2-2 3-3 ");
	assert_matches("a(b)?", 0, "aab", "0-1 1-3[b] ");
	assert_matches("A.C", REGEX_CASELESS | REGEX_DOTALL, "a\nc abd", "0-3 ");
	assert_matches("ab", REGEX_ANCHORED_BOTH, "abab", "");
	assert_matches("b", 0, "\xff" "b\xff", "1-2 ");
	assert_matches("z", 0, "", "");
}

static void groups(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct regex *re CLEANUP(regex_freep) = compile("(?<file>[^:]+):(\\d+)(x)?", 0);
	struct regex_match m = REGEX_MATCH_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	assert_int_equal(regex_match(re, "a.py:12", 7, &m, &err), 1);
	assert_int_equal(m.count, 4);
	assert_int_equal(regex_group_index(re, "file"), 1);
	assert_int_equal(regex_group_index(re, "line"), -1);
	assert_true(regex_add_group(&out, &m, 2, "a.py:12"));
	assert_string_equal(out.data, "12");
	assert_false(regex_add_group(&out, &m, 3, "a.py:12"));
	assert_false(regex_add_group(&out, &m, 9, "a.py:12"));
	assert_int_equal(regex_match(re, "a.py", 4, NULL, &err), 0);
}

static void refuses(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct regex *re;
	assert_error(regex_new(&re, "a(b", 0, &err), &err, ERR_CONFIG, "offset 3");
	assert_null(re);
	char deep[402];
	memset(deep, '(', 200);
	memset(deep + 200, ')', 200);
	deep[400] = '\0';
	assert_error(regex_new(&re, deep, 0, &err), &err, ERR_CONFIG, "invalid pattern");
	/* Exponential without a limit. */
	struct regex *slow CLEANUP(regex_freep) = compile("^(a|aa)+\\1?b?(a+)+$", 0);
	char text[61];
	memset(text, 'a', 60);
	text[59] = '!';
	text[60] = '\0';
	assert_error(regex_match(slow, text, 60, NULL, &err), &err, ERR_FAILED, "gave up");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(matches), cmocka_unit_test(groups), cmocka_unit_test(refuses) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
