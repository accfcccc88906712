/* Large outputs of a job that has succeeded: read, and copied into the output cache, beside the loop. What is found out is told to hashes and
 * cache, which then do as they always do, with nothing left to read. */
#include "engine/run.h"

#include "base/path.h"
#include "base/pool.h"
#include "store/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#define LARGE ((uint64_t)8 << 20)
#define TICKS_MAX 100 /* of 2 ms, until the file system's clock has passed the file's times */
#define CHUNK ((size_t)1 << 20)

struct ahead_file {
	char *path; /* below the root */
	struct digest digest;
	struct fs_stamp stamp;
	int64_t clock;
	bool known;
	uint64_t brought; /* bytes that the cache did not have */
};

struct ahead {
	struct pool_aside aside;
	struct job *job;
	struct loop_source *source;
	int event_fd, clock_fd;
	const char *root;
	const struct outputs *cache; /* NULL: they are not kept */
	atomic_bool stop;
	struct strlist dirs;
	VEC(struct ahead_file) files;
};

/* In the thread. */

static int take_file(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct ahead *ahead = ctx;
	(void)err;
	if (S_ISREG(entry->st->st_mode) && (uint64_t)entry->st->st_size >= LARGE)
		vec_push(&ahead->files, ((struct ahead_file){ .path = mem_strdup(entry->path + strlen(ahead->root) + 1) }));
	return atomic_load(&ahead->stop) ? -1 : 0;
}

/* A file as young as the clock could change without a trace, and would be read again. */
static bool wait_for_tick(const struct ahead *ahead, const struct fs_stamp *stamp, int64_t *ret_clock)
{
	int64_t newest = stamp->mtime_ns > stamp->ctime_ns ? stamp->mtime_ns : stamp->ctime_ns;
	for (int i = 0; i < TICKS_MAX && !atomic_load(&ahead->stop); i++) {
		*ret_clock = clock_now(ahead->clock_fd);
		if (*ret_clock == CLOCK_NONE)
			return false;
		if (*ret_clock > newest)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	return false;
}

/* Until the end, or until it is not wanted any more. */
static bool read_all(const struct ahead *ahead, int fd, struct digest *ret)
{
	char *chunk OWNED = mem_alloc(CHUNK);
	struct digest_stream *stream = digest_begin(DIGEST_SHA256);
	ssize_t got = 0;
	do {
		got = atomic_load(&ahead->stop) ? -1 : sys.read(fd, chunk, CHUNK);
		if (got > 0)
			digest_add(stream, chunk, (size_t)got);
	} while (got > 0 || (got < 0 && errno == EINTR && !atomic_load(&ahead->stop)));
	if (got == 0)
		digest_end(stream, ret);
	else
		digest_drop(stream);
	return got == 0;
}

static bool stamp_fd(int fd, struct fs_stamp *ret)
{
	struct stat st;
	if (sys.fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	fs_stamp_of(ret, &st);
	return true;
}

static void read_one(void *ctx, size_t index)
{
	const struct ahead *ahead = ctx;
	struct ahead_file *file = &ahead->files.at[index];
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct fs_stamp after;
	OWNED char *path = path_joined(ahead->root, file->path);
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0 || !stamp_fd(fd, &file->stamp) || !wait_for_tick(ahead, &file->stamp, &file->clock))
		return;
	if (!read_all(ahead, fd, &file->digest) || !stamp_fd(fd, &after) || !fs_stamp_same(&file->stamp, &after))
		return;
	file->known = true;
	/* What goes wrong here is found, and told, when the loop does it. */
	if (ahead->cache && !atomic_load(&ahead->stop) &&
	    outputs_bring(ahead->cache, path, &file->digest, file->stamp.size, &file->brought, &ignored) < 0)
		err_release(&ignored);
}

static void read_them(void *ctx, size_t index)
{
	struct ahead *ahead = ctx;
	(void)index;
	for (size_t i = 0; i < ahead->dirs.len; i++) {
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		OWNED char *path = path_joined(ahead->root, ahead->dirs.at[i]);
		if (fs_walk(path, take_file, ahead, &ignored) < 0)
			break;
	}
	pool_each(0, ahead->files.len, read_one, ahead);
	(void)eventfd_write(ahead->event_fd, 1);
}

/* In the loop. */

static bool look_at_outputs(struct ahead *ahead, const struct target *target)
{
	for (size_t i = 0; i < target->outputs.len; i++) {
		OWNED char *path = path_joined(ahead->root, target->outputs.at[i].path);
		struct stat st;
		if (sys.fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return false;
		if (S_ISDIR(st.st_mode))
			strlist_add(&ahead->dirs, target->outputs.at[i].path);
		else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size >= LARGE)
			vec_push(&ahead->files, ((struct ahead_file){ .path = mem_strdup(target->outputs.at[i].path) }));
	}
	return ahead->dirs.len || ahead->files.len;
}

void ahead_free(struct ahead *ahead)
{
	if (!ahead)
		return;
	atomic_store(&ahead->stop, true);
	if (ahead->aside.started)
		pool_aside_join(&ahead->aside);
	if (ahead->source)
		loop_remove_fd(ahead->job->run->loop, ahead->source);
	fs_close_fd(&ahead->event_fd);
	fs_close_fd(&ahead->clock_fd);
	for (size_t i = 0; i < ahead->files.len; i++)
		free(ahead->files.at[i].path);
	vec_release(&ahead->files);
	strlist_release(&ahead->dirs);
	free(ahead);
}

static void on_done(void *ctx, int fd, uint32_t events)
{
	struct ahead *ahead = ctx;
	struct job *job = ahead->job;
	struct run *run = job->run;
	(void)fd;
	(void)events;
	pool_aside_join(&ahead->aside);
	ahead->aside.started = false;
	for (size_t i = 0; i < ahead->files.len; i++) {
		const struct ahead_file *file = &ahead->files.at[i];
		if (file->known)
			hashes_learn(run->hashes, DIGEST_SHA256, file->path, &file->digest, &file->stamp, file->clock);
		if (file->brought)
			outputs_brought(run->cache, file->brought);
	}
	job->ahead = NULL;
	ahead_free(ahead);
	finish_success(job);
}

bool ahead_begin(struct job *job)
{
	struct run *run = job->run;
	const struct target *target = job->node->target;
	if (!target->outputs.len)
		return false;
	struct ahead *ahead = mem_alloc(sizeof(*ahead));
	*ahead = (struct ahead){ .job = job, .root = run->project->root, .event_fd = -1, .clock_fd = -1 };
	ahead->cache = check_uses_cache(run, target) ? run->cache : NULL;
	if (look_at_outputs(ahead, target)) {
		ahead->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ahead->clock_fd = clock_open(ahead->root, true);
	}
	if (ahead->event_fd >= 0 && ahead->clock_fd >= 0)
		pool_aside_begin(&ahead->aside, read_them, ahead);
	if (!ahead->aside.started) {
		ahead_free(ahead);
		return false;
	}
	ahead->source = loop_add_fd(run->loop, ahead->event_fd, EPOLLIN, on_done, ahead);
	job->ahead = ahead;
	return true;
}
