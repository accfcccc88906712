/*
 * data add: all content to the cache first, then all records, so that a failure records nothing. While bytes move the paths are held
 * in the rwlock; .dvc/tmp/lock is held for what is read and written of records.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/pool.h"
#include "base/text.h"
#include "features/data/checkout.h"
#include "features/data/glob_paths.h"
#include "features/data/outs.h"
#include "features/data/record.h"
#include "features/data/rwlock.h"
#include "features/data/whole.h"

#include <string.h>

#define MAX_NOTES 10

struct adding {
	char *given, *rel;
	struct record record;
	struct walk walk;
	struct strlist removed;
	struct digest cache_seen; /* of the cache before its objects were looked at; DIGEST_NONE: some came since, or it cannot be told */
	struct whole_seen seen;
	bool known;           /* a large directory that is as an earlier add found it and its objects; walk lists no files then */
	struct odb_id legacy; /* what DVC 2 recorded of it; DIGEST_NONE: nothing */
	bool unchanged;       /* as DVC 2 recorded it, which stays so: a colleague's DVC 2 cannot read other records */
};

struct add_run {
	struct data_repo *repo;
	const struct data_add_options *options;
	int64_t clock; /* of before the first look; see whole.h */
	VEC(struct adding) list;
};

static void add_run_release(struct add_run *run)
{
	for (size_t i = 0; i < run->list.len; i++) {
		struct adding *adding = &run->list.at[i];
		free(adding->given);
		free(adding->rel);
		free(adding->record.path);
		free(adding->record.dvc_path);
		walk_release(&adding->walk);
		strlist_release(&adding->removed);
	}
	vec_release(&run->list);
}

static int check_odd(const struct walk *walk, struct err *err)
{
	if (!walk->odd.len)
		return 0;
	err_set(err, ERR_FAILED, "%s", walk->odd.at[0]);
	for (size_t i = 1; i < walk->odd.len && i <= MAX_NOTES; i++)
		err_note(err, "%s", walk->odd.at[i]);
	if (walk->odd.len > MAX_NOTES + 1)
		err_note(err, "and %zu more", walk->odd.len - MAX_NOTES - 1);
	return err_hint(err, "such a thing cannot be versioned as data: move it away, or name it in .dvcignore; nothing was recorded");
}

struct import_progress {
	struct data_repo *repo;
	size_t total, before;
	uint64_t bytes_before, bytes;
};

static bool import_progress(void *ctx, size_t items_done, uint64_t bytes_done)
{
	struct import_progress *progress = ctx;
	progress->bytes = progress->bytes_before + bytes_done;
	repo_progress(progress->repo, "adding", progress->before + items_done, progress->total, progress->bytes);
	return true;
}

static int check_imported(const struct walk *walk, const uint32_t *index, const struct odb_import *items, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (digest_eq(&walk->files.at[index[i]].digest, &items[i].ret_digest))
			continue;
		err_set(err, ERR_FAILED, "%s changed while it was read", items[i].path);
		return err_hint(err, "wait until whatever writes it has finished, and add it again");
	}
	return 0;
}

#define MANY_FILES 1000 /* from here on listing is faster than looking */
#define IMPORTED_AT_ONCE ((size_t)65536)

/* Which of the walk's files the cache has; none that was just read or never was. by_listing: by their names alone. */
static void find_cached(const struct odb *odb, const struct walk *walk, bool by_listing, bool *ret_cached)
{
	size_t total = walk->files.len, count = 0;
	struct odb_id *ids OWNED = mem_alloc((total + 1) * sizeof(*ids));
	uint64_t *sizes OWNED = mem_alloc((total + 1) * sizeof(*sizes));
	bool *present OWNED = mem_alloc(total + 1);
	for (size_t i = 0; i < total; i++) {
		const struct walk_file *file = &walk->files.at[i];
		ret_cached[i] = file->digest.kind != DIGEST_NONE && !file->was_read;
		if (!ret_cached[i])
			continue;
		ids[count] = (struct odb_id){ file->digest, false };
		sizes[count++] = file->size;
	}
	if (by_listing && count >= MANY_FILES)
		odb_list_many(odb, ids, count, present);
	else
		odb_has_many(odb, ids, sizes, count, present);
	for (size_t i = 0, next = 0; i < total; i++)
		if (ret_cached[i])
			ret_cached[i] = present[next++];
}

