#include "formats/template.h"

#include "base/mem.h"

#include <ctype.h>
#include <string.h>

#define MAX_NAME 512

static unsigned count_characters(const char *text, size_t len)
{
	unsigned count = 0;
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			count++;
	return count;
}

static const char *skip_characters(const char *text, unsigned count)
{
	while (*text != 0 && count > 0) {
		text++;
		while (((unsigned char)*text & 0xc0) == 0x80)
			text++;
		count--;
	}
	return text;
}

/* Narrows a value's span to the reference in it, by finding it in the source line. In a value of several lines the line
 * is not known, and the whole value is marked. */
static struct span narrow(const struct span *span, const char *reference, size_t len)
{
	struct span at = {.file = NULL};
	if (span == NULL)
		return at;
	at = *span;
	if (span->text == NULL || span->col == 0)
		return at;
	char *needle OWNED = mem_strndup(reference, len);
	const char *found = strstr(skip_characters(span->text, span->col - 1), needle);
	if (found == NULL)
		return at;
	at.col = count_characters(span->text, (size_t)(found - span->text)) + 1;
	at.len = count_characters(reference, len);
	return at;
}

static int expand_one(const char *start, const char **ret_end, const struct span *span, template_lookup_fn *lookup,
		      void *ctx, struct buf *out, struct err *err)
{
	const char *name = start + 2;
	const char *end = strpbrk(name, "}\n");
	struct span at;

	if (*name == '{') {
		at = narrow(span, start, 3);
		err_set(err, ERR_CONFIG, "'${{' is no reference of this file");
		err_at(err, &at);
		return err_hint(err, "write $${{ for a literal ${{, or ${name} for a value of mlmake's");
	}
	if (end == NULL || *end != '}') {
		at = narrow(span, start, 2);
		err_set(err, ERR_CONFIG, "'${' without its '}'");
		err_at(err, &at);
		return err_hint(err, "close it, or write $${ for a literal ${");
	}
	while (isspace((unsigned char)*name))
		name++;
	const char *name_end = end;
	while (name_end > name && isspace((unsigned char)name_end[-1]))
		name_end--;
	at = narrow(span, start, (size_t)(end - start) + 1);
	if (name == name_end || name_end - name > MAX_NAME) {
		err_set(err, ERR_CONFIG, name == name_end ? "'${}' names nothing" : "the name in '${...}' is too long");
		err_at(err, &at);
		return err_hint(err, "write ${name}, or $${ for a literal ${");
	}
	char *copy OWNED = mem_strndup(name, (size_t)(name_end - name));
	*ret_end = end + 1;
	return lookup(ctx, copy, &at, out, err);
}

int template_expand(const char *text, const struct span *span, template_lookup_fn *lookup, void *ctx, struct buf *out,
		    struct err *err)
{
	for (const char *dollar = strchr(text, '$'); dollar != NULL; dollar = strchr(text, '$')) {
		buf_add(out, text, (size_t)(dollar - text));
		text = dollar;
		if (text[1] == '$' && text[2] == '{') {
			buf_addstr(out, "${");
			text += 3;
		} else if (text[1] == '{') {
			if (expand_one(text, &text, span, lookup, ctx, out, err) < 0)
				return -1;
		} else {
			buf_addch(out, '$');
			text++;
		}
	}
	buf_addstr(out, text);
	return 0;
}

bool template_has_references(const char *text)
{
	return strstr(text, "${") != NULL;
}
