/* Reading a command's options by its table. */
#include "cli/cli.h"
#include "cli/commands.h"

#include "base/fs.h"
#include "base/text.h"
#include "base/vec.h"
#include "graph/graph.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct parse {
	struct cli *cli;
	const struct option *options;
	int argc;
	char **argv;
	int at;
	bool help;
	const char *dir; /* -C */
	struct err *err;
};

/* --lock-timeout, -C, -h, --json, --quiet, --verbose and the end. */
#define COMMON_OPTIONS 7

static const struct option *find_short(const struct option *table, char name)
{
	for (; table->help; table++)
		if (table->short_name == name)
			return table;
	return NULL;
}

static void common_options(struct parse *parse, struct option ret[COMMON_OPTIONS])
{
	/* dvc's commands have both, and scripts give them. */
	bool as_dvc = text_starts(parse->cli->full_name, "mlmake data ");
	bool short_quiet = as_dvc && !find_short(parse->options, 'q');
	if (parse->cli->command->locks)
		*ret++ = (struct option){ 0, "lock-timeout", "TIME", "wait this long for what another command holds (60s)", OPTION_STRING,
					  &parse->cli->lock_timeout };
	*ret++ = (struct option){ 'C', NULL, "DIR", "go to DIR first", OPTION_STRING, &parse->dir };
	if (parse->cli->command->has_json)
		*ret++ = (struct option){ 0, "json", NULL, "print the result as JSON", OPTION_FLAG, &parse->cli->json };
	if (as_dvc)
		*ret++ = (struct option){ 'v', "verbose", NULL, "", OPTION_ACCEPTED, NULL };
	*ret++ = (struct option){ short_quiet ? 'q' : 0, "quiet", NULL, "no notes and no progress", OPTION_FLAG, &parse->cli->quiet };
	*ret++ = (struct option){ 'h', "help", NULL, "show this help", OPTION_FLAG, &parse->help };
	*ret = (struct option)OPTION_END;
}

static const struct option *find_long(const struct option *table, const char *name, size_t len)
{
	for (; table->help; table++)
		if (table->long_name && strlen(table->long_name) == len && strncmp(table->long_name, name, len) == 0)
			return table;
	return NULL;
}

static int take_decimal(struct parse *parse, const struct option *option, const char *shown, const char *value)
{
	char *end;
	double number = strtod(value, &end);
	if (!strchr("0123456789.", *value) || *end || !(number > 0) || number > 1e9) {
		err_set(parse->err, ERR_CONFIG, "option '%s' wants a number above 0, not '%s'", shown, value);
		return err_hint(parse->err, "for example %s%s", shown, shown[1] == '-' ? "=2.5" : " 2.5");
	}
	*(double *)option->value = number;
	return 0;
}

/* The choice that a word is, of "no|all"; NULL if it is none. */
static const char *find_choice(const struct option *option, const char *word)
{
	for (const char *at = option->arg_name;; at++) {
		size_t len = strcspn(at, "|");
		if (strlen(word) == len && strncmp(word, at, len) == 0)
			return word;
		at += len;
		if (!*at)
			return NULL;
	}
}

static int take_choice(struct parse *parse, const struct option *option, const char *shown, const char *value)
{
	const char *last = strrchr(option->arg_name, '|') + 1;
	*(const char **)option->value = value ? find_choice(option, value) : last;
	if (*(const char **)option->value)
		return 0;
	err_set(parse->err, ERR_CONFIG, "option '%s' takes %s, not '%s'", shown, option->arg_name, value);
	return err_hint(parse->err, "for example %s=%s", shown, last);
}

static int refuse(struct parse *parse, const struct option *option, const char *shown)
{
	err_set(parse->err, ERR_CONFIG, "'%s' does not take '%s', as dvc does", parse->cli->full_name, shown);
	return err_hint(parse->err, "%s", option->help);
}

static int wants_value(struct parse *parse, const struct option *option, const char *shown)
{
	err_set(parse->err, ERR_CONFIG, "option '%s' wants a value (%s)", shown, option->arg_name);
	return err_hint(parse->err, "'%s --help' shows how to use it", parse->cli->full_name);
}

