/*
 * The scalar style of ruamel.yaml's round-trip dumper at width 80 (its emitter.py: analyze_scalar, choose_scalar_style,
 * write_plain, write_single_quoted, write_double_quoted), which is what DVC writes. Its quirks are kept on purpose: the
 * bytes must be the same. Two are not kept, as readers would get another text back than was written: a line folded where
 * a space is lost or added stays unfolded here, and the line breaks of Unicode (NEL, LS, PS) are escaped.
 */
#include "base/vec.h"
#include "formats/yaml.h"

#include <string.h>

#define WIDTH 80u
#define NONE 0xffffffffu /* beyond either end of the text */

struct emitter {
	struct buf *out;
	const uint32_t *text;
	size_t len;
	size_t column;
	size_t indent;
};

static uint32_t char_at(const struct emitter *e, size_t i)
{
	return i < e->len ? e->text[i] : NONE;
}

static bool is_break(uint32_t c)
{
	return c == '\n' || c == 0x85 || c == 0x2028 || c == 0x2029;
}

static bool is_blank_or_end(uint32_t c)
{
	return c == NONE || c == '\0' || c == ' ' || c == '\t' || c == '\r' || is_break(c);
}

static bool is_in(uint32_t c, const char *set)
{
	return c && c < 0x80 && strchr(set, (int)c);
}

/* ---- output ---- */

