#include "engine/watching.h"

#include "base/path.h"
#include "base/text.h"
#include "base/watch.h"
#include "formats/ignore.h"
#include "graph/tree.h"

#include <stdlib.h>
#include <string.h>

struct watching {
	struct watch *watch;
	char *root;
	const struct project *project; /* NULL: could not be loaded */
	struct plan plan;      /* its arrays are the caller's */
	struct tree *tree;     /* of one follow */
	struct map changed;    /* paths since the last take */
	struct strlist peeked;
	size_t peeked_len;     /* so many of changed were peeked at */
	bool config_changed;
	bool config_peeked;
	bool overflow;
	struct err err;        /* a directory that came could not be watched */
};

int watching_new(struct watching **ret, struct err *err)
{
	struct watch *watch;
	if (watch_new(&watch, err) < 0)
		return -1;
	*ret = mem_alloc(sizeof(**ret));
	(*ret)->watch = watch;
	return 0;
}

void watching_free(struct watching *watching)
{
	if (!watching)
		return;
	watch_free(watching->watch);
	map_release(&watching->changed);
	strlist_release(&watching->peeked);
	err_release(&watching->err);
	free(watching->root);
	free(watching);
}

int watching_fd(const struct watching *watching)
{
	return watch_fd(watching->watch);
}

/* Which directories. */

/* rel is normalised; so must be what the paths of events begin with. */
static int add_dir(struct watching *w, const char *rel, bool *ret_added, struct err *err)
{
	OWNED char *path = text_eq(rel, ".") ? mem_strdup(w->root) : path_joined(w->root, rel);
	return watch_add(w->watch, path, ret_added, err);
}

/* The directory that holds rel, or the nearest one above it that there is. */
static int add_parent(struct watching *w, const char *rel, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	OWNED char *at = mem_strdup(rel);
	for (;;) {
		bool added;
		buf_reset(&dir);
		path_dir(&dir, at);
		if (add_dir(w, dir.data, &added, err) < 0)
			return -1;
		if (added || text_eq(dir.data, "."))
			return 0;
		free(at);
		at = mem_strdup(dir.data);
	}
}

/* node and the directories below it in which glob (NULL: anything) may match. */
static int add_below(struct watching *w, struct tree_node *node, const char *glob, bool with_ignored, struct err *err)
{
	if (!node->is_dir)
		return 0;
	if (add_dir(w, *node->path ? node->path : ".", NULL, err) < 0 || tree_list(w->tree, node, err) < 0)
		return -1;
	for (size_t i = 0; i < node->in->len; i++) {
		struct tree_node *child = node->in->at[i];
		if (!child->is_dir || (child->ignored && !with_ignored) || (glob && !glob_may_match_below(glob, child->path)))
			continue;
		if (add_below(w, child, glob, with_ignored, err) < 0)
			return -1;
	}
	return 0;
}

static int add_input(struct watching *w, const struct input_pattern *input, struct err *err)
{
	struct tree_node *node;
	OWNED char *dir = input->named ? mem_strdup(input->glob) : mem_strndup(input->glob, glob_literal_dir(input->glob));
	if (tree_find(w->tree, *dir ? dir : ".", &node, err) < 0 || (*dir && add_parent(w, dir, err) < 0))
		return -1;
	return node ? add_below(w, node, input->named ? NULL : input->glob, node->ignored, err) : 0;
}

static int add_plan(struct watching *w, struct err *err)
{
	struct map seen CLEANUP(map_release) = MAP_INIT;
	for (size_t i = 0; i < w->plan.len; i++) {
		const struct target *target = &w->project->targets[w->plan.order[i]];
		for (size_t k = 0; k < target->inputs.len; k++)
			if (!target->inputs.at[k].exclude && map_set(&seen, target->inputs.at[k].glob, NULL) &&
			    add_input(w, &target->inputs.at[k], err) < 0)
				return -1;
		for (size_t k = 0; k < target->params.len; k++)
			if (add_parent(w, target->params.at[k].file, err) < 0)
				return -1;
		/* A file that is included. */
		if (!target->inferred && map_set(&seen, target->origin, NULL) && add_parent(w, target->origin, err) < 0)
			return -1;
	}
	return !w->project->config_path || text_starts(w->project->config_path, "../") ? 0 : add_parent(w, w->project->config_path, err);
}

