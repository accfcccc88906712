/*
 * YAML 1.2, core schema, with the position of every node; and the emitter of the style
 * that DVC writes (facts: block style, width 80, quotes only where needed).
 *
 *     struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT;
 *     if (yaml_parse(&doc, "mlmake.yaml", text, len, err) < 0) return -1;
 *     const struct yaml_node *targets = yaml_get(doc.root, "targets");
 *
 * Nodes live in the document's arena. Refused, with position: several documents, duplicate keys, aliases beyond
 * a bounded expansion, nesting over 100, keys that are not scalars, tabs and encodings that YAML refuses.
 * An empty document has root NULL. The only user of libyaml.
 */
#ifndef FORMATS_YAML_H
#define FORMATS_YAML_H

#include "base/err.h"
#include "base/mem.h"
#include "base/buf.h"

enum yaml_kind { YAML_NULL, YAML_BOOL, YAML_INT, YAML_FLOAT, YAML_STR, YAML_SEQ, YAML_MAP };

struct yaml_node;
struct yaml_pair {
	const struct yaml_node *key;
	const struct yaml_node *value;
};

/* Small, for there are many: a large mlmake.yaml has a million. */
struct yaml_node {
	const struct yaml_source *source;
	const char *text;    /* scalar: its text as written (unquoted, unescaped), NUL-terminated; "" for containers */
	union {
		int64_t integer;     /* INT; out of range: kind is YAML_FLOAT */
		double real;         /* FLOAT */
		const struct yaml_node **items; /* SEQ */
		struct yaml_pair *pairs;        /* MAP */
	};
	uint32_t text_len;
	uint32_t start, end;     /* byte range in the text that was parsed; of a block collection, to the end of its last value */
	uint32_t len : 26;       /* items of a SEQ, pairs of a MAP; 0 for scalars */
	enum yaml_kind kind : 3;
	uint32_t quoted : 1;     /* scalar written with quotes or as a block */
	uint32_t flow : 1;       /* SEQ, MAP: written in brackets */
	uint32_t boolean : 1;
};
_Static_assert(sizeof(void *) != 8 || sizeof(struct yaml_node) == 40, "nodes are small");

/* Its place, for err_at; of an alias, where the anchor stands. Strings live as long as the document. */
struct span yaml_span(const struct yaml_node *node);

struct yaml_doc {
	struct arena arena;
	const struct yaml_node *root;
	struct yaml_source *source; /* what all its spans point to */
	const char *file;           /* in it */
	bool has_alias; /* some nodes stand in two places */
};
#define YAML_DOC_INIT { .root = NULL }

/* file is for positions in errors (copied). Errors: ERR_CONFIG. */
int yaml_parse(struct yaml_doc *doc, const char *file, const char *bytes, size_t len, struct err *err) MUST_CHECK;
int yaml_parse_file(struct yaml_doc *doc, const char *path, const char *shown_as, struct err *err) MUST_CHECK; /* at most 64 MiB */
void yaml_release(struct yaml_doc *doc);

/* The value of key in a map; NULL if absent or node is NULL or not a map. */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/* "train.lr", "a.0.b" for list items. */
const struct yaml_node *yaml_get_dotted(const struct yaml_node *node, const char *dotted);

const char *yaml_kind_name(enum yaml_kind kind); /* "a map", "a list", "a string", ... */

/* Appends a canonical rendering of any node that is the same for the same value, whatever its style (JSON, keys sorted). */
void yaml_add_canonical(struct buf *out, const struct yaml_node *node);

/* err_set with the node's span. Returns -1. */
int yaml_err(struct err *err, const struct yaml_node *node, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Appends text (UTF-8) as a scalar in DVC's style, which is that of ruamel.yaml's round-trip dumper. indent is the column that
 * folded lines continue at; column is where the scalar begins, the space after its colon already written. */
void yaml_add_scalar(struct buf *out, const char *text, size_t indent, size_t column);

#endif
