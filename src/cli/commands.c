#include "cli/commands.h"

#include <string.h>

const struct command *const all_commands[] = {
	&cmd_run,
	&cmd_list,
	&cmd_why,
	&cmd_log,
	&cmd_graph,
	&cmd_stats,
	&cmd_doctor,
	&cmd_clean,
	&cmd_cache,
	&cmd_data,
	&cmd_new,
	&cmd_init,
	&cmd_rules,
	&cmd_schema,
	&cmd_ci,
	&cmd_hook,
	&cmd_completion,
	&cmd_help,
	&cmd_version,
	NULL,
};

const struct command *command_find(const struct command *const *list, const char *name)
{
	for (; *list; list++)
		if (strcmp((*list)->name, name) == 0)
			return *list;
	return NULL;
}
