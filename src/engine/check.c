/* Whether a target must run, and why. */
#include "engine/run.h"

#include "base/path.h"
#include "engine/components.h"

#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX ((size_t)64 << 20)

struct string_list check_paths(const struct target *target)
{
	struct string_list paths = { .len = target->outputs.len + (target->settings->stamp != NULL) };
	paths.at = mem_alloc((paths.len + 1) * sizeof(*paths.at));
	for (size_t i = 0; i < target->outputs.len; i++)
		paths.at[i] = target->outputs.at[i].path;
	if (target->settings->stamp)
		paths.at[target->outputs.len] = target->settings->stamp;
	return paths;
}

bool check_uses_cache(const struct run *run, const struct target *target)
{
	return run->cache && target->cache != CACHE_OFF && !target->always && !target->settings->stamp && !target->persist && !target->interactive;
}

void check_result(const struct run *run, const struct target *target, const struct manifest *outputs, struct digest *ret)
{
	*ret = (struct digest){ .kind = DIGEST_NONE };
	if (target->settings->stamp) {
		for (size_t i = 0; i < outputs->len; i++)
			if (strcmp(outputs->at[i].path, target->settings->stamp) == 0)
				*ret = outputs->at[i].digest;
	} else if (target->outputs.len) {
		manifest_digest(outputs, ret);
	} else if (target->is_alias || !target->run.len) {
		struct buf all CLEANUP(buf_release) = BUF_INIT;
		bool any = false;
		for (size_t i = 0; i < target->needs.len; i++) {
			const struct digest *result = &run->results[target->needs.at[i]];
			any = any || result->kind != DIGEST_NONE;
			codec_add_digest(&all, result);
		}
		if (any)
			digest_bytes(DIGEST_SHA256, all.data, all.len, ret);
	}
}

bool check_always_runs(const struct run *run, const struct target *target, const struct fingerprint *fp)
{
	if (target->always)
		return true;
	if (fp->has_inputs || target->outputs.len || target->settings->stamp)
		return false;
	for (size_t i = 0; i < target->needs.len; i++)
		if (run->results[target->needs.at[i]].kind != DIGEST_NONE)
			return false;
	return true;
}

static void say_outputs(const struct manifest *recorded, const struct manifest *now, struct strlist *reasons)
{
	size_t r = 0, n = 0;
	while ((r < recorded->len || n < now->len) && reasons->len < 20) {
		int order = r == recorded->len ? 1 : n == now->len ? -1 : strcmp(recorded->at[r].path, now->at[n].path);
		const char *path = order <= 0 ? recorded->at[r].path : now->at[n].path;
		struct manifest one = { .at = &recorded->at[r], .len = 1 }, other = { .at = &now->at[n], .len = 1 };
		if (order < 0)
			strlist_take(reasons, mem_printf("output %s is missing", path));
		else if (order > 0)
			strlist_take(reasons, mem_printf("output %s appeared", path));
		else if (!manifest_same(&one, &other))
			strlist_take(reasons, mem_printf("output %s was changed", path));
		r += order <= 0;
		n += order >= 0;
	}
}

/* Whether what the target made is there as it was recorded. */
static int outputs_are_current(struct run *run, const struct target *target, const struct record *record, bool *ret, struct strlist *reasons,
			       struct err *err)
{
	struct string_list paths = check_paths(target);
	struct manifest now;
	size_t missing;
	*ret = true;
	int failed = paths.len ? manifest_scan(run->hashes, run->project->root, paths.at, paths.len, &now, &missing, err) : 0;
	if (!failed && paths.len) {
		*ret = manifest_same(&record->outputs, &now);
		if (!*ret && reasons)
			say_outputs(&record->outputs, &now, reasons);
		manifest_release(&now);
	}
	free(paths.at);
	return failed;
}

void check_look_anew(struct run *run, const struct target *target)
{
	struct string_list paths = check_paths(target);
	for (size_t i = 0; i < paths.len; i++)
		project_files_forget(run->fps.files, paths.at[i]);
	free(paths.at);
}

/* A versioned output whose .dvc file is gone is not versioned. */
static bool is_tracked_as_declared(const struct run *run, const struct target *target, struct strlist *reasons)
{
	for (size_t i = 0; i < target->outputs.len; i++) {
		if (!target->outputs.at[i].track)
			continue;
		OWNED char *file = mem_printf("%s/%s.dvc", run->project->root, target->outputs.at[i].path);
		if (fs_exists(file))
			continue;
		strlist_take(reasons, mem_printf("%s.dvc is missing", target->outputs.at[i].path));
		return false;
	}
	return true;
}

enum verdict check_target(struct run *run, struct node *node, struct fingerprint *fp, struct record *record, struct strlist *reasons,
			  struct err *err)
{
	const struct target *target = node->target;
	if (fingerprint_make(&run->fps, target, run_args_of(run, target), run->results, fp, err) < 0)
		return VERDICT_ERROR;
	if (hashes_are_left(run->hashes))
		return VERDICT_LATER;
	record_load(record, run->state, target->name);
	if (run->options->force) {
		strlist_add(reasons, "forced");
		return VERDICT_RUN;
	}
	if (check_always_runs(run, target, fp)) {
		strlist_add(reasons, "it always runs");
		return VERDICT_RUN;
	}
	if (!record->exists) {
		strlist_add(reasons, "no record of a success");
		return VERDICT_RUN;
	}
	if (record->components.len != fp->components.len ||
	    memcmp(record->components.data, fp->components.data, fp->components.len) != 0) {
		components_diff(record->components.data, record->components.len, fp->components.data, fp->components.len, reasons);
		return VERDICT_RUN;
	}
	bool current;
	if (outputs_are_current(run, target, record, &current, reasons, err) < 0)
		return VERDICT_ERROR;
	if (!current || !is_tracked_as_declared(run, target, reasons))
		return VERDICT_RUN;
	check_look_anew(run, target);
	run->results[target->id] = record->result;
	return VERDICT_CURRENT;
}

