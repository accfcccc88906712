/*
 * The memory that a mapped file takes: pages that were looked at count as the process's own until they are given back, though the kernel has them
 * anyway. For files mapped by a library that does not say where.
 *
 *     struct mapping mapping = { 0 };
 *     mapping_trim(&mapping, fd);   now and then
 *     mapping = (struct mapping){ 0 };   when the file may be mapped elsewhere
 */
#ifndef STORE_MAPPING_H
#define STORE_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

struct mapping {
	void *at;   /* NULL: not yet looked for */
	size_t len;
	bool none;  /* it was, and there is none */
};

/* Gives back the pages of the file that fd is open on, where all mapped files together take more than MAPPING_MAX. What the pages say stays the
 * same, and pointers into them good. The file must be mapped shared and for reading alone. */
#define MAPPING_MAX ((size_t)16 << 20)
void mapping_trim(struct mapping *mapping, int fd);

#endif
