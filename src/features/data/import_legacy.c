/*
 * Imports that DVC 2 recorded: what came from the source is hashed as DVC 2 did, and kept where it looks.
 */
#include "base/mem.h"
#include "features/data/import.h"

struct keeping {
	struct data_repo *repo;
	const struct intake *intake;
	size_t count;
	struct digest_job *jobs; /* each file of the intake, by DVC 2's hash */
	struct arena paths;
};

static void keeping_release(struct keeping *keeping)
{
	for (size_t i = 0; i < keeping->count; i++)
		err_release(&keeping->jobs[i].ret_err);
	free(keeping->jobs);
	arena_release(&keeping->paths);
}

static int hash_again(struct keeping *keeping, struct err *err)
{
	const struct intake *intake = keeping->intake;
	for (size_t i = 0; i < keeping->count; i++) {
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		struct odb_id id = intake->is_dir ? odb_member(&intake->id, intake->dir.entries[i].md5) : intake->id;
		odb_add_path(&keeping->repo->odb, &path, &id);
		keeping->jobs[i].path = arena_strndup(&keeping->paths, path.data, path.len);
	}
	digest_files(DIGEST_MD5_DOS2UNIX, keeping->jobs, keeping->count);
	for (size_t i = 0; i < keeping->count; i++)
		if (keeping->jobs[i].ret_status < 0)
			return err_move(err, &keeping->jobs[i].ret_err);
	return 0;
}

/* The manifest of DVC 2 and the id of it, or of the file. */
static int describe(const struct keeping *keeping, struct dvc_dir *ret_dir, struct odb_id *ret, struct err *err)
{
	const struct intake *intake = keeping->intake;
	*ret = (struct odb_id){ .is_dir = intake->is_dir };
	if (!intake->is_dir) {
		ret->digest = keeping->jobs[0].ret;
		return 0;
	}
	for (size_t i = 0; i < keeping->count; i++)
		dvc_dir_add(ret_dir, intake->dir.entries[i].relpath, keeping->jobs[i].ret.bytes);
	if (dvc_dir_sort(ret_dir, err) < 0)
		return -1;
	dvc_dir_digest(ret_dir, &ret->digest, NULL);
	ret->digest.kind = DIGEST_MD5_DOS2UNIX;
	return 0;
}

/* Copies of the objects, under their other names. Of files that differ in their line ends alone DVC 2 keeps one. */
static int copy_objects(struct keeping *keeping, struct err *err)
{
	struct odb *odb = &keeping->repo->odb;
	struct odb_publish *items OWNED = mem_alloc((keeping->count + 1) * sizeof(*items));
	struct map seen CLEANUP(map_release) = MAP_INIT;
	size_t n = 0;
	for (size_t i = 0; i < keeping->count; i++) {
		struct odb_id id = { keeping->jobs[i].ret, false };
		struct buf temp CLEANUP(buf_release) = BUF_INIT;
		char hex[DIGEST_HEX_MAX];
		digest_hex(&id.digest, hex);
		if (odb_has(odb, &id, NULL) || !map_set(&seen, hex, NULL))
			continue;
		if (odb_temp_path(odb, &temp, err) < 0 || fs_copy_file(keeping->jobs[i].path, temp.data, 0600, err) < 0)
			return -1;
		items[n++] = (struct odb_publish){ arena_strndup(&keeping->paths, temp.data, temp.len), id };
	}
	return odb_publish(odb, items, n, err);
}

int import_keep_legacy(struct data_repo *repo, const struct odb_id *wanted, const struct intake *intake, bool *ret_same, struct err *err)
{
	struct keeping keeping CLEANUP(keeping_release) = { .repo = repo, .intake = intake, .count = intake->is_dir ? intake->dir.len : 1 };
	struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct odb_id id;
	keeping.jobs = mem_alloc((keeping.count + 1) * sizeof(*keeping.jobs));
	if (hash_again(&keeping, err) < 0 || describe(&keeping, &dir, &id, err) < 0)
		return -1;
	*ret_same = id.is_dir == wanted->is_dir && digest_eq(&id.digest, &wanted->digest);
	if (!*ret_same)
		return 0;
	if (copy_objects(&keeping, err) < 0)
		return -1;
	if (!id.is_dir || odb_has(&repo->odb, &id, NULL))
		return 0;
	dvc_dir_render(&text, &dir);
	return odb_put(&repo->odb, &id, text.data, text.len, err);
}
