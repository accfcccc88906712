/*
 * What is remembered of a target: its last success.
 *
 * In the state database's results table under the target's name. A record is written after a success alone.
 */
#ifndef ENGINE_RECORD_H
#define ENGINE_RECORD_H

#include "store/manifest.h"
#include "store/state.h"

struct record {
	bool exists;
	uint64_t duration_ms;
	uint64_t finished_at;      /* seconds since 1970; tells one record from another */
	struct digest result;      /* what targets that need it have in their key; DIGEST_NONE: a constant */
	struct buf components;     /* engine/components.h */
	struct manifest outputs;   /* declared outputs, and the stamp file */
	struct strlist reasons;    /* why it ran that time */
};
#define RECORD_INIT { .components = BUF_INIT }

/* A record as it lies in the table; false (and an empty record) if it is damaged. */
bool record_read(struct record *record, const void *bytes, size_t len);
/* An absent or damaged record is one that does not exist. */
void record_load(struct record *record, struct state *state, const char *name);
int record_save(const struct record *record, struct state *state, const char *name, struct err *err) MUST_CHECK;
void record_release(struct record *record);

/* How long the last success took, in ms; 0 if unknown. */
uint64_t record_duration(struct state *state, const char *name);

#endif
