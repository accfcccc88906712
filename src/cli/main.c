/* Where everything begins: options before the command, the choice of the command, the exit code. */
#include "cli/commands.h"

#include "base/mem.h"
#include "base/proc.h"
#include "base/sys.h"
#include "base/text.h"
#include "base/vec.h"
#include "features/data/data.h"
#include "graph/graph.h"

#include <malloc.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void look_at_terminal(struct cli *cli)
{
	const char *term = getenv("TERM");
	const char *no_color = getenv("NO_COLOR");
	struct winsize size = { 0 };
	bool is_tty = isatty(STDERR_FILENO) == 1;
	cli->terminal = is_tty && term && strcmp(term, "dumb") != 0;
	cli->color = cli->terminal && !(no_color && *no_color);
	cli->width = is_tty && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

/*
 * A file that is opened must never become descriptor 1 or 2, or what is printed would be written into it. The stand-in for
 * stdout is not open for writing, so that a result that goes nowhere is a failure.
 */
static void hold_standard_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && sys.openat(AT_FDCWD, "/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY, 0) < 0)
			_exit(ERR_FAILED);
}

/* argv[*at] is an option that stands before the command; *at is moved behind it. False if it is none of ours. */
static bool take_leading_option(struct cli *cli, int argc, char **argv, int *at, const char **ret_dir)
{
	const char *arg = argv[*at];
	if (text_starts(arg, "--file=")) {
		cli->config_file = arg + 7;
		*at += 1;
		return true;
	}
	bool is_dir = text_starts(arg, "-C"), is_file = strcmp(arg, "--file") == 0 || text_starts(arg, "-f");
	if (!is_dir && !is_file)
		return false;
	bool attached = arg[1] != '-' && arg[2];
	if (!attached && *at + 1 >= argc)
		return false;
	const char *value = attached ? arg + 2 : argv[*at + 1];
	*at += attached ? 1 : 2;
	if (is_dir)
		*ret_dir = value;
	else
		cli->config_file = value;
	return true;
}

static int unknown_command(const struct command *const *list, const struct command_word *elsewhere, const char *full_name, const char *word,
			   struct err *err)
{
	VEC(const char *) names = { 0 };
	for (; *list; list++)
		vec_push(&names, (*list)->name);
	const char *near = text_nearest(word, names.at, names.len);
	vec_release(&names);
	err_set(err, ERR_CONFIG, "'%s' has no command '%s'", full_name, word);
	for (; elsewhere && elsewhere->word; elsewhere++)
		if (text_eq(elsewhere->word, word))
			return err_hint(err, "%s", elsewhere->hint);
	if (near)
		return err_hint(err, "did you mean '%s %s'?", full_name, near);
	return err_hint(err, "'%s --help' lists the commands", full_name);
}

static int run_command(struct cli *cli, const struct command *command, int argc, char **argv, struct err *err)
{
	const char *parent = cli->full_name;
	OWNED char *full_name = mem_printf("%s %s", parent, command->name);
	cli->full_name = full_name;
	cli->command = command;
	int result = command->run ? command->run(cli, argc, argv, err)
				  : cli_dispatch(cli, command->subcommands, argc, argv, err);
	cli->full_name = parent;
	return result;
}

int cli_dispatch(struct cli *cli, const struct command *const *subcommands, int argc, char **argv, struct err *err)
{
	const char *word = argc > 1 ? argv[1] : NULL;
	bool wants_help = word && (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0);
	if (!word || wants_help) {
		struct buf help CLEANUP(buf_release) = BUF_INIT;
		help_add(&help, cli->full_name, cli->command, NULL, NULL);
		if (wants_help) {
			cli_out_bytes(cli, help.data, help.len);
			return 0;
		}
		err_set(err, ERR_CONFIG, "'%s' wants a command", cli->full_name);
		return err_hint(err, "'%s --help' lists them", cli->full_name);
	}
	const struct command *command = command_find(subcommands, word);
	if (!command && strcmp(word, "help") == 0)
		return cli_dispatch(cli, subcommands, 2, (char *[]){ argv[0], (char[]){ "--help" }, NULL }, err);
	if (!command)
		return unknown_command(subcommands, cli->command ? cli->command->elsewhere : NULL, cli->full_name, word, err);
	return run_command(cli, command, argc - 1, argv + 1, err);
}

/* A project that cannot be loaded is the command's to complain about. */
static bool yields_to_target(const struct cli *cli, const struct command *command)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct project *project = NULL;
	const struct project_options load = { .config_file = cli->config_file, .provider = cli->provider };
	if (!command->yields || project_load(&load, &project, &ignored) < 0)
		return false;
	bool has = project_find(project, command->name) != NULL;
	project_free(project);
	return has;
}

static int run_main(struct cli *cli, int argc, char **argv, struct err *err)
{
	const char *dir = NULL;
	int at = 1;
	while (at < argc && take_leading_option(cli, argc, argv, &at, &dir))
		;
	if (dir && cli_go_to(dir, err) < 0)
		return -1;
	const char *word = at < argc ? argv[at] : NULL;
	if (word && (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0))
		return run_command(cli, &cmd_help, 1, (char *[]){ argv[0], NULL }, err);
	if (word && (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0))
		return run_command(cli, &cmd_version, 1, (char *[]){ argv[0], NULL }, err);
	const struct command *command = word ? command_find(all_commands, word) : NULL;
	if (command && !yields_to_target(cli, command))
		return run_command(cli, command, argc - at, argv + at, err);
	/* Whatever is no command is a target, or an option of running one. argv[at - 1] stands where the command's name would. */
	return run_command(cli, &cmd_run, argc - at + 1, argv + at - 1, err);
}

int main(int argc, char **argv)
{
	struct cli cli = { .full_name = "mlmake", .provider = &data_provider };
	struct err err CLEANUP(err_release) = ERR_INIT;
	hold_standard_streams();
	/* Byte-wise everywhere: names and manifests must not depend on the user's locale. */
	setlocale(LC_ALL, "C");
	signal(SIGPIPE, SIG_IGN);
	/* What a phase has freed is given back: without this the limit rises with the first large block that is freed. */
	mallopt(M_MMAP_THRESHOLD, 256 << 10);
	proc_raise_descriptors();
	look_at_terminal(&cli);
	int code = run_main(&cli, argc, argv, &err);
	cli_progress_clear(&cli);
	if (code < 0) {
		cli_print_err(&cli, &err);
		code = err.code != ERR_NONE ? (int)err.code : (int)ERR_BUG;
	}
	cli_flush(&cli);
	if ((cli.out_errno || ferror(stdout)) && code == 0) {
		if (cli.out_errno != EPIPE)
			fprintf(stderr, "mlmake: error: cannot write the result: %s\n", strerror(cli.out_errno));
		code = ERR_FAILED;
	}
	return code;
}
