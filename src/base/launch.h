/*
 * Inside src/base: from a specification to a child that executes its program.
 *
 * The child shares this process's memory until then, as after vfork, but need not be waited for: it runs on a stack of its own and makes
 * system calls without the C library, whose errno belongs to the thread that started it. Nothing that it uses is the caller's.
 *
 *     struct launch *launch = launch_new(&spec, program, stdin_fd);
 *     pid = launch_child(launch, LAUNCH_GO);
 *     ...                                  // the child has executed or ended: certain at once after LAUNCH_WAIT, else when it has ended
 *     launch_failure(launch, &err);
 *     launch_free(launch);
 */
#ifndef BASE_LAUNCH_H
#define BASE_LAUNCH_H

#include "base/proc.h"

#include <sys/resource.h>

struct launch;

/* Copies what spec points to. program: an absolute or relative path; stdin_fd: of this process. */
struct launch *launch_new(const struct proc_spec *spec, const char *program, int stdin_fd);
void launch_limit(struct launch *launch, const struct rlimit *descriptors); /* RLIMIT_NOFILE of the child; NULL: as here */
enum launch_how {
	LAUNCH_WAIT, /* returns when the program is executed, or has failed to be */
	LAUNCH_GO,   /* returns at once */
	LAUNCH_HELD, /* returns at once, and the child does nothing before launch_go; only where launch_can_hold */
};
bool launch_can_hold(void);
/* The process id, or -1 with errno. */
pid_t launch_child(struct launch *launch, enum launch_how how);
void launch_go(struct launch *launch);
int launch_failure(const struct launch *launch, struct err *err) MUST_CHECK; /* -1 and why, if it failed */
void launch_free(struct launch *launch); /* NULL is fine */

#endif
