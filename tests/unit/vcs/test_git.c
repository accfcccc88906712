/* src/vcs against repositories that the real git made. */
#include "base/fs.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/text.h"
#include "vcs/git.h"
#include "vcs/git_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* libgit2 looks at HOME once a process, so all tests share one, without a .gitconfig at the start of each. */
static int setup_home(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf home CLEANUP(buf_release) = BUF_INIT;
	const char *tmp = getenv("TMPDIR");
	if (fs_temp_dir(tmp ? tmp : "/tmp", "mlmake-home-", &home, &err) < 0)
		return -1;
	setenv("HOME", home.data, 1);
	(void)state;
	return 0;
}

static int remove_home(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	(void)state;
	return fs_remove_tree(getenv("HOME"), &err);
}

struct fixture {
	struct buf root; /* a fresh directory; the repository is in "repo" below */
	char *repo;
};

static void fail_with(const struct err *err)
{
	fail_msg("%s (hint: %s)", err->message, err->hint ? err->hint : "-");
}

/* Runs lines of shell in the fixture's directory, with an identity and no configuration of the machine's. */
static void shell(struct fixture *fixture, const char *script)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	OWNED char *full = mem_printf("set -e; export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b "
				      "GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@d; unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE; %s", script);
	const char *argv[] = { "sh", "-c", full, NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	spec.argv = argv;
	spec.dir = fixture->root.data;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct proc_capture capture = { .out = &out, .errout = &out, .max = 1 << 20 };
	if (proc_run(&spec, &capture, &err) < 0)
		fail_with(&err);
	if (capture.ret_exit)
		fail_msg("%s\n%s", script, out.data);
}

static int setup(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct fixture *fixture = mem_alloc(sizeof(*fixture));
	buf_init(&fixture->root);
	const char *tmp = getenv("TMPDIR");
	if (fs_temp_dir(tmp ? tmp : "/tmp", "mlmake-git-", &fixture->root, &err) < 0)
		fail_with(&err);
	fixture->repo = path_joined(fixture->root.data, "repo");
	setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
	unsetenv("GIT_DIR");
	unsetenv("GIT_WORK_TREE");
	unsetenv("GIT_INDEX_FILE");
	shell(fixture, "rm -f \"$HOME/.gitconfig\"; git init -q -b main repo");
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct fixture *fixture = *state;
	unsetenv("GIT_DIR");
	unsetenv("GIT_WORK_TREE");
	unsetenv("GIT_INDEX_FILE");
	if (fs_remove_tree(fixture->root.data, &err) < 0)
		fail_with(&err);
	buf_release(&fixture->root);
	free(fixture->repo);
	free(fixture);
	return 0;
}

static struct git_repo *open_repo(const char *dir)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct git_repo *repo;
	if (git_open(dir, &repo, &err) < 0)
		fail_with(&err);
	assert_non_null(repo);
	return repo;
}

static void test_no_repository(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct git_repo *repo;
	assert_int_equal(git_open(fixture->root.data, &repo, &err), 0);
	assert_null(repo);
	git_close(NULL);
}

