/* Large files, read beside the loop: inputs before their target is decided, outputs of a job that has succeeded, which are copied into the
 * output cache as well, and files of the output cache that are wanted in the work tree. What is found out is told to hashes and cache, which then do as
 * they always do, with nothing left to read. */
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

#define TICKS_MAX 100 /* of 2 ms, until the file system's clock has passed the file's times */
#define CHUNK ((size_t)1 << 20)

struct ahead_file {
	char *path; /* below the root */
	enum digest_kind kind;
	bool follow;
	struct digest digest;
	struct fs_stamp stamp;
	int64_t clock;
	bool known;
	uint64_t brought; /* bytes that the cache did not have */
	uint64_t size;    /* of what is taken out of the cache */
	char *to;         /* where it goes; NULL: it is not taken */
};

struct ahead {
	struct pool_aside aside;
	struct run *run;
	struct job *job; /* whose outputs they are, or will be (then the files have a to); NULL: inputs */
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
	if (S_ISREG(entry->st->st_mode) && (uint64_t)entry->st->st_size >= AHEAD_FROM)
		vec_push(&ahead->files, ((struct ahead_file){ .path = mem_strdup(entry->path + strlen(ahead->root) + 1), .kind = DIGEST_SHA256 }));
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
static bool read_all(const struct ahead *ahead, int fd, enum digest_kind kind, struct digest *ret)
{
	char *chunk OWNED = mem_alloc(CHUNK);
	struct digest_stream *stream = digest_begin(kind);
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

static void read_one(const struct ahead *ahead, struct ahead_file *file)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct fs_stamp after;
	OWNED char *path = path_joined(ahead->root, file->path);
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (file->follow ? 0 : O_NOFOLLOW), 0);
	if (fd < 0 || !stamp_fd(fd, &file->stamp) || !wait_for_tick(ahead, &file->stamp, &file->clock))
		return;
	if (!read_all(ahead, fd, file->kind, &file->digest) || !stamp_fd(fd, &after) || !fs_stamp_same(&file->stamp, &after))
		return;
	file->known = true;
	/* What goes wrong here is found, and told, when the loop does it. */
	if (ahead->cache && !atomic_load(&ahead->stop) &&
	    outputs_bring(ahead->cache, path, &file->digest, file->stamp.size, &file->brought, &ignored) < 0)
		err_release(&ignored);
}

static void take_one(const struct ahead *ahead, struct ahead_file *file)
{
	const struct manifest_entry entry = { .type = HASH_FILE, .size = file->size, .digest = file->digest };
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	/* What goes wrong is found, and told, when the loop does it. */
	if (outputs_take(ahead->cache, &entry, file->to, &ahead->stop, &file->known, &ignored) < 0)
		file->known = false;
}

static void do_one(void *ctx, size_t index)
{
	struct ahead *ahead = ctx;
	struct ahead_file *file = &ahead->files.at[index];
	if (file->to)
		take_one(ahead, file);
	else
		read_one(ahead, file);
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
	pool_each(0, ahead->files.len, do_one, ahead);
	(void)eventfd_write(ahead->event_fd, 1);
}

/* In the loop. */

