#include "features/hook/tree.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "features/hook/lend.h"

#include <errno.h>
#include <string.h>

#define MAX_BLOB ((size_t)1 << 30)
#define MAX_MANIFEST ((size_t)1 << 30)
#define MAX_INDEX ((size_t)1 << 30)
#define MANIFEST_HEAD "mlmake hook tree 1"

/* One file of the tree as it was written. */
struct written {
	const char *path; /* in the manifest's text */
	const char *oid;  /* 40 digits, not terminated */
	uint32_t mode;
	struct fs_stamp stamp;
};

struct tree {
	struct git_repo *repo;
	char *top;
	char *manifest_path;
	struct buf old_text; /* the manifest as it was */
	VEC(struct written) old;
	struct git_entries entries;
	struct buf new_text;
	char *parent; /* directory that was last seen to be one, all the way from the top */
	bool changed; /* the manifest is gone, and something may differ from it */
};

static void tree_release(struct tree *tree)
{
	free(tree->top);
	free(tree->manifest_path);
	buf_release(&tree->old_text);
	vec_release(&tree->old);
	git_entries_release(&tree->entries);
	buf_release(&tree->new_text);
	free(tree->parent);
}

static void add_record(struct buf *out, const struct git_entry *entry, const struct fs_stamp *stamp)
{
	buf_addf(out, "%s %x %llx %llx %llx %llx %llx %x %x ", entry->oid, entry->mode, (unsigned long long)stamp->size,
		 (unsigned long long)stamp->mtime_ns, (unsigned long long)stamp->ctime_ns, (unsigned long long)stamp->ino,
		 (unsigned long long)stamp->dev, stamp->mode, stamp->nlink);
	buf_add(out, entry->path, strlen(entry->path) + 1);
}

static bool take_hex(const char **at, uint64_t *ret)
{
	char *end;
	*ret = strtoull(*at, &end, 16);
	bool good = end > *at && *end == ' ';
	*at = end + good;
	return good;
}

static bool parse_record(const char *at, size_t len, struct written *ret)
{
	uint64_t field[8];
	if (len < 41 || at[40] != ' ')
		return false;
	ret->oid = at;
	at += 41;
	for (size_t i = 0; i < ARRAY_LEN(field); i++) {
		if (!take_hex(&at, &field[i]))
			return false;
	}
	ret->mode = (uint32_t)field[0];
	ret->stamp = (struct fs_stamp){ .size = field[1],
					.mtime_ns = (int64_t)field[2],
					.ctime_ns = (int64_t)field[3],
					.ino = field[4],
					.dev = field[5],
					.mode = (uint32_t)field[6],
					.nlink = (uint32_t)field[7] };
	ret->path = at;
	return *at;
}

/* False if there is no manifest, or one that cannot be read. */
static bool read_manifest(struct tree *tree)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (fs_read_file(tree->manifest_path, MAX_MANIFEST, &tree->old_text, &ignored) < 0)
		return false;
	const char *at = tree->old_text.data, *end = at + tree->old_text.len;
	if (at == end || !text_eq(at, MANIFEST_HEAD) || end[-1])
		return false;
	for (at += strlen(at) + 1; at < end; at += strlen(at) + 1) {
		struct written written;
		if (!parse_record(at, strlen(at), &written))
			return false;
		vec_push(&tree->old, written);
	}
	return true;
}

/* Nothing is written below .git, nor outside of the tree, whatever the index says. */
static int check_path(const char *path, struct err *err)
{
	bool safe = path_is_safe(path);
	for (const char *at = path; safe && at; at = strchr(at, '/')) {
		at += *at == '/';
		safe = strncasecmp(at, ".git", 4) != 0 || (at[4] && at[4] != '/');
	}
	return safe ? 0 : err_set(err, ERR_FAILED, "git's index has a path that cannot be written: '%s'", path);
}

static int begin_change(struct tree *tree, struct err *err)
{
	if (tree->changed)
		return 0;
	tree->changed = true;
	return fs_remove(tree->manifest_path, err);
}

