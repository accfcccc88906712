#include "unit/scratch.h"

#include "store/codec.h"
#include "store/state.h"

#include <errno.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/wait.h>

static void put(struct scratch *s, struct state *state, const char *name, const char *text)
{
	OK(state_put(state, STATE_RESULTS, name, text, strlen(text) + 1, &s->err));
}

static const char *get(struct state *state, const char *name)
{
	const void *bytes;
	size_t len;
	return state_get(state, STATE_RESULTS, name, &bytes, &len) ? bytes : NULL;
}

static void records_survive_a_reopening(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	OK(state_open(s->root.data, &state, &s->err));
	assert_int_equal(state_notices(state)->len, 0);
	put(s, state, "train", "one");
	assert_string_equal(get(state, "train"), "one");
	put(s, state, "train", "two");
	assert_string_equal(get(state, "train"), "two");
	state_close(state);
	OK(state_open(s->root.data, &state, &s->err));
	assert_string_equal(get(state, "train"), "two");
	assert_null(get(state, "test"));
	state_close(state);
	char *ignore = scratch_read(s, ".mlmake/.gitignore");
	assert_string_equal(ignore, "*\n");
	free(ignore);
}

static void writes_go_out_in_groups(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	OK(state_open(s->root.data, &state, &s->err));
	for (int i = 0; i < STATE_GROUP - 1; i++) {
		char name[16];
		snprintf(name, sizeof(name), "x%d", i);
		put(s, state, name, "y");
		put(s, state, name, name); /* in place of the first */
	}
	assert_int_equal(state_pending(state), STATE_GROUP - 1);
	assert_string_equal(get(state, "x0"), "x0");
	assert_string_equal(get(state, "x700"), "x700");
	put(s, state, "x", "z");
	assert_int_equal(state_pending(state), 0);
	assert_string_equal(get(state, "x"), "z");
	assert_string_equal(get(state, "x998"), "x998");
	state_close(state);
}

static void opening_twice_gives_the_same(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *a, *b;
	OK(state_open(s->root.data, &a, &s->err));
	OK(state_open(s->root.data, &b, &s->err));
	assert_ptr_equal(a, b);
	state_close(a);
	put(s, b, "still", "open");
	state_close(b);
}

static void the_map_grows(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	size_t len = 24 << 20;
	char *big = mem_alloc(len);
	OK(state_open(s->root.data, &state, &s->err));
	for (int i = 0; i < 6; i++) {
		char name[16];
		snprintf(name, sizeof(name), "big%d", i);
		OK(state_put(state, STATE_RESULTS, name, big, len, &s->err));
		OK(state_flush(state, &s->err));
	}
	const void *bytes;
	size_t got;
	assert_true(state_get(state, STATE_RESULTS, "big5", &bytes, &got));
	assert_int_equal(got, len);
	state_close(state);
	free(big);
}

static void another_process_may_grow_it(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	int go[2], done[2];
	assert_int_equal(pipe(go) | pipe(done), 0);
	pid_t child = fork();
	if (child == 0) {
		char c;
		size_t len = 90 << 20;
		char *big = mem_alloc(len);
		if (read(go[0], &c, 1) != 1 || state_open(s->root.data, &state, &s->err) < 0 ||
		    state_put(state, STATE_RESULTS, "big", big, len, &s->err) < 0 || state_flush(state, &s->err) < 0)
			_exit(1);
		_exit(write(done[1], "x", 1) == 1 ? 0 : 1);
	}
	OK(state_open(s->root.data, &state, &s->err));
	put(s, state, "mine", "before");
	OK(state_flush(state, &s->err));
	char c;
	int status;
	assert_int_equal(write(go[1], "x", 1), 1);
	close(done[1]);
	assert_int_equal(read(done[0], &c, 1), 1);
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	state_refresh(state);
	const void *bytes;
	size_t len;
	assert_true(state_get(state, STATE_RESULTS, "big", &bytes, &len));
	put(s, state, "mine", "after");
	OK(state_flush(state, &s->err));
	assert_string_equal(get(state, "mine"), "after");
	state_close(state);
	close(go[0]), close(go[1]), close(done[0]);
}

static void expect_rebuilt(struct scratch *s, const char *word)
{
	struct state *state;
	OK(state_open(s->root.data, &state, &s->err));
	assert_int_equal(state_notices(state)->len, 1);
	assert_non_null(strstr(state_notices(state)->at[0], word));
	assert_null(get(state, "train"));
	put(s, state, "train", "again");
	state_told(state);
	state_close(state);
	OK(state_open(s->root.data, &state, &s->err));
	assert_int_equal(state_notices(state)->len, 0);
	assert_string_equal(get(state, "train"), "again");
	state_close(state);
}

