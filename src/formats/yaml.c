#include "formats/yaml.h"

#include "base/fs.h"
#include "base/index.h"
#include "base/map.h"
#include "base/text.h"
#include "formats/yaml_scalar.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define MAX_BYTES ((size_t)64 << 20)
#define MAX_ITEMS ((1u << 26) - 1) /* each takes a byte and more */
#define MAX_DEPTH 100u
/* Nodes that a walk over the document may meet, aliases followed: so many, or so many times those that are written. */
#define FREE_EXPANSION 100000u
#define EXPANSION_FACTOR 16u

struct yaml_source {
	const char *file;
	const char *text; /* a copy; each line ends with a NUL in place of its break */
	size_t skipped;   /* bytes before it */
	VEC(uint32_t) lines; /* where they begin */
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
	struct yaml_source *source;
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
	l->source->text = copy;
	const char *end = copy + l->len;
	char *line = copy;
	for (char *p = copy; p < end;) {
		size_t skip = (unsigned char)*p < ' ' || (unsigned char)*p >= 0x80 ? break_len(p, end) : 0;
		if (!skip) {
			p++;
			continue;
		}
		vec_push(&l->source->lines, (uint32_t)(line - copy));
		*p = '\0';
		p += skip;
		line = p;
	}
	vec_push(&l->source->lines, (uint32_t)(line - copy));
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
	if (mark->line >= l->source->lines.len)
		return l->len;
	if (!l->cursor.at || l->cursor.line != mark->line || l->cursor.column > mark->column) {
		l->cursor.at = l->bytes + l->source->lines.at[mark->line];
		l->cursor.line = mark->line;
		l->cursor.column = 0;
	}
	l->cursor.at = skip_chars(l->cursor.at, l->bytes + l->len, mark->column - l->cursor.column);
	l->cursor.column = mark->column;
	return (size_t)(l->cursor.at - l->bytes);
}

static const char *line_text(const struct yaml_source *source, size_t line)
{
	return source->text + source->lines.at[line];
}

static struct span span_of(const struct loader *l, const yaml_mark_t *from, const yaml_mark_t *to)
{
	size_t line = from->line < l->source->lines.len ? from->line : l->source->lines.len - 1;
	struct span span = { .file = l->file, .text = line_text(l->source, line), .line = (unsigned)line + 1,
			     .col = (unsigned)from->column + 1 };
	if (to && to->line == from->line && to->column > from->column)
		span.len = (unsigned)(to->column - from->column);
	return span;
}

static unsigned chars_between(const char *from, const char *to)
{
	unsigned count = 0;
	for (; from < to; from++)
		count += ((unsigned char)*from & 0xc0) != 0x80;
	return count;
}

/* Found anew each time, from the offset: few nodes are ever asked. */
struct span yaml_span(const struct yaml_node *node)
{
	const struct yaml_source *source = node->source;
	size_t low = 0, high = source->lines.len, start = node->start - source->skipped, end = node->end - source->skipped;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (source->lines.at[middle] <= start)
			low = middle;
		else
			high = middle;
	}
	const char *line = line_text(source, low), *at = source->text + start;
	struct span span = { .file = source->file, .text = line, .line = (unsigned)low + 1, .col = chars_between(line, at) + 1 };
	bool ends_here = end <= (size_t)(line - source->text) + strlen(line);
	if (node->kind == YAML_SEQ || node->kind == YAML_MAP)
		span.len = node->flow ? 1 : 0;
	else if (ends_here)
		span.len = chars_between(at, source->text + end);
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
	const char *above = mark.line > 0 && mark.line < l->source->lines.len ? line_text(l->source, mark.line - 1) : "";
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
	node->source = l->source;
	node->start = (uint32_t)(l->skipped + offset_of(l, &event->start_mark));
	node->end = (uint32_t)(l->skipped + offset_of(l, &event->end_mark));
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
	node->text_len = (uint32_t)event->data.scalar.length;
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
	const struct span span = yaml_span(parent->node);
	return err_at(err, &span);
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
				node->end = (uint32_t)(l->skipped + offset_of(l, &event.end_mark));
			status = 0;
			break;
		}
		if (build(l, &event, depth + 1, &item, err) < 0 || account(l, ret, &item, depth, err) < 0)
			break;
		vec_push(&items, item.node);
		node->end = item.node->end > node->end ? item.node->end : node->end;
	}
	node->len = (uint32_t)items.len & MAX_ITEMS;
	if (items.len) {
		node->items = arena_alloc(&l->doc->arena, items.len * sizeof(*items.at));
		memcpy(node->items, items.at, items.len * sizeof(*items.at));
	}
	vec_release(&items);
	return status;
}