/* What git's files say, and libgit2, of the same repository. */
static void test_head_without_libgit2(void **state)
{
	struct fixture *fixture = *state;
	static const struct { const char *script, *dir; bool known; } cases[] = {
		{ "true", "repo", true }, /* no commit */
		{ "cd repo; git commit -q --allow-empty -m 1", "repo", true },
		{ "mkdir -p repo/deep/er", "repo/deep/er", true },
		{ "cd repo; git checkout -q -b a/b; git commit -q --allow-empty -m 2; git branch other; git tag -am t t", "repo", true },
		{ "cd repo; git pack-refs --all; git commit -q --allow-empty -m 3", "repo", true },
		{ "cd repo; git checkout -q -b b; git pack-refs --all", "repo", true },
		{ "cd repo; git checkout -q --detach", "repo", true },
		{ "cd repo; git worktree add -q ../tree main", "tree", true },
		{ "cd repo; git worktree add -q --detach ../tree2; cd ../tree2; git commit -q --allow-empty -m 4", "tree2", true },
		{ "git clone -q repo clone; cd clone; git -c protocol.file.allow=always submodule --quiet add ../repo sub; git commit -qm 5", "clone/sub", true },
		{ "cd repo; git symbolic-ref refs/heads/alias refs/heads/main; git symbolic-ref HEAD refs/heads/alias", "repo", false },
		{ "cd repo; git checkout -q b; cp .git/HEAD .git/H; ln -sf H .git/HEAD", "repo", false },
		{ "cd repo; rm .git/HEAD; cp .git/H .git/HEAD; mkdir -p ../empty/.git", "empty", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct buf sha CLEANUP(buf_release) = BUF_INIT, branch CLEANUP(buf_release) = BUF_INIT;
		struct buf sha2 CLEANUP(buf_release) = BUF_INIT, branch2 CLEANUP(buf_release) = BUF_INIT;
		struct git_repo *repo CLEANUP(git_close_ptr) = NULL;
		OWNED char *dir = path_joined(fixture->root.data, cases[i].dir);
		bool known;
		shell(fixture, cases[i].script);
		git_head_read(dir, &sha, &branch, &known);
		if (known != cases[i].known)
			fail_msg("%s: known %d", cases[i].script, known);
		if (!known) {
			assert_int_equal(sha.len + branch.len, 0);
			continue;
		}
		assert_int_equal(git_open(dir, &repo, &err), 0);
		assert_non_null(repo);
		assert_int_equal(git_head_commit(repo, &sha2, &err), 0);
		assert_int_equal(git_head_branch(repo, &branch2, &err), 0);
		assert_string_equal(sha.data, sha2.data);
		assert_string_equal(branch.data, branch2.data);
	}
	struct buf sha CLEANUP(buf_release) = BUF_INIT, branch CLEANUP(buf_release) = BUF_INIT;
	bool known;
	git_head_read(fixture->root.data, &sha, &branch, &known);
	assert_true(known && !sha.len && !branch.len); /* no repository */
	setenv("GIT_DIR", "repo/.git", 1);
	git_head_read(fixture->repo, &sha, &branch, &known);
	assert_false(known);
	unsetenv("GIT_DIR");
}

static void test_unborn_branch(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	shell(fixture, "cd repo; echo a >a; git add a");
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	assert_string_equal(git_top(repo), fixture->repo);
	assert_int_equal(git_head_commit(repo, &text, &err), 0);
	assert_string_equal(text.data, "");
	assert_int_equal(git_head_branch(repo, &text, &err), 0);
	assert_string_equal(text.data, "main");
	struct strlist staged = { 0 };
	assert_int_equal(git_staged_paths(repo, &staged, &err), 0);
	assert_int_equal(staged.len, 1);
	assert_string_equal(staged.at[0], "a");
	strlist_release(&staged);
}

static void test_head(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	shell(fixture, "cd repo; git commit -q --allow-empty -m one; git rev-parse HEAD >../head; git checkout -q --detach");
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	assert_int_equal(git_head_branch(repo, &text, &err), 0);
	assert_string_equal(text.data, "");
	assert_int_equal(git_head_commit(repo, &text, &err), 0);
	OWNED char *path = path_joined(fixture->root.data, "head");
	struct buf expected CLEANUP(buf_release) = BUF_INIT;
	assert_int_equal(fs_read_file(path, 100, &expected, &err), 0);
	buf_truncate(&expected, 40);
	assert_string_equal(text.data, expected.data);
}

static void test_index_entries(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	shell(fixture, "cd repo; mkdir d; echo body >'d/a b'; printf x >'n\n'; echo '#!/bin/sh' >run; chmod +x run; ln -s run link;"
		       "git add .; echo later >later; git add -N later");
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	struct git_entries entries CLEANUP(git_entries_release) = { 0 };
	assert_int_equal(git_entries_read(repo, &entries, &err), 0);
	assert_int_equal(entries.len, 4); /* not `later` */
	assert_string_equal(entries.at[0].path, "d/a b");
	assert_int_equal(entries.at[0].mode, 0100644);
	assert_string_equal(entries.at[1].path, "link");
	assert_int_equal(entries.at[1].mode, 0120000);
	assert_string_equal(entries.at[2].path, "n\n");
	assert_int_equal(entries.at[3].mode, 0100755);
	struct buf blob CLEANUP(buf_release) = BUF_INIT;
	assert_int_equal(git_blob_read(repo, entries.at[0].oid, 100, &blob, &err), 0);
	assert_string_equal(blob.data, "body\n");
	assert_int_equal(git_blob_read(repo, entries.at[0].oid, 4, &blob, &err), -1);
	assert_int_equal(git_blob_read(repo, "0123456789012345678901234567890123456789", 4, &blob, &err), -1);
}

static void test_staged_paths(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	shell(fixture, "cd repo; echo 1 >gone; echo 1 >kept; echo 1 >mode; echo 1 >edited; git add .; git commit -q -m one;"
		       "git rm -q gone; chmod +x mode; git add mode; echo 2 >edited; git add edited; echo 3 >kept; echo n >new; git add -N new");
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	struct strlist staged = { 0 };
	assert_int_equal(git_staged_paths(repo, &staged, &err), 0);
	assert_int_equal(staged.len, 3);
	assert_string_equal(staged.at[0], "edited");
	assert_string_equal(staged.at[1], "gone");
	assert_string_equal(staged.at[2], "mode");
	strlist_release(&staged);
}

static void test_conflict_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	shell(fixture, "cd repo; echo 0 >f; git add f; git commit -q -m zero; git checkout -q -b other; echo 1 >f; git commit -q -a -m one;"
		       "git checkout -q main; echo 2 >f; git commit -q -a -m two; ! git merge -q other >/dev/null");
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	struct git_entries entries CLEANUP(git_entries_release) = { 0 };
	assert_int_equal(git_entries_read(repo, &entries, &err), -1);
	assert_non_null(strstr(err.message, "f is in conflict"));
	assert_non_null(err.hint);
}

