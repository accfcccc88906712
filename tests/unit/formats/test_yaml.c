#include "../unit.h"

#include "formats/json.h"
#include "formats/yaml.h"

#include <math.h>

static const struct yaml_node *load(struct yaml_doc *doc, const char *text)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	assert_ok(yaml_parse(doc, "t.yaml", text, strlen(text), &err), &err);
	return doc->root;
}

static void scalars(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum yaml_kind kind;
		double real;
	} cases[] = {
		{ "no", YAML_STR, 0 },        { "on", YAML_STR, 0 },      { "off", YAML_STR, 0 },     { "yes", YAML_STR, 0 },      { "y", YAML_STR, 0 },
		{ "1:30", YAML_STR, 0 },      { "0o17", YAML_INT, 15 },   { "017", YAML_INT, 17 },    { "0x1F", YAML_INT, 31 },    { "0b11", YAML_STR, 0 },
		{ "1_000", YAML_STR, 0 },     { "-3", YAML_INT, -3 },     { "+3", YAML_INT, 3 },      { "0o8", YAML_STR, 0 },      { "0x", YAML_STR, 0 },
		{ ".inf", YAML_FLOAT, INFINITY }, { "-.Inf", YAML_FLOAT, -INFINITY }, { ".5", YAML_FLOAT, 0.5 }, { "1.", YAML_FLOAT, 1 }, { "1e3", YAML_FLOAT, 1000 },
		{ "1e", YAML_STR, 0 },        { ".", YAML_STR, 0 },       { "-", YAML_STR, 0 },       { "+.e3", YAML_STR, 0 },     { "1.5e-2", YAML_FLOAT, 0.015 },
		{ "true", YAML_BOOL, 0 },     { "FALSE", YAML_BOOL, 0 },  { "tRUE", YAML_STR, 0 },    { "~", YAML_NULL, 0 },       { "Null", YAML_NULL, 0 },
		{ "2020-01-02", YAML_STR, 0 }, { "'1'", YAML_STR, 0 },    { "\"true\"", YAML_STR, 0 }, { "!!str 1", YAML_STR, 0 }, { "<<", YAML_STR, 0 },
		{ "9223372036854775807", YAML_INT, 9223372036854775807.0 }, { "9223372036854775808", YAML_FLOAT, 9223372036854775808.0 },
		{ "0xfffffffffffffffff", YAML_FLOAT, 295147905179352825855.0 }, { "-0", YAML_INT, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT;
		char text[80];
		snprintf(text, sizeof(text), "- %s\n", cases[i].text);
		const struct yaml_node *node = strcmp(cases[i].text, "-") == 0 ? NULL : load(&doc, text)->items[0];
		if (!node)
			continue;
		if (node->kind != cases[i].kind)
			fail_msg("%s is %s", cases[i].text, yaml_kind_name(node->kind));
		if (node->kind == YAML_INT || node->kind == YAML_FLOAT)
			assert_true((node->kind == YAML_INT ? (double)node->integer : node->real) == cases[i].real);
	}
}

