/*
 * "${name}" in the values of a configuration.
 *
 *     ${registry}/hello      what the lookup says of "registry"
 *     $${HOME}               a literal "${HOME}", for the shell
 *     $HOME, $(cmd), $$      left alone
 *     ${{ github.sha }}      an error that says how to write it literally
 *
 * Where a name comes from, and that names do not go round in a circle, is the caller's business.
 */
#ifndef FORMATS_TEMPLATE_H
#define FORMATS_TEMPLATE_H

#include "base/buf.h"
#include "base/err.h"

/* Appends the value of name. at is where "${name}" stands, as exactly as is known: use it in errors. */
typedef int template_lookup_fn(void *ctx, const char *name, const struct span *at, struct buf *out, struct err *err);

/* Appends text with every reference replaced. span is where text was written (may be NULL); the errors point into it. */
int template_expand(const char *text, const struct span *span, template_lookup_fn *lookup, void *ctx, struct buf *out,
		    struct err *err) MUST_CHECK;

/* Whether template_expand would change the text or refuse it. */
bool template_has_references(const char *text);

#endif
