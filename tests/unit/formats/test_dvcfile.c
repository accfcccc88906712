#include "../unit.h"

#include "formats/dvcfile.h"

static struct digest md5_of(const char *hex)
{
	struct digest d;
	assert_true(digest_parse(&d, DIGEST_MD5, hex));
	return d;
}

static const char ONE[] = "acbd18db4cc2f85cedef654fccc4a4d8", TWO[] = "37b51d194a7513e45b56f6524f2d51f2";

static void parse(struct dvc_file *file, const char *text)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	assert_ok(dvc_file_parse(text, strlen(text), "d.dvc", file, &err), &err);
}

static void assert_render(const struct dvc_file *file, const char *expected)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	assert_ok(dvc_file_render(&out, file, &err), &err);
	assert_string_equal(out.data, expected);
}

static void new_files(void **state)
{
	(void)state;
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	struct dvc_out *out = dvc_file_add_out(&file, "a: b.csv");
	out->digest = md5_of(ONE);
	out->has_size = true;
	out->isexec = true;
	assert_render(&file, "outs:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8\n  size: 0\n  isexec: true\n  hash: md5\n  path: 'a: b.csv'\n");
	out = dvc_file_add_out(&file, "dir");
	out->digest = md5_of("11111111111111111111111111111111");
	out->has_size = out->has_nfiles = true;
	out->size = 12;
	out->nfiles = 3;
	out->remote = mem_strdup("s3");
	out->push = false;
	file.frozen = true;
	assert_render(&file, "frozen: true\nouts:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8\n  size: 0\n  isexec: true\n  hash: md5\n  path: 'a: b.csv'\n"
			     "- md5: '11111111111111111111111111111111'\n  size: 12\n  nfiles: 3\n  hash: md5\n  path: dir\n  remote: s3\n  push: false\n");
	file.outs[1].is_dir = true;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	assert_ok(dvc_file_render(&text, &file, &err), &err);
	assert_non_null(strstr(text.data, "- md5: 11111111111111111111111111111111.dir\n"));
	struct dvc_file again CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	parse(&again, text.data);
	assert_int_equal(again.out_count, 2);
	assert_true(again.outs[1].is_dir && !again.outs[1].push && !again.outs[1].legacy && again.outs[1].cache);
	assert_string_equal(again.outs[0].path, "a: b.csv");
	assert_render(&again, text.data);
}

static void reads(void **state)
{
	(void)state;
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	parse(&file, "# import\nmd5: 00000000000000000000000000000001\nfrozen: true\ndeps:\n- path: data\n  repo:\n    url: ../src\n    rev_lock: abc\n"
		     "outs:\n- md5: 12345678901234567890123456789012\n  size: 5\n  path: ./d/\n  meta: {x: [1]}\n");
	assert_true(file.frozen);
	assert_int_equal(file.dep_count, 1);
	assert_string_equal(file.deps[0].repo_url, "../src");
	assert_string_equal(file.deps[0].repo_rev_lock, "abc");
	assert_null(file.deps[0].repo_rev);
	assert_true(file.outs[0].legacy);
	assert_string_equal(file.outs[0].path, "d");
	assert_true(digest_eq(&file.outs[0].digest, &(struct digest){ .kind = DIGEST_MD5_DOS2UNIX, .bytes = { 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12 } }));
	assert_int_equal(file.outs[0].span.line, 10);
	dvc_file_release(&file);
	parse(&file, "outs:\n- hash: md5\n  path: d\n");
	assert_int_equal(file.outs[0].digest.kind, DIGEST_NONE);
	assert_false(file.outs[0].legacy);
}

