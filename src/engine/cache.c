#include "engine/cache.h"

#include "base/sys.h"
#include "base/text.h"
#include "engine/components.h"
#include "engine/record.h"

#include <stdlib.h>

int cache_limit(uint64_t *ret, struct err *err)
{
	const char *text = sys.getenv("MLMAKE_CACHE_SIZE");
	*ret = OUTPUTS_MAX_BYTES;
	if (!text || !text[0] || text_parse_size(text, ret))
		return 0;
	err_set(err, ERR_CONFIG, "MLMAKE_CACHE_SIZE is '%s', which is no size", text);
	return err_hint(err, "write it as 20G or 500M");
}

struct keys {
	VEC(struct digest) list;
};

static int find_needed(const struct project *project, struct keys *ret, struct err *err)
{
	struct record record = RECORD_INIT;
	struct state *state;
	/* No project: nothing to make a .mlmake for. */
	if (!project->target_count)
		return 0;
	if (state_open(project->root, &state, err) < 0)
		return -1;
	for (size_t i = 0; i < project->target_count; i++) {
		struct digest key;
		record_load(&record, state, project->targets[i].name);
		if (!record.exists)
			continue;
		components_key(record.components.data, record.components.len, &key);
		vec_push(&ret->list, key);
	}
	record_release(&record);
	state_close(state);
	return 0;
}

int cache_collect(struct outputs *cache, const struct project *project, uint64_t max_bytes, bool dry_run, struct outputs_gc_result *ret,
		  struct err *err)
{
	struct keys needed = { 0 };
	int failed = project ? find_needed(project, &needed, err) : 0;
	const struct outputs_gc_options options = {
		.max_bytes = max_bytes,
		.needed = needed.list.at,
		.needed_len = needed.list.len,
		.dry_run = dry_run,
	};
	if (!failed)
		failed = outputs_gc(cache, &options, ret, err);
	vec_release(&needed.list);
	return failed;
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