static void test_ignored_and_tracked(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	shell(fixture, "cd repo; printf '*.log\\n/out/\\n' >.gitignore; mkdir -p out d/e; echo >d/e/f; git add d .gitignore");
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	static const struct {
		const char *path;
		bool ignored, tracked;
	} cases[] = {
		{ "x.log", true, false },  { "deep/x.log", true, false }, { "out/model.bin", true, false },
		{ "d", false, true },      { "d/e", false, true },	  { "d/e/f", false, true },
		{ "d/e/g", false, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		bool got;
		assert_int_equal(git_is_ignored(repo, cases[i].path, &got, &err), 0);
		assert_int_equal(got, cases[i].ignored);
		assert_int_equal(git_is_tracked(repo, cases[i].path, &got, &err), 0);
		assert_int_equal(got, cases[i].tracked);
	}
}

static void test_stage(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	shell(fixture, "cd repo; echo '*.ign' >.gitignore; echo 1 >gone; mkdir d; echo 1 >d/one; echo 2 >d/two.ign; git add .;"
		       "git commit -q -m one; rm gone; echo x >new.ign; echo 2 >d/one");
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	const char *paths[] = { "new.ign", "gone", "d", "never-was" };
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (git_stage(repo, paths[i], &err) < 0)
			fail_with(&err);
	}
	shell(fixture, "cd repo; test \"$(git diff --cached --name-status | tr '\\t\\n' ' ,')\" = 'M d/one,D gone,A new.ign,'");
	/* What git stages meanwhile is not undone. */
	shell(fixture, "cd repo; echo y >other; git add other; echo z >third");
	assert_int_equal(git_stage(repo, "third", &err), 0);
	shell(fixture, "cd repo; git ls-files --error-unmatch other third");
}

static void test_index_of_the_environment(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	shell(fixture, "cd repo; echo 1 >a; git add a; git commit -q -m one; cp .git/index .git/other; echo 2 >b;"
		       "GIT_INDEX_FILE=.git/other git add b");
	setenv("GIT_INDEX_FILE", ".git/other", 1);
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	struct strlist staged = { 0 };
	assert_int_equal(git_staged_paths(repo, &staged, &err), 0);
	assert_int_equal(staged.len, 1);
	assert_string_equal(staged.at[0], "b");
	strlist_release(&staged);
	assert_int_equal(git_stage(repo, "a", &err), -1);
	assert_non_null(err.hint);
	setenv("GIT_INDEX_FILE", ".git/index", 1); /* what git commit sets for its hooks */
	struct git_repo *own CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	assert_int_equal(git_stage(own, "a", &err), 0);
}

static void expect_hooks(struct git_repo *repo, const char *root, const char *below)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	OWNED char *expected = path_joined(root, below);
	if (git_hooks_dir(repo, &dir, &err) < 0)
		fail_with(&err);
	assert_string_equal(dir.data, expected);
}

