/*
 * The environment of a target. Three classes and nothing else:
 * hashed (env, pass_env), passed but not hashed (what every program needs to find its way), secret (secrets).
 */
#ifndef ENGINE_ENVIRONMENT_H
#define ENGINE_ENVIRONMENT_H

#include "graph/graph.h"

struct environment {
	VEC(const char *) vars;  /* "K=V" ..., NULL at the end; in the arena, or of this process */
	struct string_list masks; /* values of secrets, longest first */
	struct arena arena;
};

/* What every target gets of this process's own environment, which nothing changes while targets run: filled by the first environment_make. */
struct environment_passed {
	VEC(const char *) vars; /* "K=V" */
	bool known;
};
void environment_passed_release(struct environment_passed *passed);

/* root: the project's, absolute. */
void environment_make(struct environment *ret, struct environment_passed *passed, const char *root, const struct target *target);
void environment_set(struct environment *env, const char *name, const char *value); /* in place of what it was */
const char *environment_get(const struct environment *env, const char *name); /* NULL if it is not there */
void environment_release(struct environment *env);

/* Appends the value of PATH: what its needs put in front, then that of env, else ours. */
void environment_add_path(struct buf *out, const char *root, const struct target *target);

/* Whether every target gets that variable of ours. */
bool environment_passes(const char *name);

/* Appends len bytes of text with every secret replaced by "***". */
void environment_add_masked(const struct environment *env, struct buf *out, const char *text, size_t len);

#endif
