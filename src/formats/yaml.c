#include "formats/yaml.h"

#include "base/fs.h"
#include "base/map.h"
#include "base/text.h"
#include "formats/yaml_scalar.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define MAX_BYTES ((size_t)64 << 20)
#define MAX_DEPTH 100u
/* Nodes that a walk over the document may meet, aliases followed: so many, or so many times those that are written. */
#define FREE_EXPANSION 100000u
#define EXPANSION_FACTOR 16u

struct line {
	size_t start;     /* byte offset */
	const char *text; /* without its break */
};

struct anchor {
	struct yaml_node *node;
	size_t weight; /* nodes in it, aliases followed */
	unsigned height;
};

struct loader {
	struct yaml_doc *doc;
	yaml_parser_t parser;
	const char *file;
	const char *bytes; /* without a byte order mark */
	size_t len;
	size_t skipped;    /* of the byte order mark */
	VEC(struct line) lines;
	struct map anchors;
	size_t written;    /* nodes so far */
	struct {
		const char *at; /* where (line, column) stands in bytes; NULL at first */
		size_t line, column;
	} cursor;
};

/* What is known of a node when it is complete. */
struct built {
	struct yaml_node *node;
	size_t weight;
	unsigned height;
};

/* ---- positions ---- */

static size_t break_len(const char *p, const char *end)
{
	size_t left = (size_t)(end - p);
	if (p[0] == '\n')
		return 1;
	if (p[0] == '\r')
		return left > 1 && p[1] == '\n' ? 2 : 1;
	if (left > 1 && memcmp(p, "\xc2\x85", 2) == 0)
		return 2;
	if (left > 2 && (memcmp(p, "\xe2\x80\xa8", 3) == 0 || memcmp(p, "\xe2\x80\xa9", 3) == 0))
		return 3;
	return 0;
}

/* Cuts a copy of the text into lines where libyaml does. */
static void lines_cut(struct loader *l)
{
	char *copy = arena_strndup(&l->doc->arena, l->bytes, l->len);
	const char *end = copy + l->len;
	char *line = copy;
	for (char *p = copy; p < end;) {
		size_t skip = (unsigned char)*p < ' ' || (unsigned char)*p >= 0x80 ? break_len(p, end) : 0;
		if (!skip) {
			p++;
			continue;
		}
		vec_push(&l->lines, ((struct line){ (size_t)(line - copy), line }));
		*p = '\0';
		p += skip;
		line = p;
	}
	vec_push(&l->lines, ((struct line){ (size_t)(line - copy), line }));
}

static const char *skip_chars(const char *p, const char *end, size_t count)
{
	for (; count && p < end; count--) {
		p++;
		while (p < end && ((unsigned char)*p & 0xc0) == 0x80)
			p++;
	}
	return p;
}

/* Marks mostly come in order: within a line the count goes on where it stopped, so that a long line is walked once. */
static size_t offset_of(struct loader *l, const yaml_mark_t *mark)
{
	if (mark->line >= l->lines.len)
		return l->len;
	if (!l->cursor.at || l->cursor.line != mark->line || l->cursor.column > mark->column) {
		l->cursor.at = l->bytes + l->lines.at[mark->line].start;
		l->cursor.line = mark->line;
		l->cursor.column = 0;
	}
	l->cursor.at = skip_chars(l->cursor.at, l->bytes + l->len, mark->column - l->cursor.column);
	l->cursor.column = mark->column;
	return (size_t)(l->cursor.at - l->bytes);
}

static struct span span_of(const struct loader *l, const yaml_mark_t *from, const yaml_mark_t *to)
{
	size_t line = from->line < l->lines.len ? from->line : l->lines.len - 1;
	struct span span = { .file = l->file, .text = l->lines.at[line].text, .line = (unsigned)line + 1, .col = (unsigned)from->column + 1 };
	if (to && to->line == from->line && to->column > from->column)
		span.len = (unsigned)(to->column - from->column);
	return span;
}

/* ---- errors of libyaml ---- */

struct advice {
	const char *problem, *hint;
};

static const struct advice advices[] = {
	{ "mapping values are not allowed", "quote a value that contains ': ', and indent the keys of one map equally" },
	{ "could not find expected ':'", "a key is followed by a colon and a space: 'key: value'" },
	{ "did not find expected key", "the keys of one map start in the same column; quote values that begin with a special character" },
	{ "did not find expected '-'", "the items of one list start in the same column, each with '- '" },
	{ "block sequence entries are not allowed", "put the first '- ' of a list on a line of its own, below its key" },
	{ "did not find expected ',' or ']'", "close the list with ']' and put ',' between its items" },
	{ "did not find expected ',' or '}'", "close the map with '}' and put ',' between its pairs" },
	{ "found unexpected end of stream", "close the quote that was opened" },
	{ "found unexpected document indicator", "close the quote that was opened" },
	{ "found unknown escape", "in double quotes a backslash begins an escape; use single quotes to write it as it is" },
	{ "did not find expected alphabetic or numeric", "quote a value that begins with '*' or '&', such as a glob: '*.py'" },
	{ "did not find expected whitespace", "quote a value that begins with '!', '%' or '&'" },
	{ "control characters are not allowed", "the file must be text in UTF-8" },
};

