/*
 * What `mlmake ci` and the hook both tell features/ci about the project.
 */
#ifndef CLI_CI_WIRING_H
#define CLI_CI_WIRING_H

#include "base/buf.h"

/* Appends the top of the repository that holds root: the nearest directory upward with a .git entry; root itself if there is none. */
void ci_wiring_top(const char *root, struct buf *ret);

#endif
