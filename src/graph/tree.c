#include "graph/tree.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "base/vec.h"
#include "formats/ignore.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define MAX_IGNORE_FILE (1U << 20)
#define RACY_SECONDS 2 /* no file system's clock is coarser */

struct tree {
	struct arena arena;
	char *root;
	char *prefix;          /* of root below the git root, with a '/' behind it; "" where they are the same */
	struct ignore *ignore; /* paths relative to the git root */
	struct tree_node top;
	struct tree_dir in_top;
	struct buf path;       /* scratch */
	uint64_t changes;
};

/* An ignore file that is missing, no regular file or too big has no rules. */
static void read_rules(struct tree *tree, const char *base, const char *file)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (fs_is_file(file) && fs_read_file(file, MAX_IGNORE_FILE, &text, &err) == 0)
		ignore_add(tree->ignore, base, text.data, text.len, false);
}

/* Appends the directory that holds info/exclude for this work tree: .git, or the common directory that a .git file
 * leads to. */
static void git_common_dir(const char *git_root, struct buf *out)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	char *git OWNED = path_joined(git_root, ".git");
	if (fs_is_dir(git) || fs_read_file(git, 8192, &text, &err) < 0 || !text_starts(text.data, "gitdir: ")) {
		buf_addstr(out, git);
		return;
	}
	text.data[strcspn(text.data, "\r\n")] = 0;
	char *dir OWNED = path_joined(git_root, text.data + strlen("gitdir: "));
	char *common_file OWNED = path_joined(dir, "commondir");
	struct buf common CLEANUP(buf_release) = BUF_INIT;
	if (fs_read_file(common_file, 8192, &common, &err) < 0) {
		buf_addstr(out, dir);
		return;
	}
	common.data[strcspn(common.data, "\r\n")] = 0;
	path_join(out, dir, common.data);
}

static void add_parent_rules(struct tree *tree, const char *git_root)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	git_common_dir(git_root, &path);
	buf_addstr(&path, "/info/exclude");
	read_rules(tree, "", path.data);

	char *base OWNED = mem_strdup(tree->prefix);
	for (char *at = base; (at = strchr(at, '/')) != NULL; at++) {
		*at = 0;
		char *above OWNED = mem_strdup(base);
		char *slash = strrchr(above, '/');
		if (slash != NULL)
			*slash = 0;
		else
			*above = 0;
		buf_reset(&path);
		buf_addf(&path, "%s/%s%s.gitignore", git_root, above, *above ? "/" : "");
		read_rules(tree, above, path.data);
		*at = '/';
	}
}

static void find_git_root(struct tree *tree)
{
	struct buf at CLEANUP(buf_release) = BUF_INIT;
	buf_addstr(&at, tree->root);
	for (;;) {
		char *git OWNED = path_joined(at.data, ".git");
		if (fs_exists(git)) {
			size_t skip = text_eq(at.data, "/") ? 1 : at.len + 1;
			tree->prefix =
				text_eq(at.data, tree->root) ? mem_strdup("") : mem_printf("%s/", tree->root + skip);
			add_parent_rules(tree, at.data);
			char *self OWNED = mem_strndup(tree->prefix, strlen(tree->prefix) - (*tree->prefix != 0));
			/* A project in a directory that the repository around it ignores is looked at by its own rules.
			 */
			if (*self == 0 || !ignore_match_with_parents(tree->ignore, self, true))
				return;
			free(tree->prefix);
			ignore_free(tree->ignore);
			tree->ignore = ignore_new();
			break;
		}
		if (text_eq(at.data, "/"))
			break;
		struct buf parent CLEANUP(buf_release) = BUF_INIT;
		path_dir(&parent, at.data);
		buf_setstr(&at, parent.data);
	}
	tree->prefix = mem_strdup("");
}

struct tree *tree_new(const char *root)
{
	struct tree *tree = mem_alloc(sizeof(*tree));
	tree->root = mem_strdup(root);
	tree->ignore = ignore_new();
	tree->top = (struct tree_node){.path = "", .name = "", .in = &tree->in_top, .is_dir = true};
	buf_init(&tree->path);
	find_git_root(tree);
	return tree;
}

static void drop_children(struct tree_node *node)
{
	if (node->in == NULL)
		return;
	for (size_t i = 0; i < node->in->len; i++)
		drop_children(node->in->at[i]);
	free(node->in->at);
	*node->in = (struct tree_dir){ .at = NULL };
	node->listed = false;
}

void tree_free(struct tree *tree)
{
	if (tree == NULL)
		return;
	drop_children(&tree->top);
	ignore_free(tree->ignore);
	free(tree->prefix);
	free(tree->root);
	buf_release(&tree->path);
	arena_release(&tree->arena);
	free(tree);
}

