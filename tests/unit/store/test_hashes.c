#include "unit/scratch.h"

#include "store/hashes.h"

#include <sys/time.h>

struct session {
	struct state *state;
	struct hashes *hashes;
};

static struct session begin(struct scratch *s)
{
	struct session session;
	OK(state_open(s->root.data, &session.state, &s->err));
	OK(hashes_new(session.state, s->root.data, &session.hashes, &s->err));
	return session;
}

static uint64_t end(struct scratch *s, struct session *session)
{
	uint64_t read = hashes_files_read(session->hashes);
	OK(hashes_save(session->hashes, &s->err));
	hashes_free(session->hashes);
	state_close(session->state);
	return read;
}

static struct hash_item look(struct scratch *s, struct session *session, const char *path)
{
	struct hash_item item = { .path = path };
	OK(hashes_lookup(session->hashes, DIGEST_SHA256, &item, &s->err));
	return item;
}

static void expect_sha256(const struct hash_item *item, const char *text)
{
	struct digest digest;
	digest_bytes(DIGEST_SHA256, text, strlen(text), &digest);
	assert_true(digest_eq(&digest, &item->digest));
}

static void an_unchanged_file_is_read_once(void **ctx)
{
	struct scratch *s = *ctx;
	scratch_write(s, "src/a.py", "a");
	scratch_write(s, "src/b.py", "b");
	scratch_write(s, "c.py", "c");
	scratch_tick(s);
	for (uint64_t round = 0; round < 3; round++) {
		struct session session = begin(s);
		struct hash_item a = look(s, &session, "src/a.py"), b = look(s, &session, "src/b.py"), c = look(s, &session, "c.py");
		expect_sha256(&a, "a");
		expect_sha256(&b, "b");
		expect_sha256(&c, "c");
		assert_int_equal(a.type, HASH_FILE);
		assert_int_equal(end(s, &session), round ? 0 : 3);
	}
}

/* Wrong elsewhere: doit and DVC trust an equal mtime. */
static void a_racy_file_is_read_again(void **ctx)
{
	struct scratch *s = *ctx;
	struct timeval future[2] = { { .tv_sec = 4000000000 }, { .tv_sec = 4000000000 } };
	char *path = path_joined(s->root.data, "a");
	scratch_write(s, "a", "one");
	assert_int_equal(utimes(path, future), 0);
	scratch_tick(s);
	for (int round = 0; round < 2; round++) {
		struct session session = begin(s);
		look(s, &session, "a");
		look(s, &session, "a");
		assert_int_equal(end(s, &session), 2);
	}
	free(path);
}

/* The clock ticks every few milliseconds: what was written in the tick of the clock may be written again in it. */
static void a_file_of_the_clocks_own_tick_is_read_again(void **ctx)
{
	struct scratch *s = *ctx;
	char *path = path_joined(s->root.data, "a"), *clock = path_joined(s->root.data, ".mlmake/clock");
	bool same_tick = false;
	for (int round = 0; round < 1000 && !same_tick; round++) {
		struct session session = begin(s);
		struct stat file, now;
		scratch_write(s, "a", "one");
		look(s, &session, "a");
		assert_int_equal(stat(path, &file), 0);
		assert_int_equal(stat(clock, &now), 0);
		same_tick = file.st_ctim.tv_sec == now.st_mtim.tv_sec && file.st_ctim.tv_nsec == now.st_mtim.tv_nsec;
		look(s, &session, "a");
		uint64_t read = end(s, &session);
		if (same_tick)
			assert_int_equal(read, 2);
	}
	assert_true(same_tick);
	free(path);
	free(clock);
}

