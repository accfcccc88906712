#include "formats/template.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int lookup(void *ctx, const char *name, const struct span *at, struct buf *out, struct err *err)
{
	(void)ctx;
	if (text_eq(name, "who")) {
		buf_addstr(out, "world");
		return 0;
	}
	err_set(err, ERR_CONFIG, "unknown name '%s'", name);
	return err_at(err, at);
}

static void expect(const char *text, const char *value)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	assert_int_equal(template_expand(text, NULL, lookup, NULL, &out, &err), 0);
	assert_string_equal(out.data, value);
}

static void test_values(void **state)
{
	(void)state;
	expect("", "");
	expect("hello ${who}!", "hello world!");
	expect("${who}${ who }", "worldworld");
	expect("$HOME $(date) $$ 5$ ${who}$", "$HOME $(date) $$ 5$ world$");
	expect("$${HOME} $${{ github.sha }}", "${HOME} ${{ github.sha }}");
}

static void refuse(const char *text, unsigned col, unsigned len, const char *message, const char *hint)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	char line[128];
	snprintf(line, sizeof(line), "\xc3\xa9: %s", text);
	struct span span = { .file = "x.yaml", .text = line, .line = 3, .col = 4, .len = (unsigned)strlen(text) };
	assert_int_equal(template_expand(text, &span, lookup, NULL, &out, &err), -1);
	assert_int_equal(err.code, ERR_CONFIG);
	assert_string_equal(err.message, message);
	if (hint != NULL)
		assert_string_equal(err.hint, hint);
	assert_string_equal(err.span.file, "x.yaml");
	assert_int_equal(err.span.line, 3);
	assert_int_equal(err.span.col, col);
	assert_int_equal(err.span.len, len);
}

static void test_errors_have_positions(void **state)
{
	(void)state;
	refuse("a ${nobody} b", 6, 9, "unknown name 'nobody'", NULL);
	refuse("a ${{ github.sha }}", 6, 3, "'${{' is no reference of this file",
	       "write $${{ for a literal ${{, or ${name} for a value of mlmake's");
	refuse("x${who", 5, 2, "'${' without its '}'", "close it, or write $${ for a literal ${");
	refuse("${}", 4, 3, "'${}' names nothing", "write ${name}, or $${ for a literal ${");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_errors_have_positions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