/* False if there is nothing large; then job->seen is what they are now. */
static bool look_at_outputs(struct ahead *ahead, const struct target *target)
{
	struct job *job = ahead->job;
	job->seen.len = 0;
	for (size_t i = 0; i < target->outputs.len; i++) {
		OWNED char *path = path_joined(ahead->root, target->outputs.at[i].path);
		struct stat st;
		struct fs_stamp stamp;
		if (sys.fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return false;
		fs_stamp_of(&stamp, &st);
		vec_push(&job->seen, stamp);
		if (S_ISDIR(st.st_mode))
			strlist_add(&ahead->dirs, target->outputs.at[i].path);
		else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size >= AHEAD_FROM)
			vec_push(&ahead->files, ((struct ahead_file){ .path = mem_strdup(target->outputs.at[i].path), .kind = DIGEST_SHA256 }));
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
		loop_remove_fd(ahead->run->loop, ahead->source);
	fs_close_fd(&ahead->event_fd);
	fs_close_fd(&ahead->clock_fd);
	for (size_t i = 0; i < ahead->files.len; i++) {
		struct ahead_file *file = &ahead->files.at[i];
		if (file->to)
			(void)sys.unlinkat(AT_FDCWD, file->to, 0);
		free(file->to);
		free(file->path);
	}
	vec_release(&ahead->files);
	strlist_release(&ahead->dirs);
	free(ahead);
}

static void start_reading(struct run *run);

static void inputs_are_read(struct run *run)
{
	run->reading.now = NULL;
	for (size_t i = 0; i < run->reading.nodes.len; i++)
		run_undecide(run, run->reading.nodes.at[i]);
	run->reading.nodes.len = 0;
	if (run->reading.next.len)
		start_reading(run);
}

/* What was not copied whole has no file. */
static void hand_over(struct job *job, struct ahead_file *file)
{
	char hex[DIGEST_HEX_MAX];
	if (!file->known)
		return;
	digest_hex(&file->digest, hex);
	map_set(&job->taken.paths, hex, file->to);
	file->to = NULL;
}

static void on_done(void *ctx, int fd, uint32_t events)
{
	struct ahead *ahead = ctx;
	struct job *job = ahead->job;
	struct run *run = ahead->run;
	(void)fd;
	(void)events;
	pool_aside_join(&ahead->aside);
	ahead->aside.started = false;
	bool taking = ahead->files.len && ahead->files.at[0].to;
	for (size_t i = 0; i < ahead->files.len; i++) {
		struct ahead_file *file = &ahead->files.at[i];
		if (taking) {
			hand_over(job, file);
			continue;
		}
		if (file->known)
			hashes_learn(run->hashes, file->kind, file->path, &file->digest, &file->stamp, file->clock);
		if (file->brought)
			outputs_brought(run->cache, file->brought);
	}
	ahead_free(ahead);
	if (!job) {
		inputs_are_read(run);
		return;
	}
	job->ahead = NULL;
	if (taking)
		exec_taken(job);
	else
		finish_success(job);
}

static struct ahead *new_ahead(struct run *run, struct job *job)
{
	struct ahead *ahead = mem_alloc(sizeof(*ahead));
	*ahead = (struct ahead){ .run = run, .job = job, .root = run->project->root, .event_fd = -1, .clock_fd = -1 };
	return ahead;
}

/* False, and it is freed, where there is no thread or no descriptor for it. */
static bool start(struct ahead *ahead)
{
	ahead->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ahead->clock_fd = clock_open(ahead->root, true);
	if (ahead->event_fd >= 0 && ahead->clock_fd >= 0)
		pool_aside_begin(&ahead->aside, read_them, ahead);
	if (!ahead->aside.started) {
		ahead_free(ahead);
		return false;
	}
	ahead->source = loop_add_fd(ahead->run->loop, ahead->event_fd, EPOLLIN, on_done, ahead);
	return true;
}

bool ahead_begin(struct job *job)
{
	struct run *run = job->run;
	const struct target *target = job->node->target;
	if (!target->outputs.len)
		return false;
	struct ahead *ahead = new_ahead(run, job);
	ahead->cache = check_uses_cache(run, target) ? run->cache : NULL;
	if (!look_at_outputs(ahead, target)) {
		ahead_free(ahead);
		return false;
	}
	job->seen.len = 0;
	if (!start(ahead))
		return false;
	job->ahead = ahead;
	return true;
}

/* Each content once. */
static int list_large(struct ahead *ahead, const struct manifest *manifest, struct err *err)
{
	struct map seen CLEANUP(map_release) = MAP_INIT;
	for (size_t i = 0; i < manifest->len; i++) {
		const struct manifest_entry *entry = &manifest->at[i];
		struct ahead_file file = { .digest = entry->digest, .size = entry->size };
		char hex[DIGEST_HEX_MAX];
		digest_hex(&entry->digest, hex);
		if (entry->type != HASH_FILE || entry->size < AHEAD_FROM || !map_set(&seen, hex, NULL))
			continue;
		if (outputs_waiting_place(ahead->run->cache, ahead->root, &file.to, err) < 0)
			return -1;
		vec_push(&ahead->files, file);
	}
	return 0;
}

bool ahead_take(struct job *job)
{
	struct run *run = job->run;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct action action;
	bool found;
	if (!check_may_restore(run, job->node->target, &job->fp) ||
	    outputs_find(run->cache, fingerprint_key(&job->fp), &action, &found, &ignored) < 0 || !found)
		return false;
	struct ahead *ahead = new_ahead(run, job);
	ahead->cache = run->cache;
	int failed = list_large(ahead, &action.manifest, &ignored);
	action_release(&action);
	if (failed || !ahead->files.len) {
		ahead_free(ahead);
		return false;
	}
	if (!start(ahead))
		return false;
	job->ahead = ahead;
	return true;
}

static void start_reading(struct run *run)
{
	struct reading *reading = &run->reading;
	struct ahead *ahead = new_ahead(run, NULL);
	for (size_t i = 0; i < reading->files.len; i++) {
		const struct hash_left *left = &reading->files.at[i];
		vec_push(&ahead->files, ((struct ahead_file){ .path = left->path, .kind = left->kind, .follow = left->follow }));
	}
	vec_release(&reading->files);
	map_release(&reading->seen);
	for (size_t i = 0; i < reading->next.len; i++)
		vec_push(&reading->nodes, reading->next.at[i]);
	reading->next.len = 0;
	if (start(ahead))
		reading->now = ahead;
	else
		inputs_are_read(run);
}

void ahead_read_inputs(struct run *run, struct node *node, struct hashes_left *files)
{
	struct reading *reading = &run->reading;
	node->read_ahead = true;
	vec_push(&reading->next, node);
	for (size_t i = 0; i < files->len; i++) {
		struct hash_left *left = &files->at[i];
		OWNED char *key = mem_printf("%d%s", (int)left->kind, left->path);
		if (map_has(&reading->seen, key)) {
			free(left->path);
			continue;
		}
		map_set(&reading->seen, key, NULL);
		vec_push(&reading->files, *left);
	}
	vec_release(files);
	if (!reading->now)
		start_reading(run);
}

void ahead_end(struct run *run)
{
	struct reading *reading = &run->reading;
	ahead_free(reading->now);
	reading->now = NULL;
	hashes_left_release(&reading->files);
	map_release(&reading->seen);
	vec_release(&reading->nodes);
	vec_release(&reading->next);
}
