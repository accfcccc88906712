/* How one target leads to another. */
#include "graph/internal.h"

const struct edge_list *project_edges(const struct project *project, const struct target *target)
{
	return &project->internal->edges[target->id];
}

/* Breadth first; came[id] is the step that led to id, with edge NULL where none did. */
static bool search(const struct project *project, uint32_t from, uint32_t to, bool with_after, struct route_step *came)
{
	VEC(uint32_t) queue = {0};
	vec_push(&queue, from);
	bool found = false;
	for (size_t next = 0; next < queue.len && !found; next++) {
		const struct target *target = &project->targets[queue.at[next]];
		const struct edge_list *edges = project_edges(project, target);
		for (size_t i = 0; i < edges->len && !found; i++) {
			const struct edge *edge = &edges->at[i];
			if (came[edge->to].edge != NULL || (edge->kind == EDGE_AFTER && !with_after))
				continue;
			came[edge->to] = (struct route_step){target, edge};
			vec_push(&queue, edge->to);
			found = edge->to == to;
		}
	}
	vec_release(&queue);
	return found;
}

void project_route(const struct project *project, const struct target *from, const struct target *to, struct route *ret)
{
	*ret = (struct route){.at = NULL};
	bool found = false;
	for (int with_after = 0; with_after < 2 && !found && from != to; with_after++) {
		struct route_step *came = mem_alloc((project->target_count + 1) * sizeof(*came));
		found = search(project, from->id, to->id, with_after, came);
		for (uint32_t id = to->id; found && id != from->id; id = came[id].from->id)
			ret->len++;
		ret->at = found ? mem_alloc(ret->len * sizeof(*ret->at)) : NULL;
		uint32_t id = to->id;
		for (size_t i = ret->len; found && i-- > 0; id = came[id].from->id)
			ret->at[i] = came[id];
		free(came);
	}
}
