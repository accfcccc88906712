#include "project.h"

static void expect_files(struct project_files *files, const struct target *target, const char *expected)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct input_files found;
	struct buf got CLEANUP(buf_release) = BUF_INIT;
	assert_ok(project_files_of(files, target, &found, &err), &err);
	for (size_t i = 0; i < found.len; i++)
		buf_addf(&got, "%s%s%s%s", i ? " " : "", found.at[i].path, found.at[i].tracked ? ":tracked" : "", found.at[i].absent ? ":absent" : "");
	free(found.at);
	assert_string_equal(got.data, expected);
}

static struct project_files *files_of(const struct project *project)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct project_files *files = NULL;
	assert_ok(project_files_new(project, &files, &err), &err);
	return files;
}

static void test_patterns(void **state)
{
	(void)state;
	put(".git/HEAD", "");
	put(".git/info/exclude", "secret\n");
	put(".mlmake/state", "");
	put(".gitignore", "*.log\n/build/\n");
	put("src/a.py", "");
	put("src/deep/b.py", "");
	put("src/deep/.gitignore", "c.py\n");
	put("src/deep/c.py", "");
	put("src/x.log", "");
	put("build/gen.py", "");
	put("secret", "");
	put("top.py", "");
	struct project *p = load("targets:\n"
				 "  all: {run: x, inputs: ['**']}\n"
				 "  py: {run: x, inputs: ['**/*.py', '!src/deep']}\n"
				 "  dir: {run: x, inputs: [src]}\n"
				 "  ignored: {run: x, inputs: [build, src/x.log, secret]}\n"
				 "  glob: {run: x, inputs: ['build/*.py', 'src/*.log']}\n"
				 "  twice: {run: x, inputs: [src/a.py, 'src/*', top.py]}\n"
				 "  own: {run: x, inputs: ['*.py'], outputs: [top.py]}\n");
	struct project_files *files = files_of(p);
	expect_files(files, target_of(p, "all"), ".gitignore mlmake.yaml src/a.py src/deep/.gitignore src/deep/b.py top.py");
	expect_files(files, target_of(p, "py"), "src/a.py top.py");
	expect_files(files, target_of(p, "dir"), "src/a.py src/deep/.gitignore src/deep/b.py");
	expect_files(files, target_of(p, "ignored"), "build/gen.py secret src/x.log");
	expect_files(files, target_of(p, "glob"), "build/gen.py");
	expect_files(files, target_of(p, "twice"), "src/a.py top.py");
	expect_files(files, target_of(p, "own"), "");

	put("src/new.py", "");
	put("fresh/z.py", "");
	assert_int_equal(unlink("src/a.py"), 0);
	expect_files(files, target_of(p, "py"), "src/a.py top.py");
	project_files_forget(files, "src/new.py");
	project_files_forget(files, "src/a.py");
	project_files_forget(files, "fresh");
	expect_files(files, target_of(p, "py"), "fresh/z.py src/new.py top.py");
	project_files_free(files);
	project_free(p);
}

static void test_what_another_process_takes_away(void **state)
{
	(void)state;
	put("src/a/x.py", "");
	put("src/b/x.py", "");
	put("src/c/x.py", "");
	struct project *p = load("targets:\n  some: {run: x, inputs: [src/a]}\n  all: {run: x, inputs: [src]}\n");
	struct project_files *files = files_of(p);
	expect_files(files, target_of(p, "some"), "src/a/x.py");
	assert_int_equal(unlink("src/b/x.py"), 0);
	assert_int_equal(rmdir("src/b"), 0);
	assert_int_equal(unlink("src/c/x.py"), 0);
	assert_int_equal(rmdir("src/c"), 0);
	put("src/c", "");
	expect_files(files, target_of(p, "all"), "src/a/x.py");
	project_files_free(files);
	project_free(p);
}

static void test_outputs_of_others(void **state)
{
	(void)state;
	put(".git/HEAD", "");
	put(".gitignore", "/models\n");
	put("models/m.onnx", "");
	put("models/other.onnx", "");
	struct project *p = load("targets:\n"
				 "  train: {run: x, outputs: [models/m.onnx]}\n"
				 "  use: {run: x, inputs: ['**/*.onnx']}\n"
				 "  named: {run: x, inputs: [later.txt]}\n"
				 "  later: {run: x, outputs: [later.txt]}\n");
	struct project_files *files = files_of(p);
	expect_files(files, target_of(p, "use"), "models/m.onnx");
	expect_files(files, target_of(p, "named"), "");
	put("later.txt", "");
	project_files_forget(files, "later.txt");
	expect_files(files, target_of(p, "named"), "later.txt");
	project_files_free(files);
	project_free(p);
}

