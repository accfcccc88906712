/* mlmake completion: what a shell offers when the tabulator key is pressed. */
#include "cli/commands.h"

#include "base/text.h"
#include "cli/completion.h"
#include "features/scaffold/scaffold.h"
#include "graph/graph.h"

#include <string.h>

struct completion {
	struct cli *cli;
	const struct command *group;     /* whose subcommands may come now; NULL: the top */
	const struct command *command;   /* NULL: none was named yet */
	struct option_words options;     /* of command, or of run while there is none */
	const char *awaits;              /* the option whose value the next word is */
	const char *prefix;              /* the word to complete */
	bool plain;                      /* behind "--": the words are not ours */
};

static void release_completion(struct completion *c)
{
	strlist_release(&c->options.names);
	strlist_release(&c->options.with_value);
}

/* Asks the command for its option table: cli_parse, which it calls first, fills the words and ends it. */
static int learn_options(struct completion *c, const struct command *command, struct err *err)
{
	int result = 0;
	release_completion(c);
	if (!command->run)
		return 0;
	c->cli->command = command;
	c->cli->option_words = &c->options;
	result = command->run(c->cli, 1, (char *[]){ (char *)(uintptr_t)command->name, NULL }, err);
	c->cli->option_words = NULL;
	return result;
}

static const struct command *const *subcommands_now(const struct completion *c)
{
	return c->command ? c->command->subcommands : all_commands;
}

static int take_option(struct completion *c, const char *word, struct err *err)
{
	const char *value = text_starts(word, "--") ? strchr(word, '=') : NULL;
	OWNED char *name = value ? mem_strndup(word, (size_t)(value - word)) : mem_strndup(word, word[1] == '-' ? strlen(word) : 2);
	if (!strlist_has(&c->options.with_value, name))
		return 0;
	if (value)
		value++;
	else if (word[1] != '-' && word[2])
		value = word + 2;
	if (!value) {
		c->awaits = text_eq(name, "-C") ? "-C" : text_eq(name, "-f") || text_eq(name, "--file") ? "-f" : "";
		return 0;
	}
	if (text_eq(name, "-C"))
		return cli_go_to(value, err);
	if (text_eq(name, "-f") || text_eq(name, "--file"))
		c->cli->config_file = value;
	return 0;
}

static int take_value(struct completion *c, const char *word, struct err *err)
{
	const char *option = c->awaits;
	c->awaits = NULL;
	if (text_eq(option, "-f"))
		c->cli->config_file = word;
	return text_eq(option, "-C") ? cli_go_to(word, err) : 0;
}

/* One of the words before the one to complete. */
static int take_word(struct completion *c, const char *word, struct err *err)
{
	if (c->plain)
		return 0;
	if (c->awaits)
		return take_value(c, word, err);
	if (text_eq(word, "--")) {
		c->plain = true;
		return 0;
	}
	if (word[0] == '-' && word[1])
		return take_option(c, word, err);
	const struct command *const *list = subcommands_now(c);
	const struct command *found = list ? command_find(list, word) : NULL;
	/* help is followed by the words of the command that it explains. */
	if (!found && c->command == &cmd_help)
		found = command_find(all_commands, word);
	if (!found && c->command)
		return 0;
	c->command = found ? found : &cmd_run;
	return learn_options(c, c->command, err);
}

static void offer(const struct completion *c, const char *word, const char *help)
{
	if (text_starts(word, c->prefix))
		cli_out(c->cli, "%s\t%.*s\n", word, (int)strcspn(help, "\n\t"), help);
}

static void offer_commands(const struct completion *c, const struct command *const *list)
{
	for (; *list; list++)
		offer(c, (*list)->name, (*list)->summary);
}

static void offer_options(const struct completion *c)
{
	for (size_t i = 0; i < c->options.names.len; i++)
		if (text_starts(c->options.names.at[i], c->prefix))
			cli_out(c->cli, "%s\n", c->options.names.at[i]);
}

/* A project that cannot be loaded has nothing to offer; why is for other commands to say. */
static void offer_of_project(const struct completion *c, bool rules)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct project *project CLEANUP(cli_drop_project) = NULL;
	if (cli_load(c->cli, &project, &err) < 0)
		return;
	for (size_t i = 0; i < project->rule_count && rules; i++)
		offer(c, project->rules[i].name, project->rules[i].desc);
	for (size_t i = 0; i < project->target_count && !rules; i++)
		if (!project->targets[i].is_private)
			offer(c, project->targets[i].name, project->targets[i].desc);
}

static void offer_templates(const struct completion *c)
{
	struct strlist names CLEANUP(strlist_release) = { 0 };
	scaffold_names(&names);
	for (size_t i = 0; i < names.len; i++) {
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		scaffold_describe(names.at[i], &text);
		offer(c, names.at[i], text.data);
	}
}

static void offer_all(const struct completion *c)
{
	static const char *const shells[] = { "bash", "zsh", "fish" };
	if (c->plain || c->awaits)
		return;
	if (c->prefix[0] == '-') {
		offer_options(c);
		return;
	}
	if (subcommands_now(c))
		offer_commands(c, subcommands_now(c));
	switch (c->command ? c->command->operands : OPERANDS_TARGETS) {
	case OPERANDS_FILES:
		break;
	case OPERANDS_TARGETS:
		offer_of_project(c, false);
		break;
	case OPERANDS_RULES:
		offer_of_project(c, true);
		break;
	case OPERANDS_COMMANDS:
		offer_commands(c, all_commands);
		break;
	case OPERANDS_TEMPLATES:
		offer_templates(c);
		break;
	case OPERANDS_SHELLS:
		for (size_t i = 0; i < ARRAY_LEN(shells); i++)
			offer(c, shells[i], "");
		break;
	}
}

/* words are what stands behind "mlmake", up to the cursor; the last is to be completed. */
static int complete(struct cli *cli, const char *const *words, size_t count, struct err *err)
{
	struct completion c CLEANUP(release_completion) = { .cli = cli, .prefix = count ? words[count - 1] : "" };
	if (learn_options(&c, &cmd_run, err) < 0)
		return -1;
	for (size_t i = 0; i + 1 < count; i++)
		if (take_word(&c, words[i], err) < 0)
			return -1;
	offer_all(&c);
	return 0;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option options[] = { OPTION_END };
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (text_eq(args.at[0], "words"))
		return complete(cli, args.after, args.after_len, err);
	const char *script = completion_script(args.at[0]);
	if (!script) {
		err_set(err, ERR_CONFIG, "no completion for the shell '%s'", args.at[0]);
		return err_hint(err, "%s", cli->command->wants_hint);
	}
	cli_out(cli, "%s", script);
	return 0;
}

const struct command cmd_completion = {
	.name = "completion",
	.summary = "print what makes a shell complete commands, options and targets",
	.usage = "bash|zsh|fish",
	.help = "In ~/.bashrc or ~/.zshrc (there after compinit), or once for fish:\n"
		"\n"
		"  source <(mlmake completion bash)\n"
		"  source <(mlmake completion zsh)\n"
		"  mlmake completion fish > ~/.config/fish/completions/mlmake.fish\n"
		"\n"
		"The scripts ask `mlmake completion words -- WORD...` for what the last word can become: one a line, a tabulator and what it\n"
		"is.",
	.operands = OPERANDS_SHELLS,
	.least = 1,
	.most = 1,
	.wants = "the name of a shell",
	.wants_hint = "there is bash, zsh and fish: mlmake completion bash",
	.takes_after = true,
	.run = run,
};
