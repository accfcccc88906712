/*
 * data status: HEAD's .dvc files, the work tree's .dvc files, the cache and the data compared.
 */
#include "base/map.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/outs.h"
#include "features/data/transfer.h"
#include "features/data/whole.h"
#include "store/state.h"
#include "vcs/git_changes.h"

#include <string.h>

#define MANY_MEMBERS 1000

struct item {
	char *name;
	struct digest digest;
	bool is_dir;
	struct item *next; /* of the same content */
};
struct items {
	VEC(struct item) list;
};

static void items_add(struct items *items, const char *path, const struct digest *digest, bool is_dir)
{
	struct item item = { .name = mem_printf("%s%s", path, is_dir ? "/" : ""), .digest = *digest, .is_dir = is_dir };
	vec_push(&items->list, item);
}

static void items_release(struct items *items)
{
	for (size_t i = 0; i < items->list.len; i++)
		free(items->list.at[i].name);
	vec_release(&items->list);
}

struct status_run {
	struct data_repo *repo;
	const struct data_status_options *options;
	struct data_status *ret;
	struct arena arena;
	int64_t clock; /* of before the first look at a directory; 0: not asked yet */
	bool compared; /* with what git has; an unborn branch has nothing */
	struct map committed_same; /* names that the last commit records alike; a directory stands for all in it */
};

static void status_run_release(struct status_run *run)
{
	arena_release(&run->arena);
	map_release(&run->committed_same);
}

static int compare_items(const void *left, const void *right)
{
	return path_compare(((const struct item *)left)->name, ((const struct item *)right)->name);
}

/* What is gone under one name and new under another, with the same content, was renamed: the first to the first, as in dvc. */
static void settle(struct items *added, struct items *deleted, struct data_changes *ret)
{
	struct map by_digest CLEANUP(map_release) = MAP_INIT; /* to those that are still to be matched */
	char hex[DIGEST_HEX_MAX];
	vec_sort(&added->list, compare_items);
	vec_sort(&deleted->list, compare_items);
	for (size_t k = deleted->list.len; k-- > 0;) {
		struct item *item = &deleted->list.at[k];
		if (item->digest.kind == DIGEST_NONE)
			continue;
		digest_hex(&item->digest, hex);
		struct map_entry *entry = map_entry(&by_digest, hex);
		item->next = entry->value;
		entry->value = item;
	}
	for (size_t i = 0; i < added->list.len; i++) {
		struct item *item = &added->list.at[i];
		digest_hex(&item->digest, hex);
		struct item *old = map_get(&by_digest, hex);
		if (!old || old->is_dir != item->is_dir) {
			strlist_add(&ret->added, item->name);
			continue;
		}
		map_set(&by_digest, hex, old->next);
		vec_push(&ret->renamed, ((struct data_rename){ old->name, item->name }));
		old->name = item->name = NULL;
	}
	for (size_t k = 0; k < deleted->list.len; k++)
		if (deleted->list.at[k].name)
			strlist_add(&ret->deleted, deleted->list.at[k].name);
}

static struct digest member_digest(const struct dvc_entry *entry, enum digest_kind kind)
{
	struct digest digest = { .kind = (uint8_t)kind };
	memcpy(digest.bytes, entry->md5, 16);
	return digest;
}

/* Members by their names and md5s of one kind. */
struct members {
	const struct dvc_dir *dir;
	enum digest_kind kind;
};

static void diff_members(const char *path, struct members olds, struct members news, struct items *added, struct items *deleted,
			 struct data_changes *ret)
{
	const struct dvc_dir *old = olds.dir, *new = news.dir;
	size_t i = 0, k = 0;
	while (i < old->len || k < new->len) {
		int order = i == old->len ? 1 : k == new->len ? -1 : strcmp(old->entries[i].relpath, new->entries[k].relpath);
		const struct dvc_entry *entry = order <= 0 ? &old->entries[i] : &new->entries[k];
		char *name OWNED = path_joined(path, entry->relpath);
		struct digest digest = member_digest(entry, order <= 0 ? olds.kind : news.kind);
		if (order < 0)
			items_add(deleted, name, &digest, false);
		else if (order > 0)
			items_add(added, name, &digest, false);
		else if (olds.kind != news.kind || memcmp(old->entries[i].md5, new->entries[k].md5, 16) != 0)
			strlist_add(&ret->modified, name);
		i += order <= 0;
		k += order >= 0;
	}
}

