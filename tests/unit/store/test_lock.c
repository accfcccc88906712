#include "unit/scratch.h"

#include "base/buf.h"
#include "store/lock.h"
#include "store/workdir.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

static struct lock *take(struct scratch *s, const char *name, struct lock_holder *holder)
{
	struct lock *lock;
	OK(lock_try(s->root.data, name, "mlmake test", &lock, holder, &s->err));
	return lock;
}

static void the_second_is_told_who(void **ctx)
{
	struct scratch *s = *ctx;
	struct lock_holder holder;
	struct lock *first = take(s, "train@seed=1/x", &holder);
	assert_non_null(first);
	assert_null(take(s, "train@seed=1/x", &holder));
	assert_int_equal(holder.pid, getpid());
	assert_string_equal(holder.command, "mlmake test");
	struct lock *other = take(s, "train@seed=1", &holder);
	assert_non_null(other);
	lock_release(first);
	first = take(s, "train@seed=1/x", &holder);
	assert_non_null(first);
	lock_release(first);
	lock_release(other);
}

/* Wrong elsewhere: after a kill somebody must run `--unlock` (Snakemake), or the lock times out (DVC). */
static void a_killed_holder_leaves_nothing(void **ctx)
{
	struct scratch *s = *ctx;
	struct lock_holder holder;
	int ready[2];
	char c;
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		take(s, "t", &holder);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_null(take(s, "t", &holder));
	assert_int_equal(holder.pid, child);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	struct lock *lock = take(s, "t", &holder);
	assert_non_null(lock);
	lock_release(lock);
	close(ready[0]), close(ready[1]);
}

static void an_orphan_keeps_it(void **ctx)
{
	struct scratch *s = *ctx;
	struct lock_holder holder;
	struct lock *lock = take(s, "t", &holder);
	pid_t child = fork();
	if (child == 0)
		pause();
	sys.close(lock_fd(lock)); /* as the kernel does when the holder is killed */
	assert_null(take(s, "t", &holder));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	free(lock);
	lock = take(s, "t", &holder);
	assert_non_null(lock);
	lock_release(lock);
}

/* Many locks in one file. */

static struct locks *open_locks(struct scratch *s, const char *command)
{
	struct locks *locks;
	OK(locks_open(s->root.data, command, &locks, &s->err));
	return locks;
}

static struct lock *take_of(struct scratch *s, struct locks *locks, const char *name, struct lock_holder *holder)
{
	struct lock *lock;
	OK(locks_try(locks, name, &lock, holder, &s->err));
	return lock;
}

static struct lock *read_of(struct scratch *s, struct locks *locks, const char *name, struct lock_holder *holder)
{
	struct lock *lock;
	bool is_free;
	OK(locks_try_shared(locks, name, &lock, &is_free, holder, &s->err));
	assert_int_equal(is_free, lock != NULL);
	return lock;
}

static void a_removed_directory_is_named(void **ctx)
{
	struct scratch *s = *ctx;
	struct lock_holder holder;
	struct lock *lock;
	struct locks *locks;
	char *dir = path_joined(s->root.data, "made/here");
	OK(locks_open(dir, "mlmake first", &locks, &s->err));
	lock = take_of(s, locks, "a", &holder);
	assert_non_null(lock);
	lock_release(lock);
	scratch_remove(s, "made");
	assert_int_equal(locks_try(locks, "a", &lock, &holder, &s->err), -1);
	assert_non_null(strstr(s->err.message, "made/here"));
	assert_non_null(strstr(s->err.hint, "was removed while this ran"));
	err_release(&s->err);
	locks_close(locks);
	free(dir);
}

static void readers_share_what_one_alone_may_make(void **ctx)
{
	struct scratch *s = *ctx;
	struct lock_holder holder;
	struct locks *first = open_locks(s, "mlmake first"), *second = open_locks(s, "mlmake second");
	struct lock *one = read_of(s, first, "a", &holder), *other = read_of(s, second, "a", &holder);
	assert_non_null(one);
	assert_non_null(other);
	assert_null(take_of(s, first, "a", &holder));
	assert_int_equal(holder.pid, getpid());
	lock_release(one);
	assert_null(take_of(s, first, "a", &holder));
	lock_release(other);
	struct lock *made = take_of(s, first, "a", &holder);
	assert_non_null(made);
	assert_null(read_of(s, second, "a", &holder));
	assert_int_equal(holder.pid, getpid());
	lock_release(made);
	locks_close(first);
	locks_close(second);
}

