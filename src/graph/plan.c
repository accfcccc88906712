/* What a request reaches, in an order in which it can run. */
#include "graph/internal.h"

#include "base/text.h"
#include "formats/ignore.h"

#include <string.h>

int project_target(const struct project *project, const char *name, const struct target **ret, struct err *err)
{
	*ret = project_find(project, name);
	if (*ret != NULL)
		return 0;
	err_set(err, ERR_CONFIG, "there is no target '%s'", name);
	if (project->target_count == 0)
		return err_hint(
			err, "no mlmake.yaml and nothing that a rule knows was found in %s; 'mlmake init' writes one",
			project->root);
	return hint_target(project, name, err);
}

static int no_match(const struct project *project, const char *word, struct err *err)
{
	struct buf plain CLEANUP(buf_release) = BUF_INIT;
	for (const char *at = word; *at != 0; at++)
		if (strchr("*?[]{}", *at) == NULL)
			buf_addch(&plain, *at);
	err_set(err, ERR_CONFIG, "no target matches '%s'", word);
	return hint_target(project, plain.data, err);
}

int project_select(const struct project *project, const char *const *words, size_t count, struct string_list *ret, struct err *err)
{
	struct map chosen CLEANUP(map_release) = MAP_INIT;
	int result = 0;
	*ret = (struct string_list){.at = NULL};
	for (size_t i = 0; result == 0 && i < count; i++) {
		const struct target *target;
		if (project_find(project, words[i]) || !glob_has_magic(words[i])) {
			result = project_target(project, words[i], &target, err);
			if (result == 0)
				map_set(&chosen, target->name, (void *)(uintptr_t)target->name);
			continue;
		}
		bool any = false;
		for (size_t t = 0; t < project->target_count; t++) {
			target = &project->targets[t];
			if (target->is_private || !glob_match(words[i], target->name))
				continue;
			any = true;
			map_set(&chosen, target->name, (void *)(uintptr_t)target->name);
		}
		result = any ? 0 : no_match(project, words[i], err);
	}
	ret->at = mem_alloc((chosen.len + 1) * sizeof(*ret->at));
	for (size_t i = 0; i < chosen.len; i++)
		ret->at[ret->len++] = chosen.entries[i].value;
	return result;
}

/* The smallest id first, so that ties go by declaration. */
struct heap {
	VEC(uint32_t) ids;
};

static void heap_push(struct heap *heap, uint32_t id)
{
	vec_push(&heap->ids, id);
	size_t i = heap->ids.len - 1;
	while (i > 0 && heap->ids.at[(i - 1) / 2] > heap->ids.at[i]) {
		uint32_t above = heap->ids.at[(i - 1) / 2];
		heap->ids.at[(i - 1) / 2] = heap->ids.at[i];
		heap->ids.at[i] = above;
		i = (i - 1) / 2;
	}
}

static uint32_t heap_pop(struct heap *heap)
{
	uint32_t *at = heap->ids.at, top = at[0];
	size_t len = --heap->ids.len, i = 0;
	at[0] = at[len];
	for (size_t child; (child = 2 * i + 1) < len; i = child) {
		if (child + 1 < len && at[child + 1] < at[child])
			child++;
		if (at[i] <= at[child])
			break;
		uint32_t below = at[child];
		at[child] = at[i];
		at[i] = below;
	}
	return top;
}

struct planner {
	const struct project *project;
	bool *reached;
	uint32_t *waiting; /* for how many targets of the plan */
	VEC(uint32_t) todo;
	size_t count;
};

static void reach(struct planner *p, uint32_t id)
{
	if (p->reached[id])
		return;
	p->reached[id] = true;
	p->count++;
	vec_push(&p->todo, id);
}

static int reach_all(struct planner *p, struct err *err)
{
	while (p->todo.len > 0) {
		const struct target *target = &p->project->targets[p->todo.at[--p->todo.len]];
		const struct err *fault = map_get(&p->project->internal->faults, target->name);
		if (fault != NULL) {
			err_set(err, fault->code, "%s", fault->message);
			err_at(err, &fault->span);
			err_hint(err, "%s", fault->hint);
			return err_note(err, "in target '%s'", target->name);
		}
		for (size_t i = 0; i < target->needs.len; i++)
			reach(p, target->needs.at[i]);
		for (size_t i = 0; i < target->makes_inputs.len; i++)
			reach(p, target->makes_inputs.at[i]);
	}
	return 0;
}

/* There are no cycles, so that everything reached gets its turn. An edge counts once for each target that used_by names
 * once. */
static void order(struct planner *p, struct plan *ret)
{
	const struct project *project = p->project;
	struct heap ready = {0};
	for (size_t i = 0; i < project->target_count; i++)
		for (size_t k = 0; p->reached[i] && k < project->targets[i].used_by.len; k++)
			p->waiting[project->targets[i].used_by.at[k]]++;
	for (size_t i = 0; i < project->target_count; i++)
		if (p->reached[i] && p->waiting[i] == 0)
			heap_push(&ready, (uint32_t)i);
	while (ready.ids.len > 0) {
		uint32_t id = heap_pop(&ready);
		const struct target *target = &project->targets[id];
		ret->order[ret->len++] = id;
		for (size_t k = 0; k < target->used_by.len; k++) {
			uint32_t user = target->used_by.at[k];
			if (--p->waiting[user] == 0 && p->reached[user])
				heap_push(&ready, user);
		}
	}
	vec_release(&ready.ids);
}

int plan_make(const struct project *project, const char *const *names, size_t count, struct plan *ret, struct err *err)
{
	struct planner p = {.project = project};
	struct string_list chosen;
	int result = project_select(project, names, count, &chosen, err);
	p.reached = mem_alloc((project->target_count + 1) * sizeof(*p.reached));
	p.waiting = mem_alloc((project->target_count + 1) * sizeof(*p.waiting));
	*ret = (struct plan){.requested = mem_alloc((chosen.len + 1) * sizeof(*ret->requested))};

	for (size_t i = 0; result == 0 && i < chosen.len; i++) {
		const struct target *target = project_find(project, chosen.at[i]);
		ret->requested[ret->requested_len++] = target->id;
		reach(&p, target->id);
	}
	free(chosen.at);
	if (result == 0)
		result = reach_all(&p, err);
	if (result == 0) {
		ret->order = mem_alloc((p.count + 1) * sizeof(*ret->order));
		order(&p, ret);
	} else {
		plan_release(ret);
	}
	vec_release(&p.todo);
	free(p.reached);
	free(p.waiting);
	return result;
}

void plan_release(struct plan *plan)
{
	free(plan->order);
	free(plan->requested);
	*plan = (struct plan){.order = NULL};
}