static void add_same_members(const char *path, const struct dvc_dir *old, const struct dvc_dir *new, struct strlist *ret)
{
	for (size_t i = 0, k = 0; i < old->len && k < new->len;) {
		int order = strcmp(old->entries[i].relpath, new->entries[k].relpath);
		if (order == 0 && memcmp(old->entries[i].md5, new->entries[k].md5, 16) == 0)
			strlist_take(ret, path_joined(path, old->entries[i].relpath));
		i += order <= 0;
		k += order >= 0;
	}
}

/* A manifest that is not at hand reads as empty; false then. */
static bool manifest_of(struct status_run *run, const struct tracked *tracked, struct dvc_dir *ret)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	return tracked->out->is_dir && tracked_read_manifest(run->repo, tracked, ret, &ignored) == 0;
}

static void compare_sides(struct status_run *run, const struct tracked *old, const struct tracked *new, struct items *added,
			  struct items *deleted)
{
	old = old && !tracked_is_partial(old) ? old : NULL;
	new = new && !tracked_is_partial(new) ? new : NULL;
	const struct tracked *side = new ? new : old;
	if (!side)
		return;
	struct data_changes *changes = &run->ret->committed;
	struct dvc_dir old_dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT, new_dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	if (old && new && old->out->is_dir == new->out->is_dir && digest_eq(&old->out->digest, &new->out->digest)) {
		char *name OWNED = mem_printf("%s%s", side->path, side->out->is_dir ? "/" : "");
		map_set(&run->committed_same, name, NULL);
		return;
	}
	if (old && !new)
		items_add(deleted, old->path, &old->out->digest, old->out->is_dir);
	else if (new && !old)
		items_add(added, new->path, &new->out->digest, new->out->is_dir);
	else if (new)
		strlist_take(&changes->modified, mem_printf("%s%s", new->path, new->out->is_dir ? "/" : ""));
	if (!run->options->granular)
		return;
	bool known = (!old || !old->out->is_dir || manifest_of(run, old, &old_dir));
	known = (!new || !new->out->is_dir || manifest_of(run, new, &new_dir)) && known;
	if (known) {
		enum digest_kind old_kind = tracked_kind(old ? old : side), new_kind = tracked_kind(new ? new : side);
		diff_members(side->path, (struct members){ &old_dir, old_kind }, (struct members){ &new_dir, new_kind }, added, deleted, changes);
		struct strlist same CLEANUP(strlist_release) = { 0 };
		if (run->options->unchanged && old_kind == new_kind)
			add_same_members(side->path, &old_dir, &new_dir, &same);
		for (size_t i = 0; i < same.len; i++)
			map_set(&run->committed_same, same.at[i], NULL);
		return;
	}
	/* With one side's list of members lost, what happened to those of the other is unknown. */
	const struct dvc_dir *left = new_dir.len ? &new_dir : &old_dir;
	for (size_t i = 0; i < left->len; i++)
		strlist_take(&changes->unknown, path_joined(side->path, left->entries[i].relpath));
}

/* Imports whose content is not recorded are compared by what stands for it. */
static void describe_partials(struct status_run *run, struct outs *outs)
{
	for (size_t i = 0; i < outs->list.len; i++) {
		struct tracked *tracked = &outs->list.at[i];
		struct dvc_out out;
		if (!tracked_is_partial(tracked) || !tracked_describe_partial(tracked, &out))
			continue;
		struct dvc_out *kept = arena_alloc(&run->arena, sizeof(*kept));
		*kept = out;
		tracked->out = kept;
	}
}

