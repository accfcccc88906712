/*
 * What the files of the output cache share. Nobody else includes it.
 */
#ifndef STORE_OUTPUTS_INTERNAL_H
#define STORE_OUTPUTS_INTERNAL_H

#include "base/map.h"
#include "store/outputs.h"
#include "store/state.h"

#define ACTION_MAX ((size_t)1 << 30)

struct outputs {
	char *dir;
	struct map made; /* directories that are known to exist */
	enum { SHELF_UNKNOWN, SHELF_THERE, SHELF_MISSING } shelves[256]; /* of action records that are files, by the first byte of the key */
	char *tmp;       /* this object's own directory for files on their way in; NULL until needed */
	char *staging;   /* and for outputs on their way out, in the project at staging_root */
	char *staging_root;
	unsigned serial;
	uint64_t stored_bytes; /* of new records and objects */
	struct state *index;   /* NULL until needed */
	bool no_index;         /* there can be none: files alone */
	size_t notices_taken;  /* of the index */
};

/* Where a file of the cache lies: kind is "objects" or "actions". */
void outputs_add_place(const struct outputs *cache, const char *kind, const struct digest *digest, struct buf *out);
/* Whether err says that something is not there; it is released then. */
bool outputs_is_gone(struct err *err);
/* A record was of use: it stays longer than others. */
void outputs_mark_used(struct outputs *cache, const struct digest *key);
void outputs_close_staging(struct outputs *cache);

/* All objects of one directory share the index's database, which is for one thread only: these functions take turns. */

/* Whether there is an index: false if there is none yet and may_create is false, or if there can be none. */
bool outputs_index(struct outputs *cache, bool may_create);
/* Appends what it has of that name; false if nothing. */
bool outputs_index_get(struct outputs *cache, enum state_table table, const struct digest *digest, struct buf *out);
bool outputs_index_has(struct outputs *cache, enum state_table table, const struct digest *digest, size_t len);
/* visit must not use the index. */
int outputs_index_each(struct outputs *cache, enum state_table table, state_visit_fn *visit, void *ctx, struct err *err) MUST_CHECK;
void outputs_index_close(struct outputs *cache);
/* A write that failed ends the use of the index by this object: what waits is lost, files go on. */
int outputs_index_put(struct outputs *cache, enum state_table table, const struct digest *digest, const void *bytes, size_t len,
		      struct err *err) MUST_CHECK;
int outputs_index_remove(struct outputs *cache, enum state_table table, const struct digest *digest, struct err *err) MUST_CHECK;

/* An action record in the index: when it was last used (ms since 1970), then the bytes that would be its file. */
int outputs_index_put_action(struct outputs *cache, const struct digest *key, const void *record, size_t len, struct err *err) MUST_CHECK;
bool outputs_index_open_action(const struct buf *indexed, int64_t *ret_used_ms, const void **ret_record, size_t *ret_len);

/* False if the record is damaged or not that of key. */
bool outputs_read_action(const void *record, size_t len, const struct digest *key, struct action *ret);

#endif
