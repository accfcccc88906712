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
	if (*rel)
		path_join(&line, walk->path, rel);
	else
		buf_addstr(&line, walk->path);
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

static void add_file(struct walk *walk, const char *rel, const struct fs_stamp *stamp, bool is_link)
{
	struct walk_file file = { .rel = rel, .is_link = is_link, .exec = stamp->mode & S_IXUSR, .size = stamp->size, .stamp = *stamp };
	vec_push(&walk->files, file);
}

/* A file, or a link to one; anything else is odd. */
static void add_leaf(struct walk *walk, const char *rel, const struct fs_stamp *stamp, bool is_link, bool broken)
{
	mode_t mode = (mode_t)stamp->mode;
	if (broken) {
		add_odd(walk, rel, "is a broken symbolic link");
		strlist_add(&walk->broken, rel);
	} else if (S_ISREG(mode))
		add_file(walk, rel, stamp, is_link);
	else if (is_link && S_ISDIR(mode))
		add_odd(walk, rel, "is a symbolic link to a directory");
	else {
		char *what OWNED = mem_printf("is %s%s", is_link ? "a symbolic link to " : "", kind_name(mode));
		add_odd(walk, rel, what);
	}
}

static void take_found(struct walk *walk, const struct walk_listing *listing, const struct walk_found *found)
{
	const char *name = listing->names.data + found->name_at;
	if (found->ignored || found->failed || (found->type == DT_DIR && !found->bad_name))
		return;
	const char *rel = *listing->rel ? arena_join(&walk->arena, listing->rel, name) : arena_strdup(&walk->arena, name);
	if (found->bad_name) {
		add_odd(walk, rel, "has a name that is not UTF-8");
		return;
	}
	if (strcmp(name, ".dvcignore") == 0)
		add_odd(walk, rel, "is inside of a tracked directory, where ignore files must not be");
	else if (dvc_file_is_name(name) && !found->is_link && S_ISREG((mode_t)found->stamp.mode))
		add_odd(walk, rel, "is a .dvc file inside of a tracked directory");
	add_leaf(walk, rel, &found->stamp, found->is_link, found->broken);
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct walk_file *)a)->rel, ((const struct walk_file *)b)->rel);
}

/* What was read is freed on the way. */
void walk_list(struct walk *walk)
{
	struct walk_tree *tree = walk->tree;
	if (!tree)
		return;
	vec_reserve(&walk->files, tree->files);
	for (size_t i = 0; i < tree->listings.len; i++) {
		struct walk_listing *listing = &tree->listings.at[i];
		for (size_t k = 0; k < listing->found.len; k++)
			take_found(walk, listing, &listing->found.at[k]);
		walk_listing_release(listing);
	}
	walk_tree_release(tree);
	free(tree);
	walk->tree = NULL;
	vec_sort(&walk->files, compare_files);
	strlist_sort(&walk->odd);
	strlist_sort(&walk->broken);
}

static int read_tree(struct data_repo *repo, struct walk *walk, const char *sub, struct err *err)
{
	walk->tree = mem_alloc(sizeof(*walk->tree));
	return walk_tree_read(repo, walk->path, sub, walk->tree, err);
}

/* A path that is no directory. */
static int read_leaf(struct walk *walk, const char *abs, const char *rel, const struct stat *lst, struct err *err)
{
	struct stat st = *lst;
	struct fs_stamp stamp;
	bool is_link = S_ISLNK(lst->st_mode), broken = false;
	if (is_link && sys.fstatat(AT_FDCWD, abs, &st, 0) < 0) {
		if (errno != ENOENT && errno != ELOOP && errno != ENOTDIR)
			return err_set_errno(err, ERR_FAILED, errno, "cannot read the link %s", abs);
		broken = true;
	}
	walk->is_broken = broken && !*rel;
	fs_stamp_of(&stamp, &st);
	add_leaf(walk, rel, &stamp, is_link, broken);
	return 0;
}

static bool is_ignored(const struct data_repo *repo, const char *path, size_t from, bool is_dir)
{
	for (const char *at = strchr(path + from, '/'); at; at = strchr(at + 1, '/')) {
		char *part OWNED = mem_strndup(path, (size_t)(at - path));
		if (ignore_match(repo->ignore, part, true))
			return true;
	}
	return ignore_match(repo->ignore, path, is_dir);
}

