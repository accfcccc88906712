/*
 * The difference of two texts in unified form, for people and for `patch`.
 */
#ifndef FEATURES_CI_DIFF_H
#define FEATURES_CI_DIFF_H

#include "base/buf.h"

/* Appends "--- from", "+++ to" and hunks with three lines of context; nothing if the texts are equal. Very long texts with
 * very many differences become one hunk that replaces what is between the first and the last. */
void diff_unified(struct buf *out, const char *from_name, const char *from, const char *to_name, const char *to);

#endif
