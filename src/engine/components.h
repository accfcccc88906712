/*
 * What a target's key is made of: a list of (kind, name, value), framed. The list itself is kept beside the key,
 * so that `why` can name what changed; the key is the sha256 over it.
 *
 *     components_begin(&list);
 *     components_add_text(&list, COMPONENT_COMMAND, "0", "python src/train.py");
 *     components_add_digest(&list, COMPONENT_INPUT, "src/train.py", 'f', &digest);
 *     components_key(list.data, list.len, &key);
 *
 * A value is one tag byte and bytes: 't' text that may be shown, 'a' absent, any other letter a digest (for an
 * input: 'f' file, 'x' executable file, 'l' link).
 */
#ifndef ENGINE_COMPONENTS_H
#define ENGINE_COMPONENTS_H

#include "base/buf.h"
#include "base/vec.h"
#include "formats/digest.h"

/* The numbers are in records and keys: they keep their meaning for ever. */
enum component_kind {
	COMPONENT_COMMAND = 1,  /* name: number of the command */
	COMPONENT_ARGUMENT = 2, /* name: number */
	COMPONENT_SHELL = 3,    /* name: number of the word */
	COMPONENT_DIR = 4,
	COMPONENT_INPUT = 5,    /* name: path */
	COMPONENT_PARAM = 6,    /* name: file:key */
	COMPONENT_ENV = 7,      /* name: variable */
	COMPONENT_NEED = 8,     /* name: target */
	COMPONENT_TOOL = 9,     /* name: as the command has it */
	COMPONENT_PLATFORM = 10,
	COMPONENT_OUTPUT = 11,  /* name: path */
};

/* Raised when the meaning of a component changes. A record of an older version that is still known is compared with a
 * list made by the rules of that version, so that an upgrade does not rerun the world. */
#define COMPONENTS_VERSION 1u

void components_begin(struct buf *list);
void components_add_text(struct buf *list, enum component_kind kind, const char *name, const char *text);
void components_add_absent(struct buf *list, enum component_kind kind, const char *name);
void components_add_digest(struct buf *list, enum component_kind kind, const char *name, char tag, const struct digest *digest);

/* The first of names that no component of this kind has; NULL if there is none. */
const char *components_unlisted(const void *list, size_t len, enum component_kind kind, const char *const *names, size_t count);

/* Each component in turn; value is its tag and value_len - 1 bytes, NUL-terminated behind them. What is behind damage is left out. */
typedef void component_fn(void *ctx, enum component_kind kind, const char *name, const char *value, size_t value_len);
void components_each(const void *list, size_t len, component_fn *visit, void *ctx);

void components_key(const void *list, size_t len, struct digest *ret);

/* What a reader wants to know: "src/train.py changed", "src/new.py added", "params.yaml:train.lr 0.01 -> 0.1", "command changed".
 * Appends at least one sentence if the lists differ. */
void components_diff(const void *old_list, size_t old_len, const void *new_list, size_t new_len, struct strlist *ret_reasons);

#endif
