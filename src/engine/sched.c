/* What comes when. */
#include "engine/run.h"

#include "base/path.h"
#include "engine/cache.h"
#include "store/workdir.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_AFTER_MS 200    /* a result is on disk that long after its target ended, at the latest */
#define SAVE_EVERY_MS 10000   /* stat records: losing them costs reading files again */
#define CACHE_AFTER_MS 1000   /* other clones find it in the output cache that long after */
#define COMPANY_EVERY_MS 5    /* asks whether another mlmake may be waiting for a lock, which looks ten times less often */
#define HELD_MAX 256          /* locks that wait for their records to be written; fewer where descriptors are few: each may be one */

/* The work that is left, shared by the slots, and no less than the longest chain. */
static uint64_t find_eta(const struct run *run)
{
	uint64_t left = run->expected_left, longest = run->ready.len ? run->ready.at[0]->critical : 0, now = loop_now_ms();
	unsigned slots = run->resources.cpus ? run->resources.cpus : 1;
	if (!run->options->eta || !run->knows_critical || !run->knows_durations)
		return 0;
	for (size_t i = 0; i < run->jobs.len; i++) {
		const struct node *node = run->jobs.at[i]->node;
		uint64_t took = now - run->jobs.at[i]->started_ms, done = took < node->expected ? took : node->expected;
		uint64_t behind = node->critical - node->expected, rest = behind + node->expected - done;
		left -= done < left ? done : left;
		longest = rest > longest ? rest : longest;
	}
	return left / slots > longest ? left / slots : longest;
}

void run_emit(struct run *run, struct run_event *event)
{
	if (event->kind == RUN_STARTED || event->kind == RUN_FINISHED || event->kind == RUN_TICK)
		event->eta_ms = find_eta(run);
	event->done = run->done;
	event->running = run->jobs.len;
	event->total = run->plan->len;
	if (run->sink && run->sink->event)
		run->sink->event(run->sink->ctx, event);
}

void run_warn(struct run *run, const struct target *target, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	OWNED char *message = mem_vprintf(fmt, args);
	va_end(args);
	struct run_event event = { .kind = RUN_WARNING, .target = target, .message = message };
	run->summary->warnings++;
	run_emit(run, &event);
}

void run_fail(struct run *run, struct err *err)
{
	run->stop = true;
	if (run->failed)
		return;
	run->failed = true;
	err_move(run->err, err);
}

const struct string_list *run_args_of(const struct run *run, const struct target *target)
{
	const struct plan *plan = run->plan;
	if (!run->options->args.len || !plan->requested_len || plan->requested[plan->requested_len - 1] != target->id)
		return NULL;
	return &run->options->args;
}

void engine_log_path(const struct project *project, const struct target *target, struct buf *out)
{
	path_join(out, project->root, ".mlmake/logs/");
	workdir_add_name(out, target->name);
	buf_addstr(out, ".log");
}

/* The ready queue: a binary heap. */

static bool comes_before(const struct node *a, const struct node *b)
{
	return a->critical != b->critical ? a->critical > b->critical : a->position < b->position;
}

void run_ready(struct run *run, struct node *node)
{
	vec_push(&run->ready, node);
	for (size_t i = run->ready.len - 1; i > 0;) {
		size_t parent = (i - 1) / 2;
		if (!comes_before(run->ready.at[i], run->ready.at[parent]))
			break;
		struct node *swapped = run->ready.at[i];
		run->ready.at[i] = run->ready.at[parent];
		run->ready.at[parent] = swapped;
		i = parent;
	}
}

static struct node *pop_ready(struct run *run)
{
	struct node *first = run->ready.at[0];
	run->ready.at[0] = run->ready.at[--run->ready.len];
	for (size_t i = 0;;) {
		size_t best = i;
		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < run->ready.len; child++)
			if (comes_before(run->ready.at[child], run->ready.at[best]))
				best = child;
		if (best == i)
			return first;
		struct node *swapped = run->ready.at[i];
		run->ready.at[i] = run->ready.at[best];
		run->ready.at[best] = swapped;
		i = best;
	}
}

void run_undecide(struct run *run, struct node *node)
{
	vec_push(&run->undecided, node);
}

