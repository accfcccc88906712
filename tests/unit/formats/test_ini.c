#include "../unit.h"

#include "formats/ini.h"

static const char SAMPLE[] = "# ours\n[core]\n    remote = s3   # default\n    Analytics = \"false\"\n\n['remote \"s3\"']\n    url = s3://b/k\n    # why\n    profile = 'a, b'\n\n"
			     "[ remote \"Two\" ]  # unquoted\n\turl=../c\n[cache]\ntype = reflink, copy\n";

static void load(struct ini *ini, const char *text)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	assert_ok(ini_parse(ini, "config", text, strlen(text), &err), &err);
}

static void reads(void **state)
{
	(void)state;
	struct ini ini CLEANUP(ini_release) = INI_INIT;
	load(&ini, SAMPLE);
	assert_string_equal(ini_get(&ini, "core", "remote"), "s3");
	assert_string_equal(ini_get(&ini, "CORE", "analytics"), "false");
	assert_string_equal(ini_get(&ini, "remote \"s3\"", "URL"), "s3://b/k");
	assert_string_equal(ini_get(&ini, "remote \"s3\"", "profile"), "a, b");
	assert_string_equal(ini_get(&ini, "remote \"two\"", "url"), "../c");
	assert_string_equal(ini_get(&ini, "cache", "type"), "reflink,copy");
	assert_true(ini_find(&ini, "cache", "type")->is_list);
	assert_false(ini_find(&ini, "remote \"s3\"", "profile")->is_list);
	assert_int_equal(ini_find(&ini, "remote \"two\"", "url")->span.line, 12);
	assert_int_equal(ini_find(&ini, "remote \"two\"", "url")->span.col, 2);
	assert_null(ini_get(&ini, "core", "url"));
	assert_true(ini_has_section(&ini, "remote \"TWO\""));
	assert_false(ini_has_section(&ini, "remote \"three\""));
	assert_int_equal(ini.sections.len, 4);
}