static void add_char(struct buf *out, uint32_t c)
{
	if (c < 0x80) {
		buf_addch(out, (char)c);
	} else if (c < 0x800) {
		buf_addch(out, (char)(0xc0 | c >> 6));
		buf_addch(out, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		buf_addch(out, (char)(0xe0 | c >> 12));
		buf_addch(out, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_addch(out, (char)(0x80 | (c & 0x3f)));
	} else {
		buf_addch(out, (char)(0xf0 | c >> 18));
		buf_addch(out, (char)(0x80 | (c >> 12 & 0x3f)));
		buf_addch(out, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_addch(out, (char)(0x80 | (c & 0x3f)));
	}
}

static void put(struct emitter *e, size_t start, size_t end)
{
	for (size_t i = start; i < end; i++)
		add_char(e->out, e->text[i]);
	e->column += end - start;
}

static void put_ascii(struct emitter *e, const char *text)
{
	buf_addstr(e->out, text);
	e->column += strlen(text);
}

static void break_line(struct emitter *e)
{
	buf_addch(e->out, '\n');
	for (size_t i = 0; i < e->indent; i++)
		buf_addch(e->out, ' ');
	e->column = e->indent;
}

/* ---- choosing a style ---- */

struct traits {
	bool indicators;   /* would mean something in a plain scalar */
	bool breaks;
	bool special;      /* only double quotes can hold it */
	bool edge;         /* begins or ends with a space */
};

static bool is_special(uint32_t c)
{
	if (c == '\n' || (c >= 0x20 && c <= 0x7e) || c == 0x85)
		return false;
	return !((c >= 0xa0 && c <= 0xd7ff) || (c >= 0xe000 && c <= 0xfffd) || (c >= 0x10000 && c <= 0x10ffff)) || c == 0xfeff;
}

static bool is_indicator(const struct emitter *e, size_t i)
{
	uint32_t c = e->text[i];
	bool followed = is_blank_or_end(char_at(e, i + 1));
	if (i == 0)
		return is_in(c, "#,[]{}&*!|>'\"%@`") || (is_in(c, "?:-") && followed);
	return (c == ':' && followed) || (c == '#' && is_blank_or_end(e->text[i - 1]));
}

static struct traits look_at(const struct emitter *e)
{
	struct traits t = { false };
	uint32_t first = e->text[0], last = e->text[e->len - 1];
	if (e->len >= 3 && e->text[0] == e->text[1] && e->text[1] == e->text[2] && (first == '-' || first == '.'))
		t.indicators = true;
	t.edge = first == ' ' || last == ' ';
	for (size_t i = 0; i < e->len; i++) {
		uint32_t c = e->text[i];
		t.indicators = t.indicators || is_indicator(e, i);
		t.breaks = t.breaks || is_break(c);
		t.special = t.special || is_special(c);
	}
	return t;
}

/* ---- what a plain scalar would be read as (ruamel's resolver for YAML 1.2, which knows more than the core schema) ---- */

static const char *skip_set(const char *p, const char *set)
{
	return p + strspn(p, set);
}

static const char *skip_sign(const char *p)
{
	return p + (*p == '-' || *p == '+');
}

static bool ends_exponent(const char *p, bool sign_required)
{
	if (*p == '\0')
		return true;
	if (*p != 'e' && *p != 'E')
		return false;
	p++;
	if (sign_required && *p != '-' && *p != '+')
		return false;
	p = skip_sign(p);
	const char *end = skip_set(p, "0123456789");
	return end > p && *end == '\0';
}

static bool reads_as_float(const char *text)
{
	const char *p = skip_sign(text);
	if (*p >= '0' && *p <= '9') {
		p = skip_set(p, "0123456789_");
		if (*p == '.')
			return ends_exponent(skip_set(p + 1, "0123456789_"), false);
		return (*p == 'e' || *p == 'E') && ends_exponent(p, false);
	}
	if (*p != '.')
		return false;
	const char *fraction = skip_set(p + 1, "0123456789_");
	if (fraction > p + 1)
		return ends_exponent(fraction, true);
	if (strcmp(p, ".inf") == 0 || strcmp(p, ".Inf") == 0 || strcmp(p, ".INF") == 0)
		return true;
	return p == text && (strcmp(p, ".nan") == 0 || strcmp(p, ".NaN") == 0 || strcmp(p, ".NAN") == 0);
}

static bool all_of(const char *text, const char *set)
{
	return *text && *skip_set(text, set) == '\0';
}

static bool reads_as_int(const char *text)
{
	if (!*text || !strchr("-+0123456789", *text))
		return false;
	const char *p = skip_sign(text);
	if (all_of(p, "0123456789_"))
		return true;
	if (*p != '0')
		return false;
	return (p[1] == 'b' && all_of(p + 2, "01_")) || (p[1] == 'o' && all_of(p + 2, "01234567_")) ||
	       (p[1] == 'x' && all_of(p + 2, "0123456789abcdefABCDEF_"));
}

/* least to most digits; NULL if there are not so many */
static const char *take_digits(const char *p, unsigned least, unsigned most)
{
	unsigned count = 0;
	while (p && count < most && p[count] >= '0' && p[count] <= '9')
		count++;
	return p && count >= least ? p + count : NULL;
}

static const char *take_char(const char *p, char c)
{
	return p && *p == c ? p + 1 : NULL;
}

static bool ends_zone(const char *p)
{
	p = skip_set(p, " \t");
	if (strcmp(p, "Z") == 0)
		return true;
	if (*p != '-' && *p != '+')
		return false;
	p = take_digits(p + 1, 1, 2);
	if (p && *p == ':')
		p = take_digits(p + 1, 2, 2);
	return p && *p == '\0';
}

static bool reads_as_timestamp(const char *text)
{
	const char *year = take_char(take_digits(text, 4, 4), '-');
	const char *day = take_digits(take_char(take_digits(year, 2, 2), '-'), 2, 2);
	if (day && *day == '\0')
		return true;
	const char *p = take_digits(take_char(take_digits(year, 1, 2), '-'), 1, 2);
	if (!p)
		return false;
	const char *hour = *p == 'T' || *p == 't' ? p + 1 : skip_set(p, " \t");
	if (hour == p)
		return false;
	p = take_char(take_digits(hour, 1, 2), ':');
	p = take_digits(take_char(take_digits(p, 2, 2), ':'), 2, 2);
	if (!p)
		return false;
	if (*p == '.')
		p = skip_set(p + 1, "0123456789");
	return *p == '\0' || ends_zone(p);
}

static bool reads_as_other(const char *text)
{
	static const char *const words[] = { "",     "~",     "null",  "Null", "NULL", "true", "True",
					     "TRUE", "false", "False", "FALSE", "<<",  "=" };
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(text, words[i]) == 0)
			return true;
	}
	return reads_as_float(text) || reads_as_int(text) || reads_as_timestamp(text);
}

/* ---- writing ---- */

/* Returns false if a line was broken behind two spaces, which a reader takes for one. */
static bool write_plain(struct emitter *e, size_t width)
{
	size_t start = 0;
	bool spaces = false, faithful = true;
	for (size_t end = 0; end <= e->len; end++) {
		uint32_t c = char_at(e, end);
		if (spaces) {
			if (c != ' ') {
				if (start + 1 == end && e->column >= width)
					break_line(e);
				else
					put(e, start, end);
				start = end;
			}
		} else if (c == NONE || c == ' ') {
			if (end - start + e->column > width && e->column > e->indent) {
				faithful = faithful && !(start >= 2 && e->text[start - 2] == ' ');
				break_line(e);
			}
			put(e, start, end);
			start = end;
		}
		spaces = c == ' ';
	}
	return faithful;
}

static void write_single_quoted(struct emitter *e)
{
	size_t start = 0;
	bool spaces = false;
	put_ascii(e, "'");
	for (size_t end = 0; end <= e->len; end++) {
		uint32_t c = char_at(e, end);
		if (spaces) {
			if (c != ' ') {
				if (start + 1 == end && e->column > WIDTH && start != 0 && end != e->len)
					break_line(e);
				else
					put(e, start, end);
				start = end;
			}
		} else if (c == NONE || c == ' ' || c == '\'') {
			put(e, start, end);
			start = end;
		}
		if (c == '\'') {
			put_ascii(e, "''");
			start = end + 1;
		}
		spaces = c == ' ';
	}
	put_ascii(e, "'");
}

static void put_escape(struct emitter *e, uint32_t c)
{
	static const struct {
		uint32_t c;
		char letter;
	} known[] = { { 0, '0' },    { 7, 'a' },    { 8, 'b' },   { 9, 't' },     { 10, 'n' },   { 11, 'v' },   { 12, 'f' },     { 13, 'r' },
		      { 0x1b, 'e' }, { '"', '"' }, { '\\', '\\' }, { 0x85, 'N' }, { 0xa0, '_' }, { 0x2028, 'L' }, { 0x2029, 'P' } };
	size_t before = e->out->len;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (known[i].c == c) {
			buf_addch(e->out, '\\');
			buf_addch(e->out, known[i].letter);
		}
	}
	if (e->out->len == before)
		buf_addf(e->out, c <= 0xff ? "\\x%02X" : c <= 0xffff ? "\\u%04X" : "\\U%08X", c);
	e->column += e->out->len - before;
}