/* Makes dir (below the top) a real directory, and all above it: what else is there, a command left. */
static int make_dir(struct tree *tree, const char *path, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	path_dir(&dir, path);
	if (text_eq(dir.data, tree->parent) || text_eq(dir.data, tree->top))
		return 0;
	size_t from = strlen(tree->top) + 1;
	for (size_t i = from; i <= dir.len; i++) {
		if (i < dir.len && dir.data[i] != '/')
			continue;
		char was = dir.data[i];
		dir.data[i] = '\0';
		struct stat st;
		bool exists;
		if (fs_lstat(dir.data, &st, &exists, err) < 0)
			return -1;
		if (exists && !S_ISDIR(st.st_mode) && fs_remove(dir.data, err) < 0)
			return -1;
		if ((!exists || !S_ISDIR(st.st_mode)) && fs_mkdirs(dir.data, err) < 0)
			return -1;
		dir.data[i] = was;
	}
	free(tree->parent);
	tree->parent = buf_detach(&dir);
	return 0;
}

/* A submodule's commit is its own repository's matter: the work tree's is lent. */
static int write_submodule(struct tree *tree, const struct git_entry *entry, const char *path, struct err *err)
{
	OWNED char *real = path_joined(git_top(tree->repo), entry->path);
	return fs_is_dir(real) ? hook_make_link(path, real, err) : fs_mkdirs(path, err);
}

static int write_entry(struct tree *tree, const struct git_entry *entry, const char *path, struct err *err)
{
	struct buf blob CLEANUP(buf_release) = BUF_INIT;
	if (begin_change(tree, err) < 0 || make_dir(tree, path, err) < 0 || fs_remove_tree(path, err) < 0)
		return -1;
	if ((entry->mode & S_IFMT) == 0160000)
		return write_submodule(tree, entry, path, err);
	if (git_blob_read(tree->repo, entry->oid, MAX_BLOB, &blob, err) < 0)
		return err_note(err, "writing %s for the checks of the hook", entry->path);
	if (S_ISLNK(entry->mode))
		return hook_make_link(path, blob.data, err);
	return fs_write_file(path, blob.data, blob.len, entry->mode & 0100 ? 0777 : 0666, FS_VOLATILE, err);
}

static int keep_or_write(struct tree *tree, const struct git_entry *entry, const struct written *old, struct err *err)
{
	OWNED char *path = mem_printf("%s/%s", tree->top, entry->path);
	struct stat st;
	struct fs_stamp stamp;
	bool exists;
	if (check_path(entry->path, err) < 0)
		return -1;
	if (old && old->mode == entry->mode && !memcmp(old->oid, entry->oid, 40)) {
		if (fs_lstat(path, &st, &exists, err) < 0)
			return -1;
		if (exists) {
			fs_stamp_of(&stamp, &st);
			if (fs_stamp_same(&stamp, &old->stamp)) {
				add_record(&tree->new_text, entry, &stamp);
				return 0;
			}
		}
	}
	if (write_entry(tree, entry, path, err) < 0 || fs_lstat(path, &st, &exists, err) < 0)
		return -1;
	fs_stamp_of(&stamp, &st);
	add_record(&tree->new_text, entry, &stamp);
	return 0;
}

/* A file that is no longer staged, and directories that are empty without it. */
static int remove_old(struct tree *tree, const struct written *old, struct err *err)
{
	if (begin_change(tree, err) < 0)
		return -1;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&path, "%s/%s", tree->top, old->path);
	/* A parent may be a link by now that a command made: nothing is removed through one. */
	if (make_dir(tree, path.data, err) < 0 || fs_remove_tree(path.data, err) < 0)
		return -1;
	for (;;) {
		buf_truncate(&path, (size_t)(strrchr(path.data, '/') - path.data));
		if (text_eq(path.data, tree->top) || sys.unlinkat(AT_FDCWD, path.data, AT_REMOVEDIR) < 0)
			break;
	}
	free(tree->parent);
	tree->parent = NULL;
	return 0;
}

/* Both lists are sorted by bytes. Removal comes first: a file may take the place of a directory. */
static int bring_up_to_date(struct tree *tree, struct err *err)
{
	size_t at = 0;
	for (size_t i = 0; i < tree->old.len; i++) {
		while (at < tree->entries.len && strcmp(tree->entries.at[at].path, tree->old.at[i].path) < 0)
			at++;
		bool staged = at < tree->entries.len && text_eq(tree->entries.at[at].path, tree->old.at[i].path);
		if (!staged && remove_old(tree, &tree->old.at[i], err) < 0)
			return -1;
	}
	at = 0;
	for (size_t i = 0; i < tree->entries.len; i++) {
		const struct git_entry *entry = &tree->entries.at[i];
		while (at < tree->old.len && strcmp(tree->old.at[at].path, entry->path) < 0)
			at++;
		bool known = at < tree->old.len && text_eq(tree->old.at[at].path, entry->path);
		if (keep_or_write(tree, entry, known ? &tree->old.at[at] : NULL, err) < 0)
			return -1;
	}
	return 0;
}

