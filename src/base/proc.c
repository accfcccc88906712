#include "base/proc.h"

#include "base/fs.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif

/* What children get back; 0 where it was not raised. */
static struct rlimit started_with;

void proc_raise_descriptors(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
		return;
	struct rlimit raised = { limit.rlim_max, limit.rlim_max };
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		started_with = limit;
}

size_t proc_descriptors(void)
{
	struct rlimit limit;
	return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 256 : limit.rlim_cur > SIZE_MAX ? SIZE_MAX : (size_t)limit.rlim_cur;
}

bool proc_find(const char *name, const char *path_value, struct buf *out)
{
	size_t start = out->len;
	if (strchr(name, '/')) {
		buf_addstr(out, name);
		return access(name, X_OK) == 0;
	}
	if (!path_value || !*name)
		return false;
	for (const char *at = path_value;; at++) {
		size_t len = strcspn(at, ":");
		struct stat st;
		buf_truncate(out, start);
		if (len == 0)
			buf_addch(out, '.');
		buf_add(out, at, len);
		buf_addf(out, "/%s", name);
		if (sys.fstatat(AT_FDCWD, out->data + start, &st, 0) == 0 && S_ISREG(st.st_mode) &&
		    access(out->data + start, X_OK) == 0)
			return true;
		at += len;
		if (!*at)
			break;
	}
	buf_truncate(out, start);
	return false;
}

static const char *path_of_env(const char *const *env)
{
	for (; *env; env++)
		if (text_starts(*env, "PATH="))
			return *env + 5;
	return "/usr/local/bin:/usr/bin:/bin";
}

/* What the child needs; prepared before vfork, since the child may only make system calls. */
struct launch {
	const struct proc_spec *spec;
	const char *program;
	const char *const *env;
	sigset_t mask;
	int stdin_fd;
	pid_t parent;
	volatile bool at_dir; /* what failed is going to spec->dir */
	volatile int failed; /* errno of what failed in the child, which shares our memory until it executes */
};

static int redirect(int fd, int to)
{
	if (fd < 0)
		return 0;
	if (fd == to)
		return fcntl(fd, F_SETFD, 0);
	return dup2(fd, to);
}

/* Handlers fall away at execve; what stays is what was ignored, here or by whoever started this process. */
static void default_signals(void)
{
	static const int ignorable[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGCHLD };
	struct sigaction action = { .sa_handler = SIG_DFL };
	for (size_t i = 0; i < ARRAY_LEN(ignorable); i++)
		sigaction(ignorable[i], &action, NULL);
}

/* Runs in the vfork child: shares memory with the parent, which waits. Only system calls. */
static NORETURN void child_main(struct launch *launch)
{
	const struct proc_spec *spec = launch->spec;
	default_signals();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != launch->parent)
		_exit(127);
	if (spec->stdin_fd != 0)
		setpgid(0, 0);
	if (redirect(launch->stdin_fd, STDIN_FILENO) < 0 || redirect(spec->stdout_fd, STDOUT_FILENO) < 0 ||
	    redirect(spec->stderr_fd, STDERR_FILENO) < 0) {
		launch->failed = errno;
		_exit(127);
	}
	if (spec->dir && chdir(spec->dir) < 0) {
		launch->at_dir = true;
		launch->failed = errno;
		_exit(127);
	}
	syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
	for (size_t i = 0; i < spec->keep_count; i++)
		fcntl(spec->keep_fds[i], F_SETFD, 0);
	if (started_with.rlim_max)
		setrlimit(RLIMIT_NOFILE, &started_with);
	sigprocmask(SIG_SETMASK, &launch->mask, NULL);
	execve(launch->program, (char *const *)(uintptr_t)spec->argv, (char *const *)(uintptr_t)launch->env);
	launch->failed = errno;
	_exit(127);
}

static pid_t launch_child(struct launch *launch)
{
	sigset_t all, previous;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &previous);
	/* The child starts with nothing blocked, whatever this process blocks for its signalfd. */
	sigemptyset(&launch->mask);
	launch->parent = getpid();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	pid_t pid = vfork();
#pragma GCC diagnostic pop
	if (pid == 0)
		child_main(launch);
	int number = errno;
	pthread_sigmask(SIG_SETMASK, &previous, NULL);
	errno = number;
	return pid;
}

