/*
 * Snapshots: a question that mlmake answered once ("is anything to do for `test`?", "what does mlmake.yaml say?"), the answer, and all
 * that it was found from. As long as every file, directory and variable that was consulted is as it was, the answer holds,
 * and nothing of the way there (YAML, graph, keys, records) need be gone again.
 *
 *     struct snapshot *snapshot = snapshot_begin(root, false);
 *     if (snapshot_ask(root, SNAPSHOT_RUNS, &question, &answer, &files)) ...
 *     else {
 *             ... find the answer, with all that it depends on read between here and there ...
 *             snapshot_keep(snapshot, SNAPSHOT_RUNS, &question, &answer, state_seen, &why_not);
 *     }
 *     snapshot_end(snapshot);
 *
 * The question holds whatever else the answer is a function of: arguments, the program's own path and version, the platform.
 * An answer may rest on another: begun within a snapshot of the same root, one shares what is witnessed, from the outer one's
 * beginning on; and what snapshot_ask looks at to see whether an answer holds is witnessed as well.
 *
 * When a snapshot is kept: only if a witness (base/witness.h) saw everything and all that it saw lay still, that is, had an mtime and a
 * ctime older than the project's clock (store/clock.h) at snapshot_begin. What is written later then gets another ctime. The database, for
 * answers that rest on it, is vouched for by its last transaction: what another process records makes them void, whatever it was.
 *
 * When it holds: the same boot (a power cut may leave old stamps on new bytes), the same last transaction, the same values of the
 * same variables, the same stamps in every field, the device and the count of links included. Everything else, a damaged file
 * of another version too, is no answer: the long way is always right.
 *
 * Format, in <state dir>/snapshots or graphs/<hash of the question>, by store/codec.h:
 *     u32 magic   u32 version   u64 checksum of what follows
 *     u64 boot   u64 transaction (0: rests on no record)   bytes question   bytes answer   u64 number of files
 *     u32 variables, of each: str name, u8 is set, digest of the value (values are nobody's business)
 *     u32 blocks, of each: str directory, u32 entries, bytes entries
 *         of an entry: u8 flags (1 exists, 2 follow, 4 permission denied), str name,
 *         if it exists: u64 size, mtime, ctime, ino, dev, u32 mode, u32 nlink
 * A directory's files may be spread over several blocks, which are looked at by several threads.
 *
 * What snapshot_revise writes lies in <state dir>/since, and ends behind the number of files, which is 0; its answer is
 *     u64 checksum of the snapshot   u32 names, of each: str
 */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

enum snapshot_kind {
	SNAPSHOT_RUNS,   /* nothing is to do: rests on the database too */
	SNAPSHOT_GRAPHS, /* what the configuration says: on files and variables alone */
};

/* What keeps an answer of SNAPSHOT_RUNS from holding, where it is little: apart from these files, all that it rests on is as it was. */
struct snapshot_change {
	char *path;  /* absolute, as it was asked for */
	bool is_dir; /* or was one: names in it came or went */
};
struct snapshot_changes {
	bool known;               /* false: nothing is known, and the rest says nothing */
	uint64_t transaction;     /* of the database that this is true of */
	uint64_t base;            /* which snapshot was asked */
	VEC(struct snapshot_change) files;
	struct strlist doubted;   /* of an earlier snapshot_revise */
};
void snapshot_changes_release(struct snapshot_changes *changes);

/* root: the project's, absolute. The answer takes the place of what is in ret_answer. ret_changes: where it does not hold, what is
 * different; NULL if nobody wants to know. */
bool snapshot_ask(const char *root, enum snapshot_kind kind, const struct buf *question, struct buf *ret_answer, uint64_t *ret_files,
		  struct snapshot_changes *ret_changes);

/* NULL where none can be kept: mlmake may not write there, or has never run there and may_create is false. From here on the calling process
 * is witnessed. */
struct snapshot;
struct snapshot *snapshot_begin(const char *root, bool may_create);

/* The same right after a run that wrote much: waits until all of that is old enough for the answer to be kept, some milliseconds. */
struct snapshot *snapshot_begin_later(const char *root);

/* Keeps the answer to the question if it may. seen, of SNAPSHOT_RUNS: state_seen of the database that was used. *ret_why_not, if asked for,
 * says why none was kept; NULL: one was. A snapshot that cannot be written is no error. The outermost one sees nothing more after this. */
void snapshot_keep(struct snapshot *snapshot, enum snapshot_kind kind, const struct buf *question, const struct buf *answer, uint64_t seen,
		   const char **ret_why_not);

/* Whether any of the changed files was asked for since the beginning; true where the witness cannot say. */
bool snapshot_has_seen(const struct snapshot *snapshot, const struct snapshot_changes *changes);

/* The answer that will be kept was found from what is witnessed and from what an earlier answer rests on: that is kept with it, apart from what
 * changed. changes must live as long. */
void snapshot_go_on(struct snapshot *snapshot, const struct snapshot_changes *changes);

/* No new answer came of it (something ran), but what the earlier one rests on still counts, for a database at the transaction `seen`; only `doubted`
 * are not what they were, whatever their files say. The next one that asks gets them back. */
void snapshot_revise(const char *root, const struct buf *question, const struct snapshot_changes *changes, uint64_t seen,
		     const struct strlist *doubted);

/* Ends the witness, unless another began it; frees. NULL is fine. */
void snapshot_end(struct snapshot *snapshot);
void snapshot_endp(struct snapshot **snapshot); /* for CLEANUP */

#endif
