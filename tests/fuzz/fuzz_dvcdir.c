/* Any bytes: read or refused, the same in one piece and in many; written again and read again, it is the same. */
#include "fuzz.h"

#include "base/path.h"
#include "formats/dvcdir.h"

static int in_pieces(struct dvc_dir *dir, const uint8_t *bytes, size_t len, struct err *err)
{
	struct dvc_dir_parser *p = dvc_dir_parser_new(dir, "f.dir");
	for (size_t at = 0; at < len; at++) {
		if (dvc_dir_parser_add(p, bytes + at, 1, err) < 0) {
			dvc_dir_parser_drop(p);
			return -1;
		}
	}
	return dvc_dir_parser_end(p, err);
}

static void same(const struct dvc_dir *a, const struct dvc_dir *b)
{
	MUST(a->len == b->len);
	for (size_t i = 0; i < a->len; i++)
		MUST(strcmp(a->entries[i].relpath, b->entries[i].relpath) == 0 && memcmp(a->entries[i].md5, b->entries[i].md5, 16) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct dvc_dir whole CLEANUP(dvc_dir_release) = DVC_DIR_INIT, pieces CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	int status = dvc_dir_parse(&whole, (const char *)bytes, len, "f.dir", &err);
	MUST(status == 0 || (err.message && err.code == ERR_DATA));
	MUST(in_pieces(&pieces, bytes, len, &err) == status);
	if (status < 0)
		return 0;
	same(&whole, &pieces);
	for (size_t i = 0; i < whole.len; i++)
		MUST(path_is_safe(whole.entries[i].relpath) && dvc_dir_find(&whole, whole.entries[i].relpath) == &whole.entries[i]);
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct digest streamed, direct;
	dvc_dir_render(&out, &whole);
	MUST(dvc_dir_parse(&pieces, out.data, out.len, "f.dir", &err) == 0);
	same(&whole, &pieces);
	dvc_dir_digest(&whole, &streamed, NULL);
	digest_bytes(DIGEST_MD5, out.data, out.len, &direct);
	MUST(digest_eq(&streamed, &direct));
	return 0;
}
