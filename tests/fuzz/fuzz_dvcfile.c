/* Any bytes: read or refused. What was read is written unchanged; edited, it says what was asked of it. */
#include "fuzz.h"

#include "base/path.h"
#include "formats/dvcfile.h"

static void edit(struct dvc_out *out)
{
	out->digest.kind = DIGEST_MD5;
	memset(out->digest.bytes, 0x12, 16);
	out->is_dir = !out->is_dir;
	out->has_size = true;
	out->size = 4711;
	out->has_nfiles = !out->has_nfiles;
	out->nfiles = 3;
	out->isexec = !out->isexec;
	out->legacy = false;
	out->has_files = false; /* members in the record would be what it is of */
	free(out->path);
	out->path = mem_strdup("a: b, c");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT, again CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	if (dvc_file_parse((const char *)bytes, len, "f.dvc", &file, &err) < 0) {
		MUST(err.message && (err.code == ERR_DATA || err.code == ERR_CONFIG));
		return 0;
	}
	MUST(file.out_count > 0);
	for (size_t i = 0; i < file.out_count; i++)
		MUST(path_is_safe(file.outs[i].path));
	MUST(dvc_file_render(&out, &file, &err) == 0);
	MUST(out.len == len && memcmp(out.data, bytes, len) == 0);
	buf_reset(&out);
	edit(&file.outs[0]);
	if (dvc_file_render(&out, &file, &err) < 0) {
		MUST(err.code == ERR_CONFIG);
		return 0;
	}
	if (dvc_file_parse(out.data, out.len, "f", &again, &err) < 0) {
		/* Another output may be called that, or the text have no line for a new key. */
		MUST(strstr(err.message, "twice"));
		return 0;
	}
	const struct dvc_out *a = &file.outs[0], *b = &again.outs[0];
	MUST(again.out_count == file.out_count);
	MUST(digest_eq(&a->digest, &b->digest) && a->is_dir == b->is_dir && a->size == b->size && a->isexec == b->isexec);
	MUST(a->has_nfiles == b->has_nfiles && !b->legacy && strcmp(a->path, b->path) == 0);
	MUST(a->push == b->push && a->cache == b->cache);
	return 0;
}
