/*
 * data migrate: outputs that DVC 2 recorded become those of DVC 3. Their objects lie in <cache>/ab/cdef..., named by a md5 that takes CRLF
 * for LF in text (formats/dos2unix.h); each is checked against that name before its bytes get their new one. The old objects stay. Two files
 * that differ in their line ends alone have one object there: so what is in the work tree, unchanged, is what counts for a file.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/outs.h"

#include <string.h>

struct migrating {
	struct data_repo *repo;
	struct data_migrate_report *ret;
	bool dry;
	struct map new_names; /* legacy hex to struct migrated */
	size_t lost;          /* objects of this output that are absent or damaged */
};

struct migrated {
	struct digest digest;
	uint64_t size;
};

static char *legacy_path(const struct data_repo *repo, const struct digest *digest, bool is_dir)
{
	struct buf path = BUF_INIT;
	odb_add_path(&repo->odb, &path, &(struct odb_id){ *digest, is_dir });
	return buf_detach(&path);
}

static void lose(struct migrating *migrating, struct strlist *list, const char *name, const struct digest *digest)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(digest, hex);
	strlist_take(list, mem_printf("%s (md5-dos2unix %s)", name, hex));
	migrating->lost++;
}

/* That the object is there and what its old name says. */
static int check_object(struct migrating *migrating, const char *path, const char *name, const struct digest *digest, bool *ret_sound,
			struct err *err)
{
	struct digest now;
	struct fs_stamp stamp;
	bool stable;
	*ret_sound = false;
	if (!fs_is_file(path)) {
		lose(migrating, &migrating->ret->missing, name, digest);
		return 0;
	}
	if (digest_file(digest->kind, path, &now, &stamp, &stable, err) < 0)
		return -1;
	*ret_sound = stable && digest_eq(&now, digest);
	if (!*ret_sound)
		lose(migrating, &migrating->ret->damaged, name, digest);
	return 0;
}

static int take_in(struct migrating *migrating, const char *path, struct migrated *ret, struct err *err)
{
	struct odb_import item = { .path = path };
	bool stable = true;
	if (migrating->dry ? digest_file(DIGEST_MD5, path, &item.ret_digest, &item.ret_stamp, &stable, err) < 0
			   : odb_import(&migrating->repo->odb, &item, 1, NULL, err) < 0)
		return -1;
	*ret = (struct migrated){ item.ret_digest, item.ret_stamp.size };
	migrating->ret->objects++;
	return 0;
}

/* Whether the work tree has the file as it was recorded. */
static bool is_unchanged(struct migrating *migrating, const char *name, const char *abs, const struct digest *digest)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct digest now;
	struct fs_stamp stamp;
	bool stable;
	return fs_is_file(abs) && repo_check_parents(migrating->repo, name, &ignored) == 0 &&
	       digest_file(digest->kind, abs, &now, &stamp, &stable, &ignored) == 0 && stable && digest_eq(&now, digest);
}

/* *ret_found is false where the object is absent or damaged. */
static int migrate_object(struct migrating *migrating, const struct digest *digest, const char *name, bool *ret_found,
			  struct migrated *ret, struct err *err)
{
	char hex[DIGEST_HEX_MAX];
	char *path OWNED = legacy_path(migrating->repo, digest, false), *abs OWNED = repo_abs(migrating->repo, name);
	*ret_found = is_unchanged(migrating, name, abs, digest);
	if (*ret_found)
		return take_in(migrating, abs, ret, err);
	digest_hex(digest, hex);
	const struct migrated *known = map_get(&migrating->new_names, hex);
	if (known) {
		*ret = *known;
		*ret_found = true;
		return 0;
	}
	if (check_object(migrating, path, name, digest, ret_found, err) < 0)
		return -1;
	if (!*ret_found)
		return 0;
	if (take_in(migrating, path, ret, err) < 0)
		return -1;
	struct migrated *made = mem_alloc(sizeof(*made));
	*made = *ret;
	map_set(&migrating->new_names, hex, made);
	return 0;
}

