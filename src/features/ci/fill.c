#include "features/ci/fill.h"

#include "base/embed.h"
#include "base/mem.h"
#include "base/text.h"

#include <string.h>

static int look_up(const char *name, size_t len, fill_lookup_fn *lookup, void *ctx, struct buf *out, struct err *err)
{
	OWNED char *copy = mem_strndup(name, len);
	return lookup(ctx, copy, out, err);
}

static void add_indented(struct buf *out, const char *text, size_t indent)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		if (len)
			buf_addf(out, "%*s%.*s", (int)indent, "", (int)len, text);
		buf_addch(out, '\n');
		text += len + (text[len] == '\n');
	}
}

/* One line of a template, without its newline. */
static int fill_line(const char *line, size_t len, fill_lookup_fn *lookup, void *ctx, struct buf *out, struct err *err)
{
	const char *end = line + len;
	size_t indent = 0, start = out->len;
	while (indent < len && line[indent] == ' ')
		indent++;
	bool alone = len - indent > 3 && !strncmp(line + indent, "@{", 2) &&
		     memchr(line + indent, '}', len - indent) == end - 1;
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	if (alone) {
		if (look_up(line + indent + 2, len - indent - 3, lookup, ctx, &value, err) < 0)
			return -1;
		add_indented(out, value.data, indent);
		return 0;
	}
	for (const char *at = line; at < end;) {
		const char *close = NULL;
		if (end - at > 2 && at[0] == '@' && at[1] == '{')
			close = memchr(at, '}', (size_t)(end - at));
		if (!close) {
			buf_addch(out, *at++);
			continue;
		}
		buf_reset(&value);
		if (look_up(at + 2, (size_t)(close - at) - 2, lookup, ctx, &value, err) < 0)
			return -1;
		if (!value.len) {
			buf_truncate(out, start);
			return 0;
		}
		buf_add(out, value.data, value.len);
		at = close + 1;
	}
	buf_addch(out, '\n');
	return 0;
}

int fill_template(const char *name, fill_lookup_fn *lookup, void *ctx, struct buf *out, struct err *err)
{
	OWNED char *path = mem_printf("templates/ci/%s", name);
	const struct embedded_file *file = embedded_find(path);
	if (!file)
		return err_set(err, ERR_BUG, "%s is not in this binary", path);
	for (const char *line = file->data; *line;) {
		size_t len = strcspn(line, "\n");
		if (fill_line(line, len, lookup, ctx, out, err) < 0)
			return err_note(err, "in %s", path);
		line += len + (line[len] == '\n');
	}
	return 0;
}

static int check_text(const char *what, const char *text, const char *allowed, struct err *err)
{
	for (const char *at = text; *at; at++) {
		if (((unsigned char)*at < 0x20 && !strchr(allowed, *at)) || *at == 0x7f)
			return err_set(err, ERR_CONFIG, "%s has a control character, which a workflow cannot hold", what);
	}
	if (!text_is_utf8(text, strlen(text)))
		return err_set(err, ERR_CONFIG, "%s is not UTF-8", what);
	if (strstr(text, "${{")) {
		err_set(err, ERR_CONFIG, "%s has a ${{ }}, which GitHub would put into the text before anything reads it", what);
		return err_hint(err, "use an environment variable of the runner instead, such as $GITHUB_SHA");
	}
	return 0;
}

/* Words that YAML 1.1 or 1.2 reads as something else than a string. */
static bool is_plain(const char *text)
{
	static const char *const special[] = { "true", "false", "null", "yes", "no", "on", "off", "y", "n" };
	for (size_t i = 0; i < ARRAY_LEN(special); i++) {
		if (!strcasecmp(text, special[i]))
			return false;
	}
	bool letter = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || *text == '_';
	return letter && !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-")];
}

int fill_scalar(struct buf *out, const char *what, const char *text, struct err *err)
{
	if (check_text(what, text, "", err) < 0)
		return -1;
	if (is_plain(text)) {
		buf_addstr(out, text);
		return 0;
	}
	buf_addch(out, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			buf_addch(out, '\'');
		buf_addch(out, *text);
	}
	buf_addch(out, '\'');
	return 0;
}

int fill_list(struct buf *out, const char *what, const char *const *items, size_t count, struct err *err)
{
	buf_addch(out, '[');
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_addstr(out, ", ");
		if (fill_scalar(out, what, items[i], err) < 0)
			return -1;
	}
	buf_addch(out, ']');
	return 0;
}

static bool is_blank(const char *line, size_t len)
{
	return strspn(line, " \t") >= len;
}

int fill_script(struct buf *out, const char *what, const char *text, struct err *err)
{
	if (check_text(what, text, "\n\t", err) < 0)
		return -1;
	size_t shared = SIZE_MAX;
	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n"), indent = strspn(line, " ");
		if (!is_blank(line, len) && indent < shared)
			shared = indent;
		line += len + (line[len] == '\n');
	}
	size_t start = out->len, end = out->len;
	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		bool blank = is_blank(line, len);
		if (!blank)
			buf_add(out, line + shared, len - shared);
		if (!blank || out->len > start)
			buf_addch(out, '\n');
		if (!blank)
			end = out->len;
		line += len + (line[len] == '\n');
	}
	buf_truncate(out, end);
	if (out->len == start)
		return err_set(err, ERR_CONFIG, "%s is empty", what);
	return 0;
}