static int write_if_differs(const char *path, const struct buf *text, struct err *err)
{
	struct buf old CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (fs_read_file(path, MAX_INDEX, &old, &ignored) == 0 && old.len == text->len && !memcmp(old.data, text->data, old.len))
		return 0;
	if (fs_mkdirs_for(path, err) < 0)
		return -1;
	return fs_write_file(path, text->data, text->len, 0666, FS_VOLATILE, err);
}

static int write_git_file(const struct tree *tree, const char *name, const struct buf *text, struct err *err)
{
	OWNED char *path = mem_printf("%s/.git/%s", tree->top, name);
	return write_if_differs(path, text, err);
}

static int write_git_head(const struct tree *tree, struct err *err)
{
	struct buf commit CLEANUP(buf_release) = BUF_INIT;
	struct buf branch CLEANUP(buf_release) = BUF_INIT;
	struct buf head CLEANUP(buf_release) = BUF_INIT;
	struct buf refs CLEANUP(buf_release) = BUF_INIT;
	if (git_head_commit(tree->repo, &commit, err) < 0 || git_head_branch(tree->repo, &branch, err) < 0)
		return -1;
	if (branch.len)
		buf_addf(&head, "ref: refs/heads/%s\n", branch.data);
	else
		buf_addf(&head, "%s\n", commit.data);
	buf_addstr(&refs, "# pack-refs with: peeled fully-peeled sorted \n");
	if (branch.len && commit.len)
		buf_addf(&refs, "%s refs/heads/%s\n", commit.data, branch.data);
	return write_git_file(tree, "packed-refs", &refs, err) < 0 ? -1 : write_git_file(tree, "HEAD", &head, err);
}

/* The repository of the tree: everything but objects is its own. */
static int write_git(const struct tree *tree, struct err *err)
{
	struct buf config CLEANUP(buf_release) = BUF_INIT;
	struct buf alternates CLEANUP(buf_release) = BUF_INIT;
	struct buf index CLEANUP(buf_release) = BUF_INIT;
	struct err no_index CLEANUP(err_release) = ERR_INIT;
	OWNED char *refs = mem_printf("%s/.git/refs", tree->top);
	buf_addstr(&config, "[core]\n\trepositoryformatversion = 0\n\tbare = false\n");
	buf_addf(&alternates, "%s/objects\n", git_common_dir(tree->repo));
	if (fs_mkdirs(refs, err) < 0 || write_git_file(tree, "config", &config, err) < 0 ||
	    write_git_file(tree, "objects/info/alternates", &alternates, err) < 0 || write_git_head(tree, err) < 0)
		return -1;
	if (fs_read_file(git_index_file(tree->repo), MAX_INDEX, &index, &no_index) < 0)
		return no_index.sys_errno == ENOENT ? 0 : err_move(err, &no_index);
	return write_git_file(tree, "index", &index, err);
}

static int update(struct tree *tree, struct err *err)
{
	if (git_entries_read(tree->repo, &tree->entries, err) < 0)
		return -1;
	if (!read_manifest(tree)) {
		tree->old.len = 0;
		tree->changed = true;
		if (fs_remove(tree->manifest_path, err) < 0 || fs_remove_tree(tree->top, err) < 0)
			return -1;
	}
	buf_add(&tree->new_text, MANIFEST_HEAD, sizeof(MANIFEST_HEAD));
	if (fs_mkdirs(tree->top, err) < 0 || bring_up_to_date(tree, err) < 0 || write_git(tree, err) < 0 ||
	    hook_tree_lend_data(&tree->entries, git_top(tree->repo), tree->top, err) < 0)
		return -1;
	if (!tree->changed)
		return 0;
	return fs_write_file(tree->manifest_path, tree->new_text.data, tree->new_text.len, 0666, FS_VOLATILE, err);
}

int hook_tree_update(struct git_repo *repo, const char *base, struct buf *ret_top, struct err *err)
{
	struct tree tree CLEANUP(tree_release) = {
		.repo = repo,
		.top = path_joined(base, "tree"),
		.manifest_path = path_joined(base, "manifest"),
		.old_text = BUF_INIT,
		.new_text = BUF_INIT,
	};
	buf_addstr(ret_top, tree.top);
	return update(&tree, err);
}
