/*
 * What the files of the output cache share. Nobody else includes it.
 */
#ifndef STORE_OUTPUTS_INTERNAL_H
#define STORE_OUTPUTS_INTERNAL_H

#include "base/map.h"
#include "store/outputs.h"

#define ACTION_MAX ((size_t)1 << 30)

struct outputs {
	char *dir;
	struct map made; /* directories that are known to exist */
	char *tmp;       /* this object's own directory for files on their way in; NULL until needed */
	char *staging;   /* and for outputs on their way out, in the project at staging_root */
	char *staging_root;
	unsigned serial;
	uint64_t stored_bytes; /* of new objects */
};

/* False if the record is damaged or not that of key. */
bool outputs_read_action(const struct buf *record, const struct digest *key, struct action *ret);

#endif
