/*
 * GNU make's jobserver, from both sides: one that this process provides to its children, and the one that a `make -j` above it provides.
 *
 * A jobserver is a pipe that holds one byte, a token, for each job that may run besides those that run already. Whoever starts a job takes a
 * token first and gives that very byte back when the job is over. Every process that was started as a job has one slot without a token,
 * that which its parent took for it: so N slots are N - 1 tokens.
 *
 *     jobserver_join(getenv("MAKEFLAGS"), &server, &why_not);        first of all, before descriptors are opened
 *     if (!server && jobserver_new(slots, &server, err) < 0) ...
 *     if (jobserver_take(server, &token)) { run a job; jobserver_give(server, token); }
 *     else wait until jobserver_fd(server) is readable, and try again: another may be faster
 *     jobserver_free(server);
 *
 * Children learn of it by MAKEFLAGS, in one of two styles: "--jobserver-auth=R,W", two descriptors that they inherit (GNU make from 4.2 on), or
 * "--jobserver-auth=fifo:PATH" (from 4.4 on; ninja from 1.13 on knows nothing else; earlier makes stop with an error at it). Both lead to the
 * same pipe: PATH is that of our descriptor in /proc, so that nothing is left behind.
 *
 * Source: GNU make's manual, "Job Slots"; its posixos.c.
 */
#ifndef BASE_JOBSERVER_H
#define BASE_JOBSERVER_H

#include "base/buf.h"
#include "base/err.h"

struct jobserver;

enum jobserver_style { JOBSERVER_PIPE, JOBSERVER_FIFO };

/* slots: at least 1. */
int jobserver_new(unsigned slots, struct jobserver **ret, struct err *err) MUST_CHECK;

/* *ret is NULL where makeflags (may be NULL) names none, or none that can be used: then *ret_why_not says why. Its last --jobserver-auth counts. */
void jobserver_join(const char *makeflags, struct jobserver **ret, const char **ret_why_not);

void jobserver_free(struct jobserver *server); /* NULL is fine */

bool jobserver_is_joined(const struct jobserver *server);
unsigned jobserver_slots(const struct jobserver *server); /* 0 if the one that was joined does not say */

/* Never waits. */
bool jobserver_take(struct jobserver *server, char *ret_token);
void jobserver_give(struct jobserver *server, char token);
int jobserver_fd(const struct jobserver *server); /* readable when there may be a token */

/* Of one's own, at a moment in which no job runs: makes good what was lost with those that died while they held tokens. */
void jobserver_mend(struct jobserver *server);

/* Appends "-j4 --jobserver-auth=...", for a child's MAKEFLAGS. One that was joined is passed on in its own style. */
void jobserver_add_flags(const struct jobserver *server, enum jobserver_style style, struct buf *out);
/* The descriptors that the child must inherit for that: 0 or 2 of them. */
size_t jobserver_fds(const struct jobserver *server, enum jobserver_style style, int ret[2]);

#endif
