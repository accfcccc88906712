/* mlmake list: what can be run. */
#include "cli/commands.h"

#include "base/text.h"
#include "engine/since.h"
#include "formats/json.h"
#include "graph/graph.h"

#include <stdlib.h>
#include <string.h>

static bool is_command_name(const char *name)
{
	const struct command *command = command_find(all_commands, name);
	return command && !command->yields;
}

static void put_names(struct json_writer *w, const struct project *project, const char *key, const uint32_t *ids,
		      size_t count)
{
	json_key(w, key);
	json_open_array(w);
	for (size_t i = 0; i < count; i++)
		json_put_str(w, project->targets[ids[i]].name);
	json_close(w);
}

static void put_target(struct json_writer *w, const struct project *project, const struct target *target, const char *affected_by)
{
	json_open_object(w);
	json_pair_str(w, "name", target->name);
	json_pair_str(w, "desc", target->desc);
	json_pair_str(w, "origin", target->origin);
	json_pair_uint(w, "line", target->place.line);
	json_pair_bool(w, "private", target->is_private);
	if (affected_by)
		json_pair_str(w, "affected_by", affected_by);
	put_names(w, project, "needs", target->needs.at, target->needs.len);
	put_names(w, project, "after", target->after.at, target->after.len);
	put_names(w, project, "inputs_from", target->makes_inputs.at, target->makes_inputs.len);
	json_key(w, "outputs");
	json_open_array(w);
	for (size_t i = 0; i < target->outputs.len; i++) {
		json_open_object(w);
		json_pair_str(w, "path", target->outputs.at[i].path);
		json_pair_bool(w, "track", target->outputs.at[i].track);
		json_pair_bool(w, "metrics", target->outputs.at[i].metrics);
		json_close(w);
	}
	json_close(w);
	json_close(w);
}

/* Which targets are shown: those that were named, else all. */
struct choice {
	struct map names;   /* empty: all */
	struct since since; /* none: whatever changed */
};

static void choice_release(struct choice *choice)
{
	map_release(&choice->names);
	since_release(&choice->since);
}

static const char *because(const struct choice *choice, const struct target *target)
{
	return choice->since.count ? choice->since.because[target->id] : NULL;
}

static bool is_shown(const struct target *target, const struct choice *choice)
{
	return (choice->names.len == 0 || map_has(&choice->names, target->name)) && (!choice->since.count || because(choice, target));
}

static void list_json(struct cli *cli, const struct project *project, const struct choice *chosen)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_int(&w, "version", 1);
	json_pair_str(&w, "root", project->root);
	json_pair_str(&w, "config", project->config_path);
	json_pair_str(&w, "default", project->default_target);
	json_key(&w, "targets");
	json_open_array(&w);
	for (size_t i = 0; i < project->target_count; i++)
		if (is_shown(&project->targets[i], chosen))
			put_target(&w, project, &project->targets[i], because(chosen, &project->targets[i]));
	json_end(&w);
	cli_out_bytes(cli, out.data, out.len);
}

/* A matrix may have thousands of instances: their group stands for them unless they are asked for. */
static bool is_listed(const struct target *target, const struct choice *chosen, bool all)
{
	if (!is_shown(target, chosen))
		return false;
	return all || (!target->is_private && (chosen->names.len > 0 || chosen->since.count > 0 || !strchr(target->name, '@')));
}

/* How many instances a target stands for; 0 if it is no matrix. */
static size_t count_instances(const struct project *project, const struct target *target)
{
	if (!target->is_alias || !target->needs.len)
		return 0;
	const char *first = project->targets[target->needs.at[0]].name;
	size_t len = strlen(target->name);
	return strncmp(first, target->name, len) == 0 && first[len] == '@' ? target->needs.len : 0;
}

static void list_text(struct cli *cli, const struct project *project, const struct choice *chosen, bool all)
{
	size_t width = 0, shown = 0;
	for (size_t i = 0; i < project->target_count; i++) {
		size_t len = strlen(project->targets[i].name);
		if (is_listed(&project->targets[i], chosen, all) && len > width && len <= 30)
			width = len;
	}
	for (size_t i = 0; i < project->target_count; i++) {
		const struct target *target = &project->targets[i];
		if (!is_listed(target, chosen, all))
			continue;
		struct buf line CLEANUP(buf_release) = BUF_INIT;
		size_t instances = count_instances(project, target);
		buf_addf(&line, "%-*s  %s", (int)width, target->name, target->desc);
		if (instances)
			buf_addf(&line, "%s(%zu instances: %s@...)", *target->desc ? "  " : "", instances, target->name);
		if (target->inferred)
			buf_addf(&line, "%s[%s]", *target->desc ? "  " : "", target->origin);
		if (because(chosen, target))
			buf_addf(&line, "%s(%s)", *target->desc || target->inferred ? "  " : "", because(chosen, target));
		if (is_command_name(target->name))
			buf_addf(&line, "  (a command of mlmake is called so, too: mlmake run %s)", target->name);
		while (line.len > 0 && line.data[line.len - 1] == ' ')
			buf_truncate(&line, line.len - 1);
		cli_out(cli, "%s\n", line.data);
		shown++;
	}
	if (shown == 0 && chosen->since.count)
		cli_note(cli, "nothing is affected");
	else if (shown == 0 && project->config_path)
		cli_note(cli,
			 "nothing to run: %s declares no targets%s, and no rule knows anything here\n"
			 "hint: 'mlmake help init' and docs/language.md show what can stand in it",
			 project->config_path, project->target_count ? " that are not private" : "");
	else if (shown == 0)
		cli_note(cli,
			 "nothing to run in %s: no mlmake.yaml, and nothing that a rule knows\n"
			 "hint: 'mlmake init' writes a first mlmake.yaml",
			 project->root);
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	bool all = false;
	const char *range = NULL;
	const struct option options[] = {
		{'a', "all", NULL, "private targets and the instances of a matrix, too", OPTION_FLAG, &all},
		{0, "since", "REV", "those that a change since REV affects (also REV..., A..B), and by what", OPTION_STRING, &range},
		OPTION_CONFIG_FILE(cli),
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct project *project CLEANUP(cli_drop_project) = NULL;
	if (cli_load(cli, &project, err) < 0)
		return -1;
	struct choice chosen CLEANUP(choice_release) = { .names = MAP_INIT };
	const struct project_options load = { .config_file = cli->config_file, .provider = cli->provider };
	struct string_list names;
	int failed = project_select(project, args.at, args.len, &names, err);
	if (!failed && range)
		failed = engine_since(project, &load, range, &chosen.since, err);
	for (size_t i = 0; i < names.len; i++) {
		map_set(&chosen.names, names.at[i], NULL);
		const struct target *target = project_find(project, names.at[i]);
		all = all || target->is_private; /* named in full */
	}
	if (!failed && cli->json)
		list_json(cli, project, &chosen);
	else if (!failed)
		list_text(cli, project, &chosen, all);
	free(names.at);
	return failed;
}

const struct command cmd_list = {
	.name = "list",
	.summary = "show the targets",
	.usage = "[OPTIONS] [TARGET...]",
	.help = "Shows every target with its description, and the rule that it comes from where mlmake.yaml does not "
		"declare it.\n"
		"\n"
		"  mlmake list\n"
		"  mlmake list 'test*'         those whose names match\n"
		"  mlmake list --since main    what the changes since main affect, and by what\n"
		"  mlmake list --json",
	.has_json = true,
	.operands = OPERANDS_TARGETS,
	.most = MANY,
	.run = run,
};
