#include "features/ci/jobs.h"

#include "base/path.h"
#include "base/text.h"
#include "features/ci/ci.h"
#include "formats/ignore.h"

#include <string.h>

#define MAX_JOBS 100

static const char *const conventional[] = { "lint", "typecheck", "test", "build" };

/* The name stands in a shell command of the workflow, where it must need no quoting. */
static int check_name(const struct project *project, const struct target *target, struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
	const char *name = target->name;
	if (strchr(letters, *name) && *name && !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:@/+=-")])
		return 0;
	err_set(err, ERR_CONFIG, "target '%s' cannot become a job: its name needs quoting in a shell", name);
	err_hint(err, "letters, digits and _ . : @ / + = - are fine");
	return project_err_at(project, &target->place, err);
}

static bool id_is_taken(const struct ci_jobs *jobs, const char *id)
{
	for (size_t i = 0; i < jobs->len; i++) {
		if (text_eq(jobs->at[i].id, id))
			return true;
	}
	return text_eq(id, CI_GATE);
}

static char *make_id(const struct ci_jobs *jobs, const char *name)
{
	struct buf id CLEANUP(buf_release) = BUF_INIT;
	if (*name >= '0' && *name <= '9')
		buf_addch(&id, '_');
	for (; *name; name++) {
		bool plain = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || (*name >= '0' && *name <= '9') ||
			     *name == '_';
		buf_addch(&id, plain ? *name : '-');
	}
	size_t len = id.len;
	for (unsigned number = 2; id_is_taken(jobs, id.data); number++) {
		buf_truncate(&id, len);
		buf_addf(&id, "-%u", number);
	}
	return buf_detach(&id);
}

static int add_job(const struct project *project, struct ci_jobs *jobs, const struct target *target, struct err *err)
{
	if (target->settings->ci && target->settings->ci->skip)
		return 0;
	for (size_t i = 0; i < jobs->len; i++) {
		if (jobs->at[i].target == target)
			return 0;
	}
	if (check_name(project, target, err) < 0)
		return -1;
	if (jobs->len == MAX_JOBS)
		return err_set(err, ERR_CONFIG, "more than %d targets for CI", MAX_JOBS);
	struct ci_job job = { .id = make_id(jobs, target->name), .target = target };
	vec_push(jobs, job);
	return 0;
}

static int choose_targets(const struct project *project, struct ci_jobs *ret, struct err *err)
{
	const struct string_list *named = &project->ci.targets;
	for (size_t i = 0; i < named->len; i++) {
		const struct target *target;
		if (project_target(project, named->at[i], &target, err) < 0)
			return err_note(err, "in ci.targets");
		if (add_job(project, ret, target, err) < 0)
			return -1;
	}
	for (size_t i = 0; !named->len && i < ARRAY_LEN(conventional); i++) {
		const struct target *target = project_find(project, conventional[i]);
		if (target && add_job(project, ret, target, err) < 0)
			return -1;
	}
	if (ret->len)
		return 0;
	err_set(err, ERR_CONFIG, "no target of this project can become a CI job");
	return err_hint(err, "define lint, typecheck, test or build, or name targets in mlmake.yaml: ci: {targets: [...]}");
}

/* What a walk over the graph below one job's target finds. */
struct walk {
	const struct project *project;
	const struct tracked_list *tracked;
	bool *seen;        /* by target id */
	const struct ci_jobs *jobs;
	bool *reached;     /* by job index; NULL: walk through other jobs' targets, too, and look for data */
	bool reads_data;
};

static bool input_reads(const struct input_pattern *input, const struct tracked_path *tracked)
{
	if (glob_match(input->glob, tracked->path) || path_inside(tracked->path, input->glob))
		return true;
	if (input->named)
		return path_inside(input->glob, tracked->path);
	return tracked->is_dir && glob_may_match_below(input->glob, tracked->path);
}

static bool target_reads_data(const struct target *target, const struct tracked_list *tracked)
{
	for (size_t i = 0; i < tracked->len; i++) {
		bool reads = false;
		for (size_t k = 0; k < target->inputs.len; k++) {
			const struct input_pattern *input = &target->inputs.at[k];
			if (!input->exclude)
				reads = reads || input_reads(input, &tracked->at[i]);
			else if (glob_match(input->glob, tracked->at[i].path))
				reads = false;
		}
		if (reads)
			return true;
	}
	return false;
}

static bool stop_at_job(struct walk *walk, const struct target *target)
{
	for (size_t i = 0; i < walk->jobs->len; i++) {
		if (walk->jobs->at[i].target == target) {
			walk->reached[i] = true;
			return true;
		}
	}
	return false;
}

static void walk_from(struct walk *walk, uint32_t start)
{
	VEC(uint32_t) stack = { 0 };
	memset(walk->seen, 0, walk->project->target_count * sizeof(*walk->seen));
	vec_push(&stack, start);
	while (stack.len) {
		const struct target *target = &walk->project->targets[stack.at[--stack.len]];
		if (walk->seen[target->id])
			continue;
		walk->seen[target->id] = true;
		if (walk->reached && target->id != start && stop_at_job(walk, target))
			continue;
		if (!walk->reached)
			walk->reads_data = walk->reads_data || target_reads_data(target, walk->tracked);
		for (size_t i = 0; i < target->needs.len; i++)
			vec_push(&stack, target->needs.at[i]);
		for (size_t i = 0; i < target->makes_inputs.len; i++)
			vec_push(&stack, target->makes_inputs.at[i]);
	}
	vec_release(&stack);
}

/* reach[i * len + j]: job i comes to job j without passing a third. What another of its jobs waits for anyway is left out. */
static void keep_direct_needs(struct ci_jobs *jobs, const bool *reach)
{
	size_t len = jobs->len;
	bool *closure OWNED = mem_alloc(len * len * sizeof(*closure));
	memcpy(closure, reach, len * len * sizeof(*closure));
	for (size_t k = 0; k < len; k++) {
		for (size_t i = 0; i < len; i++) {
			for (size_t j = 0; closure[i * len + k] && j < len; j++)
				closure[i * len + j] = closure[i * len + j] || closure[k * len + j];
		}
	}
	for (size_t i = 0; i < len; i++) {
		for (size_t j = 0; j < len; j++) {
			bool direct = reach[i * len + j];
			for (size_t other = 0; other < len && direct; other++)
				direct = !(reach[i * len + other] && closure[other * len + j]);
			if (direct)
				vec_push(&jobs->at[i].needs, j);
		}
	}
}

int ci_jobs_select(const struct project *project, const struct tracked_list *tracked, struct ci_jobs *ret, struct err *err)
{
	if (choose_targets(project, ret, err) < 0)
		return -1;
	bool *seen OWNED = mem_alloc(project->target_count * sizeof(*seen));
	bool *reach OWNED = mem_alloc(ret->len * ret->len * sizeof(*reach));
	for (size_t i = 0; i < ret->len; i++) {
		struct walk walk = { .project = project, .tracked = tracked, .seen = seen, .jobs = ret };
		walk_from(&walk, ret->at[i].target->id);
		ret->at[i].reads_data = walk.reads_data;
		walk.reached = reach + i * ret->len;
		walk_from(&walk, ret->at[i].target->id);
	}
	keep_direct_needs(ret, reach);
	return 0;
}

void ci_jobs_release(struct ci_jobs *jobs)
{
	for (size_t i = 0; i < jobs->len; i++) {
		free(jobs->at[i].id);
		vec_release(&jobs->at[i].needs);
	}
	vec_release(jobs);
}