static void test_linked_worktree(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	shell(fixture, "cd repo; git commit -q --allow-empty -m one; git worktree add -q ../linked -b side; cd ../linked; echo 1 >a; git add a");
	OWNED char *linked = path_joined(fixture->root.data, "linked");
	OWNED char *git_dir = path_joined(fixture->repo, ".git/worktrees/linked");
	setenv("GIT_DIR", git_dir, 1); /* as git does for hooks there */
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(linked);
	assert_string_equal(git_top(repo), linked);
	expect_hooks(repo, fixture->repo, ".git/hooks");
	struct strlist staged = { 0 };
	assert_int_equal(git_staged_paths(repo, &staged, &err), 0);
	assert_int_equal(staged.len, 1);
	strlist_release(&staged);
	struct buf branch CLEANUP(buf_release) = BUF_INIT;
	assert_int_equal(git_head_branch(repo, &branch, &err), 0);
	assert_string_equal(branch.data, "side");
}

static void test_hooks_path(void **state)
{
	struct fixture *fixture = *state;
	shell(fixture, "cd repo; git config core.hooksPath .githooks");
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	expect_hooks(repo, fixture->repo, ".githooks");
	shell(fixture, "cd repo; git config core.hooksPath '~/hooks'");
	struct git_repo *again CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	expect_hooks(again, getenv("HOME"), "hooks");
}

static void test_git_dir_elsewhere(void **state)
{
	struct fixture *fixture = *state;
	shell(fixture, "mkdir files; mv repo/.git meta");
	OWNED char *meta = path_joined(fixture->root.data, "meta");
	OWNED char *files = path_joined(fixture->root.data, "files");
	setenv("GIT_DIR", meta, 1);
	setenv("GIT_WORK_TREE", files, 1);
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(files);
	assert_string_equal(git_top(repo), files);
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct git_repo *none;
	assert_int_equal(git_open(fixture->root.data, &none, &err), 0);
	assert_null(none);
}

static void test_settings_libgit2_must_be_told_of(void **state)
{
	struct fixture *fixture = *state;
	shell(fixture, "cd repo; git config core.repositoryFormatVersion 1; git config extensions.worktreeConfig true;"
		       "git config extensions.partialClone origin");
	git_close(open_repo(fixture->repo));
}

static void test_split_index_has_a_hint(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	shell(fixture, "cd repo; echo a >a; git add a; git update-index --split-index");
	struct git_repo *repo CLEANUP(git_close_ptr) = open_repo(fixture->repo);
	struct git_entries entries CLEANUP(git_entries_release) = { 0 };
	assert_int_equal(git_entries_read(repo, &entries, &err), -1);
	assert_non_null(err.hint);
	assert_non_null(strstr(err.hint, "--no-split-index"));
}

static void test_owner(void **state)
{
	struct fixture *fixture = *state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (geteuid() != 0)
		skip();
	shell(fixture, "chown -R 12345 repo");
	struct git_repo *repo;
	assert_int_equal(git_open(fixture->repo, &repo, &err), -1);
	assert_non_null(strstr(err.hint, "safe.directory"));
	shell(fixture, "git config --global safe.directory '*'");
	git_close(open_repo(fixture->repo));
	shell(fixture, "git config --global safe.directory /somewhere/else");
	assert_int_equal(git_open(fixture->repo, &repo, &err), -1);
	shell(fixture, "git config --global --add safe.directory \"$PWD/repo\"");
	git_close(open_repo(fixture->repo));
}

/* libgit2 1.5 does not free what it matches names of extensions with. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libpcre2-8\n";
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_no_repository),
		TEST(test_head_without_libgit2), TEST(test_unborn_branch),
		TEST(test_head),
		TEST(test_index_entries),
		TEST(test_staged_paths),
		TEST(test_conflict_is_an_error),
		TEST(test_ignored_and_tracked),
		TEST(test_stage),
		TEST(test_index_of_the_environment),
		TEST(test_linked_worktree),
		TEST(test_hooks_path),
		TEST(test_git_dir_elsewhere),
		TEST(test_settings_libgit2_must_be_told_of),
		TEST(test_split_index_has_a_hint),
		TEST(test_owner),
	};
	return cmocka_run_group_tests(tests, setup_home, remove_home);
}
