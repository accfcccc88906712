/*
 * The graph as bytes, so that a run whose configuration did not change need not read it again (store/snapshot.h says when it did not).
 *
 * Format, by store/codec.h: u32 GRAPH_VERSION, bytes strings, then numbers of 1 to 5 bytes (seven bits each, the lowest first): those of
 * the project, of each target and of its edges, in the order of the functions below. A string is its offset in strings + 1; 0 is
 * NULL. What is read is not believed: offsets, ids and counts are checked, and anything that does not fit is no graph.
 */
#include "graph/internal.h"

#include "store/codec.h"

#include <string.h>

#define GRAPH_VERSION 4u

/* Whoever adds to these has to put it, get it, count the version up, and let tests/unit/graph/test_saved.c see it. */
_Static_assert(sizeof(void *) != 8 || sizeof(struct target) == 224, "saved.c knows every member of a target");
_Static_assert(sizeof(void *) != 8 || sizeof(struct target_settings) == 192, "saved.c knows every member of its settings");
_Static_assert(sizeof(void *) != 8 || sizeof(struct project) == 176, "saved.c knows every member of a project");

enum {
	IS_PRIVATE = 1, IS_ALWAYS = 2, IS_PERSIST = 4, IS_INTERACTIVE = 8, IS_INFERRED = 16, IS_ALIAS = 32,
	HAS_MORE = 64, /* params, or a path in front */
};
enum { INPUT_EXCLUDE = 1, INPUT_NAMED = 2, OUTPUT_TRACK = 1, OUTPUT_METRICS = 2 };

/* Writing. */

struct writer {
	struct buf strings, numbers;
	VEC(uint32_t) offsets;
	struct index index; /* of strings, numbers in offsets */
	VEC(const struct target_settings *) settings; /* each that was put */
};

static const char *written_at(const void *ctx, uint32_t number)
{
	const struct writer *w = ctx;
	return w->strings.data + w->offsets.at[number];
}

static void put(struct writer *w, uint64_t number)
{
	for (; number >= 0x80; number >>= 7)
		buf_addch(&w->numbers, (char)(number | 0x80));
	buf_addch(&w->numbers, (char)number);
}

static void put_str(struct writer *w, const char *text)
{
	if (text == NULL) {
		put(w, 0);
		return;
	}
	size_t len = strlen(text);
	uint32_t found = index_find(&w->index, text, len);
	if (found == INDEX_NONE) {
		vec_push(&w->offsets, (uint32_t)w->strings.len);
		buf_add(&w->strings, text, len + 1);
		found = (uint32_t)w->offsets.len - 1;
		index_add(&w->index, found);
	}
	put(w, (uint64_t)w->offsets.at[found] + 1);
}

static void put_place(struct writer *w, const struct place *place)
{
	put(w, place->line);
	put(w, place->col);
	put(w, place->len);
	put(w, place->source);
}

static void put_list(struct writer *w, const struct string_list *list)
{
	put(w, list->len);
	for (size_t i = 0; i < list->len; i++)
		put_str(w, list->at[i]);
}

static void put_env(struct writer *w, const struct env_list *list)
{
	put(w, list->len);
	for (size_t i = 0; i < list->len; i++) {
		put_str(w, list->at[i].name);
		put_str(w, list->at[i].value);
	}
}

static void put_inputs(struct writer *w, const struct target *target)
{
	put(w, target->inputs.len);
	for (size_t i = 0; i < target->inputs.len; i++) {
		const struct input_pattern *input = &target->inputs.at[i];
		put_str(w, input->glob);
		put(w, (input->exclude ? INPUT_EXCLUDE : 0) | (input->named ? INPUT_NAMED : 0));
		put_place(w, &input->place);
	}
	put(w, target->outputs.len);
	for (size_t i = 0; i < target->outputs.len; i++) {
		const struct output *output = &target->outputs.at[i];
		put_str(w, output->path);
		put(w, (output->track ? OUTPUT_TRACK : 0) | (output->metrics ? OUTPUT_METRICS : 0));
		put_place(w, &output->place);
	}
}

static void put_params(struct writer *w, const struct target *target)
{
	put(w, target->params.len);
	for (size_t i = 0; i < target->params.len; i++) {
		put_str(w, target->params.at[i].file);
		put_list(w, &target->params.at[i].keys);
		put_place(w, &target->params.at[i].place);
	}
	put_list(w, &target->path_front);
}

