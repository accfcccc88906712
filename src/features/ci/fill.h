/*
 * Fixed texts with holes, for YAML that is the same byte for byte.
 *
 * A hole is "@{name}". A line that has nothing else takes a value of several lines, each at the hole's indentation; an empty value takes the
 * line away, and so does one inside a line ("needs: @{needs}"). Elsewhere a value has one line. Values are not looked at again.
 */
#ifndef FEATURES_CI_FILL_H
#define FEATURES_CI_FILL_H

#include "base/buf.h"
#include "base/err.h"

/* Appends the value of name. An unknown name is an error (ERR_BUG). */
typedef int fill_lookup_fn(void *ctx, const char *name, struct buf *out, struct err *err);

/* Appends the embedded file templates/ci/NAME with its holes filled. */
int fill_template(const char *name, fill_lookup_fn *lookup, void *ctx, struct buf *out, struct err *err) MUST_CHECK;

/* The value of a hole that holds foreign text: a YAML scalar of one line, quoted where it must be. Control characters and
 * "${{", which GitHub would evaluate, are an error that names what. */
int fill_scalar(struct buf *out, const char *what, const char *text, struct err *err) MUST_CHECK;

/* "[a, b]" of scalars. */
int fill_list(struct buf *out, const char *what, const char *const *items, size_t count, struct err *err) MUST_CHECK;

/* Lines of shell for a block scalar: CR and other control characters and "${{" are an error; indentation that all lines share, and blank
 * lines at both ends, are dropped. */
int fill_script(struct buf *out, const char *what, const char *text, struct err *err) MUST_CHECK;

#endif
