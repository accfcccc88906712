/*
 * Where the state database of a project lies (store/state.h says by which rules). For state.c alone.
 */
#ifndef STORE_STATE_PLACE_H
#define STORE_STATE_PLACE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

/* Appends the directory, and makes it; what the user should know of the choice goes to notices. */
int state_place(const char *root, struct buf *out, struct strlist *notices, struct err *err) MUST_CHECK;

#endif
