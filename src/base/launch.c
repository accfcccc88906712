#include "base/launch.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif

/* Of the child's own calls, which are a few deep; it takes no signals there. */
#define STACK_BYTES ((size_t)16 << 10)

struct launch {
	struct arena arena;
	const char *program, *dir;
	const char *const *argv, *const *env;
	const int *keep_fds;
	size_t keep_count;
	int fds[3];          /* become 0, 1, 2; -1: left as it is */
	bool own_group;
	pid_t parent;
	struct rlimit descriptors;
	bool sets_descriptors;
	volatile bool at_dir;   /* what failed is going to dir */
	volatile int failed;    /* errno of what failed in the child */
	_Alignas(16) char stack[STACK_BYTES];
};

static const char *const *copy_words(struct arena *arena, const char *const *words)
{
	size_t count = 0;
	while (words[count])
		count++;
	const char **copy = arena_alloc(arena, (count + 1) * sizeof(*copy));
	for (size_t i = 0; i < count; i++)
		copy[i] = arena_strdup(arena, words[i]);
	return copy;
}

struct launch *launch_new(const struct proc_spec *spec, const char *program, int stdin_fd)
{
	struct launch *launch = mem_resize(NULL, sizeof(*launch)); /* the stack as it comes */
	memset(launch, 0, offsetof(struct launch, stack));
	launch->program = arena_strdup(&launch->arena, program);
	launch->dir = spec->dir ? arena_strdup(&launch->arena, spec->dir) : NULL;
	launch->argv = copy_words(&launch->arena, spec->argv);
	launch->env = copy_words(&launch->arena, spec->env ? spec->env : (const char *const *)environ);
	if (spec->keep_count) {
		int *keep = arena_alloc(&launch->arena, spec->keep_count * sizeof(*keep));
		memcpy(keep, spec->keep_fds, spec->keep_count * sizeof(*keep));
		launch->keep_fds = keep;
		launch->keep_count = spec->keep_count;
	}
	launch->fds[STDIN_FILENO] = stdin_fd;
	launch->fds[STDOUT_FILENO] = spec->stdout_fd;
	launch->fds[STDERR_FILENO] = spec->stderr_fd;
	launch->own_group = spec->stdin_fd != 0;
	return launch;
}

void launch_limit(struct launch *launch, const struct rlimit *descriptors)
{
	launch->sets_descriptors = descriptors != NULL;
	if (descriptors)
		launch->descriptors = *descriptors;
}

void launch_free(struct launch *launch)
{
	if (!launch)
		return;
	arena_release(&launch->arena);
	free(launch);
}

/* In the child. Sanitizers would look up their thread, which is the parent's. */

#define CHILD_CODE __attribute__((noinline, no_sanitize("address", "undefined", "thread"), no_stack_protector))

/* A system call that leaves errno alone: its result, or the negated number of its error. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) /* whose clone does work of its own in the child */
#define CHILD_MAY_RUN_ASIDE true
CHILD_CODE static long child_call(long number, long a, long b, long c, long d)
{
	long result;
	register long fourth __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth) : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__) && !defined(__SANITIZE_THREAD__)
#define CHILD_MAY_RUN_ASIDE true
CHILD_CODE static long child_call(long number, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory", "cc");
	return x0;
}
#else
/* The parent is made to wait: errno is nobody else's meanwhile. */
#define CHILD_MAY_RUN_ASIDE false
CHILD_CODE static long child_call(long number, long a, long b, long c, long d)
{
	long result = syscall(number, a, b, c, d);
	return result < 0 ? -errno : result;
}
#endif

CHILD_CODE static NORETURN void child_exit(void)
{
	for (;;)
		child_call(SYS_exit_group, 127, 0, 0, 0);
}

CHILD_CODE static NORETURN void child_fail(struct launch *launch, long result)
{
	launch->failed = (int)-result;
	child_exit();
}

CHILD_CODE static long child_redirect(int fd, int to)
{
	if (fd < 0)
		return 0;
	if (fd == to)
		return child_call(SYS_fcntl, fd, F_SETFD, 0, 0);
	return child_call(SYS_dup3, fd, to, 0, 0);
}

/* Handlers fall away at execve; what stays is what was ignored, here or by whoever started this process. */
CHILD_CODE static void child_default_signals(void)
{
	static const int ignorable[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGCHLD };
	/* The kernel's struct sigaction: a handler, which is SIG_DFL, flags and a mask of _NSIG bits; none is longer than this. */
	static const long action[8] = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(ignorable); i++)
		child_call(SYS_rt_sigaction, ignorable[i], (long)action, 0, _NSIG / 8);
}

CHILD_CODE static int child_main(void *ctx)
{
	struct launch *launch = ctx;
	static const long nothing_blocked[_NSIG / 8 / sizeof(long)] = { 0 };
	long result;
	child_default_signals();
	child_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
	if (child_call(SYS_getppid, 0, 0, 0, 0) != launch->parent)
		child_exit();
	if (launch->own_group)
		child_call(SYS_setpgid, 0, 0, 0, 0);
	for (int i = 0; i < 3; i++)
		if ((result = child_redirect(launch->fds[i], i)) < 0)
			child_fail(launch, result);
	if (launch->dir && (result = child_call(SYS_chdir, (long)launch->dir, 0, 0, 0)) < 0) {
		launch->at_dir = true;
		child_fail(launch, result);
	}
	child_call(SYS_close_range, 3, UINT_MAX, CLOSE_RANGE_CLOEXEC, 0);
	for (size_t i = 0; i < launch->keep_count; i++)
		child_call(SYS_fcntl, launch->keep_fds[i], F_SETFD, 0, 0);
	if (launch->sets_descriptors)
		child_call(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&launch->descriptors, 0);
	child_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)nothing_blocked, 0, _NSIG / 8);
	child_fail(launch, child_call(SYS_execve, (long)launch->program, (long)launch->argv, (long)launch->env, 0));
}

/* In the parent. */

pid_t launch_child(struct launch *launch, bool wait)
{
	sigset_t all, previous;
	int flags = CLONE_VM | SIGCHLD | (wait || !CHILD_MAY_RUN_ASIDE ? CLONE_VFORK : 0);
	launch->parent = getpid();
	/* No handler of this process may run in the child. It starts with nothing blocked, whatever this process blocks for its signalfd. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &previous);
	pid_t pid = clone(child_main, launch->stack + STACK_BYTES, flags, launch);
	int number = errno;
	pthread_sigmask(SIG_SETMASK, &previous, NULL);
	errno = number;
	return pid;
}

int launch_failure(const struct launch *launch, struct err *err)
{
	if (!launch->failed)
		return 0;
	if (launch->at_dir)
		return err_set_errno(err, ERR_FAILED, launch->failed, "cannot run in directory '%s'", launch->dir);
	return err_set_errno(err, ERR_FAILED, launch->failed, "cannot execute '%s'", launch->argv[0]);
}