static int find_committed(struct status_run *run, const struct outs *outs, const struct selection *chosen, bool all, struct err *err)
{
	struct outs head CLEANUP(outs_release) = OUTS_INIT;
	struct buf commit CLEANUP(buf_release) = BUF_INIT;
	struct items added CLEANUP(items_release) = { .list = { 0 } }, deleted CLEANUP(items_release) = { .list = { 0 } };
	struct map by_path CLEANUP(map_release) = MAP_INIT;
	struct map now CLEANUP(map_release) = MAP_INIT;
	struct git_repo *git;
	if (repo_git(run->repo, &git, err) < 0)
		return -1;
	run->ret->has_git = git != NULL;
	if (!git)
		return 0;
	/* What was committed broken is no reason to refuse the status of what is here. */
	if (git_head_commit(git, &commit, err) < 0 || (commit.len && outs_load_commit(run->repo, commit.data, &head, err) < 0))
		return -1;
	describe_partials(run, &head);
	run->compared = true;
	for (size_t i = 0; i < head.list.len; i++)
		map_set(&by_path, head.list.at[i].path, &head.list.at[i]);
	for (size_t i = 0; i < chosen->list.len; i++) {
		const struct tracked *tracked = chosen->list.at[i].tracked;
		compare_sides(run, map_get(&by_path, tracked->path), tracked, &added, &deleted);
	}
	for (size_t i = 0; i < outs->list.len; i++)
		map_set(&now, outs->list.at[i].path, NULL);
	for (size_t i = 0; all && !outs->broken.len && i < head.list.len; i++)
		if (!map_has(&now, head.list.at[i].path))
			compare_sides(run, &head.list.at[i], NULL, &added, &deleted);
	settle(&added, &deleted, &run->ret->committed);
	return 0;
}

/* That the cache has all members of a manifest is remembered with the cache's fingerprint. */
struct presence {
	char name[sizeof("present ") + DIGEST_HEX_MAX];
	struct digest now; /* DIGEST_NONE: it cannot be told */
};

static bool was_present(struct status_run *run, const struct odb_id *manifest, struct presence *ret)
{
	const void *bytes;
	size_t len;
	*ret = (struct presence){ .name = "present " };
	digest_hex(&manifest->digest, ret->name + strlen(ret->name));
	if (manifest->digest.kind != DIGEST_MD5 || !run->repo->state || !whole_cache_seen(run->repo, &ret->now))
		return false;
	return state_get(run->repo->state, STATE_META, ret->name, &bytes, &len) && len == sizeof(ret->now.bytes) &&
	       memcmp(bytes, ret->now.bytes, len) == 0;
}

/* Which of the members of a manifest the cache has. */
static void find_present(struct status_run *run, const struct odb_id *manifest, const struct odb_id *ids, size_t count, bool *present)
{
	struct data_repo *repo = run->repo;
	struct presence presence;
	size_t have = 0;
	if (count < MANY_MEMBERS) {
		for (size_t i = 0; i < count; i++)
			present[i] = odb_has(&repo->odb, &ids[i], NULL);
		return;
	}
	/* A look at each of many objects would take longer than all else; checkout and push look and verify. */
	if (was_present(run, manifest, &presence)) {
		memset(present, true, count);
		return;
	}
	odb_list_many(&repo->odb, ids, count, present);
	for (size_t i = 0; i < count; i++)
		have += present[i];
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (presence.now.kind != DIGEST_NONE && have == count &&
	    state_put(repo->state, STATE_META, presence.name, presence.now.bytes, sizeof(presence.now.bytes), &ignored) < 0)
		err_release(&ignored); /* it is listed again next time */
}