struct tree_node *tree_root(struct tree *tree)
{
	return &tree->top;
}

static bool never_listed(const char *name, bool is_dir)
{
	return text_eq(name, ".git") || (is_dir && (text_eq(name, ".mlmake") || text_eq(name, ".dvc")));
}

static struct tree_node *new_node(struct tree *tree, const struct tree_node *dir, const char *name, bool is_dir)
{
	struct tree_node *node = arena_alloc(&tree->arena, sizeof(*node));
	size_t prefix = strlen(tree->prefix), above = strlen(dir->path), len = strlen(name);
	/* As the ignore rules have it; the node's path is the end of that. */
	buf_reset(&tree->path);
	buf_add(&tree->path, tree->prefix, prefix);
	buf_add(&tree->path, dir->path, above);
	if (above > 0)
		buf_addch(&tree->path, '/');
	buf_add(&tree->path, name, len);
	node->path = arena_strndup(&tree->arena, tree->path.data + prefix, tree->path.len - prefix);
	node->name = node->path + above + (above > 0);
	node->is_dir = is_dir;
	node->in = is_dir ? arena_alloc(&tree->arena, sizeof(*node->in)) : NULL;
	node->ignored = dir->ignored || ignore_match(tree->ignore, tree->path.data, is_dir);
	return node;
}

static int compare_nodes(const void *a, const void *b)
{
	const struct tree_node *const *x = a, *const *y = b;
	return strcmp((*x)->name, (*y)->name);
}

static int is_directory(int dir_fd, const struct dirent *entry)
{
	struct stat st;
	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return sys.fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void add_child(struct tree_dir *dir, struct tree_node *child, size_t at)
{
	if (dir->len == dir->cap) {
		dir->cap = dir->cap ? 2 * dir->cap : 8;
		dir->at = mem_resize_array(dir->at, dir->cap, sizeof(*dir->at));
	}
	memmove(dir->at + at + 1, dir->at + at, (dir->len - at) * sizeof(*dir->at));
	dir->at[at] = child;
	dir->len++;
}

static void close_dir(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

static int cannot_list(const struct tree_node *node, const char *path, int number, struct err *err)
{
	err_set_errno(err, ERR_FAILED, number, "cannot list directory '%s'", *node->path ? node->path : path);
	return err_hint(err, "make it readable, or let .gitignore name it if it is no part of the project");
}

/* A directory that was written to a moment ago may be again within a tick of its times. */
static void take_stamp(struct tree_node *node, int fd)
{
	struct timespec now;
	struct stat st;
	node->in->stamp = (struct fs_stamp){ 0 };
	clock_gettime(CLOCK_REALTIME, &now);
	time_t old = now.tv_sec - RACY_SECONDS;
	if (sys.fstat(fd, &st) == 0 && st.st_mtim.tv_sec < old && st.st_ctim.tv_sec < old)
		fs_stamp_of(&node->in->stamp, &st);
}

int tree_list(struct tree *tree, struct tree_node *node, struct err *err)
{
	if (node->listed)
		return 0;
	char *path OWNED = path_joined(tree->root, node->path);
	char *base OWNED = mem_printf("%s%s", tree->prefix, node->path);
	size_t base_len = strlen(base);
	if (base_len > 0 && base[base_len - 1] == '/')
		base[base_len - 1] = 0;
	/* Rules of what is ignored as a whole say nothing; rules read twice say the same. */
	if (!node->ignored && (*base == 0 || !ignore_has(tree->ignore, base))) {
		char *rules OWNED = path_joined(path, ".gitignore");
		read_rules(tree, base, rules);
	}
	int fd = sys.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (*node->path ? O_NOFOLLOW : 0), 0);
	/* It is gone, or something else, since the directory above was listed: another mlmake may be making it. */
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		node->listed = true;
		return 0;
	}
	if (fd < 0)
		return cannot_list(node, path, errno, err);
	take_stamp(node, fd);
	DIR *dir CLEANUP(close_dir) = sys.fdopendir(fd);
	if (dir == NULL) {
		int number = errno;
		sys.close(fd);
		return cannot_list(node, path, number, err);
	}
	for (;;) {
		errno = 0;
		const struct dirent *entry = sys.readdir(dir);
		if (entry == NULL)
			break;
		bool is_dir = is_directory(fd, entry);
		if (text_eq(entry->d_name, ".") || text_eq(entry->d_name, "..") || never_listed(entry->d_name, is_dir))
			continue;
		add_child(node->in, new_node(tree, node, entry->d_name, is_dir), node->in->len);
	}
	if (errno != 0) {
		int number = errno;
		drop_children(node);
		return cannot_list(node, path, number, err);
	}
	if (node->in->len > 1)
		qsort(node->in->at, node->in->len, sizeof(struct tree_node *), compare_nodes);
	node->listed = true;
	return 0;
}

