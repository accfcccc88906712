/* From input patterns to files. */
#include "graph/internal.h"
#include "graph/tree.h"

#include "base/path.h"
#include "base/text.h"
#include "formats/ignore.h"

#include <string.h>

struct project_files {
	const struct project *project;
	struct tree *tree;
	struct tracked_list tracked;
	struct map tracked_at; /* path -> index + 1 */
};

void tracked_list_release(struct tracked_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		free(list->at[i].path);
	vec_release(list);
}

int project_files_reload_tracked(struct project_files *files, struct err *err)
{
	const struct project *project = files->project;
	map_release(&files->tracked_at);
	tracked_list_release(&files->tracked);
	if (project->provider != NULL && project->provider->tracked != NULL &&
	    project->provider->tracked(project->root, &files->tracked, err) < 0)
		return -1;
	for (size_t i = 0; i < files->tracked.len; i++)
		map_set(&files->tracked_at, files->tracked.at[i].path, (void *)(uintptr_t)(i + 1));
	return 0;
}

int project_files_new(const struct project *project, struct project_files **ret, struct err *err)
{
	struct project_files *files = mem_alloc(sizeof(*files));
	files->project = project;
	if (project_files_reload_tracked(files, err) < 0) {
		project_files_free(files);
		return -1;
	}
	files->tree = tree_new(project->root);
	*ret = files;
	return 0;
}

void project_files_free(struct project_files *files)
{
	if (files == NULL)
		return;
	tree_free(files->tree);
	map_release(&files->tracked_at);
	tracked_list_release(&files->tracked);
	free(files);
}

const struct tracked_list *project_files_tracked(const struct project_files *files)
{
	return &files->tracked;
}

void project_files_forget(struct project_files *files, const char *path)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	/* What cannot be looked at now is an error when it is asked for. */
	if (tree_refresh(files->tree, path, &err) < 0)
		err_release(&err);
}

int project_files_pretend(struct project_files *files, const char *path, bool is_dir, struct err *err)
{
	return tree_pretend(files->tree, path, is_dir, err);
}

/* One target's collection. */
struct collector {
	struct project_files *files;
	const struct target *target;
	struct input_files *ret;
	const char *glob; /* NULL: all that is below */
	bool with_ignored;
};

static size_t tracked_index(const struct project_files *files, const char *path)
{
	return files->tracked.len == 0 ? 0 : (size_t)(uintptr_t)map_get(&files->tracked_at, path);
}

static void add_file(struct collector *c, const char *path)
{
	if (!target_excludes(c->target, path))
		vec_push(c->ret, (struct input_file){.path = path});
}

static int add_tracked(struct collector *c, size_t index, struct err *err)
{
	const char *path = c->files->tracked.at[index].path;
	struct tree_node *node;
	if (target_excludes(c->target, path))
		return 0;
	if (tree_find(c->files->tree, path, &node, err) < 0)
		return -1;
	vec_push(c->ret,
		 (struct input_file){
			 .path = path, .tracked = true, .absent = node == NULL, .tracked_index = (uint32_t)index});
	return 0;
}

/* A target's own outputs are none of its inputs, however wide its globs; and what a rule infers leaves out what any
 * target writes, because that changes under its feet. */
static bool is_left_out(const struct collector *c, const char *path)
{
	const struct output_owner *owner = project_owner(c->files->project, path);
	return owner != NULL && (c->target->inferred || owner->target == c->target);
}

static int collect_below(struct collector *c, struct tree_node *node, struct err *err)
{
	if (tracked_index(c->files, node->path) != 0)
		return add_tracked(c, tracked_index(c->files, node->path) - 1, err);
	if (!node->is_dir) {
		if (c->glob == NULL || glob_match(c->glob, node->path))
			add_file(c, node->path);
		return 0;
	}
	if (tree_list(c->files->tree, node, err) < 0)
		return -1;
	for (size_t i = 0; i < node->in->len; i++) {
		struct tree_node *child = node->in->at[i];
		if (child->ignored && !c->with_ignored)
			continue;
		if (child->is_dir && c->glob != NULL && !glob_may_match_below(c->glob, child->path))
			continue;
		if (!is_left_out(c, child->path) && collect_below(c, child, err) < 0)
			return -1;
	}
	return 0;
}

/* The tracked path that path is, or lies below; 0 if there is none, else its index + 1. */
static size_t tracked_above(const struct project_files *files, const char *path)
{
	if (files->tracked.len == 0)
		return 0;
	char *parent OWNED = mem_strdup(path);
	for (;;) {
		size_t index = tracked_index(files, parent);
		char *slash = strrchr(parent, '/');
		if (index != 0 || slash == NULL)
			return index;
		*slash = 0;
	}
}

/* Tracked paths that a walk does not reach: absent, or ignored (as what DVC tracks always is). */
static int collect_tracked_matches(struct collector *c, const char *dir, struct err *err)
{
	for (size_t i = 0; i < c->files->tracked.len; i++) {
		const struct tracked_path *tracked = &c->files->tracked.at[i];
		bool matches = c->glob == NULL
				       ? text_eq(dir, ".") || path_inside(dir, tracked->path)
				       : glob_match(c->glob, tracked->path) ||
						 (tracked->is_dir && glob_may_match_below(c->glob, tracked->path));
		if (matches && add_tracked(c, i, err) < 0)
			return -1;
	}
	return 0;
}