bool run_is_nothing(const struct target *target)
{
	return target->is_alias || !target->run.len;
}

/* How long each target took last time; of one that never ran, the mean of the others. */
static void find_expected(struct run *run)
{
	uint64_t sum = 0, known = 0;
	for (size_t i = 0; i < run->plan->len; i++) {
		struct node *node = &run->nodes[run->plan->order[i]];
		if (!node->was_checked && !run_is_nothing(node->target))
			node->expected = record_duration(run->state, node->target->name);
		sum += node->expected;
		known += node->expected > 0;
	}
	run->knows_durations = known > 0;
	for (size_t i = 0; i < run->plan->len; i++) {
		struct node *node = &run->nodes[run->plan->order[i]];
		if (!node->expected && known && run->options->eta && !run_is_nothing(node->target))
			node->expected = sum / known;
		if (!node->finished)
			run->expected_left += node->expected;
	}
}

/* The longest chain behind each target, by how long they took last time; asked only when something is about to run. By then most have been
 * checked, and need not be looked up once more. */
static void find_critical(struct run *run)
{
	/* One at a time, the longest first gains nothing: then the order in which things are written down holds. */
	bool ordered = run->options->jobs != 1;
	if (run->knows_critical || (!ordered && !run->options->eta))
		return;
	run->knows_critical = true;
	find_expected(run);
	for (size_t i = run->plan->len; i-- > 0;) {
		struct node *node = &run->nodes[run->plan->order[i]];
		uint64_t longest = 0;
		for (size_t u = 0; u < node->target->used_by.len; u++) {
			const struct node *user = &run->nodes[node->target->used_by.at[u]];
			if (user->in_plan && user->critical > longest)
				longest = user->critical;
		}
		node->critical = longest + node->expected;
	}
	struct node **waiting = run->ready.at;
	size_t count = run->ready.len;
	run->ready.at = NULL;
	run->ready.len = run->ready.cap = 0;
	for (size_t i = 0; i < count; i++)
		run_ready(run, waiting[i]);
	free(waiting);
}

static void count_outcome(struct run_summary *summary, enum run_outcome outcome)
{
	switch (outcome) {
	case RUN_UP_TO_DATE:
		summary->up_to_date++;
		break;
	case RUN_RESTORED:
		summary->restored++;
		break;
	case RUN_SUCCEEDED:
		summary->succeeded++;
		break;
	case RUN_FAILED:
		summary->failed++;
		break;
	case RUN_SKIPPED:
	case RUN_INTERRUPTED:
		summary->skipped++;
		break;
	case RUN_WOULD_RUN:
		summary->would_run++;
		break;
	case RUN_ACCEPTED:
		summary->accepted++;
		break;
	}
}

void run_done(struct run *run, struct node *node, struct run_event *event)
{
	const struct target *target = node->target;
	bool bad = event->outcome == RUN_FAILED || event->outcome == RUN_SKIPPED || event->outcome == RUN_INTERRUPTED;
	node->finished = true;
	run->done++;
	if (run->knows_critical)
		run->expected_left -= node->expected < run->expected_left ? node->expected : run->expected_left;
	if (!run_is_nothing(target) || bad)
		count_outcome(run->summary, event->outcome);
	if (event->outcome == RUN_FAILED && !run->options->keep_going)
		run->stop = true;
	for (size_t i = 0; i < target->used_by.len; i++) {
		struct node *user = &run->nodes[target->used_by.at[i]];
		if (!user->in_plan)
			continue;
		user->doomed = user->doomed || bad;
		if (--user->waiting == 0)
			vec_push(&run->undecided, user);
	}
	event->kind = RUN_FINISHED;
	event->target = target;
	run_emit(run, event);
}

static void release_held(struct run *run)
{
	for (size_t i = 0; i < run->held.len; i++)
		lock_release(run->held.at[i]);
	run->held.len = 0;
}

static void publish(struct run *run)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (state_flush(run->state, &err) < 0)
		run_fail(run, &err);
	state_refresh(run->state);
	release_held(run);
}

