#include "features/data/intake.h"

#include "base/mem.h"

#include <string.h>

#define BATCH ((size_t)4096)

void intake_add(struct intake *intake, const char *rel, const struct digest *md5, uint64_t size)
{
	intake->size += size;
	intake->nfiles++;
	if (*rel) {
		intake->is_dir = true;
		dvc_dir_add(&intake->dir, rel, md5->bytes);
	} else
		intake->file = *md5;
}

static int take_blob(struct intake *intake, struct data_repo *repo, struct source *source, const struct source_file *file, struct err *err)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct odb_id id = { .is_dir = false };
	if (source_blob(source, file, &bytes, err) < 0)
		return -1;
	digest_bytes(DIGEST_MD5, bytes.data, bytes.len, &id.digest);
	if (!odb_has(&repo->odb, &id, NULL) && odb_put(&repo->odb, &id, bytes.data, bytes.len, err) < 0)
		return -1;
	intake_add(intake, file->rel, &id.digest, bytes.len);
	return 0;
}

/* Content that DVC 2 named gets the name of DVC 3, which nobody knows before it is here. */
static int rename_legacy(struct intake *intake, const char *path, const struct odb_id *id, struct odb_id *ret, struct err *err)
{
	char hex[DIGEST_HEX_MAX];
	struct fs_stamp stamp;
	struct digest *md5 = mem_alloc(sizeof(*md5));
	bool stable;
	digest_hex(&id->digest, hex);
	if (digest_file(DIGEST_MD5, path, md5, &stamp, &stable, err) < 0) {
		free(md5);
		return -1;
	}
	*ret = (struct odb_id){ *md5, false };
	free(map_get(&intake->renamed, hex));
	map_entry(&intake->renamed, hex)->value = md5;
	return stable ? 0 : err_set(err, ERR_FAILED, "%s changed while it was read", path);
}

static const struct digest *renamed(const struct intake *intake, const struct odb_id *id)
{
	char hex[DIGEST_HEX_MAX];
	if (id->digest.kind != DIGEST_MD5_DOS2UNIX)
		return &id->digest;
	digest_hex(&id->digest, hex);
	const struct digest *found = map_get(&intake->renamed, hex);
	return found ? found : &id->digest;
}

/* One batch of objects that the cache lacks. */
static int fetch(struct intake *intake, struct data_repo *repo, struct source *source, const struct source_file **files, size_t count, struct err *err)
{
	struct arena names CLEANUP(arena_release) = { 0 };
	struct source_want *wants OWNED = mem_alloc((count + 1) * sizeof(*wants));
	struct odb_publish *publish OWNED = mem_alloc((count + 1) * sizeof(*publish));
	for (size_t i = 0; i < count; i++) {
		struct buf temp CLEANUP(buf_release) = BUF_INIT;
		if (odb_temp_path(&repo->odb, &temp, err) < 0)
			return -1;
		wants[i] = (struct source_want){ files[i], arena_strdup(&names, temp.data), false };
	}
	int status = source_get(source, wants, count, err);
	size_t got = 0;
	struct err late CLEANUP(err_release) = ERR_INIT;
	for (size_t i = 0; i < count; i++) {
		if (!wants[i].done)
			continue;
		struct odb_id id = files[i]->id;
		if (id.digest.kind == DIGEST_MD5_DOS2UNIX && rename_legacy(intake, wants[i].path, &files[i]->id, &id, err) < 0)
			return -1;
		publish[got++] = (struct odb_publish){ wants[i].path, id };
	}
	/* What did arrive is kept even when the rest cannot. */
	if (odb_publish(&repo->odb, publish, got, &late) < 0 && status == 0)
		status = err_move(err, &late);
	return status;
}

static int fetch_objects(struct intake *intake, struct data_repo *repo, struct source *source, const struct source_files *files, struct err *err)
{
	struct map seen CLEANUP(map_release) = MAP_INIT;
	const struct source_file **batch OWNED = mem_alloc((BATCH + 1) * sizeof(*batch));
	size_t len = 0;
	for (size_t i = 0; i < files->list.len; i++) {
		const struct source_file *file = &files->list.at[i];
		struct buf key CLEANUP(buf_release) = BUF_INIT;
		odb_add_key(&key, &file->id);
		bool legacy = file->id.digest.kind == DIGEST_MD5_DOS2UNIX;
		if (file->kind == SOURCE_OBJECT && map_set(&seen, key.data, NULL) && (legacy || !odb_has(&repo->odb, &file->id, NULL)))
			batch[len++] = file;
		if (len < BATCH && i + 1 < files->list.len)
			continue;
		if (len && fetch(intake, repo, source, batch, len, err) < 0)
			return -1;
		len = 0;
	}
	return 0;
}

int intake_source(struct intake *intake, struct data_repo *repo, struct source *source, const struct source_files *files, struct err *err)
{
	intake->is_dir = files->is_dir;
	if (fetch_objects(intake, repo, source, files, err) < 0)
		return -1;
	for (size_t i = 0; i < files->list.len; i++) {
		const struct source_file *file = &files->list.at[i];
		uint64_t size;
		if (file->kind == SOURCE_BLOB) {
			if (take_blob(intake, repo, source, file, err) < 0)
				return -1;
			continue;
		}
		const struct odb_id id = { *renamed(intake, &file->id), false };
		if (!odb_has(&repo->odb, &id, &size))
			return err_set(err, ERR_DATA, "%s went from the cache again", *file->rel ? file->rel : "the data");
		intake_add(intake, file->rel, &id.digest, size);
	}
	return 0;
}

int intake_finish(struct intake *intake, struct data_repo *repo, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	intake->id = (struct odb_id){ intake->file, intake->is_dir };
	if (!intake->is_dir)
		return 0;
	if (dvc_dir_sort(&intake->dir, err) < 0)
		return -1;
	dvc_dir_render(&text, &intake->dir);
	digest_bytes(DIGEST_MD5, text.data, text.len, &intake->id.digest);
	return odb_has(&repo->odb, &intake->id, NULL) ? 0 : odb_put(&repo->odb, &intake->id, text.data, text.len, err);
}

void intake_release(struct intake *intake)
{
	dvc_dir_release(&intake->dir);
	map_release_values(&intake->renamed, free);
}

void intake_describe(const struct intake *intake, struct dvc_out *out)
{
	out->digest = intake->id.digest;
	out->is_dir = intake->is_dir;
	out->legacy = false;
	out->has_size = true;
	out->size = intake->size;
	out->has_nfiles = intake->is_dir;
	out->nfiles = intake->is_dir ? intake->nfiles : 0;
	out->isexec = false;
}
