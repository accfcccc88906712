#include "unit/scratch.h"

#include "store/outputs.h"
#include "store/state.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
	struct hashes *hashes;
	struct outputs *cache;
	struct action action;
};

static const char *const paths[] = { "out", "model.bin" };

static struct fixture begin(struct scratch *s)
{
	struct fixture f = { .action = ACTION_INIT };
	OK(hashes_new(NULL, s->root.data, &f.hashes, &s->err));
	OK(outputs_open(&f.cache, &s->err));
	digest_bytes(DIGEST_SHA256, "key", 3, &f.action.key);
	return f;
}

static void end(struct fixture *f)
{
	action_release(&f->action);
	outputs_close(f->cache);
	hashes_free(f->hashes);
}

/* A cache that can have no index. */
static struct fixture begin_with_files(struct scratch *s)
{
	char *index = mem_printf("%s/v1/index", getenv("MLMAKE_CACHE_DIR"));
	OK(fs_mkdirs_for(index, &s->err));
	OK(fs_write_file(index, "", 0, 0644, FS_VOLATILE, &s->err));
	free(index);
	return begin(s);
}

static void make_outputs(struct scratch *s)
{
	scratch_write(s, "out/a", "alpha");
	scratch_write_mode(s, "out/sub/run", "#!/bin/sh\n", 0755);
	scratch_write(s, "out/empty", "");
	scratch_write(s, "model.bin", "weights");
	char *link = path_joined(s->root.data, "out/link");
	if (sys.symlinkat("sub/run", AT_FDCWD, link) < 0)
		fail_msg("no link");
	free(link);
}

static void scan(struct scratch *s, struct fixture *f)
{
	size_t missing;
	manifest_release(&f->action.manifest);
	OK(manifest_scan(f->hashes, s->root.data, paths, 2, &f->action.manifest, &missing, &s->err));
	assert_int_equal(missing, SIZE_MAX);
}

static bool restore(struct scratch *s, struct fixture *f)
{
	struct action found;
	bool is_found, restored = false;
	OK(outputs_find(f->cache, &f->action.key, &found, &is_found, &s->err));
	if (!is_found)
		return false;
	OK(outputs_restore(f->cache, s->root.data, &found, paths, 2, NULL, &restored, &s->err));
	action_release(&found);
	return restored;
}

static void restoring_gives_exactly_what_was(void **ctx)
{
	struct scratch *s = *ctx;
	struct fixture f = begin(s);
	make_outputs(s);
	scan(s, &f);
	buf_addstr(&f.action.log, "printed\n");
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	scratch_remove(s, "out");
	scratch_write(s, "out/stray", "x");
	scratch_write(s, "model.bin", "other");
	assert_true(restore(s, &f));
	struct manifest before = f.action.manifest;
	f.action.manifest = (struct manifest){ 0 };
	scan(s, &f);
	assert_true(manifest_same(&before, &f.action.manifest));
	manifest_release(&before);
	char *text = scratch_read(s, "model.bin");
	assert_string_equal(text, "weights");
	free(text);
	assert_null(scratch_read(s, "out/stray"));
	end(&f);
}

static void writing_to_a_restored_file_leaves_the_cache_alone(void **ctx)
{
	struct scratch *s = *ctx;
	struct fixture f = begin(s);
	make_outputs(s);
	scan(s, &f);
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	assert_true(restore(s, &f));
	char *path = path_joined(s->root.data, "model.bin");
	int fd = sys.openat(AT_FDCWD, path, O_WRONLY, 0);
	assert_int_equal(sys.pwrite(fd, "DAMAGED", 7, 0), 7);
	sys.close(fd);
	free(path);
	assert_true(restore(s, &f));
	char *text = scratch_read(s, "model.bin");
	assert_string_equal(text, "weights");
	free(text);
	end(&f);
}

static char *object_of(struct scratch *s, const char *text)
{
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	digest_bytes(DIGEST_SHA256, text, strlen(text), &digest);
	digest_hex(&digest, hex);
	(void)s;
	return mem_printf("%s/v1/objects/%.2s/%s", getenv("MLMAKE_CACHE_DIR"), hex, hex + 2);
}

static void a_damaged_object_is_a_miss_and_dropped(void **ctx)
{
	struct scratch *s = *ctx;
	struct fixture f = begin_with_files(s);
	make_outputs(s);
	scan(s, &f);
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	char *object = object_of(s, "weights");
	OK(fs_write_file(object, "wEights", 7, 0444, FS_VOLATILE, &s->err));
	scratch_write(s, "model.bin", "mine");
	assert_false(restore(s, &f));
	assert_false(fs_exists(object));
	char *text = scratch_read(s, "model.bin");
	assert_string_equal(text, "mine");
	free(text);
	scratch_write(s, "model.bin", "weights");
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	assert_true(restore(s, &f));
	free(object);
	end(&f);
}