static int restore_action(struct run *run, struct job *job, struct action *action, bool *ret_restored, struct err *err)
{
	const struct target *target = job->node->target;
	struct string_list paths = check_paths(target);
	int failed = outputs_restore(run->cache, run->project->root, action, paths.at, paths.len, &job->taken, ret_restored, err);
	free(paths.at);
	check_look_anew(run, target);
	if (failed || !*ret_restored)
		return failed;
	if (!job->node->shared)
		sharing_offer(run, target, action);
	if (finish_track(run, target, &action->manifest, err) < 0)
		return -1;
	check_result(run, target, &action->manifest, &run->results[target->id]);
	job->restored = true;
	job->saved_ms = action->duration_ms;
	buf_reset(&job->log);
	buf_add(&job->log, action->log.data, action->log.len);
	return finish_record(job, &action->manifest, action->duration_ms, err);
}

/* What DVC tracks counts by another digest. */
static bool is_tracked(const struct run *run, const char *path)
{
	const struct tracked_list *tracked = project_files_tracked(run->fps.files);
	for (size_t i = 0; i < tracked->len; i++)
		if (path_inside(tracked->at[i].path, path) || path_inside(path, tracked->at[i].path))
			return true;
	return false;
}

int check_foresee(struct run *run, const struct target *target, struct manifest *manifest, struct err *err)
{
	bool tracked = false;
	for (size_t i = 0; i < target->outputs.len; i++)
		tracked = tracked || target->outputs.at[i].track || is_tracked(run, target->outputs.at[i].path);
	if (tracked)
		return 0;
	struct string_list paths = check_paths(target);
	int failed = foresight_add(&run->fps.foresight, run->fps.files, paths.at, paths.len, manifest, err);
	free(paths.at);
	return failed;
}

static bool foresee_params(struct run *run, const char *file)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	const struct manifest_entry *entry = foresight_find(&run->fps.foresight, file);
	bool whole;
	return params_are_foreseen(run->fps.params, file) ||
	       (entry && run->cache && outputs_read(run->cache, entry, PARAMS_MAX, &bytes, &whole, &ignored) == 0 && whole &&
		params_foresee(run->fps.params, file, bytes.data, bytes.len, &ignored) == 0);
}

/* Whether what makes the path would be restored, and its outputs are not known before. */
static const struct target *unforeseen_maker(const struct run *run, const char *path)
{
	const struct target *maker = project_maker(run->project, path);
	return maker && run->nodes[maker->id].would_write && !foresight_covers(&run->fps.foresight, path) ? maker : NULL;
}

static const struct target *unforeseen_program(const struct run *run, const struct target *target)
{
	struct strlist words CLEANUP(strlist_release) = { 0 };
	const struct target *maker = NULL;
	for (size_t i = 0; i < target->run.len; i++)
		tools_words(target->run.at[i], &words);
	for (size_t i = 0; i < words.len && !maker; i++) {
		struct buf joined CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT;
		path_join(&joined, target->dir, words.at[i]);
		path_normalize(&path, joined.data);
		maker = strchr(words.at[i], '/') ? unforeseen_maker(run, path.data) : NULL;
	}
	return maker;
}

const struct target *check_unforeseen(struct run *run, const struct target *target)
{
	const struct foresight *foresight = &run->fps.foresight;
	for (size_t i = 0; i < target->makes_inputs.len; i++) {
		const struct target *maker = run->nodes[target->makes_inputs.at[i]].target;
		for (size_t k = 0; k < maker->outputs.len; k++)
			if (unforeseen_maker(run, maker->outputs.at[k].path))
				return maker;
	}
	for (size_t i = 0; i < target->params.len; i++) {
		const char *file = target->params.at[i].file;
		if (unforeseen_maker(run, file) || (foresight_covers(foresight, file) && !foresee_params(run, file)))
			return project_maker(run->project, file);
	}
	OWNED char *version_of = tools_unknown(run->fps.tools, target);
	return version_of ? project_maker(run->project, version_of) : unforeseen_program(run, target);
}

bool check_may_restore(const struct run *run, const struct target *target, const struct fingerprint *fp)
{
	return check_uses_cache(run, target) && !run->options->force && !check_always_runs(run, target, fp);
}

int check_restore(struct run *run, struct job *job, bool *ret_restored, struct err *err)
{
	const struct target *target = job->node->target;
	struct action action;
	bool found;
	*ret_restored = false;
	if (!check_may_restore(run, target, &job->fp))
		return 0;
	if (outputs_find(run->cache, fingerprint_key(&job->fp), &action, &found, err) < 0)
		return -1;
	if (!found)
		return 0;
	int failed = 0;
	if (run->options->dry_run) {
		*ret_restored = true;
		check_result(run, target, &action.manifest, &run->results[target->id]);
		failed = check_foresee(run, target, &action.manifest, err);
	} else {
		failed = restore_action(run, job, &action, ret_restored, err);
	}
	action_release(&action);
	return failed;
}
