/*
 * The state database of a project: what was true of files and targets when they were last looked at. Losing it
 * costs time, never data.
 *
 *     struct state *state;
 *     if (state_open(root, &state, err) < 0) return -1;
 *     for each of state_notices(state): show it to the user
 *     state_get(state, STATE_RESULTS, "train", &bytes, &len)   ... use bytes at once
 *     state_put(state, STATE_RESULTS, "train", bytes, len, err)
 *     state_flush(state, err); state_close(state);
 *
 * Place: <root>/.mlmake/state, or below $MLMAKE_STATE_DIR in a directory of this root's own; on a network file
 * system, where a memory-mapped database does not belong, below the user's cache directory (a notice says so).
 *
 * Every record carries a magic number, a version, the name it belongs to and a checksum; one that does not fit is
 * as good as absent. A database that is damaged as a whole (store/state_check.h), or that a newer mlmake wrote, is set aside as
 * `state.aside` and a new one begun (a notice says so).
 *
 * Writes are collected and go out STATE_GROUP at a time in one synced transaction, or with state_flush. Any
 * number of processes may use one database. Within a process all state_open of one place give the same object
 * (LMDB must not open a file twice), to be closed as often. A database is for one thread at a
 * time; different ones may be used at once. The only user of LMDB.
 */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

struct state;

enum state_table {
	STATE_META,
	STATE_STAT,    /* store/hashes.h: a directory's files */
	STATE_RESULTS, /* engine: the last success of a target */
	STATE_TOOLS,   /* engine: what a version command printed */
	STATE_HISTORY, /* engine: how the runs of a target went */
	STATE_PAST,    /* engine: results that targets had before */
	STATE_ACTIONS, /* store/outputs.h, in the index of the output cache alone: action records */
	STATE_OBJECTS, /*   and the bytes of small files */
	STATE_TABLE_COUNT
};

#define STATE_GROUP 1000

int state_open(const char *root, struct state **ret, struct err *err) MUST_CHECK;
/* A database of the same kind that is no project's: the index of an output cache, in <dir>/index. The directory must be on a file system
 * of this machine (state_is_network_fs). */
int state_open_index(const char *dir, struct state **ret, struct err *err) MUST_CHECK;
/* Writes what is pending as far as that succeeds. NULL is fine. */
void state_close(struct state *state);

/* What the user should know; empty as a rule. That a database was set aside is said again to whoever opens the new one, until state_told. */
const struct strlist *state_notices(const struct state *state);
void state_told(struct state *state);

/* The directory that stands for `.mlmake` where locks are concerned: the parent of the database. */
const char *state_dir(const struct state *state);

/* Records are kept in the order of this number of their name: who reads many of one table, and may choose, is faster that way. Those of a series of
 * names (t1200, t1201, ...) lie together, and are mostly written together as well. */
uint64_t state_key(const char *name);

/* The record of that name: false if there is none that can be read. The bytes lie in the map and are good until the
 * next call of any function here; they are not aligned. */
bool state_get(struct state *state, enum state_table table, const char *name, const void **ret, size_t *ret_len);

int state_put(struct state *state, enum state_table table, const char *name, const void *bytes, size_t len,
	      struct err *err) MUST_CHECK;
int state_remove(struct state *state, enum state_table table, const char *name, struct err *err) MUST_CHECK; /* absent is done */

/* Every record of a table that can be read, in no order, what was pending included. visit returns 0 or -1 with err; it may read, and must
 * not write. */
typedef int state_visit_fn(void *ctx, const char *name, const void *bytes, size_t len, struct err *err);
int state_each(struct state *state, enum state_table table, state_visit_fn *visit, void *ctx, struct err *err) MUST_CHECK;

int state_flush(struct state *state, struct err *err) MUST_CHECK;
/* Gives back the memory of what was looked at (store/mapping.h); state_flush does so, too. To look records up in no order, faults would cost more than
 * the memory. */
void state_trim(struct state *state);
size_t state_pending(const struct state *state);

/* The next state_get sees what other processes have written meanwhile. Also to be called before waiting long: an
 * open view keeps the database from reusing space. */
void state_refresh(struct state *state);

/* What stands for all that this object has read and written of the database: its transaction. 0 if others wrote meanwhile, so that no one
 * transaction does. */
uint64_t state_seen(const struct state *state);

/* The last transaction of the database in dir (state_find_dir); 0 if there is no database that can be read. Takes no lock and leaves
 * no trace: for a look from outside. */
uint64_t state_last(const char *dir);

/* Appends what state_dir would be for a project; creates nothing. */
int state_find_dir(const char *root, struct buf *out, struct err *err) MUST_CHECK;

/* Whether a file system of this statfs f_type is a network one. */
bool state_is_network_fs(unsigned long type);
bool state_on_network_fs(const char *dir);

#endif
