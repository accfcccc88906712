/* What a target last printed. */
#include "engine/engine.h"

#include "base/fs.h"
#include "base/path.h"
#include "engine/components.h"
#include "engine/record.h"
#include "store/lock.h"
#include "store/outputs.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define FOLLOW_EVERY_MS 50

/* The end of a file, at most max bytes. */
static int read_end(const char *path, size_t max, struct buf *out, bool *ret_found, bool *ret_cut, struct err *err)
{
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
	struct stat st;
	*ret_found = false;
	if (fd < 0)
		return errno == ENOENT ? 0 : err_set_errno(err, ERR_FAILED, errno, "cannot open the log '%s'", path);
	if (sys.fstat(fd, &st) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot look at the log '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_FAILED, "the log '%s' is not a regular file", path);
	*ret_found = true;
	*ret_cut = (uint64_t)st.st_size > max;
	off_t at = *ret_cut ? st.st_size - (off_t)max : 0;
	char chunk[16384];
	while (at < st.st_size) {
		size_t want = (uint64_t)(st.st_size - at) < sizeof(chunk) ? (size_t)(st.st_size - at) : sizeof(chunk);
		ssize_t got = sys.pread(fd, chunk, want, at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set_errno(err, ERR_FAILED, errno, "cannot read the log '%s'", path);
		if (got == 0)
			break;
		buf_add(out, chunk, (size_t)got);
		at += got;
	}
	return 0;
}

/* The log that the output cache has of the result that is recorded now. */
static int from_cache(const struct record *record, struct buf *out, struct err *err)
{
	struct outputs *cache;
	struct action action;
	struct digest key;
	bool found;
	if (outputs_open(&cache, err) < 0)
		return -1;
	components_key(record->components.data, record->components.len, &key);
	int failed = outputs_find(cache, &key, &action, &found, err);
	if (!failed && found) {
		buf_add(out, action.log.data, action.log.len);
		action_release(&action);
	}
	outputs_close(cache);
	return failed;
}

int engine_log(const struct project *project, const struct target *target, size_t max, struct buf *out, bool *ret_found, bool *ret_cut,
	       struct err *err)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct record record = RECORD_INIT;
	struct state *state;
	*ret_cut = false;
	engine_log_path(project, target, &path);
	if (read_end(path.data, max, out, ret_found, ret_cut, err) < 0)
		return -1;
	if (*ret_found)
		return 0;
	if (state_open(project->root, &state, err) < 0)
		return -1;
	record_load(&record, state, target->name);
	*ret_found = record.exists;
	int failed = record.exists ? from_cache(&record, out, err) : 0;
	record_release(&record);
	state_close(state);
	return failed;
}

/* A log that is being written. It goes and comes again at each attempt. */
struct tail {
	const char *path;
	int fd; /* -1: not there yet */
	off_t at;
};

static void close_tail(struct tail *tail)
{
	fs_close_fd(&tail->fd);
}

/* Whether the file that is open is no longer the one at its path. */
static bool is_replaced(const struct tail *tail)
{
	struct stat open, there;
	return sys.fstat(tail->fd, &open) == 0 &&
	       (sys.fstatat(AT_FDCWD, tail->path, &there, AT_SYMLINK_NOFOLLOW) < 0 || open.st_ino != there.st_ino || there.st_size < tail->at);
}

static bool give_new(struct tail *tail, bool (*more)(void *ctx, const char *bytes, size_t len), void *ctx)
{
	char chunk[16384];
	ssize_t got;
	if (tail->fd >= 0 && is_replaced(tail))
		fs_close_fd(&tail->fd);
	if (tail->fd < 0) {
		tail->at = 0;
		tail->fd = sys.openat(AT_FDCWD, tail->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
	}
	while (tail->fd >= 0 && (got = sys.pread(tail->fd, chunk, sizeof(chunk), tail->at)) > 0) {
		tail->at += got;
		if (!more(ctx, chunk, (size_t)got))
			return false;
	}
	return true;
}

static void follow(struct locks *locks, const struct target *target, struct tail *tail, bool (*more)(void *ctx, const char *bytes, size_t len),
		  void *ctx, bool *ret_running)
{
	const struct timespec pause = { .tv_nsec = FOLLOW_EVERY_MS * 1000000L };
	bool going = *ret_running = locks_is_taken(locks, target->name);
	while (going) {
		/* Asked first: what is written before the end is read after the question. */
		bool runs = locks_is_taken(locks, target->name);
		going = give_new(tail, more, ctx) && runs;
		if (going)
			nanosleep(&pause, NULL);
	}
}

int engine_follow(const struct project *project, const struct target *target, bool (*more)(void *ctx, const char *bytes, size_t len), void *ctx,
		  bool *ret_running, struct err *err)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct state *state;
	struct locks *locks = NULL;
	*ret_running = false;
	engine_log_path(project, target, &path);
	struct tail tail CLEANUP(close_tail) = { .path = path.data, .fd = -1 };
	if (state_open(project->root, &state, err) < 0)
		return -1;
	OWNED char *dir = path_joined(state_dir(state), "locks");
	state_close(state);
	if (!fs_is_dir(dir))
		return 0;
	if (locks_open(dir, "mlmake log", &locks, err) < 0)
		return -1;
	follow(locks, target, &tail, more, ctx, ret_running);
	locks_close(locks);
	return 0;
}
