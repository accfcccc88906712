/*
 * Allocation. Small allocations cannot fail: they end the process with exit
 * code 71. For sizes that input decides use mem_try, which returns NULL.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/compiler.h"

#include <stdarg.h>

/* Say so on stderr and end the process, with 71 and with 70: for a library that has no memory, and for what cannot be. */
NORETURN void mem_exhausted(void);
NORETURN void mem_bug(const char *what);
void *mem_alloc(size_t size);                       /* zeroed */
void *mem_resize(void *ptr, size_t size);
void *mem_resize_array(void *ptr, size_t count, size_t each);
void *mem_try(size_t size);                         /* not zeroed; NULL when out of memory */
char *mem_strdup(const char *text);                 /* NULL gives NULL */
char *mem_strndup(const char *text, size_t len);
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);
char *mem_vprintf(const char *fmt, va_list args) PRINTF_LIKE(1, 0);

/* For CLEANUP(mem_free_ptr) on any pointer variable. */
void mem_free_ptr(void *pointer_to_pointer);
#define OWNED CLEANUP(mem_free_ptr)

/* An arena: what one phase allocates and drops together. Zero-initialise; release frees everything.
 * Nothing that was returned may be used after the release. */
struct arena {
	struct arena_block *block;
};
void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned for any type of that size, or for an array */
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t len);
char *arena_join(struct arena *arena, const char *dir, const char *name); /* "dir/name" */
char *arena_printf(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
void arena_release(struct arena *arena);

#endif
