/* Which targets a change of a file puts in doubt. */
#include "unit/graph/project.h"

#include "engine/doubts.h"

static const char yaml[] = "version: 1\n"
			   "rules: []\n"
			   "targets:\n"
			   "  named: {inputs: [src/a.c, lib], outputs: [out/a], run: 'cc src/a.c'}\n"
			   "  globbed: {inputs: ['src/**/*.h'], outputs: [out/dir], run: 'sub/tool.sh x'}\n"
			   "  user: {inputs: [out/a], outputs: [out/b], run: cp}\n"
			   "  last: {needs: [user], run: echo}\n"
			   "  behind: {after: [globbed], inputs: [other.txt], run: echo}\n"
			   "  params: {inputs: [other.txt], params: ['params.yaml:x'], run: 'echo tool.sh'}\n"
			   "  all: {needs: [last, globbed, behind, params]}\n";

/* The names in doubt, in order; "everything" where all are. */
static void expect(const struct project *project, const char *file, bool is_dir, const char *doubted, const char *expected)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct snapshot_changes changes CLEANUP(snapshot_changes_release) = { .known = true, .transaction = 7 };
	struct run_doubts doubts CLEANUP(doubts_release) = { 0 };
	struct plan plan CLEANUP(plan_release) = { 0 };
	struct buf got CLEANUP(buf_release) = BUF_INIT;
	const char *names[] = { "all" };
	size_t count = 0;
	if (file)
		vec_push(&changes.files, (struct snapshot_change){ file[0] == '/' ? mem_strdup(file) : mem_printf("%s/%s", project->root, file), is_dir });
	if (doubted)
		strlist_add(&changes.doubted, doubted);
	assert_ok(plan_make(project, names, 1, &plan, &err), &err);
	if (!doubts_find(project, &plan, &changes, &doubts)) {
		assert_null(doubts.in_doubt);
		assert_string_equal("everything", expected);
		return;
	}
	assert_int_equal(doubts.transaction, 7);
	for (size_t i = 0; i < plan.len; i++)
		if (doubts.in_doubt[plan.order[i]])
			buf_addf(&got, "%s%s", count++ ? " " : "", project->targets[plan.order[i]].name);
	assert_int_equal(doubts.names.len, count);
	assert_string_equal(got.data, expected);
}

static void test_files(void **state)
{
	(void)state;
	put("src/a.c", "");
	put("lib/x", "");
	put("other.txt", "");
	struct project *p = load(yaml);
	expect(p, "src/a.c", false, NULL, "named user last all");
	expect(p, "lib/deep/x", false, NULL, "named user last all");
	expect(p, "lib", false, NULL, "named user last all");
	expect(p, "src/b.c", false, NULL, "");
	expect(p, "src/deep/b.h", false, NULL, "globbed behind all");
	expect(p, "out/dir/member", false, NULL, "globbed behind all");
	expect(p, "out/b", false, NULL, "user last all");
	expect(p, "out/b2", false, NULL, "");
	expect(p, "params.yaml", false, NULL, "params all");
	expect(p, "sub/tool.sh", false, NULL, "globbed behind all");
	expect(p, "bin/cc", false, NULL, "named user last all");
	project_free(p);
}

static void test_directories(void **state)
{
	(void)state;
	put("src/a.c", "");
	put("lib/x", "");
	put("other.txt", "");
	struct project *p = load(yaml);
	/* Names came or went: a file that is named, and is there, is none of them. */
	expect(p, "src", true, NULL, "globbed behind all");
	expect(p, "lib/deep", true, NULL, "named user last all");
	expect(p, "out", true, NULL, "user last all");
	expect(p, "", true, NULL, "globbed user last behind all");
	expect(p, "elsewhere", true, NULL, "");
	project_free(p);
}

static void test_more_than_targets(void **state)
{
	(void)state;
	put("src/a.c", "");
	put("lib/x", "");
	put("other.txt", "");
	struct project *p = load(yaml);
	expect(p, "src/.gitignore", false, NULL, "everything");
	expect(p, ".git/info/exclude", false, NULL, "everything");
	expect(p, "lib/x.dvc", false, NULL, "everything");
	expect(p, "dvc.lock", false, NULL, "everything");
	expect(p, "/usr/bin/cc", false, NULL, "everything");
	/* Beside the root, with its name in front. */
	char *beside OWNED = mem_printf("%s2/src/a.c", p->root);
	expect(p, beside, false, NULL, "everything");
	expect(p, NULL, false, "user", "user last all");
	expect(p, "other.txt", false, "user", "user last behind params all");
	expect(p, NULL, false, "gone", "everything");
	project_free(p);
}

static int tracks_one(const char *root, struct tracked_list *ret, struct err *err)
{
	(void)root;
	(void)err;
	vec_push(ret, (struct tracked_path){ .path = mem_strdup("data/x.csv") });
	return 0;
}

/* A name in a directory may be that of a .dvc file, or of what one tracks. */
static void test_tracked(void **state)
{
	static const struct provider provider = { .tracked = tracks_one };
	(void)state;
	put("src/a.c", "");
	put("lib/x", "");
	put("other.txt", "");
	struct project *p = load_with(yaml, &provider);
	expect(p, "src", true, NULL, "everything");
	expect(p, "src/a.c", false, NULL, "named user last all");
	project_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_temp_dir(test_files),
		in_temp_dir(test_directories),
		in_temp_dir(test_more_than_targets),
		in_temp_dir(test_tracked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
