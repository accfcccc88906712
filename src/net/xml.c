#include "net/xml.h"

#include <string.h>

#define MAX_TEXT (64 * 1024)
#define MAX_ENTITY 10

static bool skip_past(struct xml_scan *scan, const char *mark)
{
	const char *found = memmem(scan->at, (size_t)(scan->end - scan->at), mark, strlen(mark));
	scan->at = found ? found + strlen(mark) : scan->end;
	return found != NULL;
}

bool xml_next(struct xml_scan *scan)
{
	while (scan->at < scan->end) {
		const char *open = memchr(scan->at, '<', (size_t)(scan->end - scan->at));
		if (!open || open + 1 >= scan->end)
			break;
		scan->at = open + 1;
		if (*scan->at == '!' || *scan->at == '?') {
			bool comment = scan->end - scan->at >= 3 && memcmp(scan->at, "!--", 3) == 0;
			if (!skip_past(scan, comment ? "-->" : ">"))
				break;
			continue;
		}
		const char *close = memchr(scan->at, '>', (size_t)(scan->end - scan->at));
		if (!close)
			break;
		scan->kind = *scan->at == '/' ? XML_CLOSE : XML_OPEN;
		scan->name = scan->at + (scan->kind == XML_CLOSE);
		scan->empty = close > scan->name && close[-1] == '/';
		const char *end = scan->name;
		while (end < close && *end != ' ' && *end != '\t' && *end != '\r' && *end != '\n' && *end != '/') {
			if (*end == ':')
				scan->name = end + 1;
			end++;
		}
		scan->name_len = (size_t)(end - scan->name);
		scan->at = close + 1;
		return true;
	}
	scan->at = scan->end;
	return false;
}

bool xml_is(const struct xml_scan *scan, const char *name)
{
	return scan->name_len == strlen(name) && memcmp(scan->name, name, scan->name_len) == 0;
}

static void add_utf8(struct buf *out, unsigned long code)
{
	if (code < 0x80) {
		buf_addch(out, (char)code);
	} else if (code < 0x800) {
		buf_addch(out, (char)(0xc0 | code >> 6));
		buf_addch(out, (char)(0x80 | (code & 0x3f)));
	} else if (code < 0x10000) {
		buf_addch(out, (char)(0xe0 | code >> 12));
		buf_addch(out, (char)(0x80 | (code >> 6 & 0x3f)));
		buf_addch(out, (char)(0x80 | (code & 0x3f)));
	} else {
		buf_addch(out, (char)(0xf0 | code >> 18));
		buf_addch(out, (char)(0x80 | (code >> 12 & 0x3f)));
		buf_addch(out, (char)(0x80 | (code >> 6 & 0x3f)));
		buf_addch(out, (char)(0x80 | (code & 0x3f)));
	}
}

static bool number_value(const char *digits, size_t len, unsigned long *ret)
{
	unsigned base = 10;
	unsigned long value = 0;
	if (len > 0 && *digits == 'x') {
		base = 16;
		digits++;
		len--;
	}
	for (size_t i = 0; i < len; i++) {
		char c = digits[i];
		unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 :
				 c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : base;
		if (digit >= base || value > 0x10ffff)
			return false;
		value = value * base + digit;
	}
	*ret = value;
	return len > 0 && value > 0 && value <= 0x10ffff;
}

/* Decodes the entity at from ("&...;") and returns its length; 0 if it is none. */
static size_t add_entity(struct buf *out, const char *from, const char *end)
{
	static const struct { const char *name; char c; } named[] = {
		{ "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "quot", '"' }, { "apos", '\'' },
	};
	size_t room = (size_t)(end - from) < MAX_ENTITY ? (size_t)(end - from) : MAX_ENTITY;
	const char *semicolon = memchr(from, ';', room);
	if (!semicolon)
		return 0;
	size_t len = (size_t)(semicolon - from - 1);
	unsigned long code;
	if (len > 1 && from[1] == '#') {
		if (!number_value(from + 2, len - 1, &code))
			return 0;
		add_utf8(out, code);
		return len + 2;
	}
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		if (strlen(named[i].name) == len && memcmp(named[i].name, from + 1, len) == 0) {
			buf_addch(out, named[i].c);
			return len + 2;
		}
	}
	return 0;
}

void xml_text(struct xml_scan *scan, struct buf *out)
{
	buf_reset(out);
	if (scan->empty)
		return;
	const char *c = scan->at;
	while (c < scan->end && *c != '<' && out->len < MAX_TEXT) {
		size_t used = *c == '&' ? add_entity(out, c, scan->end) : 0;
		if (used == 0) {
			buf_addch(out, *c);
			used = 1;
		}
		c += used;
	}
	scan->at = c;
}

bool xml_find(const char *text, size_t len, const char *name, struct buf *out)
{
	struct xml_scan scan = { .at = text, .end = text + len };
	while (xml_next(&scan)) {
		if (scan.kind == XML_OPEN && xml_is(&scan, name)) {
			xml_text(&scan, out);
			return true;
		}
	}
	return false;
}
