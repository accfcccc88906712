/*
 * Which commit and branch are checked out, from git's own files: HEAD, the branch's file, packed-refs (gitrepository-layout(5), git-pack-refs(1)).
 * What is read is seen by a witness (base/witness.h), and libgit2 need not be loaded, so that a configuration that says ${git.sha} costs no more
 * to remember than another.
 *
 *     git_head_read(root, &sha, &branch, &known);
 *     if (!known) ... git_open, git_head_commit, git_head_branch
 *
 * Known is only what is ordinary: a .git of one's own above root, or one that a linked worktree's .git file names, refs as files. Not known:
 * GIT_DIR or GIT_CEILING_DIRECTORIES set, a repository of somebody else's, reftables, SHA-256, HEAD as a link, anything that cannot be read or is
 * damaged; libgit2 then says what is wrong, if anything is.
 */
#ifndef VCS_GIT_HEAD_H
#define VCS_GIT_HEAD_H

#include "base/buf.h"

/* root: absolute. Appends 40 hexadecimal digits (nothing on a branch without commits, or where there is no repository) and the branch's name below
 * refs/heads (nothing when detached). Nothing is appended, and *ret_known is false, where libgit2 has to be asked. */
void git_head_read(const char *root, struct buf *ret_sha, struct buf *ret_branch, bool *ret_known);

#endif
