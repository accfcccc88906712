#include "unit/scratch.h"

#include "store/codec.h"
#include "store/snapshot.h"
#include "store/state.h"

#include <errno.h>
#include <sys/wait.h>

struct setting {
	struct scratch *s;
	struct buf question, answer;
	char *place; /* of the snapshot; NULL until one was kept */
};

static void commit(struct scratch *s, const char *name)
{
	struct state *state;
	OK(state_open(s->root.data, &state, &s->err));
	OK(state_put(state, STATE_RESULTS, name, "x", 2, &s->err));
	OK(state_flush(state, &s->err));
	state_close(state);
}

/* What a run looks at: two files, one that is absent, a directory, a variable. */
static void look_around(struct scratch *s)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	char *a OWNED = path_joined(s->root.data, "in/a"), *b OWNED = path_joined(s->root.data, "in/b");
	char *absent OWNED = path_joined(s->root.data, "in/absent"), *dir OWNED = path_joined(s->root.data, "in");
	OK(fs_read_file(a, 100, &text, &s->err));
	assert_true(fs_exists(b));
	assert_false(fs_exists(absent));
	assert_true(fs_is_dir(dir));
	sys.getenv("SNAPSHOT_TEST");
}

/* Why nothing was kept, or NULL. */
static const char *end(struct snapshot *snapshot, const struct setting *set, uint64_t seen)
{
	const char *why_not;
	snapshot_keep(snapshot, SNAPSHOT_RUNS, &set->question, &set->answer, seen, &why_not);
	snapshot_end(snapshot);
	return why_not;
}

static const char *keep(struct setting *set)
{
	struct scratch *s = set->s;
	struct state *state;
	const void *bytes;
	size_t len;
	struct snapshot *snapshot = snapshot_begin(s->root.data, false);
	look_around(s);
	OK(state_open(s->root.data, &state, &s->err));
	state_get(state, STATE_RESULTS, "x", &bytes, &len);
	uint64_t seen = state_seen(state);
	state_close(state);
	return end(snapshot, set, seen);
}

static bool holds(struct setting *set)
{
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	uint64_t files;
	if (!snapshot_ask(set->s->root.data, SNAPSHOT_RUNS, &set->question, &answer, &files, NULL))
		return false;
	assert_string_equal(answer.data, set->answer.data);
	assert_int_equal(files, 4);
	return true;
}

static int find_snapshot(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct setting *set = ctx;
	(void)err;
	free(set->place);
	set->place = mem_strdup(entry->path);
	return 0;
}

/* A snapshot that holds. */
static void prepare(struct setting *set, struct scratch *s)
{
	char *dir OWNED = path_joined(s->root.data, ".mlmake/snapshots");
	char *clock OWNED = path_joined(s->root.data, ".mlmake/clock");
	*set = (struct setting){ .s = s, .question = BUF_INIT, .answer = BUF_INIT };
	buf_addstr(&set->question, "anything?");
	buf_addstr(&set->answer, "nothing");
	setenv("SNAPSHOT_TEST", "one", 1);
	scratch_write(s, "in/a", "alpha");
	scratch_write(s, "in/b", "beta");
	commit(s, "x");
	OK(fs_write_file(clock, "", 0, 0644, FS_VOLATILE, &s->err));
	scratch_tick(s);
	assert_null(keep(set));
	OK(fs_walk(dir, find_snapshot, set, &s->err));
	assert_non_null(set->place);
	assert_true(holds(set));
}

static void release(struct setting *set)
{
	buf_release(&set->question);
	buf_release(&set->answer);
	free(set->place);
}

