#include "../unit.h"

#include "net/hash_job.h"

#include <fcntl.h>

struct result {
	bool done;
	int status;
	struct digest digest;
};

static void note(void *ctx, int status, const struct digest *digest, struct err *err UNUSED)
{
	struct result *result = ctx;
	result->done = true;
	result->status = status;
	if (status == 0)
		result->digest = *digest;
}

static int make_file(const char *bytes, size_t len)
{
	int fd = open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, bytes, len), len);
	return fd;
}

static void test_range_as_it_arrives(void **state UNUSED)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct result result = { .done = false };
	struct digest expected;
	struct loop *loop;
	int fd = make_file("0123456789", 10);
	assert_ok(loop_new(&loop, &err), &err);
	struct hash_job *job = hash_job_start(loop, DIGEST_SHA256, fd, 2, 6, 0, note, &result, &err);
	assert_non_null(job);
	hash_job_allow(job, 3);
	assert_ok(loop_step(loop, 50, &err), &err);
	assert_false(result.done);
	hash_job_allow(job, 6);
	while (!result.done)
		assert_ok(loop_step(loop, -1, &err), &err);
	digest_bytes(DIGEST_SHA256, "234567", 6, &expected);
	assert_int_equal(result.status, 0);
	assert_true(digest_eq(&result.digest, &expected));
	loop_free(loop);
	close(fd);
}

static void test_copy_as_it_arrives(void **state UNUSED)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct result result = { .done = false };
	struct loop *loop;
	char copied[11] = "";
	int fd = make_file("0123456789", 10), to = open("copy", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_ok(loop_new(&loop, &err), &err);
	struct hash_job *job = hash_job_start_copy(loop, fd, to, 10, 4, note, &result, &err);
	assert_non_null(job);
	assert_ok(loop_step(loop, 50, &err), &err);
	assert_false(result.done);
	assert_int_equal(read(to, copied, 10), 4);
	hash_job_allow(job, 10);
	while (!result.done)
		assert_ok(loop_step(loop, -1, &err), &err);
	assert_int_equal(result.status, 0);
	assert_int_equal(pread(to, copied, 10, 0), 10);
	assert_string_equal(copied, "0123456789");
	loop_free(loop);
	close(fd);
	close(to);
}

static void test_copy_that_cannot_be_written(void **state UNUSED)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct result result = { .done = false };
	struct loop *loop;
	int fd = make_file("abc", 3), to = open("file", O_RDONLY | O_CLOEXEC);
	assert_ok(loop_new(&loop, &err), &err);
	assert_non_null(hash_job_start_copy(loop, fd, to, 3, 3, note, &result, &err));
	while (!result.done)
		assert_ok(loop_step(loop, -1, &err), &err);
	assert_int_equal(result.status, -1);
	loop_free(loop);
	close(fd);
	close(to);
}

static void test_drop_while_waiting(void **state UNUSED)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct result result = { .done = false };
	struct loop *loop;
	int fd = make_file("abc", 3);
	assert_ok(loop_new(&loop, &err), &err);
	struct hash_job *job = hash_job_start(loop, DIGEST_MD5, fd, 0, 3, 1, note, &result, &err);
	assert_non_null(job);
	hash_job_drop(job);
	assert_false(result.done);
	loop_free(loop);
	close(fd);
}

static void test_shorter_than_said(void **state UNUSED)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct result result = { .done = false };
	struct loop *loop;
	int fd = make_file("abc", 3);
	assert_ok(loop_new(&loop, &err), &err);
	assert_non_null(hash_job_start(loop, DIGEST_MD5, fd, 0, 4, 4, note, &result, &err));
	while (!result.done)
		assert_ok(loop_step(loop, -1, &err), &err);
	assert_int_equal(result.status, -1);
	loop_free(loop);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_temp_dir(test_range_as_it_arrives),
		in_temp_dir(test_copy_as_it_arrives),
		in_temp_dir(test_copy_that_cannot_be_written),
		in_temp_dir(test_drop_while_waiting),
		in_temp_dir(test_shorter_than_said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