/* Where name is in dir, or where it would be. */
static bool find_child(const struct tree_node *dir, const char *name, size_t len, size_t *ret)
{
	size_t low = 0, high = dir->in->len;
	while (low < high) {
		size_t middle = (low + high) / 2;
		const char *at = dir->in->at[middle]->name;
		int order = strncmp(at, name, len);
		if (order == 0)
			order = at[len] != 0;
		if (order == 0) {
			*ret = middle;
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret = low;
	return false;
}

int tree_find(struct tree *tree, const char *path, struct tree_node **ret, struct err *err)
{
	struct tree_node *node = &tree->top;
	*ret = NULL;
	if (text_eq(path, "."))
		path = "";
	while (*path != 0) {
		size_t len = strcspn(path, "/"), at;
		if (!node->is_dir)
			return 0;
		if (tree_list(tree, node, err) < 0)
			return -1;
		if (!find_child(node, path, len, &at))
			return 0;
		node = node->in->at[at];
		path += len;
		path += *path == '/';
	}
	*ret = node;
	return 0;
}

void tree_recheck(struct tree *tree, struct tree_node *dir)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct fs_stamp now = { 0 };
	struct stat st;
	if (!dir->listed)
		return;
	path_join(&path, tree->root, dir->path);
	if (sys.fstatat(AT_FDCWD, path.data, &st, *dir->path ? AT_SYMLINK_NOFOLLOW : 0) == 0)
		fs_stamp_of(&now, &st);
	if (!dir->in->stamp.mode || !fs_stamp_same(&dir->in->stamp, &now)) {
		drop_children(dir);
		tree->changes++;
		return;
	}
	for (size_t i = 0; i < dir->in->len; i++)
		if (dir->in->at[i]->is_dir)
			tree_recheck(tree, dir->in->at[i]);
}

uint64_t tree_changes(const struct tree *tree)
{
	return tree->changes;
}

struct tree_node *tree_nearest(struct tree *tree, const char *path, bool *ret_exact)
{
	struct tree_node *node = &tree->top;
	if (text_eq(path, "."))
		path = "";
	while (*path != 0) {
		size_t len = strcspn(path, "/"), at;
		if (!node->listed || !find_child(node, path, len, &at))
			break;
		node = node->in->at[at];
		path += len;
		path += *path == '/';
	}
	*ret_exact = *path == 0;
	return node;
}

static void remove_child(struct tree_dir *dir, size_t at)
{
	drop_children(dir->at[at]);
	memmove(dir->at + at, dir->at + at + 1, (--dir->len - at) * sizeof(*dir->at));
}

int tree_pretend(struct tree *tree, const char *path, bool is_dir, struct err *err)
{
	struct tree_node *node = &tree->top;
	while (*path != 0) {
		size_t len = strcspn(path, "/"), at;
		bool last = path[len] == 0, dir_here = !last || is_dir;
		char *name OWNED = mem_strndup(path, len);
		if (tree_list(tree, node, err) < 0)
			return -1;
		bool found = find_child(node, path, len, &at);
		if (found && (last || !node->in->at[at]->is_dir)) {
			remove_child(node->in, at);
			found = false;
		}
		if (!found && never_listed(name, dir_here))
			return 0;
		if (!found) {
			add_child(node->in, new_node(tree, node, name, dir_here), at);
			node->in->at[at]->listed = true;
		}
		node = node->in->at[at];
		path += len + !last;
	}
	return 0;
}

int tree_refresh(struct tree *tree, const char *path, struct err *err)
{
	struct tree_node *dir = &tree->top;
	struct stat st;
	bool exists;
	for (;;) {
		size_t len = strcspn(path, "/"), at;
		if (!dir->listed)
			return 0;
		bool found = find_child(dir, path, len, &at);
		bool last = path[len] == 0 || path[len + 1] == 0;
		if (found && !last && dir->in->at[at]->is_dir) {
			dir = dir->in->at[at];
			path += len + 1;
			continue;
		}
		/* This entry is new, gone, or the one that was written. */
		char *name OWNED = mem_strndup(path, len);
		struct buf full CLEANUP(buf_release) = BUF_INIT;
		path_join(&full, tree->root, dir->path);
		buf_addf(&full, "/%s", name);
		if (fs_lstat(full.data, &st, &exists, err) < 0)
			return -1;
		if (found)
			remove_child(dir->in, at);
		if (exists && !never_listed(name, S_ISDIR(st.st_mode)))
			add_child(dir->in, new_node(tree, dir, name, S_ISDIR(st.st_mode)), at);
		return 0;
	}
}
