#include "graph/schema.h"

#include "base/text.h"
#include "base/vec.h"

#define MAX_INT 1000000

static bool is_scalar(const struct yaml_node *node)
{
	return node->kind != YAML_SEQ && node->kind != YAML_MAP && node->kind != YAML_NULL;
}

const struct yaml_node *schema_get(const struct yaml_node *map, const char *key)
{
	const struct yaml_node *node = yaml_get(map, key);
	return node == NULL || node->kind == YAML_NULL ? NULL : node;
}

static const struct schema_key *find_key(const struct schema_key *keys, const char *name)
{
	for (; keys->name != NULL; keys++)
		if (text_eq(keys->name, name))
			return keys;
	return NULL;
}

static int unknown_key(const struct yaml_node *key, const struct schema_key *keys, struct err *err)
{
	VEC(const char *) names = {0};
	for (const struct schema_key *k = keys; k->name != NULL; k++)
		if (k->type != SCHEMA_LATER)
			vec_push(&names, k->name);
	const char *near = text_nearest(key->text, names.at, names.len);
	yaml_err(err, key, "unknown key '%s'", key->text);
	if (near != NULL) {
		err_hint(err, "did you mean '%s'?", near);
	} else {
		struct buf list CLEANUP(buf_release) = BUF_INIT;
		for (size_t i = 0; i < names.len; i++)
			buf_addf(&list, "%s%s", i ? ", " : "", names.at[i]);
		err_hint(err, "known here: %s", list.data);
	}
	vec_release(&names);
	return -1;
}

static int wrong_type(const struct yaml_node *value, const char *name, const char *wanted, struct err *err)
{
	yaml_err(err, value, "'%s' is %s, not %s", name, yaml_kind_name(value->kind), wanted);
	if (value->kind == YAML_NULL)
		return err_hint(err, "give it a value, or write \"\" for an empty one");
	return err_hint(err, "'%s' takes %s", name, wanted);
}

static int check_allowed(const struct yaml_node *value, const struct schema_key *key, struct err *err)
{
	size_t count = 0;
	if (key->allowed == NULL)
		return 0;
	struct buf list CLEANUP(buf_release) = BUF_INIT;
	for (; key->allowed[count] != NULL; count++) {
		if (text_eq(key->allowed[count], value->text))
			return 0;
		buf_addf(&list, "%s%s", count ? ", " : "", key->allowed[count]);
	}
	yaml_err(err, value, "'%s' cannot be '%s'", key->name, value->text);
	const char *near = text_nearest(value->text, key->allowed, count);
	if (near != NULL)
		return err_hint(err, "did you mean '%s'?", near);
	return err_hint(err, "'%s' is one of: %s", key->name, list.data);
}

static int check_texts(const struct yaml_node *value, const struct schema_key *key, struct err *err)
{
	if (is_scalar(value))
		return check_allowed(value, key, err);
	if (value->kind != YAML_SEQ)
		return wrong_type(value, key->name, "a string or a list of strings", err);
	for (size_t i = 0; i < value->len; i++)
		if (!is_scalar(value->items[i]))
			return wrong_type(value->items[i], key->name, "a list of strings", err);
	return 0;
}

static int check_map(const struct yaml_node *value, const struct schema_key *key, bool lists, struct err *err)
{
	if (value->kind != YAML_MAP)
		return wrong_type(value, key->name, "a map of names and values", err);
	for (size_t i = 0; i < value->len; i++) {
		const struct yaml_node *item = value->pairs[i].value;
		if (lists && item->kind == YAML_SEQ) {
			if (check_texts(item, key, err) < 0)
				return -1;
		} else if (!is_scalar(item)) {
			return wrong_type(item, value->pairs[i].key->text, "a string", err);
		}
	}
	return 0;
}

static int check_items(const struct yaml_node *value, const struct schema_key *key, struct err *err)
{
	size_t count = value->kind == YAML_SEQ ? value->len : 1;
	for (size_t i = 0; i < count; i++) {
		const struct yaml_node *item = value->kind == YAML_SEQ ? value->items[i] : value;
		if (is_scalar(item))
			continue;
		if (item->kind != YAML_MAP)
			return wrong_type(item, key->name, "a list of strings or maps", err);
		if (schema_check(item, "", key->keys, err) < 0)
			return -1;
	}
	return 0;
}

