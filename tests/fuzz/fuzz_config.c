/* Any mlmake.yaml: a project whose targets can be planned and whose files can be listed, or an error with message and hint. */
#include "fuzz.h"

#include "base/fs.h"
#include "base/path.h"
#include "graph/graph.h"

static void put(const char *dir, const char *name, const void *bytes, size_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	char *path OWNED = path_joined(dir, name);
	MUST(fs_write_file(path, bytes, len, 0644, FS_VOLATILE, &err) == 0);
}

static struct buf dir = BUF_INIT;

static void remove_dir(void)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (fs_remove_tree(dir.data, &err) < 0)
		fprintf(stderr, "%s\n", err.message);
	buf_release(&dir);
}

static const char *directory(void)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (dir.len == 0) {
		MUST(fs_temp_dir("/tmp", "mlmake-fuzz-", &dir, &err) == 0);
		atexit(remove_dir);
		put(dir.data, "params.yaml", "a: {b: 1}\n", 10);
		put(dir.data, "requirements.txt", "", 0);
	}
	return dir.data;
}

static void look_at(const struct project *project)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct project_files *files;
	MUST(project_files_new(project, &files, &err) == 0);
	for (size_t i = 0; i < project->target_count; i++) {
		const struct target *target = &project->targets[i];
		struct plan plan;
		struct input_files inputs;
		for (size_t k = 0; k < target->outputs.len; k++)
			MUST(path_is_safe(target->outputs.at[k].path));
		if (plan_make(project, &target->name, 1, &plan, &err) == 0) {
			MUST(plan.len >= 1 && plan.order[plan.len - 1] == target->id);
			plan_release(&plan);
		} else {
			MUST(err.message && err.hint);
		}
		if (project_files_of(files, target, &inputs, &err) == 0)
			free(inputs.at);
		else
			MUST(err.message && err.hint);
	}
	project_files_free(files);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct project *project = NULL;
	const struct project_options options = { .dir = directory() };
	if (len > 65536)
		return 0;
	put(directory(), "mlmake.yaml", bytes, len);
	if (project_load(&options, &project, &err) < 0) {
		MUST(err.message && err.hint && err.code == ERR_CONFIG);
		return 0;
	}
	look_at(project);
	project_free(project);
	return 0;
}
