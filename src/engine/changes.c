/* Files that change while targets run (--watch): who read what is not so any more starts again. */
#include "engine/run.h"

#include "base/text.h"
#include "engine/components.h"
#include "engine/since.h"

#include <string.h>

#define SETTLE_MS 100
#define RESTARTS_MAX 5

static void on_readable(void *ctx, int fd, uint32_t events);

static void listen(struct run *run)
{
	run->change_source = loop_add_fd(run->loop, run->options->changes->fd, EPOLLIN, on_readable, run);
}

static void forget(struct run *run, const struct strlist *paths)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	bool records = false;
	for (size_t i = 0; i < paths->len; i++) {
		project_files_forget(run->fps.files, paths->at[i]);
		records = records || text_ends(paths->at[i], ".dvc") || text_ends(paths->at[i], "dvc.lock");
	}
	hashes_forget_stamps(run->hashes);
	/* A record that is being written is read when it is whole. */
	if (records && project_files_reload_tracked(run->fps.files, &err) < 0)
		err_release(&err);
}

static bool is_stale(struct run *run, const struct job *job, const struct project *now, struct strlist *reasons)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	const struct target *target = job->node->target;
	if (now && !engine_same_definition(run->project, target, now)) {
		strlist_add(reasons, "its definition changed");
		return true;
	}
	/* What cannot be asked now, such as a file between two names, is asked again at the end. */
	if (fingerprint_make(&run->fps, target, run_args_of(run, target), run->results, &run->fp, &err) < 0)
		return false;
	if (run->fp.components.len == job->fp.components.len &&
	    memcmp(run->fp.components.data, job->fp.components.data, job->fp.components.len) == 0)
		return false;
	components_diff(job->fp.components.data, job->fp.components.len, run->fp.components.data, run->fp.components.len, reasons);
	return true;
}

static void restart(struct job *job, const struct strlist *reasons)
{
	struct run_event event = { .kind = RUN_RESTARTED, .target = job->node->target };
	event.reasons = (const char *const *)reasons->at;
	event.reason_count = reasons->len;
	run_emit(job->run, &event);
	job->stale = true;
	exec_end(job);
}

static void on_settled(void *ctx)
{
	struct run *run = ctx;
	const struct run_changes *changes = run->options->changes;
	const struct project *now = NULL;
	run->change_timer = NULL;
	listen(run);
	forget(run, changes->peek(changes->ctx, &now));
	/* Targets that run go on by what they were; the next run begins with the new configuration. */
	if (now)
		run->stop = true;
	for (size_t i = 0; i < run->jobs.len; i++) {
		struct job *job = run->jobs.at[i];
		struct strlist reasons CLEANUP(strlist_release) = { 0 };
		if (job->proc.pid <= 0 || job->stale || job->interrupted || !is_stale(run, job, now, &reasons))
			continue;
		if (job->node->restarts++ < RESTARTS_MAX)
			restart(job, &reasons);
		else if (job->node->restarts == RESTARTS_MAX + 1)
			run_warn(run, job->node->target, "'%s' goes on, though %s: it has started again %d times", job->node->target->name,
				 reasons.at[0], RESTARTS_MAX);
	}
}

static void on_readable(void *ctx, int fd, uint32_t events)
{
	struct run *run = ctx;
	(void)fd;
	(void)events;
	loop_remove_fd(run->loop, run->change_source);
	run->change_source = NULL;
	run->change_timer = loop_add_timer(run->loop, SETTLE_MS, on_settled, run);
}

void changes_open(struct run *run)
{
	if (run->options->changes)
		listen(run);
}

void changes_close(struct run *run)
{
	if (run->change_source)
		loop_remove_fd(run->loop, run->change_source);
	if (run->change_timer)
		loop_remove_timer(run->loop, run->change_timer);
}

void changes_again(struct job *job)
{
	struct run *run = job->run;
	struct node *node = job->node;
	run_job_over(run, job);
	vec_push(&run->undecided, node);
}