/* Names what the cache lacks; of a directory its members too where they are wanted. */
static void find_not_cached(struct status_run *run, const struct tracked *tracked, const struct dvc_dir *manifest, bool has_manifest)
{
	struct data_status *ret = run->ret;
	struct odb_id id = tracked_id(tracked);
	bool top = (tracked->out->has_files || odb_has(&run->repo->odb, &id, NULL)) && (!tracked->out->is_dir || has_manifest), whole = top;
	struct strlist members CLEANUP(strlist_release) = { 0 };
	struct odb_id *ids OWNED = mem_alloc((manifest->len + 1) * sizeof(*ids));
	bool *present OWNED = mem_alloc(manifest->len + 1);
	for (size_t i = 0; i < manifest->len; i++)
		ids[i] = odb_member(&id, manifest->entries[i].md5);
	find_present(run, &id, ids, manifest->len, present);
	for (size_t i = 0; i < manifest->len; i++) {
		if (present[i])
			continue;
		whole = false;
		if (run->options->granular)
			strlist_take(&members, path_joined(tracked->path, manifest->entries[i].relpath));
	}
	if (whole)
		return;
	if (!top || !run->options->granular)
		strlist_take(&ret->not_in_cache, mem_printf("%s%s", tracked->path, tracked->out->is_dir ? "/" : ""));
	for (size_t i = 0; i < members.len; i++)
		strlist_add(&ret->not_in_cache, members.at[i]);
}

/* Whether the data is what the .dvc says; *ret_now is what it is. */
static int look_at_data(const struct walk *walk, const struct tracked *tracked, struct dvc_dir *ret_now, bool *ret_same, struct err *err)
{
	*ret_same = false;
	if (!walk->exists || walk->is_dir != tracked->out->is_dir || (!walk->is_dir && !walk->files.len))
		return 0;
	struct odb_id id;
	if (walk_describe(walk, ret_now, &id, err) < 0)
		return -1;
	*ret_same = digest_eq(&id.digest, &tracked->out->digest);
	return 0;
}

static bool is_manifest(struct status_run *run, const struct tracked *tracked, const struct dvc_dir *now)
{
	struct odb_id id = tracked_id(tracked);
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	if (tracked->out->has_files)
		return true; /* the record itself lists them, and they are the same */
	odb_add_path(&run->repo->odb, &path, &id);
	return (!tracked->out->has_nfiles || tracked->out->nfiles == now->len) && dvc_dir_is_file(now, path.data);
}

/* A large directory as it was when it was last found to be what is recorded, all of it in the cache. */
static bool is_as_known(struct status_run *run, const struct tracked *tracked, const struct walk *walk)
{
	const struct dvc_out *out = tracked->out;
	struct odb_id id = tracked_id(tracked);
	struct presence presence;
	bool members_wanted = run->options->granular && run->options->unchanged;
	return walk->tree && out->is_dir && !out->has_files && !members_wanted && walk->tree->files >= MANY_MEMBERS &&
	       (!out->has_nfiles || out->nfiles == walk->tree->files) && whole_is(run->repo, walk, &id) && was_present(run, &id, &presence);
}

