/* The processes of a job, from its lock to the end of its last command. */
#include "engine/run.h"

#include "base/path.h"
#include "base/text.h"
#include "store/workdir.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <string.h>

#define LOCK_RETRY_MS 50
#define KILL_GRACE_MS 5000
#define BACKOFF_MAX_MS (UINT64_C(5) * 60 * 1000)

static void try_lock(void *ctx);
static void start_attempt(struct job *job);
static void start_command(struct job *job);

static void job_error(struct job *job, struct err *err)
{
	struct run *run = job->run;
	run_fail(run, err);
	run_job_over(run, job);
}

void exec_start(struct run *run, struct node *node, const struct claim *claim)
{
	struct job *job = mem_alloc(sizeof(*job));
	job->run = run;
	job->node = node;
	job->claim = *claim;
	job->fp = (struct fingerprint)FINGERPRINT_INIT;
	job->fp.keeps_watch = true;
	job->record = (struct record)RECORD_INIT;
	job->proc = (struct proc)PROC_INIT;
	output_init(job);
	job->started_ms = loop_now_ms();
	vec_push(&run->jobs, job);
	hashes_forget_stamps(run->hashes);
	try_lock(job);
}

static void drop_timer(struct job *job, struct loop_timer **timer)
{
	if (*timer)
		loop_remove_timer(job->run->loop, *timer);
	*timer = NULL;
}

static void drop_process(struct job *job)
{
	proc_release(&job->proc);
	drop_timer(job, &job->kill_timer);
}

void exec_free(struct job *job)
{
	drop_process(job);
	ahead_free(job->ahead);
	outputs_taken_release(&job->taken);
	drop_timer(job, &job->lock_timer);
	drop_timer(job, &job->timeout_timer);
	drop_timer(job, &job->retry_timer);
	output_release(job);
	lock_release(job->lock);
	for (size_t i = 0; i < job->reading.len; i++)
		lock_release(job->reading.at[i]);
	vec_release(&job->reading);
	vec_release(&job->seen);
	environment_release(&job->env);
	jobserver_free(job->own_server);
	fingerprint_release(&job->fp);
	record_release(&job->record);
	strlist_release(&job->reasons);
	free(job);
}

/* Lock, look again, restore */

static void said_busy(struct job *job, const char *name, const struct lock_holder *holder)
{
	if (job->said_waiting)
		return;
	job->said_waiting = true;
	OWNED char *message = holder->pid ? mem_printf("waiting for '%s', which process %ld runs (%s)", name, (long)holder->pid,
						       holder->command)
					  : mem_printf("waiting for '%s', which another process runs", name);
	struct run_event event = { .kind = RUN_WAITING, .target = job->node->target, .message = message };
	run_emit(job->run, &event);
}

static int materialize(struct job *job, struct err *err)
{
	struct run *run = job->run;
	const struct provider *provider = run->project->provider;
	const struct strlist *absent = &job->fp.absent;
	if (!absent->len)
		return 0;
	if (!provider || !provider->materialize)
		return err_set(err, ERR_DATA, "the input '%s' of target '%s' is not checked out", absent->at[0], job->node->target->name);
	if (provider->materialize(run->project->root, (const char *const *)absent->at, absent->len, err) < 0)
		return err_note(err, "while fetching inputs of target '%s'", job->node->target->name);
	for (size_t i = 0; i < absent->len; i++)
		project_files_forget(run->fps.files, absent->at[i]);
	return fingerprint_make(&run->fps, job->node->target, run_args_of(run, job->node->target), run->results, &job->fp, err);
}

/* Outputs go before the command runs: what is there may be a link into a store, and what stays from last time would pass for made. */
static int clear_outputs(struct job *job, struct err *err)
{
	const struct target *target = job->node->target;
	struct buf log CLEANUP(buf_release) = BUF_INIT;
	for (size_t i = 0; i < target->outputs.len; i++) {
		OWNED char *path = path_joined(job->run->project->root, target->outputs.at[i].path);
		if ((!target->persist && fs_remove_tree(path, err) < 0) || fs_mkdirs_for(path, err) < 0)
			return err_note(err, "while clearing the outputs of target '%s'", target->name);
	}
	buf_reset(&job->log);
	fs_close_fd(&job->log_fd);
	engine_log_path(job->run->project, target, &log);
	return fs_remove(log.data, err);
}

/* A target whose glob is misspelt would never again see a change. What a rule infers may well match nothing. */
static void warn_unmatched(struct job *job)
{
	const struct target *target = job->node->target;
	const struct input_pattern *input = target->inferred ? NULL : project_files_unmatched(job->run->fps.files, target);
	if (!input)
		return;
	const struct span at = project_span(job->run->project, &input->place, false);
	run_warn(job->run, target, "%s:%u:%u: the input '%s' of '%s' matches no file", at.file, at.line, at.col, input->glob, target->name);
}

