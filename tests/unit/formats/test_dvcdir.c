#include "../unit.h"

#include "formats/dvcdir.h"

static void add(struct dvc_dir *dir, const char *path, uint8_t fill)
{
	uint8_t md5[16];
	memset(md5, fill, sizeof(md5));
	dvc_dir_add(dir, path, md5);
}

static void renders(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct digest d;
	char hex[DIGEST_HEX_MAX];
	uint64_t len;
	dvc_dir_render(&out, &dir);
	assert_string_equal(out.data, "[]");
	dvc_dir_digest(&dir, &d, &len);
	digest_hex(&d, hex);
	assert_string_equal(hex, "d751713988987e9331980363e24189ce");
	assert_int_equal(len, 2);
	add(&dir, "b", 0);
	add(&dir, "a/c", 1);
	add(&dir, "a.b", 2);
	add(&dir, "\xc3\xa9\"\\\x7f\n/", 3);
	assert_error(dvc_dir_sort(&dir, &err), &err, ERR_DATA, "not safe");
	dvc_dir_release(&dir);
	add(&dir, "b", 0);
	add(&dir, "a/c", 1);
	add(&dir, "a.b", 2);
	add(&dir, "\xf0\x9f\x98\x80", 4);
	add(&dir, "\xc3\xa9\"\\\x7f\n\x01", 3);
	assert_ok(dvc_dir_sort(&dir, &err), &err);
	buf_reset(&out);
	dvc_dir_render(&out, &dir);
	assert_string_equal(out.data, "[{\"md5\": \"02020202020202020202020202020202\", \"relpath\": \"a.b\"}, {\"md5\": \"01010101010101010101010101010101\", \"relpath\": \"a/c\"}, "
				      "{\"md5\": \"00000000000000000000000000000000\", \"relpath\": \"b\"}, {\"md5\": \"03030303030303030303030303030303\", \"relpath\": "
				      "\"\\u00e9\\\"\\\\\\u007f\\n\\u0001\"}, {\"md5\": \"04040404040404040404040404040404\", \"relpath\": \"\\ud83d\\ude00\"}]");
	assert_int_equal(dvc_dir_find(&dir, "a/c")->md5[0], 1);
	assert_null(dvc_dir_find(&dir, "a"));
	dvc_dir_digest(&dir, &d, &len);
	struct digest whole;
	digest_bytes(DIGEST_MD5, out.data, out.len, &whole);
	assert_true(digest_eq(&d, &whole));
	assert_int_equal(len, out.len);
	/* And back, however it is cut. */
	for (size_t piece = 1; piece < 9; piece += 2) {
		struct dvc_dir again CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
		struct dvc_dir_parser *p = dvc_dir_parser_new(&again, "m");
		for (size_t at = 0; at < out.len; at += piece)
			assert_ok(dvc_dir_parser_add(p, out.data + at, at + piece < out.len ? piece : out.len - at, &err), &err);
		assert_ok(dvc_dir_parser_end(p, &err), &err);
		assert_int_equal(again.len, dir.len);
		for (size_t i = 0; i < dir.len; i++) {
			assert_string_equal(again.entries[i].relpath, dir.entries[i].relpath);
			assert_memory_equal(again.entries[i].md5, dir.entries[i].md5, 16);
		}
	}
}

#define M "\"md5\": \"02020202020202020202020202020202\""