/* value is NULL for what takes none. */
static int take_value(struct parse *parse, const struct option *option, const char *shown, const char *value)
{
	uint64_t number;
	switch (option->kind) {
	case OPTION_FLAG:
		if (value) {
			err_set(parse->err, ERR_CONFIG, "option '%s' takes no value", shown);
			return err_hint(parse->err, "write just %s", shown);
		}
		*(bool *)option->value = true;
		return 0;
	case OPTION_STRING:
		*(const char **)option->value = value;
		return 0;
	case OPTION_LIST:
	case OPTION_WORDS:
	case OPTION_PAIRS:
		strlist_add(option->value, value);
		return 0;
	case OPTION_CHOICE:
		return take_choice(parse, option, shown, value);
	case OPTION_ACCEPTED:
		return 0;
	case OPTION_REFUSED:
		return refuse(parse, option, shown);
	case OPTION_DECIMAL:
		return value ? take_decimal(parse, option, shown, value) : wants_value(parse, option, shown);
	case OPTION_UINT:
		break;
	}
	if (!text_parse_u64(value, &number) || number > 1000000) {
		err_set(parse->err, ERR_CONFIG, "option '%s' wants a whole number, not '%s'", shown, value);
		return err_hint(parse->err, "for example %s%s", shown, shown[1] == '-' ? "=4" : " 4");
	}
	*(unsigned *)option->value = (unsigned)number;
	return 0;
}

/* The option's value when none was attached: the next argument. */
static int next_value(struct parse *parse, const struct option *option, const char *shown, const char **ret)
{
	*ret = NULL;
	if (option->kind == OPTION_FLAG || option->kind == OPTION_REFUSED || (option->kind == OPTION_ACCEPTED && !option->arg_name))
		return 0;
	if (option->kind == OPTION_CHOICE && (parse->at + 1 >= parse->argc || !find_choice(option, parse->argv[parse->at + 1])))
		return 0;
	if (parse->at + 1 >= parse->argc)
		return wants_value(parse, option, shown);
	*ret = parse->argv[++parse->at];
	return 0;
}

/* NAME=VALUE, and neither a URL nor a path. */
static bool is_pair(const char *word)
{
	size_t name = strspn(word, "abcdefghijklmnopqrstuvwxyz_");
	return name && word[name] == '=';
}

/* The words behind the first one of a list that takes more. */
static int more_values(struct parse *parse, const struct option *option, const char *shown)
{
	while ((option->kind == OPTION_WORDS || option->kind == OPTION_PAIRS) && parse->at + 1 < parse->argc) {
		const char *word = parse->argv[parse->at + 1];
		if (option->kind == OPTION_WORDS ? word[0] == '-' && word[1] : !is_pair(word))
			break;
		if (take_value(parse, option, shown, word) < 0)
			return -1;
		parse->at++;
	}
	return 0;
}

static int unknown_option(struct parse *parse, const struct option *common, const char *shown)
{
	VEC(const char *) names = { 0 };
	const struct option *const tables[] = { parse->options, common };
	for (size_t t = 0; t < 2; t++)
		for (const struct option *o = tables[t]; o->help; o++)
			if (o->long_name && !option_is_hidden(o->kind))
				vec_push(&names, o->long_name);
	const char *word = shown + strspn(shown, "-");
	const char *near = text_starts(shown, "--") ? text_nearest(word, names.at, names.len) : NULL;
	vec_release(&names);
	err_set(parse->err, ERR_CONFIG, "unknown option '%s'", shown);
	if (strcmp(shown, "--json") == 0)
		return err_hint(parse->err, "'%s' has no result to print as JSON", parse->cli->full_name);
	if (near)
		return err_hint(parse->err, "did you mean '--%s'?", near);
	if (fs_exists(parse->argv[parse->at]))
		return err_hint(parse->err, "the file of that name comes behind '--'");
	return err_hint(parse->err, "'%s --help' lists the options", parse->cli->full_name);
}

static int parse_long(struct parse *parse, const struct option *common)
{
	const char *arg = parse->argv[parse->at];
	size_t len = strcspn(arg + 2, "=");
	OWNED char *shown = mem_strndup(arg, len + 2);
	const char *value = arg[2 + len] == '=' ? arg + 2 + len + 1 : NULL;
	const struct option *option = find_long(parse->options, arg + 2, len);
	if (!option)
		option = find_long(common, arg + 2, len);
	if (!option)
		return unknown_option(parse, common, shown);
	if (!value && next_value(parse, option, shown, &value) < 0)
		return -1;
	return take_value(parse, option, shown, value) < 0 ? -1 : more_values(parse, option, shown);
}

