/*
 * Paths as text. Nothing here looks at the file system but path_cwd.
 */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include "base/buf.h"
#include "base/err.h"

/* Appends a, a '/' where needed, and b; b alone if it is absolute or a is "" or ".". */
void path_join(struct buf *out, const char *a, const char *b);
char *path_joined(const char *a, const char *b); /* the same, owned by the caller */

/* Appends path without ".", "..", double and trailing slashes, judged lexically. "" becomes ".";
 * leading ".." of a relative path stay. */
void path_normalize(struct buf *out, const char *path);

/* Appends what leads from directory from to path `to`, both absolute and normalised. "." if equal. */
void path_relative(struct buf *out, const char *from, const char *to);

/* Whether the normalised path is dir or lies below it. */
bool path_inside(const char *dir, const char *path);

/* Whether a path from a manifest, archive or configuration may be created below a directory: relative, not empty,
 * no empty, "." or ".." component, at most 4096 bytes, no component over 255 bytes. */
bool path_is_safe(const char *path);

/* As lists of components: "a/b" comes right behind "a", before "a.b". */
int path_compare(const char *a, const char *b);

const char *path_base(const char *path);         /* after the last '/' */
void path_dir(struct buf *out, const char *path);/* before the last '/'; "." if there is none, "/" for "/x" */

int path_cwd(struct buf *out, struct err *err) MUST_CHECK;

#endif
