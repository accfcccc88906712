/*
 * JSON: documents as trees, and a writer that needs none.
 *
 *     struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
 *     if (json_parse(&doc, "report.json", text, len, err) < 0) return -1;
 *     const char *name = json_str(json_get(doc.root, "name"));
 *
 *     struct json_writer w;
 *     json_begin(&w, &out, JSON_PRETTY);
 *     json_open_object(&w);
 *     json_key(&w, "targets"); json_open_array(&w); json_put_str(&w, "test"); json_close(&w);
 *     json_close(&w);
 *     json_end(&w);
 *
 * Parsing refuses (ERR_DATA, with position): duplicate keys, text after the document, nesting over 200, invalid UTF-8. Every
 * getter takes NULL and the wrong kind and gives the absent value, so that paths through a document need one check at their end.
 * The only user of jansson.
 */
#ifndef FORMATS_JSON_H
#define FORMATS_JSON_H

#include "base/buf.h"
#include "base/err.h"

enum json_kind { JSON_ABSENT, JSON_NULL_VALUE, JSON_BOOLEAN, JSON_INTEGER_NUMBER, JSON_REAL_NUMBER, JSON_TEXT, JSON_LIST, JSON_DICT };

struct json_node; /* in its document */
struct json_doc {
	const struct json_node *root;
};
#define JSON_DOC_INIT { .root = NULL }

int json_parse(struct json_doc *doc, const char *file, const char *bytes, size_t len, struct err *err) MUST_CHECK;
int json_parse_file(struct json_doc *doc, const char *path, const char *shown_as, size_t max, struct err *err) MUST_CHECK;
void json_release(struct json_doc *doc);

enum json_kind json_kind(const struct json_node *node);
const struct json_node *json_get(const struct json_node *object, const char *key);
size_t json_len(const struct json_node *node); /* of a list or an object */
const struct json_node *json_at(const struct json_node *list, size_t index);
const char *json_str(const struct json_node *node);               /* NULL if it is no string; up to its first NUL */
int64_t json_int(const struct json_node *node, int64_t fallback); /* no number, or none that fits: fallback */
double json_number(const struct json_node *node, double fallback);
bool json_bool(const struct json_node *node, bool fallback);

/* Each member in the order of the file. visit returns false to stop. */
typedef bool json_member_fn(void *ctx, const char *key, const struct json_node *value);
void json_each(const struct json_node *object, json_member_fn *visit, void *ctx);

enum json_style {
	JSON_COMPACT,      /* {"a":1,"b":[2]} */
	JSON_PRETTY,       /* two spaces of indent, a line each */
	JSON_PYTHON,       /* {"a": 1, "b": [2]}, non-ASCII as \uXXXX: json.dumps of Python */
};

#define JSON_WRITER_MAX_DEPTH 64
struct json_writer {
	struct buf *out;
	enum json_style style;
	unsigned depth;
	bool after_key;
	char closer[JSON_WRITER_MAX_DEPTH];
	bool filled[JSON_WRITER_MAX_DEPTH];
};

void json_begin(struct json_writer *w, struct buf *out, enum json_style style);
void json_open_object(struct json_writer *w);
void json_open_array(struct json_writer *w);
void json_close(struct json_writer *w); /* the innermost open one */
void json_key(struct json_writer *w, const char *key);
void json_put_str(struct json_writer *w, const char *text); /* NULL: null */
void json_put_strn(struct json_writer *w, const char *text, size_t len);
void json_put_int(struct json_writer *w, int64_t value);
void json_put_uint(struct json_writer *w, uint64_t value);
void json_put_real(struct json_writer *w, double value); /* shortest that reads back the same; NaN and infinities: null */
void json_put_bool(struct json_writer *w, bool value);
void json_put_null(struct json_writer *w);
void json_put_raw(struct json_writer *w, const char *json, size_t len); /* a whole value, as it is */
void json_end(struct json_writer *w); /* closes what is open; JSON_PRETTY ends with a newline */

/* key and value in one. */
void json_pair_str(struct json_writer *w, const char *key, const char *text);
void json_pair_int(struct json_writer *w, const char *key, int64_t value);
void json_pair_uint(struct json_writer *w, const char *key, uint64_t value);
void json_pair_real(struct json_writer *w, const char *key, double value);
void json_pair_bool(struct json_writer *w, const char *key, bool value);

/* Appends text as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD; ascii: all beyond ASCII as \uXXXX. */
void json_add_string(struct buf *out, const char *text, size_t len, bool ascii);

/* Appends the shortest decimal that reads back as value, as Python's repr does: 1.0, 0.1, 1e-05. */
void json_add_real(struct buf *out, double value);

#endif
