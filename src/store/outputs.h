/*
 * The output cache: what targets made, by the key of what they were made from. Shared by clones and worktrees of a user.
 *
 *     $MLMAKE_CACHE_DIR/v1, $XDG_CACHE_HOME/mlmake/v1 or ~/.cache/mlmake/v1
 *         objects/ab/cdef...   bytes of a file, named by their sha256, read-only
 *         actions/ab/cdef...   action record, named by the target's key: manifest, log, milliseconds that it took
 *         index/               what is small: both of the same, as records of one database (store/state.h, state_open_index)
 *         tmp/                 files on their way
 *
 *     struct action action = { .key = key, .manifest = manifest, ... };
 *     outputs_store(cache, root, &action, err);
 *     outputs_find(cache, &key, &action, &found, err);
 *     outputs_restore(cache, root, &action, paths, count, &restored, err);
 *     action_release(&action);
 *
 * Files of at most OUTPUTS_SMALL_MAX bytes and records of at most OUTPUTS_RECORD_MAX go into the index: a file each costs ten times
 * as much. Where there can be no index (a network file system, a database that cannot be opened or written) they are files as well, and
 * what is a file is always found. Writes to the index are collected: outputs_flush, or outputs_close, lets others see them.
 *
 * Whoever brings results from elsewhere reads and writes action records by their key as bytes: outputs_find and outputs_store are the
 * only ways in and out, and both know of files and index; nothing else may rely on where a record lies.
 *
 * Nothing in it is trusted: records carry a checksum, objects are hashed on their way out, a damaged one is dropped and counts as
 * absent. Files are copied (or cloned by the file system) out of the cache, never linked, so that no command writes into it.
 * Not synced: what a power cut damages is found by its hash.
 */
#ifndef STORE_OUTPUTS_H
#define STORE_OUTPUTS_H

#include "base/map.h"
#include "store/manifest.h"

#include <stdatomic.h>

struct outputs;

struct action {
	struct digest key;         /* sha256 */
	struct manifest manifest;  /* owned */
	struct buf log;            /* what the target printed; bounded by OUTPUTS_LOG_MAX */
	uint64_t duration_ms;
};
#define ACTION_INIT { .log = BUF_INIT }
#define OUTPUTS_LOG_MAX ((size_t)1 << 20)
#define OUTPUTS_SMALL_MAX ((size_t)1536)
#define OUTPUTS_RECORD_MAX ((size_t)16 << 10)
void action_release(struct action *action);

/* Creates nothing yet. */
int outputs_open(struct outputs **ret, struct err *err) MUST_CHECK;
void outputs_close(struct outputs *cache); /* what was not flushed goes out as far as that succeeds */

/* cache may be NULL. After a failure this object goes on with files; what waited is lost. */
int outputs_flush(struct outputs *cache, struct err *err) MUST_CHECK;
bool outputs_have_unflushed(const struct outputs *cache);

/* Adds what the user should know of the index, once. cache may be NULL. */
void outputs_take_notices(struct outputs *cache, struct strlist *out);

/* Copies what the manifest lists into the cache. What does not fit into it (manifest_check) is an error, which leaves no record. */
int outputs_store(struct outputs *cache, const char *root, const struct action *action, const char *const *paths, size_t count,
		  struct err *err) MUST_CHECK;

/* Copies a large file into the cache ahead of outputs_store, which then finds it there. For any thread: of the cache it reads the place alone.
 * *ret_bytes: 0 if it was there; the caller passes their sum to outputs_brought. */
int outputs_bring(const struct outputs *cache, const char *from, const struct digest *digest, uint64_t size, uint64_t *ret_bytes,
		  struct err *err) MUST_CHECK;
void outputs_brought(struct outputs *cache, uint64_t bytes);

/* Fills *ret if there is a record of that key; whether its objects are still whole shows on restoring. */
int outputs_find(struct outputs *cache, const struct digest *key, struct action *ret, bool *ret_found, struct err *err) MUST_CHECK;

/* Appends the bytes of a file that a record names. *ret_whole is false if its object is missing or damaged, or has more than max bytes. */
int outputs_read(struct outputs *cache, const struct manifest_entry *entry, size_t max, struct buf *out, bool *ret_whole, struct err *err) MUST_CHECK;

/* Large files copied out of the cache ahead of outputs_restore, which then finds them there: by their digest in hex, the path where each waits. */
struct outputs_taken {
	struct map paths; /* values are owned, NULL once used */
};
void outputs_taken_release(struct outputs_taken *taken);

/* Where a file may wait, on the file system of root. */
int outputs_waiting_place(struct outputs *cache, const char *root, char **ret, struct err *err) MUST_CHECK;
/* Copies the bytes of a file that a record names, verified, to such a place, as long as *stop is false. For any thread: of the cache it reads the
 * place alone. *ret_whole is false, and no file left, if the object is missing or damaged, or if it was stopped. */
int outputs_take(const struct outputs *cache, const struct manifest_entry *entry, const char *to, const atomic_bool *stop, bool *ret_whole,
		 struct err *err) MUST_CHECK;

/* Puts exactly the recorded outputs where the count paths are, replacing what is there. *ret_restored is false (and the work tree as
 * it was) if an object is missing or damaged. The record is dropped then. taken may be NULL. */
int outputs_restore(struct outputs *cache, const char *root, const struct action *action, const char *const *paths, size_t count,
		    struct outputs_taken *taken, bool *ret_restored, struct err *err) MUST_CHECK;

#endif