static int collect_glob(struct collector *c, const char *glob, struct err *err)
{
	struct tree_node *node;
	char *dir OWNED = mem_strndup(glob, glob_literal_dir(glob));
	c->glob = glob;
	c->with_ignored = false;
	if (tree_find(c->files->tree, dir, &node, err) < 0)
		return -1;
	/* A directory that git ignores is named where the glob begins in it. */
	if (node != NULL && node->ignored)
		c->with_ignored = true;
	if (node != NULL && tracked_above(c->files, *dir ? dir : ".") == 0 && collect_below(c, node, err) < 0)
		return -1;
	for (size_t i = 0; i < c->target->makes_inputs.len; i++) {
		const struct target *maker = &c->files->project->targets[c->target->makes_inputs.at[i]];
		for (size_t k = 0; k < maker->outputs.len; k++) {
			if (tree_find(c->files->tree, maker->outputs.at[k].path, &node, err) < 0)
				return -1;
			c->with_ignored = true;
			if (node != NULL && node->ignored && collect_below(c, node, err) < 0)
				return -1;
		}
	}
	return collect_tracked_matches(c, dir, err);
}

static bool is_made(const struct collector *c, const char *path)
{
	const struct project *project = c->files->project;
	for (size_t i = 0; i < c->target->makes_inputs.len; i++) {
		const struct target *maker = &project->targets[c->target->makes_inputs.at[i]];
		for (size_t k = 0; k < maker->outputs.len; k++)
			if (path_inside(maker->outputs.at[k].path, path) ||
			    path_inside(path, maker->outputs.at[k].path))
				return true;
	}
	return false;
}

/* Candidates for "did you mean": what lies beside the path, what targets make, what is tracked. */
static int unknown_input(struct collector *c, const struct input_pattern *input, struct err *err)
{
	VEC(const char *) names = {0};
	struct tree_node *dir = NULL;
	struct buf parent CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	const struct project_internal *internal = c->files->project->internal;
	path_dir(&parent, input->glob);
	if (tree_find(c->files->tree, parent.data, &dir, &ignored) == 0 && dir != NULL && dir->is_dir &&
	    tree_list(c->files->tree, dir, &ignored) == 0)
		for (size_t i = 0; i < dir->in->len; i++)
			vec_push(&names, dir->in->at[i]->path);
	for (size_t i = 0; i < internal->owners.len; i++)
		vec_push(&names, internal->owners.at[i].output->path);
	for (size_t i = 0; i < c->files->tracked.len; i++)
		vec_push(&names, c->files->tracked.at[i].path);
	const char *near = text_nearest(input->glob, names.at, names.len);
	vec_release(&names);

	err_set(err, ERR_CONFIG, "unknown input '%s'", input->glob);
	project_err_at(c->files->project, &input->place, err);
	err_note(err, "in target '%s'", c->target->name);
	if (near != NULL)
		return err_hint(err, "did you mean '%s'?", near);
	return err_hint(err, "there is no such file, no target makes it and no .dvc file tracks it");
}

static int collect_named(struct collector *c, const struct input_pattern *input, struct err *err)
{
	struct tree_node *node;
	size_t tracked = tracked_above(c->files, input->glob);
	if (tracked != 0)
		return add_tracked(c, tracked - 1, err);
	if (tree_find(c->files->tree, input->glob, &node, err) < 0)
		return -1;
	c->glob = NULL;
	c->with_ignored = node != NULL && node->ignored;
	size_t before = c->ret->len;
	if (node != NULL && collect_below(c, node, err) < 0)
		return -1;
	if ((node == NULL || node->is_dir) && collect_tracked_matches(c, input->glob, err) < 0)
		return -1;
	if (node == NULL && c->ret->len == before && !is_made(c, input->glob))
		return unknown_input(c, input, err);
	return 0;
}

static int compare_files(const void *a, const void *b)
{
	const struct input_file *x = a, *y = b;
	return strcmp(x->path, y->path);
}

static void drop_duplicates(struct input_files *list)
{
	size_t kept = 0;
	vec_sort(list, compare_files);
	for (size_t i = 0; i < list->len; i++)
		if (kept == 0 || strcmp(list->at[kept - 1].path, list->at[i].path) != 0)
			list->at[kept++] = list->at[i];
	list->len = kept;
}

int project_files_of(struct project_files *files, const struct target *target, struct input_files *ret, struct err *err)
{
	struct collector c = {.files = files, .target = target, .ret = ret};
	*ret = (struct input_files){.at = NULL};
	for (size_t i = 0; i < target->inputs.len; i++) {
		const struct input_pattern *input = &target->inputs.at[i];
		if (input->exclude)
			continue;
		int result = input->named ? collect_named(&c, input, err) : collect_glob(&c, input->glob, err);
		if (result < 0) {
			vec_release(ret);
			return -1;
		}
	}
	drop_duplicates(ret);
	return 0;
}

uint64_t project_files_recheck(struct project_files *files, const struct target *target)
{
	for (size_t i = 0; i < target->inputs.len; i++) {
		const struct input_pattern *input = &target->inputs.at[i];
		char *path OWNED = mem_strndup(input->glob, input->named ? strlen(input->glob) : glob_literal_dir(input->glob));
		bool exact;
		if (input->exclude)
			continue;
		struct tree_node *node = tree_nearest(files->tree, path, &exact);
		if (node->is_dir && (exact || !input->named))
			tree_recheck(files->tree, node);
	}
	return project_files_changes(files);
}

uint64_t project_files_changes(const struct project_files *files)
{
	return tree_changes(files->tree);
}

const struct input_pattern *project_files_unmatched(struct project_files *files, const struct target *target)
{
	for (size_t i = 0; i < target->inputs.len; i++) {
		const struct input_pattern *input = &target->inputs.at[i];
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct input_files found = {.at = NULL};
		struct collector c = {.files = files, .target = target, .ret = &found};
		if (input->named || input->exclude)
			continue;
		bool none = collect_glob(&c, input->glob, &err) == 0 && found.len == 0;
		vec_release(&found);
		if (none)
			return input;
	}
	return NULL;
}
