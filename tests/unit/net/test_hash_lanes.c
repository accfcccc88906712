#include "../unit.h"

#include "base/fs.h"
#include "base/mem.h"
#include "net/hash_lanes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define MANY 21 /* more than there are lanes */
#define PATIENCE_MS 20000

struct file {
	int fd;
	uint64_t len, allowed;
	uint8_t *bytes;
	struct hash_job *job; /* NULL: done */
	unsigned done;
	int status;
	struct digest digest;
	struct err err;
};

struct scene {
	struct loop *loop;
	struct hash_lanes *lanes;
	struct file files[MANY];
};

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static void note(void *ctx, int status, const struct digest *digest, struct err *err)
{
	struct file *file = ctx;
	file->job = NULL;
	file->done++;
	file->status = status;
	file->digest = *digest;
	err_move(&file->err, err);
}

static void scene_begin(struct scene *scene)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	memset(scene, 0, sizeof(*scene));
	for (size_t i = 0; i < MANY; i++)
		scene->files[i].fd = -1;
	assert_ok(loop_new(&scene->loop, &err), &err);
	scene->lanes = hash_lanes_new();
}

static void scene_end(struct scene *scene)
{
	for (size_t i = 0; i < MANY; i++) {
		hash_job_drop(scene->files[i].job);
		fs_close_fd(&scene->files[i].fd);
		free(scene->files[i].bytes);
		err_release(&scene->files[i].err);
	}
	hash_lanes_free(scene->lanes);
	loop_free(scene->loop);
}

static void start(struct scene *scene, size_t index, uint64_t len, uint64_t allowed)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct file *file = &scene->files[index];
	file->allowed = allowed;
	file->job = hash_job_start_shared(scene->lanes, scene->loop, file->fd, len, allowed, note, file, &err);
	assert_non_null(file->job);
}

static void make(struct scene *scene, size_t index, uint64_t len, uint64_t *random)
{
	struct file *file = &scene->files[index];
	char name[32];
	snprintf(name, sizeof(name), "file%zu", index);
	file->fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	file->len = len;
	file->bytes = mem_alloc(len + 1);
	for (uint64_t i = 0; i < len; i++)
		file->bytes[i] = (uint8_t)next_random(random);
	assert_int_equal(write(file->fd, file->bytes, len), len);
}

static void finish(struct scene *scene, size_t index)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	uint64_t until = loop_now_ms() + PATIENCE_MS;
	while (scene->files[index].job && loop_now_ms() < until)
		assert_ok(loop_step(scene->loop, 100, &err), &err);
	assert_int_equal(scene->files[index].done, 1);
}

static void has_its_digest(const struct file *file)
{
	struct digest expected;
	digest_bytes(DIGEST_MD5, file->bytes, file->len, &expected);
	assert_int_equal(file->status, 0);
	assert_true(digest_eq(&file->digest, &expected));
}

static bool comes_to(struct hash_job *job, uint64_t at, unsigned within_ms)
{
	uint64_t until = loop_now_ms() + within_ms;
	while (hash_job_at(job) < at) {
		if (loop_now_ms() > until)
			return false;
		usleep(1000);
	}
	return true;
}

static void many_as_they_arrive(void **state UNUSED)
{
	static const uint64_t lengths[] = { 0, 1, 55, 56, 63, 64, 65, 65535, 65536, 65537, 131072, 1000003, HASH_LANES_LAG + 12345 };
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct scene scene;
	uint64_t random = 3;
	scene_begin(&scene);
	for (size_t i = 0; i < MANY; i++) {
		make(&scene, i, lengths[i % ARRAY_LEN(lengths)], &random);
		start(&scene, i, scene.files[i].len, next_random(&random) % 3 ? 0 : scene.files[i].len / 2);
	}
	for (bool more = true; more;) {
		struct file *file = &scene.files[next_random(&random) % MANY];
		file->allowed += next_random(&random) % 400000;
		if (file->allowed > file->len)
			file->allowed = file->len;
		if (file->job)
			hash_job_allow(file->job, file->allowed);
		assert_ok(loop_step(scene.loop, 0, &err), &err);
		more = false;
		for (size_t i = 0; i < MANY; i++)
			more = more || scene.files[i].allowed < scene.files[i].len;
	}
	for (size_t i = 0; i < MANY; i++) {
		finish(&scene, i);
		has_its_digest(&scene.files[i]);
	}
	scene_end(&scene);
}

