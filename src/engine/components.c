#include "engine/components.h"

#include "base/map.h"
#include "store/codec.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 60

void components_begin(struct buf *list)
{
	buf_reset(list);
	codec_add_u32(list, COMPONENTS_VERSION);
}

/* A number as store/codec.h has it. */
static char *put_u32(char *at, size_t value)
{
	for (unsigned i = 0; i < 4; i++)
		*at++ = (char)(uint8_t)(value >> (8 * i));
	return at;
}

/* Frames a value of `rest` bytes behind its tag, and gives the place to write them to. As codec_add_u8, codec_add_str and codec_add_bytes
 * would do it in turn: this is done for every component of every target of a run. */
static char *add_frame(struct buf *list, enum component_kind kind, const char *name, char tag, size_t rest)
{
	size_t len = strlen(name), all = 1 + 4 + len + 1 + 4 + 1 + rest + 1;
	buf_reserve(list, all);
	char *at = list->data + list->len;
	list->len += all;
	list->data[list->len] = '\0';
	list->data[list->len - 1] = '\0';
	*at++ = (char)kind;
	at = put_u32(at, len);
	memcpy(at, name, len + 1);
	at = put_u32(at + len + 1, rest + 1);
	*at++ = tag;
	return at;
}

void components_add_text(struct buf *list, enum component_kind kind, const char *name, const char *text)
{
	size_t len = strlen(text);
	memcpy(add_frame(list, kind, name, 't', len), text, len);
}

void components_add_absent(struct buf *list, enum component_kind kind, const char *name)
{
	add_frame(list, kind, name, 'a', 0);
}

void components_add_digest(struct buf *list, enum component_kind kind, const char *name, char tag, const struct digest *digest)
{
	size_t len = digest_len(digest->kind);
	char *at = add_frame(list, kind, name, tag, len + 1);
	*at++ = (char)digest->kind;
	memcpy(at, digest->bytes, len);
}

void components_key(const void *list, size_t len, struct digest *ret)
{
	struct digest_stream *stream = digest_begin(DIGEST_SHA256);
	struct buf frame CLEANUP(buf_release) = BUF_INIT;
	buf_addstr(&frame, "mlmake key");
	codec_add_u64(&frame, len);
	digest_add(stream, frame.data, frame.len);
	digest_add(stream, list, len);
	digest_end(stream, ret);
}

struct component {
	enum component_kind kind;
	const char *name;
	const char *value; /* NUL-terminated behind value_len */
	size_t value_len;
};

static bool next_component(struct codec_in *in, struct component *ret)
{
	if (codec_left(in) == 0)
		return false;
	ret->kind = (enum component_kind)codec_u8(in);
	ret->name = codec_str(in);
	ret->value = codec_bytes(in, &ret->value_len);
	return codec_ok(in);
}

void components_each(const void *list, size_t len, component_fn *visit, void *ctx)
{
	struct codec_in in = codec_in(list, len);
	struct component component;
	codec_u32(&in);
	while (next_component(&in, &component))
		visit(ctx, component.kind, component.name, component.value, component.value_len);
}

static bool same_value(const struct component *a, const struct component *b)
{
	return a->value_len == b->value_len && memcmp(a->value, b->value, a->value_len) == 0;
}

static void add_shown(struct buf *out, const struct component *component)
{
	if (component->value[0] != 't') {
		buf_addstr(out, "none");
		return;
	}
	size_t len = strcspn(component->value + 1, "\n");
	bool cut = len > SHOWN_MAX;
	buf_add(out, component->value + 1, cut ? SHOWN_MAX : len);
	if (cut || component->value[1 + len])
		buf_addstr(out, "...");
}

static void say(struct strlist *reasons, const char *sentence)
{
	if (!strlist_has(reasons, sentence))
		strlist_add(reasons, sentence);
}

/* "NAME OLD -> NEW" where both can be shown, else "NAME changed". */
static void say_values(struct strlist *reasons, const char *name, const struct component *before, const struct component *now)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	buf_addstr(&text, name);
	if (before->value[0] == 't' && now->value[0] == 't') {
		buf_addch(&text, ' ');
		add_shown(&text, before);
		buf_addstr(&text, " -> ");
		add_shown(&text, now);
	} else {
		buf_addstr(&text, before->value[0] == 'a' ? " appeared" : now->value[0] == 'a' ? " is gone" : " changed");
	}
	say(reasons, text.data);
}

