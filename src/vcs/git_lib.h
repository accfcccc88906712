/*
 * libgit2, loaded on first use; for src/vcs/git*.c only. The only includer of git2.h.
 */
#ifndef VCS_GIT_LIB_H
#define VCS_GIT_LIB_H

#include "vcs/git.h"

#include <git2.h>

/* Every function of libgit2 that is used. */
#define LIBGIT2_FUNCTIONS(X)             \
	X(git_blob_free)                 \
	X(git_blob_lookup)               \
	X(git_blob_rawcontent)           \
	X(git_blob_rawsize)              \
	X(git_buf_dispose)               \
	X(git_commit_free)               \
	X(git_commit_lookup)             \
	X(git_commit_time)               \
	X(git_commit_tree)               \
	X(git_commit_tree_id)            \
	X(git_config_free)               \
	X(git_config_get_path)           \
	X(git_config_iterator_free)      \
	X(git_config_iterator_new)       \
	X(git_config_next)               \
	X(git_config_open_default)       \
	X(git_diff_free)                 \
	X(git_diff_get_delta)            \
	X(git_diff_num_deltas)           \
	X(git_diff_tree_to_index)        \
	X(git_diff_tree_to_tree)         \
	X(git_diff_index_to_workdir)     \
	X(git_diff_tree_to_workdir_with_index) \
	X(git_error_last)                \
	X(git_ignore_path_is_ignored)    \
	X(git_index_add_all)             \
	X(git_index_add_bypath)          \
	X(git_index_entrycount)          \
	X(git_index_find_prefix)         \
	X(git_index_free)                \
	X(git_index_get_byindex)         \
	X(git_index_get_bypath)          \
	X(git_index_has_conflicts)       \
	X(git_index_open)                \
	X(git_index_path)                \
	X(git_index_read)                \
	X(git_index_remove_bypath)       \
	X(git_index_remove_directory)    \
	X(git_index_write)               \
	X(git_libgit2_init)              \
	X(git_libgit2_opts)              \
	X(git_merge_base)                \
	X(git_object_free)               \
	X(git_object_id)                 \
	X(git_object_peel)               \
	X(git_oid_fromstr)               \
	X(git_oid_tostr)                 \
	X(git_reference_free)            \
	X(git_reference_iterator_free)   \
	X(git_reference_iterator_new)    \
	X(git_reference_lookup)          \
	X(git_reference_name)            \
	X(git_reference_name_to_id)      \
	X(git_reference_next)            \
	X(git_reference_peel)            \
	X(git_reference_symbolic_target) \
	X(git_reference_type)            \
	X(git_repository_commondir)      \
	X(git_repository_config)         \
	X(git_repository_free)           \
	X(git_repository_index)          \
	X(git_repository_open_ext)       \
	X(git_repository_path)           \
	X(git_repository_set_workdir)    \
	X(git_repository_workdir)        \
	X(git_revparse_single)           \
	X(git_revwalk_free)              \
	X(git_revwalk_new)               \
	X(git_revwalk_next)              \
	X(git_revwalk_push)              \
	X(git_tree_entry_byindex)        \
	X(git_tree_entry_bypath)         \
	X(git_tree_entry_filemode)       \
	X(git_tree_entry_free)           \
	X(git_tree_entry_id)             \
	X(git_tree_entry_name)           \
	X(git_tree_entrycount)           \
	X(git_tree_free)                 \
	X(git_tree_lookup)               \
	X(git_tree_walk)

struct libgit2 {
#define X(name) __typeof__(&(name)) name;
	LIBGIT2_FUNCTIONS(X)
#undef X
	char *failure; /* why it could not be loaded; NULL if it was */
};

/* Written once, by the first git_lib_need; read only after. */
extern struct libgit2 git_lib;

/* Loads it. ERR_FAILED if it cannot be. */
int git_lib_need(struct err *err) MUST_CHECK;

/* "<doing>: <libgit2's words>". Returns -1. */
int git_lib_err(struct err *err, const char *doing);

struct git_repo {
	git_repository *repo;
	git_index *index; /* NULL until asked for */
	char *worktree;   /* NULL if bare */
	char *common_dir;
	char *index_path;
	bool foreign_index; /* GIT_INDEX_FILE names another index than the repository's own */
};

#endif