static void on_flush(void *ctx)
{
	struct run *run = ctx;
	struct err err CLEANUP(err_release) = ERR_INIT;
	uint64_t now = loop_now_ms();
	run->flush_timer = NULL;
	if (now - run->saved_ms >= SAVE_EVERY_MS) {
		run->saved_ms = now;
		if (hashes_save(run->hashes, &err) < 0)
			run_fail(run, &err);
	}
	publish(run);
}

static void flush_cache(struct run *run)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (outputs_flush(run->cache, &err) < 0)
		run_warn(run, NULL, "not all outputs are kept in the output cache: %s", err.message);
}

static void on_cache_flush(void *ctx)
{
	struct run *run = ctx;
	run->cache_timer = NULL;
	flush_cache(run);
}

static bool somebody_may_wait(struct run *run)
{
	uint64_t now = loop_now_ms();
	if (!run->held.len || now - run->company_ms < COMPANY_EVERY_MS)
		return false;
	run->company_ms = now;
	return locks_have_company(run->locks);
}

/* A target's lock is given up once its record can be seen: who waited for it would run it again otherwise. At once where somebody may be
 * waiting, else together with others. */
static void hold(struct run *run, struct job *job)
{
	/* Who reads what it made locks that in its turn. */
	bool is_read = job->node->target->always && job->node->target->used_by.len;
	if (job->lock)
		vec_push(&run->held, job->lock);
	job->lock = NULL;
	if (!state_pending(run->state))
		release_held(run);
	else if (is_read || run->held.len >= run->held_max || somebody_may_wait(run))
		publish(run);
}

static void give_back(struct run *run, struct job *job)
{
	struct node_list woken = { 0 };
	resources_give(&run->resources, &job->claim, &woken);
	for (size_t i = 0; i < woken.list.len; i++)
		run_ready(run, woken.list.at[i]);
	vec_release(&woken.list);
}

void run_job_ended(struct run *run, struct job *job)
{
	/* One at a time means that nothing starts behind what may yet fail. */
	if (run->resources.cpus == 1) {
		finish_success(job);
		return;
	}
	give_back(run, job);
	job->ended = true;
	run->ended++;
}

void run_job_over(struct run *run, struct job *job)
{
	for (size_t i = 0; i < run->jobs.len; i++) {
		if (run->jobs.at[i] != job)
			continue;
		run->jobs.at[i] = run->jobs.at[--run->jobs.len];
		break;
	}
	run->ended -= job->ended;
	give_back(run, job);
	hold(run, job);
	exec_free(job);
	if (!run->flush_timer && state_pending(run->state))
		run->flush_timer = loop_add_timer(run->loop, FLUSH_AFTER_MS, on_flush, run);
	if (!run->cache_timer && outputs_have_unflushed(run->cache))
		run->cache_timer = loop_add_timer(run->loop, CACHE_AFTER_MS, on_cache_flush, run);
}

static void on_tick(void *ctx)
{
	struct run *run = ctx;
	struct run_event event = { .kind = RUN_TICK };
	run->tick_timer = loop_add_timer(run->loop, run->options->tick_ms, on_tick, run);
	run_emit(run, &event);
}

static void on_signal(void *ctx, int signal_number)
{
	struct run *run = ctx;
	if (signal_number == SIGCHLD)
		exec_reap(run);
	if (signal_number == SIGCHLD || signal_number == SIGWINCH)
		return;
	bool again = run->summary->signal_number != 0;
	run->summary->signal_number = signal_number;
	run->stop = true;
	/* A job without a process goes at once, out of the list that is walked. */
	for (size_t i = run->jobs.len; i-- > 0;)
		exec_signal(run->jobs.at[i], again ? SIGKILL : signal_number);
}

static bool has_work(const struct run *run)
{
	if (run->jobs.len)
		return true;
	return !run->stop && (run->ready.len || run->sharing.asking || run->reading.now || run->next_undecided < run->undecided.len);
}

/* The most urgent first, as far as what they want is free. */
static void start_ready(struct run *run)
{
	if (run->ready.len)
		find_critical(run);
	while (!run->stop && run->ready.len && !slots_load_is_high(run)) {
		struct node *node = pop_ready(run);
		struct claim claim;
		switch (resources_take(&run->resources, node, &claim)) {
		case TAKE_DONE:
			run->started_now++;
			exec_start(run, node, &claim);
			break;
		case TAKE_WAIT:
			run_ready(run, node);
			slots_wait(run);
			return;
		case TAKE_PARKED:
			break;
		}
	}
}

