/*
 * Errors as values.
 *
 * Everything that can fail returns int (0 done, -1 failed) and takes a
 * `struct err *err` as its last parameter, which it fills before it returns
 * -1. The setters return -1 themselves, so the usual line is
 *
 *     return err_set(err, ERR_CONFIG, "unknown key '%s'", key);
 *
 * and a caller adds what it knows on the way up:
 *
 *     if (config_load(path, &config, err) < 0)
 *             return err_note(err, "in the project at %s", root);
 *
 * An err is owned by whoever declared it (`struct err err CLEANUP(err_release)
 * = ERR_INIT;`). Setting an err that is set already replaces what was in it.
 * Only src/cli prints one. err may never be NULL.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/compiler.h"

/* The values are the exit codes of the process. */
enum err_code {
	ERR_NONE = 0,
	ERR_FAILED = 1,  /* a target or check failed; a file could not be read or written */
	ERR_CONFIG = 2,  /* usage or configuration */
	ERR_DATA = 3,    /* data missing or damaged */
	ERR_NET = 4,     /* network or remote */
	ERR_LOCKED = 5,  /* locked by another for longer than asked */
	ERR_BUG = 70,
	ERR_NOMEM = 71,
	ERR_SIGINT = 130,
	ERR_SIGTERM = 143,
};

/* A place in a text file. line and col count from 1, col in characters;
 * len is the number of characters to mark, 0 if unknown. file is NULL if
 * there is no place; text is the whole source line, NULL if unknown. */
struct span {
	const char *file;
	const char *text;
	unsigned line;
	unsigned col;
	unsigned len;
};

struct err {
	enum err_code code;
	int sys_errno;      /* 0 if no system call was at fault */
	char *message;
	char *hint;         /* what to do about it; NULL if none */
	struct span span;   /* its strings are owned */
	char **notes;       /* innermost first */
	size_t note_count;
};

#define ERR_INIT { .code = ERR_NONE }

/* Sets code and message; drops all else that was in err. Returns -1. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same, and appends ": " and the text of the errno number. The code becomes ERR_NOMEM for ENOMEM. */
int err_set_errno(struct err *err, enum err_code code, int number, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* The next three add to a set err and return -1. A second hint replaces the first. err_at copies the span's strings. */
int err_hint(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
int err_note(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
int err_at(struct err *err, const struct span *span);

/* Moves what is in src to dst (whose contents are dropped); src is empty then. Returns -1. */
int err_move(struct err *dst, struct err *src);

/* Frees and empties. */
void err_release(struct err *err);

/* The compiler sees the -1 at each call, so it and the analyzers know that what follows a failure is never reached
 * as after a success. */
static inline int err_returned(void)
{
	return -1;
}
#define err_set(...) (err_set(__VA_ARGS__), err_returned())
#define err_set_errno(...) (err_set_errno(__VA_ARGS__), err_returned())
#define err_hint(...) (err_hint(__VA_ARGS__), err_returned())
#define err_note(...) (err_note(__VA_ARGS__), err_returned())
#define err_at(...) (err_at(__VA_ARGS__), err_returned())
#define err_move(...) (err_move(__VA_ARGS__), err_returned())

#endif