/* Checked against ConfigObj 5.0.9. */
static void values(void **state)
{
	(void)state;
	static const struct {
		const char *line, *value;
	} cases[] = {
		{ "k =", "" },           { "k = \"\"", "" },      { "k = a#b", "a" },          { "k = a'b\"c", "a'b\"c" },   { "k = 'a\"b'", "a\"b" },
		{ "k = \"a#b\" # c", "a#b" }, { "k = ,", "" },    { "k = a,", "a" },           { "k = \"a\"b\"", "a\"b" },   { "k = '''a'b\"c'''", "a'b\"c" },
		{ "k==x", "=x" },        { "'k' = x", "x" },      { "k = a b\t", "a b" },      { "k = x\r", "x" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ini ini CLEANUP(ini_release) = INI_INIT;
		load(&ini, cases[i].line);
		assert_string_equal(ini_get(&ini, "", "k"), cases[i].value);
	}
}

static void refuses(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
		unsigned line;
	} cases[] = {
		{ "[core]\n; x\n", "begins no comment", 2 },
		{ "[core\nx = 1\n", "not a section header", 1 },
		{ "[[core]]\n", "nested", 1 },
		{ "[]\n", "not a section header", 1 },
		{ "['a]\n", "not closed", 1 },
		{ "[core]\nnonsense\n", "neither", 2 },
		{ "[core]\nx = 1\nX = 2\n", "second time", 3 },
		{ "[core]\n[other]\n[Core]\n", "second time", 3 },
		{ "x = 'a\n", "quote is not closed", 1 },
		{ "x = a,,b\n", "empty item", 1 },
		{ "x = '''a\nb'''\n", "triple quote", 1 },
		{ "= 1\n", "neither", 1 },
		{ "x = \xff\n", "UTF-8", 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct ini ini = INI_INIT;
		assert_error(ini_parse(&ini, "config", cases[i].text, strlen(cases[i].text), &err), &err, ERR_CONFIG, cases[i].message);
		assert_int_equal(err.span.line, cases[i].line);
	}
}

static void edits(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct ini ini CLEANUP(ini_release) = INI_INIT;
	bool found;
	load(&ini, SAMPLE);
	assert_ok(ini_set(&ini, "core", "remote", "x, y", &err), &err);
	assert_ok(ini_set(&ini, "Remote \"s3\"", "region", "eu", &err), &err);
	assert_ok(ini_set(&ini, "remote \"two\"", "jobs", "4", &err), &err);
	assert_ok(ini_set(&ini, "remote \"new\"", "url", "/tmp/a b", &err), &err);
	assert_ok(ini_remove_key(&ini, "core", "analytics", &found, &err), &err);
	assert_true(found);
	assert_ok(ini_remove_key(&ini, "core", "analytics", &found, &err), &err);
	assert_false(found);
	assert_string_equal(ini.text.data,
			    "# ours\n[core]\n    remote = \"x, y\"   # default\n\n['remote \"s3\"']\n    url = s3://b/k\n    # why\n    profile = 'a, b'\n    region = eu\n\n"
			    "[ remote \"Two\" ]  # unquoted\n\turl=../c\n\tjobs = 4\n[cache]\ntype = reflink, copy\n['remote \"new\"']\n    url = /tmp/a b\n");
	assert_string_equal(ini_get(&ini, "core", "remote"), "x, y");
	assert_ok(ini_rename_section(&ini, "remote \"two\"", "remote \"three\"", &err), &err);
	assert_ok(ini_remove_section(&ini, "remote \"s3\"", &found, &err), &err);
	assert_true(found);
	assert_string_equal(ini.text.data, "# ours\n[core]\n    remote = \"x, y\"   # default\n\n\n[ 'remote \"three\"' ]  # unquoted\n\turl=../c\n\tjobs = 4\n"
					   "[cache]\ntype = reflink, copy\n['remote \"new\"']\n    url = /tmp/a b\n");
	assert_error(ini_rename_section(&ini, "core", "cache", &err), &err, ERR_CONFIG, "already");
	assert_error(ini_rename_section(&ini, "none", "x", &err), &err, ERR_CONFIG, "no section");
	assert_error(ini_set(&ini, "core", "x", "a\nb", &err), &err, ERR_CONFIG, "cannot be written");
	assert_error(ini_set(&ini, "core", "x", "a',\"b", &err), &err, ERR_CONFIG, "cannot be written");
	assert_error(ini_set(&ini, "core", "a b", "x", &err), &err, ERR_CONFIG, "no name");
}

static void edits_at_the_edges(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct ini ini CLEANUP(ini_release) = INI_INIT;
	assert_ok(ini_read(&ini, "config", ".dvc/config", &err), &err);
	assert_ok(ini_set(&ini, "remote \"r\"", "url", "", &err), &err);
	assert_string_equal(ini.text.data, "['remote \"r\"']\n    url = \"\"\n");
	assert_ok(ini_write(&ini, "config", &err), &err);
	ini_release(&ini);
	assert_ok(ini_read(&ini, "config", ".dvc/config", &err), &err);
	assert_string_equal(ini_get(&ini, "remote \"r\"", "url"), "");
	ini_release(&ini);
	/* No newline at the end, an empty value before a comment, a value right behind its '='. */
	load(&ini, "[a]\nk =#c\n[b]\nk=v");
	assert_ok(ini_set(&ini, "a", "k", "x", &err), &err);
	assert_ok(ini_set(&ini, "b", "k", "y", &err), &err);
	assert_ok(ini_set(&ini, "b", "l", "z", &err), &err);
	assert_string_equal(ini.text.data, "[a]\nk = x #c\n[b]\nk= y\nl = z\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads), cmocka_unit_test(values), cmocka_unit_test(refuses), cmocka_unit_test(edits), in_temp_dir(edits_at_the_edges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