static void put_tools(struct writer *w, const struct target_settings *settings)
{
	put(w, settings->tools.len);
	for (size_t i = 0; i < settings->tools.len; i++) {
		put_str(w, settings->tools.at[i].name);
		put_list(w, &settings->tools.at[i].version_argv);
	}
	put(w, settings->success_codes.len);
	for (size_t i = 0; i < settings->success_codes.len; i++)
		put(w, (uint32_t)settings->success_codes.at[i]);
	put(w, settings->exit_meanings.len);
	for (size_t i = 0; i < settings->exit_meanings.len; i++) {
		put(w, (uint32_t)settings->exit_meanings.at[i].code);
		put(w, settings->exit_meanings.at[i].is_bit);
		put_str(w, settings->exit_meanings.at[i].text);
	}
}

static void put_ci(struct writer *w, const struct ci_options *ci)
{
	put(w, ci != NULL);
	if (ci == NULL)
		return;
	put_str(w, ci->runner);
	put_str(w, ci->environment);
	put_env(w, &ci->permissions);
	put(w, ci->skip);
}

/* How far back they were put already; 0 and all of them where they were not. */
static void put_settings(struct writer *w, const struct project *project, const struct target_settings *settings)
{
	size_t count = w->settings.len;
	for (size_t i = count; i > 0 && count - i < SETTINGS_NEAR; i--)
		if (w->settings.at[i - 1] == settings) {
			put(w, count - i + 1);
			return;
		}
	vec_push(&w->settings, settings);
	put(w, 0);
	put_list(w, &settings->shell);
	put_env(w, &settings->env);
	put_env(w, &settings->pass_env);
	put_env(w, &settings->secrets);
	put_tools(w, settings);
	put_list(w, &settings->path);
	put_str(w, settings->stamp);
	put(w, settings->timeout_ms);
	put(w, settings->backoff_ms);
	put(w, settings->resources.cpus);
	put(w, settings->resources.gpus);
	put(w, settings->resources.memory);
	put(w, settings->pool ? (uint64_t)(settings->pool - project->pools) + 1 : 0);
	put_ci(w, settings->ci);
	put(w, settings->retries);
}

static void put_target(struct writer *w, const struct project *project, size_t id)
{
	const struct target *target = &project->targets[id];
	bool more = target->params.len || target->path_front.len;
	put(w, (target->is_private ? IS_PRIVATE : 0u) | (target->always ? IS_ALWAYS : 0u) | (target->persist ? IS_PERSIST : 0u) |
		       (target->interactive ? IS_INTERACTIVE : 0u) | (target->inferred ? IS_INFERRED : 0u) |
		       (target->is_alias ? IS_ALIAS : 0u) | (more ? HAS_MORE : 0u));
	put(w, target->hook);
	put(w, target->cache);
	put_str(w, target->name);
	put_str(w, target->desc);
	put_str(w, target->origin);
	put_str(w, target->dir);
	put_place(w, &target->place);
	put_settings(w, project, target->settings);
	put_list(w, &target->run);
	put_inputs(w, target);
	if (more)
		put_params(w, target);
}

static void put_edges(struct writer *w, const struct project *project, size_t id)
{
	const struct edge_list *edges = &project->internal->edges[id];
	put(w, edges->len);
	for (size_t i = 0; i < edges->len; i++) {
		put(w, edges->at[i].to);
		put(w, edges->at[i].kind);
		put_place(w, &edges->at[i].place);
		put_str(w, edges->at[i].input);
	}
}

static void put_fault(struct writer *w, const char *target, const struct err *fault)
{
	put_str(w, target);
	put(w, (uint64_t)fault->code);
	put_str(w, fault->message);
	put_str(w, fault->hint);
	put_str(w, fault->span.file);
	put_str(w, fault->span.text);
	put(w, fault->span.line);
	put(w, fault->span.col);
	put(w, fault->span.len);
}

static void put_project(struct writer *w, const struct project *project)
{
	const struct project_internal *internal = project->internal;
	put_str(w, project->config_path);
	put_str(w, project->default_target);
	put_str(w, project->ci.install);
	put_str(w, project->ci.schedule);
	put_str(w, project->ci.path);
	put_list(w, &project->ci.targets);
	put_list(w, &project->ci.branches);
	put_str(w, project->cache.remote);
	put(w, project->cache.push);
	put(w, project->cache.timeout_ms);
	put(w, internal->sources.len);
	for (size_t i = 0; i < internal->sources.len; i++) {
		put_str(w, internal->sources.at[i].file);
		put(w, internal->sources.at[i].built_in);
	}
	put(w, project->pool_count);
	for (size_t i = 0; i < project->pool_count; i++) {
		put_str(w, project->pools[i].name);
		put(w, project->pools[i].limit);
	}
	put(w, project->rule_count);
	for (size_t i = 0; i < project->rule_count; i++) {
		const struct matched_rule *rule = &project->rules[i];
		put_str(w, rule->name);
		put_str(w, rule->why);
		put_str(w, rule->desc);
		put_str(w, rule->origin);
		put_list(w, &rule->targets);
	}
	put(w, internal->faults.len);
	for (size_t i = 0; i < internal->faults.len; i++)
		put_fault(w, internal->faults.entries[i].key, internal->faults.entries[i].value);
}

