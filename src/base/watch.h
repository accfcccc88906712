/*
 * Directories under watch, by inotify(7): what is created, written and closed, renamed, removed or given other rights in them.
 *
 *     struct watch *watch;
 *     watch_new(&watch, err);
 *     watch_add(watch, "/home/a/src", err);
 *     when watch_fd(watch) is readable: overflow = watch_read(watch, on_event, ctx);
 *     watch_free(watch);
 *
 * Files are watched by their directory, so that one that an editor replaces by renaming another over it is seen. A file that is being written counts when
 * it is closed. Directories in a watched one must be added by themselves.
 */
#ifndef BASE_WATCH_H
#define BASE_WATCH_H

#include "base/err.h"

struct watch;

struct watch_event {
	const char *path; /* as its directory was added, and the name in it */
	bool is_dir;
	bool came;        /* created, or moved here; else changed or gone */
};
typedef void watch_fn(void *ctx, const struct watch_event *event);

int watch_new(struct watch **ret, struct err *err) MUST_CHECK;
void watch_free(struct watch *watch); /* NULL is fine */
int watch_fd(const struct watch *watch);

/* Again is fine. A directory that is not there, or is no directory, is none; *ret_added (may be NULL) says. ERR_FAILED with a hint where the kernel allows no
 * more. */
int watch_add(struct watch *watch, const char *dir, bool *ret_added, struct err *err) MUST_CHECK;

/* All that is there, without waiting. True if the kernel dropped some: then anything may have changed. */
bool watch_read(struct watch *watch, watch_fn *fn, void *ctx);

#endif
