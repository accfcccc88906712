/* A fresh directory for a test, and ways to put files there. Removed by scratch_release. */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct scratch {
	struct buf root;
	struct err err;
};

#define OK(call)                                                              \
	do {                                                                  \
		if ((call) < 0)                                               \
			fail_msg("%s: %s", #call, s->err.message);            \
	} while (0)

static inline int scratch_setup(void **state)
{
	struct scratch *s = mem_alloc(sizeof(*s));
	const char *tmp = getenv("TMPDIR");
	buf_init(&s->root);
	unsetenv("MLMAKE_STATE_DIR");
	OK(fs_temp_dir(tmp && *tmp ? tmp : "/tmp", "mlmake-unit-", &s->root, &s->err));
	char *cache = path_joined(s->root.data, "cache");
	setenv("MLMAKE_CACHE_DIR", cache, 1);
	free(cache);
	buf_addstr(&s->root, "/project");
	OK(fs_mkdirs(s->root.data, &s->err));
	*state = s;
	return 0;
}

static inline int scratch_teardown(void **state)
{
	struct scratch *s = *state;
	buf_truncate(&s->root, s->root.len - strlen("/project"));
	int failed = fs_remove_tree(s->root.data, &s->err);
	buf_release(&s->root);
	err_release(&s->err);
	free(s);
	return failed;
}

static inline void scratch_write_mode(struct scratch *s, const char *name, const char *text, mode_t mode)
{
	char *path = path_joined(s->root.data, name);
	OK(fs_mkdirs_for(path, &s->err));
	OK(fs_write_file(path, text, strlen(text), mode, FS_VOLATILE, &s->err));
	free(path);
}

static inline void scratch_write(struct scratch *s, const char *name, const char *text)
{
	scratch_write_mode(s, name, text, 0644);
}

/* Contents as an allocated string; NULL if there is no such file. */
static inline char *scratch_read(struct scratch *s, const char *name)
{
	struct buf text = BUF_INIT;
	char *path = path_joined(s->root.data, name);
	int failed = fs_read_file(path, 1 << 20, &text, &s->err);
	free(path);
	if (!failed)
		return buf_detach(&text);
	buf_release(&text);
	return NULL;
}

static inline void scratch_remove(struct scratch *s, const char *name)
{
	char *path = path_joined(s->root.data, name);
	OK(fs_remove_tree(path, &s->err));
	free(path);
}

/* Until the file system's clock has moved on, so that what was written so far is not racy any more. */
static inline void scratch_tick(struct scratch *s)
{
	int64_t start, now;
	OK(fs_clock(s->root.data, &start, &s->err));
	do {
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
		OK(fs_clock(s->root.data, &now, &s->err));
	} while (now <= start);
}

#endif
