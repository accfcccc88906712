/* Targets that need each other in a circle. */
#include "graph/internal.h"

struct step {
	uint32_t id;
	size_t next; /* of its edges */
};

struct search {
	const struct project *project;
	uint8_t *state; /* 0 new, 1 on the way, 2 done */
	VEC(struct step) way;
};

static const char *verb(const struct edge *edge)
{
	return edge->kind == EDGE_NEEDS ? "needs" : edge->kind == EDGE_AFTER ? "runs after" : "reads what is made by";
}

/* The way ends with the target whose last edge leads back to first. */
static int report(const struct search *s, size_t first, struct err *err)
{
	const struct project *project = s->project;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	for (size_t i = first; i < s->way.len; i++)
		buf_addf(&path, "%s -> ", project->targets[s->way.at[i].id].name);
	err_set(err, ERR_CONFIG, "targets need each other in a circle: %s%s", path.data,
		project->targets[s->way.at[first].id].name);
	err_hint(err, "remove one of these from needs:, after: or inputs:");
	for (size_t i = first; i < s->way.len; i++) {
		const struct step *step = &s->way.at[i];
		const struct edge *edge = &project->internal->edges[step->id].at[step->next - 1];
		const struct span at = project_span(project, &edge->place, false);
		if (i == first)
			project_err_at(project, &edge->place, err);
		err_note(err, "'%s' %s '%s' at %s:%u:%u", project->targets[step->id].name, verb(edge),
			 project->targets[edge->to].name, at.file, at.line, at.col);
	}
	return -1;
}

static int search_from(struct search *s, uint32_t start, struct err *err)
{
	vec_push(&s->way, (struct step){start, 0});
	s->state[start] = 1;
	while (s->way.len > 0) {
		struct step *step = &s->way.at[s->way.len - 1];
		const struct edge_list *edges = &s->project->internal->edges[step->id];
		if (step->next == edges->len) {
			s->state[step->id] = 2;
			s->way.len--;
			continue;
		}
		uint32_t to = edges->at[step->next++].to;
		if (s->state[to] == 1) {
			size_t first = 0;
			while (s->way.at[first].id != to)
				first++;
			return report(s, first, err);
		}
		if (s->state[to] == 0) {
			s->state[to] = 1;
			vec_push(&s->way, (struct step){to, 0});
		}
	}
	return 0;
}

int graph_check_cycles(const struct project *project, struct err *err)
{
	struct search s = {.project = project, .state = mem_alloc(project->target_count + 1)};
	int result = 0;
	for (size_t i = 0; result == 0 && i < project->target_count; i++)
		if (s.state[i] == 0)
			result = search_from(&s, (uint32_t)i, err);
	vec_release(&s.way);
	free(s.state);
	return result;
}
