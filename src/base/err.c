#include "base/err.h"

#include "base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void err_release(struct err *err)
{
	free(err->message);
	free(err->hint);
	free((char *)err->span.file);
	free((char *)err->span.text);
	for (size_t i = 0; i < err->note_count; i++)
		free(err->notes[i]);
	free(err->notes);
	*err = (struct err)ERR_INIT;
}

static void set_message(struct err *err, enum err_code code, char *message)
{
	err_release(err);
	err->code = code;
	err->message = message;
}

int (err_set)(struct err *err, enum err_code code, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *message = mem_vprintf(fmt, args);
	va_end(args);
	set_message(err, code, message);
	return -1;
}

int (err_set_errno)(struct err *err, enum err_code code, int number, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	OWNED char *what = mem_vprintf(fmt, args);
	va_end(args);
	char text[128];
	set_message(err, number == ENOMEM ? ERR_NOMEM : code,
		    mem_printf("%s: %s", what, strerror_r(number, text, sizeof(text))));
	err->sys_errno = number;
	if (number == ENOSPC || number == EDQUOT)
		err_hint(err, "free some space on that file system, then run the same command again");
	return -1;
}

int (err_hint)(struct err *err, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *hint = mem_vprintf(fmt, args);
	va_end(args);
	free(err->hint);
	err->hint = hint;
	return -1;
}

int (err_note)(struct err *err, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *note = mem_vprintf(fmt, args);
	va_end(args);
	err->notes = mem_resize_array(err->notes, err->note_count + 1, sizeof(*err->notes));
	err->notes[err->note_count++] = note;
	return -1;
}

int (err_at)(struct err *err, const struct span *span)
{
	struct span copy = *span;
	copy.file = mem_strdup(span->file);
	copy.text = mem_strdup(span->text);
	free((char *)err->span.file);
	free((char *)err->span.text);
	err->span = copy;
	return -1;
}

int (err_move)(struct err *dst, struct err *src)
{
	if (dst != src) {
		err_release(dst);
		*dst = *src;
		*src = (struct err)ERR_INIT;
	}
	return -1;
}
