/* The writer; formats/json.c reads. */
#include "formats/json.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- strings ---- */

/* The code point at p and its length; 0xfffd and 1 where the bytes are not UTF-8. */
static uint32_t decode(const unsigned char *p, size_t left, size_t *ret_len)
{
	uint32_t c = p[0];
	size_t len = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
	*ret_len = 1;
	if (len == 0 || len > left)
		return 0xfffd;
	if (len > 1)
		c &= 0xffu >> (len + 1);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0xfffd;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if ((len == 3 && c < 0x800) || (len == 4 && c < 0x10000) || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0xfffd;
	*ret_len = len;
	return c;
}

static void add_escaped(struct buf *out, uint32_t c)
{
	static const char shorts[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
	const char *known = c && c < 0x80 ? strchr(shorts, (int)c) : NULL;
	if (known)
		buf_addf(out, "\\%c", letters[known - shorts]);
	else if (c < 0x10000)
		buf_addf(out, "\\u%04x", c);
	else
		buf_addf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
}

void json_add_string(struct buf *out, const char *text, size_t len, bool ascii)
{
	const unsigned char *p = (const unsigned char *)text;
	buf_addch(out, '"');
	for (size_t at = 0; at < len;) {
		size_t plain = at;
		while (plain < len && p[plain] >= ' ' && p[plain] < 0x7f && p[plain] != '"' && p[plain] != '\\')
			plain++;
		buf_add(out, text + at, plain - at);
		at = plain;
		if (at == len)
			break;
		size_t used;
		uint32_t c = decode(p + at, len - at, &used);
		if (c < ' ' || c == '"' || c == '\\' || (ascii && c > '~'))
			add_escaped(out, c);
		else if (c == 0xfffd)
			buf_addstr(out, "\xef\xbf\xbd");
		else
			buf_add(out, text + at, used);
		at += used;
	}
	buf_addch(out, '"');
}

/* ---- numbers ---- */

/* repr() of Python: the shortest digits that read back the same, in plain notation for 1e-4 <= |value| < 1e16. */
void json_add_real(struct buf *out, double value)
{
	char text[40];
	if (!isfinite(value)) {
		buf_addstr(out, isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
		return;
	}
	int digits = 1;
	for (; digits < 17; digits++) {
		snprintf(text, sizeof(text), "%.*e", digits - 1, value);
		if (strtod(text, NULL) == value)
			break;
	}
	snprintf(text, sizeof(text), "%.*e", digits - 1, value);
	int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
	if (value != 0 && (exponent < -4 || exponent >= 16)) {
		buf_addstr(out, text);
		return;
	}
	int decimals = digits - 1 - exponent;
	buf_addf(out, "%.*f", decimals > 1 ? decimals : 1, value);
}

/* ---- structure ---- */

static void new_line(struct json_writer *w)
{
	buf_addch(w->out, '\n');
	for (unsigned i = 0; i < w->depth; i++)
		buf_addstr(w->out, "  ");
}

/* What stands between the item before and this one. */
static void separate(struct json_writer *w)
{
	if (w->after_key) {
		w->after_key = false;
		return;
	}
	if (w->depth == 0)
		return;
	if (w->filled[w->depth - 1])
		buf_addstr(w->out, w->style == JSON_PYTHON ? ", " : ",");
	w->filled[w->depth - 1] = true;
	if (w->style == JSON_PRETTY)
		new_line(w);
}

void json_begin(struct json_writer *w, struct buf *out, enum json_style style)
{
	memset(w, 0, sizeof(*w));
	w->out = out;
	w->style = style;
}

static void open_container(struct json_writer *w, char opener, char closer)
{
	separate(w);
	buf_addch(w->out, opener);
	if (w->depth == JSON_WRITER_MAX_DEPTH)
		mem_bug("JSON is nested deeper than its writer allows");
	w->closer[w->depth] = closer;
	w->filled[w->depth] = false;
	w->depth++;
}

void json_open_object(struct json_writer *w)
{
	open_container(w, '{', '}');
}

void json_open_array(struct json_writer *w)
{
	open_container(w, '[', ']');
}

void json_close(struct json_writer *w)
{
	w->depth--;
	if (w->filled[w->depth] && w->style == JSON_PRETTY)
		new_line(w);
	buf_addch(w->out, w->closer[w->depth]);
}

void json_key(struct json_writer *w, const char *key)
{
	separate(w);
	json_add_string(w->out, key, strlen(key), w->style == JSON_PYTHON);
	buf_addstr(w->out, w->style == JSON_COMPACT ? ":" : ": ");
	w->after_key = true;
}

void json_put_strn(struct json_writer *w, const char *text, size_t len)
{
	separate(w);
	json_add_string(w->out, text, len, w->style == JSON_PYTHON);
}

void json_put_str(struct json_writer *w, const char *text)
{
	if (text)
		json_put_strn(w, text, strlen(text));
	else
		json_put_null(w);
}

void json_put_int(struct json_writer *w, int64_t value)
{
	separate(w);
	buf_addf(w->out, "%lld", (long long)value);
}

void json_put_uint(struct json_writer *w, uint64_t value)
{
	separate(w);
	buf_addf(w->out, "%llu", (unsigned long long)value);
}

void json_put_real(struct json_writer *w, double value)
{
	if (!isfinite(value)) {
		json_put_null(w);
		return;
	}
	separate(w);
	json_add_real(w->out, value);
}

void json_put_bool(struct json_writer *w, bool value)
{
	separate(w);
	buf_addstr(w->out, value ? "true" : "false");
}

void json_put_null(struct json_writer *w)
{
	separate(w);
	buf_addstr(w->out, "null");
}

void json_put_raw(struct json_writer *w, const char *json, size_t len)
{
	separate(w);
	buf_add(w->out, json, len);
}

void json_end(struct json_writer *w)
{
	while (w->depth)
		json_close(w);
	if (w->style == JSON_PRETTY)
		buf_addch(w->out, '\n');
}

void json_pair_str(struct json_writer *w, const char *key, const char *text)
{
	json_key(w, key);
	json_put_str(w, text);
}

void json_pair_int(struct json_writer *w, const char *key, int64_t value)
{
	json_key(w, key);
	json_put_int(w, value);
}

void json_pair_uint(struct json_writer *w, const char *key, uint64_t value)
{
	json_key(w, key);
	json_put_uint(w, value);
}

void json_pair_real(struct json_writer *w, const char *key, double value)
{
	json_key(w, key);
	json_put_real(w, value);
}

void json_pair_bool(struct json_writer *w, const char *key, bool value)
{
	json_key(w, key);
	json_put_bool(w, value);
}