static int check_ints(const struct yaml_node *value, const struct schema_key *key, struct err *err)
{
	size_t count = value->kind == YAML_SEQ ? value->len : 1;
	for (size_t i = 0; i < count; i++) {
		const struct yaml_node *item = value->kind == YAML_SEQ ? value->items[i] : value;
		if (item->kind != YAML_INT)
			return wrong_type(item, key->name, "a whole number", err);
		if (item->integer < 0 || item->integer > MAX_INT) {
			yaml_err(err, item, "'%s' cannot be %lld", key->name, (long long)item->integer);
			return err_hint(err, "it is a whole number from 0 to %d", MAX_INT);
		}
	}
	return 0;
}

static int check_objects(const struct yaml_node *value, const struct schema_key *key, struct err *err)
{
	if (value->kind != YAML_MAP)
		return wrong_type(value, key->name, "a map of names and their settings", err);
	for (size_t i = 0; i < value->len; i++) {
		const char *name = value->pairs[i].key->text;
		const struct yaml_node *item = value->pairs[i].value;
		bool is_map = item->kind == YAML_MAP || item->kind == YAML_NULL;
		bool is_target = key->keys == target_keys;
		if (!is_map) {
			wrong_type(item, name, "a map", err);
			if (is_target && is_scalar(item) && item->kind != YAML_NULL)
				err_hint(err, "a command stands in run: '%s: {run: ...}'", name);
		}
		if (!is_map || schema_check(item, "", key->keys, err) < 0)
			return err_note(err, "in %s '%s'", is_target ? "target" : key->name, name);
	}
	return 0;
}

static int check_value(const struct yaml_node *name, const struct yaml_node *value, const struct schema_key *key,
		       struct err *err)
{
	uint64_t ms;
	if (key->type == SCHEMA_LATER) {
		yaml_err(err, name, "'%s' is not supported in this version", key->name);
		return err_hint(err, "%s", key->help);
	}
	if (value->kind == YAML_NULL)
		return 0;
	switch (key->type) {
	case SCHEMA_TEXT:
		return is_scalar(value) ? check_allowed(value, key, err)
					: wrong_type(value, key->name, "a string", err);
	case SCHEMA_BOOL:
		return value->kind == YAML_BOOL ? 0 : wrong_type(value, key->name, "true or false", err);
	case SCHEMA_INT:
		if (value->kind == YAML_SEQ)
			return wrong_type(value, key->name, "a whole number", err);
		return check_ints(value, key, err);
	case SCHEMA_INTS:
		return check_ints(value, key, err);
	case SCHEMA_DURATION:
		if (is_scalar(value) && (text_parse_duration(value->text, &ms) || value->text[0] == '$'))
			return 0;
		return wrong_type(value, key->name, "a duration such as 90s, 15m or 1h30m", err);
	case SCHEMA_TEXTS:
		return check_texts(value, key, err);
	case SCHEMA_TEXT_MAP:
		return check_map(value, key, false, err);
	case SCHEMA_TEXTS_MAP:
		return check_map(value, key, true, err);
	case SCHEMA_OBJECT:
		if (value->kind != YAML_MAP)
			return wrong_type(value, key->name, "a map", err);
		return schema_check(value, "", key->keys, err);
	case SCHEMA_OBJECTS:
		return check_objects(value, key, err);
	case SCHEMA_ITEMS:
		return check_items(value, key, err);
	case SCHEMA_FREE:
	case SCHEMA_LATER:
		break;
	}
	return 0;
}

int schema_check(const struct yaml_node *node, const char *where, const struct schema_key *keys, struct err *err)
{
	if (node == NULL || node->kind == YAML_NULL)
		return 0;
	if (node->kind != YAML_MAP) {
		yaml_err(err, node, "expected a map of keys, not %s", yaml_kind_name(node->kind));
		return err_hint(err, "write 'key: value' lines");
	}
	for (size_t i = 0; i < node->len; i++) {
		const struct yaml_node *name = node->pairs[i].key;
		const struct schema_key *key = find_key(keys, name->text);
		int result =
			key == NULL ? unknown_key(name, keys, err) : check_value(name, node->pairs[i].value, key, err);
		if (result < 0)
			return *where ? err_note(err, "%s", where) : -1;
	}
	return 0;
}