static void structure_and_positions(void **state)
{
	(void)state;
	struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT;
	const char *text = "\xef\xbb\xbf# first\nname: caf\xc3\xa9 x\n\xc3\xa9t\xc3\xa9: {a: 'q', b: [1, 2]}\nlist:\n- one\n-   two words # c\nempty:\nblock: |\n  line\n";
	const struct yaml_node *root = load(&doc, text);
	assert_int_equal(root->kind, YAML_MAP);
	assert_int_equal(root->len, 5);
	const struct yaml_node *name = yaml_get(root, "name");
	const struct span span = yaml_span(name);
	assert_string_equal(span.file, "t.yaml");
	assert_int_equal(span.line, 2);
	assert_int_equal(span.col, 7);
	assert_int_equal(span.len, 6);
	assert_string_equal(span.text, "name: caf\xc3\xa9 x");
	const struct yaml_node *b = yaml_get_dotted(root, "\xc3\xa9t\xc3\xa9.b.1");
	assert_int_equal(b->integer, 2);
	assert_int_equal(yaml_span(b).col, 22);
	assert_true(yaml_get_dotted(root, "\xc3\xa9t\xc3\xa9.a")->quoted);
	const struct yaml_node *two = yaml_get_dotted(root, "list.1");
	assert_int_equal(two->end - two->start, 9);
	assert_memory_equal(text + two->start, "two words", 9);
	assert_int_equal(yaml_get(root, "list")->end, two->end);
	assert_int_equal(yaml_get(root, "empty")->kind, YAML_NULL);
	assert_string_equal(yaml_get(root, "block")->text, "line\n");
	assert_true(yaml_get(root, "block")->quoted);
	assert_null(yaml_get(root, "missing"));
	assert_null(yaml_get(NULL, "missing"));
	assert_null(yaml_get_dotted(root, "list.2"));
	assert_null(yaml_get_dotted(root, "list.x"));
}

static void empty_documents(void **state)
{
	(void)state;
	static const char *const texts[] = { "", "\n\n", "# only a comment\n", "---\n", "--- # c\n...\n" };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT;
		assert_null(load(&doc, texts[i]));
	}
}

static void refuses(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message, *hint;
		unsigned line, col;
	} cases[] = {
		{ "a: 1\nb: 2\na: 3\n", "duplicate key 'a'", "line 1", 3, 1 },
		{ "a:\n\tb: 1\n", "cannot start any token", "spaces", 2, 1 },
		{ "a:\n  b: 1\n c: 2\n", "invalid YAML", "same column", 3, 2 },
		{ "a: b: c\n", "mapping values", "quote", 1, 5 },
		{ "run: @x\n", "cannot start any token", "'@'", 1, 6 },
		{ "glob: *.py\n", "invalid YAML", "'*.py'", 1, 8 },
		{ "glob: *py\n", "unknown alias '*py'", "'*py'", 1, 7 },
		{ "a\nb: 1\n", "invalid YAML", NULL, 2, 0 },
		{ "key:value\nother: 1\n", "invalid YAML", "colon and a space", 2, 0 },
		{ "a: [1, 2\nb: 3\n", "invalid YAML", NULL, 2, 0 },
		{ "a: 'x\n", "unexpected end of stream", "close the quote", 2, 1 },
		{ "a: 1\n---\nb: 2\n", "second document", "---", 3, 1 },
		{ "? [a]\n: 1\n", "a key must be a plain value", NULL, 1, 3 },
		{ "a: !foo 1\n", "unknown tag", "quote", 1, 4 },
		{ "a: \"\\q\"\n", "escape", "single quotes", 1, 0 },
		{ "a: \xff\n", "UTF-8", "UTF-8", 0, 0 },
		{ "a: \x01\n", "control characters", "UTF-8", 0, 0 },
		{ "a: &x [*x]\n", "unknown alias", NULL, 1, 8 },
		{ "\"a\\0b\": 1\n", "zero byte", NULL, 1, 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct yaml_doc doc = YAML_DOC_INIT;
		assert_error(yaml_parse(&doc, "t.yaml", cases[i].text, strlen(cases[i].text), &err), &err, ERR_CONFIG, cases[i].message);
		assert_null(doc.root);
		assert_string_equal(err.span.file, "t.yaml");
		if (cases[i].line && err.span.line != cases[i].line)
			fail_msg("%s: line %u", cases[i].text, err.span.line);
		if (cases[i].col && err.span.col != cases[i].col)
			fail_msg("%s: column %u", cases[i].text, err.span.col);
		if (cases[i].hint && (!err.hint || !strstr(err.hint, cases[i].hint)))
			fail_msg("%s: hint %s", cases[i].text, err.hint ? err.hint : "(none)");
	}
}