static int parser_error(struct loader *l, struct err *err)
{
	const yaml_parser_t *p = &l->parser;
	const char *problem = p->problem ? p->problem : "cannot be read";
	if (p->error == YAML_MEMORY_ERROR)
		return err_set(err, ERR_NOMEM, "%s: out of memory", l->file);
	yaml_mark_t mark = p->problem_mark;
	if (p->error == YAML_READER_ERROR) {
		mark = p->mark;
		struct span none = { .file = l->file, .line = (unsigned)mark.line + 1, .col = (unsigned)mark.column + 1 };
		err_set(err, ERR_CONFIG, "invalid YAML: %s", problem);
		err_hint(err, "the file must be text in UTF-8");
		return err_at(err, &none);
	}
	struct span span = span_of(l, &mark, NULL);
	size_t at = offset_of(l, &mark);
	char here = at < l->len ? l->bytes[at] : '\0';
	err_set(err, ERR_CONFIG, "invalid YAML: %s%s%s", p->context ? p->context : "", p->context ? ", " : "", problem);
	err_at(err, &span);
	if (here == '\t')
		return err_hint(err, "indent with spaces; YAML does not take tabs there");
	if (strcmp(problem, "found character that cannot start any token") == 0)
		return err_hint(err, "quote a value that begins with '%c'", here);
	/* "key:value" is a string to YAML, so that it stumbles over the line after it. */
	const char *above = mark.line > 0 && mark.line < l->lines.len ? l->lines.at[mark.line - 1].text : "";
	if (strchr(above, ':') && !strstr(above, ": ") && !text_ends(above, ":"))
		return err_hint(err, "a key is followed by a colon and a space, in line %zu too: 'key: value'", mark.line);
	for (size_t i = 0; i < ARRAY_LEN(advices); i++) {
		if (strstr(problem, advices[i].problem))
			return err_hint(err, "%s", advices[i].hint);
	}
	return -1;
}

/* ---- building ---- */

static void event_done(yaml_event_t *event)
{
	yaml_event_delete(event);
}

static int next_event(struct loader *l, yaml_event_t *event, struct err *err)
{
	if (yaml_parser_parse(&l->parser, event))
		return 0;
	memset(event, 0, sizeof(*event));
	return parser_error(l, err);
}

static struct yaml_node *node_new(struct loader *l, const yaml_event_t *event, enum yaml_kind kind)
{
	struct yaml_node *node = arena_alloc(&l->doc->arena, sizeof(*node));
	node->kind = kind;
	node->text = "";
	node->span = span_of(l, &event->start_mark, &event->end_mark);
	node->start = l->skipped + offset_of(l, &event->start_mark);
	node->end = l->skipped + offset_of(l, &event->end_mark);
	l->written++;
	return node;
}

static int check_tag(struct loader *l, const yaml_event_t *event, const char *tag, bool *ret_string, struct err *err)
{
	static const char core[] = "tag:yaml.org,2002:";
	static const char *const known[] = { "null", "bool", "int", "float", "seq", "map" };
	*ret_string = false;
	if (!tag)
		return 0;
	if (strcmp(tag, "!") == 0 || strcmp(tag, "tag:yaml.org,2002:str") == 0) {
		*ret_string = true;
		return 0;
	}
	for (size_t i = 0; text_starts(tag, core) && i < ARRAY_LEN(known); i++) {
		if (strcmp(tag + sizeof(core) - 1, known[i]) == 0)
			return 0;
	}
	struct span span = span_of(l, &event->start_mark, &event->end_mark);
	err_set(err, ERR_CONFIG, "unknown tag '%s'", tag);
	err_hint(err, "quote a value that begins with '!'");
	return err_at(err, &span);
}

static int build_scalar(struct loader *l, const yaml_event_t *event, struct built *ret, struct err *err)
{
	bool string;
	if (check_tag(l, event, (const char *)event->data.scalar.tag, &string, err) < 0)
		return -1;
	struct yaml_node *node = node_new(l, event, YAML_STR);
	node->text = arena_strndup(&l->doc->arena, (const char *)event->data.scalar.value, event->data.scalar.length);
	node->text_len = event->data.scalar.length;
	node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	if (!node->quoted && !string)
		yaml_scalar_resolve(node);
	*ret = (struct built){ node, 1, 0 };
	return 0;
}

