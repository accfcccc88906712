/* mlmake graph: targets and what they depend on, for other programs to draw. */
#include "cli/commands.h"

#include "cli/edges.h"

#include <stdlib.h>
#include <string.h>

struct drawing {
	const struct project *project;
	bool *shown; /* by target id */
	struct buf out;
};

/* Calls draw for each edge between targets that are shown. One target may depend on another for several reasons. */
static void each_edge(struct drawing *d, void (*draw)(struct drawing *d, const struct target *from, const struct edge *edge, void *ctx), void *ctx)
{
	for (size_t i = 0; i < d->project->target_count; i++) {
		const struct target *target = &d->project->targets[i];
		const struct edge_list *edges = project_edges(d->project, target);
		for (size_t k = 0; d->shown[i] && k < edges->len; k++)
			if (d->shown[edges->at[k].to])
				draw(d, target, &edges->at[k], ctx);
	}
}

/* A quoted string of dot: only the quote and the backslash are special. */
static void add_dot_string(struct buf *out, const char *text)
{
	buf_addch(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_addch(out, '\\');
		buf_addch(out, *text);
	}
	buf_addch(out, '"');
}

static void dot_edge(struct drawing *d, const struct target *from, const struct edge *edge, void *ctx)
{
	(void)ctx;
	buf_addstr(&d->out, "  ");
	add_dot_string(&d->out, d->project->targets[edge->to].name);
	buf_addstr(&d->out, " -> ");
	add_dot_string(&d->out, from->name);
	if (edge->kind == EDGE_INPUT) {
		buf_addstr(&d->out, " [label=");
		add_dot_string(&d->out, edge->input);
		buf_addch(&d->out, ']');
	} else if (edge->kind == EDGE_AFTER) {
		buf_addstr(&d->out, " [style=dashed]");
	}
	buf_addstr(&d->out, ";\n");
}

static void draw_dot(struct drawing *d)
{
	buf_addstr(&d->out, "digraph mlmake {\n  rankdir=LR;\n  node [shape=box];\n");
	for (size_t i = 0; i < d->project->target_count; i++) {
		if (!d->shown[i])
			continue;
		buf_addstr(&d->out, "  ");
		add_dot_string(&d->out, d->project->targets[i].name);
		buf_addstr(&d->out, d->project->targets[i].is_alias ? " [shape=ellipse];\n" : ";\n");
	}
	each_edge(d, dot_edge, NULL);
	buf_addstr(&d->out, "}\n");
}

/* A quoted string of mermaid, where characters are escaped as entities without '&'. */
static void add_mermaid_string(struct buf *out, const char *text)
{
	buf_addch(out, '"');
	for (; *text; text++) {
		if (strchr("\"#<>&|`", *text))
			buf_addf(out, "#%d;", *text);
		else
			buf_addch(out, *text);
	}
	buf_addch(out, '"');
}

static void mermaid_edge(struct drawing *d, const struct target *from, const struct edge *edge, void *ctx)
{
	(void)ctx;
	buf_addf(&d->out, "  t%u %s", edge->to, edge->kind == EDGE_AFTER ? "-.->" : "-->");
	if (edge->kind == EDGE_INPUT) {
		buf_addch(&d->out, '|');
		add_mermaid_string(&d->out, edge->input);
		buf_addch(&d->out, '|');
	}
	buf_addf(&d->out, " t%u\n", from->id);
}

static void draw_mermaid(struct drawing *d)
{
	buf_addstr(&d->out, "flowchart LR\n");
	for (size_t i = 0; i < d->project->target_count; i++) {
		const struct target *target = &d->project->targets[i];
		if (!d->shown[i])
			continue;
		buf_addf(&d->out, "  t%u%s", target->id, target->is_alias ? "([" : "[");
		add_mermaid_string(&d->out, target->name);
		buf_addstr(&d->out, target->is_alias ? "])\n" : "]\n");
	}
	each_edge(d, mermaid_edge, NULL);
}

static void json_edge(struct drawing *d, const struct target *from, const struct edge *edge, void *ctx)
{
	edges_put_json(ctx, d->project, from, edge);
}

static void draw_json(struct drawing *d)
{
	struct json_writer w;
	json_begin(&w, &d->out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_int(&w, "version", 1);
	json_key(&w, "targets");
	json_open_array(&w);
	for (size_t i = 0; i < d->project->target_count; i++) {
		const struct target *target = &d->project->targets[i];
		if (!d->shown[i])
			continue;
		json_open_object(&w);
		json_pair_str(&w, "name", target->name);
		json_pair_str(&w, "desc", target->desc);
		json_pair_bool(&w, "alias", target->is_alias);
		json_pair_bool(&w, "private", target->is_private);
		json_close(&w);
	}
	json_close(&w);
	json_key(&w, "edges");
	json_open_array(&w);
	each_edge(d, json_edge, &w);
	json_end(&w);
}

struct format {
	const char *name;
	void (*draw)(struct drawing *d);
};

static const struct format formats[] = { { "dot", draw_dot }, { "mermaid", draw_mermaid }, { "json", draw_json } };

static int find_format(const char *name, const struct format **ret, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		*ret = &formats[i];
		if (strcmp(formats[i].name, name) == 0)
			return 0;
	}
	err_set(err, ERR_CONFIG, "there is no format '%s'", name);
	return err_hint(err, "--format takes dot, mermaid or json");
}

/* The named targets and all that they lead to; without names, all targets. */
static int choose(struct drawing *d, const char *const *words, size_t count, struct err *err)
{
	struct plan plan;
	d->shown = mem_alloc((d->project->target_count + 1) * sizeof(*d->shown));
	if (!count) {
		memset(d->shown, true, d->project->target_count);
		return 0;
	}
	if (plan_make(d->project, words, count, &plan, err) < 0)
		return -1;
	for (size_t i = 0; i < plan.len; i++)
		d->shown[plan.order[i]] = true;
	plan_release(&plan);
	return 0;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	const char *name = NULL;
	const struct format *format;
	const struct option options[] = {
		{ 0, "format", "FORMAT", "dot (the default), mermaid or json", OPTION_STRING, &name },
		OPTION_CONFIG_FILE(cli),
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (find_format(name ? name : cli->json ? "json" : "dot", &format, err) < 0)
		return -1;
	struct project *project CLEANUP(cli_drop_project) = NULL;
	if (cli_load(cli, &project, err) < 0)
		return -1;
	struct drawing drawing = { .project = project, .out = BUF_INIT };
	int failed = choose(&drawing, args.at, args.len, err);
	if (!failed) {
		format->draw(&drawing);
		cli_out_bytes(cli, drawing.out.data, drawing.out.len);
	}
	free(drawing.shown);
	buf_release(&drawing.out);
	return failed;
}

const struct command cmd_graph = {
	.name = "graph",
	.summary = "draw targets and what they depend on",
	.usage = "[OPTIONS] [TARGET...]",
	.help = "Arrows lead from a target to those that depend on it: through needs, through a file that one makes and another reads (the file\n"
		"stands at the arrow), or, dashed, through after. With targets: they and all that they lead to.\n"
		"\n"
		"  mlmake graph | dot -Tsvg > graph.svg\n"
		"  mlmake graph --format mermaid train    for Markdown on GitHub\n"
		"  mlmake graph --format json             an edge goes from a target to what it depends on",
	.operands = OPERANDS_TARGETS,
	.has_json = true,
	.most = MANY,
	.run = run,
};
