/* What comes after the last command of a job. */
#include "engine/run.h"

#include "base/path.h"
#include "engine/cache.h"
#include "engine/history.h"
#include "engine/past.h"
#include "store/workdir.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool is_own_output(const struct target *target, const char *path)
{
	for (size_t i = 0; i < target->outputs.len; i++)
		if (path_inside(target->outputs.at[i].path, path))
			return true;
	return false;
}

/* Another result takes the record's place: a tag may still mean the one before. */
static int keep_past(struct job *job, struct err *err)
{
	const struct record *record = &job->record;
	const struct buf *now = &job->fp.components;
	bool same = record->components.len == now->len && memcmp(record->components.data, now->data, now->len) == 0;
	if (!record->exists || same || !check_uses_cache(job->run, job->node->target))
		return 0;
	return past_add(job->run->state, job->node->target->name, record, err);
}

/* Once a run. Where nothing can be noted, nothing was kept either, and that was told. */
static void note_project(struct job *job)
{
	struct run *run = job->run;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (run->noted || !check_uses_cache(run, job->node->target))
		return;
	run->noted = true;
	if (cache_know(run->cache, run->project->root, &ignored) < 0)
		err_release(&ignored);
}

int finish_record(struct job *job, const struct manifest *outputs, uint64_t duration_ms, struct err *err)
{
	struct run *run = job->run;
	if (keep_past(job, err) < 0)
		return -1;
	note_project(job);
	struct record record = {
		.duration_ms = duration_ms,
		.finished_at = (uint64_t)time(NULL),
		.result = run->results[job->node->target->id],
		.components = job->fp.components,
		.outputs = *outputs,
		.reasons = job->reasons,
	};
	return record_save(&record, run->state, job->node->target->name, err);
}

/* What was printed, for `mlmake log`: on the way from the cache it was not written line by line. */
static void write_log(struct job *job)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	engine_log_path(job->run->project, job->node->target, &path);
	if (fs_mkdirs_for(path.data, &ignored) == 0 &&
	    fs_write_file(path.data, job->log.data, job->log.len, 0666, FS_VOLATILE, &ignored) < 0)
		run_warn(job->run, job->node->target, "%s", ignored.message);
}

static void keep_in_cache(struct job *job, const struct manifest *outputs, uint64_t duration_ms)
{
	struct run *run = job->run;
	const struct target *target = job->node->target;
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (!check_uses_cache(run, target) || (!job->fp.has_inputs && !target->outputs.len))
		return;
	struct action action = { .key = *fingerprint_key(&job->fp), .manifest = *outputs, .log = job->log, .duration_ms = duration_ms };
	struct string_list paths = check_paths(target);
	/* The target has succeeded; that its outputs could not be kept costs a rerun some day. */
	if (outputs_store(run->cache, run->project->root, &action, paths.at, paths.len, &err) == 0)
		sharing_offer(run, target, &action);
	else
		run_warn(run, target, "the outputs of '%s' are not kept in the output cache: %s", target->name, err.message);
	free(paths.at);
}

int finish_can_track(struct run *run, const struct target *target, bool whole_project, struct err *err)
{
	const struct provider *provider = run->project->provider;
	for (size_t i = 0; i < target->outputs.len && provider && provider->can_track; i++) {
		const struct output *output = &target->outputs.at[i];
		if (!output->track || provider->can_track(run->project->root, whole_project ? NULL : output->path, err) == 0)
			continue;
		project_err_at(run->project, &output->place, err);
		return err_note(err, "for the output '%s' of target '%s'", output->path, target->name);
	}
	return 0;
}

int finish_track(struct run *run, const struct target *target, struct manifest *outputs, struct err *err)
{
	const struct project *project = run->project;
	bool any = false;
	for (size_t i = 0; i < target->outputs.len; i++) {
		if (!target->outputs.at[i].track || !project->provider || !project->provider->track_output)
			continue;
		if (project->provider->track_output(project->root, target->outputs.at[i].path, err) < 0)
			return err_note(err, "while versioning '%s' of target '%s'", target->outputs.at[i].path, target->name);
		any = true;
	}
	if (!any)
		return 0;
	/* From now on it counts by its md5 where it is an input. */
	if (project_files_reload_tracked(run->fps.files, err) < 0)
		return -1;
	struct string_list paths = check_paths(target);
	size_t missing;
	manifest_release(outputs);
	int failed = manifest_scan(run->hashes, project->root, paths.at, paths.len, outputs, &missing, err);
	free(paths.at);
	return failed;
}

