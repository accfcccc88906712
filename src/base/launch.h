/*
 * Inside src/base: from a specification to a child that executes its program.
 *
 * The child shares this process's memory until then, as after vfork, but need not be waited for: it runs on a stack of its own and makes
 * system calls without the C library, whose errno belongs to the thread that started it. Nothing that it uses is the caller's.
 *
 *     struct launch *launch = launch_new(&spec, program, stdin_fd);
 *     pid = launch_child(launch, wait);
 *     ...                                  // the child has executed or ended: certain at once with wait, else when it has ended
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
/* The process id, or -1 with errno. wait: returns when the program is executed, or has failed to be. */
pid_t launch_child(struct launch *launch, bool wait);
int launch_failure(const struct launch *launch, struct err *err) MUST_CHECK; /* -1 and why, if it failed */
void launch_free(struct launch *launch); /* NULL is fine */

#endif
