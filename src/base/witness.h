/*
 * A witness: everything that a stretch of a program asked of the file system and of the environment, and what the answers were.
 * Whoever finds the same answers later need not do the work again: its result would be the same.
 *
 *     struct witness *witness = witness_begin(is_ours, root);
 *     ... work ...
 *     witness_end(witness);
 *     if (!witness_fault(witness))
 *             for each of witness_files(witness), witness_vars(witness): keep it
 *     witness_free(witness);
 *
 * It stands in the table of base/sys.h and sees what goes through that: files looked at, opened and read, directories listed
 * (by the stamp of the directory), links read, variables. Answers of the database come from elsewhere (store/state.h). What a
 * witness cannot vouch for is a fault, after which it records nothing more and forgets what it has seen: a child process, a library that opens files itself, an
 * error other than "there is no such file" and "permission denied", something written.
 *
 * One at a time. Other threads may look at files meanwhile; begin and end are for moments in which none does.
 */
#ifndef BASE_WITNESS_H
#define BASE_WITNESS_H

#include "base/fs.h"

struct witness;

struct witness_file {
	const char *path;      /* absolute, not normalised */
	bool follow;           /* what a link at path leads to was meant */
	bool exists;
	bool denied;           /* does not exist as far as one may look: EACCES */
	struct fs_stamp stamp; /* zero if it does not exist */
};
struct witness_files {
	struct witness_file *at; /* in the order in which they were asked for; may repeat, and then contradict each other */
	size_t len, cap;
};

struct witness_var {
	const char *name;
	const char *value;     /* NULL: not set */
};
struct witness_vars {
	struct witness_var *at; /* each name once */
	size_t len, cap;
};

/* Paths that is_ours says yes to are neither recorded nor a fault to write. */
typedef bool witness_ours_fn(void *ctx, const char *path);

struct witness *witness_begin(witness_ours_fn *is_ours, void *ctx);
void witness_end(struct witness *witness);  /* puts the table back */
void witness_free(struct witness *witness); /* ends it, if that was not done; NULL is fine */

/* The one that stands in the table now, and the ctx that it was begun with if that was for is_ours; NULL if there is none. */
struct witness *witness_current(witness_ours_fn *is_ours, void **ret_ctx);

/* Why the record is not whole; NULL if it is. */
const char *witness_fault(const struct witness *witness);

/* Owned by the witness; after the end, or up to now in a moment in which no other thread looks at files. */
const struct witness_files *witness_files(const struct witness *witness);
const struct witness_vars *witness_vars(const struct witness *witness);

#endif
