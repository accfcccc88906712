/* Where things are: targets by name, outputs by path, and places in the files that they come from. */
#include "graph/internal.h"

#include "base/embed.h"
#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"

#include <string.h>

#define MAX_SOURCE ((size_t)64 << 20)

static const char *name_of(const void *ctx, uint32_t number)
{
	const struct project *project = ctx;
	return project->targets[number].name;
}

void project_index_targets(struct project *project)
{
	struct index *names = &project->internal->names;
	*names = (struct index)INDEX_INIT(name_of, project);
	index_reserve(names, project->target_count);
	for (size_t i = 0; i < project->target_count; i++)
		index_add(names, (uint32_t)i);
}

struct target *project_find(const struct project *project, const char *name)
{
	uint32_t found = index_find(&project->internal->names, name, strlen(name));
	return found == INDEX_NONE ? NULL : &project->targets[found];
}

static const char *path_of(const void *ctx, uint32_t number)
{
	const struct project_internal *internal = ctx;
	return internal->owners.at[number].output->path;
}

const struct output_owner *project_add_owner(struct project *project, const struct target *target, const struct output *output)
{
	struct project_internal *internal = project->internal;
	internal->outputs.key = path_of;
	internal->outputs.ctx = internal;
	vec_push(&internal->owners, (struct output_owner){ target, output });
	if (index_add(&internal->outputs, (uint32_t)internal->owners.len - 1))
		return NULL;
	internal->owners.len--;
	return project_owner(project, output->path);
}

const struct output_owner *project_ownern(const struct project *project, const char *path, size_t len)
{
	uint32_t found = index_find(&project->internal->outputs, path, len);
	return found == INDEX_NONE ? NULL : &project->internal->owners.at[found];
}

const struct output_owner *project_owner(const struct project *project, const char *path)
{
	return project_ownern(project, path, strlen(path));
}

void project_release_indexes(struct project *project)
{
	struct project_internal *internal = project->internal;
	for (size_t i = 0; i < internal->sources.len; i++)
		buf_release(&internal->sources.at[i].text);
	vec_release(&internal->sources);
	vec_release(&internal->owners);
	index_release(&internal->names);
	index_release(&internal->outputs);
}

/* A file that is gone or cannot be read shows no line. */
static void read_source(const struct project *project, struct source_file *source)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	const struct embedded_file *file = source->built_in ? embedded_find(source->file) : NULL;
	OWNED char *path = path_joined(project->root, source->file);
	source->was_read = true;
	if (file != NULL)
		buf_add(&source->text, file->data, file->len);
	else if (!source->built_in && fs_read_file(path, MAX_SOURCE, &source->text, &ignored) < 0)
		buf_reset(&source->text);
	/* Lines end here, so that each can be shown where it lies. */
	for (size_t i = 0; i < source->text.len; i++)
		if (source->text.data[i] == '\n')
			source->text.data[i] = '\0';
}

static const char *line_of(const struct source_file *source, uint32_t line)
{
	const char *at = source->text.data, *end = at + source->text.len;
	for (; line > 1 && at < end; line--)
		at += strlen(at) + 1;
	return at < end ? at : NULL;
}

struct span project_span(const struct project *project, const struct place *place, bool with_text)
{
	struct project_internal *internal = project->internal;
	if (place->source == 0 || place->source > internal->sources.len)
		return (struct span){ .file = NULL };
	struct source_file *source = &internal->sources.at[place->source - 1];
	if (with_text && !source->was_read)
		read_source(project, source);
	return (struct span){ .file = source->file,
			      .text = with_text ? line_of(source, place->line) : NULL,
			      .line = place->line,
			      .col = place->col,
			      .len = place->len };
}

int project_err_at(const struct project *project, const struct place *place, struct err *err)
{
	const struct span span = project_span(project, place, true);
	return err_at(err, &span);
}
