#include "unit/unit.h"

#include "base/watch.h"

#include <poll.h>

struct seen {
	char text[2000];
};

static void on_event(void *ctx, const struct watch_event *event)
{
	struct seen *seen = ctx;
	size_t len = strlen(seen->text);
	snprintf(seen->text + len, sizeof(seen->text) - len, "%s%s%s ", event->came ? "+" : "", path_base(event->path), event->is_dir ? "/" : "");
}

static void write_here(const char *name, const char *text)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	assert_ok(fs_write_file(name, text, strlen(text), 0666, FS_VOLATILE, &err), &err);
}

static void what_happens_in_a_directory(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct watch *watch;
	struct seen seen = { "" };
	bool added;
	assert_ok(watch_new(&watch, &err), &err);
	assert_ok(fs_mkdirs("d", &err), &err);
	OWNED char *dir = path_joined(*state, "d");
	OWNED char *absent = path_joined(*state, "nowhere");
	assert_ok(watch_add(watch, dir, &added, &err), &err);
	assert_true(added);
	assert_ok(watch_add(watch, dir, &added, &err), &err);
	assert_ok(watch_add(watch, absent, &added, &err), &err);
	assert_false(added);
	assert_false(watch_read(watch, on_event, &seen));
	assert_string_equal(seen.text, "");
	write_here("other", "not in it");
	write_here("d/file", "renamed over");
	assert_ok(fs_mkdirs("d/sub", &err), &err);
	assert_ok(fs_remove("d/file", &err), &err);
	struct pollfd ready = { .fd = watch_fd(watch), .events = POLLIN };
	assert_int_equal(poll(&ready, 1, 1000), 1);
	assert_false(watch_read(watch, on_event, &seen));
	assert_non_null(strstr(seen.text, "+file "));
	assert_non_null(strstr(seen.text, "+sub/ "));
	assert_non_null(strstr(seen.text, " file "));
	assert_null(strstr(seen.text, "other"));
	seen.text[0] = 0;
	assert_ok(fs_remove_tree("d", &err), &err);
	assert_ok(fs_mkdirs("d", &err), &err);
	assert_ok(watch_add(watch, dir, NULL, &err), &err);
	write_here("d/again", "x");
	assert_false(watch_read(watch, on_event, &seen));
	assert_non_null(strstr(seen.text, "+again "));
	watch_free(watch);
}

int main(void)
{
	const struct CMUnitTest tests[] = { in_temp_dir(what_happens_in_a_directory) };
	return cmocka_run_group_tests_name("base/watch", tests, NULL, NULL);
}
