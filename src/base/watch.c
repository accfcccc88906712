#include "base/watch.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/vec.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/inotify.h>

#define WATCHED (IN_CREATE | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR | IN_EXCL_UNLINK)

struct watch {
	int fd;
	VEC(char *) dirs; /* by watch descriptor: small numbers that count up; NULL: gone */
};

int watch_new(struct watch **ret, struct err *err)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0) {
		err_set_errno(err, ERR_FAILED, errno, "cannot watch for changes");
		return errno == EMFILE ? err_hint(err, "end other programs that watch files, or raise fs.inotify.max_user_instances by sysctl") : -1;
	}
	*ret = mem_alloc(sizeof(**ret));
	(*ret)->fd = fd;
	return 0;
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	for (size_t i = 0; i < watch->dirs.len; i++)
		free(watch->dirs.at[i]);
	vec_release(&watch->dirs);
	fs_close_fd(&watch->fd);
	free(watch);
}

int watch_fd(const struct watch *watch)
{
	return watch->fd;
}

int watch_add(struct watch *watch, const char *dir, bool *ret_added, struct err *err)
{
	int id = inotify_add_watch(watch->fd, dir, WATCHED);
	if (ret_added)
		*ret_added = id >= 0;
	if (id < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES))
		return 0;
	if (id < 0) {
		int number = errno;
		err_set_errno(err, ERR_FAILED, number, "cannot watch '%s'", dir);
		return number == ENOSPC ? err_hint(err, "the kernel allows no more: raise fs.inotify.max_user_watches by sysctl") : -1;
	}
	while (watch->dirs.len <= (size_t)id)
		vec_push(&watch->dirs, NULL);
	/* A directory that was renamed keeps its number. */
	free(watch->dirs.at[id]);
	watch->dirs.at[id] = mem_strdup(dir);
	return 0;
}

static bool take(struct watch *watch, const struct inotify_event *event, watch_fn *fn, void *ctx)
{
	if (event->mask & IN_Q_OVERFLOW)
		return true;
	if (event->wd < 0 || (size_t)event->wd >= watch->dirs.len || !watch->dirs.at[event->wd])
		return false;
	if (event->mask & IN_IGNORED) {
		free(watch->dirs.at[event->wd]);
		watch->dirs.at[event->wd] = NULL;
		return false;
	}
	/* A file that was created and is still being written tells more when it is closed; a link or a directory is whole. */
	if (!event->len)
		return false;
	OWNED char *path = path_joined(watch->dirs.at[event->wd], event->name);
	const struct watch_event told = { path, event->mask & IN_ISDIR, event->mask & (IN_CREATE | IN_MOVED_TO) };
	fn(ctx, &told);
	return false;
}

bool watch_read(struct watch *watch, watch_fn *fn, void *ctx)
{
	alignas(struct inotify_event) char bytes[16384];
	bool overflow = false;
	ssize_t got;
	while ((got = sys.read(watch->fd, bytes, sizeof(bytes))) > 0)
		for (const char *at = bytes; at < bytes + got;) {
			const struct inotify_event *event = (const struct inotify_event *)(const void *)at;
			overflow = take(watch, event, fn, ctx) || overflow;
			at += sizeof(*event) + event->len;
		}
	return overflow;
}
