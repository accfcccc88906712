#include "unit/unit.h"

#include "base/jobserver.h"

#include <fcntl.h>
#include <sys/stat.h>

static unsigned count(struct jobserver *server)
{
	char tokens[100];
	unsigned taken = 0;
	while (taken < sizeof(tokens) && jobserver_take(server, &tokens[taken]))
		taken++;
	for (unsigned i = 0; i < taken; i++)
		jobserver_give(server, tokens[i]);
	return taken;
}

static struct jobserver *join(enum jobserver_style style, const struct jobserver *server)
{
	struct buf flags CLEANUP(buf_release) = BUF_INIT;
	struct jobserver *joined;
	const char *why_not;
	jobserver_add_flags(server, style, &flags);
	jobserver_join(flags.data, &joined, &why_not);
	assert_null(why_not);
	assert_non_null(joined);
	return joined;
}

static void both_styles_lead_to_the_same_tokens(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct jobserver *server;
	char token;
	int fds[2];
	(void)state;
	assert_ok(jobserver_new(4, &server, &err), &err);
	assert_int_equal(count(server), 3);
	assert_int_equal(jobserver_fds(server, JOBSERVER_FIFO, fds), 0);
	assert_int_equal(jobserver_fds(server, JOBSERVER_PIPE, fds), 2);
	for (enum jobserver_style style = JOBSERVER_PIPE; style <= JOBSERVER_FIFO; style++) {
		struct jobserver *joined = join(style, server);
		assert_true(jobserver_is_joined(joined));
		assert_int_equal(jobserver_slots(joined), 4);
		assert_true(jobserver_take(joined, &token));
		assert_int_equal(count(server), 2);
		jobserver_give(joined, token);
		assert_int_equal(jobserver_fds(joined, JOBSERVER_PIPE, fds), style == JOBSERVER_PIPE ? 2 : 0);
		jobserver_free(joined);
		assert_int_equal(count(server), 3);
	}
	/* What others share must go on to block or not as they left it. */
	jobserver_fds(server, JOBSERVER_PIPE, fds);
	assert_int_equal(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
	jobserver_free(server);
}

static void what_the_dead_held_is_made_good(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct jobserver *server;
	char token;
	(void)state;
	assert_ok(jobserver_new(3, &server, &err), &err);
	assert_true(jobserver_take(server, &token));
	assert_int_equal(count(server), 1);
	jobserver_mend(server);
	assert_int_equal(count(server), 2);
	jobserver_give(server, token);
	jobserver_mend(server);
	assert_int_equal(count(server), 2);
	jobserver_free(server);
}

static void one_slot_has_no_token(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct jobserver *server;
	(void)state;
	assert_ok(jobserver_new(1, &server, &err), &err);
	assert_int_equal(count(server), 0);
	jobserver_free(server);
}

static void a_fifo_of_make_is_joined(void **state)
{
	struct jobserver *joined;
	const char *why_not;
	(void)state;
	assert_int_equal(mkfifo("tokens", 0600), 0);
	int fd = open("tokens", O_RDWR | O_CLOEXEC);
	assert_int_equal(write(fd, "ab", 2), 2);
	jobserver_join("ks -j3 --jobserver-auth=3,4 --jobserver-auth=fifo:tokens --jobserver-style=fifo -- CC=gcc --jobserver-auth=5,6", &joined, &why_not);
	assert_null(why_not);
	char first = 0, second = 0, third = 0;
	assert_true(jobserver_take(joined, &first) && jobserver_take(joined, &second) && !jobserver_take(joined, &third));
	assert_true(first == 'a' && second == 'b');
	jobserver_give(joined, second);
	assert_true(jobserver_take(joined, &third));
	assert_true(third == 'b');
	jobserver_free(joined);
	close(fd);
}

static void what_cannot_be_used_is_said(void **state)
{
	static const char *const bad[] = { "--jobserver-auth=900,901", "-j4 --jobserver-auth=-2,-2", "--jobserver-auth=", "--jobserver-auth=fifo:/nowhere/x",
					   "--jobserver-fds=0", "--jobserver-auth=0,99999999999999999999", "--jobserver-auth=fifo:/dev/null" };
	static const char *const none[] = { "", "ks", "-j4", "-- --jobserver-auth=3,4", " k -j" };
	struct jobserver *joined;
	const char *why_not;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		jobserver_join(bad[i], &joined, &why_not);
		assert_null(joined);
		assert_non_null(why_not);
	}
	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		jobserver_join(none[i], &joined, &why_not);
		assert_null(joined);
		assert_null(why_not);
	}
	jobserver_join(NULL, &joined, &why_not);
	assert_null(joined);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_styles_lead_to_the_same_tokens),
		cmocka_unit_test(what_the_dead_held_is_made_good),
		cmocka_unit_test(one_slot_has_no_token),
		in_temp_dir(a_fifo_of_make_is_joined),
		cmocka_unit_test(what_cannot_be_used_is_said),
	};
	return cmocka_run_group_tests_name("base/jobserver", tests, NULL, NULL);
}