static int migrate_dir(struct migrating *migrating, const struct tracked *tracked, struct dvc_out *out, struct err *err)
{
	struct dvc_dir old CLEANUP(dvc_dir_release) = DVC_DIR_INIT, dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	char *path OWNED = legacy_path(migrating->repo, &out->digest, true);
	char *name OWNED = mem_printf("%s/", tracked->path);
	struct odb_id top = tracked_id(tracked);
	bool sound;
	uint64_t total = 0;
	if (check_object(migrating, path, name, &out->digest, &sound, err) < 0)
		return -1;
	if (!sound)
		return 0;
	if (dvc_dir_read(&old, path, name, err) < 0)
		return -1;
	for (size_t i = 0; i < old.len; i++) {
		struct digest digest = odb_member(&top, old.entries[i].md5).digest;
		struct migrated made;
		bool found;
		char *member OWNED = path_joined(tracked->path, old.entries[i].relpath);
		if (migrate_object(migrating, &digest, member, &found, &made, err) < 0)
			return -1;
		if (!found)
			continue;
		total += made.size;
		dvc_dir_add(&dir, old.entries[i].relpath, made.digest.bytes);
	}
	if (migrating->lost)
		return 0;
	if (dvc_dir_sort(&dir, err) < 0)
		return -1;
	dvc_dir_render(&text, &dir);
	struct odb_id id = { .is_dir = true };
	digest_bytes(DIGEST_MD5, text.data, text.len, &id.digest);
	out->digest = id.digest;
	out->has_size = out->has_nfiles = true;
	out->size = total;
	out->nfiles = dir.len;
	return migrating->dry ? 0 : odb_put(&migrating->repo->odb, &id, text.data, text.len, err);
}

static int migrate_out(struct migrating *migrating, const struct tracked *tracked, struct dvc_out *out, struct err *err)
{
	struct migrated made;
	bool found;
	migrating->lost = 0;
	if (out->is_dir) {
		if (migrate_dir(migrating, tracked, out, err) < 0)
			return -1;
	} else {
		if (migrate_object(migrating, &out->digest, tracked->path, &found, &made, err) < 0)
			return -1;
		if (found) {
			out->digest = made.digest;
			out->has_size = true;
			out->size = made.size;
		}
	}
	out->legacy = migrating->lost > 0;
	return 0;
}

/* All outputs of one .dvc, then the .dvc: objects are there before anything names them. */
static int migrate_file(struct migrating *migrating, const struct tracked *tracked, struct err *err)
{
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	char *abs OWNED = repo_abs(migrating->repo, tracked->dvc_path);
	bool changed = false;
	if (dvc_file_read(abs, tracked->dvc_path, &file, err) < 0)
		return -1;
	for (size_t i = 0; i < file.out_count; i++) {
		struct dvc_out *out = &file.outs[i];
		if (!out->legacy || out->has_files || out->digest.kind == DIGEST_NONE || !text_eq(out->path, tracked->out->path))
			continue;
		if (migrate_out(migrating, tracked, out, err) < 0)
			return -1;
		changed = changed || !out->legacy;
	}
	if (!changed)
		return 0;
	strlist_add(&migrating->ret->migrated, tracked->dvc_path);
	return migrating->dry ? 0 : dvc_file_write(abs, &file, NULL, err);
}

int data_migrate(struct data_repo *repo, const char *const *paths, size_t count, bool dry, struct data_migrate_report *ret, struct err *err)
{
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	struct selection chosen CLEANUP(selection_release) = SELECTION_INIT;
	struct migrating migrating = { .repo = repo, .ret = ret, .dry = dry };
	*ret = (struct data_migrate_report){ .objects = 0 };
	if (repo_lock(repo, err) < 0)
		return -1;
	int status = outs_load(repo, &outs, err);
	outs_add_broken(repo, &outs, paths, count, &ret->broken);
	if (status == 0)
		status = outs_select(repo, &outs, paths, count, &chosen, err);
	if (status == 0)
		status = selection_check_parts(repo, &chosen, true, err);
	for (size_t i = 0; status == 0 && i < chosen.list.len; i++) {
		const struct tracked *tracked = chosen.list.at[i].tracked;
		repo_progress(repo, "migrating", i, chosen.list.len, 0);
		if (!tracked->out->legacy || tracked->out->digest.kind == DIGEST_NONE)
			continue;
		if (tracked->stage)
			strlist_take(&ret->left, mem_printf("%s: an output of the stage '%s' (dvc commit records it anew)", tracked->path, tracked->stage));
		else if (tracked->is_import)
			strlist_take(&ret->left, mem_printf("%s: an import (mlmake data update records it anew)", tracked->path));
		else
			status = migrate_file(&migrating, tracked, err);
	}
	map_release_values(&migrating.new_names, free);
	repo_unlock(repo);
	return status;
}

void data_migrate_report_release(struct data_migrate_report *report)
{
	struct strlist *lists[] = { &report->migrated, &report->missing, &report->damaged, &report->left, &report->broken };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		strlist_release(lists[i]);
}