static void damage_is_set_aside(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	OK(state_open(s->root.data, &state, &s->err));
	for (int i = 0; i < 500; i++)
		put(s, state, i ? "train" : "x", "one");
	state_close(state);
	scratch_write(s, ".mlmake/state/data.mdb", "this is no database, although it is of some length, and says so");
	expect_rebuilt(s, "damaged");
	char *path = path_joined(s->root.data, ".mlmake/state/data.mdb");
	int fd = sys.openat(AT_FDCWD, path, O_RDWR, 0);
	assert_int_equal(sys.ftruncate(fd, 2 * 4096), 0);
	sys.close(fd);
	free(path);
	expect_rebuilt(s, "damaged");
}

/* One sets it aside; the others open it before that, meanwhile and after, and find the same new one. */
static void many_find_it_damaged(void **ctx)
{
	enum { MANY = 6, ROUNDS = 25 };
	struct scratch *s = *ctx;
	struct state *state;
	static const char *const names[MANY] = { "a", "b", "c", "d", "e", "f" };
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pids[MANY];
		scratch_write(s, ".mlmake/state/data.mdb", "this is no database");
		for (int i = 0; i < MANY; i++) {
			pids[i] = fork();
			assert_true(pids[i] >= 0);
			if (pids[i])
				continue;
			if (state_open(s->root.data, &state, &s->err) < 0) {
				fprintf(stderr, "# %s\n", s->err.message);
				_exit(1);
			}
			put(s, state, names[i], "was here");
			state_close(state);
			_exit(0);
		}
		for (int i = 0; i < MANY; i++) {
			int status;
			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
			assert_int_equal(status, 0);
		}
		OK(state_open(s->root.data, &state, &s->err));
		for (int i = 0; i < MANY; i++)
			assert_non_null(get(state, names[i]));
		state_close(state);
	}
}

static int (*real_openat)(int, const char *, int, mode_t);
static struct scratch *opening; /* until its database is looked at */
static int turn_error;

static int openat_of_one_that_goes(int dir, const char *path, int flags, mode_t mode)
{
	int fd = real_openat(dir, path, flags, mode);
	if (opening && strstr(path, "/state/data.mdb")) {
		char *from = path_joined(opening->root.data, ".mlmake/state"), *to = path_joined(opening->root.data, ".mlmake/gone");
		char *above = path_joined(opening->root.data, ".mlmake");
		int other = real_openat(AT_FDCWD, above, O_RDONLY | O_CLOEXEC, 0);
		turn_error = flock(other, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
		close(other);
		assert_int_equal(rename(from, to), 0);
		free(from), free(to), free(above);
		opening = NULL;
	}
	return fd;
}

/* What another mlmake sets aside, or somebody removes, just when it is opened. */
static void one_that_goes_while_it_is_opened(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	OK(state_open(s->root.data, &state, &s->err));
	put(s, state, "train", "one");
	state_close(state);
	real_openat = sys.openat;
	sys.openat = openat_of_one_that_goes;
	opening = s;
	int failed = state_open(s->root.data, &state, &s->err);
	sys.openat = real_openat;
	OK(failed);
	assert_null(opening);
	assert_int_equal(turn_error, EWOULDBLOCK); /* a mlmake would have waited */
	assert_null(get(state, "train"));
	put(s, state, "train", "two");
	state_close(state);
	OK(state_open(s->root.data, &state, &s->err));
	assert_string_equal(get(state, "train"), "two");
	state_close(state);
}

static void a_newer_one_is_set_aside(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	struct buf version CLEANUP(buf_release) = BUF_INIT;
	OK(state_open(s->root.data, &state, &s->err));
	codec_add_u32(&version, 1000);
	put(s, state, "train", "future");
	OK(state_put(state, STATE_META, "version", version.data, version.len, &s->err));
	state_close(state);
	expect_rebuilt(s, "newer");
}

struct moved {
	MDB_val key, value;
	uint64_t old;
};

/* As version 1 had it: each record under the checksum of its whole name. */
static void make_old(struct scratch *s, const char *table_name)
{
	char *path OWNED = path_joined(s->root.data, ".mlmake/state");
	VEC(struct moved) all = { 0 };
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi table;
	MDB_cursor *cursor;
	MDB_val key, value;
	assert_int_equal(mdb_env_create(&env), 0);
	mdb_env_set_maxdbs(env, 16);
	mdb_env_set_mapsize(env, (size_t)64 << 20);
	assert_int_equal(mdb_env_open(env, path, 0, 0666), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, table_name, MDB_INTEGERKEY, &table), 0);
	assert_int_equal(mdb_cursor_open(txn, table, &cursor), 0);
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		struct codec_in in = codec_in(value.mv_data, value.mv_size);
		(void)codec_raw(&in, 16);
		const char *name = codec_str(&in);
		struct moved moved = { .key = { 8, mem_alloc(8) }, .value = { value.mv_size, mem_alloc(value.mv_size) } };
		moved.old = codec_checksum(name, strlen(name));
		memcpy(moved.key.mv_data, key.mv_data, 8);
		memcpy(moved.value.mv_data, value.mv_data, value.mv_size);
		vec_push(&all, moved);
	}
	mdb_cursor_close(cursor);
	for (size_t i = 0; i < all.len; i++) {
		MDB_val old = { 8, &all.at[i].old };
		assert_int_equal(mdb_del(txn, table, &all.at[i].key, NULL), 0);
		assert_int_equal(mdb_put(txn, table, &old, &all.at[i].value, 0), 0);
		free(all.at[i].key.mv_data);
		free(all.at[i].value.mv_data);
	}
	vec_release(&all);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static int count_one(void *ctx, const char *name, const void *bytes, size_t len, struct err *err)
{
	(void)name, (void)bytes, (void)len, (void)err;
	++*(int *)ctx;
	return 0;
}

