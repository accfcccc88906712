/* The object cache: what goes in comes out verified, and nothing wrong stays. */
#include "unit/unit.h"

#include "store/odb.h"

static struct odb_id id_of(const char *text)
{
	struct odb_id id = { .is_dir = false };
	digest_bytes(DIGEST_MD5, text, strlen(text), &id.digest);
	return id;
}

static void write_text(const char *path, const char *text)
{
	struct err err = ERR_INIT;
	assert_ok(fs_write_file(path, text, strlen(text), 0644, FS_VOLATILE, &err), &err);
}

static void damage(const struct odb *odb, const struct odb_id *id, const char *text)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	odb_add_path(odb, &path, id);
	write_text(path.data, text);
	assert_int_equal(chmod(path.data, 0444), 0);
}

static void open_odb(struct odb *odb, void **state)
{
	char *dir OWNED = path_joined(*state, "cache");
	odb_init(odb, dir, false);
}

static void import_two(struct odb *odb, struct odb_import *items)
{
	struct err err = ERR_INIT;
	write_text("one", "first");
	write_text("two", "second");
	items[0].path = "one";
	items[1].path = "two";
	assert_ok(odb_import(odb, items, 2, NULL, &err), &err);
}

static void test_import_and_export(void **state)
{
	struct err err = ERR_INIT;
	struct odb odb CLEANUP(odb_release);
	struct odb_import items[2] = { { .path = NULL } };
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	open_odb(&odb, state);
	import_two(&odb, items);
	struct odb_id first = id_of("first");
	uint64_t size;
	assert_true(digest_eq(&items[0].ret_digest, &first.digest));
	assert_true(odb_has(&odb, &first, &size));
	assert_int_equal(size, 5);
	struct odb_export out[] = { { .id = first, .to = "out" }, { .id = id_of("absent"), .to = "none" } };
	assert_ok(odb_export(&odb, out, 2, NULL, &err), &err);
	assert_int_equal(out[0].ret_result, ODB_OK);
	assert_int_equal(out[1].ret_result, ODB_ABSENT);
	assert_ok(fs_read_file("out", 100, &text, &err), &err);
	assert_string_equal(text.data, "first");
	assert_false(fs_exists("none"));
}

static int append(void *ctx, const void *bytes, size_t len, struct err *err)
{
	buf_add(ctx, bytes, len);
	return memchr(bytes, '!', len) ? err_set(err, ERR_DATA, "of no use") : 0;
}

static void test_what_is_read_in_pieces_is_verified(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct odb odb CLEANUP(odb_release);
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct odb_id sound = id_of("sound"), useless = id_of("right, and useless!"), none = id_of("none");
	open_odb(&odb, state);
	assert_ok(odb_put(&odb, &sound, "sound", 5, &err), &err);
	assert_ok(odb_put(&odb, &useless, "right, and useless!", 19, &err), &err);
	assert_ok(odb_read_pieces(&odb, &sound, 5, append, &text, &err), &err);
	assert_string_equal(text.data, "sound");
	assert_error(odb_read_pieces(&odb, &sound, 4, append, &text, &err), &err, ERR_DATA, "5 bytes; up to 4");
	err_release(&err);
	assert_error(odb_read_pieces(&odb, &none, 100, append, &text, &err), &err, ERR_DATA, "not in the cache");
	err_release(&err);
	assert_error(odb_read_pieces(&odb, &useless, 100, append, &text, &err), &err, ERR_DATA, "of no use");
	err_release(&err);
	assert_ok(odb_read_pieces(&odb, &useless, 100, NULL, NULL, &err), &err);
	/* That the bytes are wrong says more than that they are of no use. */
	damage(&odb, &useless, "wrong, and useless!");
	assert_error(odb_read_pieces(&odb, &useless, 100, append, &text, &err), &err, ERR_DATA, "damaged");
}

static ssize_t (*real_read)(int fd, void *to, size_t len);
static ssize_t read_slowly(int fd, void *to, size_t len)
{
	usleep(20000);
	return real_read(fd, to, len < 65536 ? len : 65536);
}

struct heard {
	unsigned within; /* a file that is not done yet */
	uint64_t last;
};

static bool hear(void *ctx, size_t items_done, uint64_t bytes_done)
{
	struct heard *heard = ctx;
	heard->within += items_done == 0 && bytes_done > heard->last;
	assert_true(bytes_done >= heard->last);
	heard->last = bytes_done;
	return true;
}

