/*
 * What mlmake.yaml says of remotes, since dvc refuses a config file with options that it does not know: packed ones, and how fast data may move.
 *
 *     data:
 *       limit_rate: 10M
 *       remotes:
 *         packs: {url: "remote://storage", packed: true}
 */
#ifndef FEATURES_DATA_PACKED_H
#define FEATURES_DATA_PACKED_H

#include "base/err.h"
#include "base/vec.h"

struct packed_remote {
	char *name, *url; /* a directory is absolute */
};
struct packed_remotes {
	VEC(struct packed_remote) list;
	uint64_t limit_rate; /* bytes a second, for all remotes; 0: any */
};

/* Those of a mlmake.yaml, which need not exist (NULL: none). ERR_CONFIG with the place of what is wrong. */
int packed_remotes_load(const char *file, struct packed_remotes *ret, struct err *err) MUST_CHECK;
const char *packed_remotes_url(const struct packed_remotes *remotes, const char *name); /* NULL: there is none of that name */
void packed_remotes_release(struct packed_remotes *remotes);

#endif
