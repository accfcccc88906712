/*
 * data diff: what is tracked, member by member, at two points: revisions, or the work tree as it is.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/browse.h"
#include "features/data/walk.h"

#include <string.h>

struct node {
	char *path; /* of a directory with '/' */
	struct digest digest;
};

struct side {
	struct outs outs;
	VEC(struct node) nodes;  /* sorted by path */
	struct strlist unknown;  /* directories whose members nobody knows here */
};

struct diff_run {
	struct data_repo *repo;
	const char *const *paths;
	size_t path_count;
	struct side old, new;
	struct strlist untold; /* outputs whose record cannot be read at the other side: nothing is known to have happened to them */
	struct data_diff *ret;
};

static void side_release(struct side *side)
{
	outs_release(&side->outs);
	for (size_t i = 0; i < side->nodes.len; i++)
		free(side->nodes.at[i].path);
	vec_release(&side->nodes);
	strlist_release(&side->unknown);
}

static void diff_run_release(struct diff_run *run)
{
	side_release(&run->old);
	side_release(&run->new);
	strlist_release(&run->untold);
}

static void add_node(struct side *side, const char *path, const char *rel, bool is_dir, const struct digest *digest)
{
	struct buf full = BUF_INIT;
	buf_addf(&full, "%s%s%s", path, *rel ? "/" : "", rel);
	if (is_dir)
		buf_addch(&full, '/');
	vec_push(&side->nodes, ((struct node){ buf_detach(&full), *digest }));
}

/* A link to nothing is a member by its name; what it is part of has no md5 either. */
static const struct digest no_content = { .kind = DIGEST_NONE };

static int add_work_tree(struct diff_run *run, struct side *side, const struct tracked *tracked, struct err *err)
{
	struct walk walk CLEANUP(walk_release) = { .kind = tracked_kind(tracked) };
	if (walk_path(run->repo, tracked->path, &walk, err) < 0 || walk_hash(run->repo, &walk, err) < 0)
		return -1;
	for (size_t i = 0; i < walk.odd.len; i++)
		strlist_add(&run->ret->warnings, walk.odd.at[i]);
	if (walk.exists && walk.is_dir) {
		struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
		struct odb_id id;
		if (walk_describe(&walk, &dir, &id, err) < 0)
			return -1;
		add_node(side, tracked->path, "", true, walk.broken.len ? &no_content : &id.digest);
	}
	for (size_t i = 0; i < walk.broken.len; i++)
		add_node(side, tracked->path, walk.broken.at[i], false, &no_content);
	for (size_t i = 0; i < walk.files.len; i++)
		add_node(side, tracked->path, walk.files.at[i].rel, false, &walk.files.at[i].digest);
	return 0;
}

static int add_recorded(struct diff_run *run, struct side *side, const struct tracked *tracked, struct err *err)
{
	struct dvc_dir manifest CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct err odd CLEANUP(err_release) = ERR_INIT;
	struct odb_id top = tracked_id(tracked);
	add_node(side, tracked->path, "", tracked->out->is_dir, &top.digest);
	if (!tracked->out->is_dir)
		return 0;
	if (browse_manifest(run->repo, tracked, &manifest, &odd) < 0) {
		if (odd.code != ERR_DATA && odd.code != ERR_CONFIG)
			return err_move(err, &odd);
		strlist_take(&side->unknown, mem_printf("%s/", tracked->path));
		strlist_take(&run->ret->warnings, mem_printf("members of %s/ cannot be compared: %s", tracked->path, odd.message));
		return 0;
	}
	for (size_t i = 0; i < manifest.len; i++) {
		struct odb_id id = odb_member(&top, manifest.entries[i].md5);
		add_node(side, tracked->path, manifest.entries[i].relpath, false, &id.digest);
	}
	return 0;
}

static int compare_nodes(const void *a, const void *b)
{
	return strcmp(((const struct node *)a)->path, ((const struct node *)b)->path);
}