/* What is at the member sub of a directory. */
static int read_member(struct data_repo *repo, struct walk *walk, const char *sub, struct err *err)
{
	char *rel OWNED = path_joined(walk->path, sub), *abs OWNED = repo_abs(repo, rel);
	struct stat st;
	if (repo_check_parents(repo, rel, err) < 0)
		return -1;
	if (sys.fstatat(AT_FDCWD, abs, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_set_errno(err, ERR_FAILED, errno, "cannot look at '%s'", rel);
	if (is_ignored(repo, rel, strlen(walk->path) + 1, S_ISDIR(st.st_mode)))
		return 0;
	if (S_ISDIR(st.st_mode))
		return read_tree(repo, walk, sub, err);
	return read_leaf(walk, abs, arena_strdup(&walk->arena, sub), &st, err);
}

/* Of a directory with a tree that is not listed yet. */
static int look_at_part(struct data_repo *repo, const char *path, const char *sub, struct walk *ret, struct err *err)
{
	char *abs OWNED = repo_abs(repo, path);
	struct stat st;
	ret->path = mem_strdup(path);
	if (fs_lstat(abs, &st, &ret->exists, err) < 0)
		return -1;
	if (!ret->exists)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return read_leaf(ret, abs, "", &st, err);
	bool ignored;
	if (repo_ignored(repo, path, true, &ignored, err) < 0)
		return -1;
	ret->is_dir = true;
	return sub ? read_member(repo, ret, sub, err) : read_tree(repo, ret, "", err);
}

int walk_look(struct data_repo *repo, const char *path, struct walk *ret, struct err *err)
{
	return look_at_part(repo, path, NULL, ret, err);
}

int walk_part(struct data_repo *repo, const char *path, const char *sub, struct walk *ret, struct err *err)
{
	if (look_at_part(repo, path, sub, ret, err) < 0)
		return -1;
	walk_list(ret);
	return 0;
}

int walk_path(struct data_repo *repo, const char *path, struct walk *ret, struct err *err)
{
	return walk_part(repo, path, NULL, ret, err);
}

/* What a look-up needs is larger than what is kept of it, so that it goes in pieces; large ones, for the sake of all processors. */
#define HASHED_AT_ONCE 65536

static int hash_some(struct hashes *hashes, struct walk *walk, size_t from, size_t count, bool known_only, struct err *err)
{
	struct arena paths CLEANUP(arena_release) = { 0 };
	struct hash_item *items OWNED = mem_alloc(count * sizeof(*items));
	for (size_t i = 0; i < count; i++) {
		const struct walk_file *file = &walk->files.at[from + i];
		items[i].path = *file->rel ? arena_join(&paths, walk->path, file->rel) : walk->path;
		items[i].follow = true;
		items[i].seen = &file->stamp;
	}
	(known_only ? hashes_known_many : hashes_lookup_many)(hashes, walk->kind, items, count);
	int status = 0;
	for (size_t i = 0; i < count && status == 0; i++) {
		struct walk_file *file = &walk->files.at[from + i];
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

static int hash_files(struct data_repo *repo, struct walk *walk, bool known_only, struct err *err)
{
	struct hashes *hashes;
	size_t count = walk->files.len;
	if (!count)
		return 0;
	if (repo_hashes(repo, &hashes, err) < 0)
		return -1;
	for (size_t at = 0; at < count; at += HASHED_AT_ONCE)
		if (hash_some(hashes, walk, at, count - at < HASHED_AT_ONCE ? count - at : HASHED_AT_ONCE, known_only, err) < 0)
			return -1;
	if (count > HASHED_AT_ONCE)
		hashes_trim(hashes);
	return 0;
}

int walk_hash(struct data_repo *repo, struct walk *walk, struct err *err)
{
	return hash_files(repo, walk, false, err);
}

int walk_hash_known(struct data_repo *repo, struct walk *walk, struct err *err)
{
	return hash_files(repo, walk, true, err);
}

int walk_describe(const struct walk *walk, struct dvc_dir *ret_members, struct odb_id *ret_id, struct err *err)
{
	*ret_id = (struct odb_id){ .is_dir = walk->is_dir };
	if (!walk->is_dir) {
		ret_id->digest = walk->files.at[0].digest;
		return 0;
	}
	for (size_t i = 0; i < walk->files.len; i++)
		dvc_dir_add(ret_members, walk->files.at[i].rel, walk->files.at[i].digest.bytes);
	if (dvc_dir_sort(ret_members, err) < 0)
		return -1;
	dvc_dir_digest(ret_members, &ret_id->digest, NULL);
	ret_id->digest.kind = (uint8_t)walk->kind;
	return 0;
}

/* Objects of DVC 2 are named without regard to line ends: whether that is the file's very content. */
static bool is_same_content(const char *object, const char *abs)
{
	struct digest_job jobs[2] = { { .path = abs }, { .path = object } };
	digest_files(DIGEST_MD5, jobs, 2);
	bool same = jobs[0].ret_status == 0 && jobs[1].ret_status == 0 && digest_eq(&jobs[0].ret, &jobs[1].ret);
	err_release(&jobs[0].ret_err);
	err_release(&jobs[1].ret_err);
	return same;
}

static bool is_cached_as(const struct data_repo *repo, const struct walk_file *file, const struct digest *digest, const char *abs)
{
	struct odb_id id = { *digest, false };
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	uint64_t size;
	if (!odb_has(&repo->odb, &id, &size))
		return false;
	odb_add_path(&repo->odb, &path, &id);
	return digest->kind == DIGEST_MD5 || (size == file->size && is_same_content(path.data, abs));
}

bool walk_is_cached(struct data_repo *repo, const struct walk *walk, const struct walk_file *file)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct digest other;
	struct fs_stamp stamp;
	bool stable;
	char *abs OWNED = mem_printf("%s/%s%s%s", repo->root, walk->path, *file->rel ? "/" : "", file->rel);
	if (is_cached_as(repo, file, &file->digest, abs))
		return true;
	enum digest_kind kind = walk->kind == DIGEST_MD5 ? DIGEST_MD5_DOS2UNIX : DIGEST_MD5;
	return digest_file(kind, abs, &other, &stamp, &stable, &ignored) == 0 && stable && is_cached_as(repo, file, &other, abs);
}

void walk_release(struct walk *walk)
{
	free(walk->path);
	if (walk->tree)
		walk_tree_release(walk->tree);
	free(walk->tree);
	vec_release(&walk->files);
	strlist_release(&walk->odd);
	strlist_release(&walk->broken);
	arena_release(&walk->arena);
	*walk = (struct walk)WALK_INIT;
}

const struct walk_file *walk_find(const struct walk *walk, const char *rel)
{
	struct walk_file key = { .rel = rel };
	return walk->files.len ? bsearch(&key, walk->files.at, walk->files.len, sizeof(key), compare_files) : NULL;
}

bool walk_has_below(const struct walk *walk, const char *rel)
{
	char *first OWNED = mem_printf("%s/", rel);
	size_t low = 0, high = walk->files.len;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(walk->files.at[middle].rel, first) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < walk->files.len && text_starts(walk->files.at[low].rel, first);
}
