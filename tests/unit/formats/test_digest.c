#include "unit/unit.h"

#include "base/mem.h"
#include "formats/digest.h"
#include "formats/md5_files.h"
#include "formats/md5_lanes.h"

#include <stdio.h>
#include <string.h>

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static void known_values(void **state)
{
	(void)state;
	struct digest d;
	char hex[DIGEST_HEX_MAX];
	digest_bytes(DIGEST_MD5, "", 0, &d);
	digest_hex(&d, hex);
	assert_string_equal(hex, "d41d8cd98f00b204e9800998ecf8427e");
	digest_bytes(DIGEST_SHA256, "abc", 3, &d);
	digest_hex(&d, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	struct digest_stream *stream = digest_begin(DIGEST_SHA256);
	digest_add(stream, "a", 1);
	digest_add(stream, "bc", 2);
	struct digest streamed;
	digest_end(stream, &streamed);
	assert_true(digest_eq(&d, &streamed));
	struct digest parsed;
	assert_true(digest_parse(&parsed, DIGEST_SHA256, hex));
	assert_true(digest_eq(&d, &parsed));
	assert_false(digest_parse(&parsed, DIGEST_MD5, hex));
	assert_int_equal(parsed.kind, DIGEST_NONE);
	assert_false(digest_eq(&d, &parsed));
}

/* RFC 4231, cases 1, 2 and 6 (a key longer than a block). */
static void hmac(void **state)
{
	(void)state;
	uint8_t key[131], ret[32];
	struct digest d = { .kind = DIGEST_SHA256 };
	char hex[DIGEST_HEX_MAX];
	memset(key, 0x0b, 20);
	digest_hmac_sha256(key, 20, "Hi There", 8, ret);
	memcpy(d.bytes, ret, 32);
	digest_hex(&d, hex);
	assert_string_equal(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	digest_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, ret);
	memcpy(d.bytes, ret, 32);
	digest_hex(&d, hex);
	assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, 131);
	digest_hmac_sha256(key, 131, "Test Using Larger Than Block-Size Key - Hash Key First", 54, ret);
	memcpy(d.bytes, ret, 32);
	digest_hex(&d, hex);
	assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

struct files {
	char dir[32];
	struct digest_job *jobs;
	char (*paths)[64];
	struct digest *expected;
	size_t count;
};

/* Sizes around the block and buffer edges, then random ones with a few large. */
static size_t size_of(size_t i, uint64_t *random)
{
	static const size_t edges[] = { 0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 32767, 32768, 32769, 32768 + 55, 32768 + 64, 65536, 131072 };
	if (i < ARRAY_LEN(edges))
		return edges[i];
	return next_random(random) % (i % 10 == 0 ? 300000 : 5000);
}

static void files_make(struct files *f, size_t count)
{
	uint64_t random = 7;
	struct err err CLEANUP(err_release) = ERR_INIT;
	strcpy(f->dir, "/tmp/mlmake-digest-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->count = count;
	f->jobs = mem_alloc(count * sizeof(*f->jobs));
	f->paths = mem_alloc(count * sizeof(*f->paths));
	f->expected = mem_alloc(count * sizeof(*f->expected));
	for (size_t i = 0; i < count; i++) {
		size_t size = size_of(i, &random);
		uint8_t *bytes OWNED = mem_alloc(size + 1);
		for (size_t k = 0; k < size; k++)
			bytes[k] = (uint8_t)next_random(&random);
		snprintf(f->paths[i], sizeof(f->paths[i]), "%s/%zu", f->dir, i);
		assert_int_equal(fs_write_file(f->paths[i], bytes, size, 0644, FS_VOLATILE, &err), 0);
		digest_bytes(DIGEST_MD5, bytes, size, &f->expected[i]);
		f->jobs[i].path = f->paths[i];
	}
}

static void files_release(struct files *f)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	assert_int_equal(fs_remove_tree(f->dir, &err), 0);
	free(f->jobs);
	free(f->paths);
	free(f->expected);
}

static void files_by_every_backend(void **state)
{
	(void)state;
	struct files f;
	const struct md5_backend *backends[4];
	size_t backend_count = md5_backends(backends);
	assert_true(backend_count >= 1);
	assert_int_equal(backends[backend_count - 1]->lanes, 1);
	files_make(&f, 150);
	for (size_t b = 0; b < backend_count; b++) {
		for (unsigned threads = 1; threads <= 3; threads += 2) {
			for (size_t count = 0; count <= f.count; count += count < 20 ? 1 : 130) {
				for (size_t i = 0; i < f.count; i++)
					f.jobs[i].ret_stable = false;
				md5_files(backends[b], threads, f.jobs, count);
				for (size_t i = 0; i < count; i++) {
					assert_int_equal(f.jobs[i].ret_status, 0);
					assert_true(f.jobs[i].ret_stable);
					assert_true(digest_eq(&f.jobs[i].ret, &f.expected[i]));
				}
			}
		}
	}
	digest_files(DIGEST_MD5, f.jobs, f.count);
	assert_true(digest_eq(&f.jobs[149].ret, &f.expected[149]));
	assert_int_equal(f.jobs[13].ret_stamp.size, 32768);
	files_release(&f);
}

static void each_file_fails_alone(void **state)
{
	(void)state;
	struct files f;
	files_make(&f, 30);
	f.jobs[3].path = "/nonexistent/file";
	f.jobs[29].path = f.dir;
	for (int kind = DIGEST_MD5; kind <= DIGEST_SHA256; kind++) {
		digest_files((enum digest_kind)kind, f.jobs, f.count);
		for (size_t i = 0; i < f.count; i++) {
			bool bad = i == 3 || i == 29;
			assert_int_equal(f.jobs[i].ret_status, bad ? -1 : 0);
			assert_int_equal(f.jobs[i].ret_stable, !bad);
			if (i == 3)
				assert_int_equal(f.jobs[i].ret_err.sys_errno, 2);
			if (bad)
				assert_non_null(strstr(f.jobs[i].ret_err.message, f.jobs[i].path));
			err_release(&f.jobs[i].ret_err);
		}
	}
	files_release(&f);
}

static ssize_t (*real_read)(int fd, void *to, size_t len);
static _Atomic(const char *) grown_path;

/* A writer that appends to grown_path, once, while we read that file. Several threads may be reading. */
static ssize_t read_and_grow(int fd, void *to, size_t len)
{
	const char *path = grown_path;
	struct stat read, grown;
	if (path && fstat(fd, &read) == 0 && stat(path, &grown) == 0 && read.st_ino == grown.st_ino) {
		int other = sys.openat(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
		assert_int_equal(sys.write(other, "x", 1), 1);
		sys.close(other);
		grown_path = NULL;
	}
	return real_read(fd, to, len);
}

static void a_changing_file_is_unstable(void **state)
{
	(void)state;
	struct files f;
	struct digest d;
	struct fs_stamp stamp;
	bool stable;
	struct err err CLEANUP(err_release) = ERR_INIT;
	files_make(&f, 25);
	real_read = sys.read;
	sys.read = read_and_grow;
	grown_path = f.paths[20];
	assert_int_equal(digest_file(DIGEST_SHA256, f.paths[20], &d, &stamp, &stable, &err), 0);
	assert_false(stable);
	assert_int_equal(digest_file(DIGEST_SHA256, f.paths[20], &d, &stamp, &stable, &err), 0);
	assert_true(stable);
	grown_path = f.paths[21];
	digest_files(DIGEST_MD5, f.jobs + 21, 1);
	assert_false(f.jobs[21].ret_stable);
	grown_path = f.paths[23];
	digest_files(DIGEST_MD5, f.jobs + 23, 2);
	assert_false(f.jobs[23].ret_stable);
	sys.read = real_read;
	files_release(&f);
}

struct heard {
	unsigned times;
	uint64_t last;
	bool fell;
};

static void hear(void *ctx, uint64_t bytes)
{
	struct heard *heard = ctx;
	heard->times += bytes > heard->last;
	heard->fell |= bytes < heard->last;
	heard->last = bytes;
}

static ssize_t read_slowly(int fd, void *to, size_t len)
{
	usleep(20000);
	return real_read(fd, to, len < 65536 ? len : 65536);
}

/* One file alone, and two in the lanes. */
static void what_is_read_of_a_large_file_is_told(void **state)
{
	const size_t size = 20 * 65536;
	char *bytes OWNED = mem_alloc(size);
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct digest_job jobs[2] = { { .path = "large" }, { .path = "other" } };
	(void)state;
	assert_ok(fs_write_file("large", bytes, size, 0644, FS_VOLATILE, &err), &err);
	assert_ok(fs_write_file("other", bytes, size, 0644, FS_VOLATILE, &err), &err);
	real_read = sys.read;
	sys.read = read_slowly;
	for (size_t count = 1; count <= 2; count++) {
		struct heard heard = { 0 };
		for (size_t i = 0; i < count; i++)
			jobs[i].kind = DIGEST_MD5;
		digest_files_told(jobs, count, hear, &heard);
		assert_true(heard.times >= 3 && !heard.fell);
		assert_true(heard.last > 0 && heard.last <= count * size);
		assert_true(jobs[0].ret_status == 0 && jobs[0].ret_stable && !jobs[0].meter);
	}
	sys.read = real_read;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values),
		cmocka_unit_test(hmac),
		cmocka_unit_test(files_by_every_backend),
		cmocka_unit_test(each_file_fails_alone),
		cmocka_unit_test(a_changing_file_is_unstable),
		in_temp_dir(what_is_read_of_a_large_file_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
