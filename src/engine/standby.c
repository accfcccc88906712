/*
 * The next job, kept ready for the moment when there is room for it: locked, found to be due, its process there but held. What is left for that
 * moment is to clear its outputs and to let the process go. Worth it only where commands take about as long as starting one does, and never for
 * long: a target is not to be locked for hours, nor its inputs looked at long before it runs.
 */
#include "engine/run.h"

#define QUICK_MS 20 /* the last command took no longer */
#define STANDBY_MS 40

static bool is_plain(const struct target *target)
{
	const struct target_settings *settings = target->settings;
	return settings->resources.cpus <= 1 && !settings->resources.memory && !settings->resources.gpus && !settings->pool && !target->interactive;
}

bool standby_prepare(struct run *run, struct node *node)
{
	const struct claim none = { .cpus = 0 };
	bool worth = run->last_took_ms <= QUICK_MS && run->resources.cpus > 1 && run->options->max_load <= 0 && proc_can_hold();
	if (!worth || run->standby || node->no_standby || !is_plain(node->target))
		return false;
	exec_start(run, node, &none);
	return true;
}

void standby_give_up(struct job *job)
{
	struct run *run = job->run;
	struct node *node = job->node;
	node->no_standby = true;
	lock_release(job->lock);
	job->lock = NULL;
	run_job_over(run, job);
	run_ready(run, node);
}

static void on_timer(void *ctx)
{
	struct run *run = ctx;
	run->standby_timer = NULL;
	standby_give_up(run->standby);
}

void standby_keep(struct job *job)
{
	struct run *run = job->run;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (exec_hold(job, &ignored) < 0) {
		standby_give_up(job); /* why is said when its turn has come */
		return;
	}
	run->standby = job;
	run->standby_timer = loop_add_timer(run->loop, STANDBY_MS, on_timer, run);
}

void standby_forget(struct job *job)
{
	struct run *run = job->run;
	if (run->standby != job)
		return;
	run->standby = NULL;
	if (run->standby_timer)
		loop_remove_timer(run->loop, run->standby_timer);
	run->standby_timer = NULL;
}

bool standby_go(struct run *run)
{
	struct job *job = run->standby;
	struct claim claim;
	if (!job)
		return true;
	if (resources_take(&run->resources, job->node, &claim) != TAKE_DONE)
		return false;
	standby_forget(job);
	run->started_now++;
	exec_go(job, &claim);
	return true;
}

void standby_drop(struct run *run)
{
	if (run->standby)
		standby_give_up(run->standby);
}