/* "'a', 'b'": those that are not there; NULL if all are by now. */
static int name_missing(const struct run *run, const struct string_list *paths, char **ret, struct err *err)
{
	struct buf names CLEANUP(buf_release) = BUF_INIT;
	for (size_t i = 0; i < paths->len; i++) {
		OWNED char *full = path_joined(run->project->root, paths->at[i]);
		struct stat st;
		bool exists;
		if (fs_lstat(full, &st, &exists, err) < 0)
			return -1;
		if (!exists)
			buf_addf(&names, "%s'%s'", names.len ? ", " : "", paths->at[i]);
	}
	*ret = names.len ? buf_detach(&names) : NULL;
	return 0;
}

/* Scans what the target made. A declared output that is missing fails the target: *ret_missing names it, owned. */
static int scan_outputs(struct job *job, struct manifest *ret, char **ret_missing, struct err *err)
{
	struct run *run = job->run;
	struct string_list paths = check_paths(job->node->target);
	size_t missing;
	check_look_anew(run, job->node->target);
	*ret_missing = NULL;
	int failed = manifest_scan_seen(run->hashes, run->project->root, paths.at, paths.len, job->seen.at, job->seen.len, ret, &missing, err);
	job->seen.len = 0;
	if (!failed && missing != SIZE_MAX && (failed = name_missing(run, &paths, ret_missing, err)) < 0)
		manifest_release(ret);
	else if (!failed && missing != SIZE_MAX && !*ret_missing)
		*ret_missing = mem_printf("'%s'", paths.at[missing]);
	free(paths.at);
	return failed;
}

static void remember(struct job *job, enum run_outcome outcome, uint64_t duration_ms)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	const struct history_entry entry = {
		.finished_at = (uint64_t)time(NULL),
		.duration_ms = outcome == RUN_RESTORED ? job->saved_ms : duration_ms,
		.outcome = outcome,
	};
	bool ran = outcome != RUN_INTERRUPTED && outcome != RUN_SKIPPED && !job->run->options->touch;
	if (ran && history_add(job->run->state, job->node->target->name, &entry, &err) < 0)
		run_warn(job->run, job->node->target, "%s", err.message);
}

static void report(struct job *job, enum run_outcome outcome, const char *message)
{
	struct run_event event = {
		.kind = RUN_FINISHED,
		.outcome = outcome,
		.exit_code = job->exit_code,
		.timed_out = job->timed_out,
		.message = message,
		.reasons = (const char *const *)job->reasons.at,
		.reason_count = job->reasons.len,
		.duration_ms = loop_now_ms() - job->started_ms,
	};
	struct run *run = job->run;
	struct node *node = job->node;
	/* An empty log, so that nobody takes that of an earlier success for this run's. */
	if (outcome != RUN_SUCCEEDED && job->began && !job->log.len)
		write_log(job);
	remember(job, outcome, event.duration_ms);
	run_done(run, node, &event);
	run_job_over(run, job);
}

static void run_error(struct job *job, struct err *err)
{
	struct run *run = job->run;
	run_fail(run, err);
	run_job_over(run, job);
}

/* The first input that is not what the key says, and was not written by the target as its output. */
static const char *changed_input(struct job *job)
{
	const char *path = fingerprint_changed_since(&job->run->fps, job->node->target, &job->fp);
	return path && !is_own_output(job->node->target, path) ? path : NULL;
}

