#include "engine/doubts.h"

#include "base/path.h"
#include "base/text.h"
#include "engine/tools.h"
#include "formats/ignore.h"

#include <stdlib.h>
#include <string.h>

/* So many questions of a target about a file cost less than looking at all targets the long way. */
#define QUESTIONS_MAX ((size_t)1 << 20)

struct doubting {
	const struct project *project;
	const struct plan *plan;
	struct run_doubts *ret;
};

/* Whose meaning goes beyond the targets that name it: what is hidden (.git, .gitignore, .dvc) and what says what DVC tracks. */
static bool means_more(const char *path)
{
	const char *base = path_base(path);
	return path[0] == '.' || strstr(path, "/.") || text_ends(base, ".dvc") || text_eq(base, "dvc.yaml") || text_eq(base, "dvc.lock");
}

/* The path below the root, "." for that; NULL if it is elsewhere. */
static const char *below_root(const struct project *project, const char *path)
{
	size_t len = text_eq(project->root, "/") ? 0 : strlen(project->root);
	if (strncmp(path, project->root, len) != 0 || (path[len] && path[len] != '/'))
		return NULL;
	return path[len] && path[len + 1] ? path + len + 1 : ".";
}

static bool touches(const char *named, const char *path)
{
	return path_inside(named, path) || path_inside(path, named);
}

/* Also a directory above it: what DVC tracks counts as a whole. */
static bool glob_takes(const char *glob, const char *path)
{
	if (glob_match(glob, path))
		return true;
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		OWNED char *above = mem_strndup(path, (size_t)(slash - path));
		if (glob_match(glob, above))
			return true;
	}
	return false;
}

static bool may_read(const struct target *target, const char *path, bool is_dir)
{
	for (size_t i = 0; i < target->inputs.len; i++) {
		const struct input_pattern *input = &target->inputs.at[i];
		if (input->exclude)
			continue;
		if (!input->named) {
			if (glob_takes(input->glob, path) || (is_dir && glob_may_match_below(input->glob, text_eq(path, ".") ? "" : path)))
				return true;
			continue;
		}
		/* Of a file that is named and was there it says nothing that other names beside it changed. One that somebody makes may not have been. */
		if (is_dir ? path_inside(input->glob, path) || (target->makes_inputs.len && path_inside(path, input->glob))
			   : touches(input->glob, path))
			return true;
	}
	for (size_t i = 0; i < target->params.len; i++)
		if (text_eq(target->params.at[i].file, path))
			return true;
	return false;
}

static bool may_write(const struct target *target, const char *path, bool is_dir)
{
	const char *stamp = target->settings->stamp;
	if (stamp && (is_dir ? path_inside(stamp, path) : touches(stamp, path)))
		return true;
	for (size_t i = 0; i < target->outputs.len; i++) {
		const char *output = target->outputs.at[i].path;
		if (is_dir ? path_inside(output, path) : touches(output, path))
			return true;
	}
	return false;
}

static bool is_called(const char *word, const char *base)
{
	return text_eq(path_base(word), base);
}

/* Whether a file of that name may be a program of the target's. */
static bool may_call(const struct target *target, const char *base)
{
	for (size_t i = 0; i < target->settings->shell.len; i++)
		if (is_called(target->settings->shell.at[i], base))
			return true;
	for (size_t i = 0; i < target->settings->tools.len; i++) {
		const struct tool_ref *tool = &target->settings->tools.at[i];
		if (is_called(tool->name, base) || (tool->version_argv.len && is_called(tool->version_argv.at[0], base)))
			return true;
	}
	for (size_t i = 0; i < target->run.len; i++) {
		struct strlist words CLEANUP(strlist_release) = { 0 };
		if (!strstr(target->run.at[i], base))
			continue;
		tools_words(target->run.at[i], &words);
		for (size_t k = 0; k < words.len; k++)
			if (is_called(words.at[k], base))
				return true;
	}
	return false;
}

static void doubt(struct doubting *doubting, const struct target *target)
{
	if (doubting->ret->in_doubt[target->id])
		return;
	doubting->ret->in_doubt[target->id] = true;
	strlist_add(&doubting->ret->names, target->name);
}

static bool follow_change(struct doubting *doubting, const struct snapshot_change *change)
{
	const char *path = below_root(doubting->project, change->path);
	if (!path || (!text_eq(path, ".") && means_more(path)))
		return false;
	for (size_t i = 0; i < doubting->plan->len; i++) {
		const struct target *target = &doubting->project->targets[doubting->plan->order[i]];
		if (may_read(target, path, change->is_dir) || may_write(target, path, change->is_dir) || may_call(target, path_base(path)))
			doubt(doubting, target);
	}
	return true;
}

/* A name that came into a directory, or left it, may be of what DVC tracks. */
static bool tracks_nothing(const struct project *project)
{
	struct tracked_list tracked = { 0 };
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (!project->provider || !project->provider->tracked)
		return true;
	bool none = project->provider->tracked(project->root, &tracked, &ignored) == 0 && tracked.len == 0;
	tracked_list_release(&tracked);
	return none;
}

static bool follow_changes(struct doubting *doubting, const struct snapshot_changes *changes)
{
	bool any_dir = false;
	if (changes->files.len * doubting->plan->len > QUESTIONS_MAX)
		return false;
	for (size_t i = 0; i < changes->files.len; i++) {
		any_dir = any_dir || changes->files.at[i].is_dir;
		if (!follow_change(doubting, &changes->files.at[i]))
			return false;
	}
	for (size_t i = 0; i < changes->doubted.len; i++) {
		const struct target *target = project_find(doubting->project, changes->doubted.at[i]);
		if (!target)
			return false;
		doubt(doubting, target);
	}
	return !any_dir || tracks_nothing(doubting->project);
}

/* The plan is in topological order: one pass is enough. */
static void follow_users(struct doubting *doubting)
{
	for (size_t i = 0; i < doubting->plan->len; i++) {
		const struct target *target = &doubting->project->targets[doubting->plan->order[i]];
		for (size_t u = 0; doubting->ret->in_doubt[target->id] && u < target->used_by.len; u++)
			doubt(doubting, &doubting->project->targets[target->used_by.at[u]]);
	}
}

bool doubts_find(const struct project *project, const struct plan *plan, const struct snapshot_changes *changes, struct run_doubts *ret)
{
	struct doubting doubting = { .project = project, .plan = plan, .ret = ret };
	*ret = (struct run_doubts){ .transaction = changes->transaction };
	if (!changes->known)
		return false;
	ret->in_doubt = mem_alloc((project->target_count + 1) * sizeof(*ret->in_doubt));
	if (follow_changes(&doubting, changes)) {
		follow_users(&doubting);
		return true;
	}
	doubts_release(ret);
	return false;
}

void doubts_release(struct run_doubts *doubts)
{
	free(doubts->in_doubt);
	strlist_release(&doubts->names);
	*doubts = (struct run_doubts){ 0 };
}