static int load_side(struct diff_run *run, struct side *side, const char *rev, struct err *err)
{
	if (browse_outs(run->repo, rev, &side->outs, err) < 0)
		return -1;
	for (size_t i = 0; i < side->outs.broken.len; i++)
		strlist_take(&run->ret->broken, mem_printf("%s%s%s: %s", side->outs.broken.at[i].dvc_path, rev ? " of " : "", rev ? rev : "",
							   side->outs.broken.at[i].err.message));
	for (size_t i = 0; i < side->outs.list.len; i++) {
		const struct tracked *tracked = &side->outs.list.at[i];
		struct err odd CLEANUP(err_release) = ERR_INIT;
		if (tracked_check_supported(tracked, &odd) < 0)
			strlist_add(&run->ret->warnings, odd.message);
		else if ((rev ? add_recorded(run, side, tracked, err) : add_work_tree(run, side, tracked, err)) < 0)
			return -1;
	}
	vec_sort(&side->nodes, compare_nodes);
	return 0;
}

static bool is_below(const struct strlist *dirs, const char *path)
{
	for (size_t i = 0; i < dirs->len; i++)
		if (text_starts(path, dirs->at[i]) && !text_eq(path, dirs->at[i]))
			return true;
	return false;
}

static bool is_recorded_by(const struct tracked *tracked, const char *file)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT, other CLEANUP(buf_release) = BUF_INIT;
	if (!tracked->stage || !text_eq(path_base(file), "dvc.lock"))
		return text_eq(tracked->dvc_path, file);
	path_dir(&dir, file);
	path_dir(&other, tracked->dvc_path);
	return text_eq(dir.data, other.data);
}

static void find_untold(struct diff_run *run, const struct side *side, const struct side *other)
{
	for (size_t i = 0; i < other->outs.broken.len; i++)
		for (size_t k = 0; k < side->outs.list.len; k++)
			if (is_recorded_by(&side->outs.list.at[k], other->outs.broken.at[i].dvc_path))
				strlist_add(&run->untold, side->outs.list.at[k].path);
}

/* Whether path is asked for, and something can be told of it. */
static bool is_meant(const struct diff_run *run, const char *path)
{
	bool meant = !run->path_count;
	char *plain OWNED = mem_strndup(path, strlen(path) - text_ends(path, "/"));
	for (size_t i = 0; i < run->path_count && !meant; i++)
		meant = text_eq(run->paths[i], ".") || path_inside(run->paths[i], plain);
	for (size_t i = 0; i < run->untold.len && meant; i++)
		meant = !path_inside(run->untold.at[i], plain);
	return meant;
}

/* NULL if it has none. */
static char *hash_text(const struct node *node)
{
	if (node->digest.kind == DIGEST_NONE)
		return NULL;
	char hex[DIGEST_HEX_MAX];
	digest_hex(&node->digest, hex);
	return mem_printf("%s%s", hex, text_ends(node->path, "/") ? ".dir" : "");
}

static void take(struct data_diff_list *list, const struct node *old, const struct node *new)
{
	struct data_diff_entry entry = { .path = mem_strdup(old ? old->path : new->path) };
	entry.hash = hash_text(old ? old : new);
	if (old && new) {
		entry.new_path = mem_strdup(new->path);
		entry.new_hash = hash_text(new);
	}
	vec_push(list, entry);
}

struct pending {
	VEC(const struct node *) list;
};

/* What is gone under one name and new under another was renamed. */
static void settle(struct diff_run *run, const struct pending *added, const struct pending *deleted)
{
	struct map first CLEANUP(map_release) = MAP_INIT; /* digest to index + 1 of the first added one that is free */
	size_t count = added->list.len;
	size_t *next OWNED = mem_alloc((count + 1) * sizeof(*next));
	bool *used OWNED = mem_alloc(count + 1);
	for (size_t i = count; i-- > 0;) {
		char *hash OWNED = hash_text(added->list.at[i]);
		if (!hash)
			continue;
		struct map_entry *entry = map_entry(&first, hash);
		next[i] = (size_t)(uintptr_t)entry->value;
		entry->value = (void *)(uintptr_t)(i + 1);
	}
	for (size_t i = 0; i < deleted->list.len; i++) {
		char *hash OWNED = hash_text(deleted->list.at[i]);
		struct map_entry *entry = map_has(&first, hash) ? map_entry(&first, hash) : NULL;
		size_t index = entry ? (size_t)(uintptr_t)entry->value : 0;
		if (!index) {
			take(&run->ret->deleted, deleted->list.at[i], NULL);
			continue;
		}
		entry->value = (void *)(uintptr_t)next[index - 1];
		used[index - 1] = true;
		take(&run->ret->renamed, deleted->list.at[i], added->list.at[index - 1]);
	}
	for (size_t i = 0; i < count; i++)
		if (!used[i])
			take(&run->ret->added, NULL, added->list.at[i]);
}

