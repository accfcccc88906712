#include "unit/unit.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/proc.h"

#include <errno.h>
#include <stdatomic.h>

static struct err err = ERR_INIT;

static int run_shell(const char *script, struct buf *out, struct buf *errout, const char *input)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct proc_capture capture = { .out = out, .errout = errout, .max = 1 << 20, .input = input };
	capture.input_len = input ? strlen(input) : 0;
	spec.argv = argv;
	assert_ok(proc_run(&spec, &capture, &err), &err);
	return capture.ret_exit;
}

static void test_capture(void **state)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT, errout CLEANUP(buf_release) = BUF_INIT;
	(void)state;
	assert_int_equal(run_shell("echo out; echo err >&2; exit 3", &out, &errout, NULL), 3);
	assert_string_equal(out.data, "out\n");
	assert_string_equal(errout.data, "err\n");
	assert_int_equal(run_shell("kill -9 $$", NULL, NULL, NULL), 137);
	buf_reset(&out);
	assert_int_equal(run_shell("wc -c", &out, NULL, "12345"), 0);
	assert_int_equal(strtol(out.data, NULL, 10), 5);
	buf_reset(&out);
	assert_int_equal(run_shell("cat", &out, NULL, NULL), 0); /* stdin is empty */
	assert_string_equal(out.data, "");
}

static void test_big_input_to_a_child_that_does_not_read(void **state)
{
	OWNED char *input = mem_alloc((1 << 20) + 1);
	(void)state;
	memset(input, 'x', 1 << 20);
	assert_int_equal(run_shell("exec <&-; exit 4", NULL, NULL, input), 4);
}

