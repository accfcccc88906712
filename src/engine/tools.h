/*
 * Which programs a target's commands run, and what tells one version of them from another.
 *
 * The identity of a program is the digest of the executable that its name resolves to in the target's PATH; a rule may
 * ask for the version instead (`python --version`), which is remembered by the executable's stamp, so that nothing
 * is started on the way to "nothing to do".
 */
#ifndef ENGINE_TOOLS_H
#define ENGINE_TOOLS_H

#include "engine/foresight.h"
#include "graph/graph.h"
#include "store/hashes.h"
#include "store/state.h"

struct tools;
struct tools *tools_new(const char *root, struct state *state, struct hashes *hashes, const struct foresight *foresight); /* all must outlive it */
void tools_free(struct tools *tools);

/* Adds the COMPONENT_TOOLs of a target to the list. A program that cannot be found counts as absent. */
int tools_add(struct tools *tools, const struct target *target, struct buf *list, struct err *err) MUST_CHECK;

/* The path, owned by the caller, of a program whose version counts and that will be there (-n) but cannot be asked yet; NULL if there is none. */
char *tools_unknown(const struct tools *tools, const struct target *target);

/* Appends the words in command position of a shell script that name programs: what is quoted, expanded or built into every
 * shell is left out. */
void tools_words(const char *script, struct strlist *ret);

#endif