static void start_running(struct job *job)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (job->claim.lacks_gpus) {
		OWNED char *message = mem_printf("it wants %u GPUs, and this machine has %u; MLMAKE_GPUS=%u lets it run all the same",
						 job->node->target->settings->resources.gpus, job->claim.gpu_total, job->node->target->settings->resources.gpus);
		finish_failure(job, message);
		return;
	}
	warn_unmatched(job);
	if (finish_can_track(job->run, job->node->target, false, &err) < 0 || materialize(job, &err) < 0) {
		job_error(job, &err);
		return;
	}
	environment_make(&job->env, &job->run->passed, job->run->project->root, job->node->target);
	if (job->claim.gpus)
		environment_set(&job->env, "CUDA_VISIBLE_DEVICES", job->claim.gpus);
	slots_offer(job);
	struct run_event event = { .kind = RUN_STARTED, .target = job->node->target };
	if (job->run->options->explain) {
		event.reasons = (const char *const *)job->reasons.at;
		event.reason_count = job->reasons.len;
	}
	run_emit(job->run, &event);
	start_attempt(job);
}

static void with_lock(struct job *job)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct run *run = job->run;
	state_refresh(run->state);
	job->started_ms = loop_now_ms();
	switch (check_target(run, job->node, &job->fp, &job->record, &job->reasons, &err)) {
	case VERDICT_ERROR:
		job_error(job, &err);
		return;
	case VERDICT_CURRENT: {
		struct run_event event = { .kind = RUN_FINISHED, .outcome = RUN_UP_TO_DATE };
		run_done(run, job->node, &event);
		run_job_over(run, job);
		return;
	}
	case VERDICT_LATER: /* not asked for under the lock */
	case VERDICT_RUN:
		break;
	}
	if (run->options->touch) {
		finish_accept(job);
		return;
	}
	if (!ahead_take(job))
		exec_taken(job);
}

void exec_taken(struct job *job)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct run *run = job->run;
	bool restored;
	if (check_restore(run, job, &restored, &err) < 0) {
		/* What the cache has is not worth more than a warning: the command can make it anew. */
		run_warn(run, job->node->target, "the output cache could not be used for '%s': %s", job->node->target->name, err.message);
		restored = false;
	}
	if (restored)
		finish_success(job);
	else if (run->options->restore_only)
		finish_unknown(job);
	else
		start_running(job);
}

static void wait_for_lock(struct job *job, const char *name, const struct lock_holder *holder)
{
	said_busy(job, name, holder);
	state_refresh(job->run->state);
	job->lock_timer = loop_add_timer(job->run->loop, LOCK_RETRY_MS, try_lock, job);
}

/* What always runs is made by each mlmake that wants it: not while this job reads what it made. Upwards alone, so that nobody waits in a
 * circle. False if it has to wait, or has failed. */
static bool hold_what_is_read(struct job *job)
{
	struct run *run = job->run;
	const struct target *target = job->node->target;
	struct err err CLEANUP(err_release) = ERR_INIT;
	for (size_t i = job->read_locked; i < target->makes_inputs.len; i++, job->read_locked++) {
		const struct target *maker = &run->project->targets[target->makes_inputs.at[i]];
		struct lock *lock;
		struct lock_holder holder;
		bool is_free;
		if (!maker->always)
			continue;
		if (locks_try_shared(run->locks, maker->name, &lock, &is_free, &holder, &err) < 0) {
			job_error(job, &err);
			return false;
		}
		if (!is_free) {
			wait_for_lock(job, maker->name, &holder);
			return false;
		}
		if (lock)
			vec_push(&job->reading, lock);
		/* They may have been away, or half made, when they were looked at. */
		check_look_anew(run, maker);
	}
	return true;
}

static void try_lock(void *ctx)
{
	struct job *job = ctx;
	struct run *run = job->run;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct lock_holder holder;
	job->lock_timer = NULL;
	if (!job->lock && locks_try(run->locks, job->node->target->name, &job->lock, &holder, &err) < 0) {
		job_error(job, &err);
		return;
	}
	if (!job->lock)
		wait_for_lock(job, job->node->target->name, &holder);
	else if (hold_what_is_read(job))
		with_lock(job);
}

/* Commands */

static void on_kill_grace(void *ctx)
{
	struct job *job = ctx;
	job->kill_timer = NULL;
	proc_kill_group(&job->proc, SIGKILL);
}