static void test_progress_advances_within_a_file(void **state)
{
	const size_t size = 20 * 65536;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct odb odb CLEANUP(odb_release);
	char *bytes OWNED = mem_alloc(size);
	struct heard in = { 0 }, out = { 0 };
	struct odb_sink to_cache = { hear, &in }, from_cache = { hear, &out };
	open_odb(&odb, state);
	assert_ok(fs_write_file("large", bytes, size, 0644, FS_VOLATILE, &err), &err);
	struct odb_import item = { .path = "large" };
	real_read = sys.read;
	sys.read = read_slowly;
	assert_ok(odb_import(&odb, &item, 1, &to_cache, &err), &err);
	odb.made.len = 0; /* as another process, which hashes what comes out */
	struct odb_export copy = { .id = { item.ret_digest, false }, .to = "out" };
	assert_ok(odb_export(&odb, &copy, 1, &from_cache, &err), &err);
	sys.read = real_read;
	assert_int_equal(copy.ret_result, ODB_OK);
	assert_true(in.within >= 2 && out.within >= 2);
	assert_int_equal(in.last, size);
	assert_int_equal(out.last, size);
}

static void test_damaged_objects_do_not_come_out(void **state)
{
	struct err err = ERR_INIT;
	struct odb odb CLEANUP(odb_release);
	struct odb_import items[2] = { { .path = NULL } };
	struct buf text CLEANUP(buf_release) = BUF_INIT, where CLEANUP(buf_release) = BUF_INIT;
	open_odb(&odb, state);
	import_two(&odb, items);
	struct odb_id first = id_of("first");
	damage(&odb, &first, "f1rst");
	struct odb_export out = { .id = first, .to = "out" };
	assert_ok(odb_export(&odb, &out, 1, NULL, &err), &err);
	assert_int_equal(out.ret_result, ODB_DAMAGED);
	assert_false(fs_exists("out"));
	assert_error(odb_read_pieces(&odb, &first, 100, append, &text, &err), &err, ERR_DATA, "damaged");
	assert_ok(odb_quarantine(&odb, &first, &where, &err), &err);
	assert_true(fs_is_file(where.data));
	assert_false(odb_has(&odb, &first, NULL));
	err_release(&err);
}

/* What was published in this process is not hashed again, so that bytes which the caller got wrong come out; any change to it is seen. */
static void test_what_was_just_made_is_trusted_while_untouched(void **state)
{
	struct err err = ERR_INIT;
	struct odb odb CLEANUP(odb_release);
	struct buf temp CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT;
	struct odb_id id = id_of("not what is in it");
	size_t size = 1 << 20;
	char *bytes OWNED = mem_alloc(size);
	open_odb(&odb, state);
	assert_ok(odb_temp_path(&odb, &temp, &err), &err);
	assert_ok(fs_write_file(temp.data, bytes, size, 0600, FS_VOLATILE, &err), &err);
	struct odb_publish publish = { temp.data, id };
	assert_ok(odb_publish(&odb, &publish, 1, &err), &err);
	struct odb_export out[] = { { .id = id, .to = "made" }, { .id = id, .to = "touched" }, { .id = id, .to = "later" } };
	assert_ok(odb_export(&odb, &out[0], 1, NULL, &err), &err);
	assert_int_equal(out[0].ret_result, ODB_OK);
	assert_int_equal(out[0].ret_stamp.size, size);
	odb_add_path(&odb, &path, &id);
	usleep(50000); /* the next tick of a coarse clock */
	assert_int_equal(chmod(path.data, 0644), 0);
	assert_int_equal(chmod(path.data, 0444), 0);
	assert_ok(odb_export(&odb, &out[1], 1, NULL, &err), &err);
	assert_int_equal(out[1].ret_result, ODB_DAMAGED);
	assert_false(fs_exists("touched"));
	/* Another process knows nothing of it. */
	struct odb other CLEANUP(odb_release);
	open_odb(&other, state);
	assert_ok(odb_export(&other, &out[2], 1, NULL, &err), &err);
	assert_int_equal(out[2].ret_result, ODB_DAMAGED);
}

