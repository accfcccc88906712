#include "engine/fingerprint.h"

#include "base/path.h"
#include "base/sys.h"
#include "engine/components.h"
#include "formats/dvcdir.h"
#include "store/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

int fingerprints_init(struct fingerprints *ctx, const struct project *project, struct state *state, struct hashes *hashes,
		      struct err *err)
{
	struct utsname name;
	*ctx = (struct fingerprints){ .project = project, .hashes = hashes };
	if (project_files_new(project, &ctx->files, err) < 0)
		return -1;
	ctx->tools = tools_new(project->root, state, hashes, &ctx->foresight);
	ctx->params = params_new(project, &ctx->foresight);
	ctx->platform = uname(&name) == 0 ? mem_printf("%s %s", name.sysname, name.machine) : mem_strdup("unknown");
	return 0;
}

void fingerprints_release(struct fingerprints *ctx)
{
	tools_free(ctx->tools);
	params_free(ctx->params);
	if (ctx->files)
		project_files_free(ctx->files);
	vec_release(&ctx->items);
	foresight_release(&ctx->foresight);
	free(ctx->platform);
	*ctx = (struct fingerprints){ 0 };
}

void fingerprint_reset(struct fingerprint *fp)
{
	buf_reset(&fp->components);
	fp->key = (struct digest){ .kind = DIGEST_NONE };
	fp->has_inputs = false;
	fp->watched.len = 0;
	strlist_release(&fp->absent);
	arena_release(&fp->arena);
}

void fingerprint_release(struct fingerprint *fp)
{
	fingerprint_reset(fp);
	buf_release(&fp->components);
	vec_release(&fp->watched);
}

static void add_numbered(struct buf *list, enum component_kind kind, const struct string_list *words)
{
	for (size_t i = 0; i < words->len; i++) {
		char number[24] = { (char)('0' + i % 10) };
		if (i >= 10)
			snprintf(number, sizeof(number), "%zu", i);
		components_add_text(list, kind, number, words->at[i]);
	}
}

static void add_env(struct buf *list, const struct target *target)
{
	for (size_t i = 0; i < target->settings->env.len; i++)
		components_add_text(list, COMPONENT_ENV, target->settings->env.at[i].name, target->settings->env.at[i].value);
	for (size_t i = 0; i < target->settings->pass_env.len; i++) {
		const char *name = target->settings->pass_env.at[i].name, *value = sys.getenv(name);
		struct digest digest;
		if (!value) {
			components_add_absent(list, COMPONENT_ENV, name);
			continue;
		}
		/* Only its digest is kept: what the user's environment holds is nobody's business. */
		digest_bytes(DIGEST_SHA256, value, strlen(value), &digest);
		components_add_digest(list, COMPONENT_ENV, name, 'd', &digest);
	}
}

static void add_needs(struct fingerprints *ctx, struct buf *list, const struct target *target, const struct digest *results)
{
	for (size_t i = 0; i < target->needs.len; i++) {
		uint32_t id = target->needs.at[i];
		components_add_digest(list, COMPONENT_NEED, ctx->project->targets[id].name, 'd', &results[id]);
	}
}

static int take_err(struct hash_item *items, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (!items[i].err)
			continue;
		err_move(err, items[i].err);
		hash_items_release(items, count);
		return -1;
	}
	return 0;
}

static void watch(struct fingerprint *fp, const char *path, const struct hash_item *item)
{
	if (!fp->keeps_watch)
		return;
	vec_push(&fp->watched, ((struct watched){ .path = arena_strdup(&fp->arena, path), .follow = item->follow, .stamp = item->stamp }));
	if (item->racy)
		fp->watched.at[fp->watched.len - 1].racy = item->digest;
}

/* As it will be, which is not what is looked at. */
static bool take_foreseen(const struct fingerprints *ctx, struct hash_item *item)
{
	if (!foresight_covers(&ctx->foresight, item->path))
		return false;
	const struct manifest_entry *entry = foresight_find(&ctx->foresight, item->path);
	item->type = entry ? entry->type : HASH_ABSENT;
	item->executable = entry && entry->type == HASH_FILE && (entry->mode & 0100);
	item->digest = entry ? entry->digest : (struct digest){ .kind = DIGEST_NONE };
	return true;
}

/* A link is content itself, and what it leads to is read through it. */
static int add_link(struct fingerprints *ctx, const struct hash_item *link, struct fingerprint *fp, struct err *err)
{
	struct hash_item behind = { .path = link->path, .follow = true };
	struct buf both CLEANUP(buf_release) = BUF_INIT;
	struct buf real CLEANUP(buf_release) = BUF_INIT;
	struct digest digest;
	if (ctx->foresight.outputs.len) {
		foresight_follow(&ctx->foresight, ctx->project->root, link->path, &real);
		behind.path = real.data;
	}
	if (!take_foreseen(ctx, &behind) && hashes_lookup(ctx->hashes, DIGEST_SHA256, &behind, err) < 0)
		return -1;
	codec_add_digest(&both, &link->digest);
	codec_add_u8(&both, (uint8_t)behind.type);
	codec_add_u8(&both, behind.executable);
	codec_add_digest(&both, &behind.digest);
	digest_bytes(DIGEST_SHA256, both.data, both.len, &digest);
	components_add_digest(&fp->components, COMPONENT_INPUT, link->path, 'l', &digest);
	watch(fp, link->path, &behind);
	return 0;
}