/* dvc would fetch the old content by the old version's id. */
static void another_content_has_no_version_yet(void **state)
{
	(void)state;
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	const char *text = "outs:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8\n  size: 3\n  cloud:\n    store:\n      etag: e\n      version_id: v\n  hash: md5\n  path: d\n";
	parse(&file, text);
	assert_render(&file, text);
	file.outs[0].digest = md5_of(TWO);
	assert_render(&file, "outs:\n- md5: 37b51d194a7513e45b56f6524f2d51f2\n  size: 3\n  hash: md5\n  path: d\n");
	dvc_file_release(&file);

	/* At the end of one of two, where a key is added, too; in flow style; at the top level of the output. */
	parse(&file, "outs:\n  - path: d\n    md5: acbd18db4cc2f85cedef654fccc4a4d8\n    hash: md5\n    cloud:\n      store:\n        etag: e\n"
		     "  - path: e\n    hash: md5\n    md5: acbd18db4cc2f85cedef654fccc4a4d8\n");
	file.outs[0].digest = md5_of(TWO);
	file.outs[0].has_size = true;
	assert_render(&file, "outs:\n  - path: d\n    md5: 37b51d194a7513e45b56f6524f2d51f2\n    hash: md5\n    size: 0\n"
			     "  - path: e\n    hash: md5\n    md5: acbd18db4cc2f85cedef654fccc4a4d8\n");
	dvc_file_release(&file);
	parse(&file, "outs: [{md5: acbd18db4cc2f85cedef654fccc4a4d8, cloud: {s: {etag: e}}, hash: md5, path: d}]\n");
	file.outs[0].digest = md5_of(TWO);
	assert_render(&file, "outs: [{md5: \"37b51d194a7513e45b56f6524f2d51f2\", hash: md5, path: d}]\n");
	dvc_file_release(&file);
	parse(&file, "outs:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8\n  version_id: v\n  etag: e\n  hash: md5\n  path: d\n");
	file.outs[0].digest = md5_of(TWO);
	assert_render(&file, "outs:\n- md5: 37b51d194a7513e45b56f6524f2d51f2\n  hash: md5\n  path: d\n");
}

#define VERSIONED "outs:\n- hash: md5\n  path: d\n  files:\n  - relpath: a\n    md5: acbd18db4cc2f85cedef654fccc4a4d8\n    size: 3\n" \
	"    cloud:\n      va:\n        etag: e-2\n        version_id: v1\n  - relpath: 'b: c'\n    md5: 37b51d194a7513e45b56f6524f2d51f2\n    size: 3\n" \
	"    isexec: true\n"

static void versions_of_files(void **state)
{
	(void)state;
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	parse(&file, VERSIONED);
	struct dvc_out *out = &file.outs[0];
	assert_true(out->has_files && out->is_dir && out->has_nfiles && out->nfiles == 2 && out->has_size && out->size == 6);
	/* md5 of [{"md5": "acbd...", "relpath": "a"}, {"md5": "37b5...", "relpath": "b: c"}] */
	char hex[DIGEST_HEX_MAX];
	digest_hex(&out->digest, hex);
	assert_string_equal(hex, "9bf0dc255e8908dd36efc358ad77998b");
	assert_string_equal(dvc_out_member(out, "a")->cloud.version_id, "v1");
	assert_null(dvc_out_member(out, "b: c")->cloud.remote);
	assert_null(dvc_out_member(out, "z"));
	assert_render(&file, VERSIONED);
	dvc_version_set(&dvc_out_member(out, "b: c")->cloud, "va", "12", NULL);
	assert_render(&file, VERSIONED "    cloud:\n      va:\n        version_id: '12'\n");
	dvc_out_forget_versions(out);
	assert_render(&file, "outs:\n- hash: md5\n  path: d\n  files:\n  - relpath: a\n    md5: acbd18db4cc2f85cedef654fccc4a4d8\n    size: 3\n"
			     "  - relpath: 'b: c'\n    md5: 37b51d194a7513e45b56f6524f2d51f2\n    size: 3\n    isexec: true\n");
	dvc_file_release(&file);

	/* A manifest becomes a list; what stands around stays. */
	parse(&file, "# ours\nouts:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8.dir\n  size: 3\n  nfiles: 1\n  hash: md5\n  path: d  # data\nmeta: {x: 1}\n");
	out = &file.outs[0];
	out->has_files = true;
	struct digest one = md5_of(TWO);
	dvc_version_set(&dvc_out_add_member(out, "a", &one)->cloud, "va", "v", "e");
	assert_render(&file, "# ours\nouts:\n- hash: md5\n  path: d  # data\n  files:\n  - relpath: a\n    md5: 37b51d194a7513e45b56f6524f2d51f2\n"
			     "    cloud:\n      va:\n        etag: e\n        version_id: v\nmeta: {x: 1}\n");
	dvc_file_release(&file);

	/* Too little to know the content by: as dvc leaves a directory after a push elsewhere, and without an md5. */
	parse(&file, "outs:\n- hash: md5\n  path: d\n  files: []\n");
	assert_true(file.outs[0].has_files && file.outs[0].digest.kind == DIGEST_NONE);
	dvc_file_release(&file);
	parse(&file, "outs:\n- hash: md5\n  path: d\n  files:\n  - relpath: a\n    size: 3\n");
	assert_true(file.outs[0].has_files && file.outs[0].digest.kind == DIGEST_NONE);
	dvc_file_release(&file);
}

