/*
 * Merging .dvc files: what a side did to the data, member by member, then what it did to the rest of the text.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/text.h"
#include "features/data/browse.h"

#include <string.h>

#define MAX_TEXT ((size_t)16 << 20)

enum { BASE, OURS, THEIRS, SIDES };
static const char *const side_names[SIDES] = { "base", "ours", "theirs" };

struct merging {
	struct data_repo *repo;
	const char *const *files; /* paths of the three texts */
	const char *path;         /* of the .dvc, relative to the root */
	struct strlist *conflicts;
	struct dvc_file side[SIDES];
	bool has_base;            /* else both sides added it */
};

static void merging_release(struct merging *merging)
{
	for (int i = 0; i < SIDES; i++)
		dvc_file_release(&merging->side[i]);
}

static struct dvc_out *out_of(struct merging *merging, int side)
{
	return &merging->side[side].outs[0];
}

/* By lines, as git does it without us. The result, with markers where it conflicts, goes to the file of our side. */
static int merge_lines(const struct merging *merging, bool *ret_clean, struct err *err)
{
	const char *const argv[] = { "git", "merge-file", "-p", "-q", "-L", "ours", "-L", "base", "-L", "theirs",
				     merging->files[OURS], merging->files[BASE], merging->files[THEIRS], NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct proc_capture capture = { .out = &text, .max = MAX_TEXT };
	spec.argv = argv;
	if (proc_run(&spec, &capture, err) < 0)
		return -1;
	if (capture.ret_exit > 127)
		return err_set(err, ERR_FAILED, "git merge-file failed on %s", merging->path);
	*ret_clean = capture.ret_exit == 0;
	return fs_write_file(merging->files[OURS], text.data, text.len, 0666, FS_VOLATILE, err);
}

static bool same_data(const struct dvc_out *a, const struct dvc_out *b)
{
	return a->is_dir == b->is_dir && a->legacy == b->legacy && digest_eq(&a->digest, &b->digest);
}

/* Reads the three. False where they are nothing that can be merged by content: then it is for the lines. */
static bool read_sides(struct merging *merging)
{
	for (int i = 0; i < SIDES; i++) {
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		struct stat st;
		bool exists;
		if (i == BASE && (fs_lstat(merging->files[BASE], &st, &exists, &ignored) < 0 || !exists || !st.st_size))
			continue;
		if (dvc_file_read(merging->files[i], merging->path, &merging->side[i], &ignored) < 0)
			return false;
		const struct dvc_file *file = &merging->side[i];
		if (file->out_count != 1 || file->dep_count || file->outs[0].has_files || file->outs[0].digest.kind == DIGEST_NONE)
			return false;
		merging->has_base = merging->has_base || i == BASE;
	}
	const struct dvc_out *ours = out_of(merging, OURS);
	return text_eq(ours->path, out_of(merging, THEIRS)->path) &&
	       (!merging->has_base || text_eq(ours->path, out_of(merging, BASE)->path));
}

static void set_data(struct dvc_out *out, const struct dvc_out *from)
{
	out->digest = from->digest;
	out->is_dir = from->is_dir;
	out->legacy = from->legacy;
	out->has_size = from->has_size;
	out->size = from->size;
	out->has_nfiles = from->has_nfiles;
	out->nfiles = from->nfiles;
}

static void conflict(struct merging *merging, const char *member, const char *what)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT;
	path_dir(&dir, merging->path);
	path_join(&path, text_eq(dir.data, ".") ? "" : dir.data, out_of(merging, OURS)->path);
	strlist_take(merging->conflicts, mem_printf("%s%s%s %s", path.data, member ? "/" : "", member ? member : "", what));
}

static int read_manifest(struct merging *merging, int side, struct dvc_dir *ret)
{
	struct err why CLEANUP(err_release) = ERR_INIT;
	struct dvc_out *out = out_of(merging, side);
	struct tracked tracked = { .path = out->path, .dvc_path = (char *)(uintptr_t)merging->path, .out = out };
	char *shown OWNED = NULL;
	if (browse_manifest(merging->repo, &tracked, ret, &why) == 0)
		return 0;
	shown = mem_printf("(%s): %s%s%s", side_names[side], why.message, why.hint ? "; " : "", why.hint ? why.hint : "");
	conflict(merging, NULL, shown);
	return -1;
}

static bool same_member(const struct dvc_entry *a, const struct dvc_entry *b)
{
	return a && b ? memcmp(a->md5, b->md5, 16) == 0 : a == b;
}

/* Adds bytes of a member to the sum, which becomes unknown where the cache has it not. */
static void count_size(const struct data_repo *repo, const struct dvc_entry *entry, bool add, struct dvc_out *merged)
{
	struct odb_id id = { { .kind = DIGEST_MD5 }, false };
	uint64_t size = 0;
	if (!entry || !merged->has_size)
		return;
	memcpy(id.digest.bytes, entry->md5, 16);
	merged->has_size = odb_has(&repo->odb, &id, &size);
	merged->size += add ? size : 0 - size;
}

struct sides {
	struct dvc_dir dir[SIDES];
	size_t at[SIDES];
};

static void sides_release(struct sides *sides)
{
	for (int i = 0; i < SIDES; i++)
		dvc_dir_release(&sides->dir[i]);
}

