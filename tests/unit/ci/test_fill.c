/* Holes of templates, and what foreign text becomes in YAML. */
#include "unit/unit.h"

#include "features/ci/fill.h"
#include "formats/yaml.h"

static void assert_scalar(const char *text, const char *expected)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	assert_ok(fill_scalar(&out, "it", text, &err), &err);
	assert_string_equal(out.data, expected);
	/* And it is read back as the same string. */
	struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT;
	assert_ok(yaml_parse(&doc, "test", out.data, out.len, &err), &err);
	assert_int_equal(doc.root->kind, YAML_STR);
	assert_string_equal(doc.root->text, text);
}

static void test_scalars(void **state)
{
	(void)state;
	assert_scalar("main", "main");
	assert_scalar("release/1.x", "release/1.x");
	assert_scalar("on", "'on'");
	assert_scalar("No", "'No'");
	assert_scalar("3.10", "'3.10'");
	assert_scalar("17 4 * * 1", "'17 4 * * 1'");
	assert_scalar("it's", "'it''s'");
	assert_scalar("a: b # c", "'a: b # c'");
	assert_scalar("", "''");
	assert_scalar("- x", "'- x'");
	assert_scalar("caf\xc3\xa9", "'caf\xc3\xa9'");
}

static void test_what_no_workflow_can_hold(void **state)
{
	static const char *const bad[] = { "a\nb", "a\tb", "\x7f", "${{ secrets.X }}", "\xff" };
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct buf out CLEANUP(buf_release) = BUF_INIT;
		assert_error(fill_scalar(&out, "it", bad[i], &err), &err, ERR_CONFIG, "it ");
	}
}

static void assert_script(const char *text, const char *expected)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	assert_ok(fill_script(&out, "it", text, &err), &err);
	assert_string_equal(out.data, expected);
}

static void test_scripts(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	(void)state;
	assert_script("one", "one\n");
	assert_script("one\ntwo\n\n\n", "one\ntwo\n");
	assert_script("\n   \n  if x; then\n\n    y\n  fi\n", "if x; then\n\n  y\nfi\n");
	assert_script("a\n\tb\n", "a\n\tb\n");
	assert_error(fill_script(&out, "it", " \n \n", &err), &err, ERR_CONFIG, "it is empty");
	assert_error(fill_script(&out, "it", "a\r\n", &err), &err, ERR_CONFIG, "control character");
	assert_error(fill_script(&out, "it", "echo ${{ github.token }}", &err), &err, ERR_CONFIG, "${{ }}");
}

static int look_up(void *ctx, const char *name, struct buf *out, struct err *err)
{
	(void)ctx;
	if (strcmp(name, "version") == 0)
		buf_addstr(out, "one: 1\n\ntwo: 2\n");
	else if (strcmp(name, "uses:actions/setup-python") == 0)
		buf_addstr(out, "PIN @{not a hole}");
	else
		return err_set(err, ERR_BUG, "unknown hole '%s'", name);
	return 0;
}

static void test_template(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	(void)state;
	assert_ok(fill_template("step-python.yml", look_up, NULL, &out, &err), &err);
	assert_string_equal(out.data, "- name: Set up Python\n  uses: PIN @{not a hole}\n  with:\n    one: 1\n\n    two: 2\n");
	assert_error(fill_template("job.yml", look_up, NULL, &out, &err), &err, ERR_BUG, "unknown hole 'id'");
	assert_error(fill_template("none.yml", look_up, NULL, &out, &err), &err, ERR_BUG, "templates/ci/none.yml");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scalars),
		cmocka_unit_test(test_what_no_workflow_can_hold),
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_template),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
