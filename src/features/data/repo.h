/*
 * An open data repository: what the files of this folder share.
 */
#ifndef FEATURES_DATA_REPO_H
#define FEATURES_DATA_REPO_H

#include "base/map.h"
#include "base/pool.h"
#include "base/vec.h"
#include "features/data/config.h"
#include "features/data/data.h"
#include "formats/ignore.h"
#include "store/odb.h"
#include "vcs/git.h"

struct hashes;
struct state;

struct data_repo {
	char *root;    /* absolute, normalised: holds .dvc */
	char *cwd;
	struct data_config config;
	struct odb odb;
	struct data_ui ui;
	uint64_t lock_wait_ms;
	int lock_fd;            /* -1: not held */
	unsigned lock_depth;
	struct ignore *ignore;  /* .dvcignore files read so far */
	struct map ignore_read; /* directories whose .dvcignore is in it */
	struct git_repo *git;   /* NULL: not opened yet, or none */
	bool git_tried;
	struct pool_aside git_opening; /* while git_begun: repo_git_begin's */
	bool git_begun;
	struct state *state;    /* NULL: not opened yet */
	struct hashes *hashes;  /* NULL: not opened yet */
	VEC(struct temp_dir) staging;
};

/* A given path (relative to the current directory, or absolute) relative to the root; "." for the root itself. ERR_CONFIG if it is outside. */
int repo_path(const struct data_repo *repo, const char *given, struct buf *ret, struct err *err) MUST_CHECK;

/* "<root>/<rel>", owned by the caller. */
char *repo_abs(const struct data_repo *repo, const char *rel);

/* *ret is NULL where there is no git, or core.no_scm. */
int repo_git(struct data_repo *repo, struct git_repo **ret, struct err *err) MUST_CHECK;
/* Starts to open it beside other work, which loads libgit2: for callers of repo_git in a while. */
void repo_git_begin(struct data_repo *repo);
/* A path of the root as git knows it: relative to git's work tree. */
int repo_git_path(struct data_repo *repo, const char *rel, struct buf *ret, struct err *err) MUST_CHECK;

/* Whether .dvcignore files leave rel out, or a parent of it. */
int repo_ignored(struct data_repo *repo, const char *rel, bool is_dir, bool *ret, struct err *err) MUST_CHECK;
/* Reads the .dvcignore of one directory (relative to the root, "" for the root) if it was not yet. */
int repo_ignore_enter(struct data_repo *repo, const char *dir, struct err *err) MUST_CHECK;

/* The digests of work-tree files. Nothing that was learnt is kept without the save. */
int repo_hashes(struct data_repo *repo, struct hashes **ret, struct err *err) MUST_CHECK;
int repo_save_hashes(struct data_repo *repo, struct err *err) MUST_CHECK;

/* .dvc/tmp/lock, the lock that dvc holds while it changes metadata. Nests. Waited for as long as asked; ERR_LOCKED names the holder. */
int repo_lock(struct data_repo *repo, struct err *err) MUST_CHECK;
void repo_unlock(struct data_repo *repo);

/* Any lock of that kind by its name below the root, waited for alike. It goes with *ret_fd. */
int repo_flock(struct data_repo *repo, const char *name, int *ret_fd, struct err *err) MUST_CHECK;
/* The command line of a process, as far as it can be known. */
void repo_add_command(long pid, struct buf *out);

/* That no component of rel below the root is a symbolic link or a file, the last one aside: nothing is written through links. */
int repo_check_parents(const struct data_repo *repo, const char *rel, struct err *err) MUST_CHECK;

/* An empty directory on the file system of the directory dir_rel, to build things in that are renamed later. It goes when the
 * repository is closed; those of dead processes are removed on the way. */
int repo_staging(struct data_repo *repo, const char *dir_rel, struct buf *ret, struct err *err) MUST_CHECK;

void repo_progress(const struct data_repo *repo, const char *verb, uint64_t done, uint64_t total, uint64_t bytes);
void repo_progress_of(const struct data_repo *repo, const struct data_progress *progress);
void repo_note(const struct data_repo *repo, const char *fmt, ...) PRINTF_LIKE(2, 3);
void repo_warn(const struct data_repo *repo, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