void graph_save(const struct project *project, struct buf *out)
{
	struct writer w = { .strings = BUF_INIT, .numbers = BUF_INIT, .index = INDEX_INIT(written_at, &w) };
	put_project(&w, project);
	put(&w, project->target_count);
	for (size_t i = 0; i < project->target_count; i++)
		put_target(&w, project, i);
	for (size_t i = 0; i < project->target_count; i++)
		put_edges(&w, project, i);
	codec_add_u32(out, GRAPH_VERSION);
	codec_add_bytes(out, w.strings.data, w.strings.len);
	buf_add(out, w.numbers.data, w.numbers.len);
	buf_release(&w.strings);
	buf_release(&w.numbers);
	vec_release(&w.offsets);
	vec_release(&w.settings);
	index_release(&w.index);
}

/* Reading. After the first thing that does not fit every number is 0. */

struct reader {
	struct project *project;
	struct arena *arena;
	const char *strings;
	size_t strings_len; /* the NUL behind them left out */
	const uint8_t *at, *end;
	VEC(const struct target_settings *) settings; /* each that was got */
	bool failed;
};

static uint64_t fail(struct reader *r)
{
	r->failed = true;
	r->at = r->end;
	return 0;
}

static uint64_t get(struct reader *r)
{
	uint64_t number = 0;
	for (unsigned shift = 0; r->at < r->end && shift < 64; shift += 7) {
		uint8_t byte = *r->at++;
		number |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return number;
	}
	return fail(r);
}

/* A number below limit. */
static uint32_t get_below(struct reader *r, uint64_t limit)
{
	uint64_t number = get(r);
	return (uint32_t)(number < limit ? number : fail(r));
}

/* Of things that take so many bytes each, at the least: what is allocated is in proportion to what is there. */
static size_t get_count(struct reader *r, size_t least)
{
	return get_below(r, (uint64_t)(r->end - r->at) / least + 1);
}

static const char *get_opt(struct reader *r)
{
	uint32_t offset = get_below(r, (uint64_t)r->strings_len + 1);
	return offset ? r->strings + offset - 1 : NULL;
}

static const char *get_str(struct reader *r)
{
	const char *text = get_opt(r);
	if (text != NULL)
		return text;
	fail(r);
	return "";
}

static void *get_array(struct reader *r, size_t count, size_t each)
{
	return count == 0 ? NULL : arena_alloc(r->arena, count * each);
}

static struct place get_place(struct reader *r)
{
	struct place place = { .line = get_below(r, UINT32_MAX) };
	place.col = get_below(r, UINT32_MAX);
	place.len = (uint16_t)get_below(r, UINT16_MAX + 1);
	place.source = (uint16_t)get_below(r, UINT16_MAX + 1);
	return place;
}

static struct string_list get_list(struct reader *r)
{
	const size_t len = get_count(r, 1);
	if (len == 0)
		return (struct string_list){ 0 };
	const char **at = arena_alloc(r->arena, len * sizeof(*at));
	for (size_t i = 0; i < len; i++)
		at[i] = get_str(r);
	return (struct string_list){ at, len };
}

static struct env_list get_env(struct reader *r)
{
	struct env_list list = { .len = get_count(r, 1) };
	list.at = get_array(r, list.len, sizeof(*list.at));
	for (size_t i = 0; i < list.len; i++) {
		list.at[i].name = get_str(r);
		list.at[i].value = get_opt(r);
	}
	return list;
}

static void get_inputs(struct reader *r, struct target *target)
{
	target->inputs.len = get_count(r, 6);
	target->inputs.at = get_array(r, target->inputs.len, sizeof(*target->inputs.at));
	for (size_t i = 0; i < target->inputs.len; i++) {
		struct input_pattern *input = &target->inputs.at[i];
		input->glob = get_str(r);
		uint32_t flags = get_below(r, 4);
		input->exclude = flags & INPUT_EXCLUDE;
		input->named = flags & INPUT_NAMED;
		input->place = get_place(r);
	}
	target->outputs.len = get_count(r, 6);
	target->outputs.at = get_array(r, target->outputs.len, sizeof(*target->outputs.at));
	for (size_t i = 0; i < target->outputs.len; i++) {
		struct output *output = &target->outputs.at[i];
		output->path = get_str(r);
		uint32_t flags = get_below(r, 4);
		output->track = flags & OUTPUT_TRACK;
		output->metrics = flags & OUTPUT_METRICS;
		output->place = get_place(r);
	}
}