static void refused(struct scratch *s, enum hash_type type, const char *path, const char *target)
{
	struct manifest manifest = { 0 };
	struct manifest_entry dir = { .path = "out", .type = HASH_DIR }, link = { .path = "out/l", .type = HASH_LINK, .target = "." };
	struct manifest_entry bad = { .path = path, .type = type, .target = target };
	vec_push(&manifest, dir);
	vec_push(&manifest, link);
	if (manifest_check(&manifest, paths, 2, &s->err) < 0)
		fail_msg("%s", s->err.message);
	vec_push(&manifest, bad);
	assert_int_equal(manifest_check(&manifest, paths, 2, &s->err), -1);
	assert_int_equal(s->err.code, ERR_DATA);
	manifest_release(&manifest);
}

/* Restored files stay inside the repository: no absolute path, `..`, symlink escape. */
static void hostile_manifests_are_refused(void **ctx)
{
	struct scratch *s = *ctx;
	refused(s, HASH_FILE, "/etc/passwd", NULL);
	refused(s, HASH_FILE, "../x", NULL);
	refused(s, HASH_FILE, "out/../../x", NULL);
	refused(s, HASH_FILE, "src/main.py", NULL);
	refused(s, HASH_FILE, "out/l/x", NULL);
	refused(s, HASH_FILE, "out/deep/x", NULL);
	refused(s, HASH_DIR, "out", NULL);
	refused(s, HASH_LINK, "out/m", "/etc");
	refused(s, HASH_LINK, "out/m", "../../x");
	refused(s, HASH_FILE, "", NULL);
}

static void damaged_records_are_misses(void **ctx)
{
	struct scratch *s = *ctx;
	struct fixture f = begin_with_files(s);
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	char hex[DIGEST_HEX_MAX];
	make_outputs(s);
	scan(s, &f);
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	digest_hex(&f.action.key, hex);
	char *record = mem_printf("%s/v1/actions/%.2s/%s", getenv("MLMAKE_CACHE_DIR"), hex, hex + 2);
	OK(fs_read_file(record, 1 << 20, &bytes, &s->err));
	for (size_t i = 0; i < bytes.len; i += 7) {
		bytes.data[i] ^= 0x20;
		OK(fs_write_file(record, bytes.data, bytes.len, 0644, FS_VOLATILE, &s->err));
		assert_false(restore(s, &f));
		assert_false(fs_exists(record));
		bytes.data[i] ^= 0x20;
	}
	OK(fs_write_file(record, bytes.data, bytes.len, 0644, FS_VOLATILE, &s->err));
	assert_true(restore(s, &f));
	free(record);
	end(&f);
}

static struct state *open_index(struct scratch *s)
{
	struct state *index;
	char *dir = mem_printf("%s/v1", getenv("MLMAKE_CACHE_DIR"));
	OK(state_open_index(dir, &index, &s->err));
	free(dir);
	return index;
}

static void small_ones_take_no_file(void **ctx)
{
	struct scratch *s = *ctx;
	struct fixture f = begin(s);
	char *actions = mem_printf("%s/v1/actions", getenv("MLMAKE_CACHE_DIR")), *object = object_of(s, "weights");
	make_outputs(s);
	scan(s, &f);
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	assert_false(fs_exists(actions));
	assert_false(fs_exists(object));
	assert_true(outputs_have_unflushed(f.cache));
	assert_true(restore(s, &f));
	OK(outputs_flush(f.cache, &s->err));
	assert_false(outputs_have_unflushed(f.cache));
	assert_true(restore(s, &f));
	struct manifest manifest = f.action.manifest;
	f.action.manifest = (struct manifest){ 0 };
	end(&f);
	manifest_release(&manifest);
	f = begin(s);
	assert_true(restore(s, &f));
	free(actions);
	free(object);
	end(&f);
}

/* What goes wrong in the index is found by its hash, and dropped. */
static void the_index_is_not_trusted(void **ctx)
{
	struct scratch *s = *ctx;
	struct fixture f = begin(s);
	struct state *index = open_index(s);
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	const void *bytes;
	size_t len;
	make_outputs(s);
	scan(s, &f);
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	digest_bytes(DIGEST_SHA256, "weights", 7, &digest);
	digest_hex(&digest, hex);
	assert_true(state_get(index, STATE_OBJECTS, hex, &bytes, &len));
	assert_int_equal(len, 7);
	OK(state_put(index, STATE_OBJECTS, hex, "wEights", 7, &s->err));
	scratch_write(s, "model.bin", "mine");
	assert_false(restore(s, &f));
	assert_false(state_get(index, STATE_OBJECTS, hex, &bytes, &len));
	char *text = scratch_read(s, "model.bin");
	assert_string_equal(text, "mine");
	free(text);
	scratch_write(s, "model.bin", "weights");
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	assert_true(restore(s, &f));

	digest_hex(&f.action.key, hex);
	assert_true(state_get(index, STATE_ACTIONS, hex, &bytes, &len));
	struct buf record CLEANUP(buf_release) = BUF_INIT;
	buf_add(&record, bytes, len);
	for (size_t i = 8; i < record.len; i += 7) { /* behind the time of its use */
		record.data[i] ^= 0x20;
		OK(state_put(index, STATE_ACTIONS, hex, record.data, record.len, &s->err));
		assert_false(restore(s, &f));
		assert_false(state_get(index, STATE_ACTIONS, hex, &bytes, &len));
		record.data[i] ^= 0x20;
	}
	OK(state_put(index, STATE_ACTIONS, hex, record.data, record.len, &s->err));
	assert_true(restore(s, &f));
	state_close(index);
	end(&f);
}