/* The first name that is not behind us, and who has it. */
static const char *next_member(struct sides *sides, const struct dvc_entry *ret[SIDES])
{
	const char *name = NULL;
	for (int i = 0; i < SIDES; i++)
		if (sides->at[i] < sides->dir[i].len && (!name || strcmp(sides->dir[i].entries[sides->at[i]].relpath, name) < 0))
			name = sides->dir[i].entries[sides->at[i]].relpath;
	for (int i = 0; name && i < SIDES; i++) {
		bool has = sides->at[i] < sides->dir[i].len && text_eq(sides->dir[i].entries[sides->at[i]].relpath, name);
		ret[i] = has ? &sides->dir[i].entries[sides->at[i]++] : NULL;
	}
	return name;
}

static void merge_members(struct merging *merging, struct sides *sides, struct dvc_dir *ret, struct dvc_out *merged)
{
	const struct dvc_entry *has[SIDES] = { NULL };
	for (const char *name; (name = next_member(sides, has));) {
		const struct dvc_entry *chosen = has[OURS];
		if (!same_member(has[OURS], has[THEIRS]) && same_member(has[BASE], has[OURS])) {
			chosen = has[THEIRS];
			count_size(merging->repo, has[OURS], false, merged);
			count_size(merging->repo, has[THEIRS], true, merged);
		} else if (!same_member(has[OURS], has[THEIRS]) && !same_member(has[BASE], has[THEIRS]))
			conflict(merging, name, !has[OURS] ? "was removed by ours and changed by theirs"
						: !has[THEIRS] ? "was changed by ours and removed by theirs"
						: has[BASE] ? "was changed by both sides" : "was added by both sides, with different content");
		if (chosen)
			dvc_dir_add(ret, chosen->relpath, chosen->md5);
	}
}

/* The merged manifest is in the cache before anything refers to it. */
static int merge_dirs(struct merging *merging, struct dvc_out *merged, struct err *err)
{
	struct sides sides CLEANUP(sides_release) = { .at = { 0 } };
	struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct err clash CLEANUP(err_release) = ERR_INIT;
	for (int i = 0; i < SIDES; i++)
		if ((i != BASE || merging->has_base) && read_manifest(merging, i, &sides.dir[i]) < 0)
			return 0;
	merge_members(merging, &sides, &dir, merged);
	if (merging->conflicts->len)
		return 0;
	if (dvc_dir_sort(&dir, &clash) < 0) {
		conflict(merging, NULL, clash.message);
		return 0;
	}
	dvc_dir_render(&text, &dir);
	struct odb_id id = { .is_dir = true };
	digest_bytes(DIGEST_MD5, text.data, text.len, &id.digest);
	merged->digest = id.digest;
	merged->has_nfiles = true;
	merged->nfiles = dir.len;
	return odb_put(&merging->repo->odb, &id, text.data, text.len, err);
}

static int merge_data(struct merging *merging, struct dvc_out *merged, struct err *err)
{
	const struct dvc_out *ours = out_of(merging, OURS), *theirs = out_of(merging, THEIRS);
	const struct dvc_out *base = merging->has_base ? out_of(merging, BASE) : NULL;
	bool take_theirs = base && same_data(base, ours);
	set_data(merged, take_theirs ? theirs : ours);
	if (take_theirs || same_data(ours, theirs) || (base && same_data(base, theirs)))
		return 0;
	if (ours->is_dir && theirs->is_dir && (!base || base->is_dir) && !ours->legacy && !theirs->legacy && (!base || !base->legacy))
		return merge_dirs(merging, merged, err);
	conflict(merging, NULL, ours->legacy != theirs->legacy ? "is recorded by DVC 2 on one side: mlmake data migrate there, then merge"
							      : "was changed by both sides");
	return 0;
}

/* With the merged data on all three sides only what else was changed is left for the lines. */
static int write_sides(struct merging *merging, const struct dvc_out *merged, struct err *err)
{
	for (int i = 0; i < SIDES; i++) {
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		if (i == BASE && !merging->has_base)
			continue;
		set_data(out_of(merging, i), merged);
		if (dvc_file_render(&text, &merging->side[i], err) < 0 ||
		    fs_write_file(merging->files[i], text.data, text.len, 0666, FS_VOLATILE, err) < 0)
			return -1;
	}
	return 0;
}

int data_merge(struct data_repo *repo, const char *const files[3], const char *path, struct strlist *ret_conflicts, struct err *err)
{
	struct buf rel CLEANUP(buf_release) = BUF_INIT;
	struct merging merging CLEANUP(merging_release) = { .repo = repo, .files = files, .conflicts = ret_conflicts };
	struct dvc_out merged = { 0 };
	bool clean;
	if (repo_path(repo, path, &rel, err) < 0)
		return -1;
	merging.path = rel.data;
	if (read_sides(&merging)) {
		if (merge_data(&merging, &merged, err) < 0 || (!ret_conflicts->len && write_sides(&merging, &merged, err) < 0))
			return -1;
	}
	if (merge_lines(&merging, &clean, err) < 0)
		return -1;
	if (!clean && !ret_conflicts->len)
		strlist_take(ret_conflicts, mem_printf("%s was edited by both sides in the same place", rel.data));
	return 0;
}
