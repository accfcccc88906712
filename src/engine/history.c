#include "engine/history.h"

#include "store/codec.h"

#include <string.h>

/* The numbers are in records. */
enum { WAS_SUCCEEDED = 1, WAS_FAILED = 2, WAS_RESTORED = 3 };

static bool read_entry(struct codec_in *in, struct history_entry *ret)
{
	ret->finished_at = codec_u64(in);
	ret->duration_ms = codec_u64(in);
	switch (codec_u8(in)) {
	case WAS_SUCCEEDED:
		ret->outcome = RUN_SUCCEEDED;
		return true;
	case WAS_FAILED:
		ret->outcome = RUN_FAILED;
		return true;
	case WAS_RESTORED:
		ret->outcome = RUN_RESTORED;
		return true;
	default:
		return false;
	}
}

void history_load(struct history *ret, struct state *state, const char *name)
{
	const void *bytes;
	size_t len;
	*ret = (struct history){ 0 };
	if (!state_get(state, STATE_HISTORY, name, &bytes, &len))
		return;
	struct codec_in in = codec_in(bytes, len);
	ret->succeeded = codec_u64(&in);
	ret->failed = codec_u64(&in);
	ret->restored = codec_u64(&in);
	ret->ran_ms = codec_u64(&in);
	ret->saved_ms = codec_u64(&in);
	uint32_t count = codec_u32(&in);
	bool good = codec_ok(&in) && count <= HISTORY_LAST;
	for (uint32_t i = 0; good && i < count; i++)
		good = read_entry(&in, &ret->last[i]);
	ret->last_len = count;
	if (!good || !codec_done(&in))
		*ret = (struct history){ 0 };
}

static void count(struct history *history, const struct history_entry *entry)
{
	if (entry->outcome == RUN_FAILED) {
		history->failed++;
	} else if (entry->outcome == RUN_RESTORED) {
		history->restored++;
		history->saved_ms += entry->duration_ms;
	} else {
		history->succeeded++;
		history->ran_ms += entry->duration_ms;
	}
}

int history_add(struct state *state, const char *name, const struct history_entry *entry, struct err *err)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct history history;
	history_load(&history, state, name);
	count(&history, entry);
	if (history.last_len == HISTORY_LAST)
		memmove(&history.last[0], &history.last[1], --history.last_len * sizeof(history.last[0]));
	history.last[history.last_len++] = *entry;
	codec_add_u64(&bytes, history.succeeded);
	codec_add_u64(&bytes, history.failed);
	codec_add_u64(&bytes, history.restored);
	codec_add_u64(&bytes, history.ran_ms);
	codec_add_u64(&bytes, history.saved_ms);
	codec_add_u32(&bytes, (uint32_t)history.last_len);
	for (size_t i = 0; i < history.last_len; i++) {
		enum run_outcome outcome = history.last[i].outcome;
		codec_add_u64(&bytes, history.last[i].finished_at);
		codec_add_u64(&bytes, history.last[i].duration_ms);
		codec_add_u8(&bytes, outcome == RUN_FAILED ? WAS_FAILED : outcome == RUN_RESTORED ? WAS_RESTORED : WAS_SUCCEEDED);
	}
	return state_put(state, STATE_HISTORY, name, bytes.data, bytes.len, err);
}
