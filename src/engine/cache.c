#include "engine/cache.h"

#include "base/path.h"
#include "base/text.h"
#include "engine/tagged.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROJECTS "projects"
#define FORGET_AFTER_S (30 * 24 * 3600)

int cache_limit(uint64_t *ret, struct err *err)
{
	const char *text = sys.getenv("MLMAKE_CACHE_SIZE");
	*ret = OUTPUTS_MAX_BYTES;
	if (!text || !text[0] || text_parse_size(text, ret))
		return 0;
	err_set(err, ERR_CONFIG, "MLMAKE_CACHE_SIZE is '%s', which is no size", text);
	return err_hint(err, "write it as 20G or 500M");
}

/* Where it is noted that a project's results are in the cache. */
static char *note_path(const struct outputs *cache, const char *root)
{
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	digest_bytes(DIGEST_SHA256, root, strlen(root), &digest);
	digest_hex(&digest, hex);
	return mem_printf("%s/" PROJECTS "/%.32s", outputs_dir(cache), hex);
}

int cache_know(struct outputs *cache, const char *root, struct err *err)
{
	OWNED char *path = note_path(cache, root);
	if (fs_exists(path))
		return 0;
	return fs_mkdirs_for(path, err) < 0 ? -1 : fs_write_file(path, root, strlen(root), 0644, FS_VOLATILE, err);
}

struct needed {
	const struct project *project; /* NULL: of another project all records count as current */
	VEC(struct digest) keys;
	struct tagged_results results;
	struct record record;          /* scratch */
};

static void needed_release(struct needed *needed)
{
	vec_release(&needed->keys);
	tagged_results_release(&needed->results);
	record_release(&needed->record);
}

static int take_record(void *ctx, const char *name, const void *bytes, size_t len, struct err *err)
{
	struct needed *needed = ctx;
	struct tagged_result result = { .kept = false };
	(void)err;
	if (!record_read(&needed->record, bytes, len))
		return 0;
	past_of_record(&needed->record, &result.past);
	result.kept = !needed->project || project_find(needed->project, name);
	vec_push(&needed->results, result);
	return 0;
}

static int take_past(void *ctx, const char *name, const void *bytes, size_t len, struct err *err)
{
	struct needed *needed = ctx;
	struct tagged_result result = { .kept = false };
	(void)name;
	(void)err;
	if (past_read(bytes, len, &result.past))
		vec_push(&needed->results, result);
	return 0;
}

/* The results that a project has now, and those of its tags. */
static int find_needed_of(struct needed *needed, const char *root, struct err *err)
{
	struct state *state;
	if (state_open(root, &state, err) < 0)
		return -1;
	int failed = state_each(state, STATE_RESULTS, take_record, needed, err);
	if (!failed)
		failed = state_each(state, STATE_PAST, take_past, needed, err);
	state_close(state);
	/* Where git cannot say what is tagged, all may be. */
	struct err unknown CLEANUP(err_release) = ERR_INIT;
	bool all = !failed && tagged_find(root, &needed->results, &unknown) < 0;
	for (size_t i = 0; i < needed->results.len; i++)
		if (all || needed->results.at[i].kept)
			vec_push(&needed->keys, needed->results.at[i].past.key);
	tagged_results_release(&needed->results);
	return failed;
}

/* Whether there is something to ask: a directory that is gone says nothing, nor does a database that cannot be read. */
static bool has_state(const char *root)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	return fs_is_dir(root) && state_find_dir(root, &dir, &ignored) == 0 && state_last(dir.data) != 0;
}

static int take_project(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct needed *needed = ctx;
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	const struct project *own = needed->project;
	if (!S_ISREG(entry->st->st_mode) || fs_read_file(entry->path, PATH_MAX, &root, err) < 0)
		return 0;
	if ((own && strcmp(own->root, root.data) == 0) || !has_state(root.data))
		return !fs_exists(root.data) && time(NULL) - entry->st->st_mtim.tv_sec > FORGET_AFTER_S ? fs_remove(entry->path, err) : 0;
	needed->project = NULL;
	int failed = find_needed_of(needed, root.data, err);
	needed->project = own;
	return failed ? err_note(err, "while looking for what the project at '%s' needs", root.data) : 0;
}

static int find_needed(struct outputs *cache, struct needed *needed, struct err *err)
{
	OWNED char *projects = path_joined(outputs_dir(cache), PROJECTS);
	/* No targets: nothing to make a .mlmake for. */
	if (needed->project && needed->project->target_count && find_needed_of(needed, needed->project->root, err) < 0)
		return -1;
	return fs_walk_if_there(projects, take_project, needed, err);
}

struct forgetting {
	struct outputs *cache;
	struct strlist names;
};

static int find_forgotten(void *ctx, const char *name, const void *bytes, size_t len, struct err *err)
{
	struct forgetting *forgetting = ctx;
	struct past past;
	struct action action;
	bool found = false;
	if (past_read(bytes, len, &past)) {
		int failed = outputs_find(forgetting->cache, &past.key, &action, &found, err);
		past_release(&past);
		if (failed)
			return -1;
	}
	if (found)
		action_release(&action);
	else
		strlist_add(&forgetting->names, name);
	return 0;
}

/* What the cache has no more needs no past. */
static int forget_past(struct outputs *cache, const char *root, struct err *err)
{
	struct forgetting forgetting = { .cache = cache };
	struct state *state;
	if (state_open(root, &state, err) < 0)
		return -1;
	int failed = state_each(state, STATE_PAST, find_forgotten, &forgetting, err);
	for (size_t i = 0; i < forgetting.names.len && !failed; i++)
		failed = state_remove(state, STATE_PAST, forgetting.names.at[i], err);
	strlist_release(&forgetting.names);
	state_close(state);
	return failed;
}

int cache_collect(struct outputs *cache, const struct project *project, uint64_t max_bytes, bool dry_run, struct outputs_gc_result *ret,
		  struct err *err)
{
	struct needed needed CLEANUP(needed_release) = { .project = project, .record = RECORD_INIT };
	if (find_needed(cache, &needed, err) < 0)
		return -1;
	const struct outputs_gc_options options = {
		.max_bytes = max_bytes,
		.needed = needed.keys.at,
		.needed_len = needed.keys.len,
		.dry_run = dry_run,
	};
	if (outputs_gc(cache, &options, ret, err) < 0)
		return -1;
	bool forget = !dry_run && !ret->busy && project && project->target_count;
	return forget ? forget_past(cache, project->root, err) : 0;
}

int cache_trim(struct outputs *cache, const struct project *project, struct err *err)
{
	struct outputs_usage usage;
	struct outputs_gc_result result;
	uint64_t limit;
	if (!outputs_gc_is_due(cache))
		return 0;
	if (cache_limit(&limit, err) < 0 || outputs_usage(cache, &usage, err) < 0)
		return -1;
	/* A tenth below, so that the next run is not over the limit again. */
	return usage.bytes <= limit ? 0 : cache_collect(cache, project, limit - limit / 10, false, &result, err);
}
