#include "base/proc.h"

#include "base/fs.h"
#include "base/launch.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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

static int start(const struct proc_spec *spec, bool wait, struct launch **ret_launch, pid_t *ret_pid, struct err *err)
{
	struct buf program CLEANUP(buf_release) = BUF_INIT;
	int null_fd CLEANUP(fs_close_fd) = -1;
	const char *const *env = spec->env ? spec->env : (const char *const *)environ;
	sys.unseen("a process was started");
	if (!spec->program && !proc_find(spec->argv[0], path_of_env(env), &program)) {
		err_set(err, ERR_FAILED, "command not found: '%s'", spec->argv[0]);
		err->sys_errno = ENOENT;
		return err_hint(err, "install it, or put its directory into PATH");
	}
	if (spec->stdin_fd < 0)
		null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct launch *launch = launch_new(spec, spec->program ? spec->program : program.data, spec->stdin_fd < 0 ? null_fd : spec->stdin_fd);
	launch_limit(launch, started_with.rlim_max ? &started_with : NULL);
	*ret_pid = launch_child(launch, wait);
	*ret_launch = launch;
	if (*ret_pid >= 0)
		return 0;
	err_set_errno(err, ERR_FAILED, errno, "cannot start '%s'", spec->argv[0]);
	launch_free(launch);
	return -1;
}

int proc_spawn(const struct proc_spec *spec, struct proc *ret, struct err *err)
{
	struct launch *launch;
	pid_t pid;
	*ret = (struct proc)PROC_INIT;
	if (start(spec, true, &launch, &pid, err) < 0)
		return -1;
	int failed = launch_failure(launch, err);
	launch_free(launch);
	if (failed)
		waitpid(pid, NULL, 0);
	else
		ret->pid = pid;
	return failed;
}

int proc_begin(const struct proc_spec *spec, struct proc *ret, struct err *err)
{
	*ret = (struct proc)PROC_INIT;
	return start(spec, false, &ret->launch, &ret->pid, err);
}

int proc_begun(const struct proc *proc, struct err *err)
{
	return proc->launch ? launch_failure(proc->launch, err) : 0;
}

bool proc_has_ended(const struct proc *proc)
{
	siginfo_t info = { .si_pid = 0 };
	return proc->pid > 0 && waitid(P_PID, (id_t)proc->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == proc->pid;
}

static void forget(struct proc *proc)
{
	launch_free(proc->launch);
	*proc = (struct proc)PROC_INIT;
}

int proc_wait(struct proc *proc, int *ret_status, struct err *err)
{
	pid_t got;
	while ((got = waitpid(proc->pid, ret_status, 0)) < 0 && errno == EINTR)
		;
	if (got < 0)
		return err_set_errno(err, ERR_BUG, errno, "cannot wait for process %d", (int)proc->pid);
	forget(proc);
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
	forget(proc);
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
	struct proc proc CLEANUP(proc_release) = PROC_INIT;
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
