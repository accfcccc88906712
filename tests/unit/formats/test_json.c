#include "../unit.h"

#include "formats/json.h"

#include <math.h>

static void reads(void **state)
{
	(void)state;
	static const char text[] = "{\"name\": \"a\\u00e9\\n\", \"n\": -3, \"x\": 1.5, \"whole\": 2.0, \"yes\": true, \"none\": null, \"list\": [1, [2]]}";
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
	assert_ok(json_parse(&doc, "t.json", text, strlen(text), &err), &err);
	assert_string_equal(json_str(json_get(doc.root, "name")), "a\xc3\xa9\n");
	assert_int_equal(json_int(json_get(doc.root, "n"), 0), -3);
	assert_int_equal(json_int(json_get(doc.root, "whole"), 0), 2);
	assert_int_equal(json_int(json_get(doc.root, "x"), 77), 77);
	assert_true(json_number(json_get(doc.root, "x"), 0) == 1.5);
	assert_true(json_bool(json_get(doc.root, "yes"), false));
	assert_int_equal(json_kind(json_get(doc.root, "none")), JSON_NULL_VALUE);
	const struct json_node *list = json_get(doc.root, "list");
	assert_int_equal(json_len(list), 2);
	assert_int_equal(json_int(json_at(json_at(list, 1), 0), 0), 2);
	assert_int_equal(json_len(doc.root), 7);
	assert_null(json_at(list, 2));
	assert_null(json_str(json_at(json_get(json_get(doc.root, "no"), "such"), 4)));
	assert_null(json_get(list, "key"));
}

static bool collect(void *ctx, const char *key, const struct json_node *value)
{
	buf_addf(ctx, "%s=%d;", key, (int)json_int(value, -1));
	return strcmp(key, "m") != 0;
}

static void members_in_order(void **state)
{
	(void)state;
	static const char text[] = "{\"z\":1,\"a\":2,\"m\":3,\"b\":4}";
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	assert_ok(json_parse(&doc, "t.json", text, strlen(text), &err), &err);
	json_each(doc.root, collect, &out);
	assert_string_equal(out.data, "z=1;a=2;m=3;");
}

static void refuses(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
		unsigned line, col;
	} cases[] = {
		{ "{\"a\": 1,\n \"a\": 2}", "duplicate", 2, 4 },
		{ "{\n  \"a\": tru\n}", "invalid token", 2, 0 },
		{ "[1] x", "end of file", 1, 0 },
		{ "", "invalid JSON", 1, 1 },
		{ "[\"\xff\"]", "UTF-8", 0, 0 },
		{ "123456789012345678901234567890", "too big", 1, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct json_doc doc = JSON_DOC_INIT;
		assert_error(json_parse(&doc, "t.json", cases[i].text, strlen(cases[i].text), &err), &err, ERR_DATA, cases[i].message);
		assert_int_equal(err.span.line, cases[i].line);
		if (cases[i].col)
			assert_int_equal(err.span.col, cases[i].col);
	}
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct json_doc doc = JSON_DOC_INIT;
	char deep[500];
	memset(deep, '[', 201);
	memset(deep + 201, ']', 201);
	assert_error(json_parse(&doc, "t.json", deep, 402, &err), &err, ERR_DATA, "deeper");
	assert_ok(json_parse(&doc, "t.json", deep + 1, 400, &err), &err);
	json_release(&doc);
}

static void write_sample(struct json_writer *w)
{
	json_open_object(w);
	json_pair_str(w, "a", "x\"\\\n\x01\x7f\xc3\xa9");
	json_key(w, "list");
	json_open_array(w);
	json_put_int(w, -1);
	json_put_uint(w, UINT64_MAX);
	json_put_real(w, 0.1);
	json_put_real(w, NAN);
	json_put_str(w, NULL);
	json_open_object(w);
	json_close(w);
	json_put_raw(w, "[2]", 3);
	json_close(w);
	json_pair_bool(w, "b", true);
	json_pair_real(w, "r", 3);
	json_end(w);
}

static void writes(void **state)
{
	(void)state;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &out, JSON_COMPACT);
	write_sample(&w);
	assert_string_equal(out.data, "{\"a\":\"x\\\"\\\\\\n\\u0001\x7f\xc3\xa9\",\"list\":[-1,18446744073709551615,0.1,null,null,{},[2]],\"b\":true,\"r\":3.0}");
	buf_reset(&out);
	json_begin(&w, &out, JSON_PYTHON);
	write_sample(&w);
	assert_string_equal(out.data, "{\"a\": \"x\\\"\\\\\\n\\u0001\\u007f\\u00e9\", \"list\": [-1, 18446744073709551615, 0.1, null, null, {}, [2]], \"b\": true, \"r\": 3.0}");
	buf_reset(&out);
	json_begin(&w, &out, JSON_PRETTY);
	write_sample(&w);
	assert_string_equal(out.data, "{\n  \"a\": \"x\\\"\\\\\\n\\u0001\x7f\xc3\xa9\",\n  \"list\": [\n    -1,\n    18446744073709551615,\n    0.1,\n    null,\n"
				      "    null,\n    {},\n    [2]\n  ],\n  \"b\": true,\n  \"r\": 3.0\n}\n");
}

static void strings(void **state)
{
	(void)state;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	/* Not UTF-8: a lone byte, a cut sequence, a surrogate, an overlong form. */
	json_add_string(&out, "a\xff" "b\xc3", 4, false);
	assert_string_equal(out.data, "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\"");
	buf_reset(&out);
	json_add_string(&out, "\xed\xa0\x80\xc0\x80\xf0\x9f\x98\x80\0", 10, true);
	assert_string_equal(out.data, "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ud83d\\ude00\\u0000\"");
}

static void reals(void **state)
{
	(void)state;
	static const struct {
		double value;
		const char *text;
	} cases[] = { { 0, "0.0" }, { -0.0, "-0.0" }, { 1, "1.0" }, { 1e16, "1e+16" }, { 123456789012345680.0, "1.2345678901234568e+17" },
		      { 1e15, "1000000000000000.0" }, { 0.0001, "0.0001" }, { 0.00001, "1e-05" }, { 1.0 / 3, "0.3333333333333333" },
		      { 5e-324, "5e-324" }, { 2.5, "2.5" }, { 120, "120.0" }, { INFINITY, "inf" } };
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out CLEANUP(buf_release) = BUF_INIT;
		json_add_real(&out, cases[i].value);
		assert_string_equal(out.data, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads), cmocka_unit_test(members_in_order), cmocka_unit_test(refuses),
		cmocka_unit_test(writes), cmocka_unit_test(strings), cmocka_unit_test(reals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
