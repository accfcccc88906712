/* Any bytes as a dvc.lock and, behind a line "--- dvc.yaml", the dvc.yaml beside it: read or refused. What dvc.yaml does not name is left out. */
#include "fuzz.h"

#include "base/text.h"
#include "formats/dvclock.h"

static const char separator[] = "\n--- dvc.yaml\n";

static void check(const struct dvc_lock *lock)
{
	for (size_t i = 0; i < lock->stages.len; i++) {
		const struct dvc_stage *stage = &lock->stages.at[i];
		MUST(stage->name && *stage->name);
		for (size_t k = 0; k < stage->file.out_count; k++) {
			const struct dvc_out *out = &stage->file.outs[k];
			MUST(out->path && *out->path && *out->path != '/' && !strstr(out->path, "://"));
			MUST(strlen(out->path) == strcspn(out->path, "\n") || text_is_utf8(out->path, strlen(out->path)));
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT, other CLEANUP(err_release) = ERR_INIT;
	struct dvc_lock lock CLEANUP(dvc_lock_release) = DVC_LOCK_INIT, all CLEANUP(dvc_lock_release) = DVC_LOCK_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	buf_add(&text, (const char *)bytes, len);
	const char *cut = strstr(text.data, separator);
	const char *yaml = cut ? cut + sizeof(separator) - 1 : NULL;
	size_t lock_len = cut ? (size_t)(cut - text.data) + 1 : len;
	size_t yaml_len = yaml ? text.len - (size_t)(yaml - text.data) : 0;
	if (dvc_lock_parse(&lock, "dvc.lock", text.data, lock_len, "dvc.yaml", yaml, yaml_len, &err) < 0)
		MUST(err.message && (err.code == ERR_DATA || err.code == ERR_CONFIG));
	else
		check(&lock);
	if (!yaml)
		return 0;
	/* Without a dvc.yaml no stage is left out. */
	if (dvc_lock_parse(&all, "dvc.lock", text.data, lock_len, "dvc.yaml", NULL, 0, &other) < 0)
		MUST(other.message && (other.code == ERR_DATA || other.code == ERR_CONFIG));
	else
		check(&all);
	MUST(err.code || other.code || all.stages.len >= lock.stages.len);
	return 0;
}
