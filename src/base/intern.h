/*
 * Each string once: equal strings are the same pointer, for as long as the arena lives.
 *
 *     struct intern intern CLEANUP(intern_release) = INTERN_INIT(&arena);
 *     const char *shell = intern_str(&intern, "sh");
 */
#ifndef BASE_INTERN_H
#define BASE_INTERN_H

#include "base/index.h"
#include "base/mem.h"
#include "base/vec.h"

struct intern {
	struct arena *arena;
	VEC(const char *) strings;
	struct index index;
};
#define INTERN_INIT(arena_) { .arena = (arena_) }

const char *intern_str(struct intern *intern, const char *text);
const char *intern_strn(struct intern *intern, const char *text, size_t len); /* without a NUL inside */
void intern_release(struct intern *intern); /* the table; the strings stay */

#endif
