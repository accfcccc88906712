/*
 * The work tree as mlmake sees it: each directory listed once, on first use, with what git ignores marked. Reads .gitignore files from
 * the git root down and .git/info/exclude by itself: no libgit2.
 *
 *     struct tree *tree = tree_new(root);
 *     const struct tree_node *src;
 *     if (tree_find(tree, "src/a.py", &node, err) < 0) ...   node is NULL if there is no such file
 *
 * Nodes and their paths live as long as the tree; a node's children are valid until tree_refresh.
 * Symbolic links are leaves. Never listed: .git, .mlmake and .dvc directories.
 */
#ifndef GRAPH_TREE_H
#define GRAPH_TREE_H

#include "base/err.h"
#include "base/fs.h"

struct tree;
struct tree_node {
	const char *path;            /* relative to the root; "" is the root */
	const char *name;            /* its last part */
	struct tree_dir *in;         /* NULL: not a directory */
	bool is_dir;
	bool ignored;                /* by git, itself or a directory above */
	bool listed;
};
/* What is in a directory. */
struct tree_dir {
	struct fs_stamp stamp;       /* of the directory when it was listed; mode 0 if it may have changed since without a trace */
	struct tree_node **at;       /* sorted by name */
	size_t len, cap;
};

struct tree *tree_new(const char *root);
void tree_free(struct tree *tree);

struct tree_node *tree_root(struct tree *tree);

/* path is normalised and relative; "." and "" are the root. What is missing, or lies in a directory that is not listed, gives NULL. */
int tree_find(struct tree *tree, const char *path, struct tree_node **ret, struct err *err) MUST_CHECK;

/* Lists a directory if that was not done yet. One that disappeared is empty, one that may not be read is an error. */
int tree_list(struct tree *tree, struct tree_node *dir, struct err *err) MUST_CHECK;

/* Directories in which something came or went since they were listed, dir or below it, are listed anew when they are next asked for. */
void tree_recheck(struct tree *tree, struct tree_node *dir);

/* How often directories were found changed: where it is what it was, nothing came or went since that any tree_recheck has found. */
uint64_t tree_changes(const struct tree *tree);

/* The node that path has, or that of the nearest directory above it, without listing any: *ret_exact tells which. */
struct tree_node *tree_nearest(struct tree *tree, const char *path, bool *ret_exact);

/* Looks at path again, and at all that is below it when that is next asked for. */
int tree_refresh(struct tree *tree, const char *path, struct err *err) MUST_CHECK;

/* From now on path is an empty directory, or a file, whatever is there, and the directories above it are there. */
int tree_pretend(struct tree *tree, const char *path, bool is_dir, struct err *err) MUST_CHECK;

#endif