static void end_process(struct job *job, int signal_number)
{
	proc_kill_group(&job->proc, signal_number);
	if (signal_number != SIGKILL && !job->kill_timer)
		job->kill_timer = loop_add_timer(job->run->loop, KILL_GRACE_MS, on_kill_grace, job);
}

static void on_timeout(void *ctx)
{
	struct job *job = ctx;
	job->timeout_timer = NULL;
	job->timed_out = true;
	end_process(job, SIGTERM);
}

void exec_end(struct job *job)
{
	end_process(job, SIGTERM);
}

void exec_signal(struct job *job, int signal_number)
{
	if (job->ended)
		return;
	job->interrupted = true;
	if (job->proc.pid > 0)
		end_process(job, signal_number);
	else
		finish_interrupted(job);
}

static void start_attempt(struct job *job)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	const struct target *target = job->node->target;
	job->command = 0;
	job->timed_out = false;
	job->exit_code = 0;
	job->began = true;
	if (clear_outputs(job, &err) < 0) {
		job_error(job, &err);
		return;
	}
	drop_timer(job, &job->timeout_timer);
	if (target->settings->timeout_ms)
		job->timeout_timer = loop_add_timer(job->run->loop, target->settings->timeout_ms, on_timeout, job);
	start_command(job);
}

/* ": warnings, conventions", by what the target says of its exit codes. */
static void add_meaning(struct buf *out, const struct target *target, int code)
{
	const char *between = ": ";
	int bits = 0;
	for (size_t i = 0; i < target->settings->exit_meanings.len; i++)
		bits |= target->settings->exit_meanings.at[i].is_bit ? target->settings->exit_meanings.at[i].code : 0;
	for (size_t i = 0; i < target->settings->exit_meanings.len; i++) {
		const struct exit_meaning *meaning = &target->settings->exit_meanings.at[i];
		/* A code with other bits, such as the shell's 127, is not put together of these. */
		if (meaning->is_bit ? (code & ~bits) || !(code & meaning->code) : code != meaning->code)
			continue;
		buf_addf(out, "%s%s", between, meaning->text);
		between = ", ";
	}
}

