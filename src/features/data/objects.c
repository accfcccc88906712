#include "features/data/objects.h"

#include "base/mem.h"
#include "base/text.h"

#include <string.h>

static const char *key_of(const void *ctx, uint32_t number)
{
	return ((const struct objects *)ctx)->list.at[number].key;
}

/* The object stands for dir/rel, or for dir where rel is NULL. */
static uint32_t add(struct data_repo *repo, struct objects *objects, const struct odb_id *id, const char *dir, const char *rel, uint64_t size,
		    bool wanted)
{
	struct buf key CLEANUP(buf_release) = BUF_INIT;
	odb_add_key(&key, id);
	objects->by_key.key = key_of;
	objects->by_key.ctx = objects;
	uint32_t index = index_find(&objects->by_key, key.data, key.len);
	if (index != INDEX_NONE) {
		objects->list.at[index].wanted |= wanted;
		return index;
	}
	struct object object = { .id = *id, .size = size, .wanted = wanted };
	object.name = rel ? arena_join(&objects->names, dir, rel) : arena_strdup(&objects->names, dir);
	uint64_t cached_size;
	object.cached = odb_has(&repo->odb, id, &cached_size);
	if (object.cached)
		object.size = cached_size;
	object.key = arena_strndup(&objects->names, key.data, key.len);
	vec_push(&objects->list, object);
	index = (uint32_t)(objects->list.len - 1);
	index_add(&objects->by_key, index);
	return index;
}

uint32_t objects_add_top(struct data_repo *repo, struct objects *objects, const struct selected *selected)
{
	const struct tracked *tracked = selected->tracked;
	struct odb_id id = tracked_id(tracked);
	struct err ignored CLEANUP(err_release) = ERR_INIT; /* it counts as absent then */
	if (id.is_dir && tracked_keep_manifest(repo, tracked, &ignored) < 0)
		err_release(&ignored);
	char *name OWNED = mem_printf("%s%s", tracked->path, id.is_dir ? "/" : "");
	/* What DVC 2 named alike may differ in its line ends, and then in size. */
	bool sized = !id.is_dir && tracked->out->has_size && !tracked->out->legacy;
	return add(repo, objects, &id, name, NULL, sized ? tracked->out->size : REMOTE_SIZE_UNKNOWN, true);
}

uint32_t objects_add_id(struct data_repo *repo, struct objects *objects, const struct odb_id *id, const char *name)
{
	return add(repo, objects, id, name, NULL, REMOTE_SIZE_UNKNOWN, true);
}

int objects_add(struct data_repo *repo, struct objects *objects, const struct selected *selected, struct err *err)
{
	const struct tracked *tracked = selected->tracked;
	uint32_t top = objects_add_top(repo, objects, selected);
	if (!tracked->out->is_dir)
		return 0;
	struct dvc_dir manifest CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	if (!objects->list.at[top].cached) {
		strlist_add(&objects->unknown, objects->list.at[top].name);
		return 0;
	}
	if (tracked_read_manifest(repo, tracked, &manifest, err) < 0)
		return -1;
	struct object_dir dir = { .manifest = top };
	for (size_t i = 0; i < manifest.len; i++) {
		struct odb_id id = odb_member(&objects->list.at[top].id, manifest.entries[i].md5);
		const char *rel = manifest.entries[i].relpath;
		bool wanted = selected_covers(selected, rel);
		if (wanted || !objects->only_wanted)
			vec_push(&dir.members, add(repo, objects, &id, tracked->path, rel, REMOTE_SIZE_UNKNOWN, wanted));
	}
	vec_push(&objects->dirs, dir);
	return 0;
}

void objects_release(struct objects *objects)
{
	for (size_t i = 0; i < objects->dirs.len; i++)
		vec_release(&objects->dirs.at[i].members);
	vec_release(&objects->list);
	vec_release(&objects->dirs);
	index_release(&objects->by_key);
	arena_release(&objects->names);
	strlist_release(&objects->unknown);
}

char *object_describe(const struct object *object)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(&object->id.digest, hex);
	return mem_printf("%s (%s %s%s)", object->name, object->id.digest.kind == DIGEST_MD5_DOS2UNIX ? "md5-dos2unix" : "md5", hex,
			  object->id.is_dir ? ".dir" : "");
}

void object_add_name(struct buf *out, const struct odb_id *id)
{
	struct buf key CLEANUP(buf_release) = BUF_INIT;
	odb_add_key(&key, id);
	if (id->digest.kind == DIGEST_MD5_DOS2UNIX)
		buf_addf(out, "%s (of DVC 2)", key.data);
	else
		buf_addstr(out, key.data + strlen("files/md5/"));
}

int objects_list_remote(struct remote *remote, remote_visit_fn *visit, void *ctx, struct err *err)
{
	static const char digits[] = "0123456789abcdef";
	if (remote_list(remote, "files/md5/", visit, ctx, err) < 0)
		return -1;
	/* Those of DVC 2 lie beside files/, which an f for all of its kind would list once more. */
	for (size_t i = 0; i < 15 + 16; i++) {
		char prefix[3] = { digits[i < 15 ? i : 15], i < 15 ? '\0' : digits[i - 15], '\0' };
		if (remote_list(remote, prefix, visit, ctx, err) < 0)
			return -1;
	}
	return 0;
}

static struct selection *group_of(struct remote_groups *groups, const char *remote)
{
	for (size_t i = 0; i < groups->list.len; i++)
		if (text_eq(groups->list.at[i].remote, remote))
			return &groups->list.at[i].chosen;
	vec_push(&groups->list, ((struct remote_group){ .remote = remote, .chosen = SELECTION_INIT }));
	return &groups->list.at[groups->list.len - 1].chosen;
}

void groups_make(const struct selection *chosen, const char *chosen_remote, bool for_push, struct remote_groups *ret)
{
	for (size_t i = 0; i < chosen->list.len; i++) {
		const struct selected *selected = &chosen->list.at[i];
		const struct tracked *tracked = selected->tracked;
		const char *pinned = tracked->out->remote;
		if ((for_push && !tracked->out->push) || tracked->is_import || tracked_is_partial(tracked))
			continue;
		if (!tracked->out->cache || (chosen_remote && pinned && !text_eq(chosen_remote, pinned)))
			continue;
		struct selection *group = group_of(ret, chosen_remote ? chosen_remote : pinned);
		vec_push(&group->list, ((struct selected){ tracked, mem_strdup(selected->sub) }));
	}
}

void groups_release(struct remote_groups *groups)
{
	for (size_t i = 0; i < groups->list.len; i++)
		selection_release(&groups->list.at[i].chosen);
	vec_release(&groups->list);
}