#define PLAIN "outs:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8\n  size: 3\n  hash: md5\n  path: f\n"
#define FURTHER "        vb:\n          md5: acbd18db4cc2f85cedef654fccc4a4d8\n          version_id: v2\n"

static void versions_on_further_remotes(void **state)
{
	(void)state;
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	parse(&file, PLAIN);
	struct dvc_out *out = &file.outs[0];
	dvc_out_set_other(out, "vb", "", &out->digest, "v2");
	assert_render(&file, PLAIN "  meta:\n    mlmake:\n      cloud:\n" FURTHER);
	dvc_file_release(&file);

	/* Beside what the user keeps there; in place; and gone with it. */
	parse(&file, PLAIN "  meta:\n    owner: me # not you\n");
	dvc_out_set_other(&file.outs[0], "vb", "", &file.outs[0].digest, "v2");
	assert_render(&file, PLAIN "  meta:\n    owner: me # not you\n    mlmake:\n      cloud:\n" FURTHER);
	dvc_file_release(&file);
	parse(&file, PLAIN "  meta:\n    mlmake:\n      cloud:\n" FURTHER "    owner: me\n");
	out = &file.outs[0];
	assert_string_equal(dvc_out_other(out, "vb", "", &out->digest), "v2");
	assert_null(dvc_out_other(out, "va", "", &out->digest));
	dvc_out_set_other(out, "va", "", &out->digest, "v0");
	assert_render(&file, PLAIN "  meta:\n    mlmake:\n      cloud:\n        va:\n          md5: acbd18db4cc2f85cedef654fccc4a4d8\n          version_id: v0\n"
			     FURTHER "    owner: me\n");
	dvc_out_forget_versions(out);
	assert_render(&file, PLAIN "  meta:\n    owner: me\n");
	out->digest = md5_of(TWO);
	assert_null(dvc_out_other(out, "vb", "", &out->digest));
	dvc_file_release(&file);
	parse(&file, PLAIN "  meta:\n    mlmake:\n      cloud:\n" FURTHER);
	dvc_out_forget_versions(&file.outs[0]);
	assert_render(&file, PLAIN);
	dvc_file_release(&file);

	/* A map in brackets has no room for lines. */
	parse(&file, "outs: [{md5: acbd18db4cc2f85cedef654fccc4a4d8, hash: md5, path: d}]\n");
	dvc_version_set(&file.outs[0].cloud, "va", "v", "e");
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	assert_int_equal(dvc_file_render(&text, &file, &err), -1);
	assert_int_equal(err.code, ERR_CONFIG);
}