static void same_size_and_mtime_is_not_enough(void **ctx)
{
	struct scratch *s = *ctx;
	struct timeval past[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
	char *path = path_joined(s->root.data, "a");
	scratch_write(s, "a", "one");
	assert_int_equal(utimes(path, past), 0);
	scratch_tick(s);
	struct session session = begin(s);
	look(s, &session, "a");
	end(s, &session);
	int fd = sys.openat(AT_FDCWD, path, O_WRONLY, 0);
	assert_int_equal(sys.pwrite(fd, "two", 3, 0), 3);
	sys.close(fd);
	assert_int_equal(utimes(path, past), 0);
	session = begin(s);
	struct hash_item item = look(s, &session, "a");
	expect_sha256(&item, "two");
	end(s, &session);
	free(path);
}

static void mode_links_and_absence_are_told(void **ctx)
{
	struct scratch *s = *ctx;
	scratch_write_mode(s, "run.sh", "x", 0755);
	char *link = path_joined(s->root.data, "link");
	assert_int_equal(sys.symlinkat("run.sh", AT_FDCWD, link), 0);
	struct session session = begin(s);
	struct hash_item run = look(s, &session, "run.sh"), item = look(s, &session, "link"), none = look(s, &session, "none/x");
	assert_true(run.executable);
	assert_int_equal(item.type, HASH_LINK);
	expect_sha256(&item, "run.sh");
	assert_int_equal(none.type, HASH_ABSENT);
	struct hash_item followed = { .path = "link", .follow = true };
	OK(hashes_lookup(session.hashes, DIGEST_SHA256, &followed, &s->err));
	assert_int_equal(followed.type, HASH_FILE);
	expect_sha256(&followed, "x");
	end(s, &session);
	free(link);
}

static void a_recorded_digest_is_believed(void **ctx)
{
	struct scratch *s = *ctx;
	struct digest digest;
	struct stat st;
	struct fs_stamp stamp;
	bool exists;
	scratch_write(s, "data/a", "payload");
	digest_bytes(DIGEST_MD5, "payload", 7, &digest);
	char *path = path_joined(s->root.data, "data/a");
	OK(fs_lstat(path, &st, &exists, &s->err));
	fs_stamp_of(&stamp, &st);
	struct session session = begin(s);
	hashes_record(session.hashes, DIGEST_MD5, "data/a", &digest, &stamp);
	scratch_tick(s);
	end(s, &session);
	session = begin(s);
	struct hash_item item = { .path = "data/a" };
	OK(hashes_lookup(session.hashes, DIGEST_MD5, &item, &s->err));
	assert_true(digest_eq(&item.digest, &digest));
	assert_int_equal(end(s, &session), 0);
	free(path);
}

static void many_in_one_batch(void **ctx)
{
	struct scratch *s = *ctx;
	enum { COUNT = 1500 };
	static char names[COUNT][24];
	struct hash_item *items = mem_alloc(COUNT * sizeof(*items));
	for (int i = 0; i < COUNT; i++) {
		snprintf(names[i], sizeof(names[i]), "d%d/f%d", i % 7, i);
		scratch_write(s, names[i], names[i]);
		items[i].path = names[i];
	}
	scratch_tick(s);
	for (int round = 0; round < 2; round++) {
		struct session session = begin(s);
		hashes_lookup_many(session.hashes, DIGEST_SHA256, items, COUNT);
		for (int i = 0; i < COUNT; i++) {
			assert_null(items[i].err);
			expect_sha256(&items[i], names[i]);
		}
		assert_int_equal(end(s, &session), round ? 0 : COUNT);
	}
	free(items);
}

/* Wrong elsewhere: zero-byte aggregates hash equal. */
/* In pieces: what is dropped is read again, what is new is counted until it is saved. */
static void what_is_trimmed_is_still_known(void **ctx)
{
	struct scratch *s = *ctx;
	scratch_write(s, "a/x", "x");
	scratch_write(s, "a/y", "y");
	scratch_tick(s);
	struct session session = begin(s);
	look(s, &session, "a/x");
	assert_int_equal(hashes_unsaved(session.hashes), 1);
	OK(hashes_save(session.hashes, &s->err));
	assert_int_equal(hashes_unsaved(session.hashes), 0);
	hashes_trim(session.hashes);
	look(s, &session, "a/y");
	hashes_trim(session.hashes);
	assert_int_equal(hashes_unsaved(session.hashes), 1);
	struct hash_item x = look(s, &session, "a/x"), y = look(s, &session, "a/y");
	expect_sha256(&x, "x");
	expect_sha256(&y, "y");
	assert_int_equal(end(s, &session), 2);
	session = begin(s);
	look(s, &session, "a/x");
	look(s, &session, "a/y");
	assert_int_equal(end(s, &session), 0);
}

static void trees_are_framed(void **ctx)
{
	struct scratch *s = *ctx;
	struct session session = begin(s);
	struct hash_tree tree;
	struct digest one, two, three;
	scratch_write(s, "t/a", "");
	OK(hashes_tree(session.hashes, DIGEST_SHA256, "t", &tree, &s->err));
	hash_tree_digest(&tree, &one);
	hash_tree_release(&tree);
	scratch_write(s, "t/b", "");
	OK(hashes_tree(session.hashes, DIGEST_SHA256, "t", &tree, &s->err));
	assert_int_equal(tree.len, 2);
	assert_string_equal(tree.at[1].path, "b");
	hash_tree_digest(&tree, &two);
	hash_tree_release(&tree);
	scratch_remove(s, "t/b");
	scratch_write(s, "t/b/c", "");
	OK(hashes_tree(session.hashes, DIGEST_SHA256, "t", &tree, &s->err));
	hash_tree_digest(&tree, &three);
	hash_tree_release(&tree);
	assert_false(digest_eq(&one, &two));
	assert_false(digest_eq(&two, &three));
	end(s, &session);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_unchanged_file_is_read_once), TEST(a_racy_file_is_read_again),
		TEST(a_file_of_the_clocks_own_tick_is_read_again), TEST(same_size_and_mtime_is_not_enough),
		TEST(mode_links_and_absence_are_told), TEST(a_recorded_digest_is_believed), TEST(many_in_one_batch),
		TEST(what_is_trimmed_is_still_known),
		TEST(trees_are_framed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
