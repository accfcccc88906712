#include "cli/edges.h"

#include <stdlib.h>

static const char *kind_name(enum edge_kind kind)
{
	switch (kind) {
	case EDGE_NEEDS:
		return "needs";
	case EDGE_AFTER:
		return "after";
	case EDGE_INPUT:
		break;
	}
	return "input";
}

void edges_put_json(struct json_writer *w, const struct project *project, const struct target *from, const struct edge *edge)
{
	json_open_object(w);
	json_pair_str(w, "from", from->name);
	json_pair_str(w, "to", project->targets[edge->to].name);
	json_pair_str(w, "kind", kind_name(edge->kind));
	if (edge->kind == EDGE_INPUT)
		json_pair_str(w, "input", edge->input);
	json_pair_str(w, "file", project_span(project, &edge->place, false).file);
	json_pair_uint(w, "line", edge->place.line);
	json_close(w);
}

static void print_step(struct cli *cli, const struct project *project, const struct route_step *step)
{
	const struct edge *edge = step->edge;
	const char *from = step->from->name, *to = project->targets[edge->to].name;
	switch (edge->kind) {
	case EDGE_NEEDS:
		cli_out(cli, "  %s needs %s", from, to);
		break;
	case EDGE_AFTER:
		cli_out(cli, "  %s runs after %s where both run", from, to);
		break;
	case EDGE_INPUT:
		cli_out(cli, "  %s reads %s, which %s makes", from, edge->input, to);
		break;
	}
	const struct span at = project_span(project, &edge->place, false);
	cli_out(cli, at.file ? "  (%s:%u)\n" : "\n", at.file, at.line);
}

static void print_route(struct cli *cli, const struct project *project, const struct target *from, const struct target *to,
			const struct route *route)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	if (!cli->json) {
		if (!route->len)
			cli_out(cli, "%s does not depend on %s, nor %s on %s\n", from->name, to->name, to->name, from->name);
		else
			cli_out(cli, "%s depends on %s:\n", from->name, to->name);
		for (size_t i = 0; i < route->len; i++)
			print_step(cli, project, &route->at[i]);
		return;
	}
	json_begin(&w, &out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_int(&w, "version", 1);
	json_pair_str(&w, "from", from->name);
	json_pair_str(&w, "to", to->name);
	json_pair_bool(&w, "depends", route->len > 0);
	json_key(&w, "path");
	json_open_array(&w);
	for (size_t i = 0; i < route->len; i++)
		edges_put_json(&w, project, route->at[i].from, route->at[i].edge);
	json_end(&w);
	cli_out_bytes(cli, out.data, out.len);
}

int edges_explain(struct cli *cli, const struct project *project, const char *first, const char *second, struct err *err)
{
	const struct target *from, *to;
	struct route route;
	if (project_target(project, first, &from, err) < 0 || project_target(project, second, &to, err) < 0)
		return -1;
	if (from == to) {
		err_set(err, ERR_CONFIG, "'%s' is named twice", first);
		return err_hint(err, "'mlmake why %s' says why it would run", first);
	}
	project_route(project, from, to, &route);
	if (!route.len) {
		struct route back;
		project_route(project, to, from, &back);
		if (back.len) {
			const struct target *was = from;
			from = to;
			to = was;
		}
		route = back;
	}
	print_route(cli, project, from, to, &route);
	int code = route.len ? 0 : ERR_FAILED;
	free(route.at);
	return code;
}