static void whatever_changes_makes_it_void(void **ctx)
{
	struct setting set CLEANUP(release);
	struct scratch *s = *ctx;
	prepare(&set, s);

	scratch_write(s, "in/absent", "");
	assert_false(holds(&set));
	scratch_remove(s, "in/absent");
	assert_false(holds(&set)); /* the directory is another */
	scratch_tick(s);
	assert_null(keep(&set));
	assert_true(holds(&set));

	/* The same bytes, size and mtime: ctime tells. */
	char *path OWNED = path_joined(s->root.data, "in/a");
	struct stat st;
	assert_int_equal(sys.fstatat(AT_FDCWD, path, &st, 0), 0);
	int fd = sys.openat(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
	assert_int_equal(sys.pwrite(fd, "alphA", 5, 0), 5);
	assert_int_equal(futimens(fd, (struct timespec[]){ st.st_atim, st.st_mtim }), 0);
	sys.close(fd);
	assert_false(holds(&set));
	scratch_tick(s);
	assert_null(keep(&set));
	assert_true(holds(&set));

	setenv("SNAPSHOT_TEST", "two", 1);
	assert_false(holds(&set));
	unsetenv("SNAPSHOT_TEST");
	assert_false(holds(&set));
	setenv("SNAPSHOT_TEST", "one", 1);
	assert_true(holds(&set));

	buf_addstr(&set.question, " else");
	assert_false(holds(&set));
	buf_setstr(&set.question, "anything?");
	assert_true(holds(&set));

	commit(s, "y");
	assert_false(holds(&set));
}

static void what_does_not_lie_still_is_not_kept(void **ctx)
{
	struct setting set CLEANUP(release);
	struct scratch *s = *ctx;
	prepare(&set, s);
	/* In the tick of the clock, or after it: how often it strikes is chance, that it is never believed is not. */
	for (int i = 0; i < 200; i++) {
		char text[16];
		snprintf(text, sizeof(text), "%05d", i);
		scratch_write(s, "in/a", text);
		if (i % 3 == 0)
			scratch_tick(s);
		const char *why_not = keep(&set);
		snprintf(text, sizeof(text), "%05d", i + 1000);
		char *path OWNED = path_joined(s->root.data, "in/a");
		int fd = sys.openat(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
		assert_int_equal(sys.pwrite(fd, text, 5, 0), 5);
		sys.close(fd);
		assert_false(holds(&set));
		if (i % 3 == 0)
			assert_null(why_not);
	}
}

/* A kernel with fine time stamps hides what the test above is for; a file from the future is too new for any. */
static void what_is_too_new_is_not_kept(void **ctx)
{
	struct setting set CLEANUP(release);
	struct scratch *s = *ctx;
	prepare(&set, s);
	char *path OWNED = path_joined(s->root.data, "in/a");
	struct timespec later[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = time(NULL) + 3600 } };
	int fd = sys.openat(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
	assert_int_equal(futimens(fd, later), 0);
	scratch_tick(s);
	assert_string_equal(keep(&set), "a file is too new");
	/* mtime set back: its ctime is what is new, until the clock moves on. */
	later[1].tv_sec = 1;
	struct snapshot *snapshot = snapshot_begin(s->root.data, false);
	assert_int_equal(futimens(fd, later), 0);
	sys.close(fd);
	look_around(s);
	const char *why_not;
	why_not = end(snapshot, &set, 1);
	assert_string_equal(why_not, "a file is too new");
	scratch_tick(s);
	assert_null(keep(&set));
}

/* Behind the witness's back, as another process would. */
static void two_answers_to_one_question_are_none(void **ctx)
{
	struct setting set CLEANUP(release);
	struct scratch *s = *ctx;
	const char *why_not;
	prepare(&set, s);
	char *path OWNED = path_joined(s->root.data, "in/b");
	struct snapshot *snapshot = snapshot_begin(s->root.data, false);
	assert_true(fs_exists(path));
	assert_int_equal(unlink(path), 0);
	assert_false(fs_exists(path));
	why_not = end(snapshot, &set, 1);
	assert_string_equal(why_not, "a file changed meanwhile");
}

static void no_snapshot_without_a_whole_view(void **ctx)
{
	struct setting set CLEANUP(release);
	struct scratch *s = *ctx;
	const char *why_not;
	prepare(&set, s);
	scratch_remove(s, ".mlmake/snapshots");
	struct snapshot *snapshot = snapshot_begin(s->root.data, false);
	why_not = end(snapshot, &set, 0);
	assert_string_equal(why_not, "another process wrote to the state database");
	snapshot = snapshot_begin(s->root.data, false);
	sys.unseen("a test");
	why_not = end(snapshot, &set, 1);
	assert_string_equal(why_not, "a test");
	snapshot = snapshot_begin(s->root.data, false);
	look_around(s);
	char *path OWNED = path_joined(s->root.data, "in/b");
	assert_int_equal(sys.fchmodat(AT_FDCWD, path, 0600, 0), 0);
	why_not = end(snapshot, &set, 1);
	assert_string_equal(why_not, "something was written");
	why_not = end(snapshot_begin("/nowhere", false), &set, 1);
	assert_non_null(why_not);
	assert_false(holds(&set));
}

static int (*real_fstatat)(int dir, const char *path, struct stat *ret, int flags);
static bool denies;

static int denying_fstatat(int dir, const char *path, struct stat *ret, int flags)
{
	size_t len = strlen(path);
	if (denies && len >= 6 && strcmp(path + len - 6, "denied") == 0) {
		errno = EACCES;
		return -1;
	}
	return real_fstatat(dir, path, ret, flags);
}

/* A directory in PATH that one may not enter is no reason for the long way; that one may, later, is. */
static void a_denied_permission_is_an_answer(void **ctx)
{
	struct setting set CLEANUP(release);
	struct scratch *s = *ctx;
	const char *why_not;
	uint64_t files;
	prepare(&set, s);
	char *dir OWNED = path_joined(s->root.data, ".mlmake");
	real_fstatat = sys.fstatat;
	sys.fstatat = denying_fstatat;
	for (int crowded = 0; crowded < 2; crowded++) {
		struct buf answer CLEANUP(buf_release) = BUF_INIT;
		char *path OWNED = path_joined(s->root.data, crowded ? "in/denied" : "alone/denied");
		denies = true;
		struct snapshot *snapshot = snapshot_begin(s->root.data, false);
		if (crowded)
			look_around(s);
		assert_false(fs_exists(path));
		why_not = end(snapshot, &set, state_last(dir));
		assert_null(why_not);
		assert_true(snapshot_ask(s->root.data, SNAPSHOT_RUNS, &set.question, &answer, &files, NULL));
		denies = false;
		assert_false(snapshot_ask(s->root.data, SNAPSHOT_RUNS, &set.question, &answer, &files, NULL));
		scratch_write(s, crowded ? "in/denied" : "alone/denied", "");
		assert_false(snapshot_ask(s->root.data, SNAPSHOT_RUNS, &set.question, &answer, &files, NULL));
	}
	sys.fstatat = real_fstatat;
}

/* Two transactions within one view are none. */
static void state_tells_of_other_writers(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	const void *bytes;
	size_t len;
	commit(s, "x");
	char *dir OWNED = path_joined(s->root.data, ".mlmake");
	uint64_t last = state_last(dir);
	assert_int_not_equal(last, 0);
	OK(state_open(s->root.data, &state, &s->err));
	assert_true(state_get(state, STATE_RESULTS, "x", &bytes, &len));
	assert_int_equal(state_seen(state), last);
	OK(state_put(state, STATE_RESULTS, "z", "x", 2, &s->err));
	OK(state_flush(state, &s->err));
	assert_int_equal(state_seen(state), last + 1);
	state_refresh(state);
	pid_t pid = fork();
	if (pid == 0) {
		char self[] = "other";
		char *const argv[] = { self, s->root.data, NULL };
		execv("/proc/self/exe", argv);
		_exit(1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	state_get(state, STATE_RESULTS, "x", &bytes, &len);
	assert_int_equal(state_seen(state), 0);
	state_close(state);
	assert_int_equal(state_last(dir), last + 2);
	assert_int_equal(state_last("/nowhere"), 0);
}

static void write_snapshot(struct setting *set, const struct buf *bytes)
{
	struct scratch *s = set->s;
	OK(fs_write_file(set->place, bytes->data, bytes->len, 0644, FS_VOLATILE, &s->err));
}

static void mend_checksum(struct buf *bytes)
{
	struct buf sum CLEANUP(buf_release) = BUF_INIT;
	codec_add_u64(&sum, codec_checksum(bytes->data + 16, bytes->len - 16));
	memcpy(bytes->data + 8, sum.data, 8);
}

static void a_damaged_one_is_none(void **ctx)
{
	struct setting set CLEANUP(release);
	struct buf good CLEANUP(buf_release) = BUF_INIT;
	struct buf bad CLEANUP(buf_release) = BUF_INIT;
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	struct scratch *s = *ctx;
	uint64_t files;
	prepare(&set, s);
	OK(fs_read_file(set.place, 1 << 20, &good, &s->err));
	for (size_t len = 0; len < good.len; len++) {
		buf_reset(&bad);
		buf_add(&bad, good.data, len);
		write_snapshot(&set, &bad);
		assert_false(holds(&set));
		if (len < 16)
			continue;
		mend_checksum(&bad);
		write_snapshot(&set, &bad);
		assert_false(holds(&set));
	}
	for (size_t i = 0; i < good.len; i++) {
		buf_reset(&bad);
		buf_add(&bad, good.data, good.len);
		bad.data[i] = (char)(bad.data[i] ^ (1 << (i % 8)));
		write_snapshot(&set, &bad);
		assert_false(holds(&set));
		/* With a checksum that fits it may say anything, but must be read within its bounds. */
		if (i < 16)
			continue;
		mend_checksum(&bad);
		write_snapshot(&set, &bad);
		buf_reset(&answer);
		bool taken = snapshot_ask(s->root.data, SNAPSHOT_RUNS, &set.question, &answer, &files, NULL);
		/* magic, version, boot, transaction and question are never forgiven */
		if (i < 32 + 4 + set.question.len)
			assert_false(taken);
	}
	buf_reset(&bad);
	buf_add(&bad, good.data, good.len);
	bad.data[4]++; /* the version */
	mend_checksum(&bad);
	write_snapshot(&set, &bad);
	assert_false(holds(&set));
	write_snapshot(&set, &good);
	assert_true(holds(&set));
}

static bool graph_holds(const struct setting *set)
{
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	uint64_t files;
	return snapshot_ask(set->s->root.data, SNAPSHOT_GRAPHS, &set->question, &answer, &files, NULL);
}

/* An answer that rests on no record outlives one; found within another, it is vouched for by both. */
static void a_graph_within_a_run(void **ctx)
{
	struct setting set CLEANUP(release);
	struct scratch *s = *ctx;
	const char *why_not;
	prepare(&set, s);
	char *dir OWNED = path_joined(s->root.data, ".mlmake");
	char *late OWNED = path_joined(s->root.data, "late");
	struct snapshot *outer = snapshot_begin(s->root.data, false), *inner = snapshot_begin(s->root.data, false);
	assert_null(snapshot_begin("/elsewhere", true));
	look_around(s);
	snapshot_keep(inner, SNAPSHOT_GRAPHS, &set.question, &set.answer, 0, &why_not);
	assert_null(why_not);
	snapshot_end(inner);
	assert_false(fs_exists(late));
	assert_null(end(outer, &set, state_last(dir)));
	assert_true(graph_holds(&set));
	scratch_write(s, "late", "");
	assert_true(graph_holds(&set));
	assert_false(holds(&set));
	scratch_remove(s, "late");
	commit(s, "y");
	assert_true(graph_holds(&set));

	/* What was looked at to see that the graph holds counts for the run that took it. */
	outer = snapshot_begin(s->root.data, false);
	inner = snapshot_begin(s->root.data, false);
	assert_true(graph_holds(&set));
	snapshot_end(inner);
	assert_null(end(outer, &set, state_last(dir)));
	assert_true(holds(&set));
	scratch_write(s, "in/a", "other");
	assert_false(graph_holds(&set));
	assert_false(holds(&set));
}

static void only_where_mlmake_may_write(void **ctx)
{
	struct scratch *s = *ctx;
	char *dir OWNED = path_joined(s->root.data, ".mlmake");
	assert_null(snapshot_begin(s->root.data, false));
	assert_false(fs_exists(dir));
	struct snapshot *snapshot = snapshot_begin(s->root.data, true);
	assert_non_null(snapshot);
	snapshot_end(snapshot);
	assert_true(fs_is_dir(dir));
}

/* More than one block of one directory, over several threads. */
static void many_files(void **ctx)
{
	struct setting set CLEANUP(release);
	struct scratch *s = *ctx;
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	const char *why_not;
	uint64_t files;
	char name[32];
	prepare(&set, s);
	buf_addstr(&set.question, " of many");
	struct snapshot *snapshot = snapshot_begin(s->root.data, false);
	for (int i = 0; i < 6000; i++) {
		snprintf(name, sizeof(name), "in/none-%d", i);
		char *path OWNED = path_joined(s->root.data, name);
		assert_false(fs_exists(path));
	}
	why_not = end(snapshot, &set, 1);
	assert_null(why_not);
	char *dir OWNED = path_joined(s->root.data, ".mlmake");
	/* The transaction was made up; with the true one it holds. */
	assert_false(snapshot_ask(s->root.data, SNAPSHOT_RUNS, &set.question, &answer, &files, NULL));
	snapshot = snapshot_begin(s->root.data, false);
	for (int i = 0; i < 6000; i++) {
		snprintf(name, sizeof(name), "in/none-%d", i);
		char *path OWNED = path_joined(s->root.data, name);
		assert_false(fs_exists(path));
	}
	why_not = end(snapshot, &set, state_last(dir));
	assert_null(why_not);
	assert_true(snapshot_ask(s->root.data, SNAPSHOT_RUNS, &set.question, &answer, &files, NULL));
	assert_int_equal(files, 6000);
	scratch_write(s, "in/none-5999", "");
	assert_false(snapshot_ask(s->root.data, SNAPSHOT_RUNS, &set.question, &answer, &files, NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(int argc, char **argv)
{
	/* The other process of state_tells_of_other_writers. */
	if (argc == 2) {
		struct scratch s = { .root = BUF_INIT };
		buf_addstr(&s.root, argv[1]);
		commit(&s, "from another process");
		buf_release(&s.root);
		return 0;
	}
	const struct CMUnitTest tests[] = {
		TEST(whatever_changes_makes_it_void), TEST(what_does_not_lie_still_is_not_kept),
		TEST(what_is_too_new_is_not_kept), TEST(a_graph_within_a_run), TEST(only_where_mlmake_may_write), TEST(two_answers_to_one_question_are_none), TEST(no_snapshot_without_a_whole_view),
		TEST(a_denied_permission_is_an_answer), TEST(state_tells_of_other_writers), TEST(a_damaged_one_is_none), TEST(many_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