/* What was read on the way into the cache need not be read again. */
static int learn(struct data_repo *repo, struct walk *walk, const uint32_t *index, const struct odb_import *items, size_t count,
		 int64_t clock, struct err *err)
{
	struct hashes *hashes;
	if (repo_hashes(repo, &hashes, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct walk_file *file = &walk->files.at[index[i]];
		if (file->digest.kind != DIGEST_NONE)
			continue;
		char *path OWNED = *file->rel ? path_joined(walk->path, file->rel) : mem_strdup(walk->path);
		file->digest = items[i].ret_digest;
		file->stamp = items[i].ret_stamp;
		file->size = items[i].ret_stamp.size;
		hashes_learn(hashes, DIGEST_MD5, path, &file->digest, &file->stamp, clock);
	}
	return 0;
}

/* The files of the walk that the cache lacks, by their index. */
static uint32_t *find_missing(struct data_repo *repo, const struct walk *walk, bool by_listing, size_t *ret_count)
{
	size_t total = walk->files.len, count = 0;
	bool *cached OWNED = mem_alloc(total + 1);
	find_cached(&repo->odb, walk, by_listing, cached);
	for (size_t i = 0; i < total; i++)
		count += !cached[i];
	*ret_count = count;
	if (!count)
		return NULL;
	uint32_t *index = mem_alloc(count * sizeof(*index));
	for (size_t i = 0, next = 0; i < total; i++)
		if (!cached[i])
			index[next++] = (uint32_t)i;
	return index;
}

/* What is known of so many new files, and more the more there are, goes to the database at once. */
static int save_some(struct data_repo *repo, const struct hashes *hashes, size_t done, struct err *err)
{
	size_t unsaved = hashes_unsaved(hashes);
	return unsaved < 2 * IMPORTED_AT_ONCE || unsaved < done / 4 ? 0 : repo_save_hashes(repo, err);
}

static int import_some(struct import_progress *progress, struct walk *walk, const uint32_t *index, size_t count, struct err *err)
{
	struct data_repo *repo = progress->repo;
	struct arena paths CLEANUP(arena_release) = { 0 };
	struct odb_import *items OWNED = mem_alloc(count * sizeof(*items));
	char *abs OWNED = repo_abs(repo, walk->path);
	struct hashes *hashes;
	if (repo_hashes(repo, &hashes, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		const char *rel = walk->files.at[index[i]].rel;
		items[i].path = *rel ? arena_join(&paths, abs, rel) : abs;
	}
	int64_t clock = hashes_clock(hashes);
	struct odb_sink sink = { import_progress, progress };
	if (odb_import(&repo->odb, items, count, &sink, err) < 0 || learn(repo, walk, index, items, count, clock, err) < 0 ||
	    check_imported(walk, index, items, count, err) < 0)
		return -1;
	progress->before += count;
	progress->bytes_before = progress->bytes;
	return save_some(repo, hashes, progress->before, err);
}

/* Brings the files of the walk that the cache lacks into it. One that has no record goes in, which is when it is hashed, even if its
 * object is there: that is the moment to find the object damaged while a sound copy is at hand. again: each object was looked at a moment
 * ago, and only a gc since then matters. */
static int import_files(struct data_repo *repo, struct walk *walk, bool again, bool *ret_some, struct err *err)
{
	size_t count;
	uint32_t *index OWNED = find_missing(repo, walk, again, &count);
	*ret_some = count;
	struct import_progress progress = { .repo = repo, .total = count };
	for (size_t at = 0; at < count; at += IMPORTED_AT_ONCE) {
		size_t some = count - at < IMPORTED_AT_ONCE ? count - at : IMPORTED_AT_ONCE;
		if (import_some(&progress, walk, index + at, some, err) < 0)
			return -1;
	}
	return 0;
}

static int put_manifest(const struct add_run *run, const struct dvc_dir *dir, struct odb_id *ret, struct err *err)
{
	struct buf temp CLEANUP(buf_release) = BUF_INIT;
	uint64_t size, len;
	*ret = (struct odb_id){ .is_dir = true };
	dvc_dir_digest(dir, &ret->digest, &len);
	if (run->options->no_commit || (odb_has(&run->repo->odb, ret, &size) && size == len))
		return 0;
	if (odb_temp_path(&run->repo->odb, &temp, err) < 0 || dvc_dir_write(dir, temp.data, err) < 0)
		return -1;
	struct odb_publish item = { temp.data, *ret };
	return odb_publish(&run->repo->odb, &item, 1, err);
}

/* The members that the recorded manifest has and the new one has not; nothing where the old one is not at hand. */
static void list_removed(struct data_repo *repo, const struct tracked *owner, const struct dvc_dir *dir, struct strlist *ret)
{
	struct dvc_dir old CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (!owner->out->is_dir || tracked_read_manifest(repo, owner, &old, &ignored) < 0)
		return;
	for (size_t i = 0; i < old.len; i++)
		if (!dvc_dir_find(dir, old.entries[i].relpath))
			strlist_add(ret, old.entries[i].relpath);
}

/* For the next add of the same: nothing had to be brought, and the manifest is the very one. */
static void learn_whole(const struct add_run *run, const struct adding *adding, const struct dvc_dir *dir)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	const struct odb_id *id = &adding->record.id;
	if (!adding->seen.worth || adding->cache_seen.kind == DIGEST_NONE)
		return;
	odb_add_path(&run->repo->odb, &path, id);
	if (!dvc_dir_is_file(dir, path.data))
		return;
	whole_learn(run->repo, &adding->walk, &adding->seen, id, run->clock);
	whole_learn_sound(run->repo, id, &adding->cache_seen);
}

static int add_whole(const struct add_run *run, const struct tracked *owner, struct adding *adding, struct err *err)
{
	struct record *record = &adding->record;
	const struct walk *walk = &adding->walk;
	record->has_size = true;
	if (adding->known) {
		record->size = walk->tree->bytes;
		record->nfiles = walk->tree->files;
		return 0;
	}
	for (size_t i = 0; i < walk->files.len; i++)
		record->size += walk->files.at[i].size;
	if (!walk->is_dir) {
		record->id = (struct odb_id){ walk->files.at[0].digest, false };
		record->exec = walk->files.at[0].exec;
		return 0;
	}
	struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	for (size_t i = 0; i < walk->files.len; i++)
		dvc_dir_add(&dir, walk->files.at[i].rel, walk->files.at[i].digest.bytes);
	record->nfiles = walk->files.len;
	if (dvc_dir_sort(&dir, err) < 0 || put_manifest(run, &dir, &record->id, err) < 0)
		return -1;
	learn_whole(run, adding, &dir);
	if (owner && !(owner->out->is_dir && digest_eq(&owner->out->digest, &record->id.digest)))
		list_removed(run->repo, owner, &dir, &adding->removed);
	return 0;
}

/* Whether a recorded member gives way to what lies in the work tree: it is there, or something that cannot stand beside it. */
static bool is_superseded(const struct walk *walk, const char *sub, const char *member)
{
	if (!path_inside(sub, member))
		return false;
	if (!walk->is_dir || text_eq(sub, member))
		return true;
	const char *rest = member + strlen(sub) + 1;
	size_t len = strlen(rest);
	for (size_t i = 0; i <= len; i++) {
		char *part OWNED = mem_strndup(rest, i);
		if ((rest[i] == '/' || i == len) && walk_find(walk, part))
			return true;
	}
	return walk_has_below(walk, rest);
}

/* That the directory can take a part: before its bytes move, and again when it is recorded. */
static int check_part(const struct add_run *run, const struct tracked *owner, const char *sub, struct err *err)
{
	if (!owner->out->is_dir)
		return err_set(err, ERR_CONFIG, "%s is tracked as a file, and %s would lie inside of it", owner->path, sub);
	if (tracked_check_supported(owner, err) < 0)
		return -1;
	if (owner->out->legacy) {
		err_set(err, ERR_CONFIG, "%s was recorded by DVC 2, whose kind of hash only whole directories keep", owner->dvc_path);
		return err_hint(err, "mlmake data migrate %s first, or add all of %s", owner->dvc_path, owner->path);
	}
	struct odb_id id = tracked_id(owner);
	if (odb_exists(&run->repo->odb, &id))
		return 0;
	err_set(err, ERR_DATA, "the manifest of %s, the list of what is in it, is not in the cache", owner->path);
	return err_hint(err, "mlmake data fetch %s brings it", owner->path);
}

/* A part of a tracked directory: its other members stay as they are recorded, present or not. */
static int add_part(const struct add_run *run, const struct tracked *owner, const char *sub, struct adding *adding, struct err *err)
{
	struct dvc_dir old CLEANUP(dvc_dir_release) = DVC_DIR_INIT, dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	const struct walk *walk = &adding->walk;
	struct record *record = &adding->record;
	if (check_part(run, owner, sub, err) < 0)
		return -1;
	if (tracked_read_manifest(run->repo, owner, &old, err) < 0)
		return err_hint(err, "mlmake data fetch %s brings it", owner->path);
	for (size_t i = 0; i < old.len; i++)
		if (!is_superseded(walk, sub, old.entries[i].relpath))
			dvc_dir_add(&dir, old.entries[i].relpath, old.entries[i].md5);
	bool only_new = dir.len == old.len;
	for (size_t i = 0; i < walk->files.len; i++) {
		const char *rest = walk->files.at[i].rel; /* "" where the part is a file itself */
		char *rel OWNED = *rest ? path_joined(sub, rest) : mem_strdup(sub);
		dvc_dir_add(&dir, rel, walk->files.at[i].digest.bytes);
	}
	record->nfiles = dir.len;
	if (dvc_dir_sort(&dir, err) < 0 || put_manifest(run, &dir, &record->id, err) < 0)
		return -1;
	/* The sizes of single members are nowhere recorded: as in dvc, the sum stays known only while members are new or nothing changed.
	 * A recorded sum of 0 counts for dvc as none. */
	bool same = digest_eq(&owner->out->digest, &record->id.digest);
	record->has_size = owner->out->has_size && (same || (only_new && owner->out->size));
	record->size = owner->out->size;
	for (size_t i = 0; !same && i < walk->files.len; i++)
		record->size += walk->files.at[i].size;
	list_removed(run->repo, owner, &dir, &adding->removed);
	return 0;
}

static int check_place(const struct outs *outs, const char *rel, const struct tracked *owner, struct err *err)
{
	if (record_check_place(outs, rel, owner, err) < 0)
		return -1;
	if (owner && owner->stage) {
		err_set(err, ERR_CONFIG, "%s is an output of the stage '%s' of %s", owner->path, owner->stage, owner->dvc_path);
		return err_hint(err, "running the stage records it: dvc repro %s", owner->stage);
	}
	if (owner && owner->is_import) {
		err_set(err, ERR_CONFIG, "%s is an import (%s)", owner->path, owner->dvc_path);
		return err_hint(err, "mlmake data update %s brings a newer version; remove the .dvc to track it as your own", owner->dvc_path);
	}
	return 0;
}

static int broken_record(const struct outs *outs, const char *dvc_path, struct err *err)
{
	for (size_t i = 0; i < outs->broken.len; i++) {
		const struct broken_file *broken = &outs->broken.at[i];
		if (!text_eq(broken->dvc_path, dvc_path))
			continue;
		err_set(err, broken->err.code, "%s", broken->err.message);
		return err_hint(err, "if it is beyond mending, remove %s and add again", dvc_path);
	}
	return 0;
}

/* Under the lock, before bytes are read and again before they are recorded: whether the path may be tracked, and by which .dvc. */
static int look_up(struct add_run *run, const struct outs *outs, struct adding *adding, const struct tracked **ret_owner, struct err *err)
{
	const struct tracked *owner = outs_find(outs, adding->rel);
	bool part = owner && !text_eq(owner->path, adding->rel);
	free(adding->record.path);
	free(adding->record.dvc_path);
	adding->record.path = mem_strdup(part ? owner->path : adding->rel);
	adding->record.dvc_path = owner ? mem_strdup(owner->dvc_path) : mem_printf("%s.dvc", adding->rel);
	*ret_owner = owner;
	if (check_place(outs, adding->rel, owner, err) < 0 || repo_check_parents(run->repo, adding->rel, err) < 0)
		return -1;
	return broken_record(outs, adding->record.dvc_path, err);
}

/* Lists the files, unless all is as it was. With links each file is looked at, to be linked again. */
static void look_at_whole(struct add_run *run, const struct tracked *owner, struct adding *adding)
{
	struct data_repo *repo = run->repo;
	const struct data_add_options *options = run->options;
	adding->seen = whole_seen_of(&adding->walk);
	bool plain = owner && text_eq(owner->path, adding->rel) && owner->out->is_dir && !owner->out->legacy && !owner->out->has_files &&
		     owner->out->digest.kind == DIGEST_MD5 && !options->no_commit && !odb_links_share(&repo->config.links);
	struct odb_id id = plain ? tracked_id(owner) : (struct odb_id){ .is_dir = false };
	adding->known = plain && adding->seen.worth && whole_is(repo, &adding->walk, &id) && whole_cache_seen(repo, &adding->cache_seen) &&
			whole_was_sound(repo, &id, &adding->cache_seen);
	if (adding->known)
		adding->record.id = id;
	else
		walk_list(&adding->walk);
}

static int absent(struct add_run *run, const struct tracked *owner, const char *sub, const struct adding *adding, struct err *err)
{
	struct selection chosen CLEANUP(selection_release) = SELECTION_INIT;
	struct err recorded CLEANUP(err_release) = ERR_INIT;
	if (owner)
		vec_push(&chosen.list, ((struct selected){ owner, mem_strdup(sub) }));
	const char *shown = adding->given[0] == '/' ? adding->rel : adding->given; /* commit names all of them from the root */
	err_set(err, ERR_CONFIG, "%s does not exist", shown);
	bool known = owner && selection_check_parts(run->repo, &chosen, true, &recorded) == 0;
	return known ? err_hint(err, "it is tracked: mlmake data checkout %s brings it back", shown) : -1;
}

static int begin(struct add_run *run, const struct outs *outs, const char *given, struct err *err)
{
	struct buf rel CLEANUP(buf_release) = BUF_INIT;
	const struct tracked *owner;
	if (repo_path(run->repo, given, &rel, err) < 0)
		return -1;
	vec_push(&run->list, ((struct adding){ .given = mem_strdup(given), .rel = buf_detach(&rel), .walk = WALK_INIT }));
	struct adding *adding = &run->list.at[run->list.len - 1];
	if (!run->clock)
		run->clock = whole_clock(run->repo);
	if (look_up(run, outs, adding, &owner, err) < 0 || walk_look(run->repo, adding->rel, &adding->walk, err) < 0)
		return -1;
	look_at_whole(run, owner, adding);
	if (dvc_dir_check_count(adding->walk.files.len, given, err) < 0) {
		err->code = ERR_FAILED;
		return -1;
	}
	bool part = owner && !text_eq(owner->path, adding->rel);
	if (!adding->walk.exists)
		return absent(run, owner, part ? adding->rel + strlen(owner->path) + 1 : NULL, adding, err);
	if (part && check_part(run, owner, adding->rel + strlen(owner->path) + 1, err) < 0)
		return -1;
	if (owner && owner->out->legacy)
		adding->legacy = tracked_id(owner);
	if (check_odd(&adding->walk, err) < 0 || record_check_not_ignored(run->repo, adding->rel, adding->walk.is_dir, err) < 0)
		return -1;
	return record_check_git(run->repo, adding->rel, err);
}

/* Whether it is what DVC 2 recorded, and the cache has all of it as DVC 2 kept it. */
static int compare_with_legacy(struct add_run *run, struct adding *adding, struct err *err)
{
	struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct odb_id now;
	adding->walk.kind = DIGEST_MD5_DOS2UNIX;
	if (walk_hash(run->repo, &adding->walk, err) < 0 || walk_describe(&adding->walk, &dir, &now, err) < 0)
		return -1;
	bool same = now.is_dir == adding->legacy.is_dir && digest_eq(&now.digest, &adding->legacy.digest) &&
		    odb_has(&run->repo->odb, &now, NULL);
	for (size_t i = 0; same && i < dir.len; i++) {
		struct odb_id id = odb_member(&now, dir.entries[i].md5);
		same = odb_has(&run->repo->odb, &id, NULL);
	}
	adding->unchanged = same;
	if (!same)
		adding->walk.kind = DIGEST_MD5;
	return 0;
}

/* Without the lock. */
static int take_in(struct add_run *run, struct adding *adding, struct err *err)
{
	if (adding->legacy.digest.kind != DIGEST_NONE && compare_with_legacy(run, adding, err) < 0)
		return -1;
	if (adding->unchanged || adding->known)
		return 0;
	if (run->options->no_commit)
		return walk_hash(run->repo, &adding->walk, err);
	if (walk_hash_known(run->repo, &adding->walk, err) < 0)
		return -1;
	bool some, seen = adding->walk.files.len >= MANY_FILES && whole_cache_seen(run->repo, &adding->cache_seen);
	if (import_files(run->repo, &adding->walk, false, &some, err) < 0)
		return -1;
	if (!seen || some)
		adding->cache_seen.kind = DIGEST_NONE;
	for (size_t i = 0; i < adding->walk.files.len; i++)
		adding->walk.files.at[i].was_read = false;
	return 0;
}

/* A garbage collection may have run meanwhile, to which these objects were nobody's: what it took is brought once more. */
static int look_again(struct add_run *run, struct adding *adding, bool part, struct err *err)
{
	struct digest now;
	bool some;
	bool files_wanted = adding->known && part; /* it lies in another output by now */
	if (!files_wanted && adding->cache_seen.kind != DIGEST_NONE && whole_cache_seen(run->repo, &now) &&
	    digest_eq(&now, &adding->cache_seen))
		return 0;
	adding->cache_seen.kind = DIGEST_NONE;
	if (adding->known) {
		adding->known = false;
		walk_list(&adding->walk);
		return take_in(run, adding, err);
	}
	return import_files(run->repo, &adding->walk, true, &some, err);
}

/* Under the lock again. */
static int settle(struct add_run *run, const struct outs *outs, struct adding *adding, struct err *err)
{
	const struct tracked *owner;
	if (look_up(run, outs, adding, &owner, err) < 0)
		return -1;
	if (adding->unchanged)
		return 0;
	bool part = owner && !text_eq(owner->path, adding->rel);
	if (!run->options->no_commit && look_again(run, adding, part, err) < 0)
		return -1;
	return part ? add_part(run, owner, adding->rel + strlen(owner->path) + 1, adding, err) : add_whole(run, owner, adding, err);
}

static int commit(struct add_run *run, struct data_add_report *ret, struct err *err)
{
	for (size_t i = 0; i < run->list.len; i++) {
		struct adding *adding = &run->list.at[i];
		bool changed = false;
		if (!adding->unchanged && record_write(run->repo, &adding->record, &changed, &ret->to_stage, &ret->staged, err) < 0)
			return -1;
		vec_push(&ret->added, ((struct data_added){ .path = mem_strdup(adding->walk.path),
							    .dvc_path = mem_strdup(adding->record.dvc_path),
							    .changed = changed,
							    .removed = adding->removed }));
		adding->removed = (struct strlist){ 0 };
	}
	return 0;
}

static int relink(struct add_run *run, struct err *err)
{
	if (!odb_links_share(&run->repo->config.links) || run->options->no_commit || run->options->no_relink)
		return 0;
	for (size_t i = 0; i < run->list.len; i++)
		if (!run->list.at[i].unchanged && checkout_relink(run->repo, &run->list.at[i].walk, err) < 0)
			return -1;
	return 0;
}

static int begin_all(struct add_run *run, const char *const *paths, size_t count, struct err *err)
{
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	if (repo_lock(run->repo, err) < 0)
		return -1;
	int status = outs_load(run->repo, &outs, err);
	for (size_t i = 0; status == 0 && i < count; i++)
		status = begin(run, &outs, paths[i], err);
	repo_unlock(run->repo);
	return status;
}

static int settle_all(struct add_run *run, struct data_add_report *ret, struct err *err)
{
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	if (repo_lock(run->repo, err) < 0)
		return -1;
	int status = outs_load(run->repo, &outs, err);
	for (size_t i = 0; status == 0 && i < run->list.len; i++)
		status = settle(run, &outs, &run->list.at[i], err);
	if (status == 0)
		status = commit(run, ret, err);
	repo_unlock(run->repo);
	return status;
}

static int add_group(struct data_repo *repo, const struct data_add_options *options, const char *const *paths, size_t count,
		     struct data_add_report *ret, struct err *err)
{
	struct add_run run CLEANUP(add_run_release) = { .repo = repo, .options = options };
	if (begin_all(&run, paths, count, err) < 0)
		return -1;
	for (size_t i = 0; i < run.list.len; i++)
		if (take_in(&run, &run.list.at[i], err) < 0)
			return -1;
	return settle_all(&run, ret, err) < 0 ? -1 : relink(&run, err);
}

/* What is added as a whole, and parts of what is tracked: these are recorded one after the other, each on top of the one before. */
struct add_sorted {
	struct data_repo *repo;
	const char *const *paths;
	size_t count;
	VEC(const char *) wholes;
	VEC(const char *) parts;
};

static int name_paths(void *ctx, struct rwlock *held, struct err *err)
{
	struct add_sorted *add = ctx;
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	add->wholes.len = add->parts.len = 0;
	if (outs_load(add->repo, &outs, err) < 0)
		return -1;
	for (size_t i = 0; i < add->count; i++) {
		struct buf rel CLEANUP(buf_release) = BUF_INIT;
		if (repo_path(add->repo, add->paths[i], &rel, err) < 0)
			return -1;
		const struct tracked *owner = outs_find(&outs, rel.data);
		char *abs OWNED = repo_abs(add->repo, owner ? owner->path : rel.data);
		rwlock_write(held, abs);
		if (owner && !text_eq(owner->path, rel.data))
			vec_push(&add->parts, add->paths[i]);
		else
			vec_push(&add->wholes, add->paths[i]);
	}
	return 0;
}

static int add_paths(struct data_repo *repo, const char *const *paths, size_t count, const struct data_add_options *options,
		     struct data_add_report *ret, struct err *err)
{
	struct rwlock held CLEANUP(rwlock_release) = RWLOCK_INIT;
	struct add_sorted add = { .repo = repo, .paths = paths, .count = count };
	repo_git_begin(repo);
	int status = rwlock_enter(repo, name_paths, &add, &held, err);
	if (status == 0) {
		repo_unlock(repo);
		if (add.wholes.len)
			status = add_group(repo, options, add.wholes.at, add.wholes.len, ret, err);
		for (size_t i = 0; status == 0 && i < add.parts.len; i++)
			status = add_group(repo, options, &add.parts.at[i], 1, ret, err);
		struct err late CLEANUP(err_release) = ERR_INIT;
		/* Records of what was read help the next attempt, too. */
		if (repo_save_hashes(repo, &late) < 0 && status == 0)
			repo_warn(repo, "the stat records could not be saved: %s", late.message);
	}
	vec_release(&add.wholes);
	vec_release(&add.parts);
	return status;
}

int data_add(struct data_repo *repo, const char *const *paths, size_t count, const struct data_add_options *options,
	     struct data_add_report *ret, struct err *err)
{
	static const struct data_add_options plain = { .no_commit = false };
	struct strlist found CLEANUP(strlist_release) = { 0 };
	*ret = (struct data_add_report){ .staged = false };
	if (!options || !options->glob)
		return add_paths(repo, paths, count, options ? options : &plain, ret, err);
	if (glob_paths(repo, paths, count, &found, err) < 0)
		return -1;
	return add_paths(repo, (const char *const *)found.at, found.len, options, ret, err);
}

void data_add_report_release(struct data_add_report *report)
{
	for (size_t i = 0; i < report->added.len; i++) {
		free(report->added.at[i].path);
		free(report->added.at[i].dvc_path);
		strlist_release(&report->added.at[i].removed);
	}
	vec_release(&report->added);
	strlist_release(&report->to_stage);
	*report = (struct data_add_report){ .staged = false };
}