#define SEARCHED_KEYS 16 /* of so many a table costs more than it saves */

/* The pairs of a map that is being read. */
struct keys {
	VEC(struct yaml_pair) pairs;
	struct index index;
};

static const char *key_at(const void *ctx, uint32_t number)
{
	const struct keys *keys = ctx;
	return keys->pairs.at[number].key->text;
}

static const struct yaml_node *find_key(const struct keys *keys, const char *text)
{
	if (keys->index.len) {
		uint32_t found = index_find(&keys->index, text, strlen(text));
		return found == INDEX_NONE ? NULL : keys->pairs.at[found].key;
	}
	for (size_t i = 0; i < keys->pairs.len; i++)
		if (strcmp(key_at(keys, (uint32_t)i), text) == 0)
			return keys->pairs.at[i].key;
	return NULL;
}

static void add_pair(struct keys *keys, const struct yaml_pair *pair)
{
	vec_push(&keys->pairs, *pair);
	size_t count = keys->pairs.len;
	for (size_t i = count == SEARCHED_KEYS ? 0 : count - 1; count >= SEARCHED_KEYS && i < count; i++)
		index_add(&keys->index, (uint32_t)i);
}

static void keys_release(struct keys *keys)
{
	vec_release(&keys->pairs);
	index_release(&keys->index);
}

static int check_key(const struct keys *seen, const struct yaml_node *key, struct err *err)
{
	if (key->kind == YAML_SEQ || key->kind == YAML_MAP) {
		yaml_err(err, key, "a key must be a plain value, not %s", yaml_kind_name(key->kind));
		if (key->kind == YAML_MAP)
			err_hint(err, "quote a value that begins with '{'");
		return -1;
	}
	if (strlen(key->text) != key->text_len)
		return yaml_err(err, key, "a key must not contain a zero byte");
	const struct yaml_node *first = find_key(seen, key->text);
	if (!first)
		return 0;
	yaml_err(err, key, "duplicate key '%s'", key->text);
	return err_hint(err, "it stands in line %u already; remove one of the two", yaml_span(first).line);
}

static int build_pair(struct loader *l, yaml_event_t *event, unsigned depth, const struct keys *seen, struct built *parent,
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
	struct keys keys CLEANUP(keys_release) = { .index = INDEX_INIT(key_at, &keys) };
	int status = -1;
	*ret = (struct built){ node, 1, 0 };
	for (;;) {
		yaml_event_t event CLEANUP(event_done);
		struct yaml_pair pair;
		if (next_event(l, &event, err) < 0)
			break;
		if (event.type == YAML_MAPPING_END_EVENT) {
			if (node->flow)
				node->end = (uint32_t)(l->skipped + offset_of(l, &event.end_mark));
			status = 0;
			break;
		}
		if (build_pair(l, &event, depth, &keys, ret, &pair, err) < 0)
			break;
		add_pair(&keys, &pair);
		node->end = pair.value->end > node->end ? pair.value->end : node->end;
	}
	node->len = (uint32_t)keys.pairs.len & MAX_ITEMS;
	if (node->len) {
		node->pairs = arena_alloc(&l->doc->arena, node->len * sizeof(*node->pairs));
		memcpy(node->pairs, keys.pairs.at, node->len * sizeof(*node->pairs));
	}
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
	l.source = doc->source = arena_alloc(&doc->arena, sizeof(*l.source));
	l.source->skipped = l.skipped;
	l.file = l.source->file = doc->file = arena_strdup(&doc->arena, file);
	if (!yaml_parser_initialize(&l.parser))
		return err_set(err, ERR_NOMEM, "%s: out of memory", file);
	yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&l.parser, (const unsigned char *)l.bytes, l.len);
	lines_cut(&l);
	int status = load(&l, err);
	yaml_parser_delete(&l.parser);
	map_release(&l.anchors);
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
	if (doc->source)
		vec_release(&doc->source->lines);
	doc->source = NULL;
	arena_release(&doc->arena);
	doc->root = NULL;
	doc->has_alias = false;
}