int proc_spawn(const struct proc_spec *spec, struct proc *ret, struct err *err)
{
	struct buf program CLEANUP(buf_release) = BUF_INIT;
	int null_fd CLEANUP(fs_close_fd) = -1;
	struct launch launch = { .spec = spec, .stdin_fd = spec->stdin_fd };
	launch.env = spec->env ? spec->env : (const char *const *)environ;
	*ret = (struct proc){ .pid = -1 };
	sys.unseen("a process was started");
	if (!spec->program && !proc_find(spec->argv[0], path_of_env(launch.env), &program)) {
		err_set(err, ERR_FAILED, "command not found: '%s'", spec->argv[0]);
		err->sys_errno = ENOENT;
		return err_hint(err, "install it, or put its directory into PATH");
	}
	launch.program = spec->program ? spec->program : program.data;
	if (spec->stdin_fd < 0) {
		null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		launch.stdin_fd = null_fd;
	}
	pid_t pid = launch_child(&launch);
	if (pid < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot start '%s'", spec->argv[0]);
	if (launch.failed) {
		waitpid(pid, NULL, 0);
		if (launch.at_dir)
			return err_set_errno(err, ERR_FAILED, launch.failed, "cannot run in directory '%s'", spec->dir);
		return err_set_errno(err, ERR_FAILED, launch.failed, "cannot execute '%s'", spec->argv[0]);
	}
	ret->pid = pid;
	return 0;
}

bool proc_has_ended(const struct proc *proc)
{
	siginfo_t info = { .si_pid = 0 };
	return proc->pid > 0 && waitid(P_PID, (id_t)proc->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == proc->pid;
}

int proc_wait(struct proc *proc, int *ret_status, struct err *err)
{
	pid_t got;
	while ((got = waitpid(proc->pid, ret_status, 0)) < 0 && errno == EINTR)
		;
	if (got < 0)
		return err_set_errno(err, ERR_BUG, errno, "cannot wait for process %d", (int)proc->pid);
	proc->pid = -1;
	return 0;
}

void proc_kill_group(const struct proc *proc, int signal_number)
{
	/* A child that shares our group (an interactive one) is signalled alone. */
	if (proc->pid > 0 && kill(-proc->pid, signal_number) < 0)
		kill(proc->pid, signal_number);
}

void proc_release(struct proc *proc)
{
	if (proc->pid > 0) {
		proc_kill_group(proc, SIGKILL);
		while (waitpid(proc->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*proc = (struct proc){ .pid = -1 };
}

int proc_exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* One end of a captured run: a pipe, and where its bytes go. */
struct channel {
	int fd;
	struct buf *to;
};

static int open_pipe(int pair[2], struct err *err)
{
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot create a pipe");
	return 0;
}

static void close_pair(int (*pair)[2])
{
	fs_close_fd(&(*pair)[0]);
	fs_close_fd(&(*pair)[1]);
}

/* Reads what is there. Returns -1 with err when it is too much; closes the channel at its end. */
static int drain(struct channel *channel, size_t max, struct err *err)
{
	char chunk[16384];
	ssize_t got = read(channel->fd, chunk, sizeof(chunk));
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (got <= 0) {
		channel->fd = -1;
		return 0;
	}
	if (channel->to->len + (size_t)got > max)
		return err_set(err, ERR_FAILED, "it printed more than the %zu bytes allowed for it", max);
	buf_add(channel->to, chunk, (size_t)got);
	return 0;
}

struct feed {
	int fd; /* -1 when all is written */
	const char *at;
	size_t left;
};

static void feed_some(struct feed *feed)
{
	ssize_t wrote = write(feed->fd, feed->at, feed->left);
	if (wrote < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (wrote > 0) {
		feed->at += wrote;
		feed->left -= (size_t)wrote;
	}
	/* A child that does not read to the end is its own business. */
	if (wrote < 0 || feed->left == 0)
		fs_close_fd(&feed->fd);
}

static int pump(struct channel channels[2], struct feed *feed, size_t max, struct err *err)
{
	while (channels[0].fd >= 0 || channels[1].fd >= 0 || feed->fd >= 0) {
		struct pollfd polled[3] = {
			{ .fd = channels[0].fd, .events = POLLIN },
			{ .fd = channels[1].fd, .events = POLLIN },
			{ .fd = feed->fd, .events = POLLOUT },
		};
		if (poll(polled, 3, -1) < 0 && errno != EINTR)
			return err_set_errno(err, ERR_BUG, errno, "cannot poll");
		for (int i = 0; i < 2; i++)
			if (channels[i].fd >= 0 && polled[i].revents && drain(&channels[i], max, err) < 0)
				return -1;
		if (feed->fd >= 0 && polled[2].revents)
			feed_some(feed);
	}
	return 0;
}

int proc_run(const struct proc_spec *spec, struct proc_capture *capture, struct err *err)
{
	int in[2] CLEANUP(close_pair) = { -1, -1 };
	int out[2] CLEANUP(close_pair) = { -1, -1 };
	int errout[2] CLEANUP(close_pair) = { -1, -1 };
	struct proc proc CLEANUP(proc_release) = { .pid = -1 };
	struct proc_spec piped = *spec;
	bool shared = capture->out && capture->out == capture->errout;
	if ((capture->input && open_pipe(in, err) < 0) || (capture->out && open_pipe(out, err) < 0) ||
	    (capture->errout && !shared && open_pipe(errout, err) < 0))
		return -1;
	if (capture->input)
		piped.stdin_fd = in[0];
	if (capture->out)
		piped.stdout_fd = out[1];
	if (capture->errout)
		piped.stderr_fd = shared ? out[1] : errout[1];
	if (proc_spawn(&piped, &proc, err) < 0)
		return -1;
	fs_close_fd(&in[0]);
	fs_close_fd(&out[1]);
	fs_close_fd(&errout[1]);
	struct channel channels[2] = { { capture->out ? out[0] : -1, capture->out }, { capture->errout ? errout[0] : -1, capture->errout } };
	struct feed feed = { in[1], capture->input, capture->input_len };
	if (feed.fd >= 0) {
		fcntl(feed.fd, F_SETFL, O_NONBLOCK);
		in[1] = -1;
	}
	struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
	sigaction(SIGPIPE, &ignore, &before);
	int failed = pump(channels, &feed, capture->max ? capture->max : SIZE_MAX, err);
	sigaction(SIGPIPE, &before, NULL);
	fs_close_fd(&feed.fd);
	int status;
	if (failed)
		return err_note(err, "while running '%s'", spec->argv[0]);
	if (proc_wait(&proc, &status, err) < 0)
		return -1;
	capture->ret_exit = proc_exit_code(status);
	return 0;
}
