/*
 * What DVC 2 did to content before it took the md5: in each chunk of 1 MiB that looks like text, CRLF counts as LF. A pair that the edge of a
 * chunk splits stays as it is (dvc_objects.hashfile.hash: Dos2UnixHashStreamFile; dvc_objects.istextfile). The stored object keeps its bytes.
 */
#ifndef FORMATS_DOS2UNIX_H
#define FORMATS_DOS2UNIX_H

#include <stddef.h>
#include <stdint.h>

#define DOS2UNIX_CHUNK ((size_t)1 << 20)

/* Changes the bytes of one chunk in place and returns how many are left. */
size_t dos2unix_chunk(uint8_t *bytes, size_t len);

#endif