/* A little of one waits for the other; a lot, or the end of it, does not. */
static void one_that_lags_behind(void **state UNUSED)
{
	struct scene scene;
	uint64_t random = 4, len = HASH_LANES_LAG + 100000;
	scene_begin(&scene);
	make(&scene, 0, len, &random);
	make(&scene, 1, len, &random);
	start(&scene, 0, len, 0);
	start(&scene, 1, len, 0);
	hash_job_allow(scene.files[0].job, 1000);
	assert_false(comes_to(scene.files[0].job, 1, 50));
	hash_job_allow(scene.files[1].job, 500);
	assert_true(comes_to(scene.files[0].job, 1000, PATIENCE_MS));
	assert_true(comes_to(scene.files[1].job, 500, PATIENCE_MS));
	hash_job_allow(scene.files[0].job, 1000 + HASH_LANES_LAG);
	assert_true(comes_to(scene.files[0].job, 1001, PATIENCE_MS));
	hash_job_allow(scene.files[0].job, len);
	finish(&scene, 0);
	has_its_digest(&scene.files[0]);
	assert_int_equal(hash_job_at(scene.files[1].job), 500);
	hash_job_allow(scene.files[1].job, 2000);
	assert_true(comes_to(scene.files[1].job, 2000, PATIENCE_MS));
	hash_job_allow(scene.files[1].job, len);
	finish(&scene, 1);
	has_its_digest(&scene.files[1]);
	scene_end(&scene);
}

static void a_dropped_one_is_waited_for_no_more(void **state UNUSED)
{
	struct scene scene;
	uint64_t random = 4;
	scene_begin(&scene);
	make(&scene, 0, 5000, &random);
	make(&scene, 1, 5000, &random);
	start(&scene, 0, 5000, 0);
	start(&scene, 1, 5000, 1000);
	assert_false(comes_to(scene.files[1].job, 1, 50));
	hash_job_drop(scene.files[0].job);
	scene.files[0].job = NULL;
	assert_true(comes_to(scene.files[1].job, 1000, PATIENCE_MS));
	hash_job_allow(scene.files[1].job, 5000);
	finish(&scene, 1);
	has_its_digest(&scene.files[1]);
	assert_int_equal(scene.files[0].done, 0);
	scene_end(&scene);
}

static _Atomic int bad_fd;
static ssize_t (*real_pread)(int fd, void *to, size_t len, off_t at);

static ssize_t fail_of_one(int fd, void *to, size_t len, off_t at)
{
	errno = EIO;
	return fd == bad_fd ? -1 : real_pread(fd, to, len, at);
}

static void each_fails_alone(void **state UNUSED)
{
	struct scene scene;
	uint64_t random = 6;
	scene_begin(&scene);
	for (size_t i = 0; i < 4; i++)
		make(&scene, i, 200000, &random);
	real_pread = sys.pread;
	bad_fd = scene.files[2].fd;
	sys.pread = fail_of_one;
	for (size_t i = 0; i < 4; i++)
		start(&scene, i, i == 1 ? 200001 : 200000, 200001);
	for (size_t i = 0; i < 4; i++)
		finish(&scene, i);
	sys.pread = real_pread;
	has_its_digest(&scene.files[0]);
	has_its_digest(&scene.files[3]);
	assert_int_equal(scene.files[1].status, -1);
	assert_non_null(strstr(scene.files[1].err.message, "shorter"));
	assert_int_equal(scene.files[2].status, -1);
	assert_int_equal(scene.files[2].err.sys_errno, EIO);
	scene_end(&scene);
}