void finish_success(struct job *job)
{
	struct run *run = job->run;
	const struct target *target = job->node->target;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct manifest outputs = { 0 };
	uint64_t duration = job->ended_ms - job->started_ms;
	OWNED char *missing = NULL;
	if (job->restored) {
		write_log(job);
		OWNED char *from = job->node->shared ? mem_printf("from the remote '%s'", run->sharing.remote) : NULL;
		report(job, RUN_RESTORED, from);
		return;
	}
	if (scan_outputs(job, &outputs, &missing, &err) < 0) {
		finish_failure(job, err.message);
		return;
	}
	if (missing) {
		manifest_release(&outputs);
		OWNED char *message = mem_printf("it ended well but did not make its output %s", missing);
		finish_failure(job, message);
		return;
	}
	check_result(run, target, &outputs, &run->results[target->id]);
	const char *changed = changed_input(job);
	if (changed)
		run_warn(run, target, "'%s' changed while '%s' ran: this run is not remembered", changed, target->name);
	else
		keep_in_cache(job, &outputs, duration);
	int failed = finish_track(run, target, &outputs, &err);
	if (!failed && !changed)
		failed = finish_record(job, &outputs, duration, &err);
	manifest_release(&outputs);
	if (failed)
		run_error(job, &err);
	else
		report(job, RUN_SUCCEEDED, NULL);
}

void finish_unknown(struct job *job)
{
	report(job, RUN_SKIPPED, "nobody has shared its result");
}

void finish_failure(struct job *job, const char *message)
{
	check_look_anew(job->run, job->node->target);
	report(job, RUN_FAILED, message);
}

/* Half-written outputs are nobody's result; they go where the user can look at them. */
static int put_aside(struct job *job, struct err *err)
{
	const struct target *target = job->node->target;
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	if (workdir_path(job->run->project->root, "interrupted", &dir, err) < 0)
		return -1;
	buf_addch(&dir, '/');
	workdir_add_name(&dir, target->name);
	if (fs_remove_tree(dir.data, err) < 0)
		return -1;
	for (size_t i = 0; i < target->outputs.len; i++) {
		OWNED char *from = path_joined(job->run->project->root, target->outputs.at[i].path);
		OWNED char *to = path_joined(dir.data, target->outputs.at[i].path);
		struct stat st;
		bool exists;
		if (fs_lstat(from, &st, &exists, err) < 0)
			return -1;
		if (exists && (fs_mkdirs_for(to, err) < 0 || fs_rename(from, to, err) < 0))
			return -1;
	}
	return 0;
}

void finish_interrupted(struct job *job)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (job->began && !job->node->target->persist && put_aside(job, &err) < 0)
		run_warn(job->run, job->node->target, "%s", err.message);
	report(job, RUN_INTERRUPTED, NULL);
}

/* The output cache gets nothing of this: that the outputs are made from these inputs is the user's word, for this work tree alone. */
static int accept(struct job *job, char **ret_missing, struct err *err)
{
	struct run *run = job->run;
	const struct target *target = job->node->target;
	struct manifest outputs = { 0 };
	if (finish_can_track(run, target, false, err) < 0 || scan_outputs(job, &outputs, ret_missing, err) < 0)
		return -1;
	int failed = 0;
	if (!*ret_missing) {
		check_result(run, target, &outputs, &run->results[target->id]);
		strlist_release(&job->reasons);
		strlist_add(&job->reasons, "accepted as it was (--touch)");
		failed = finish_track(run, target, &outputs, err);
		if (!failed)
			failed = finish_record(job, &outputs, job->record.exists ? job->record.duration_ms : 0, err);
	}
	manifest_release(&outputs);
	return failed;
}

void finish_accept(struct job *job)
{
	struct run *run = job->run;
	const struct target *target = job->node->target;
	struct err err CLEANUP(err_release) = ERR_INIT;
	OWNED char *missing = NULL;
	if (check_always_runs(run, target, &job->fp)) {
		run_warn(run, target, "'%s' always runs: there is nothing to accept", target->name);
		report(job, RUN_UP_TO_DATE, NULL);
	} else if (accept(job, &missing, &err) < 0) {
		run_error(job, &err);
	} else if (missing) {
		OWNED char *message = mem_printf("%s is not there to be accepted; without --touch it is made", missing);
		report(job, RUN_FAILED, message);
	} else {
		report(job, RUN_ACCEPTED, NULL);
	}
}
