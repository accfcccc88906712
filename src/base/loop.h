/*
 * The event loop: one thread, epoll. Signals come in by signalfd, the end of children as one of them (SIGCHLD; then proc_has_ended says whose),
 * work of other threads by eventfd; libcurl hangs its sockets here too (src/net).
 *
 * Callbacks run inside loop_step and may add, change and remove anything, themselves included.
 * Sources are owned by the loop and freed by their remove function or loop_free.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include "base/err.h"

#include <sys/epoll.h>

struct loop;
struct loop_source;
struct loop_timer;

typedef void loop_fd_fn(void *ctx, int fd, uint32_t events);
typedef void loop_timer_fn(void *ctx);
typedef void loop_signal_fn(void *ctx, int signal_number);

int loop_new(struct loop **ret, struct err *err) MUST_CHECK;
void loop_free(struct loop *loop);

/* events: EPOLLIN, EPOLLOUT. The fd stays the caller's; remove before closing it. */
struct loop_source *loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *ctx);
void loop_change_fd(struct loop *loop, struct loop_source *source, uint32_t events);
void loop_remove_fd(struct loop *loop, struct loop_source *source);

/* Once, after_ms from now (0: the next step). A timer that fired is gone: do not remove it then. */
struct loop_timer *loop_add_timer(struct loop *loop, uint64_t after_ms, loop_timer_fn *fn, void *ctx);
void loop_remove_timer(struct loop *loop, struct loop_timer *timer);

/* Blocks SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD (and SIGWINCH) for this thread and those that it starts, and delivers them here until loop_free. One
 * that came several times may be delivered once. */
int loop_catch_signals(struct loop *loop, loop_signal_fn *fn, void *ctx, struct err *err) MUST_CHECK;

/* Waits for at least one event (at most max_wait_ms; -1: for ever) and runs its callbacks. */
int loop_step(struct loop *loop, int max_wait_ms, struct err *err) MUST_CHECK;

uint64_t loop_now_ms(void); /* CLOCK_MONOTONIC */

#endif