/* Whether a line folded at end may end without a backslash, being read back as one space. */
static bool folds_plainly(const struct emitter *e, size_t start, size_t end)
{
	size_t space = end;
	while (space < e->len && e->text[space] != ' ')
		space++;
	if (space >= e->len)
		return false;
	for (size_t i = end; i < space; i++) {
		if (e->text[i] == '\n') {
			space = i;
			break;
		}
	}
	uint32_t after = char_at(e, space + 1);
	if (after == NONE || after == ' ' || after == '\n' || start == end)
		return false;
	if (e->text[space] == '\n')
		return false;
	for (size_t i = end; i < space; i++) {
		if (e->text[i] == '"' || e->text[i] == '\'')
			return false;
	}
	return !(e->text[end - 1] == ' ' && e->text[end] == ' ');
}

/* Returns false if a line was folded where a reader finds another text. */
static bool write_double_quoted(struct emitter *e, size_t width)
{
	size_t start = 0;
	bool faithful = true;
	put_ascii(e, "\"");
	for (size_t end = 0; end <= e->len; end++) {
		uint32_t c = char_at(e, end);
		if (c == NONE || c == '"' || c == '\\' || is_break(c) || is_special(c)) {
			if (start < end) {
				put(e, start, end);
				start = end;
			}
			if (c != NONE) {
				put_escape(e, c);
				start = end + 1;
			}
		}
		if (!(end > 0 && end + 1 < e->len && (c == ' ' || start >= end)))
			continue;
		if ((start > end ? e->column - (start - end) : e->column + (end - start)) <= width)
			continue;
		bool plainly = folds_plainly(e, start, end);
		if (start < end) {
			put(e, start, end);
			start = end;
		}
		if (!plainly)
			put_ascii(e, "\\");
		break_line(e);
		faithful = faithful && (!plainly || (e->text[start] == ' ' && char_at(e, start + 1) != ' '));
		if (e->text[start] == ' ') {
			if (plainly)
				start++;
			else
				put_ascii(e, "\\");
		}
	}
	put_ascii(e, "\"");
	return faithful;
}

static void decode(const char *text, struct emitter *e, uint32_t *to)
{
	const unsigned char *p = (const unsigned char *)text;
	while (*p) {
		uint32_t c = *p++;
		unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
		if (more)
			c &= 0x3fu >> more;
		for (; more && (*p & 0xc0) == 0x80; more--)
			c = c << 6 | (*p++ & 0x3fu);
		to[e->len++] = c;
	}
}

void yaml_add_scalar(struct buf *out, const char *text, size_t indent, size_t column)
{
	if (!*text) {
		buf_addstr(out, "''");
		return;
	}
	uint32_t *decoded OWNED = mem_resize_array(NULL, strlen(text), sizeof(*decoded));
	struct emitter e = { .out = out, .text = decoded, .column = column, .indent = indent };
	decode(text, &e, decoded);
	struct traits t = look_at(&e);
	size_t before = out->len;
	bool plain = !t.indicators && !t.breaks && !t.special && !t.edge && !reads_as_other(text);
	if (!plain && !t.breaks && !t.special && !strchr(text, '\'')) {
		write_single_quoted(&e);
		return;
	}
	if (plain ? write_plain(&e, WIDTH) : write_double_quoted(&e, WIDTH))
		return;
	buf_truncate(out, before);
	e.column = column;
	if (plain)
		write_plain(&e, SIZE_MAX);
	else
		write_double_quoted(&e, SIZE_MAX);
}
