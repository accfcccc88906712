/*
 * Results that a target has had before, and what they were made from: so that a collection of the output cache can tell which of them belong
 * to a commit that somebody has tagged.
 *
 * In the state database's table of the past, named "<target>\n<key>". What is kept of a result is small: 64 bits for each path and each
 * content of inputs and outputs, and the parameters. The rest of a key (commands, environment, tools) is not compared with a commit: that can only keep
 * too much.
 */
#ifndef ENGINE_PAST_H
#define ENGINE_PAST_H

#include "engine/record.h"

struct past_file {
	uint64_t path, content; /* past_hash_path, past_hash_content */
};
struct past_param {
	char *name;             /* as in components: "params.yaml:train.lr" */
	uint64_t value;
};
struct past {
	struct digest key;
	VEC(struct past_file) inputs, outputs;
	VEC(struct past_param) params;
};
void past_release(struct past *past);

uint64_t past_hash_path(const char *path);
uint64_t past_hash_content(const struct digest *sha256, bool executable);
uint64_t past_hash_text(const char *text);

/* What a record of a success says, in short. */
void past_of_record(const struct record *record, struct past *ret);

/* Moves the record to the past, before another takes its place. */
int past_add(struct state *state, const char *target_name, const struct record *record, struct err *err) MUST_CHECK;
/* A record of STATE_PAST; false if it is damaged. */
bool past_read(const void *bytes, size_t len, struct past *ret);

#endif
