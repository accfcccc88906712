/*
 * What is there on a WebDAV server: PROPFIND of one collection after the other (RFC 4918, 9.1).
 */
#ifndef NET_WEB_LIST_H
#define NET_WEB_LIST_H

#include "net/web.h"

#define WEB_TEMP_DIR ".mlmake-tmp" /* of uploads, in the root: never listed */

/* As remote_list. */
int web_list(struct web *web, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err) MUST_CHECK;

#endif