/* While what was started in their place is on its way. */
static void finish_ended(struct run *run)
{
	for (size_t i = run->jobs.len; i-- > 0 && run->ended;)
		if (i < run->jobs.len && run->jobs.at[i]->ended)
			finish_success(run->jobs.at[i]);
}

static int run_loop(struct run *run, struct err *err)
{
	while (has_work(run)) {
		start_ready(run);
		finish_ended(run);
		bool decided = decide_undecided(run), left = !run->stop && run->next_undecided < run->undecided.len;
		if (decided && !left)
			continue; /* what is ready now may start */
		bool waits = run->jobs.len || ((run->sharing.asking || run->reading.now) && !run->stop);
		if (waits && loop_step(run->loop, left ? 0 : -1, err) < 0)
			return -1;
	}
	return 0;
}

/* In a large plan the stats of all that is named go over the processors at once. */
static void prefetch(struct run *run)
{
	VEC(const char *) paths = { 0 };
	if (run->plan->len < RUN_MANY || run->options->force)
		return;
	for (size_t i = 0; i < run->plan->len; i++) {
		const struct target *target = run->nodes[run->plan->order[i]].target;
		for (size_t k = 0; k < target->inputs.len && !belief_holds(run, target); k++)
			if (target->inputs.at[k].named && !target->inputs.at[k].exclude)
				vec_push(&paths, target->inputs.at[k].glob);
		for (size_t k = 0; k < target->outputs.len && !belief_holds(run, target); k++)
			vec_push(&paths, target->outputs.at[k].path);
	}
	if (paths.len >= RUN_MANY)
		hashes_prefetch(run->hashes, paths.at, paths.len);
	vec_release(&paths);
}

static void lay_out(struct run *run)
{
	const struct project *project = run->project;
	run->nodes = mem_alloc((project->target_count + 1) * sizeof(*run->nodes));
	run->results = mem_alloc((project->target_count + 1) * sizeof(*run->results));
	for (size_t i = 0; i < run->plan->len; i++) {
		struct node *node = &run->nodes[run->plan->order[i]];
		node->target = &project->targets[run->plan->order[i]];
		node->in_plan = true;
		node->position = i;
	}
	for (size_t i = 0; i < run->plan->len; i++) {
		const struct target *target = &project->targets[run->plan->order[i]];
		for (size_t u = 0; u < target->used_by.len; u++)
			run->nodes[target->used_by.at[u]].waiting++;
	}
	for (size_t i = 0; i < run->plan->len; i++)
		if (!run->nodes[run->plan->order[i]].waiting)
			vec_push(&run->undecided, &run->nodes[run->plan->order[i]]);
}

/* What the state database has to say, at its opening and of what it found later. */
static void tell_notices(struct run *run)
{
	const struct strlist *notices = state_notices(run->state);
	struct strlist of_cache = { 0 };
	while (run->notices_told < notices->len)
		run_warn(run, NULL, "%s", notices->at[run->notices_told++]);
	state_told(run->state);
	outputs_take_notices(run->cache, &of_cache);
	for (size_t i = 0; i < of_cache.len; i++)
		run_warn(run, NULL, "%s", of_cache.at[i]);
	strlist_release(&of_cache);
}

static int open_locks(struct run *run, struct err *err)
{
	OWNED char *dir = path_joined(state_dir(run->state), "locks");
	return locks_open(dir, run->options->command ? run->options->command : "mlmake", &run->locks, err);
}

