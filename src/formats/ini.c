#include "formats/ini.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)1 << 20)

/* One line that is being read. */
struct line {
	struct ini *ini;
	size_t start, end, next; /* end: without the line break */
	unsigned number;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static bool is_quote(char c)
{
	return c == '"' || c == '\'';
}

static size_t skip_space(const struct line *l, size_t at)
{
	while (at < l->end && is_space(l->ini->text.data[at]))
		at++;
	return at;
}

static size_t trim_end(const struct line *l, size_t start, size_t end)
{
	while (end > start && is_space(l->ini->text.data[end - 1]))
		end--;
	return end;
}

static char *lower(const char *bytes, size_t len)
{
	char *copy = mem_strndup(bytes, len);
	for (char *p = copy; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
	return copy;
}

/* Without the quotes around it, if both ends have the same. */
static char *unquoted_lower(const char *bytes, size_t len)
{
	bool quoted = len >= 2 && is_quote(bytes[0]) && bytes[0] == bytes[len - 1];
	return quoted ? lower(bytes + 1, len - 2) : lower(bytes, len);
}

static struct span span_at(const struct line *l, size_t from, size_t to)
{
	struct span span = { .file = l->ini->file, .line = l->number, .col = 1, .len = 0 };
	for (size_t i = l->start; i < to; i++) {
		if (((unsigned char)l->ini->text.data[i] & 0xc0) == 0x80)
			continue;
		*(i < from ? &span.col : &span.len) += 1;
	}
	return span;
}

static int bad(const struct line *l, size_t from, size_t to, const char *message, const char *hint, struct err *err)
{
	char *text OWNED = mem_strndup(l->ini->text.data + l->start, trim_end(l, l->start, l->end) - l->start);
	struct span span = span_at(l, from, to);
	span.text = text;
	err_set(err, ERR_CONFIG, "%s", message);
	if (hint)
		err_hint(err, "%s", hint);
	return err_at(err, &span);
}

/* ---- values ---- */

/* The end of a quoted item that begins at `at`: behind its closing quote; 0 if there is none that something may follow. */
static size_t quoted_end(const struct line *l, size_t at)
{
	const char *text = l->ini->text.data;
	for (size_t i = at + 1; i < l->end; i++) {
		if (text[i] != text[at])
			continue;
		size_t after = skip_space(l, i + 1);
		if (after == l->end || text[after] == ',' || text[after] == '#')
			return i + 1;
	}
	return 0;
}

static size_t bare_end(const struct line *l, size_t at)
{
	while (at < l->end && l->ini->text.data[at] != ',' && l->ini->text.data[at] != '#')
		at++;
	return at;
}

static bool is_triple(const struct line *l, size_t at)
{
	const char *text = l->ini->text.data;
	return at + 2 < l->end && is_quote(text[at]) && text[at + 1] == text[at] && text[at + 2] == text[at];
}

static int read_triple(const struct line *l, size_t at, struct ini_key *key, struct err *err)
{
	const char *text = l->ini->text.data;
	for (size_t i = at + 3; i < l->end; i++) {
		if (!is_triple(l, i) || text[i] != text[at])
			continue;
		size_t after = skip_space(l, i + 3);
		if (after != l->end && text[after] != '#')
			break;
		key->value = mem_strndup(text + at + 3, i - at - 3);
		key->value_end = i + 3;
		return 0;
	}
	return bad(l, at, l->end, "a triple quote is not closed on its line", "values over several lines have no use here", err);
}

/* Items with commas between them, perhaps a comment. One item without a comma is a plain value. */
static int read_value(const struct line *l, size_t at, struct ini_key *key, struct err *err)
{
	const char *text = l->ini->text.data;
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	bool more = true;
	at = skip_space(l, at);
	key->value_start = key->value_end = at;
	if (is_triple(l, at))
		return read_triple(l, at, key, err);
	if (at < l->end && text[at] == ',') {
		key->is_list = true;
		key->value_end = at + 1;
		at = skip_space(l, at + 1);
		more = false;
	}
	for (size_t items = 0; more && at < l->end && text[at] != '#'; items++) {
		bool quoted = is_quote(text[at]);
		size_t end = quoted ? quoted_end(l, at) : bare_end(l, at);
		size_t trimmed = quoted ? end : trim_end(l, at, end);
		if (end == 0)
			return bad(l, at, l->end, "a quote is not closed", "put the same quote at the end of the value", err);
		if (trimmed == at)
			return bad(l, at, at + 1, "an empty item in a list", "quote a value that holds a comma", err);
		if (items)
			buf_addch(&value, ',');
		buf_add(&value, text + at + quoted, trimmed - at - 2 * (size_t)quoted);
		key->value_end = trimmed;
		at = skip_space(l, end);
		more = at < l->end && text[at] == ',';
		if (more) {
			key->is_list = true;
			key->value_end = at + 1;
			at = skip_space(l, at + 1);
		}
	}
	if (at < l->end && text[at] != '#')
		return bad(l, at, l->end, "something stands behind the value", "quote a value that holds a comma", err);
	key->value = buf_detach(&value);
	return 0;
}

/* ---- lines ---- */

static int read_section(const struct line *l, size_t at, struct err *err)
{
	const char *text = l->ini->text.data;
	size_t start = skip_space(l, at + 1), close = 0;
	if (start < l->end && text[start] == '[')
		return bad(l, at, l->end, "a nested section", "dvc knows sections of one level only", err);
	/* The first bracket that only a comment follows; a quoted name may hold others. */
	for (size_t i = start; i < l->end && !close; i++) {
		size_t after = skip_space(l, i + 1);
		if (text[i] == ']' && (after == l->end || text[after] == '#'))
			close = i;
	}
	size_t end = close ? trim_end(l, start, close) : 0;
	if (!close || end == start)
		return bad(l, at, l->end, "not a section header", "write [name] or ['remote \"name\"']", err);
	if (is_quote(text[start]) && (end - start < 3 || text[end - 1] != text[start]))
		return bad(l, start, end, "a quote is not closed", NULL, err);
	struct ini_section section = { .name = unquoted_lower(text + start, end - start), .span = span_at(l, start, end) };
	if (ini_has_section(l->ini, section.name)) {
		bad(l, start, end, "the section stands here a second time", "move its keys to the first one", err);
		free(section.name);
		return -1;
	}
	section.line_start = l->start;
	section.line_end = section.body_end = l->next;
	section.name_start = start;
	section.name_end = end;
	vec_push(&l->ini->sections, section);
	return 0;
}

static int read_key(const struct line *l, size_t at, struct err *err)
{
	const char *text = l->ini->text.data;
	struct ini *ini = l->ini;
	size_t equals = at;
	if (is_quote(text[at])) {
		const char *close = memchr(text + at + 1, text[at], l->end - at - 1);
		equals = close ? skip_space(l, (size_t)(close - text) + 1) : l->end;
	} else {
		while (equals < l->end && text[equals] != '=')
			equals++;
	}
	if (text[at] == ';')
		return bad(l, at, l->end, "';' begins no comment here", "write '#' instead; dvc refuses ';'", err);
	if (equals >= l->end || text[equals] != '=' || equals == at)
		return bad(l, at, l->end, "neither a section, nor 'key = value', nor a comment", "write key = value", err);
	size_t end = trim_end(l, at, equals);
	struct ini_key key = { .span = span_at(l, at, end), .line_start = l->start, .line_end = l->next };
	key.section = mem_strdup(ini->sections.len ? ini->sections.at[ini->sections.len - 1].name : "");
	key.name = unquoted_lower(text + at, end - at);
	int status = read_value(l, equals + 1, &key, err);
	if (status == 0 && ini_find(ini, key.section, key.name))
		status = bad(l, at, end, "the key stands here a second time in its section", "remove one of the two", err);
	if (status < 0) {
		free(key.section);
		free(key.name);
		free(key.value);
		return -1;
	}
	if (ini->sections.len)
		ini->sections.at[ini->sections.len - 1].body_end = l->next;
	vec_push(&ini->keys, key);
	return 0;
}

static void forget(struct ini *ini)
{
	for (size_t i = 0; i < ini->sections.len; i++)
		free(ini->sections.at[i].name);
	for (size_t i = 0; i < ini->keys.len; i++) {
		free(ini->keys.at[i].section);
		free(ini->keys.at[i].name);
		free(ini->keys.at[i].value);
	}
	vec_release(&ini->sections);
	vec_release(&ini->keys);
}

static int parse_text(struct ini *ini, struct err *err)
{
	const char *text = ini->text.data;
	struct line l = { .ini = ini };
	forget(ini);
	for (; l.next < ini->text.len;) {
		l.start = l.next;
		const char *newline = memchr(text + l.start, '\n', ini->text.len - l.start);
		l.end = newline ? (size_t)(newline - text) : ini->text.len;
		l.next = newline ? l.end + 1 : l.end;
		l.number++;
		l.end = trim_end(&l, l.start, l.end);
		size_t at = skip_space(&l, l.start);
		if (l.number == 1 && l.end - at >= 3 && memcmp(text + at, "\xef\xbb\xbf", 3) == 0)
			at = skip_space(&l, at + 3);
		if (at >= l.end || text[at] == '#')
			continue;
		if ((text[at] == '[' ? read_section(&l, at, err) : read_key(&l, at, err)) < 0)
			return -1;
	}
	return 0;
}

int ini_parse(struct ini *ini, const char *file, const char *bytes, size_t len, struct err *err)
{
	*ini = (struct ini)INI_INIT;
	if (!text_is_utf8(bytes, len) || memchr(bytes, '\0', len)) {
		err_set(err, ERR_CONFIG, "%s is not text in UTF-8", file);
		return -1;
	}
	ini->file = mem_strdup(file);
	buf_add(&ini->text, bytes, len);
	if (parse_text(ini, err) == 0)
		return 0;
	ini_release(ini);
	return -1;
}

int ini_read(struct ini *ini, const char *path, const char *shown_as, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	bool exists;
	*ini = (struct ini)INI_INIT;
	if (fs_lstat(path, &st, &exists, err) < 0 || (exists && fs_read_file(path, MAX_BYTES, &text, err) < 0))
		return -1;
	return ini_parse(ini, shown_as, text.data, text.len, err);
}

void ini_release(struct ini *ini)
{
	forget(ini);
	buf_release(&ini->text);
	free(ini->file);
	ini->file = NULL;
}

/* ---- looking ---- */

static bool same_name(const char *lowered, const char *name)
{
	for (; *lowered && *name; lowered++, name++) {
		char c = *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name;
		if (c != *lowered)
			return false;
	}
	return *lowered == *name;
}

static struct ini_section *find_section(const struct ini *ini, const char *name)
{
	for (size_t i = 0; i < ini->sections.len; i++) {
		if (same_name(ini->sections.at[i].name, name))
			return &ini->sections.at[i];
	}
	return NULL;
}

bool ini_has_section(const struct ini *ini, const char *section)
{
	return find_section(ini, section) != NULL;
}

const struct ini_key *ini_find(const struct ini *ini, const char *section, const char *name)
{
	for (size_t i = 0; i < ini->keys.len; i++) {
		if (same_name(ini->keys.at[i].section, section) && same_name(ini->keys.at[i].name, name))
			return &ini->keys.at[i];
	}
	return NULL;
}

const char *ini_get(const struct ini *ini, const char *section, const char *name)
{
	const struct ini_key *key = ini_find(ini, section, name);
	return key ? key->value : NULL;
}

/* ---- edits: change the text, read it again ---- */

static int replace(struct ini *ini, size_t start, size_t end, const char *with, struct err *err)
{
	struct buf text = BUF_INIT;
	buf_add(&text, ini->text.data, start);
	buf_addstr(&text, with);
	buf_add(&text, ini->text.data + end, ini->text.len - end);
	buf_release(&ini->text);
	ini->text = text;
	return parse_text(ini, err);
}

/* Quotes as ConfigObj does: where an end is a quote or white space, or a comma or '#' is within. */
static int add_quoted(struct buf *out, const char *text, const char *what, struct err *err)
{
	size_t len = strlen(text);
	bool single = strchr(text, '\'') != NULL, twofold = strchr(text, '"') != NULL;
	if (strpbrk(text, "\n\r\v\f") || !text_is_utf8(text, len) || strstr(text, "%("))
		return err_set(err, ERR_CONFIG, "%s '%s' cannot be written to a configuration file of dvc", what, text);
	if (len && !is_space(text[0]) && !is_quote(text[0]) && !is_space(text[len - 1]) && !is_quote(text[len - 1]) && !strpbrk(text, ",#")) {
		buf_addstr(out, text);
		return 0;
	}
	if (!single || !twofold) {
		char quote = twofold ? '\'' : '"';
		buf_addf(out, "%c%s%c", quote, text, quote);
		return 0;
	}
	if (strchr(text, ',') || strchr(text, '#') || strstr(text, "\"\"\"") || text[len - 1] == '"') {
		err_set(err, ERR_CONFIG, "%s '%s' cannot be written to a configuration file of dvc", what, text);
		return err_hint(err, "it has both kinds of quotes");
	}
	buf_addf(out, "\"\"\"%s\"\"\"", text);
	return 0;
}

/* Where a new key of the section goes, and how deep its neighbours stand. */
static void place_of_key(const struct ini *ini, const struct ini_section *section, size_t *ret_at, struct buf *indent)
{
	*ret_at = section->body_end;
	for (size_t i = ini->keys.len; i-- > 0;) {
		const struct ini_key *key = &ini->keys.at[i];
		if (strcmp(key->section, section->name) != 0)
			continue;
		for (size_t at = key->line_start; is_space(ini->text.data[at]); at++)
			buf_addch(indent, ini->text.data[at]);
		return;
	}
	buf_addstr(indent, "    ");
}

int ini_set(struct ini *ini, const char *section, const char *name, const char *value, struct err *err)
{
	struct buf quoted CLEANUP(buf_release) = BUF_INIT, text CLEANUP(buf_release) = BUF_INIT;
	const struct ini_key *key = ini_find(ini, section, name);
	const struct ini_section *found = find_section(ini, section);
	size_t at = ini->text.len;
	if (!*section || !*name || strpbrk(section, "\n\r[]") || strpbrk(name, "\n\r='\"#[]; ,"))
		return err_set(err, ERR_CONFIG, "'%s' in '%s' is no name for a key", name, section);
	if (add_quoted(&quoted, value, "the value", err) < 0)
		return -1;
	if (key) {
		char before = key->value_start ? ini->text.data[key->value_start - 1] : '\0';
		buf_addf(&text, "%s%s", before == '=' ? " " : "", quoted.data);
		/* A comment that follows an empty value directly. */
		if (key->value_start == key->value_end && ini->text.data[key->value_end] == '#')
			buf_addch(&text, ' ');
		return replace(ini, key->value_start, key->value_end, text.data, err);
	}
	struct buf indent CLEANUP(buf_release) = BUF_INIT;
	if (found)
		place_of_key(ini, found, &at, &indent);
	if (at && ini->text.data[at - 1] != '\n')
		buf_addch(&text, '\n');
	if (!found) {
		buf_addch(&text, '[');
		if (add_quoted(&text, section, "the section", err) < 0)
			return -1;
		buf_addstr(&text, "]\n");
		buf_addstr(&indent, "    ");
	}
	buf_addf(&text, "%s%s = %s\n", indent.data, name, quoted.data);
	return replace(ini, at, at, text.data, err);
}

int ini_remove_key(struct ini *ini, const char *section, const char *name, bool *ret_found, struct err *err)
{
	const struct ini_key *key = ini_find(ini, section, name);
	*ret_found = key != NULL;
	return key ? replace(ini, key->line_start, key->line_end, "", err) : 0;
}

int ini_remove_section(struct ini *ini, const char *section, bool *ret_found, struct err *err)
{
	const struct ini_section *found = find_section(ini, section);
	*ret_found = found != NULL;
	return found ? replace(ini, found->line_start, found->body_end, "", err) : 0;
}

int ini_rename_section(struct ini *ini, const char *from, const char *to, struct err *err)
{
	struct buf quoted CLEANUP(buf_release) = BUF_INIT;
	const struct ini_section *found = find_section(ini, from);
	if (!found)
		return err_set(err, ERR_CONFIG, "%s has no section '%s'", ini->file, from);
	if (!same_name(found->name, to) && find_section(ini, to))
		return err_set(err, ERR_CONFIG, "%s has a section '%s' already", ini->file, to);
	if (!*to || strpbrk(to, "\n\r[]"))
		return err_set(err, ERR_CONFIG, "'%s' is no name for a section", to);
	if (add_quoted(&quoted, to, "the section", err) < 0)
		return -1;
	return replace(ini, found->name_start, found->name_end, quoted.data, err);
}

int ini_write(const struct ini *ini, const char *path, struct err *err)
{
	struct stat st;
	bool exists;
	if (fs_lstat(path, &st, &exists, err) < 0)
		return -1;
	mode_t mode = exists && S_ISREG(st.st_mode) ? st.st_mode & 0777 : 0666;
	return fs_write_file(path, ini->text.data, ini->text.len, mode, FS_SYNCED, err);
}