static void check_many(struct scratch *s, const char *file)
{
	struct lock_holder holder;
	struct locks *first = open_locks(s, "mlmake first"), *second = open_locks(s, "mlmake second");
	struct lock *a = take_of(s, first, "a", &holder), *b = take_of(s, first, "b", &holder);
	assert_non_null(a);
	assert_non_null(b);
	assert_null(take_of(s, second, "a", &holder));
	assert_int_equal(holder.pid, getpid());
	assert_string_equal(holder.command, "mlmake first");
	lock_release(a);
	a = take_of(s, second, "a", &holder);
	assert_non_null(a);
	assert_null(take_of(s, first, "a", &holder));
	locks_close(first);
	assert_null(take_of(s, second, "b", &holder));
	lock_release(a);
	lock_release(b);
	b = take_of(s, second, "b", &holder);
	assert_non_null(b);
	lock_release(b);
	locks_close(second);
	char *path = path_joined(s->root.data, file);
	assert_true(fs_exists(path));
	free(path);
}

static void many_in_one_file(void **ctx)
{
	check_many(*ctx, "targets");
	char *path = path_joined(((struct scratch *)*ctx)->root.data, "a");
	assert_false(fs_exists(path));
	free(path);
}

static int no_ranges(int fd, int operation, struct flock *range)
{
	(void)fd, (void)operation, (void)range;
	errno = EINVAL;
	return -1;
}

static void a_kernel_without_ranges_takes_files(void **ctx)
{
	struct sys_table before = sys;
	struct scratch *s = *ctx;
	sys.ofd_lock = no_ranges;
	check_many(s, "a");
	struct locks *locks = open_locks(s, "x");
	assert_true(locks_have_company(locks));
	locks_close(locks);
	sys = before;
}

static void another_process_is_company(void **ctx)
{
	struct scratch *s = *ctx;
	struct lock_holder holder;
	struct locks *locks = open_locks(s, "mlmake test");
	int ready[2];
	char c;
	assert_false(locks_have_company(locks));
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		take_of(s, open_locks(s, "mlmake child"), "t", &holder);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_true(locks_have_company(locks));
	assert_null(take_of(s, locks, "t", &holder));
	assert_int_equal(holder.pid, child);
	assert_string_equal(holder.command, "mlmake child");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_false(locks_have_company(locks));
	/* A child of it that survives keeps all that it had, until it ends. */
	child = fork();
	if (child == 0) {
		struct locks *own = open_locks(s, "mlmake child");
		take_of(s, own, "t", &holder);
		take_of(s, own, "u", &holder);
		pid_t orphan = fork();
		if (orphan == 0) {
			locks_close(own);
			pause();
		}
		_exit(write(ready[1], &orphan, sizeof(orphan)) != sizeof(orphan));
	}
	pid_t orphan;
	assert_int_equal(read(ready[0], &orphan, sizeof(orphan)), sizeof(orphan));
	waitpid(child, NULL, 0);
	for (const char *name = "t"; *name; name = *name == 't' ? "u" : "") {
		assert_null(take_of(s, locks, name, &holder));
		assert_int_equal(holder.pid, child);
	}
	kill(orphan, SIGKILL);
	struct lock *lock = NULL;
	for (int i = 0; i < 1000 && !(lock = take_of(s, locks, "t", &holder)); i++)
		usleep(10000); /* whoever has adopted it reaps it */
	assert_non_null(lock);
	assert_null(take_of(s, locks, "t", &holder));
	assert_int_equal(holder.pid, getpid());
	lock_release(lock);
	lock = take_of(s, locks, "t", &holder);
	locks_close(locks);
	lock_release(lock);
	locks = open_locks(s, "mlmake test");
	locks_close(locks);
	close(ready[0]), close(ready[1]);
}

static void names_become_single_components(void **ctx)
{
	(void)ctx;
	static const char *const names[] = { "a", "a/b", "a%2Fb", ".", "..", ".a", "a b", "\xc3\xa4", "" };
	struct strlist seen = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct buf name CLEANUP(buf_release) = BUF_INIT;
		workdir_add_name(&name, names[i]);
		assert_null(strchr(name.data, '/'));
		assert_true(name.data[0] != '.');
		assert_false(strlist_has(&seen, name.data));
		strlist_add(&seen, name.data);
	}
	strlist_release(&seen);
	char longer[600];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	struct buf name CLEANUP(buf_release) = BUF_INIT;
	workdir_add_name(&name, longer);
	assert_true(name.len < 255);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_second_is_told_who), TEST(a_killed_holder_leaves_nothing), TEST(an_orphan_keeps_it),
		TEST(names_become_single_components), TEST(many_in_one_file), TEST(a_kernel_without_ranges_takes_files),
		TEST(another_process_is_company), TEST(readers_share_what_one_alone_may_make), TEST(a_removed_directory_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
