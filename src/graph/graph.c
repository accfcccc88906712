/* Edges: who needs whom, who writes what, who makes whose inputs. Linear in targets, outputs and edges. */
#include "graph/internal.h"

#include "base/path.h"
#include "base/text.h"
#include "formats/ignore.h"
#include "graph/schema.h"

#include <string.h>

struct owner_list {
	VEC(const struct output_owner *) owners;
};

struct linker {
	struct config *config;
	struct project *project;
	struct arena *arena;
	struct map below; /* directory -> struct owner_list of the outputs below it */
	struct owner_list all;
	struct map globs;               /* glob -> struct owner_list: targets mostly share their globs */
	VEC(struct edge) edges;         /* of the target at hand */
	uint32_t *seen[EDGE_INPUT + 1]; /* seen[kind][id] is the target at hand + 1 where the edge is there already */
};

int hint_target(const struct project *project, const char *name, struct err *err)
{
	VEC(const char *) names = {0};
	for (size_t i = 0; i < project->target_count; i++)
		vec_push(&names, project->targets[i].name);
	const char *near = text_nearest(name, names.at, names.len);
	vec_release(&names);
	if (near != NULL)
		return err_hint(err, "did you mean '%s'?", near);
	return err_hint(err, "'mlmake list' shows the targets");
}

static int output_conflict(const struct project *project, const struct output_owner *second, const struct output_owner *first, struct err *err)
{
	const struct output *output = second->output;
	if (text_eq(output->path, first->output->path))
		err_set(err, ERR_CONFIG, "targets '%s' and '%s' both write '%s'", first->target->name,
			second->target->name, output->path);
	else
		err_set(err, ERR_CONFIG, "output '%s' of '%s' and output '%s' of '%s' lie in each other",
			first->output->path, first->target->name, output->path, second->target->name);
	const struct span other = project_span(project, &first->output->place, false);
	project_err_at(project, &output->place, err);
	err_note(err, "in target '%s'", second->target->name);
	err_note(err, "the other is at %s:%u:%u", other.file, other.line, other.col);
	return err_hint(
		err,
		"give each target an output of its own, and let the one that reads the other's list it in inputs:");
}

static struct owner_list *list_of(struct map *map, const char *key)
{
	struct map_entry *entry = map_entry(map, key);
	if (entry->value == NULL)
		entry->value = mem_alloc(sizeof(struct owner_list));
	return entry->value;
}

static void list_free(void *value)
{
	struct owner_list *list = value;
	vec_release(&list->owners);
	free(list);
}

/* Cuts path, a copy of "a/b/c", to "a", then to "a/b"; false at the end, when it is whole again. cut begins at 0. */
static bool next_parent(char *path, size_t *cut)
{
	if (*cut > 0)
		path[*cut] = '/';
	const char *slash = strchr(path + *cut + (*cut > 0), '/');
	if (slash == NULL)
		return false;
	*cut = (size_t)(slash - path);
	path[*cut] = 0;
	return true;
}

static int own_outputs(struct linker *l, struct err *err)
{
	struct project *project = l->project;
	for (size_t i = 0; i < project->target_count; i++) {
		const struct target *target = &project->targets[i];
		for (size_t k = 0; k < target->outputs.len; k++) {
			const struct output_owner owner = {target, &target->outputs.at[k]};
			const struct output_owner *other = project_add_owner(project, owner.target, owner.output);
			if (other != NULL)
				return output_conflict(project, &owner, other, err);
		}
	}
	for (size_t i = 0; i < project->internal->owners.len; i++) {
		const struct output_owner *owner = &project->internal->owners.at[i];
		vec_push(&l->all.owners, owner);
		char *parent OWNED = mem_strdup(owner->output->path);
		size_t cut = 0;
		while (next_parent(parent, &cut)) {
			const struct output_owner *above = project_owner(project, parent);
			if (above != NULL && above->target != owner->target)
				return output_conflict(project, owner->target->id > above->target->id ? owner : above,
						       owner->target->id > above->target->id ? above : owner, err);
			vec_push(&list_of(&l->below, parent)->owners, owner);
		}
	}
	return 0;
}

static void add_edge(struct linker *l, const struct target *from, uint32_t to, enum edge_kind kind,
		     const struct place *place, const char *input)
{
	if (l->seen[kind][to] == from->id + 1)
		return;
	l->seen[kind][to] = from->id + 1;
	vec_push(&l->edges, (struct edge){to, kind, *place, input});
}

static void add_input_edge(struct linker *l, const struct target *target, const struct input_pattern *input,
			   const struct output_owner *owner)
{
	if (owner != NULL && owner->target != target && !target_excludes(target, owner->output->path))
		add_edge(l, target, owner->target->id, EDGE_INPUT, &input->place, input->glob);
}

