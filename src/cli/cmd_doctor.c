/* mlmake doctor: what is installed, what is missing, how to get it. */
#include "cli/commands.h"

#include "cli/doctor.h"
#include "formats/json.h"

static const char *state_name(enum finding_state state)
{
	switch (state) {
	case FINDING_OK:
		return "ok";
	case FINDING_MISSING:
		return "missing";
	case FINDING_OPTIONAL:
		return "optional";
	case FINDING_NOTE:
		break;
	}
	return "note";
}

static void print_json(struct cli *cli, const struct findings *found, bool healthy)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &out, JSON_PRETTY);
	json_open_object(&w);
	json_pair_int(&w, "version", 1);
	json_pair_bool(&w, "healthy", healthy);
	json_key(&w, "findings");
	json_open_array(&w);
	for (size_t i = 0; i < found->list.len; i++) {
		const struct finding *one = &found->list.at[i];
		json_open_object(&w);
		json_pair_str(&w, "name", one->name);
		json_pair_str(&w, "state", state_name(one->state));
		json_pair_str(&w, "detail", one->detail);
		json_pair_str(&w, "needed_by", one->needed_by);
		json_pair_str(&w, "hint", one->hint);
		json_close(&w);
	}
	json_end(&w);
	cli_out_bytes(cli, out.data, out.len);
}

static void print_text(struct cli *cli, const struct findings *found)
{
	for (size_t i = 0; i < found->list.len; i++) {
		const struct finding *one = &found->list.at[i];
		cli_out(cli, "%-8s  %s%s%s", state_name(one->state), one->name, *one->detail ? ": " : "", one->detail);
		if (one->needed_by && one->state != FINDING_OK)
			cli_out(cli, "; needed by %s", one->needed_by);
		cli_out(cli, "\n");
		if (one->hint)
			cli_out(cli, "          %s\n", one->hint);
	}
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	const struct option options[] = { OPTION_CONFIG_FILE(cli), OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct project *project CLEANUP(cli_drop_project) = NULL;
	if (cli_load(cli, &project, err) < 0)
		return -1;
	struct findings found CLEANUP(findings_release) = { 0 };
	bool healthy = true;
	doctor_look(project, &found);
	for (size_t i = 0; i < found.list.len; i++)
		healthy = healthy && found.list.at[i].state != FINDING_MISSING;
	if (cli->json)
		print_json(cli, &found, healthy);
	else
		print_text(cli, &found);
	return healthy ? 0 : ERR_FAILED;
}

const struct command cmd_doctor = {
	.name = "doctor",
	.summary = "say what is installed, what is missing, and how to get it",
	.usage = "[OPTIONS]",
	.help = "Looks for what mlmake can make use of, and for the first program of each command in mlmake.yaml. Exit code 1 if something is\n"
		"missing that a target here, or mlmake itself, needs.\n"
		"\n"
		"  mlmake doctor\n"
		"  mlmake doctor --json",
	.has_json = true,
	.wants_hint = "it looks at all that the targets here need",
	.run = run,
};
