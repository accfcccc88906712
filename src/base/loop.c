#include "base/loop.h"

#include "base/mem.h"
#include "base/vec.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 64
#define SIGNALS_AT_ONCE 8

struct loop_source {
	int fd;
	loop_fd_fn *fn; /* NULL once removed */
	void *ctx;
};

struct loop_timer {
	uint64_t at_ms;
	uint64_t serial; /* equal times fire in the order they were added */
	size_t index;    /* in the heap */
	loop_timer_fn *fn;
	void *ctx;
};

struct loop {
	int epoll_fd;
	int signal_fd;
	sigset_t old_mask;
	loop_signal_fn *signal_fn;
	void *signal_ctx;
	struct loop_source *signal_source;
	VEC(struct loop_source *) dead; /* removed during a step: freed after it, since later events may name them */
	size_t live;
	VEC(struct loop_timer *) timers; /* a binary heap, the soonest first */
	uint64_t serial;
};

uint64_t loop_now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int loop_new(struct loop **ret, struct err *err)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot create an event loop");
	struct loop *loop = mem_alloc(sizeof(*loop));
	loop->epoll_fd = fd;
	loop->signal_fd = -1;
	*ret = loop;
	return 0;
}

static void free_dead(struct loop *loop)
{
	for (size_t i = 0; i < loop->dead.len; i++)
		free(loop->dead.at[i]);
	loop->dead.len = 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	if (loop->signal_fd >= 0) {
		loop_remove_fd(loop, loop->signal_source);
		close(loop->signal_fd);
		pthread_sigmask(SIG_SETMASK, &loop->old_mask, NULL);
	}
	free_dead(loop);
	vec_release(&loop->dead);
	for (size_t i = 0; i < loop->timers.len; i++)
		free(loop->timers.at[i]);
	vec_release(&loop->timers);
	close(loop->epoll_fd);
	free(loop);
}

struct loop_source *loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *ctx)
{
	struct loop_source *source = mem_alloc(sizeof(*source));
	*source = (struct loop_source){ .fd = fd, .fn = fn, .ctx = ctx };
	struct epoll_event event = { .events = events, .data.ptr = source };
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
	loop->live++;
	return source;
}

void loop_change_fd(struct loop *loop, struct loop_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event);
}

void loop_remove_fd(struct loop *loop, struct loop_source *source)
{
	if (!source || !source->fn)
		return;
	/* Also of what is closed next: a child that is about to execute has a copy of it, for which epoll would go on to report. */
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	source->fn = NULL;
	loop->live--;
	vec_push(&loop->dead, source);
}

static bool fires_before(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->serial < b->serial;
}

static void place(struct loop *loop, size_t index, struct loop_timer *timer)
{
	loop->timers.at[index] = timer;
	timer->index = index;
}

static void sift(struct loop *loop, size_t index)
{
	struct loop_timer *timer = loop->timers.at[index];
	while (index && fires_before(timer, loop->timers.at[(index - 1) / 2])) {
		place(loop, index, loop->timers.at[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * index + 1;
		if (child + 1 < loop->timers.len && fires_before(loop->timers.at[child + 1], loop->timers.at[child]))
			child++;
		if (child >= loop->timers.len || !fires_before(loop->timers.at[child], timer))
			break;
		place(loop, index, loop->timers.at[child]);
		index = child;
	}
	place(loop, index, timer);
}

struct loop_timer *loop_add_timer(struct loop *loop, uint64_t after_ms, loop_timer_fn *fn, void *ctx)
{
	struct loop_timer *timer = mem_alloc(sizeof(*timer));
	*timer = (struct loop_timer){ .at_ms = loop_now_ms() + after_ms, .serial = loop->serial++, .fn = fn, .ctx = ctx };
	vec_push(&loop->timers, timer);
	sift(loop, loop->timers.len - 1);
	return timer;
}

static void unlink_timer(struct loop *loop, size_t index)
{
	struct loop_timer *last = loop->timers.at[--loop->timers.len];
	if (index < loop->timers.len) {
		place(loop, index, last);
		sift(loop, index);
	}
}

void loop_remove_timer(struct loop *loop, struct loop_timer *timer)
{
	if (!timer)
		return;
	unlink_timer(loop, timer->index);
	free(timer);
}

static void on_signal_fd(void *ctx, int fd, uint32_t events)
{
	struct loop *loop = ctx;
	struct signalfd_siginfo infos[SIGNALS_AT_ONCE];
	(void)events;
	/* What did not fit is there at the next step. */
	ssize_t len = read(fd, infos, sizeof(infos));
	for (ssize_t i = 0; i < len / (ssize_t)sizeof(infos[0]); i++)
		loop->signal_fn(loop->signal_ctx, (int)infos[i].ssi_signo);
}

int loop_catch_signals(struct loop *loop, loop_signal_fn *fn, void *ctx, struct err *err)
{
	static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGWINCH };
	const struct sigaction by_default = { .sa_handler = SIG_DFL };
	sigset_t set;
	/* Whoever started this process may have it ignored, and then children vanish unseen. */
	sigaction(SIGCHLD, &by_default, NULL);
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(caught); i++)
		sigaddset(&set, caught[i]);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot watch for signals");
	pthread_sigmask(SIG_BLOCK, &set, &loop->old_mask);
	loop->signal_fd = fd;
	loop->signal_fn = fn;
	loop->signal_ctx = ctx;
	loop->signal_source = loop_add_fd(loop, fd, EPOLLIN, on_signal_fd, loop);
	return 0;
}

static int wait_time(const struct loop *loop, int max_wait_ms)
{
	if (!loop->timers.len)
		return max_wait_ms;
	uint64_t now = loop_now_ms(), at = loop->timers.at[0]->at_ms;
	uint64_t wait = at > now ? at - now : 0;
	if (wait > 1u << 30)
		wait = 1u << 30;
	return max_wait_ms >= 0 && (uint64_t)max_wait_ms < wait ? max_wait_ms : (int)wait;
}

static void fire_timers(struct loop *loop)
{
	uint64_t now = loop_now_ms(), newest = loop->serial;
	/* Timers that a callback adds for "now" wait for the next step, so that a step ends. */
	while (loop->timers.len && loop->timers.at[0]->at_ms <= now && loop->timers.at[0]->serial < newest) {
		struct loop_timer *timer = loop->timers.at[0];
		loop_timer_fn *fn = timer->fn;
		void *ctx = timer->ctx;
		unlink_timer(loop, 0);
		free(timer);
		fn(ctx);
	}
}

int loop_step(struct loop *loop, int max_wait_ms, struct err *err)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int count = epoll_wait(loop->epoll_fd, events, EVENTS_AT_ONCE, wait_time(loop, max_wait_ms));
	if (count < 0 && errno != EINTR)
		return err_set_errno(err, ERR_BUG, errno, "the event loop cannot wait");
	for (int i = 0; i < count; i++) {
		const struct loop_source *source = events[i].data.ptr;
		if (source->fn)
			source->fn(source->ctx, source->fd, events[i].events);
	}
	fire_timers(loop);
	free_dead(loop);
	return 0;
}
