#include "formats/json.h"

#include "base/fs.h"
#include "base/text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)1 << 30)
#define MAX_DEPTH 200u

/* A node is a json_t; the name alone differs. */
static const json_t *value_of(const struct json_node *node)
{
	return (const json_t *)node;
}

static const struct json_node *node_of(const json_t *value)
{
	return (const struct json_node *)value;
}

/* Where nesting goes beyond the limit: an offset, or SIZE_MAX. Looks at brackets alone; the rest is jansson's. */
static size_t too_deep(const char *bytes, size_t len)
{
	unsigned depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < len; i++) {
		char c = bytes[i];
		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '[' || c == '{') {
			if (++depth > MAX_DEPTH)
				return i;
		} else if ((c == ']' || c == '}') && depth) {
			depth--;
		}
	}
	return SIZE_MAX;
}

/* A line of the text is quoted in the error unless it is of a length that nobody reads. */
static int error_at(struct err *err, const char *file, const char *bytes, size_t len, size_t offset)
{
	size_t start = offset < len ? offset : len;
	unsigned line = 1, col = 1;
	for (size_t i = 0; i < start; i++)
		line += bytes[i] == '\n';
	size_t at = start;
	while (start > 0 && bytes[start - 1] != '\n')
		start--;
	const char *newline = memchr(bytes + start, '\n', len - start);
	size_t end = newline ? (size_t)(newline - bytes) : len;
	for (size_t i = start; i < at; i++)
		col += ((unsigned char)bytes[i] & 0xc0) != 0x80;
	char *text OWNED = end - start <= 1000 ? mem_strndup(bytes + start, end - start) : NULL;
	struct span span = { .file = file, .text = text, .line = line, .col = col };
	return err_at(err, &span);
}

int json_parse(struct json_doc *doc, const char *file, const char *bytes, size_t len, struct err *err)
{
	json_error_t problem;
	doc->root = NULL;
	if (len > MAX_BYTES)
		return err_set(err, ERR_DATA, "%s is larger than 1 GiB", file);
	if (!text_is_utf8(bytes, len))
		return err_set(err, ERR_DATA, "%s is not UTF-8", file);
	size_t deep = too_deep(bytes, len);
	if (deep != SIZE_MAX) {
		err_set(err, ERR_DATA, "invalid JSON: nested deeper than %u levels", MAX_DEPTH);
		return error_at(err, file, bytes, len, deep);
	}
	json_t *root = json_loadb(bytes, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
	if (!root) {
		size_t end = problem.position > 0 ? (size_t)problem.position - 1 : 0;
		err_set(err, ERR_DATA, "invalid JSON: %s", problem.text);
		return error_at(err, file, bytes, len, end);
	}
	doc->root = node_of(root);
	return 0;
}

int json_parse_file(struct json_doc *doc, const char *path, const char *shown_as, size_t max, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	doc->root = NULL;
	if (fs_read_file(path, max, &text, err) < 0)
		return -1;
	return json_parse(doc, shown_as, text.data, text.len, err);
}

void json_release(struct json_doc *doc)
{
	if (doc->root)
		json_decref((json_t *)(uintptr_t)doc->root);
	doc->root = NULL;
}

enum json_kind json_kind(const struct json_node *node)
{
	if (!node)
		return JSON_ABSENT;
	switch (json_typeof(value_of(node))) {
	case JSON_OBJECT:
		return JSON_DICT;
	case JSON_ARRAY:
		return JSON_LIST;
	case JSON_STRING:
		return JSON_TEXT;
	case JSON_INTEGER:
		return JSON_INTEGER_NUMBER;
	case JSON_REAL:
		return JSON_REAL_NUMBER;
	case JSON_TRUE:
	case JSON_FALSE:
		return JSON_BOOLEAN;
	case JSON_NULL:
		break;
	}
	return JSON_NULL_VALUE;
}

const struct json_node *json_get(const struct json_node *object, const char *key)
{
	return node_of(json_object_get(value_of(object), key));
}

size_t json_len(const struct json_node *node)
{
	return json_kind(node) == JSON_DICT ? json_object_size(value_of(node)) : json_array_size(value_of(node));
}

const struct json_node *json_at(const struct json_node *list, size_t index)
{
	return node_of(json_array_get(value_of(list), index));
}

const char *json_str(const struct json_node *node)
{
	return json_string_value(value_of(node));
}

int64_t json_int(const struct json_node *node, int64_t fallback)
{
	if (json_kind(node) == JSON_INTEGER_NUMBER)
		return json_integer_value(value_of(node));
	if (json_kind(node) != JSON_REAL_NUMBER)
		return fallback;
	double real = json_real_value(value_of(node));
	if (real < -9007199254740992.0 || real > 9007199254740992.0 || (double)(int64_t)real < real || (double)(int64_t)real > real)
		return fallback;
	return (int64_t)real;
}

double json_number(const struct json_node *node, double fallback)
{
	const json_t *value = value_of(node);
	return value && json_is_number(value) ? json_number_value(value) : fallback;
}

bool json_bool(const struct json_node *node, bool fallback)
{
	return json_kind(node) == JSON_BOOLEAN ? json_is_true(value_of(node)) : fallback;
}

void json_each(const struct json_node *object, json_member_fn *visit, void *ctx)
{
	if (json_kind(object) != JSON_DICT)
		return;
	json_t *map = (json_t *)(uintptr_t)object;
	for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at)) {
		if (!visit(ctx, json_object_iter_key(at), node_of(json_object_iter_value(at))))
			return;
	}
}
