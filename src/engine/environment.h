/*
 * The environment of a target. Three classes and nothing else:
 * hashed (env, pass_env), passed but not hashed (what every program needs to find its way), secret (secrets).
 */
#ifndef ENGINE_ENVIRONMENT_H
#define ENGINE_ENVIRONMENT_H

#include "graph/graph.h"

struct environment {
	VEC(const char *) vars;  /* "K=V" ..., NULL at the end; in the arena */
	struct string_list masks; /* values of secrets, longest first */
	struct arena arena;
};

void environment_make(struct environment *ret, const struct target *target);
void environment_release(struct environment *env);

/* Whether every target gets that variable of ours. */
bool environment_passes(const char *name);

/* Appends len bytes of text with every secret replaced by "***". */
void environment_add_masked(const struct environment *env, struct buf *out, const char *text, size_t len);

#endif
