/*
 * Snapshots: a question that mlmake answered once ("is anything to do for `test`?"), the answer, and all that it was
 * found from. As long as every file, directory and variable that was consulted is as it was, the answer holds, and
 * nothing of the way there (YAML, graph, keys, records) need be gone again.
 *
 *     if (snapshot_ask(root, &question, &answer, &files)) return answer;
 *     struct snapshot *snapshot = snapshot_begin(root);
 *     ... find the answer, with all that it depends on read between here and there ...
 *     snapshot_end(snapshot, &question, &answer, state_seen);
 *
 * The question holds whatever else the answer is a function of: arguments, the program's own path and version, the platform.
 *
 * When a snapshot is kept: only if a witness (base/witness.h) saw everything and all that it saw lay still, that is, had an mtime and a
 * ctime older than the project's clock (store/clock.h) at snapshot_begin. What is written later then gets another ctime. The database is
 * vouched for by its last transaction: what another process records makes snapshots void, whatever it was.
 *
 * When it holds: the same boot (a power cut may leave old stamps on new bytes), the same last transaction, the same values of the
 * same variables, the same stamps in every field, the device and the count of links included. Everything else, a damaged file
 * of another version too, is no answer: the long way is always right.
 *
 * Format, in <state dir>/snapshots/<hash of the question>, by store/codec.h:
 *     u32 magic   u32 version   u64 checksum of what follows
 *     u64 boot   u64 transaction   bytes question   bytes answer   u64 number of files
 *     u32 variables, of each: str name, u8 is set, digest of the value (values are nobody's business)
 *     u32 blocks, of each: str directory, u32 entries, bytes entries
 *         of an entry: u8 flags (1 exists, 2 follow, 4 permission denied), str name,
 *         if it exists: u64 size, mtime, ctime, ino, dev, u32 mode, u32 nlink
 * A directory's files may be spread over several blocks, which are looked at by several threads.
 */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include "base/buf.h"
#include "base/err.h"

/* root: the project's, absolute. Appends the answer. */
bool snapshot_ask(const char *root, const struct buf *question, struct buf *ret_answer, uint64_t *ret_files);

/* NULL where none can be kept: mlmake has never run there, or may not write. From here on the calling process is witnessed. */
struct snapshot;
struct snapshot *snapshot_begin(const char *root);

/* Ends the witness and keeps the snapshot if it may; frees. answer NULL: it is not wanted. seen: state_seen of the database that was
 * used. *ret_why_not, if asked for, says why none was kept; NULL: one was. A snapshot that cannot be written is no error. */
void snapshot_end(struct snapshot *snapshot, const struct buf *question, const struct buf *answer, uint64_t seen, const char **ret_why_not);

#endif