/* An output that a glob may look into: one that is not plainly a file. */
static bool could_be_directory(const char *path)
{
	return strchr(path_base(path), '.') == NULL;
}

static const struct owner_list *owners_for_glob(struct linker *l, const char *glob)
{
	struct owner_list *found = map_get(&l->globs, glob);
	if (found != NULL)
		return found;
	found = list_of(&l->globs, glob);
	char *dir OWNED = mem_strndup(glob, glob_literal_dir(glob));
	const struct owner_list *candidates = *dir ? map_get(&l->below, dir) : &l->all;
	for (size_t i = 0; candidates != NULL && i < candidates->owners.len; i++) {
		const struct output_owner *owner = candidates->owners.at[i];
		const char *path = owner->output->path;
		if (glob_match(glob, path) || (could_be_directory(path) && glob_may_match_below(glob, path)))
			vec_push(&found->owners, owner);
	}
	/* "out/x/" before the first magic: an output "out" or "out/x" holds what matches. */
	char *parent OWNED = *dir ? mem_printf("%s/", dir) : mem_strdup("");
	size_t cut = 0;
	while (next_parent(parent, &cut)) {
		const struct output_owner *owner = project_owner(l->project, parent);
		if (owner != NULL)
			vec_push(&found->owners, owner);
	}
	return found;
}

static int link_named_input(struct linker *l, const struct target *target, const struct input_pattern *input,
			    struct err *err)
{
	const struct output_owner *owner = project_owner(l->project, input->glob);
	if (owner != NULL && owner->target == target) {
		err_set(err, ERR_CONFIG, "'%s' is both input and output of target '%s'", input->glob, target->name);
		project_err_at(l->project, &input->place, err);
		return err_hint(err, "remove it from inputs:, or write to another file");
	}
	add_input_edge(l, target, input, owner);
	char *parent OWNED = mem_strdup(input->glob);
	size_t cut = 0;
	while (next_parent(parent, &cut))
		add_input_edge(l, target, input, project_owner(l->project, parent));
	const struct owner_list *below = text_eq(input->glob, ".") ? &l->all : map_get(&l->below, input->glob);
	for (size_t i = 0; below != NULL && i < below->owners.len; i++)
		add_input_edge(l, target, input, below->owners.at[i]);
	return 0;
}

static int link_inputs(struct linker *l, const struct target *target, struct err *err)
{
	for (size_t i = 0; i < target->inputs.len; i++) {
		const struct input_pattern *input = &target->inputs.at[i];
		if (input->exclude)
			continue;
		if (input->named) {
			if (link_named_input(l, target, input, err) < 0)
				return -1;
			continue;
		}
		/* What a rule infers is wide ("**"): it reads what is there, and does not pull in who makes it. */
		if (target->inferred)
			continue;
		const struct owner_list *owners = owners_for_glob(l, input->glob);
		for (size_t k = 0; k < owners->owners.len; k++)
			add_input_edge(l, target, input, owners->owners.at[k]);
	}
	return 0;
}

static int link_names(struct linker *l, const struct target *target, const char *key, enum edge_kind kind,
		      struct err *err)
{
	struct decl *decl = &l->config->decls.at[target->id];
	const struct yaml_node *node = schema_get(decl->body, key);
	size_t count = node == NULL ? 0 : node->kind == YAML_SEQ ? node->len : 1;
	for (size_t i = 0; i < count; i++) {
		const struct yaml_node *item = node->kind == YAML_SEQ ? node->items[i] : node;
		const char *name;
		if (vars_expand(l->config, decl, item, &name, err) < 0)
			return -1;
		size_t needed = config_find(l->config, decl->space, name);
		if (needed == 0) {
			yaml_err(err, item, "unknown target '%s'", name);
			return hint_target(l->project, name, err);
		}
		const struct place place = config_place(l->config, item);
		add_edge(l, target, (uint32_t)(needed - 1), kind, &place, NULL);
	}
	return 0;
}

static void link_instances(struct linker *l, const struct target *group)
{
	const struct decl *decl = &l->config->decls.at[group->id];
	for (uint32_t i = 0; i < decl->instance_count; i++)
		add_edge(l, group, decl->first_instance + i, EDGE_NEEDS, &group->place, NULL);
}

/* What this target's needs put in front of its PATH. Only of those that it names: their results are in its key. */
static void inherit_path(struct linker *l, struct target *target)
{
	size_t room = 0;
	for (size_t i = 0; i < target->needs.len; i++)
		room += l->project->targets[target->needs.at[i]].settings->path.len;
	if (!room)
		return;
	struct string_list *front = &target->path_front;
	front->at = arena_alloc(l->arena, room * sizeof(*front->at));
	for (size_t i = 0; i < target->needs.len; i++) {
		const struct string_list *path = &l->project->targets[target->needs.at[i]].settings->path;
		for (size_t k = 0; k < path->len; k++)
			front->at[front->len++] = path->at[k];
	}
}

