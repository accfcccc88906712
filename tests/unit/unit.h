/*
 * What unit tests share: cmocka's includes in the order it wants them, and a fresh directory a test.
 */
#ifndef UNIT_UNIT_H
#define UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/path.h"

/* Creates a directory and goes there; *state is its path. */
static inline int unit_enter_temp_dir(void **state)
{
	struct err err = ERR_INIT;
	struct buf path = BUF_INIT;
	const char *tmp = getenv("TMPDIR");
	if (fs_temp_dir(tmp ? tmp : "/tmp", "mlmake-unit-", &path, &err) < 0 || chdir(path.data) < 0)
		return -1;
	*state = buf_detach(&path);
	return 0;
}

static inline int unit_leave_temp_dir(void **state)
{
	struct err err = ERR_INIT;
	int failed = chdir("/") < 0 || fs_remove_tree(*state, &err) < 0;
	free(*state);
	return failed;
}

#define in_temp_dir(test) cmocka_unit_test_setup_teardown(test, unit_enter_temp_dir, unit_leave_temp_dir)

/* Fails with the error's own words. */
#define assert_ok(call, err)                                                                  \
	do {                                                                                  \
		if ((call) < 0)                                                               \
			fail_msg("%s: %s", #call, (err)->message ? (err)->message : "(none)"); \
	} while (0)

#define assert_error(call, err, expected_code, part)                                          \
	do {                                                                                  \
		assert_int_equal((call), -1);                                                 \
		assert_int_equal((err)->code, (expected_code));                               \
		assert_non_null((err)->message);                                              \
		if (!strstr((err)->message, (part)))                                          \
			fail_msg("'%s' does not say '%s'", (err)->message, (part));           \
	} while (0)

#endif