static void say_changed(struct strlist *reasons, const struct component *before, const struct component *now)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	switch (now->kind) {
	case COMPONENT_PARAM:
	case COMPONENT_TOOL:
		say_values(reasons, now->name, before, now);
		return;
	case COMPONENT_PLATFORM:
		say_values(reasons, "platform", before, now);
		return;
	case COMPONENT_INPUT:
		buf_addf(&text, "%s changed%s", now->name,
			 before->value[0] != now->value[0] && before->value_len == now->value_len &&
					 memcmp(before->value + 1, now->value + 1, now->value_len - 1) == 0
				 ? " its mode"
				 : "");
		break;
	case COMPONENT_ENV:
		buf_addf(&text, "env %s changed", now->name);
		break;
	case COMPONENT_NEED:
		buf_addf(&text, "the result of '%s' changed", now->name);
		break;
	case COMPONENT_COMMAND:
		buf_addstr(&text, "command changed");
		break;
	case COMPONENT_ARGUMENT:
		buf_addstr(&text, "arguments changed");
		break;
	case COMPONENT_SHELL:
		buf_addstr(&text, "shell changed");
		break;
	case COMPONENT_DIR:
		buf_addstr(&text, "working directory changed");
		break;
	case COMPONENT_OUTPUT:
		buf_addstr(&text, "declared outputs changed");
		break;
	}
	if (text.len)
		say(reasons, text.data);
}

/* A component that only one of the lists has. */
static void say_one_sided(struct strlist *reasons, const struct component *component, bool is_new)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	const char *verb = is_new ? "added" : "removed";
	switch (component->kind) {
	case COMPONENT_INPUT:
		buf_addf(&text, "%s %s", component->name, verb);
		break;
	case COMPONENT_PARAM:
		buf_addf(&text, "parameter %s %s", component->name, verb);
		break;
	case COMPONENT_ENV:
		buf_addf(&text, "env %s %s", component->name, verb);
		break;
	case COMPONENT_NEED:
		buf_addf(&text, "need '%s' %s", component->name, verb);
		break;
	case COMPONENT_TOOL:
		buf_addf(&text, "tool %s %s", component->name, verb);
		break;
	default:
		say_changed(reasons, component, component);
		return;
	}
	say(reasons, text.data);
}

static void map_key(struct buf *out, const struct component *component)
{
	buf_reset(out);
	buf_addf(out, "%d %s", (int)component->kind, component->name);
}

void components_diff(const void *old_list, size_t old_len, const void *new_list, size_t new_len, struct strlist *ret_reasons)
{
	struct map before CLEANUP(map_release) = MAP_INIT;
	struct arena arena CLEANUP(arena_release) = { 0 };
	struct buf key CLEANUP(buf_release) = BUF_INIT;
	struct codec_in old_in = codec_in(old_list, old_len), new_in = codec_in(new_list, new_len);
	struct component component;
	if (codec_u32(&old_in) != codec_u32(&new_in)) {
		say(ret_reasons, "the record is of another version of mlmake");
		return;
	}
	while (next_component(&old_in, &component)) {
		struct component *kept = arena_alloc(&arena, sizeof(*kept));
		*kept = component;
		map_key(&key, &component);
		map_set(&before, key.data, kept);
	}
	while (next_component(&new_in, &component)) {
		map_key(&key, &component);
		struct map_entry *entry = map_has(&before, key.data) ? map_entry(&before, key.data) : NULL;
		if (!entry)
			say_one_sided(ret_reasons, &component, true);
		else if (entry->value && !same_value(entry->value, &component))
			say_changed(ret_reasons, entry->value, &component);
		if (entry)
			entry->value = NULL;
	}
	for (size_t i = 0; i < before.len; i++)
		if (before.entries[i].value)
			say_one_sided(ret_reasons, before.entries[i].value, false);
	if (ret_reasons->len == 0 && (old_len != new_len || memcmp(old_list, new_list, old_len) != 0))
		say(ret_reasons, "the order of inputs changed");
}

const char *components_unlisted(const void *list, size_t len, enum component_kind kind, const char *const *names, size_t count)
{
	struct map listed CLEANUP(map_release) = MAP_INIT;
	struct codec_in in = codec_in(list, len);
	struct component component;
	codec_u32(&in);
	while (next_component(&in, &component))
		if (component.kind == kind)
			map_set(&listed, component.name, NULL);
	for (size_t i = 0; i < count; i++)
		if (!map_has(&listed, names[i]))
			return names[i];
	return NULL;
}