static void edits_keep_the_rest(void **state)
{
	(void)state;
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	parse(&file, "# ours\ndesc: 'text'   # why\nouts:\n  # the data\n  - md5: acbd18db4cc2f85cedef654fccc4a4d8 # old\n    size: 3\n    isexec: true\n"
		     "    path: \"d\"\n    meta:\n      a: 1\n# end\nmeta: {x: 1}\n");
	file.outs[0].digest = md5_of(TWO);
	file.outs[0].is_dir = true;
	file.outs[0].size = 77;
	file.outs[0].isexec = false;
	file.outs[0].has_nfiles = true;
	file.outs[0].nfiles = 2;
	file.outs[0].legacy = false;
	assert_render(&file, "# ours\ndesc: 'text'   # why\nouts:\n  # the data\n  - md5: 37b51d194a7513e45b56f6524f2d51f2.dir # old\n    size: 77\n"
			     "    path: \"d\"\n    meta:\n      a: 1\n    nfiles: 2\n    hash: md5\n# end\nmeta: {x: 1}\n");
	dvc_file_release(&file);

	/* The first key goes away; a value that was empty; no newline at the end. */
	parse(&file, "outs:\n- isexec: true\n  md5:\n  hash: md5\n  path: d");
	file.outs[0].isexec = false;
	file.outs[0].digest = md5_of(ONE);
	file.outs[0].has_size = true;
	assert_render(&file, "outs:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8\n  hash: md5\n  path: d\n  size: 0");
	dvc_file_release(&file);

	/* A folded value gives way to a short one, behind its key. */
	parse(&file, "outs:\n- hash: md5\n  md5: acbd18db4cc2f85cedef654fccc4a4d8\n  path: \n    d\n");
	free(file.outs[0].path);
	file.outs[0].path = mem_strdup("e");
	assert_render(&file, "outs:\n- hash: md5\n  md5: acbd18db4cc2f85cedef654fccc4a4d8\n  path: e\n");
	dvc_file_release(&file);

	/* Flow style. */
	parse(&file, "outs: [{md5: acbd18db4cc2f85cedef654fccc4a4d8, isexec: true, path: d}]\n");
	file.outs[0].isexec = false;
	file.outs[0].legacy = false;
	file.outs[0].has_size = true;
	free(file.outs[0].path);
	file.outs[0].path = mem_strdup("e, f");
	assert_render(&file, "outs: [{md5: acbd18db4cc2f85cedef654fccc4a4d8, path: \"e, f\", size: 0, hash: \"md5\"}]\n");
	dvc_file_release(&file);

	/* A path that folds, a block scalar, a byte order mark, a second output. */
	parse(&file, "\xef\xbb\xbfouts:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8\n  hash: md5\n  path: >-\n    some\n    name\n  # tail\n");
	assert_string_equal(file.outs[0].path, "some name");
	file.outs[0].digest = md5_of(TWO);
	free(file.outs[0].path);
	file.outs[0].path = mem_strdup("other");
	struct dvc_out *second = dvc_file_add_out(&file, "x");
	second->digest = md5_of(ONE);
	assert_render(&file, "\xef\xbb\xbfouts:\n- md5: 37b51d194a7513e45b56f6524f2d51f2\n  hash: md5\n  path: other\n"
			     "- md5: acbd18db4cc2f85cedef654fccc4a4d8\n  hash: md5\n  path: x\n  # tail\n");
	dvc_file_release(&file);

	parse(&file, "outs:\n- &a {md5: acbd18db4cc2f85cedef654fccc4a4d8, path: d}\nmeta: *a\n");
	assert_render(&file, "outs:\n- &a {md5: acbd18db4cc2f85cedef654fccc4a4d8, path: d}\nmeta: *a\n");
	file.outs[0].digest = md5_of(TWO);
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	assert_error(dvc_file_render(&out, &file, &err), &err, ERR_CONFIG, "anchors");
}

static void refuses(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
		enum err_code code;
		unsigned line;
	} cases[] = {
		{ "", "is empty", ERR_DATA, 0 },
		{ "\n# nothing\n", "is empty", ERR_DATA, 0 },
		{ "outs:\n", "no outputs", ERR_DATA, 1 },
		{ "outs: []\n", "no outputs", ERR_DATA, 1 },
		{ "outs:\n- hash: md5\n  path: d\n  files:\n  - relpath: ../a\n    md5: acbd18db4cc2f85cedef654fccc4a4d8\n", "../a", ERR_DATA, 5 },
		{ "outs:\n- hash: md5\n  path: d\n  files:\n  - md5: acbd18db4cc2f85cedef654fccc4a4d8\n", "no relpath", ERR_CONFIG, 5 },
		{ "outs:\n- hash: md5\n  path: d\n  files: x\n", "must be a list", ERR_CONFIG, 4 },
		{ "desc: x\n", "no outputs", ERR_DATA, 1 },
		{ "outs:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8\n  size: 3\n", "no path", ERR_DATA, 2 },
		{ "outs:\n- md5: acbd18db4cc2f85cede", "not an md5", ERR_DATA, 2 },
		{ "outs:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8\n  hash: md5\n  path: dat", "cut off", ERR_DATA, 0 },
		{ "outs:\n- md5: 'acbd18db4cc", "invalid YAML", ERR_DATA, 2 },
		{ "outs:\n- path: d\n  sise: 3\n", "unknown key 'sise'", ERR_CONFIG, 3 },
		{ "outs:\n- path: d\nmlmake: 3\n", "unknown key 'mlmake'", ERR_CONFIG, 3 },
		{ "outs:\n- path: ../d\n", "leads out", ERR_DATA, 2 },
		{ "outs:\n- path: a/../../d\n", "leads out", ERR_DATA, 2 },
		{ "outs:\n- path: /etc/passwd\n", "not a relative path", ERR_DATA, 2 },
		{ "outs:\n- path: .\n", "leads out", ERR_DATA, 2 },
		{ "wdir: ../..\nouts:\n- path: d\n", "leads out", ERR_DATA, 1 },
		{ "outs:\n- path: d\n  size: -1\n", "negative", ERR_DATA, 3 },
		{ "outs:\n- path: d\n  size: many\n", "size must be an integer", ERR_CONFIG, 3 },
		{ "outs:\n- path: d\n  hash: sha256\n", "'sha256'", ERR_CONFIG, 3 },
		{ "outs:\n- path: d\n- path: ./d\n", "twice", ERR_DATA, 3 },
		{ "outs:\n- path: d\n  cache: no\n", "cache must be a boolean", ERR_CONFIG, 3 },
		{ "outs:\n<<<<<<< HEAD\n- md5: x\n=======\n- md5: y\n>>>>>>> other\n  path: d\n", "merge conflict", ERR_DATA, 2 },
		{ "- a\n", "must be a map", ERR_CONFIG, 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct dvc_file file = DVC_FILE_INIT;
		assert_error(dvc_file_parse(cases[i].text, strlen(cases[i].text), "d.dvc", &file, &err), &err, cases[i].code, cases[i].message);
		if (cases[i].line)
			assert_int_equal(err.span.line, cases[i].line);
		assert_null(file.outs);
	}
}

