#include "engine/foresight.h"

#include "base/path.h"
#include "base/text.h"

#include <string.h>

#define LINKS_MAX 40 /* as in Linux */

void foresight_release(struct foresight *foresight)
{
	for (size_t i = 0; i < foresight->manifests.len; i++)
		manifest_release(&foresight->manifests.at[i]);
	vec_release(&foresight->manifests);
	map_release(&foresight->outputs);
	map_release(&foresight->entries);
}

static bool means_more(const char *path)
{
	const char *base = path_base(path);
	return text_eq(base, ".gitignore") || text_eq(base, ".dvcignore") || text_ends(base, ".dvc") || text_eq(base, "dvc.yaml") || text_eq(base, "dvc.lock");
}

int foresight_add(struct foresight *foresight, struct project_files *files, const char *const *paths, size_t count, struct manifest *manifest,
		  struct err *err)
{
	for (size_t i = 0; i < manifest->len; i++)
		if (means_more(manifest->at[i].path))
			return 0;
	vec_push(&foresight->manifests, *manifest);
	const struct manifest taken = *manifest;
	*manifest = (struct manifest){ 0 };
	for (size_t i = 0; i < count; i++)
		map_set(&foresight->outputs, paths[i], NULL);
	for (size_t i = 0; i < taken.len; i++) {
		map_set(&foresight->entries, taken.at[i].path, &taken.at[i]);
		if (project_files_pretend(files, taken.at[i].path, taken.at[i].type == HASH_DIR, err) < 0)
			return -1;
	}
	return 0;
}

bool foresight_covers(const struct foresight *foresight, const char *path)
{
	if (!foresight->outputs.len)
		return false;
	OWNED char *above = mem_strdup(path);
	for (;;) {
		char *slash = strrchr(above, '/');
		if (map_has(&foresight->outputs, above))
			return true;
		if (!slash)
			return false;
		*slash = 0;
	}
}

const struct manifest_entry *foresight_find(const struct foresight *foresight, const char *path)
{
	return map_get(&foresight->entries, path);
}

/* What a link at path says, if there will be one. */
static bool read_link(const struct foresight *foresight, const char *root, const char *path, struct buf *ret)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	buf_reset(ret);
	if (foresight_covers(foresight, path)) {
		const struct manifest_entry *entry = foresight_find(foresight, path);
		if (!entry || entry->type != HASH_LINK)
			return false;
		buf_addstr(ret, entry->target);
		return true;
	}
	OWNED char *full = path_joined(root, path);
	return fs_read_link(full, ret, &ignored) == 0;
}

/* The first part of path that is a link, replaced by what it says. */
static bool replace_link(const struct foresight *foresight, const char *root, struct buf *path)
{
	struct buf says CLEANUP(buf_release) = BUF_INIT;
	for (size_t end = 0; end < path->len;) {
		end += path->data[end] == '/';
		end += strcspn(path->data + end, "/");
		OWNED char *part = mem_strndup(path->data, end);
		if (!read_link(foresight, root, part, &says))
			continue;
		struct buf above CLEANUP(buf_release) = BUF_INIT, joined CLEANUP(buf_release) = BUF_INIT;
		path_dir(&above, part);
		path_join(&joined, above.data, says.data);
		buf_addstr(&joined, path->data + end);
		buf_reset(path);
		path_normalize(path, joined.data);
		return true;
	}
	return false;
}

bool foresight_follow(const struct foresight *foresight, const char *root, const char *path, struct buf *ret_real)
{
	struct buf at CLEANUP(buf_release) = BUF_INIT;
	buf_addstr(&at, path);
	for (int i = 0; i < LINKS_MAX && replace_link(foresight, root, &at); i++) {
		if (at.data[0] != '/' || !path_inside(root, at.data))
			continue;
		struct buf below CLEANUP(buf_release) = BUF_INIT;
		path_relative(&below, root, at.data);
		buf_setstr(&at, below.data);
	}
	buf_add(ret_real, at.data, at.len);
	return at.data[0] != '/' && foresight_covers(foresight, at.data);
}
