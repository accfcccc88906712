#include "engine/record.h"

#define REASONS_MAX 50 /* nobody reads more, and a record stays small */

void record_release(struct record *record)
{
	buf_release(&record->components);
	manifest_release(&record->outputs);
	strlist_release(&record->reasons);
	*record = (struct record)RECORD_INIT;
}

bool record_read(struct record *record, const void *bytes, size_t len)
{
	struct codec_in in = codec_in(bytes, len);
	struct buf kept = record->components;
	buf_reset(&kept);
	record->components = (struct buf)BUF_INIT;
	record_release(record);
	record->components = kept;
	record->duration_ms = codec_u64(&in);
	record->finished_at = codec_u64(&in);
	codec_digest(&in, &record->result);
	size_t components_len;
	const void *components = codec_bytes(&in, &components_len);
	if (!codec_ok(&in) || !manifest_read(&in, &record->outputs)) {
		record_release(record);
		return false;
	}
	uint32_t reasons = codec_u32(&in);
	for (uint32_t i = 0; i < reasons && codec_ok(&in); i++)
		strlist_add(&record->reasons, codec_str(&in));
	buf_add(&record->components, components, components_len);
	record->exists = codec_done(&in);
	if (!record->exists)
		record_release(record);
	return record->exists;
}

void record_load(struct record *record, struct state *state, const char *name)
{
	const void *bytes;
	size_t len;
	if (!state_get(state, STATE_RESULTS, name, &bytes, &len)) {
		bytes = NULL;
		len = 0;
	}
	(void)record_read(record, bytes, len);
}

int record_save(const struct record *record, struct state *state, const char *name, struct err *err)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	size_t reasons = record->reasons.len < REASONS_MAX ? record->reasons.len : REASONS_MAX;
	codec_add_u64(&bytes, record->duration_ms);
	codec_add_u64(&bytes, record->finished_at);
	codec_add_digest(&bytes, &record->result);
	codec_add_bytes(&bytes, record->components.data, record->components.len);
	manifest_add(&bytes, &record->outputs);
	codec_add_u32(&bytes, (uint32_t)reasons);
	for (size_t i = 0; i < reasons; i++)
		codec_add_str(&bytes, record->reasons.at[i]);
	return state_put(state, STATE_RESULTS, name, bytes.data, bytes.len, err);
}

uint64_t record_duration(struct state *state, const char *name)
{
	const void *bytes;
	size_t len;
	if (!state_get(state, STATE_RESULTS, name, &bytes, &len))
		return 0;
	struct codec_in in = codec_in(bytes, len);
	return codec_u64(&in);
}