/* Every prefix of a file is refused, or says what the whole says. */
static void truncation(void **state)
{
	(void)state;
	const char *text = "outs:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8.dir\n  size: 3\n  nfiles: 1\n  hash: md5\n  path: d\n";
	for (size_t len = 0; len < strlen(text) - 1; len++) {
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct dvc_file file = DVC_FILE_INIT;
		if (dvc_file_parse(text, len, "d.dvc", &file, &err) == 0)
			fail_msg("accepted after %zu bytes", len);
	}
}

static void writes(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	bool changed;
	assert_int_equal(dvc_file_read("d.dvc", "d.dvc", &file, &err), -1);
	assert_int_equal(err.sys_errno, 2);
	struct dvc_out *out = dvc_file_add_out(&file, "d");
	out->digest = md5_of(ONE);
	assert_ok(dvc_file_write("d.dvc", &file, &changed, &err), &err);
	assert_true(changed);
	assert_ok(dvc_file_write("d.dvc", &file, &changed, &err), &err);
	assert_false(changed);
	dvc_file_release(&file);
	assert_ok(dvc_file_read("d.dvc", "d.dvc", &file, &err), &err);
	assert_ok(dvc_file_write("d.dvc", &file, &changed, &err), &err);
	assert_false(changed);
	file.outs[0].digest = md5_of(TWO);
	assert_ok(dvc_file_write("d.dvc", &file, &changed, &err), &err);
	assert_true(changed);
	file.outs[0].path[0] = '\xff';
	assert_error(dvc_file_write("d.dvc", &file, &changed, &err), &err, ERR_DATA, "UTF-8");
}

static void names(void **state)
{
	(void)state;
	assert_true(dvc_file_is_name("a.dvc"));
	assert_true(dvc_file_is_name("x/a.dvc"));
	assert_false(dvc_file_is_name(".dvc"));
	assert_false(dvc_file_is_name("x/.dvc"));
	assert_false(dvc_file_is_name("a.dvc/b"));
}

static void legacy_digest(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		const char *same_as;
		size_t same_len;
	} cases[] = { { "a\r\nb\r", 5, "a\nb\r", 4 }, { "a\r\n\0", 4, "a\r\n\0", 4 }, { "", 0, "", 0 }, { "\xff\xfe\xfd\r\n", 5, "\xff\xfe\xfd\r\n", 5 } };
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct digest expected, got, at_once;
		struct fs_stamp stamp;
		bool stable;
		assert_ok(fs_write_file("x", cases[i].bytes, cases[i].len, 0644, FS_VOLATILE, &err), &err);
		digest_bytes(DIGEST_MD5, cases[i].same_as, cases[i].same_len, &expected);
		assert_ok(digest_file(DIGEST_MD5_DOS2UNIX, "x", &got, &stamp, &stable, &err), &err);
		assert_true(stable && got.kind == DIGEST_MD5_DOS2UNIX && memcmp(got.bytes, expected.bytes, 16) == 0);
		digest_bytes(DIGEST_MD5_DOS2UNIX, cases[i].bytes, cases[i].len, &at_once);
		assert_true(digest_eq(&at_once, &got) && !digest_eq(&got, &expected));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_files), cmocka_unit_test(reads), cmocka_unit_test(edits_keep_the_rest), cmocka_unit_test(another_content_has_no_version_yet), cmocka_unit_test(versions_of_files),
		cmocka_unit_test(versions_on_further_remotes), cmocka_unit_test(refuses),
		cmocka_unit_test(truncation), in_temp_dir(writes), cmocka_unit_test(names), in_temp_dir(legacy_digest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