/* An output that changes between its hash and its storing is not kept as what it was. */
static void what_changed_meanwhile_is_not_kept(void **ctx)
{
	struct scratch *s = *ctx;
	struct fixture f = begin(s);
	make_outputs(s);
	scan(s, &f);
	scratch_write(s, "model.bin", "wEights");
	assert_int_equal(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err), -1);
	assert_false(restore(s, &f));
	end(&f);
}

/* A record that outgrows the index takes the place of the one in it. */
static void a_large_record_is_a_file(void **ctx)
{
	struct scratch *s = *ctx;
	struct fixture f = begin(s);
	struct action found;
	bool is_found;
	make_outputs(s);
	scan(s, &f);
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	for (size_t i = 0; i < OUTPUTS_RECORD_MAX; i++)
		buf_addch(&f.action.log, 'x');
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	OK(outputs_find(f.cache, &f.action.key, &found, &is_found, &s->err));
	assert_true(is_found);
	assert_int_equal(found.log.len, OUTPUTS_RECORD_MAX);
	action_release(&found);
	assert_true(restore(s, &f));
	end(&f);
}

/* What a collection does that another mlmake makes, and a user who removes the cache. */
static const char *victim;
static struct sys_table kernel;
static unsigned raced;

static int open_too_late(int dir, const char *path, int flags, mode_t mode)
{
	if (victim && strstr(path, victim) && !(flags & O_CREAT)) {
		victim = NULL;
		raced++;
		if (kernel.unlinkat(AT_FDCWD, path, 0) < 0)
			fail_msg("%s cannot be removed", path);
	}
	return kernel.openat(dir, path, flags, mode);
}

static void what_is_collected_meanwhile_is_a_miss(void **ctx)
{
	static const char *const places[] = { "/objects/", "/actions/" };
	struct scratch *s = *ctx;
	struct fixture f = begin_with_files(s);
	kernel = sys;
	raced = 0;
	make_outputs(s);
	scan(s, &f);
	for (size_t i = 0; i < 2; i++) {
		OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
		victim = places[i];
		sys.openat = open_too_late;
		bool restored = restore(s, &f);
		sys.openat = kernel.openat;
		assert_false(restored);
		assert_int_equal(raced, i + 1);
	}
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	assert_true(restore(s, &f));
	char *dir = mem_printf("%s/v1/objects", getenv("MLMAKE_CACHE_DIR")), *tmp = mem_printf("%s/v1/tmp", getenv("MLMAKE_CACHE_DIR"));
	OK(fs_remove_tree(dir, &s->err));
	OK(fs_remove_tree(tmp, &s->err));
	OK(outputs_store(f.cache, s->root.data, &f.action, paths, 2, &s->err));
	assert_true(restore(s, &f));
	free(dir), free(tmp);
	end(&f);
}

/* What another mlmake does that restores the same target, over and over. */
static void replace_outputs(struct scratch *s)
{
	for (int i = 0; i < 100000; i++) {
		scratch_remove(s, "out");
		if (i % 2)
			scratch_write(s, "out", "a file for once");
		else
			make_outputs(s);
	}
}

static void outputs_that_are_being_replaced_can_be_scanned(void **ctx)
{
	struct scratch *s = *ctx;
	struct fixture f = begin(s);
	make_outputs(s);
	pid_t other = fork();
	if (other == 0) {
		replace_outputs(s);
		_exit(0);
	}
	int scans = 0, whole = 0, status = 0;
	for (; status == 0 && (scans < 3000 || whole == 0 || whole == scans) && scans < 1000000; scans++) {
		size_t missing;
		manifest_release(&f.action.manifest);
		status = manifest_scan(f.hashes, s->root.data, paths, 2, &f.action.manifest, &missing, &s->err);
		whole += missing == SIZE_MAX;
	}
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	OK(status);
	assert_in_range(whole, 1, scans - 1);
	end(&f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_collected_meanwhile_is_a_miss),
		TEST(restoring_gives_exactly_what_was), TEST(writing_to_a_restored_file_leaves_the_cache_alone),
		TEST(a_damaged_object_is_a_miss_and_dropped), TEST(hostile_manifests_are_refused), TEST(damaged_records_are_misses),
		TEST(small_ones_take_no_file), TEST(the_index_is_not_trusted), TEST(what_changed_meanwhile_is_not_kept),
		TEST(a_large_record_is_a_file), TEST(outputs_that_are_being_replaced_can_be_scanned),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