static int find_uncommitted(struct status_run *run, const struct tracked *tracked, struct items *added, struct items *deleted,
			    struct err *err)
{
	struct walk walk CLEANUP(walk_release) = { .kind = tracked_kind(tracked) };
	struct dvc_dir now CLEANUP(dvc_dir_release) = DVC_DIR_INIT, manifest CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct data_changes *changes = &run->ret->uncommitted;
	bool same, is_dir = tracked->out->is_dir;
	struct odb_id id = tracked_id(tracked);
	char *name OWNED = mem_printf("%s%s", tracked->path, is_dir ? "/" : "");
	if (is_dir && !run->clock)
		run->clock = whole_clock(run->repo);
	if (walk_look(run->repo, tracked->path, &walk, err) < 0)
		return -1;
	if (is_as_known(run, tracked, &walk)) {
		strlist_add(&run->ret->unchanged, name);
		return 0;
	}
	struct whole_seen seen = whole_seen_of(&walk);
	walk_list(&walk);
	if (walk_hash(run->repo, &walk, err) < 0 || look_at_data(&walk, tracked, &now, &same, err) < 0)
		return -1;
	for (size_t i = 0; i < walk.odd.len; i++)
		strlist_add(&run->ret->warnings, walk.odd.at[i]);
	/* Data as recorded is itself the list of members: the manifest need only be there, with the same bytes. */
	bool has_manifest = same && is_dir ? is_manifest(run, tracked, &now) : manifest_of(run, tracked, &manifest);
	find_not_cached(run, tracked, same && has_manifest ? &now : &manifest, has_manifest);
	if (run->options->granular && run->options->unchanged && is_dir && has_manifest)
		add_same_members(tracked->path, same ? &now : &manifest, &now, &run->ret->unchanged);
	if (same && !walk.odd.len) {
		if (has_manifest && !tracked->out->has_files)
			whole_learn(run->repo, &walk, &seen, &id, run->clock);
		strlist_add(&run->ret->unchanged, name);
		return 0;
	}
	if (!walk.exists || walk.is_broken)
		items_add(deleted, tracked->path, &tracked->out->digest, is_dir);
	else
		strlist_add(&changes->modified, name);
	if (run->options->granular && is_dir && has_manifest)
		diff_members(tracked->path, (struct members){ &manifest, walk.kind }, (struct members){ &now, walk.kind }, added, deleted, changes);
	else if (run->options->granular && is_dir && walk.exists) {
		for (size_t i = 0; i < walk.files.len; i++)
			strlist_take(&changes->unknown, path_joined(tracked->path, walk.files.at[i].rel));
		for (size_t i = 0; i < walk.broken.len; i++)
			strlist_take(&changes->unknown, path_joined(tracked->path, walk.broken.at[i]));
	}
	return 0;
}

/* An import of which nothing is known but where it is from: what is there is new. */
static int find_unrecorded(struct status_run *run, const struct tracked *tracked, struct items *added, struct err *err)
{
	struct walk walk CLEANUP(walk_release) = WALK_INIT;
	struct dvc_dir now CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct odb_id id;
	if (walk_path(run->repo, tracked->path, &walk, err) < 0 || walk_hash(run->repo, &walk, err) < 0)
		return -1;
	if (!walk.exists || walk.is_broken || (!walk.is_dir && !walk.files.len))
		return 0;
	if (!walk.is_dir) {
		items_add(added, tracked->path, &walk.files.at[0].digest, false);
		return 0;
	}
	if (walk_describe(&walk, &now, &id, err) < 0)
		return -1;
	items_add(added, tracked->path, &id.digest, true);
	for (size_t i = 0; run->options->granular && i < walk.files.len; i++) {
		char *name OWNED = path_joined(tracked->path, walk.files.at[i].rel);
		items_add(added, name, &walk.files.at[i].digest, false);
	}
	return 0;
}

static int look_at_all(struct status_run *run, const struct selection *chosen, struct err *err)
{
	struct items added CLEANUP(items_release) = { .list = { 0 } }, deleted CLEANUP(items_release) = { .list = { 0 } };
	for (size_t i = 0; i < chosen->list.len; i++) {
		const struct tracked *tracked = chosen->list.at[i].tracked;
		struct err odd CLEANUP(err_release) = ERR_INIT;
		if (tracked_is_partial(tracked)) {
			if (find_unrecorded(run, tracked, &added, err) < 0)
				return -1;
			continue;
		}
		if (tracked_check_supported(tracked, &odd) < 0) {
			strlist_take(&run->ret->uncommitted.unknown, mem_printf("%s%s", tracked->path, tracked->out->is_dir ? "/" : ""));
			strlist_add(&run->ret->warnings, odd.message);
			continue;
		}
		repo_progress(run->repo, "looking at", i, chosen->list.len, 0);
		if (find_uncommitted(run, tracked, &added, &deleted, err) < 0)
			return -1;
	}
	settle(&added, &deleted, &run->ret->uncommitted);
	return 0;
}