static int add_item(struct fingerprints *ctx, const struct hash_item *item, struct fingerprint *fp, struct err *err)
{
	switch (item->type) {
	case HASH_FILE:
		components_add_digest(&fp->components, COMPONENT_INPUT, item->path, item->executable ? 'x' : 'f', &item->digest);
		break;
	case HASH_LINK:
		if (add_link(ctx, item, fp, err) < 0)
			return -1;
		break;
	case HASH_ABSENT:
		components_add_absent(&fp->components, COMPONENT_INPUT, item->path);
		break;
	default:
		components_add_text(&fp->components, COMPONENT_INPUT, item->path, item->type == HASH_DIR ? "directory" : "special file");
		return 0;
	}
	watch(fp, item->path, item);
	return 0;
}

/* The digest that `data add` would give a directory now. What DVC could not hold (a name that is not UTF-8) gives another. */
static int hash_tracked_dir(struct fingerprints *ctx, const char *path, struct fingerprint *fp, struct digest *ret, struct err *err)
{
	struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct hash_tree tree;
	if (hashes_tree(ctx->hashes, DIGEST_MD5, path, &tree, err) < 0)
		return -1;
	for (size_t i = 0; i < tree.len; i++) {
		OWNED char *member = path_joined(path, tree.at[i].path);
		if (tree.at[i].type == HASH_DIR)
			continue;
		dvc_dir_add(&dir, tree.at[i].path, tree.at[i].digest.bytes);
		watch(fp, member, &tree.at[i]);
	}
	if (dvc_dir_sort(&dir, &ignored) == 0)
		dvc_dir_digest(&dir, ret, NULL);
	else
		hash_tree_digest(&tree, ret);
	hash_tree_release(&tree);
	return 0;
}

static int add_tracked_file(struct fingerprints *ctx, const struct input_file *file, struct fingerprint *fp, struct err *err)
{
	struct hash_item item = { .path = file->path, .follow = true };
	struct digest digest = project_files_tracked(ctx->files)->at[file->tracked_index].digest;
	if (!file->absent && hashes_lookup(ctx->hashes, DIGEST_MD5, &item, err) < 0)
		return -1;
	if (item.type == HASH_ABSENT) {
		components_add_digest(&fp->components, COMPONENT_INPUT, file->path, 'f', &digest);
		strlist_add(&fp->absent, file->path);
		return 0;
	}
	if (item.type == HASH_DIR) {
		if (hash_tracked_dir(ctx, file->path, fp, &digest, err) < 0)
			return -1;
	} else {
		/* DVC knows nothing of executable bits, and how it checks out (a link, a copy) is no difference. */
		digest = item.digest;
		struct hash_item itself = { .path = file->path };
		if (hashes_lookup(ctx->hashes, DIGEST_MD5, &itself, err) < 0)
			return -1;
		watch(fp, file->path, &itself);
	}
	components_add_digest(&fp->components, COMPONENT_INPUT, file->path, 'f', &digest);
	return 0;
}

static int add_tracked(struct fingerprints *ctx, const struct input_files *files, struct fingerprint *fp, struct err *err)
{
	for (size_t i = 0; i < files->len; i++)
		if (files->at[i].tracked && add_tracked_file(ctx, &files->at[i], fp, err) < 0)
			return -1;
	return 0;
}

/* What is foreseen goes to the end of items: *ret_looked is how many are looked at. */
static void part_foreseen(const struct fingerprints *ctx, struct hash_item *items, size_t count, size_t *ret_looked)
{
	*ret_looked = count;
	for (size_t i = 0; i < *ret_looked;) {
		struct hash_item item = items[i];
		if (!take_foreseen(ctx, &item)) {
			i++;
			continue;
		}
		items[i] = items[--*ret_looked];
		items[*ret_looked] = item;
	}
}

static int compare_items(const void *a, const void *b)
{
	const struct hash_item *x = a, *y = b;
	return strcmp(x->path, y->path);
}

static int look_up_items(struct fingerprints *ctx, struct err *err)
{
	size_t looked = ctx->items.len;
	if (ctx->foresight.outputs.len)
		part_foreseen(ctx, ctx->items.at, ctx->items.len, &looked);
	hashes_lookup_many(ctx->hashes, DIGEST_SHA256, ctx->items.at, looked);
	if (take_err(ctx->items.at, looked, err) < 0)
		return -1;
	if (looked < ctx->items.len)
		vec_sort(&ctx->items, compare_items);
	return 0;
}