static int open_stores(struct run *run, struct err *err)
{
	if (state_open(run->project->root, &run->state, err) < 0 ||
	    hashes_new(run->state, run->project->root, &run->hashes, err) < 0 ||
	    fingerprints_init(&run->fps, run->project, run->state, run->hashes, err) < 0 || loop_new(&run->loop, err) < 0)
		return -1;
	tell_notices(run);
	run->held_max = proc_descriptors() / 8 < HELD_MAX ? proc_descriptors() / 8 : HELD_MAX;
	run->null_fd = run->options->dry_run ? -1 : sys.openat(AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0);
	if (!run->options->dry_run && open_locks(run, err) < 0)
		return -1;
	if (run->options->no_cache)
		return 0;
	struct err why CLEANUP(err_release) = ERR_INIT;
	if (outputs_open(&run->cache, &why) < 0)
		run_warn(run, NULL, "%s: outputs are not kept", why.message);
	return 0;
}

static void close_stores(struct run *run)
{
	while (run->jobs.len)
		run_job_over(run, run->jobs.at[0]);
	ahead_end(run);
	sharing_end(run);
	if (run->tick_timer)
		loop_remove_timer(run->loop, run->tick_timer);
	if (run->flush_timer)
		loop_remove_timer(run->loop, run->flush_timer);
	if (run->cache_timer)
		loop_remove_timer(run->loop, run->cache_timer);
	fingerprint_release(&run->fp);
	record_release(&run->record);
	fingerprints_release(&run->fps);
	outputs_close(run->cache);
	hashes_free(run->hashes);
	state_close(run->state);
	release_held(run);
	locks_close(run->locks);
	fs_close_fd(&run->null_fd);
	changes_close(run);
	slots_close(run);
	if (run->loop)
		loop_free(run->loop);
	vec_release(&run->undecided);
	vec_release(&run->ready);
	vec_release(&run->jobs);
	vec_release(&run->held);
	map_release_values(&run->programs, free);
	environment_passed_release(&run->passed);
	free(run->nodes);
	free(run->results);
	belief_end(run);
}

/* Now and then; what goes wrong there takes nothing from the run. */
static void trim_cache(struct run *run)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (run->cache && !run->stop && cache_trim(run->cache, run->project, &err) < 0)
		run_warn(run, NULL, "the output cache could not be made smaller: %s", err.message);
}

static int run_all(struct run *run, struct err *err)
{
	if (open_stores(run, err) < 0)
		return -1;
	if (!run->options->dry_run && loop_catch_signals(run->loop, on_signal, run, err) < 0)
		return -1;
	if (run->options->tick_ms)
		run->tick_timer = loop_add_timer(run->loop, run->options->tick_ms, on_tick, run);
	/* Not after the hours that it takes to make what is then refused. */
	for (size_t i = 0; i < run->plan->len && !run->options->dry_run; i++)
		if (finish_can_track(run, &run->project->targets[run->plan->order[i]], true, err) < 0)
			return -1;
	slots_open(run);
	changes_open(run);
	lay_out(run);
	belief_begin(run);
	prefetch(run);
	struct run_event planned = { .kind = RUN_PLANNED };
	run_emit(run, &planned);
	run->saved_ms = loop_now_ms();
	sharing_begin(run);
	int failed = run_loop(run, err);
	tell_notices(run);
	if (failed || hashes_save(run->hashes, err) < 0 || state_flush(run->state, err) < 0 || sharing_finish(run, err) < 0)
		return -1;
	flush_cache(run);
	trim_cache(run);
	return run->failed ? -1 : 0;
}

int engine_run(const struct project *project, const struct plan *plan, const struct run_options *options, const struct run_sink *sink,
	       struct run_summary *ret, struct err *err)
{
	struct run run = { .project = project, .plan = plan, .options = options, .sink = sink, .summary = ret, .err = err, .null_fd = -1 };
	*ret = (struct run_summary){ 0 };
	run.fp = (struct fingerprint)FINGERPRINT_INIT;
	run.record = (struct record)RECORD_INIT;
	run.started_ms = loop_now_ms();
	int failed = run_all(&run, err);
	/* What never came to its turn, after a failure or a signal. */
	for (size_t i = 0; i < plan->len && run.nodes && !options->dry_run; i++)
		if (!run.nodes[plan->order[i]].finished && !run_is_nothing(run.nodes[plan->order[i]].target))
			ret->skipped++;
	ret->state_seen = run.state ? state_seen(run.state) : 0;
	close_stores(&run);
	ret->duration_ms = loop_now_ms() - run.started_ms;
	return failed;
}