static void get_params(struct reader *r, struct target *target)
{
	target->params.len = get_count(r, 6);
	target->params.at = get_array(r, target->params.len, sizeof(*target->params.at));
	for (size_t i = 0; i < target->params.len; i++) {
		target->params.at[i].file = get_str(r);
		target->params.at[i].keys = get_list(r);
		target->params.at[i].place = get_place(r);
	}
	target->path_front = get_list(r);
}

static void get_tools(struct reader *r, struct target_settings *settings)
{
	settings->tools.len = get_count(r, 2);
	settings->tools.at = get_array(r, settings->tools.len, sizeof(*settings->tools.at));
	for (size_t i = 0; i < settings->tools.len; i++) {
		settings->tools.at[i].name = get_str(r);
		settings->tools.at[i].version_argv = get_list(r);
	}
	settings->success_codes.len = get_count(r, 1);
	settings->success_codes.at = get_array(r, settings->success_codes.len, sizeof(*settings->success_codes.at));
	for (size_t i = 0; i < settings->success_codes.len; i++)
		settings->success_codes.at[i] = (int)get_below(r, INT32_MAX);
	settings->exit_meanings.len = get_count(r, 3);
	settings->exit_meanings.at = get_array(r, settings->exit_meanings.len, sizeof(*settings->exit_meanings.at));
	for (size_t i = 0; i < settings->exit_meanings.len; i++) {
		settings->exit_meanings.at[i].code = (int)get_below(r, INT32_MAX);
		settings->exit_meanings.at[i].is_bit = get_below(r, 2);
		settings->exit_meanings.at[i].text = get_str(r);
	}
}

static const struct ci_options *get_ci(struct reader *r)
{
	if (!get_below(r, 2))
		return NULL;
	struct ci_options *ci = arena_alloc(r->arena, sizeof(*ci));
	ci->runner = get_opt(r);
	ci->environment = get_opt(r);
	ci->permissions = get_env(r);
	ci->skip = get_below(r, 2);
	return ci;
}

static const struct target_settings *get_settings(struct reader *r)
{
	size_t count = r->settings.len;
	uint32_t back = get_below(r, (count < SETTINGS_NEAR ? count : SETTINGS_NEAR) + 1);
	if (back)
		return r->settings.at[count - back];
	struct target_settings *settings = arena_alloc(r->arena, sizeof(*settings));
	vec_push(&r->settings, settings);
	settings->shell = get_list(r);
	settings->env = get_env(r);
	settings->pass_env = get_env(r);
	settings->secrets = get_env(r);
	get_tools(r, settings);
	settings->path = get_list(r);
	settings->stamp = get_opt(r);
	settings->timeout_ms = get(r);
	settings->backoff_ms = get(r);
	settings->resources.cpus = get_below(r, UINT32_MAX);
	settings->resources.gpus = get_below(r, UINT32_MAX);
	settings->resources.memory = get(r);
	uint32_t pool = get_below(r, r->project->pool_count + 1);
	settings->pool = pool ? &r->project->pools[pool - 1] : NULL;
	settings->ci = get_ci(r);
	settings->retries = get(r);
	return settings;
}

static void get_target(struct reader *r, size_t id)
{
	struct target *target = &r->project->targets[id];
	uint32_t flags = get_below(r, 2 * HAS_MORE);
	target->id = (uint32_t)id;
	target->is_private = flags & IS_PRIVATE;
	target->always = flags & IS_ALWAYS;
	target->persist = flags & IS_PERSIST;
	target->interactive = flags & IS_INTERACTIVE;
	target->inferred = flags & IS_INFERRED;
	target->is_alias = flags & IS_ALIAS;
	target->hook = (enum hook_mode)get_below(r, HOOK_OFF + 1);
	target->cache = (enum cache_mode)get_below(r, CACHE_OFF + 1);
	target->name = get_str(r);
	target->desc = get_str(r);
	target->origin = get_opt(r);
	target->dir = get_str(r);
	target->place = get_place(r);
	target->settings = get_settings(r);
	target->run = get_list(r);
	get_inputs(r, target);
	if (flags & HAS_MORE)
		get_params(r, target);
}