static int build_alias(struct loader *l, const yaml_event_t *event, struct built *ret, struct err *err)
{
	const char *name = (const char *)event->data.alias.anchor;
	const struct anchor *anchor = map_get(&l->anchors, name);
	if (!anchor) {
		struct span span = span_of(l, &event->start_mark, &event->end_mark);
		err_set(err, ERR_CONFIG, "unknown alias '*%s'", name);
		err_hint(err, "quote a value that begins with '*': '*%s'", name);
		return err_at(err, &span);
	}
	l->doc->has_alias = true;
	l->written++;
	*ret = (struct built){ anchor->node, anchor->weight, anchor->height };
	return 0;
}

static int build(struct loader *l, yaml_event_t *event, unsigned depth, struct built *ret, struct err *err);

/* Adds a finished child to what its parent knows of itself. */
static int account(struct loader *l, struct built *parent, const struct built *child, unsigned depth, struct err *err)
{
	const char *problem = NULL;
	parent->weight += child->weight;
	if (child->height + 1 > parent->height)
		parent->height = child->height + 1;
	if (depth + parent->height > MAX_DEPTH)
		problem = "nested too deeply";
	else if (parent->weight > FREE_EXPANSION && parent->weight / EXPANSION_FACTOR > l->written)
		problem = "aliases expand to too many nodes";
	if (!problem)
		return 0;
	err_set(err, ERR_CONFIG, "%s", problem);
	return err_at(err, &parent->node->span);
}

static int build_seq(struct loader *l, const yaml_event_t *start, unsigned depth, struct built *ret, struct err *err)
{
	struct yaml_node *node = node_new(l, start, YAML_SEQ);
	node->flow = start->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
	VEC(const struct yaml_node *) items = { 0 };
	int status = -1;
	*ret = (struct built){ node, 1, 0 };
	for (;;) {
		yaml_event_t event CLEANUP(event_done);
		struct built item;
		if (next_event(l, &event, err) < 0)
			break;
		if (event.type == YAML_SEQUENCE_END_EVENT) {
			if (node->flow)
				node->end = l->skipped + offset_of(l, &event.end_mark);
			status = 0;
			break;
		}
		if (build(l, &event, depth + 1, &item, err) < 0 || account(l, ret, &item, depth, err) < 0)
			break;
		vec_push(&items, item.node);
		node->end = item.node->end > node->end ? item.node->end : node->end;
	}
	node->len = items.len;
	node->items = arena_alloc(&l->doc->arena, (items.len + 1) * sizeof(*items.at));
	if (items.len)
		memcpy(node->items, items.at, items.len * sizeof(*items.at));
	vec_release(&items);
	return status;
}

static int check_key(struct map *seen, const struct yaml_node *key, struct err *err)
{
	if (key->kind == YAML_SEQ || key->kind == YAML_MAP) {
		yaml_err(err, key, "a key must be a plain value, not %s", yaml_kind_name(key->kind));
		if (key->kind == YAML_MAP)
			err_hint(err, "quote a value that begins with '{'");
		return -1;
	}
	if (strlen(key->text) != key->text_len)
		return yaml_err(err, key, "a key must not contain a zero byte");
	const struct yaml_node *first = map_get(seen, key->text);
	if (first) {
		yaml_err(err, key, "duplicate key '%s'", key->text);
		return err_hint(err, "it stands in line %u already; remove one of the two", first->span.line);
	}
	map_set(seen, key->text, (void *)(uintptr_t)key);
	return 0;
}

static int build_pair(struct loader *l, yaml_event_t *event, unsigned depth, struct map *seen, struct built *parent,
		      struct yaml_pair *ret, struct err *err)
{
	struct built key, value;
	yaml_event_t second CLEANUP(event_done);
	memset(&second, 0, sizeof(second));
	if (build(l, event, depth + 1, &key, err) < 0 || account(l, parent, &key, depth, err) < 0 ||
	    check_key(seen, key.node, err) < 0)
		return -1;
	if (next_event(l, &second, err) < 0 || build(l, &second, depth + 1, &value, err) < 0 ||
	    account(l, parent, &value, depth, err) < 0)
		return -1;
	*ret = (struct yaml_pair){ key.node, value.node };
	return 0;
}

