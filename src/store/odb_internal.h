/*
 * What odb.c and odb_move.c share.
 */
#ifndef STORE_ODB_INTERNAL_H
#define STORE_ODB_INTERNAL_H

#include "store/odb.h"

/* A batch is what is written before anything of it is synced and renamed. */
#define ODB_BATCH_FILES ((size_t)4096)
#define ODB_BATCH_BYTES ((uint64_t)1 << 30)

/* The directory of the objects whose names begin with that byte; legacy: of DVC 2. */
void odb_add_fan_out(const struct odb *odb, struct buf *out, bool legacy, unsigned first);

/* Whether this process has made that object of verified bytes, and it is as it was. */
bool odb_is_as_made(const struct odb *odb, const struct odb_id *id, const struct stat *st);

#endif
