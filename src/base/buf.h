/*
 * A growing byte string, always NUL-terminated. Zero bytes inside are fine.
 *
 *     struct buf b CLEANUP(buf_release) = BUF_INIT;
 *     buf_addf(&b, "%s/%s", dir, name);
 *     use(b.data);
 *
 * data is never NULL and is owned by the buf; any add may move it. Running out
 * of memory ends the process (base/mem.h), so whoever fills a buf from input
 * bounds it first (fs_read_file takes a maximum).
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/compiler.h"

#include <stdarg.h>

struct buf {
	char *data;
	size_t len;
	size_t cap; /* 0: data is the shared empty string */
};

extern char buf_empty[1];
#define BUF_INIT { .data = buf_empty }

void buf_init(struct buf *buf);
void buf_release(struct buf *buf);               /* empty and usable again */
void buf_reset(struct buf *buf);                 /* length 0, memory kept */
void buf_reserve(struct buf *buf, size_t extra); /* room for extra more bytes and the NUL */
void buf_truncate(struct buf *buf, size_t len);
void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_addstr(struct buf *buf, const char *text);
void buf_addch(struct buf *buf, char c);
void buf_addf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vaddf(struct buf *buf, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
void buf_addhex(struct buf *buf, const uint8_t *bytes, size_t len);
void buf_setstr(struct buf *buf, const char *text);

/* Hands the bytes over (free with free); the buf is empty then. */
char *buf_detach(struct buf *buf);

#endif
