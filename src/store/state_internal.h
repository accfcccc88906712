/*
 * What the files of the state database share. Nobody else includes it.
 *
 *     state.c        records: read, collected, written
 *     state_open.c   opening, looking for damage, beginning anew
 *     state_check.c  whether LMDB can follow what is in a file
 *     state_place.c  where it lies
 */
#ifndef STORE_STATE_INTERNAL_H
#define STORE_STATE_INTERNAL_H

#include "store/mapping.h"
#include "store/state.h"

#include <lmdb.h>

#define OF_PROJECT (1u << STATE_META | 1u << STATE_STAT | 1u << STATE_RESULTS | 1u << STATE_TOOLS | 1u << STATE_HISTORY | 1u << STATE_PAST)
#define OF_CACHE (1u << STATE_META | 1u << STATE_ACTIONS | 1u << STATE_OBJECTS)

struct pending {
	enum state_table table;
	uint64_t key;
	char *bytes; /* the whole record; NULL: it goes */
	size_t len;
};

struct state {
	struct state *next;
	unsigned users;
	char *dir;  /* that the database lies in */
	char *path;
	unsigned wanted; /* tables, a bit each */
	MDB_env *env;
	MDB_dbi tables[STATE_TABLE_COUNT];
	MDB_txn *view;
	bool view_open;
	bool wrote;      /* since it was opened */
	bool knows_notice; /* there is one in it that nobody was told */
	uint64_t ino;    /* of the file that was opened, or found damaged; 0: there was none */
	size_t seen;      /* the transaction that all so far was read from; 0: nothing was */
	bool seen_others; /* or there was more than one */
	VEC(struct pending) pending;
	uint32_t *slots;   /* where a key's record waits in pending, + 1 */
	size_t slot_count; /* a power of 2, or 0 */
	struct strlist notices;
	struct mapping mapping; /* of env */
};

/* Codes are LMDB's: below 0, or an errno. */
int state_fail(struct err *err, const struct state *state, int code, const char *doing);
bool state_is_damage(int code);

/* Makes the place if need be; a database that is damaged, or that a newer mlmake wrote, is set aside. */
int state_open_or_rebuild(struct state *state, struct err *err) MUST_CHECK;
int state_open_env(struct state *state);
void state_close_env(struct state *state);
/* What this process wrote kept the file whole: the next one need not read it all. */
void state_note_written(const struct state *state);
/* What was found damaged, unless another process has done so meanwhile; with a notice. */
int state_set_aside(struct state *state, const char *why, struct err *err) MUST_CHECK;
void state_add_version(struct state *state);

/* state.c */
/* Moves records that lie under another key than state_key's: those of version 1, which had the checksum of the whole name. */
int state_rekey(struct state *state, struct err *err) MUST_CHECK;
void state_drop(struct state *state, enum state_table table, const char *name);
void state_add_pending(struct state *state, enum state_table table, const char *name, const void *bytes, size_t len);

#endif
