/*
 * The language of mlmake.yaml and of rules as one table of keys: it validates, gives the help of `mlmake schema`, and the JSON Schema
 * is written from it.
 *
 *     if (schema_check(doc.root, "", config_keys, err) < 0) return -1;
 *
 * A null value is the same as an absent key.
 */
#ifndef GRAPH_SCHEMA_H
#define GRAPH_SCHEMA_H

#include "base/buf.h"
#include "base/err.h"
#include "formats/yaml.h"

enum schema_type {
	SCHEMA_TEXT,       /* any scalar, as text; allowed limits it */
	SCHEMA_BOOL,
	SCHEMA_INT,        /* 0..1000000 */
	SCHEMA_INTS,       /* a list of them */
	SCHEMA_DURATION,   /* 90, 90s, 1h30m */
	SCHEMA_TEXTS,      /* one scalar or a list of them; allowed limits the lone scalar */
	SCHEMA_TEXT_MAP,   /* name: scalar */
	SCHEMA_TEXTS_MAP,  /* name: scalar or list of scalars */
	SCHEMA_OBJECT,     /* a map of keys */
	SCHEMA_OBJECTS,    /* name: map of keys */
	SCHEMA_ITEMS,      /* one scalar, one map of keys, or a list of either */
	SCHEMA_FREE,       /* anything */
	SCHEMA_LATER,      /* in the language, not in this version */
};

struct schema_key {
	const char *name;              /* NULL ends a table */
	enum schema_type type;
	const char *help;
	const char *const *allowed;    /* NULL-terminated; NULL: any */
	const struct schema_key *keys; /* of OBJECT, OBJECTS, ITEMS */
};

extern const struct schema_key config_keys[]; /* mlmake.yaml */
extern const struct schema_key target_keys[];
extern const struct schema_key data_keys[];   /* mlmake.yaml's data: */
extern const struct schema_key rule_keys[];   /* rules/NAME.yaml */

/* node is a map (null counts as an empty one). where is for messages: "" or "in target 'x'", added as a note. */
int schema_check(const struct yaml_node *node, const char *where, const struct schema_key *keys, struct err *err) MUST_CHECK;

/* The value of key; NULL if absent or null. */
const struct yaml_node *schema_get(const struct yaml_node *map, const char *key);

/* JSON Schema (draft 2020-12) of mlmake.yaml. */
void schema_write(struct buf *out);

#endif
