/*
 * What is staged, as files: a persistent tree in <project>/.mlmake/hook/tree.
 *
 * The index's blobs are written there, only those that changed since the last time (by blob, mode and the file's stamp, so that what a
 * command changed in the tree is put right). Submodules are links to those of the work tree. The tree is a git repository of its own, with
 * the real one's objects, HEAD and a copy of the index: commands that ask git see what is staged, and cannot change the real one.
 * What no commit holds and checks need is lent to it (features/hook/lend.h).
 *
 * <project>/.mlmake/hook/manifest says what was written; it is absent while the tree is being changed, and without it the tree is made anew.
 */
#ifndef FEATURES_HOOK_TREE_H
#define FEATURES_HOOK_TREE_H

#include "base/buf.h"
#include "base/err.h"
#include "vcs/git.h"

/* base: absolute path of .mlmake/hook, which exists; the caller holds a lock on it. Appends the tree's top to ret_top. */
int hook_tree_update(struct git_repo *repo, const char *base, struct buf *ret_top, struct err *err) MUST_CHECK;

#endif