static int link_target(struct linker *l, struct target *target, struct err *err)
{
	const struct decl *decl = &l->config->decls.at[target->id];
	l->edges.len = 0;
	if (decl->is_group)
		link_instances(l, target);
	else if (link_names(l, target, "needs", EDGE_NEEDS, err) < 0 ||
	    link_names(l, target, "after", EDGE_AFTER, err) < 0 || link_inputs(l, target, err) < 0)
		return err_note(err, "in target '%s'", target->name);
	/* A value that names another's output depends on it, by its inputs if they say so already. */
	for (size_t i = 0; i < decl->refs.len; i++)
		if (l->seen[EDGE_INPUT][decl->refs.at[i].index] != target->id + 1)
			add_edge(l, target, decl->refs.at[i].index, EDGE_NEEDS, &decl->refs.at[i].place, NULL);

	struct edge_list *list = &l->project->internal->edges[target->id];
	list->len = l->edges.len;
	if (list->len > 0) {
		list->at = arena_alloc(l->arena, list->len * sizeof(*list->at));
		memcpy(list->at, l->edges.at, list->len * sizeof(*list->at));
	}
	return 0;
}

static void take_ids(struct project *project, const struct edge_list *edges, enum edge_kind kind, uint32_t **ret_at, size_t *ret_len)
{
	size_t count = 0;
	for (size_t i = 0; i < edges->len; i++)
		count += edges->at[i].kind == kind;
	*ret_len = 0;
	if (count == 0)
		return;
	*ret_at = arena_alloc(&project->arena, count * sizeof(**ret_at));
	for (size_t i = 0; i < edges->len; i++)
		if (edges->at[i].kind == kind)
			(*ret_at)[(*ret_len)++] = edges->at[i].to;
}

/* Fills used_by in two passes over the edges: count, then place. */
static void link_back(struct project *project)
{
	uint32_t *seen OWNED = mem_alloc((project->target_count + 1) * sizeof(*seen));
	for (int pass = 0; pass < 2; pass++) {
		memset(seen, 0, project->target_count * sizeof(*seen));
		for (size_t i = 0; i < project->target_count; i++) {
			const struct edge_list *list = &project->internal->edges[i];
			for (size_t k = 0; k < list->len; k++) {
				struct target *used = &project->targets[list->at[k].to];
				if (seen[used->id] == i + 1)
					continue;
				seen[used->id] = (uint32_t)i + 1;
				if (pass == 1)
					used->used_by.at[used->used_by.len] = (uint32_t)i;
				used->used_by.len++;
			}
		}
		for (size_t i = 0; pass == 0 && i < project->target_count; i++) {
			struct target *target = &project->targets[i];
			if (target->used_by.len > 0)
				target->used_by.at = arena_alloc(&project->arena, target->used_by.len * sizeof(*target->used_by.at));
			target->used_by.len = 0;
		}
	}
}

void graph_take_edges(struct project *project)
{
	for (size_t i = 0; i < project->target_count; i++) {
		struct target *target = &project->targets[i];
		const struct edge_list *edges = &project->internal->edges[i];
		take_ids(project, edges, EDGE_NEEDS, &target->needs.at, &target->needs.len);
		take_ids(project, edges, EDGE_AFTER, &target->after.at, &target->after.len);
		take_ids(project, edges, EDGE_INPUT, &target->makes_inputs.at, &target->makes_inputs.len);
	}
	link_back(project);
}

static int link_all(struct linker *l, struct err *err)
{
	if (own_outputs(l, err) < 0)
		return -1;
	for (size_t i = 0; i < l->project->target_count; i++)
		if (link_target(l, &l->project->targets[i], err) < 0)
			return -1;
	graph_take_edges(l->project);
	for (size_t i = 0; i < l->project->target_count; i++)
		inherit_path(l, &l->project->targets[i]);
	return graph_check_cycles(l->project, err);
}

int graph_link(struct config *config, struct err *err)
{
	struct project *project = config->project;
	struct linker l = {.config = config, .project = project, .arena = &project->arena};
	project->internal->edges =
		arena_alloc(&project->arena, (project->target_count + 1) * sizeof(*project->internal->edges));
	for (size_t kind = 0; kind < ARRAY_LEN(l.seen); kind++)
		l.seen[kind] = mem_alloc((project->target_count + 1) * sizeof(*l.seen[kind]));
	int result = link_all(&l, err);
	for (size_t kind = 0; kind < ARRAY_LEN(l.seen); kind++)
		free(l.seen[kind]);
	vec_release(&l.edges);
	vec_release(&l.all.owners);
	map_release_values(&l.below, list_free);
	map_release_values(&l.globs, list_free);
	return result;
}