static void bounds(void **state)
{
	(void)state;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT;
	/* "Billion laughs". */
	buf_addstr(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 10; i++) {
		buf_addf(&text, "a%d: &a%d [", i, i);
		for (int k = 0; k < 9; k++)
			buf_addf(&text, "*a%d%s", i - 1, k < 8 ? ", " : "]\n");
	}
	assert_error(yaml_parse(&doc, "t.yaml", text.data, text.len, &err), &err, ERR_CONFIG, "expand");
	buf_reset(&text);
	for (int i = 0; i < 5000; i++)
		buf_addch(&text, '[');
	assert_error(yaml_parse(&doc, "t.yaml", text.data, text.len, &err), &err, ERR_CONFIG, "deeply");
	/* Depth by way of aliases. */
	buf_reset(&text);
	buf_addstr(&text, "a0: &a0 [x]\n");
	for (int i = 1; i < 200; i++)
		buf_addf(&text, "a%d: &a%d [*a%d]\n", i, i, i - 1);
	assert_error(yaml_parse(&doc, "t.yaml", text.data, text.len, &err), &err, ERR_CONFIG, "deeply");
	buf_reset(&text);
	buf_addstr(&text, "base: &b {x: 1}\nuse: *b\n");
	const struct yaml_node *root = load(&doc, text.data);
	assert_true(doc.has_alias);
	assert_int_equal(yaml_get_dotted(root, "use.x")->integer, 1);
}

static void canonical(void **state)
{
	(void)state;
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ "b: 1\na: [x, ~, true, 1.0, '1']\n", "{\"a\":[\"x\",null,true,1.0,\"1\"],\"b\":1}" },
		{ "{\"a\": ['x', null, True, 1.0e0, \"1\"], b: 0x1}", "{\"a\":[\"x\",null,true,1.0,\"1\"],\"b\":1}" },
		{ "[36893488147419103232, +0036893488147419103232, 36893488147419103233]", "[36893488147419103232,36893488147419103232,36893488147419103233]" },
		{ "[0.1, 1e-5, .nan]", "[0.1,1e-05,nan]" },
		{ "{}", "{}" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT;
		struct buf out CLEANUP(buf_release) = BUF_INIT;
		yaml_add_canonical(&out, load(&doc, cases[i].text));
		assert_string_equal(out.data, cases[i].expected);
	}
}

/* yaml_style.json holds what dvc's own dumper writes (make_yaml_style.py). */
static void style_of_dvc(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	path_dir(&path, __FILE__);
	buf_addstr(&path, "/yaml_style.json");
	assert_ok(json_parse_file(&doc, path.data, path.data, 1 << 20, &err), &err);
	size_t compared = 0;
	for (size_t i = 0; i < json_len(doc.root); i++) {
		const char *text = json_str(json_at(json_at(doc.root, i), 0));
		const char *expected = json_str(json_at(json_at(doc.root, i), 1));
		struct buf out CLEANUP(buf_release) = BUF_INIT;
		yaml_add_scalar(&out, text, 4, 8);
		bool same = json_bool(json_at(json_at(doc.root, i), 2), false) && !strstr(text, "\xc2\x85") && !strstr(text, "\xe2\x80\xa8");
		if (same)
			assert_string_equal(out.data, expected);
		compared += same;
		/* And we read back what we write. */
		struct yaml_doc yaml CLEANUP(yaml_release) = YAML_DOC_INIT;
		struct buf whole CLEANUP(buf_release) = BUF_INIT;
		buf_addf(&whole, "- path: %s\n", out.data);
		const struct yaml_node *value = yaml_get(load(&yaml, whole.data)->items[0], "path");
		assert_int_equal(value->kind, YAML_STR);
		assert_string_equal(value->text, text);
	}
	assert_true(compared > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scalars), cmocka_unit_test(structure_and_positions), cmocka_unit_test(empty_documents), cmocka_unit_test(refuses),
		cmocka_unit_test(bounds),  cmocka_unit_test(canonical),               cmocka_unit_test(style_of_dvc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