static void an_older_one_is_brought_up_to_date(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	int count = 0;
	OK(state_open(s->root.data, &state, &s->err));
	for (int i = 0; i < 3000; i++) {
		char name[16];
		snprintf(name, sizeof(name), "t%d", i);
		put(s, state, name, name);
	}
	state_close(state);
	make_old(s, "results");
	make_old(s, "meta");
	OK(state_open(s->root.data, &state, &s->err));
	assert_int_equal(state_notices(state)->len, 0);
	assert_string_equal(get(state, "t0"), "t0");
	assert_string_equal(get(state, "t2999"), "t2999");
	put(s, state, "t7", "new");
	state_close(state);
	OK(state_open(s->root.data, &state, &s->err));
	OK(state_each(state, STATE_RESULTS, count_one, &count, &s->err));
	assert_int_equal(count, 3000);
	assert_string_equal(get(state, "t7"), "new");
	state_close(state);
}

/* What is run one after the other is written together. */
static void a_series_lies_together(void **ctx)
{
	(void)ctx;
	uint64_t least = UINT64_MAX, most = 0;
	for (int i = 0; i < 1000; i++) {
		char name[32];
		snprintf(name, sizeof(name), "train@%d", 5000 + i);
		uint64_t key = state_key(name);
		least = key < least ? key : least;
		most = key > most ? key : most;
	}
	assert_true(most - least < UINT64_C(1) << 44);
	assert_true(state_key("train@5000") != state_key("train@5001"));
	assert_true(state_key("") != state_key("a"));
}

static void a_flipped_byte_is_a_missing_record(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	OK(state_open(s->root.data, &state, &s->err));
	put(s, state, "train", "the quick brown fox");
	state_close(state);
	char *path = path_joined(s->root.data, ".mlmake/state/data.mdb");
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	OK(fs_read_file(path, 1 << 26, &bytes, &s->err));
	size_t flipped = 0;
	for (size_t i = 0; i + 5 < bytes.len; i++) {
		if (memcmp(bytes.data + i, "quick", 5) == 0) {
			bytes.data[i] ^= 1;
			flipped++;
		}
	}
	assert_true(flipped);
	OK(fs_write_file(path, bytes.data, bytes.len, 0644, FS_VOLATILE, &s->err));
	free(path);
	OK(state_open(s->root.data, &state, &s->err));
	assert_null(get(state, "train"));
	state_close(state);
}

/* Wrong elsewhere: a state directory that two checkouts share by accident. */
static void two_roots_share_nothing_under_one_state_dir(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *a, *b;
	char *shared = path_joined(s->root.data, "shared"), *other = path_joined(s->root.data, "other/project");
	OK(fs_mkdirs(other, &s->err));
	setenv("MLMAKE_STATE_DIR", shared, 1);
	OK(state_open(s->root.data, &a, &s->err));
	OK(state_open(other, &b, &s->err));
	put(s, a, "train", "a");
	assert_null(get(b, "train"));
	assert_true(path_inside(shared, state_dir(a)));
	state_close(a);
	state_close(b);
	unsetenv("MLMAKE_STATE_DIR");
	free(shared), free(other);
}

static void network_file_systems_are_known(void **ctx)
{
	(void)ctx;
	assert_true(state_is_network_fs(0x6969));
	assert_true(state_is_network_fs((unsigned long)(long)(int)0xff534d42));
	assert_false(state_is_network_fs(0xef53));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(records_survive_a_reopening), TEST(writes_go_out_in_groups), TEST(opening_twice_gives_the_same),
		TEST(the_map_grows), TEST(another_process_may_grow_it), TEST(damage_is_set_aside),
		TEST(many_find_it_damaged), TEST(one_that_goes_while_it_is_opened),
		TEST(a_newer_one_is_set_aside), TEST(a_flipped_byte_is_a_missing_record),
		TEST(an_older_one_is_brought_up_to_date), TEST(a_flipped_byte_is_a_missing_record),
		TEST(a_series_lies_together), TEST(a_flipped_byte_is_a_missing_record),
		TEST(two_roots_share_nothing_under_one_state_dir), TEST(network_file_systems_are_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
