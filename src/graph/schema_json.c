/* The tables of graph/schema.h as JSON Schema. */
#include "graph/schema.h"

#include "base/text.h"
#include "formats/json.h"

static void put_keys(struct json_writer *w, const struct schema_key *keys);

static void put_type(struct json_writer *w, const char *type)
{
	json_pair_str(w, "type", type);
}

static void put_scalar(struct json_writer *w)
{
	json_key(w, "type");
	json_open_array(w);
	json_put_str(w, "string");
	json_put_str(w, "number");
	json_put_str(w, "boolean");
	json_close(w);
}

static void put_allowed(struct json_writer *w, const char *const *allowed)
{
	json_key(w, "enum");
	json_open_array(w);
	for (; *allowed != NULL; allowed++) {
		if (text_eq(*allowed, "true") || text_eq(*allowed, "false"))
			json_put_bool(w, text_eq(*allowed, "true"));
		else
			json_put_str(w, *allowed);
	}
	json_close(w);
}

static void put_one_text(struct json_writer *w, const struct schema_key *key)
{
	if (key->allowed != NULL)
		put_allowed(w, key->allowed);
	else
		put_scalar(w);
}

/* One thing or a list of it: opens "anyOf" and leaves the schema of the one to put_one. */
static void put_one_or_list(struct json_writer *w, const struct schema_key *key,
			    void (*put_one)(struct json_writer *, const struct schema_key *))
{
	json_key(w, "anyOf");
	json_open_array(w);
	json_open_object(w);
	put_one(w, key);
	json_close(w);
	json_open_object(w);
	put_type(w, "array");
	json_key(w, "items");
	json_open_object(w);
	if (key->type == SCHEMA_TEXTS)
		put_scalar(w);
	else
		put_one(w, key);
	json_close(w);
	json_close(w);
	json_close(w);
}

static void put_item(struct json_writer *w, const struct schema_key *key)
{
	json_key(w, "anyOf");
	json_open_array(w);
	json_open_object(w);
	put_scalar(w);
	json_close(w);
	json_open_object(w);
	put_keys(w, key->keys);
	json_close(w);
	json_close(w);
}

static void put_int(struct json_writer *w, const struct schema_key *key)
{
	(void)key;
	put_type(w, "integer");
	json_pair_int(w, "minimum", 0);
}

static void put_map_of(struct json_writer *w, const struct schema_key *key)
{
	put_type(w, "object");
	json_key(w, "additionalProperties");
	json_open_object(w);
	if (key->type == SCHEMA_OBJECTS)
		put_keys(w, key->keys);
	else if (key->type == SCHEMA_TEXTS_MAP)
		put_one_or_list(w, key, put_one_text);
	else
		put_scalar(w);
	json_close(w);
}

static void put_value(struct json_writer *w, const struct schema_key *key)
{
	json_pair_str(w, "description", key->help);
	switch (key->type) {
	case SCHEMA_TEXT:
		put_one_text(w, key);
		break;
	case SCHEMA_BOOL:
		put_type(w, "boolean");
		break;
	case SCHEMA_INT:
		put_int(w, key);
		break;
	case SCHEMA_INTS:
		put_one_or_list(w, key, put_int);
		break;
	case SCHEMA_DURATION:
		put_scalar(w);
		break;
	case SCHEMA_TEXTS:
		put_one_or_list(w, key, put_one_text);
		break;
	case SCHEMA_ITEMS:
		put_one_or_list(w, key, put_item);
		break;
	case SCHEMA_TEXT_MAP:
	case SCHEMA_TEXTS_MAP:
	case SCHEMA_OBJECTS:
		put_map_of(w, key);
		break;
	case SCHEMA_OBJECT:
		put_keys(w, key->keys);
		break;
	case SCHEMA_FREE:
	case SCHEMA_LATER:
		break;
	}
}

static void put_keys(struct json_writer *w, const struct schema_key *keys)
{
	put_type(w, "object");
	json_pair_bool(w, "additionalProperties", false);
	json_key(w, "properties");
	json_open_object(w);
	for (; keys->name != NULL; keys++) {
		if (keys->type == SCHEMA_LATER)
			continue;
		json_key(w, keys->name);
		json_open_object(w);
		put_value(w, keys);
		json_close(w);
	}
	json_close(w);
}

void schema_write(struct buf *out)
{
	struct json_writer w;
	json_begin(&w, out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_str(&w, "$schema", "https://json-schema.org/draft/2020-12/schema");
	json_pair_str(&w, "title", "mlmake.yaml");
	put_keys(&w, config_keys);
	json_end(&w);
}
