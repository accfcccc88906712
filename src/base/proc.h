/*
 * Child processes.
 *
 * A child leads its own process group, dies with this process (PDEATHSIG),
 * has /dev/null as stdin unless told otherwise, default signal dispositions, the limit of descriptors that this
 * process was started with, and no descriptors but 0, 1, 2 and those in keep_fds.
 */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include "base/buf.h"
#include "base/err.h"

#include <signal.h>
#include <sys/types.h>

/* Raises this process's limit of open descriptors to the most that it may have; children get back what it was. Once, at start. */
void proc_raise_descriptors(void);
size_t proc_descriptors(void); /* the limit now */

struct proc_spec {
	const char *const *argv;   /* NULL-terminated; argv[0] is looked up in the PATH of env, unless program is set */
	const char *program;       /* what to execute, as proc_find found it; NULL: look for argv[0] */
	const char *const *env;    /* NULL-terminated "K=V"; NULL: this process's own */
	const char *dir;           /* NULL: this process's */
	int stdin_fd;              /* -1: /dev/null. 0: this process's own (and the child stays in its process group, for a terminal) */
	int stdout_fd, stderr_fd;  /* -1: this process's own */
	const int *keep_fds;
	size_t keep_count;
};
#define PROC_SPEC_INIT { .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 }

struct proc {
	pid_t pid; /* -1: none */
	struct launch *launch; /* of proc_begin: what the child may still be reading */
};
#define PROC_INIT { .pid = -1 }

/* A command that cannot be executed is an error here (ERR_FAILED with errno), not an exit code of 127. */
int proc_spawn(const struct proc_spec *spec, struct proc *ret, struct err *err) MUST_CHECK;

/* The same without waiting until the command is executed, which takes some 0.3 ms of another processor. That it could not be is told once the
 * child has ended, before it is waited for: proc_begun gives -1 then. Nothing of spec is used after the return. */
int proc_begin(const struct proc_spec *spec, struct proc *ret, struct err *err) MUST_CHECK;
int proc_begun(const struct proc *proc, struct err *err) MUST_CHECK;

/* Without waiting, and without reaping: its process group is still its own. */
bool proc_has_ended(const struct proc *proc);

/* Reaps. status as waitpid gives it. */
int proc_wait(struct proc *proc, int *ret_status, struct err *err) MUST_CHECK;

/* Signals the whole process group; a group that is gone is no error. */
void proc_kill_group(const struct proc *proc, int signal_number);

/* Kills and reaps a child that still runs. */
void proc_release(struct proc *proc);

/* 0..255, or 128 + the signal's number. */
int proc_exit_code(int status);

/* Runs to the end and collects. out and errout may be NULL (inherited then) or the same buf. More than max bytes of either is an error and
 * ends the child. A nonzero exit is no error: look at *ret_exit. input may be NULL. */
struct proc_capture {
	const char *input;
	size_t input_len;
	struct buf *out;
	struct buf *errout;
	size_t max;
	int ret_exit;
};
int proc_run(const struct proc_spec *spec, struct proc_capture *capture, struct err *err) MUST_CHECK;

/* Appends the absolute path that execvp would take for name with this PATH value; false if there is none. */
bool proc_find(const char *name, const char *path_value, struct buf *out);

#endif
