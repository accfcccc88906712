/*
 * What odb.c and odb_move.c share.
 */
#ifndef STORE_ODB_INTERNAL_H
#define STORE_ODB_INTERNAL_H

#include "store/odb.h"

/* A batch is what is written before anything of it is synced and renamed. */
#define ODB_BATCH_FILES ((size_t)4096)
#define ODB_BATCH_BYTES ((uint64_t)1 << 30)

#endif
