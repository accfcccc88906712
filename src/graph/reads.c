/* Whether a path is one of those that a target's inputs stand for. */
#include "graph/internal.h"

#include "base/path.h"
#include "base/text.h"
#include "formats/ignore.h"

#include <string.h>

bool target_excludes(const struct target *target, const char *path)
{
	for (size_t i = 0; i < target->inputs.len; i++) {
		const struct input_pattern *input = &target->inputs.at[i];
		if (input->exclude && (glob_match(input->glob, path) || path_inside(input->glob, path)))
			return true;
	}
	return false;
}

static bool matches(const struct input_pattern *input, const char *path, bool is_dir)
{
	if (input->named)
		return text_eq(input->glob, ".") || path_inside(input->glob, path) || (is_dir && path_inside(path, input->glob));
	return glob_match(input->glob, path) || (is_dir && glob_may_match_below(input->glob, path));
}

const struct target *project_maker(const struct project *project, const char *path)
{
	for (size_t len = strlen(path); len > 0; len--) {
		const struct output_owner *owner = path[len] == '/' || path[len] == 0 ? project_ownern(project, path, len) : NULL;
		if (owner != NULL)
			return owner->target;
	}
	return NULL;
}

static bool depends_on(const struct target *target, const struct target *maker)
{
	for (size_t i = 0; i < target->makes_inputs.len; i++)
		if (target->makes_inputs.at[i] == maker->id)
			return true;
	return false;
}

bool project_reads(const struct project *project, const struct target *target, const char *path, bool is_dir)
{
	bool any = false;
	for (size_t i = 0; i < target->inputs.len && !any; i++)
		any = !target->inputs.at[i].exclude && matches(&target->inputs.at[i], path, is_dir);
	if (!any || target_excludes(target, path))
		return false;
	const struct target *maker = project_maker(project, path);
	return maker == NULL || depends_on(target, maker);
}