/* As in dvc: what is neither changed since the last commit nor since it was recorded. */
static void drop_committed_changes(struct status_run *run, const struct outs *outs)
{
	struct strlist *list = &run->ret->unchanged;
	size_t kept = 0;
	for (size_t i = 0; run->compared && i < list->len; i++) {
		char *name = list->at[i];
		const struct tracked *owner = map_has(&run->committed_same, name) ? NULL : outs_find(outs, name);
		char *dir OWNED = owner ? mem_printf("%s/", owner->path) : NULL;
		if (!owner || map_has(&run->committed_same, dir))
			list->at[kept++] = name;
		else
			free(name);
	}
	list->len = run->compared ? kept : list->len;
}

/* What git would list as untracked, below our root. */
static int find_untracked(struct data_repo *repo, const char *const *paths, size_t count, struct strlist *ret, struct err *err)
{
	struct buf top CLEANUP(buf_release) = BUF_INIT;
	struct strlist found CLEANUP(strlist_release) = { 0 }, wanted CLEANUP(strlist_release) = { 0 };
	struct git_repo *git;
	if (repo_git(repo, &git, err) < 0)
		return -1;
	if (!git)
		return 0;
	if (repo_git_path(repo, ".", &top, err) < 0 || git_untracked_paths(git, &found, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct buf rel CLEANUP(buf_release) = BUF_INIT;
		if (repo_path(repo, paths[i], &rel, err) < 0)
			return -1;
		strlist_take(&wanted, buf_detach(&rel));
	}
	bool whole = !top.len || text_eq(top.data, ".");
	for (size_t i = 0; i < found.len; i++) {
		if (!whole && !path_inside(top.data, found.at[i]))
			continue;
		const char *rel = whole ? found.at[i] : found.at[i] + top.len + 1;
		bool meant = !count;
		for (size_t k = 0; k < wanted.len && !meant; k++)
			meant = text_eq(wanted.at[k], ".") || path_inside(wanted.at[k], rel);
		if (meant)
			strlist_add(ret, rel);
	}
	return 0;
}

int data_status(struct data_repo *repo, const char *const *paths, size_t count, const struct data_status_options *options,
		struct data_status *ret, struct err *err)
{
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	struct selection chosen CLEANUP(selection_release) = SELECTION_INIT;
	struct status_run run CLEANUP(status_run_release) = { .repo = repo, .options = options, .ret = ret };
	*ret = (struct data_status){ .has_git = false };
	repo_git_begin(repo);
	if (outs_load(repo, &outs, err) < 0)
		return -1;
	outs_add_broken(repo, &outs, paths, count, &ret->broken);
	if (outs_select(repo, &outs, paths, count, &chosen, err) < 0 || selection_check_parts(repo, &chosen, true, err) < 0)
		return -1;
	/* Before what stands for content takes its place: no remote has that. */
	if (options->not_in_remote && transfer_find_not_in_remote(repo, &chosen, options, ret, err) < 0)
		return -1;
	describe_partials(&run, &outs);
	if (look_at_all(&run, &chosen, err) < 0 ||
	    find_committed(&run, &outs, &chosen, count == 0, err) < 0)
		return -1;
	drop_committed_changes(&run, &outs);
	if (options->untracked && find_untracked(repo, paths, count, &ret->untracked, err) < 0)
		return -1;
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (repo_save_hashes(repo, &late) < 0)
		repo_warn(repo, "the stat records could not be saved: %s", late.message);
	return 0;
}

static void changes_release(struct data_changes *changes)
{
	strlist_release(&changes->modified);
	strlist_release(&changes->added);
	strlist_release(&changes->deleted);
	strlist_release(&changes->unknown);
	for (size_t i = 0; i < changes->renamed.len; i++) {
		free(changes->renamed.at[i].from);
		free(changes->renamed.at[i].to);
	}
	vec_release(&changes->renamed);
}

void data_status_release(struct data_status *status)
{
	struct strlist *lists[] = { &status->not_in_cache, &status->not_in_remote, &status->not_asked, &status->hints, &status->unchanged, &status->untracked,
				    &status->broken, &status->warnings };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		strlist_release(lists[i]);
	changes_release(&status->committed);
	changes_release(&status->uncommitted);
}