static int tracked(const char *root, struct tracked_list *ret, struct err *err)
{
	(void)root;
	(void)err;
	vec_push(ret, (struct tracked_path){ .path = mem_strdup("data/raw"), .is_dir = true });
	vec_push(ret, (struct tracked_path){ .path = mem_strdup("data/train.csv") });
	return 0;
}

static void test_tracked_paths(void **state)
{
	(void)state;
	static const struct provider provider = { .tracked = tracked };
	put(".git/HEAD", "");
	put("data/.gitignore", "/raw\n/train.csv\n");
	put("data/raw/a.csv", "");
	struct project *p = load_with("targets:\n"
				      "  named: {run: x, inputs: [data/train.csv, data/raw]}\n"
				      "  inside: {run: x, inputs: [data/raw/a.csv]}\n"
				      "  dir: {run: x, inputs: [data]}\n"
				      "  glob: {run: x, inputs: ['data/**/*.csv']}\n"
				      "  none: {run: x, inputs: ['**', '!data']}\n", &provider);
	struct project_files *files = files_of(p);
	expect_files(files, target_of(p, "named"), "data/raw:tracked data/train.csv:tracked:absent");
	expect_files(files, target_of(p, "inside"), "data/raw:tracked");
	expect_files(files, target_of(p, "dir"), "data/.gitignore data/raw:tracked data/train.csv:tracked:absent");
	expect_files(files, target_of(p, "glob"), "data/raw:tracked data/train.csv:tracked:absent");
	expect_files(files, target_of(p, "none"), "mlmake.yaml");
	project_files_free(files);
	project_free(p);
}

static void test_unknown_input(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct input_files found;
	put("data/train.csv", "");
	struct project *p = load("targets:\n"
				 "  t: {run: x, inputs: [data/trian.csv]}\n"
				 "  u: {run: x, inputs: [nowhere/at/all]}\n");
	struct project_files *files = files_of(p);
	assert_error(project_files_of(files, target_of(p, "t"), &found, &err), &err, ERR_CONFIG, "unknown input 'data/trian.csv'");
	assert_string_equal(err.hint, "did you mean 'data/train.csv'?");
	assert_int_equal(err.span.line, 2);
	assert_int_equal(err.span.col, 24);
	assert_string_equal(err.notes[0], "in target 't'");
	assert_error(project_files_of(files, target_of(p, "u"), &found, &err), &err, ERR_CONFIG, "unknown input 'nowhere/at/all'");
	assert_non_null(err.hint);
	project_files_free(files);
	project_free(p);
}

/* The rules of directories above a project, and of a repository around it that ignores the project itself. */
static void test_rules_above_the_project(void **state)
{
	(void)state;
	put(".git/HEAD", "");
	put(".gitignore", "*.log\n/lost/\n");
	put("sub/.gitignore", "*.tmp\n");
	put("sub/proj/mlmake.yaml", "targets:\n  t: {run: x, inputs: ['**']}\n");
	put("sub/proj/a.log", "");
	put("sub/proj/a.tmp", "");
	put("lost/mlmake.yaml", "targets:\n  t: {run: x, inputs: ['**']}\n");
	put("lost/b.log", "");
	assert_int_equal(chdir("sub/proj"), 0);
	struct project *p = load(NULL);
	struct project_files *files = files_of(p);
	expect_files(files, target_of(p, "t"), "mlmake.yaml");
	project_files_free(files);
	project_free(p);
	assert_int_equal(chdir("../../lost"), 0);
	p = load(NULL);
	files = files_of(p);
	expect_files(files, target_of(p, "t"), "b.log mlmake.yaml");
	project_files_free(files);
	project_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_temp_dir(test_patterns),
		in_temp_dir(test_what_another_process_takes_away),
		in_temp_dir(test_outputs_of_others),
		in_temp_dir(test_tracked_paths),
		in_temp_dir(test_unknown_input),
		in_temp_dir(test_rules_above_the_project),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