static void refuses(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "", "too early" },
		{ "[", "too early" },
		{ "[{" M ", \"relpath\": \"a\"}", "too early" },
		{ "[{" M ", \"relpath\": \"a\"},]", "unexpected" },
		{ "[{" M ", \"relpath\": \"a\"}] x", "unexpected" },
		{ "{}", "unexpected" },
		{ "[{" M ", \"relpath\": \"../a\"}]", "not safe" },
		{ "[{" M ", \"relpath\": \"/a\"}]", "not safe" },
		{ "[{" M ", \"relpath\": \"a//b\"}]", "not safe" },
		{ "[{" M ", \"relpath\": \"\"}]", "not safe" },
		{ "[{" M ", \"relpath\": \"a\\u0000\"}]", "zero byte" },
		{ "[{" M ", \"relpath\": \"a\xff\"}]", "not UTF-8" },
		{ "[{" M ", \"relpath\": \"\\ud800\"}]", "surrogate" },
		{ "[{" M ", \"relpath\": \"\\udc00\"}]", "surrogate" },
		{ "[{" M ", \"relpath\": \"\\ud800\\u0041\"}]", "surrogate" },
		{ "[{" M ", \"relpath\": \"\\x\"}]", "escape" },
		{ "[{" M ", \"relpath\": \"a\nb\"}]", "control" },
		{ "[{" M "}]", "without" },
		{ "[{\"relpath\": \"a\"}]", "without" },
		{ "[{}]", "unexpected" },
		{ "[{" M ", " M ", \"relpath\": \"a\"}]", "twice" },
		{ "[{\"md5\": \"0202\", \"relpath\": \"a\"}]", "bad md5" },
		{ "[{\"md5\": 3, \"relpath\": \"a\"}]", "unexpected" },
		{ "[{" M ", \"size\": 3, \"relpath\": \"a\"}]", "unknown key" },
		{ "[{" M ", \"relpath\": \"a\"}, {" M ", \"relpath\": \"a\"}]", "twice" },
		{ "[{" M ", \"relpath\": \"a\"}, {" M ", \"relpath\": \"a.b\"}, {" M ", \"relpath\": \"a/b/c\"}]", "file and a directory" },
		{ "[{" M ", \"relpath\": \"a/b/c\"}, {" M ", \"relpath\": \"a/b\"}, {" M ", \"relpath\": \"a/a\"}]", "file and a directory" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
		assert_error(dvc_dir_parse(&dir, cases[i].text, strlen(cases[i].text), "m.dir", &err), &err, ERR_DATA, cases[i].message);
	}
}

static void accepts_other_writers(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	const char *text = " [\n{\"relpath\":\"b\\/\\u00E9\", \"md5\":\"0202020202020202020202020202020A\"},{\"relpath\":\"a\\tb\"," M "} ]\n";
	assert_ok(fs_write_file("m", text, strlen(text), 0644, FS_VOLATILE, &err), &err);
	assert_ok(dvc_dir_read(&dir, "m", "m", &err), &err);
	assert_int_equal(dir.len, 2);
	assert_string_equal(dir.entries[0].relpath, "a\tb");
	assert_string_equal(dir.entries[1].relpath, "b/\xc3\xa9");
	assert_int_equal(dir.entries[1].md5[15], 10);
	assert_error(dvc_dir_read(&dir, "none", "none", &err), &err, ERR_DATA, "none");
}

static void writes_what_it_renders(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT, read CLEANUP(buf_release) = BUF_INIT;
	const uint8_t md5[16] = { 1, 2, 3 };
	for (unsigned i = 0; i < 2000; i++) {
		char name[32];
		snprintf(name, sizeof(name), "s/\xc3\xa9 %05u", i);
		dvc_dir_add(&dir, name, md5);
	}
	assert_ok(dvc_dir_sort(&dir, &err), &err);
	dvc_dir_render(&text, &dir);
	assert_ok(dvc_dir_write(&dir, "w", &err), &err);
	assert_ok(fs_read_file("w", 1 << 20, &read, &err), &err);
	assert_string_equal(read.data, text.data);
	assert_true(dvc_dir_is_file(&dir, "w"));
	assert_error(dvc_dir_write(&dir, "w", &err), &err, ERR_FAILED, "cannot create");
	err_release(&err);
	assert_error(dvc_dir_write(&dir, "/dev/full", &err), &err, ERR_FAILED, "cannot create");
}

static void refuses_too_many(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	assert_ok(dvc_dir_check_count(DVC_DIR_MAX_ENTRIES, "d", &err), &err);
	assert_error(dvc_dir_check_count((uint64_t)DVC_DIR_MAX_ENTRIES + 1, "d", &err), &err, ERR_DATA, "d lists more than 4,000,000 files");
	assert_int_equal(DVC_DIR_MAX_ENTRIES, 4000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(renders), cmocka_unit_test(refuses), cmocka_unit_test(refuses_too_many),
					    in_temp_dir(writes_what_it_renders),
					    in_temp_dir(accepts_other_writers) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
