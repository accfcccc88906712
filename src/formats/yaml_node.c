/* Looking at nodes: no libyaml here. */
#include "formats/yaml.h"

#include "formats/json.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	if (!map || map->kind != YAML_MAP)
		return NULL;
	for (size_t i = 0; i < map->len; i++) {
		if (strcmp(map->pairs[i].key->text, key) == 0)
			return map->pairs[i].value;
	}
	return NULL;
}

static const struct yaml_node *get_part(const struct yaml_node *node, const char *part, size_t len)
{
	if (node->kind == YAML_MAP) {
		for (size_t i = 0; i < node->len; i++) {
			const struct yaml_node *key = node->pairs[i].key;
			if (key->text_len == len && memcmp(key->text, part, len) == 0)
				return node->pairs[i].value;
		}
	}
	if (node->kind == YAML_SEQ && len && len < 10) {
		size_t index = 0;
		for (size_t i = 0; i < len; i++) {
			if (part[i] < '0' || part[i] > '9')
				return NULL;
			index = index * 10 + (size_t)(part[i] - '0');
		}
		return index < node->len ? node->items[index] : NULL;
	}
	return NULL;
}

const struct yaml_node *yaml_get_dotted(const struct yaml_node *node, const char *dotted)
{
	while (node) {
		size_t len = strcspn(dotted, ".");
		node = get_part(node, dotted, len);
		if (!dotted[len])
			break;
		dotted += len + 1;
	}
	return node;
}

const char *yaml_kind_name(enum yaml_kind kind)
{
	switch (kind) {
	case YAML_NULL:
		return "nothing";
	case YAML_BOOL:
		return "a boolean";
	case YAML_INT:
		return "an integer";
	case YAML_FLOAT:
		return "a number";
	case YAML_STR:
		return "a string";
	case YAML_SEQ:
		return "a list";
	case YAML_MAP:
		break;
	}
	return "a map";
}

int yaml_err(struct err *err, const struct yaml_node *node, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *message OWNED = mem_vprintf(fmt, args);
	va_end(args);
	err_set(err, ERR_CONFIG, "%s", message);
	if (!node)
		return -1;
	const struct span span = yaml_span(node);
	return err_at(err, &span);
}

static int compare_pairs(const void *a, const void *b)
{
	return strcmp(((const struct yaml_pair *)a)->key->text, ((const struct yaml_pair *)b)->key->text);
}

static void add_canonical_map(struct buf *out, const struct yaml_node *node)
{
	struct yaml_pair *pairs OWNED = mem_resize_array(NULL, node->len + 1, sizeof(*pairs));
	if (node->len)
		memcpy(pairs, node->pairs, node->len * sizeof(*pairs));
	qsort(pairs, node->len, sizeof(*pairs), compare_pairs);
	buf_addch(out, '{');
	for (size_t i = 0; i < node->len; i++) {
		if (i)
			buf_addch(out, ',');
		json_add_string(out, pairs[i].key->text, pairs[i].key->text_len, false);
		buf_addch(out, ':');
		yaml_add_canonical(out, pairs[i].value);
	}
	buf_addch(out, '}');
}

/* An integer beyond 64 bits keeps its digits: two of them may be the same double. */
static void add_canonical_float(struct buf *out, const struct yaml_node *node)
{
	const char *digits = node->text + (*node->text == '-' || *node->text == '+');
	if (node->quoted || digits[0] == '\0' || strspn(digits, "0123456789") != node->text_len - (size_t)(digits - node->text)) {
		json_add_real(out, node->real);
		return;
	}
	digits += strspn(digits, "0");
	buf_addf(out, "%s%s", *node->text == '-' ? "-" : "", digits);
}

void yaml_add_canonical(struct buf *out, const struct yaml_node *node)
{
	if (!node) {
		buf_addstr(out, "null");
		return;
	}
	switch (node->kind) {
	case YAML_NULL:
		buf_addstr(out, "null");
		break;
	case YAML_BOOL:
		buf_addstr(out, node->boolean ? "true" : "false");
		break;
	case YAML_INT:
		buf_addf(out, "%lld", (long long)node->integer);
		break;
	case YAML_FLOAT:
		add_canonical_float(out, node);
		break;
	case YAML_STR:
		json_add_string(out, node->text, node->text_len, false);
		break;
	case YAML_SEQ:
		buf_addch(out, '[');
		for (size_t i = 0; i < node->len; i++) {
			if (i)
				buf_addch(out, ',');
			yaml_add_canonical(out, node->items[i]);
		}
		buf_addch(out, ']');
		break;
	case YAML_MAP:
		add_canonical_map(out, node);
		break;
	}
}