static void note_missing(struct diff_run *run, const struct node *node)
{
	struct odb_id id = { node->digest, text_ends(node->path, "/") };
	if (run->ret->with_missing && !odb_has(&run->repo->odb, &id, NULL))
		take(&run->ret->not_in_cache, node, NULL);
}

static void compare(struct diff_run *run)
{
	struct pending added = { .list = { 0 } }, deleted = { .list = { 0 } };
	size_t i = 0, k = 0;
	for (;;) {
		const struct node *old = i < run->old.nodes.len ? &run->old.nodes.at[i] : NULL;
		const struct node *new = k < run->new.nodes.len ? &run->new.nodes.at[k] : NULL;
		if (!old && !new)
			break;
		int order = !old ? 1 : !new ? -1 : strcmp(old->path, new->path);
		i += order <= 0;
		k += order >= 0;
		const struct node *any = order <= 0 ? old : new;
		if (!is_meant(run, any->path))
			continue;
		if (order <= 0)
			note_missing(run, old);
		if (is_below(&run->old.unknown, any->path) || is_below(&run->new.unknown, any->path))
			continue;
		if (order < 0)
			vec_push(&deleted.list, old);
		else if (order > 0)
			vec_push(&added.list, new);
		else if (!digest_eq(&old->digest, &new->digest))
			take(&run->ret->modified, old, new);
	}
	settle(run, &added, &deleted);
	vec_release(&added.list);
	vec_release(&deleted.list);
}

int data_diff(struct data_repo *repo, const char *from, const char *to, const char *const *paths, size_t count, struct data_diff *ret,
	      struct err *err)
{
	struct diff_run run CLEANUP(diff_run_release) = { .repo = repo, .ret = ret };
	struct strlist rels CLEANUP(strlist_release) = { 0 };
	struct git_repo *git;
	struct buf head CLEANUP(buf_release) = BUF_INIT;
	*ret = (struct data_diff){ .with_missing = !to };
	for (size_t i = 0; i < count; i++) {
		struct buf rel CLEANUP(buf_release) = BUF_INIT;
		if (repo_path(repo, paths[i], &rel, err) < 0)
			return -1;
		strlist_add(&rels, rel.data);
	}
	run.paths = (const char *const *)rels.at;
	run.path_count = rels.len;
	if (repo_git(repo, &git, err) < 0 || (git && git_head_commit(git, &head, err) < 0))
		return -1;
	if (!git && !from) {
		err_set(err, ERR_CONFIG, "%s is not in a git repository, and diff compares with a commit", repo->root);
		return err_hint(err, "mlmake data status compares the data with the .dvc files");
	}
	/* Before the first commit there is nothing to compare with. */
	if (git && !from && !head.len)
		return 0;
	if (load_side(&run, &run.old, from ? from : "HEAD", err) < 0 || load_side(&run, &run.new, to, err) < 0)
		return -1;
	find_untold(&run, &run.old, &run.new);
	find_untold(&run, &run.new, &run.old);
	compare(&run);
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (!to && repo_save_hashes(repo, &late) < 0)
		repo_warn(repo, "the stat records could not be saved: %s", late.message);
	return 0;
}

void data_diff_release(struct data_diff *diff)
{
	struct data_diff_list *lists[] = { &diff->added, &diff->deleted, &diff->modified, &diff->renamed, &diff->not_in_cache };
	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		for (size_t i = 0; i < lists[k]->len; i++) {
			free(lists[k]->at[i].path);
			free(lists[k]->at[i].new_path);
			free(lists[k]->at[i].hash);
			free(lists[k]->at[i].new_hash);
		}
		vec_release(lists[k]);
	}
	strlist_release(&diff->warnings);
	strlist_release(&diff->broken);
}
