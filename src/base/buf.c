#include "base/buf.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char buf_empty[1];

void buf_init(struct buf *buf)
{
	*buf = (struct buf)BUF_INIT;
}

void buf_release(struct buf *buf)
{
	if (buf->cap)
		free(buf->data);
	buf_init(buf);
}

void buf_reset(struct buf *buf)
{
	buf_truncate(buf, 0);
}

void buf_reserve(struct buf *buf, size_t extra)
{
	size_t need = buf->len + extra + 1;
	if (need <= buf->cap)
		return;
	size_t grown = buf->cap + buf->cap / 2;
	if (grown < need)
		grown = need;
	if (grown < 32)
		grown = 32;
	buf->data = mem_resize(buf->cap ? buf->data : NULL, grown);
	buf->cap = grown;
	buf->data[buf->len] = '\0';
}

void buf_truncate(struct buf *buf, size_t len)
{
	if (!buf->cap)
		return;
	buf->len = len;
	buf->data[len] = '\0';
}

void buf_add(struct buf *buf, const void *bytes, size_t len)
{
	if (!len)
		return;
	if (buf->len + len >= buf->cap)
		buf_reserve(buf, len);
	memcpy(buf->data + buf->len, bytes, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void buf_addstr(struct buf *buf, const char *text)
{
	buf_add(buf, text, strlen(text));
}

void buf_addch(struct buf *buf, char c)
{
	if (buf->len + 1 >= buf->cap)
		buf_reserve(buf, 1);
	buf->data[buf->len++] = c;
	buf->data[buf->len] = '\0';
}

void buf_vaddf(struct buf *buf, const char *fmt, va_list args)
{
	va_list again;
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, fmt, args);
	if (len > 0) {
		buf_reserve(buf, (size_t)len);
		vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, again);
		buf->len += (size_t)len;
	}
	va_end(again);
}

void buf_addf(struct buf *buf, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	buf_vaddf(buf, fmt, args);
	va_end(args);
}

void buf_addhex(struct buf *buf, const uint8_t *bytes, size_t len)
{
	buf_reserve(buf, 2 * len);
	text_hex(buf->data + buf->len, bytes, len);
	buf->len += 2 * len;
}

void buf_setstr(struct buf *buf, const char *text)
{
	buf_reset(buf);
	buf_addstr(buf, text);
}

char *buf_detach(struct buf *buf)
{
	buf_reserve(buf, 0);
	char *data = buf->data;
	buf_init(buf);
	return data;
}