static int add_inputs(struct fingerprints *ctx, const struct target *target, struct fingerprint *fp, struct err *err)
{
	struct input_files files = { 0 };
	bool any_tracked = false;
	if (!target->inputs.len)
		return 0;
	fp->has_inputs = true;
	fp->files_changes = project_files_changes(ctx->files);
	if (project_files_of(ctx->files, target, &files, err) < 0)
		return -1;
	ctx->items.len = 0;
	for (size_t i = 0; i < files.len; i++) {
		any_tracked = any_tracked || files.at[i].tracked;
		if (!files.at[i].tracked)
			vec_push(&ctx->items, (struct hash_item){ .path = files.at[i].path });
	}
	int failed = look_up_items(ctx, err);
	for (size_t i = 0; i < ctx->items.len && !failed; i++)
		failed = add_item(ctx, &ctx->items.at[i], fp, err);
	if (!failed && any_tracked)
		failed = add_tracked(ctx, &files, fp, err);
	vec_release(&files);
	return failed ? err_note(err, "in target '%s'", target->name) : 0;
}

int fingerprint_make(struct fingerprints *ctx, const struct target *target, const struct string_list *args,
		     const struct digest *results, struct fingerprint *ret, struct err *err)
{
	struct buf *list = &ret->components;
	fingerprint_reset(ret);
	components_begin(list);
	add_numbered(list, COMPONENT_COMMAND, &target->run);
	if (args)
		add_numbered(list, COMPONENT_ARGUMENT, args);
	add_numbered(list, COMPONENT_SHELL, &target->settings->shell);
	components_add_text(list, COMPONENT_DIR, "", target->dir);
	components_add_text(list, COMPONENT_PLATFORM, "", ctx->platform);
	add_env(list, target);
	for (size_t i = 0; i < target->outputs.len; i++)
		components_add_text(list, COMPONENT_OUTPUT, target->outputs.at[i].path, "");
	ret->has_inputs = target->params.len > 0;
	add_needs(ctx, list, target, results);
	if (tools_add(ctx->tools, target, list, err) < 0)
		return err_note(err, "in target '%s'", target->name);
	ret->params_at = list->len;
	if (params_add(ctx->params, target, list, err) < 0)
		return -1;
	ret->params_len = list->len - ret->params_at;
	return add_inputs(ctx, target, ret, err);
}

const struct digest *fingerprint_key(struct fingerprint *fp)
{
	if (fp->key.kind == DIGEST_NONE)
		components_key(fp->components.data, fp->components.len, &fp->key);
	return &fp->key;
}

/* By value: who edits another section of a file meanwhile has changed nothing. */
static const char *changed_param(struct fingerprints *ctx, const struct target *target, const struct fingerprint *fp)
{
	struct buf now CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (!target->params.len)
		return NULL;
	if (params_add(ctx->params, target, &now, &ignored) == 0 && now.len == fp->params_len &&
	    memcmp(now.data, fp->components.data + fp->params_at, now.len) == 0)
		return NULL;
	return target->params.at[0].file;
}

/* A file that the target's patterns match by now. */
static const char *added_since(struct fingerprints *ctx, const struct target *target, const struct fingerprint *fp)
{
	struct input_files files = { 0 };
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	VEC(const char *) names = { 0 };
	if (project_files_recheck(ctx->files, target) == fp->files_changes)
		return NULL;
	if (project_files_of(ctx->files, target, &files, &ignored) < 0)
		return target->inputs.at[0].glob;
	for (size_t i = 0; i < files.len; i++)
		vec_push(&names, files.at[i].path);
	vec_release(&files);
	const char *added = components_unlisted(fp->components.data, fp->components.len, COMPONENT_INPUT, names.at, names.len);
	vec_release(&names);
	return added;
}

static bool is_as_it_was(struct fingerprints *ctx, const struct watched *watched)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct hash_item item = { .path = watched->path, .follow = watched->follow };
	struct fs_stamp now = { 0 };
	struct stat st;
	OWNED char *path = path_joined(ctx->project->root, watched->path);
	if (sys.fstatat(AT_FDCWD, path, &st, watched->follow ? 0 : AT_SYMLINK_NOFOLLOW) == 0)
		fs_stamp_of(&now, &st);
	if (!fs_stamp_same(&now, &watched->stamp) || watched->racy.kind == DIGEST_NONE)
		return fs_stamp_same(&now, &watched->stamp);
	return hashes_lookup(ctx->hashes, watched->racy.kind, &item, &ignored) == 0 && digest_eq(&item.digest, &watched->racy);
}

const char *fingerprint_changed_since(struct fingerprints *ctx, const struct target *target, const struct fingerprint *fp)
{
	for (size_t i = 0; i < fp->watched.len; i++)
		if (!is_as_it_was(ctx, &fp->watched.at[i]))
			return fp->watched.at[i].path;
	const char *param = changed_param(ctx, target, fp);
	return param ? param : added_since(ctx, target, fp);
}
