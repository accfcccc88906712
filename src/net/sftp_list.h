/*
 * What is below a directory of another machine.
 */
#ifndef NET_SFTP_LIST_H
#define NET_SFTP_LIST_H

#include "net/sftp.h"

#define SFTP_TEMP_DIR ".mlmake-tmp" /* of uploads, in the root: never listed */

/* As remote_list. */
int sftp_list(struct sftp *sftp, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err) MUST_CHECK;

#endif