static ino_t inode_of(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

/* The first export takes it, unless it is not what was offered any more. */
static void test_what_is_offered_is_renamed(void **state)
{
	struct err err = ERR_INIT;
	struct odb odb CLEANUP(odb_release);
	struct odb_import items[2] = { { .path = NULL } };
	open_odb(&odb, state);
	import_two(&odb, items);
	struct odb_id first = id_of("first"), second = id_of("second");
	write_text("ahead", "first");
	write_text("changed", "second");
	ino_t ahead = inode_of("ahead");
	odb_offer(&odb, &first, "ahead");
	odb_offer(&odb, &second, "changed");
	odb_offer(&odb, &second, "absent");
	write_text("changed", "anything");
	struct odb_export out[] = { { .id = first, .to = "out", .exec = true }, { .id = first, .to = "again" }, { .id = second, .to = "other" } };
	for (size_t i = 0; i < 3; i++) {
		assert_ok(odb_export(&odb, &out[i], 1, NULL, &err), &err);
		assert_int_equal(out[i].ret_result, ODB_OK);
	}
	assert_int_equal(inode_of("out"), ahead);
	assert_int_equal(access("out", X_OK), 0);
	assert_int_not_equal(inode_of("again"), ahead);
	assert_true(fs_is_file("changed"));
	assert_false(fs_exists("ahead"));
}

static void test_import_replaces_a_damaged_object(void **state)
{
	struct err err = ERR_INIT;
	struct odb odb CLEANUP(odb_release);
	struct odb_import items[2] = { { .path = NULL } };
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	open_odb(&odb, state);
	import_two(&odb, items);
	struct odb_id first = id_of("first");
	damage(&odb, &first, "f1rst");
	import_two(&odb, items);
	assert_ok(odb_read_pieces(&odb, &first, 100, append, &text, &err), &err);
	assert_string_equal(text.data, "first");
}

static void test_what_may_be_written_is_hashed(void **state)
{
	struct odb odb CLEANUP(odb_release);
	struct odb_import items[2] = { { .path = NULL } };
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	open_odb(&odb, state);
	import_two(&odb, items);
	struct odb_id first = id_of("first"), second = id_of("second");
	damage(&odb, &first, "f1rst");
	odb_add_path(&odb, &path, &first);
	assert_int_equal(chmod(path.data, 0644), 0);
	assert_false(odb_has(&odb, &first, NULL));
	buf_reset(&path);
	odb_add_path(&odb, &path, &second);
	assert_int_equal(chmod(path.data, 0644), 0);
	assert_true(odb_has(&odb, &second, NULL));
	struct stat st;
	assert_int_equal(stat(path.data, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0444);
}

static void test_an_empty_object_must_be_named_so(void **state)
{
	struct odb odb CLEANUP(odb_release);
	struct odb_import items[2] = { { .path = NULL } };
	open_odb(&odb, state);
	import_two(&odb, items);
	struct odb_id first = id_of("first"), empty = id_of("");
	damage(&odb, &first, "");
	assert_false(odb_has(&odb, &first, NULL));
	struct err err = ERR_INIT;
	assert_ok(odb_put(&odb, &empty, "", 0, &err), &err);
	assert_true(odb_has(&odb, &empty, NULL));
}

static void test_listing_many(void **state)
{
	struct odb odb CLEANUP(odb_release);
	struct odb_import items[2] = { { .path = NULL } };
	open_odb(&odb, state);
	import_two(&odb, items);
	struct odb_id as_dir = id_of("second");
	as_dir.is_dir = true;
	struct odb_id ids[] = { id_of("first"), id_of("absent"), id_of("second"), as_dir };
	bool present[4];
	odb_list_many(&odb, ids, 4, present);
	assert_true(present[0] && present[2]);
	assert_false(present[1] || present[3]);
	uint64_t sizes[] = { strlen("first"), 6, strlen("second"), strlen("second") };
	odb_has_many(&odb, ids, sizes, 4, present);
	assert_true(present[0] && present[2]);
	assert_false(present[1] || present[3]);
	sizes[2]++;
	damage(&odb, &ids[0], "wrong");
	odb_has_many(&odb, ids, sizes, 4, present);
	assert_true(present[0]); /* of the right size, and read-only: only reading would tell */
	assert_false(present[2]);
	damage(&odb, &ids[0], "shorter");
	odb_has_many(&odb, ids, sizes, 4, present);
	assert_false(present[0]);
}

static void test_temporaries_of_the_dead_are_swept(void **state)
{
	struct err err = ERR_INIT;
	struct odb one CLEANUP(odb_release), two CLEANUP(odb_release);
	struct buf first CLEANUP(buf_release) = BUF_INIT, second CLEANUP(buf_release) = BUF_INIT;
	open_odb(&one, state);
	open_odb(&two, state);
	assert_ok(fs_mkdirs("cache/.mlmake-tmp/tdead", &err), &err);
	write_text("cache/.mlmake-tmp/tdead/0", "left");
	assert_ok(odb_temp_path(&one, &first, &err), &err);
	assert_false(fs_exists("cache/.mlmake-tmp/tdead"));
	write_text(first.data, "alive");
	assert_ok(odb_temp_path(&two, &second, &err), &err);
	assert_true(fs_exists(first.data));
}

static void test_missing_files_are_named(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct odb odb CLEANUP(odb_release);
	struct odb_import items[] = { { .path = "nowhere" } };
	open_odb(&odb, state);
	assert_error(odb_import(&odb, items, 1, NULL, &err), &err, ERR_FAILED, "nowhere");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_temp_dir(test_import_and_export),
		in_temp_dir(test_what_is_read_in_pieces_is_verified),
		in_temp_dir(test_progress_advances_within_a_file),
		in_temp_dir(test_damaged_objects_do_not_come_out),
		in_temp_dir(test_what_was_just_made_is_trusted_while_untouched),
		in_temp_dir(test_what_is_offered_is_renamed),
		in_temp_dir(test_import_replaces_a_damaged_object),
		in_temp_dir(test_what_may_be_written_is_hashed),
		in_temp_dir(test_an_empty_object_must_be_named_so),
		in_temp_dir(test_listing_many),
		in_temp_dir(test_temporaries_of_the_dead_are_swept),
		in_temp_dir(test_missing_files_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