static int build_map(struct loader *l, const yaml_event_t *start, unsigned depth, struct built *ret, struct err *err)
{
	struct yaml_node *node = node_new(l, start, YAML_MAP);
	node->flow = start->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
	struct map seen CLEANUP(map_release) = MAP_INIT;
	VEC(struct yaml_pair) pairs = { 0 };
	int status = -1;
	*ret = (struct built){ node, 1, 0 };
	for (;;) {
		yaml_event_t event CLEANUP(event_done);
		struct yaml_pair pair;
		if (next_event(l, &event, err) < 0)
			break;
		if (event.type == YAML_MAPPING_END_EVENT) {
			if (node->flow)
				node->end = l->skipped + offset_of(l, &event.end_mark);
			status = 0;
			break;
		}
		if (build_pair(l, &event, depth, &seen, ret, &pair, err) < 0)
			break;
		vec_push(&pairs, pair);
		node->end = pair.value->end > node->end ? pair.value->end : node->end;
	}
	node->len = pairs.len;
	node->pairs = arena_alloc(&l->doc->arena, (pairs.len + 1) * sizeof(*pairs.at));
	if (pairs.len)
		memcpy(node->pairs, pairs.at, pairs.len * sizeof(*pairs.at));
	vec_release(&pairs);
	return status;
}

static int build(struct loader *l, yaml_event_t *event, unsigned depth, struct built *ret, struct err *err)
{
	const char *name = NULL;
	bool string;
	int status = -1;
	if (depth > MAX_DEPTH) {
		struct span span = span_of(l, &event->start_mark, NULL);
		err_set(err, ERR_CONFIG, "nested too deeply (more than %u levels)", MAX_DEPTH);
		return err_at(err, &span);
	}
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		name = (const char *)event->data.scalar.anchor;
		status = build_scalar(l, event, ret, err);
		break;
	case YAML_SEQUENCE_START_EVENT:
		name = (const char *)event->data.sequence_start.anchor;
		status = check_tag(l, event, (const char *)event->data.sequence_start.tag, &string, err);
		if (status == 0)
			status = build_seq(l, event, depth, ret, err);
		break;
	case YAML_MAPPING_START_EVENT:
		name = (const char *)event->data.mapping_start.anchor;
		status = check_tag(l, event, (const char *)event->data.mapping_start.tag, &string, err);
		if (status == 0)
			status = build_map(l, event, depth, ret, err);
		break;
	case YAML_ALIAS_EVENT:
		return build_alias(l, event, ret, err);
	default:
		return err_set(err, ERR_BUG, "%s: unexpected YAML event %d", l->file, (int)event->type);
	}
	if (status < 0 || !name)
		return status;
	struct anchor *anchor = arena_alloc(&l->doc->arena, sizeof(*anchor));
	*anchor = (struct anchor){ ret->node, ret->weight, ret->height };
	map_set(&l->anchors, name, anchor);
	return 0;
}

static int load(struct loader *l, struct err *err)
{
	for (bool done = false; !done;) {
		yaml_event_t event CLEANUP(event_done);
		struct built root = { 0 };
		if (next_event(l, &event, err) < 0)
			return -1;
		switch (event.type) {
		case YAML_STREAM_END_EVENT:
			done = true;
			break;
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_START_EVENT:
		case YAML_DOCUMENT_END_EVENT:
			break;
		default:
			if (l->doc->root) {
				struct span span = span_of(l, &event.start_mark, NULL);
				err_set(err, ERR_CONFIG, "a second document begins here; one file holds one document");
				err_hint(err, "remove the '---' before it");
				return err_at(err, &span);
			}
			if (build(l, &event, 0, &root, err) < 0)
				return -1;
			l->doc->root = root.node;
		}
	}
	/* "---" alone, or only comments: an empty document is a null of no length. */
	if (l->doc->root && l->doc->root->kind == YAML_NULL && l->doc->root->start == l->doc->root->end)
		l->doc->root = NULL;
	return 0;
}

int yaml_parse(struct yaml_doc *doc, const char *file, const char *bytes, size_t len, struct err *err)
{
	struct loader l = { .doc = doc, .bytes = bytes, .len = len };
	if (len > MAX_BYTES)
		return err_set(err, ERR_CONFIG, "%s is larger than 64 MiB", file);
	if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
		l.bytes += 3;
		l.len -= 3;
		l.skipped = 3;
	}
	l.file = doc->file = arena_strdup(&doc->arena, file);
	if (!yaml_parser_initialize(&l.parser))
		return err_set(err, ERR_NOMEM, "%s: out of memory", file);
	yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&l.parser, (const unsigned char *)l.bytes, l.len);
	lines_cut(&l);
	int status = load(&l, err);
	yaml_parser_delete(&l.parser);
	map_release(&l.anchors);
	vec_release(&l.lines);
	if (status < 0)
		yaml_release(doc);
	return status;
}

int yaml_parse_file(struct yaml_doc *doc, const char *path, const char *shown_as, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	if (fs_read_file(path, MAX_BYTES, &text, err) < 0)
		return -1;
	return yaml_parse(doc, shown_as, text.data, text.len, err);
}

void yaml_release(struct yaml_doc *doc)
{
	arena_release(&doc->arena);
	doc->root = NULL;
	doc->has_alias = false;
}
