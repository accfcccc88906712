/* For tests of src/graph: files in the test's directory, and a project of them. */
#ifndef TESTS_UNIT_GRAPH_PROJECT_H
#define TESTS_UNIT_GRAPH_PROJECT_H

#include "unit/unit.h"

#include "base/text.h"
#include "graph/graph.h"

static inline void put(const char *path, const char *text)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	assert_ok(fs_mkdirs_for(path, &err), &err);
	assert_ok(fs_write_file(path, text, strlen(text), 0644, FS_VOLATILE, &err), &err);
}

static inline struct project *load_with(const char *yaml, const struct provider *provider)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct project *project = NULL;
	const struct project_options options = { .provider = provider };
	if (yaml != NULL)
		put("mlmake.yaml", yaml);
	assert_ok(project_load(&options, &project, &err), &err);
	return project;
}

static inline struct project *load(const char *yaml)
{
	return load_with(yaml, NULL);
}

static inline const struct target *target_of(const struct project *project, const char *name)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	const struct target *target = NULL;
	assert_ok(project_target(project, name, &target, &err), &err);
	return target;
}

/* Loading fails with this message and hint (NULL: any) at this place (line 0: none). */
static inline void refuse(const char *yaml, unsigned line, unsigned col, const char *message, const char *hint)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct project *project = NULL;
	const struct project_options options = { .dir = NULL };
	put("mlmake.yaml", yaml);
	if (project_load(&options, &project, &err) == 0)
		fail_msg("this should be refused with '%s':\n%s", message, yaml);
	assert_string_equal(err.message, message);
	assert_int_equal(err.code, ERR_CONFIG);
	assert_non_null(err.hint);
	if (hint != NULL)
		assert_string_equal(err.hint, hint);
	if (line != 0) {
		assert_string_equal(err.span.file, "mlmake.yaml");
		assert_int_equal(err.span.line, line);
		assert_int_equal(err.span.col, col);
	}
}

#endif
