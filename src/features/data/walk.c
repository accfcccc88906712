#include "features/data/walk.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/dvcfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *kind_name(mode_t mode)
{
	return S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : S_ISDIR(mode) ? "a directory" : "a device";
}

static void add_odd(struct walk *walk, const char *rel, const char *what)
{
	struct buf line = BUF_INIT;
	path_join(&line, walk->path, rel);
	/* A name that is not UTF-8 is shown with its odd bytes escaped. */
	if (!text_is_utf8(line.data, line.len)) {
		struct buf shown = BUF_INIT;
		for (size_t i = 0; i < line.len; i++) {
			unsigned char c = (unsigned char)line.data[i];
			if (c >= 0x80)
				buf_addf(&shown, "\\x%02x", c);
			else
				buf_addch(&shown, (char)c);
		}
		buf_release(&line);
		line = shown;
	}
	buf_addf(&line, " %s", what);
	strlist_take(&walk->odd, buf_detach(&line));
}

static void add_file(struct walk *walk, const char *rel, const struct stat *st, bool is_link)
{
	struct walk_file file = { .rel = arena_strdup(&walk->arena, rel), .is_link = is_link };
	file.exec = st->st_mode & S_IXUSR;
	file.size = (uint64_t)st->st_size;
	fs_stamp_of(&file.stamp, st);
	vec_push(&walk->files, file);
}

static int add_entry(struct walk *walk, const char *abs, const char *rel, const struct stat *lst, struct err *err)
{
	struct stat st = *lst;
	bool is_link = S_ISLNK(lst->st_mode);
	if (is_link && sys.fstatat(AT_FDCWD, abs, &st, 0) < 0) {
		if (errno != ENOENT && errno != ELOOP && errno != ENOTDIR)
			return err_set_errno(err, ERR_FAILED, errno, "cannot read the link %s", abs);
		add_odd(walk, rel, "is a broken symbolic link");
		return 0;
	}
	if (S_ISREG(st.st_mode))
		add_file(walk, rel, &st, is_link);
	else if (is_link && S_ISDIR(st.st_mode))
		add_odd(walk, rel, "is a symbolic link to a directory");
	else {
		char *what OWNED = mem_printf("is %s%s", is_link ? "a symbolic link to " : "", kind_name(st.st_mode));
		add_odd(walk, rel, what);
	}
	return 0;
}

struct walk_ctx {
	struct data_repo *repo;
	struct walk *walk;
};

static int visit(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct walk_ctx *walking = ctx;
	struct walk *walk = walking->walk;
	struct buf rel CLEANUP(buf_release) = BUF_INIT;
	bool is_dir = S_ISDIR(entry->st->st_mode);
	path_join(&rel, walk->path, entry->rel);
	if (ignore_match(walking->repo->ignore, rel.data, is_dir))
		return 1;
	const char *name = path_base(entry->rel);
	if (!text_is_utf8(name, strlen(name))) {
		add_odd(walk, entry->rel, "has a name that is not UTF-8");
		return 1;
	}
	if (is_dir)
		return 0;
	if (strcmp(name, ".dvcignore") == 0)
		add_odd(walk, entry->rel, "is inside of a tracked directory, where ignore files must not be");
	else if (dvc_file_is_name(name) && S_ISREG(entry->st->st_mode))
		add_odd(walk, entry->rel, "is a .dvc file inside of a tracked directory");
	return add_entry(walk, entry->path, entry->rel, entry->st, err);
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct walk_file *)a)->rel, ((const struct walk_file *)b)->rel);
}

int walk_path(struct data_repo *repo, const char *path, struct walk *ret, struct err *err)
{
	char *abs OWNED = repo_abs(repo, path);
	struct stat st;
	ret->path = mem_strdup(path);
	if (fs_lstat(abs, &st, &ret->exists, err) < 0)
		return -1;
	if (!ret->exists)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return add_entry(ret, abs, "", &st, err);
	bool ignored;
	if (repo_ignored(repo, path, true, &ignored, err) < 0)
		return -1;
	ret->is_dir = true;
	struct walk_ctx ctx = { repo, ret };
	if (fs_walk(abs, visit, &ctx, err) < 0)
		return -1;
	vec_sort(&ret->files, compare_files);
	return 0;
}

int walk_hash(struct data_repo *repo, struct walk *walk, struct err *err)
{
	struct hashes *hashes;
	if (!walk->files.len)
		return 0;
	if (repo_hashes(repo, &hashes, err) < 0)
		return -1;
	struct arena paths CLEANUP(arena_release) = { 0 };
	size_t count = walk->files.len;
	struct hash_item *items OWNED = mem_alloc(count * sizeof(*items));
	for (size_t i = 0; i < count; i++) {
		const char *rel = walk->files.at[i].rel;
		items[i].path = *rel ? arena_printf(&paths, "%s/%s", walk->path, rel) : walk->path;
		items[i].follow = true;
		items[i].seen = &walk->files.at[i].stamp;
	}
	hashes_lookup_many(hashes, DIGEST_MD5, items, count);
	int status = 0;
	for (size_t i = 0; i < count && status == 0; i++) {
		struct walk_file *file = &walk->files.at[i];
		if (items[i].err)
			status = err_move(err, items[i].err);
		else if (items[i].type != HASH_FILE) {
			err_set(err, ERR_FAILED, "%s changed while it was read", items[i].path);
			status = err_hint(err, "wait until whatever writes it has finished");
		} else {
			file->digest = items[i].digest;
			file->was_read = items[i].was_read;
			file->stamp = items[i].stamp;
			file->size = items[i].stamp.size;
		}
	}
	hash_items_release(items, count);
	return status;
}

void walk_release(struct walk *walk)
{
	free(walk->path);
	vec_release(&walk->files);
	strlist_release(&walk->odd);
	arena_release(&walk->arena);
	*walk = (struct walk)WALK_INIT;
}

const struct walk_file *walk_find(const struct walk *walk, const char *rel)
{
	struct walk_file key = { .rel = rel };
	return walk->files.len ? bsearch(&key, walk->files.at, walk->files.len, sizeof(key), compare_files) : NULL;
}
