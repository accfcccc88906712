/* Loading: from a snapshot of an earlier load whose every source is as it was, else from the files. */
#include "graph/internal.h"

#include "base/fs.h"
#include "base/path.h"
#include "store/codec.h"
#include "store/snapshot.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

int project_question(const struct project_options *options, const char *root, struct buf *out, struct err *err)
{
	struct buf self CLEANUP(buf_release) = BUF_INIT;
	struct buf cwd CLEANUP(buf_release) = BUF_INIT;
	struct utsname name = { .sysname = "" };
	if (fs_read_link("/proc/self/exe", &self, err) < 0 || (options->config_file && path_cwd(&cwd, err) < 0))
		return -1;
	uname(&name);
	codec_add_str(out, MLMAKE_VERSION);
	codec_add_str(out, self.data);
	codec_add_str(out, name.sysname);
	codec_add_str(out, name.machine);
	codec_add_str(out, root);
	codec_add_str(out, cwd.data);
	codec_add_str(out, options->config_file ? options->config_file : "");
	codec_add_u32(out, (uint32_t)options->overrides.len);
	for (size_t i = 0; i < options->overrides.len; i++)
		codec_add_str(out, options->overrides.at[i]);
	return 0;
}

/* The program is one of the files that the graph depends on: it holds rules. */
static void look_at_program(void)
{
	struct buf self CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (fs_read_link("/proc/self/exe", &self, &err) < 0 || !fs_exists(self.data))
		sys.unseen("the program is gone");
}

static struct project *new_project(const char *root, const struct project_options *options)
{
	struct project *project = mem_alloc(sizeof(*project));
	project->internal = mem_alloc(sizeof(*project->internal));
	buf_init(&project->internal->saved);
	project->root = arena_strdup(&project->arena, root);
	project->provider = options->provider;
	return project;
}

/* NULL if there is none that holds. */
static struct project *recall(const char *root, const struct project_options *options, const struct buf *question)
{
	uint64_t files;
	struct project *project = new_project(root, options);
	struct buf *saved = &project->internal->saved;
	if (snapshot_ask(root, SNAPSHOT_GRAPHS, question, saved, &files, NULL) && graph_restore(project, saved->data, saved->len))
		return project;
	project_free(project);
	return NULL;
}

static void keep(struct snapshot *snapshot, const struct buf *question, const struct project *project)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	graph_save(project, &bytes);
	snapshot_keep(snapshot, SNAPSHOT_GRAPHS, question, &bytes, 0, NULL);
}

int project_load(const struct project_options *options, struct project **ret, struct err *err)
{
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	struct buf question CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (project_find_root(options->dir, &root, err) < 0)
		return -1;
	struct snapshot *snapshot CLEANUP(snapshot_endp) = NULL;
	if (options->overlay == NULL && project_question(options, root.data, &question, &ignored) == 0)
		snapshot = snapshot_begin(root.data, false);
	if (snapshot != NULL)
		look_at_program();
	struct project *project = snapshot ? recall(root.data, options, &question) : NULL;
	if (project == NULL) {
		project = new_project(root.data, options);
		if (graph_load(project, options, err) < 0) {
			project_free(project);
			return -1;
		}
		if (snapshot != NULL)
			keep(snapshot, &question, project);
	}
	*ret = project;
	return 0;
}

static void fault_free(void *value)
{
	err_release(value);
	free(value);
}

void project_free(struct project *project)
{
	if (project == NULL)
		return;
	project_release_indexes(project);
	map_release_values(&project->internal->faults, fault_free);
	buf_release(&project->internal->saved);
	free(project->internal);
	arena_release(&project->arena);
	free(project);
}