static void add_failure(struct buf *out, const struct job *job, int status)
{
	if (job->timed_out) {
		buf_addstr(out, "it ran longer than ");
		text_add_duration(out, job->node->target->settings->timeout_ms);
	} else if (WIFSIGNALED(status)) {
		buf_addf(out, "it was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	} else {
		buf_addf(out, "exit code %d", job->exit_code);
		add_meaning(out, job->node->target, job->exit_code);
	}
}

static bool is_success(const struct job *job)
{
	const struct target *target = job->node->target;
	if (job->timed_out)
		return false;
	for (size_t i = 0; i < target->settings->success_codes.len; i++)
		if (target->settings->success_codes.at[i] == job->exit_code)
			return true;
	return job->exit_code == 0;
}

static void on_retry(void *ctx)
{
	struct job *job = ctx;
	job->retry_timer = NULL;
	start_attempt(job);
}

/* Twice as long each time: what was busy a moment ago may need a while. */
static void try_again(struct job *job, const char *failure)
{
	const struct target *target = job->node->target;
	struct buf wait CLEANUP(buf_release) = BUF_INIT;
	uint64_t ms = target->settings->backoff_ms;
	for (unsigned i = 0; i < job->attempt && ms < BACKOFF_MAX_MS; i++)
		ms *= 2;
	if (ms > BACKOFF_MAX_MS)
		ms = target->settings->backoff_ms < BACKOFF_MAX_MS ? BACKOFF_MAX_MS : target->settings->backoff_ms;
	text_add_duration(&wait, ms);
	job->attempt++;
	run_warn(job->run, target, "'%s' failed (%s); attempt %u of %llu%s%s", target->name, failure, job->attempt + 1,
		 (unsigned long long)target->settings->retries + 1,
		 ms ? " in " : "", ms ? wait.data : "");
	drop_timer(job, &job->timeout_timer);
	if (ms)
		job->retry_timer = loop_add_timer(job->run->loop, ms, on_retry, job);
	else
		start_attempt(job);
}

static void warn_of_code(struct job *job)
{
	struct buf meaning CLEANUP(buf_release) = BUF_INIT;
	add_meaning(&meaning, job->node->target, job->exit_code);
	run_warn(job->run, job->node->target, "'%s' ended with exit code %d%s, which counts as a success for it", job->node->target->name,
		 job->exit_code, meaning.data);
}

static void command_ended(struct job *job, int status)
{
	struct buf message CLEANUP(buf_release) = BUF_INIT;
	const struct target *target = job->node->target;
	job->exit_code = proc_exit_code(status);
	if (job->interrupted || (job->stale && job->run->stop)) {
		finish_interrupted(job);
		return;
	}
	if (job->stale) {
		changes_again(job);
		return;
	}
	if (is_success(job)) {
		if (job->exit_code)
			warn_of_code(job);
		if (++job->command < target->run.len) {
			start_command(job);
			return;
		}
		drop_timer(job, &job->timeout_timer);
		job->ended_ms = loop_now_ms();
		if (!ahead_begin(job))
			run_job_ended(job->run, job);
		return;
	}
	add_failure(&message, job, status);
	if (job->attempt < target->settings->retries) {
		try_again(job, message.data);
		return;
	}
	finish_failure(job, message.data);
}

static void cannot_start(struct job *job, const struct err *err)
{
	job->exit_code = 127;
	finish_failure(job, err->message);
}

static void process_ended(struct job *job)
{
	struct err err CLEANUP(err_release) = ERR_INIT, why CLEANUP(err_release) = ERR_INIT;
	int status;
	/* Before the leader is reaped, so that the group's number is still its own: what it left running would write behind our back. */
	if (!job->node->target->interactive)
		proc_kill_group(&job->proc, SIGKILL);
	bool never_ran = proc_begun(&job->proc, &why) < 0;
	int failed = proc_wait(&job->proc, &status, &err);
	output_drain(job);
	drop_process(job);
	if (failed)
		job_error(job, &err);
	else if (never_ran && !job->interrupted && !job->stale)
		cannot_start(job, &why);
	else
		command_ended(job, status);
}

void exec_reap(struct run *run)
{
	/* A job that is over leaves its place to the last one. */
	for (size_t i = run->jobs.len; i-- > 0;)
		if (i < run->jobs.len && proc_has_ended(&run->jobs.at[i]->proc))
			process_ended(run->jobs.at[i]);
}

static char *command_text(const struct job *job)
{
	const struct target *target = job->node->target;
	const struct string_list *args = run_args_of(job->run, target);
	struct buf text = BUF_INIT;
	buf_addstr(&text, target->run.at[job->command]);
	if (!args || job->command + 1 < target->run.len)
		return buf_detach(&text);
	/* A script that ends in a newline takes the arguments on its last line. */
	while (text.len && strchr(" \t\n", text.data[text.len - 1]))
		buf_truncate(&text, text.len - 1);
	for (size_t i = 0; i < args->len; i++) {
		buf_addch(&text, ' ');
		text_add_shell_quoted(&text, args->at[i]);
	}
	return buf_detach(&text);
}

/* Where PATH has the shell; looked for once, not for every command. NULL: as it is named, or nowhere, which proc_spawn finds out. */
static const char *find_shell(struct job *job)
{
	struct buf key CLEANUP(buf_release) = BUF_INIT;
	struct buf found CLEANUP(buf_release) = BUF_INIT;
	const char *name = job->node->target->settings->shell.at[0], *path = environment_get(&job->env, "PATH");
	if (strchr(name, '/'))
		return NULL;
	if (!path)
		path = "/usr/local/bin:/usr/bin:/bin";
	buf_addf(&key, "%s\n%s", path, name);
	struct map_entry *entry = map_entry(&job->run->programs, key.data);
	if (!entry->value && proc_find(name, path, &found))
		entry->value = buf_detach(&found);
	return entry->value;
}

static int spawn(struct job *job, struct err *err)
{
	const struct target *target = job->node->target;
	int keep[3] = { lock_fd(job->lock) };
	OWNED char *text = command_text(job);
	OWNED char *dir = path_joined(job->run->project->root, target->dir);
	if (!target->interactive && output_open(job, err) < 0)
		return -1;
	VEC(const char *) argv = { 0 };
	const char *shell = find_shell(job);
	for (size_t i = 0; i < target->settings->shell.len; i++)
		vec_push(&argv, i || !shell ? target->settings->shell.at[i] : shell);
	vec_push(&argv, text);
	vec_push(&argv, NULL);
	struct proc_spec spec = PROC_SPEC_INIT;
	spec.argv = argv.at;
	spec.program = shell;
	spec.env = job->env.vars.at;
	spec.dir = dir;
	spec.stdin_fd = target->interactive ? 0 : job->run->null_fd;
	spec.stdout_fd = job->streams[0].write_fd;
	spec.stderr_fd = job->streams[1].write_fd;
	spec.keep_fds = keep;
	spec.keep_count = 1 + slots_fds(job, keep + 1);
	int failed = proc_begin(&spec, &job->proc, err);
	vec_release(&argv);
	return failed;
}

static void start_command(struct job *job)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (spawn(job, &err) < 0)
		cannot_start(job, &err);
}