static void get_edges(struct reader *r, size_t id)
{
	struct edge_list *edges = &r->project->internal->edges[id];
	edges->len = get_count(r, 7);
	edges->at = get_array(r, edges->len, sizeof(*edges->at));
	for (size_t i = 0; i < edges->len; i++) {
		edges->at[i].to = get_below(r, r->project->target_count);
		edges->at[i].kind = (enum edge_kind)get_below(r, EDGE_INPUT + 1);
		edges->at[i].place = get_place(r);
		edges->at[i].input = edges->at[i].kind == EDGE_INPUT ? get_str(r) : get_opt(r);
	}
}

static void get_fault(struct reader *r)
{
	struct map_entry *entry = map_entry(&r->project->internal->faults, get_str(r));
	if (entry->value != NULL) {
		fail(r);
		return;
	}
	struct err *fault = entry->value = mem_alloc(sizeof(*fault));
	struct span span = { .file = NULL };
	enum err_code code = (enum err_code)get_below(r, ERR_SIGTERM + 1);
	err_set(fault, code, "%s", get_str(r));
	err_hint(fault, "%s", get_str(r));
	span.file = get_opt(r);
	span.text = get_opt(r);
	span.line = get_below(r, UINT32_MAX);
	span.col = get_below(r, UINT32_MAX);
	span.len = get_below(r, UINT32_MAX);
	if (span.file != NULL)
		err_at(fault, &span);
	err_note(fault, "in target '%s'", entry->key);
}

static void get_sources(struct reader *r)
{
	struct project_internal *internal = r->project->internal;
	for (size_t count = get_count(r, 1); count > 0; count--) {
		struct source_file source = { .file = get_str(r) };
		source.built_in = get_below(r, 2);
		buf_init(&source.text);
		vec_push(&internal->sources, source);
	}
}

static void get_project(struct reader *r)
{
	struct project *project = r->project;
	project->config_path = get_opt(r);
	project->default_target = get_opt(r);
	project->ci.install = get_opt(r);
	project->ci.schedule = get_opt(r);
	project->ci.path = get_opt(r);
	project->ci.targets = get_list(r);
	project->ci.branches = get_list(r);
	project->cache.remote = get_opt(r);
	project->cache.push = (enum cache_push)get_below(r, CACHE_PUSH_ALWAYS + 1);
	project->cache.timeout_ms = get(r);
	get_sources(r);
	project->pool_count = get_count(r, 2);
	project->pools = get_array(r, project->pool_count, sizeof(*project->pools));
	for (size_t i = 0; i < project->pool_count; i++) {
		project->pools[i].name = get_str(r);
		project->pools[i].limit = get_below(r, UINT32_MAX);
	}
	project->rule_count = get_count(r, 5);
	project->rules = get_array(r, project->rule_count, sizeof(*project->rules));
	for (size_t i = 0; i < project->rule_count; i++) {
		struct matched_rule *rule = &project->rules[i];
		rule->name = get_str(r);
		rule->why = get_opt(r);
		rule->desc = get_str(r);
		rule->origin = get_str(r);
		rule->targets = get_list(r);
	}
	for (size_t count = get_count(r, 1); count > 0 && !r->failed; count--)
		get_fault(r);
}

static bool finish(struct reader *r)
{
	struct project *project = r->project;
	if (r->failed || r->at != r->end)
		return false;
	graph_take_edges(project);
	project_index_targets(project);
	if (project->internal->names.len != project->target_count)
		return false;
	for (size_t i = 0; i < project->target_count; i++)
		for (size_t k = 0; k < project->targets[i].outputs.len; k++)
			if (project_add_owner(project, &project->targets[i], &project->targets[i].outputs.at[k]) != NULL)
				return false;
	return true;
}

bool graph_restore(struct project *project, const void *bytes, size_t len)
{
	struct codec_in in = codec_in(bytes, len);
	uint32_t version = codec_u32(&in);
	struct reader r = { .project = project, .arena = &project->arena };
	r.strings = codec_bytes(&in, &r.strings_len);
	if (!codec_ok(&in) || version != GRAPH_VERSION)
		return false;
	r.at = in.at;
	r.end = in.end;
	get_project(&r);
	project->target_count = get_count(&r, 16);
	project->targets = get_array(&r, project->target_count + 1, sizeof(*project->targets));
	project->internal->edges = get_array(&r, project->target_count + 1, sizeof(*project->internal->edges));
	for (size_t i = 0; i < project->target_count && !r.failed; i++)
		get_target(&r, i);
	for (size_t i = 0; i < project->target_count && !r.failed; i++)
		get_edges(&r, i);
	vec_release(&r.settings);
	return finish(&r);
}