/* Reading all of it would take for ever. */
static void drops_amid_the_work(void **state UNUSED)
{
	const uint64_t len = (uint64_t)1 << 40;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct scene scene;
	uint64_t random = 8;
	scene_begin(&scene);
	for (size_t i = 0; i < 3; i++) {
		make(&scene, i, 1, &random);
		assert_int_equal(ftruncate(scene.files[i].fd, (off_t)len), 0);
		start(&scene, i, len, len);
	}
	make(&scene, 3, HASH_LANES_LAG, &random);
	start(&scene, 3, HASH_LANES_LAG, HASH_LANES_LAG);
	for (size_t i = 0; i < 3; i++) {
		assert_true(comes_to(scene.files[i].job, hash_job_at(scene.files[i].job) + 1, PATIENCE_MS));
		hash_job_drop(scene.files[i].job);
		scene.files[i].job = NULL;
		/* The thread has let go of it. */
		fs_close_fd(&scene.files[i].fd);
		assert_ok(loop_step(scene.loop, 0, &err), &err);
	}
	finish(&scene, 3);
	has_its_digest(&scene.files[3]);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(scene.files[i].done, 0);
	scene_end(&scene);
}

static _Atomic int is_reading, slow_fd;

static ssize_t read_slowly(int fd, void *to, size_t len, off_t at)
{
	if (fd != slow_fd)
		return real_pread(fd, to, len, at);
	is_reading = 1;
	usleep(100000);
	ssize_t got = real_pread(fd, to, len, at);
	is_reading = 0;
	return got;
}

static void a_drop_waits_for_what_reads(void **state UNUSED)
{
	struct scene scene;
	uint64_t random = 8;
	scene_begin(&scene);
	make(&scene, 0, 500000, &random);
	real_pread = sys.pread;
	slow_fd = scene.files[0].fd;
	sys.pread = read_slowly;
	start(&scene, 0, 500000, 500000);
	while (!is_reading)
		usleep(1000);
	hash_job_drop(scene.files[0].job);
	scene.files[0].job = NULL;
	assert_int_equal(is_reading, 0);
	usleep(50000);
	assert_int_equal(is_reading, 0);
	sys.pread = real_pread;
	scene_end(&scene);
}

/* More of them than there are lanes. */
static void one_behind_many_that_lag(void **state UNUSED)
{
	struct scene scene;
	uint64_t random = 8;
	scene_begin(&scene);
	for (size_t i = 0; i < MANY; i++) {
		make(&scene, i, 1000, &random);
		start(&scene, i, 1000, i < MANY - 1 ? 0 : 1000);
	}
	finish(&scene, MANY - 1);
	has_its_digest(&scene.files[MANY - 1]);
	scene_end(&scene);
}

/* It is done, and nobody has heard of it. */
static void dropped_when_it_is_done(void **state UNUSED)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct scene scene;
	uint64_t random = 9;
	scene_begin(&scene);
	make(&scene, 0, 3, &random);
	start(&scene, 0, 3, 3);
	assert_true(comes_to(scene.files[0].job, 3, PATIENCE_MS));
	usleep(20000);
	hash_job_drop(scene.files[0].job);
	scene.files[0].job = NULL;
	assert_ok(loop_step(scene.loop, 20, &err), &err);
	assert_int_equal(scene.files[0].done, 0);
	start(&scene, 0, 3, 3);
	finish(&scene, 0);
	has_its_digest(&scene.files[0]);
	scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_temp_dir(many_as_they_arrive),
		in_temp_dir(one_that_lags_behind),
		in_temp_dir(a_dropped_one_is_waited_for_no_more),
		in_temp_dir(each_fails_alone),
		in_temp_dir(drops_amid_the_work),
		in_temp_dir(a_drop_waits_for_what_reads),
		in_temp_dir(one_behind_many_that_lag),
		in_temp_dir(dropped_when_it_is_done),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