/* "-kn", "-j4", "-j 4". */
static int parse_short(struct parse *parse, const struct option *common)
{
	for (const char *at = parse->argv[parse->at] + 1; *at; at++) {
		char shown[3] = { '-', *at, '\0' };
		const struct option *option = find_short(parse->options, *at);
		if (!option)
			option = find_short(common, *at);
		if (!option)
			return unknown_option(parse, common, shown);
		if (option->kind == OPTION_FLAG || (option->kind == OPTION_ACCEPTED && !option->arg_name)) {
			if (take_value(parse, option, shown, NULL) < 0)
				return -1;
			continue;
		}
		const char *value = at + 1;
		if (!*value && next_value(parse, option, shown, &value) < 0)
			return -1;
		return take_value(parse, option, shown, value) < 0 ? -1 : more_values(parse, option, shown);
	}
	return 0;
}

/* Reads all of argv; operands to the front, then what followed "--". */
static int parse_all(struct parse *parse, const struct option *common, int *ret_operands, int *ret_after)
{
	for (parse->at = 1; parse->at < parse->argc; parse->at++) {
		char *arg = parse->argv[parse->at];
		if (strcmp(arg, "--") == 0) {
			for (parse->at++; parse->at < parse->argc; parse->at++)
				parse->argv[1 + *ret_operands + (*ret_after)++] = parse->argv[parse->at];
			break;
		}
		int failed = 0;
		if (text_starts(arg, "--"))
			failed = parse_long(parse, common);
		else if (arg[0] == '-' && arg[1])
			failed = parse_short(parse, common);
		else
			parse->argv[1 + (*ret_operands)++] = arg;
		if (failed)
			return -1;
	}
	return 0;
}

/* Whether there are as many operands as the command takes. */
static int check_count(const struct parse *parse, size_t count)
{
	const struct command *command = parse->cli->command;
	const char *wants = command->wants ? command->wants : command->usage;
	if (count >= command->least && count <= command->most)
		return 0;
	if (!command->most)
		err_set(parse->err, ERR_CONFIG, "'%s' takes no arguments, but there is '%s'", parse->cli->full_name, parse->argv[1]);
	else
		err_set(parse->err, ERR_CONFIG, "'%s' wants %s", parse->cli->full_name, wants + (text_starts(wants, "[OPTIONS] ") ? 10 : 0));
	if (command->wants_hint)
		return err_hint(parse->err, "%s", command->wants_hint);
	return err_hint(parse->err, "'%s --help' shows examples", parse->cli->full_name);
}

static void add_words(struct option_words *words, const struct option *table)
{
	for (; table->help; table++) {
		if (option_is_hidden(table->kind))
			continue;
		char short_form[] = { '-', table->short_name, '\0' };
		OWNED char *form = table->long_name ? mem_printf("--%s", table->long_name) : mem_strdup(short_form);
		strlist_take(&words->names, mem_printf("%s\t%s", form, table->help));
		if (table->kind == OPTION_FLAG || table->kind == OPTION_CHOICE)
			continue;
		strlist_add(&words->with_value, form);
		if (table->short_name)
			strlist_add(&words->with_value, short_form);
	}
}

int cli_go_to(const char *dir, struct err *err)
{
	if (chdir(dir) == 0)
		return 0;
	err_set_errno(err, ERR_CONFIG, errno, "cannot change to directory '%s'", dir);
	return err_hint(err, "-C takes a directory that exists");
}

int cli_parse(struct cli *cli, const struct option *options, int argc, char **argv, struct args *ret, struct err *err)
{
	struct parse parse = { .cli = cli, .options = options, .argc = argc, .argv = argv, .err = err };
	struct option common[COMMON_OPTIONS];
	int operands = 0, after = 0;
	common_options(&parse, common);
	*ret = (struct args){ .len = 0 };
	if (cli->option_words) {
		add_words(cli->option_words, options);
		add_words(cli->option_words, common);
		return 0;
	}
	if (parse_all(&parse, common, &operands, &after) < 0)
		return -1;
	if (parse.help) {
		struct buf help CLEANUP(buf_release) = BUF_INIT;
		help_add(&help, cli->full_name, cli->command, options, common);
		cli_out_bytes(cli, help.data, help.len);
		return 0;
	}
	if (!cli->command->takes_after) {
		operands += after;
		after = 0;
	}
	*ret = (struct args){ (const char *const *)argv + 1, (size_t)operands, (const char *const *)argv + 1 + operands, (size_t)after };
	if (check_count(&parse, ret->len) < 0 || (parse.dir && cli_go_to(parse.dir, err) < 0))
		return -1;
	return 1;
}

int cli_load(struct cli *cli, struct project **ret, struct err *err)
{
	const struct project_options load = { .config_file = cli->config_file, .provider = cli->provider };
	return project_load(&load, ret, err);
}

void cli_drop_project(struct project **project)
{
	project_free(*project);
	*project = NULL;
}
