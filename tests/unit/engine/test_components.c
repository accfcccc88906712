#include "unit/scratch.h"

#include "engine/components.h"
#include "engine/environment.h"
#include "engine/tools.h"

static void expect(const struct buf *before, const struct buf *now, const char *sentences)
{
	struct strlist reasons = { 0 };
	struct buf joined CLEANUP(buf_release) = BUF_INIT;
	components_diff(before->data, before->len, now->data, now->len, &reasons);
	for (size_t i = 0; i < reasons.len; i++)
		buf_addf(&joined, "%s%s", i ? "; " : "", reasons.at[i]);
	assert_string_equal(joined.data, sentences);
	strlist_release(&reasons);
}

static struct digest digest_of(const char *text)
{
	struct digest digest;
	digest_bytes(DIGEST_SHA256, text, strlen(text), &digest);
	return digest;
}

static void each_kind_has_its_sentence(void **ctx)
{
	(void)ctx;
	struct buf a CLEANUP(buf_release) = BUF_INIT, b CLEANUP(buf_release) = BUF_INIT;
	struct digest one = digest_of("1"), two = digest_of("2");
	components_begin(&a);
	components_begin(&b);
	expect(&a, &b, "");
	components_add_text(&a, COMPONENT_COMMAND, "0", "x");
	components_add_text(&b, COMPONENT_COMMAND, "0", "y");
	components_add_text(&b, COMPONENT_COMMAND, "1", "z");
	expect(&a, &b, "command changed");
	components_begin(&a);
	components_begin(&b);
	components_add_digest(&a, COMPONENT_INPUT, "same", 'f', &one);
	components_add_digest(&b, COMPONENT_INPUT, "same", 'f', &one);
	components_add_digest(&a, COMPONENT_INPUT, "mode", 'f', &one);
	components_add_digest(&b, COMPONENT_INPUT, "mode", 'x', &one);
	components_add_digest(&a, COMPONENT_INPUT, "text", 'f', &one);
	components_add_digest(&b, COMPONENT_INPUT, "text", 'f', &two);
	components_add_digest(&a, COMPONENT_INPUT, "gone", 'f', &one);
	components_add_digest(&b, COMPONENT_INPUT, "new", 'f', &one);
	components_add_text(&a, COMPONENT_TOOL, "python", "3.11.2");
	components_add_text(&b, COMPONENT_TOOL, "python", "3.11.9");
	components_add_digest(&a, COMPONENT_TOOL, "gcc", 'x', &one);
	components_add_absent(&b, COMPONENT_TOOL, "gcc");
	components_add_text(&a, COMPONENT_ENV, "TOKEN", "old");
	components_add_text(&b, COMPONENT_ENV, "TOKEN", "new");
	expect(&a, &b, "mode changed its mode; text changed; new added; python 3.11.2 -> 3.11.9; gcc is gone; env TOKEN changed; gone removed");
}

static void damaged_lists_are_survived(void **ctx)
{
	(void)ctx;
	struct buf a CLEANUP(buf_release) = BUF_INIT;
	components_begin(&a);
	components_add_text(&a, COMPONENT_COMMAND, "0", "x");
	for (size_t len = 0; len < a.len; len++) {
		struct strlist reasons = { 0 };
		components_diff(a.data, len, a.data, a.len, &reasons);
		assert_true(reasons.len > 0);
		strlist_release(&reasons);
	}
}

static void the_key_frames_what_it_is_made_of(void **ctx)
{
	(void)ctx;
	struct buf a CLEANUP(buf_release) = BUF_INIT, b CLEANUP(buf_release) = BUF_INIT;
	struct digest x, y;
	components_begin(&a);
	components_begin(&b);
	components_add_text(&a, COMPONENT_COMMAND, "0", "ab");
	components_add_text(&a, COMPONENT_COMMAND, "1", "c");
	components_add_text(&b, COMPONENT_COMMAND, "0", "a");
	components_add_text(&b, COMPONENT_COMMAND, "1", "bc");
	components_key(a.data, a.len, &x);
	components_key(b.data, b.len, &y);
	assert_false(digest_eq(&x, &y));
}

static void expect_words(const char *script, const char *expected)
{
	struct strlist words = { 0 };
	struct buf joined CLEANUP(buf_release) = BUF_INIT;
	tools_words(script, &words);
	for (size_t i = 0; i < words.len; i++)
		buf_addf(&joined, "%s%s", i ? " " : "", words.at[i]);
	assert_string_equal(joined.data, expected);
	strlist_release(&words);
}

static void programs_are_found_in_scripts(void **ctx)
{
	(void)ctx;
	expect_words("python -m pytest tests", "python");
	expect_words("A=1 B='x y' gcc -o x x.c && ./x | sort > out; rm x", "gcc ./x sort rm");
	expect_words("if test -f x; then make; else cmake .; fi", "make cmake");
	expect_words("echo 'not; a command' \"nor | this\"\n# nor; that\nls", "ls");
	expect_words("$PYTHON x; \"quoted\" y; env -i X=1 perl -e 1", "perl");
	expect_words("(cd sub && tar cf - .) | gzip", "tar gzip");
	expect_words("echo $(date)", "date");
	expect_words("", "");
	expect_words("'unterminated", "");
}

static void secrets_are_masked(void **ctx)
{
	(void)ctx;
	struct env_var secrets[] = { { "UNIT_SECRET", NULL }, { "UNIT_LONGER", NULL } };
	const struct target_settings settings = { .secrets = { secrets, 2 } };
	struct target target = { .settings = &settings };
	struct environment env;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	setenv("UNIT_SECRET", "abc\nline two", 1);
	setenv("UNIT_LONGER", "abcdef", 1);
	setenv("UNIT_OTHER", "x", 1);
	struct environment_passed passed = { 0 };
	environment_make(&env, &passed, "/", &target);
	environment_add_masked(&env, &out, "abcdef abc, line two; ab", 24);
	assert_string_equal(out.data, "*** ***, ***; ab");
	bool has_secret = false;
	for (size_t i = 0; env.vars.at[i]; i++) {
		has_secret = has_secret || strcmp(env.vars.at[i], "UNIT_LONGER=abcdef") == 0;
		assert_true(strncmp(env.vars.at[i], "UNIT_OTHER", 10) != 0);
	}
	assert_true(has_secret);
	environment_release(&env);
	environment_passed_release(&passed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_has_its_sentence), cmocka_unit_test(damaged_lists_are_survived),
		cmocka_unit_test(the_key_frames_what_it_is_made_of), cmocka_unit_test(programs_are_found_in_scripts),
		cmocka_unit_test(secrets_are_masked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
