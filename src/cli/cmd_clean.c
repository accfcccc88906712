/* mlmake clean: removes what targets made. */
#include "cli/commands.h"

#include "engine/clean.h"
#include "formats/json.h"

#include <stdlib.h>
#include <string.h>

static void put_items(struct json_writer *w, const struct clean_report *report, const char *key, bool left)
{
	json_key(w, key);
	json_open_array(w);
	for (size_t i = 0; i < report->items.len; i++) {
		const struct clean_item *item = &report->items.at[i];
		if ((item->left_because != NULL) != left)
			continue;
		json_open_object(w);
		json_pair_str(w, "path", item->path);
		json_pair_str(w, "target", item->target->name);
		if (left)
			json_pair_str(w, "reason", item->left_because);
		json_close(w);
	}
	json_close(w);
}

static void print_json(struct cli *cli, const struct clean_report *report, bool dry_run)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_int(&w, "version", 1);
	json_pair_bool(&w, "dry_run", dry_run);
	put_items(&w, report, "removed", false);
	put_items(&w, report, "left", true);
	json_end(&w);
	cli_out_bytes(cli, out.data, out.len);
}

static void print_text(struct cli *cli, const struct clean_report *report, bool dry_run)
{
	size_t left = 0;
	for (size_t i = 0; i < report->items.len; i++) {
		const struct clean_item *item = &report->items.at[i];
		if (item->left_because)
			left++;
		else
			cli_out(cli, "%s %s\n", dry_run ? "would remove" : "removed", item->path);
	}
	for (size_t i = 0; i < report->items.len; i++)
		if (report->items.at[i].left_because)
			cli_out(cli, "left %s: %s\n", report->items.at[i].path, report->items.at[i].left_because);
	if (!report->items.len)
		cli_note(cli, "nothing to remove");
	if (left)
		cli_note(cli, "hint: --force removes also what was left");
}

static void mark(const struct project *project, const struct target *target, bool *chosen)
{
	if (chosen[target->id])
		return;
	chosen[target->id] = true;
	/* An alias makes nothing: its name stands for what it needs. */
	for (size_t i = 0; target->is_alias && i < target->needs.len; i++)
		mark(project, &project->targets[target->needs.at[i]], chosen);
}

/* The ids of the named targets, else of all. The caller frees *ret. */
static int choose(const struct project *project, const char *const *words, size_t count, uint32_t **ret, size_t *ret_len, struct err *err)
{
	struct string_list names;
	bool *chosen OWNED = mem_alloc(project->target_count + 1);
	int failed = project_select(project, words, count, &names, err);
	for (size_t i = 0; i < names.len; i++)
		mark(project, project_find(project, names.at[i]), chosen);
	free(names.at);
	*ret = mem_alloc((project->target_count + 1) * sizeof(**ret));
	*ret_len = 0;
	for (size_t i = 0; i < project->target_count; i++)
		if (chosen[i] || !count)
			(*ret)[(*ret_len)++] = (uint32_t)i;
	return failed;
}

static int clean(struct cli *cli, const struct project *project, const char *const *words, size_t count, const struct clean_options *options,
		 struct err *err)
{
	uint32_t *ids OWNED = NULL;
	size_t len;
	struct clean_report report CLEANUP(clean_report_release) = { 0 };
	if (choose(project, words, count, &ids, &len, err) < 0 || engine_clean(project, ids, len, options, &report, err) < 0)
		return -1;
	if (cli->json)
		print_json(cli, &report, options->dry_run);
	else
		print_text(cli, &report, options->dry_run);
	return 0;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct clean_options options = { 0 };
	const struct option table[] = {
		{ 'n', "dry-run", NULL, "say what would be removed; remove nothing", OPTION_FLAG, &options.dry_run },
		{ 0, "force", NULL, "also what was changed since, what no record knows, and what is versioned as data", OPTION_FLAG, &options.force },
		OPTION_CONFIG_FILE(cli),
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, table, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct project *project CLEANUP(cli_drop_project) = NULL;
	if (cli_load(cli, &project, err) < 0)
		return -1;
	return clean(cli, project, args.at, args.len, &options, err);
}

const struct command cmd_clean = {
	.name = "clean",
	.summary = "remove what targets made",
	.usage = "[OPTIONS] [TARGET...]",
	.help = "Removes the outputs of the named targets, else of all, that are as their target left them. What was changed since, what no\n"
		"record knows and what is versioned as data is listed and left. The output cache keeps a copy: the next run restores.\n"
		"A project that declares a target 'clean' runs that one instead.\n"
		"\n"
		"  mlmake clean -n\n"
		"  mlmake clean train\n"
		"  mlmake clean --json 'test*'",
	.has_json = true,
	.yields = true,
	.operands = OPERANDS_TARGETS,
	.most = MANY,
	.run = run,
};