int watching_follow(struct watching *w, const char *root, const struct project *project, const struct plan *plan, struct err *err)
{
	free(w->root);
	w->root = mem_strdup(root);
	w->project = project;
	w->plan = plan ? *plan : (struct plan){ 0 };
	if (w->err.code)
		return err_move(err, &w->err);
	if (add_dir(w, ".", NULL, err) < 0 || add_dir(w, "rules", NULL, err) < 0)
		return -1;
	if (!project)
		return 0;
	w->tree = tree_new(root);
	int failed = add_plan(w, err);
	tree_free(w->tree);
	w->tree = NULL;
	return failed;
}

/* What counts. */

static bool is_config(const struct watching *w, const char *path)
{
	const char *base = path_base(path);
	for (size_t i = 0; w->project && i < w->plan.len; i++)
		if (text_eq(path, w->project->targets[w->plan.order[i]].origin))
			return true;
	if (text_eq(path, w->project && w->project->config_path ? w->project->config_path : "mlmake.yaml") ||
	    (text_starts(path, "rules/") && text_ends(path, ".yaml")) || text_eq(base, ".gitignore"))
		return true;
	return text_ends(base, ".dvc") || text_eq(base, "dvc.yaml") || text_eq(base, "dvc.lock");
}

static bool is_read(const struct watching *w, const char *path, bool is_dir)
{
	if (!w->project || project_maker(w->project, path))
		return false;
	for (size_t i = 0; i < w->plan.len; i++) {
		const struct target *target = &w->project->targets[w->plan.order[i]];
		for (size_t k = 0; k < target->params.len; k++)
			if (text_eq(target->params.at[k].file, path))
				return true;
		if (project_reads(w->project, target, path, is_dir))
			return true;
	}
	return false;
}

static void note(struct watching *w, const char *rel, bool is_dir)
{
	bool config = is_config(w, rel);
	if (!config && !is_read(w, rel, is_dir))
		return;
	w->config_changed = w->config_changed || config;
	map_set(&w->changed, rel, NULL);
}

/* A directory that came: it is followed, and what is in it already counts. */
static void follow_new(struct watching *w, const char *path);

static int on_entry(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct watching *w = ctx;
	struct buf rel CLEANUP(buf_release) = BUF_INIT;
	path_relative(&rel, w->root, entry->path);
	bool is_dir = S_ISDIR(entry->st->st_mode);
	if (is_dir && text_eq(path_base(entry->path), ".git"))
		return 1;
	if (is_dir)
		return watch_add(w->watch, entry->path, NULL, err);
	note(w, rel.data, false);
	return 0;
}

static void follow_new(struct watching *w, const char *path)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	/* Gone again is fine; that the kernel allows no more is told by the next follow. */
	if ((watch_add(w->watch, path, NULL, &err) < 0 || fs_walk(path, on_entry, w, &err) < 0) && err.hint)
		err_move(&w->err, &err);
}

static void on_event(void *ctx, const struct watch_event *event)
{
	struct watching *w = ctx;
	struct buf rel CLEANUP(buf_release) = BUF_INIT;
	path_relative(&rel, w->root, event->path);
	/* Its own state and git's are nobody's input. */
	if (text_eq(rel.data, ".mlmake") || text_eq(rel.data, ".git"))
		return;
	if (event->is_dir && event->came && w->project && is_read(w, rel.data, true))
		follow_new(w, event->path);
	else if (!event->is_dir || !event->came)
		note(w, rel.data, event->is_dir);
}

bool watching_pending(struct watching *w)
{
	if (watch_read(w->watch, on_event, w))
		w->overflow = w->config_changed = true;
	return w->changed.len || w->overflow;
}

void watching_take(struct watching *w, struct strlist *ret_paths, bool *ret_config)
{
	for (size_t i = 0; i < w->changed.len; i++)
		strlist_add(ret_paths, w->changed.entries[i].key);
	strlist_sort(ret_paths);
	*ret_config = w->config_changed;
	map_release(&w->changed);
	w->changed = (struct map)MAP_INIT;
	w->peeked_len = 0;
	w->overflow = w->config_changed = w->config_peeked = false;
}

const struct strlist *watching_peek(struct watching *w, bool *ret_config)
{
	watching_pending(w);
	strlist_release(&w->peeked);
	for (; w->peeked_len < w->changed.len; w->peeked_len++)
		strlist_add(&w->peeked, w->changed.entries[w->peeked_len].key);
	*ret_config = w->config_changed && !w->config_peeked;
	w->config_peeked = w->config_changed;
	return &w->peeked;
}