static void test_too_much_output(void **state)
{
	const char *const argv[] = { "yes", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct proc_capture capture = { .out = &out, .max = 100000 };
	(void)state;
	spec.argv = argv;
	assert_error(proc_run(&spec, &capture, &err), &err, ERR_FAILED, "more than");
}

static void test_what_cannot_start(void **state)
{
	const char *const missing[] = { "no-such-command", NULL };
	const char *const broken[] = { "./broken", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct proc proc;
	(void)state;
	spec.argv = missing;
	assert_error(proc_spawn(&spec, &proc, &err), &err, ERR_FAILED, "not found");
	assert_non_null(err.hint);
	assert_ok(fs_write_file("broken", "\177ELFxx", 6, 0755, FS_VOLATILE, &err), &err);
	spec.argv = broken;
	assert_error(proc_spawn(&spec, &proc, &err), &err, ERR_FAILED, "./broken");
	assert_int_equal(err.sys_errno, ENOEXEC);
}

static void test_environment_and_directory(void **state)
{
	const char *const argv[] = { "sh", "-c", "pwd; echo $A; ls /proc/self/fd | wc -l", NULL };
	const char *const env[] = { "A=b", "PATH=/usr/bin:/bin", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct proc_capture capture = { .out = &out, .max = 1000 };
	int leaked = dup(0); /* without O_CLOEXEC: must not reach the child all the same */
	(void)state;
	spec.argv = argv;
	spec.env = env;
	spec.dir = "/";
	assert_ok(proc_run(&spec, &capture, &err), &err);
	close(leaked);
	assert_string_equal(out.data, "/\nb\n4\n"); /* 0, 1, 2 and the directory that ls reads */
}

struct seen {
	struct loop *loop;
	struct proc proc;
	int order[8];
	int count;
	bool ended;
};

static void on_timer_a(void *ctx)
{
	struct seen *seen = ctx;
	seen->order[seen->count++] = 1;
}

static void on_timer_b(void *ctx)
{
	struct seen *seen = ctx;
	seen->order[seen->count++] = 2;
	proc_kill_group(&seen->proc, SIGTERM);
}

static void on_child(void *ctx, int signal_number)
{
	struct seen *seen = ctx;
	seen->ended = signal_number == SIGCHLD && proc_has_ended(&seen->proc);
}

static void test_loop(void **state)
{
	const char *const argv[] = { "sh", "-c", "sleep 100 & wait", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct seen seen = { .count = 0 };
	int status;
	(void)state;
	spec.argv = argv;
	assert_ok(loop_new(&seen.loop, &err), &err);
	assert_ok(loop_catch_signals(seen.loop, on_child, &seen, &err), &err);
	assert_ok(proc_spawn(&spec, &seen.proc, &err), &err);
	assert_false(proc_has_ended(&seen.proc));
	loop_add_timer(seen.loop, 40, on_timer_b, &seen);
	loop_add_timer(seen.loop, 10, on_timer_a, &seen);
	struct loop_timer *never = loop_add_timer(seen.loop, 5, on_timer_b, &seen);
	loop_remove_timer(seen.loop, never);
	uint64_t started = loop_now_ms();
	while (!seen.ended && loop_now_ms() - started < 10000)
		assert_ok(loop_step(seen.loop, 1000, &err), &err);
	assert_true(seen.ended);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.order[0], 1);
	assert_ok(proc_wait(&seen.proc, &status, &err), &err);
	assert_int_equal(proc_exit_code(status), 128 + SIGTERM);
	assert_false(proc_has_ended(&seen.proc));
	proc_release(&seen.proc);
	loop_free(seen.loop);
}

static int end_of(struct proc *proc, struct err *ret)
{
	int status = 0, begun;
	uint64_t started = loop_now_ms();
	while (!proc_has_ended(proc) && loop_now_ms() - started < 10000)
		;
	begun = proc_begun(proc, ret);
	assert_ok(proc_wait(proc, &status, &err), &err);
	assert_null(proc->launch);
	return begun < 0 ? -1 : proc_exit_code(status);
}

/* What it was asked for may be gone at once, and its failures are not this thread's. */
static void test_begun_without_waiting(void **state)
{
	struct proc procs[20];
	struct err why CLEANUP(err_release) = ERR_INIT;
	(void)state;
	assert_ok(fs_write_file("broken", "\177ELFxx", 6, 0755, FS_VOLATILE, &err), &err);
	for (size_t i = 0; i < ARRAY_LEN(procs); i++) {
		struct buf script CLEANUP(buf_release) = BUF_INIT, dir CLEANUP(buf_release) = BUF_INIT;
		struct proc_spec spec = PROC_SPEC_INIT;
		const char *argv[] = { "sh", "-c", NULL, NULL };
		const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
		buf_addf(&script, "test \"$(pwd)\" = / && exit %zu", i);
		buf_addstr(&dir, "/");
		argv[2] = script.data;
		spec.argv = argv;
		spec.env = env;
		spec.dir = dir.data;
		assert_ok(proc_begin(&spec, &procs[i], &err), &err);
		memset(script.data, 'x', script.len);
		memset(dir.data, 'x', dir.len);
	}
	for (size_t i = 0; i < ARRAY_LEN(procs); i++)
		assert_int_equal(end_of(&procs[i], &why), i);

	const char *const broken[] = { "./broken", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	spec.argv = broken;
	assert_ok(proc_begin(&spec, &procs[0], &err), &err);
	errno = 0;
	assert_int_equal(end_of(&procs[0], &why), -1);
	assert_int_equal(errno, 0);
	assert_string_equal(why.message, "cannot execute './broken': Exec format error");
	err_release(&why);
	spec.dir = "nowhere";
	assert_ok(proc_begin(&spec, &procs[0], &err), &err);
	assert_int_equal(end_of(&procs[0], &why), -1);
	assert_non_null(strstr(why.message, "cannot run in directory 'nowhere'"));

	/* Wherever it has come to, it can be ended. */
	spec.dir = "/";
	const char *const sleeping[] = { "sleep", "100", NULL };
	spec.argv = sleeping;
	assert_ok(proc_begin(&spec, &procs[0], &err), &err);
	proc_release(&procs[0]);
}

static void on_signal(void *ctx, int number)
{
	*(int *)ctx = number;
}

static void test_signals(void **state)
{
	struct loop *loop;
	int got = 0;
	(void)state;
	assert_ok(loop_new(&loop, &err), &err);
	assert_ok(loop_catch_signals(loop, on_signal, &got, &err), &err);
	kill(getpid(), SIGTERM);
	assert_ok(loop_step(loop, 5000, &err), &err);
	assert_int_equal(got, SIGTERM);
	loop_free(loop);
}

static void add_index(void *ctx, size_t index)
{
	atomic_fetch_add((atomic_size_t *)ctx, index);
}

static void test_pool(void **state)
{
	atomic_size_t sum = 0;
	(void)state;
	pool_each(0, 10000, add_index, &sum);
	pool_each(7, 3, add_index, &sum);
	pool_each(0, 0, add_index, &sum);
	assert_int_equal(sum, 10000 * 9999 / 2 + 3);
}

static int release_error(void **state)
{
	(void)state;
	err_release(&err);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capture),
		cmocka_unit_test(test_big_input_to_a_child_that_does_not_read),
		cmocka_unit_test(test_too_much_output),
		in_temp_dir(test_what_cannot_start),
		cmocka_unit_test(test_environment_and_directory),
		in_temp_dir(test_begun_without_waiting),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_pool),
	};
	return cmocka_run_group_tests(tests, NULL, release_error);
}
