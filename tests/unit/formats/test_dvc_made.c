/* dvc_made.json holds what a real dvc wrote (make_dvc_made.py): read it, write it again, compare the bytes. */
#include "../unit.h"

#include "formats/dvcdir.h"
#include "formats/dvcfile.h"
#include "formats/json.h"

static int load(void **state)
{
	struct json_doc *doc = mem_alloc(sizeof(*doc));
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	path_dir(&path, __FILE__);
	buf_addstr(&path, "/dvc_made.json");
	*state = doc;
	return json_parse_file(doc, path.data, path.data, 1 << 20, &err);
}

static int unload(void **state)
{
	json_release(*state);
	free(*state);
	return 0;
}

static void assert_same(const struct json_node *made, bool is_dir)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct dvc_out *out = dvc_file_add_out(&file, json_str(json_get(made, "path")));
	assert_true(digest_parse(&out->digest, DIGEST_MD5, json_str(json_get(made, "md5"))));
	out->is_dir = is_dir;
	out->has_size = true;
	out->size = (uint64_t)json_int(json_get(made, "size"), -1);
	out->has_nfiles = is_dir;
	out->nfiles = json_len(json_get(made, "members"));
	out->isexec = json_bool(json_get(made, "isexec"), false);
	assert_ok(dvc_file_render(&text, &file, &err), &err);
	assert_string_equal(text.data, json_str(json_get(made, "text")));

	struct dvc_file read CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	assert_ok(dvc_file_parse(text.data, text.len, "x.dvc", &read, &err), &err);
	assert_string_equal(read.outs[0].path, out->path);
	assert_true(digest_eq(&read.outs[0].digest, &out->digest));
	assert_int_equal(read.outs[0].isexec, out->isexec);
	assert_int_equal(read.outs[0].size, out->size);
}

static void files(void **state)
{
	const struct json_node *made = json_get(((struct json_doc *)*state)->root, "files");
	assert_true(json_len(made) > 40);
	for (size_t i = 0; i < json_len(made); i++)
		assert_same(json_at(made, i), false);
}

static void directories(void **state)
{
	const struct json_node *made = json_get(((struct json_doc *)*state)->root, "directories");
	assert_int_equal(json_len(made), 2);
	for (size_t i = 0; i < json_len(made); i++) {
		const struct json_node *one = json_at(made, i), *members = json_get(one, "members");
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		struct digest digest, expected;
		assert_same(one, true);
		for (size_t k = 0; k < json_len(members); k++) {
			assert_true(digest_parse(&digest, DIGEST_MD5, json_str(json_at(json_at(members, k), 1))));
			dvc_dir_add(&dir, json_str(json_at(json_at(members, k), 0)), digest.bytes);
		}
		assert_ok(dvc_dir_sort(&dir, &err), &err);
		dvc_dir_render(&text, &dir);
		assert_string_equal(text.data, json_str(json_get(one, "manifest")));
		dvc_dir_digest(&dir, &digest, NULL);
		assert_true(digest_parse(&expected, DIGEST_MD5, json_str(json_get(one, "md5"))));
		assert_true(digest_eq(&digest, &expected));
		struct dvc_dir again CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
		assert_ok(dvc_dir_parse(&again, text.data, text.len, "m.dir", &err), &err);
		assert_int_equal(again.len, dir.len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files, load, unload),
		cmocka_unit_test_setup_teardown(directories, load, unload),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
