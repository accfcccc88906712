/*
 * What `add` records of a path once its content is in the cache: the .dvc file, the line in .gitignore, git's index.
 */
#ifndef FEATURES_DATA_RECORD_H
#define FEATURES_DATA_RECORD_H

#include "features/data/outs.h"

struct record {
	char *path;     /* the output, relative to the root */
	char *dvc_path;
	struct odb_id id;
	bool has_size;
	uint64_t size;
	uint64_t nfiles;
	bool exec;
};

/* Writes .gitignore first, so that git never sees the data as new. *ret_changed: whether the .dvc did. Adds the files that changed to
 * to_stage; *ret_staged: they are in the index already. */
int record_write(struct data_repo *repo, const struct record *record, bool *ret_changed, struct strlist *to_stage, bool *ret_staged,
		 struct err *err) MUST_CHECK;

/* The parts of it: the line of an output in the .gitignore beside it, which comes and goes; a .gitignore that became empty is removed.
 * Changed files are added to to_stage. */
int record_ignore(struct data_repo *repo, const char *path, struct strlist *to_stage, struct err *err) MUST_CHECK;
int record_unignore(struct data_repo *repo, const char *path, struct strlist *to_stage, struct err *err) MUST_CHECK;
/* With core.autostage, puts files into git's index and empties the list. */
int record_stage(struct data_repo *repo, struct strlist *to_stage, struct err *err) MUST_CHECK;

/* Refuses a path that cannot be an output: not data, or overlapping with other outputs than owner (NULL: none). */
int record_check_place(const struct outs *outs, const char *rel, const struct tracked *owner, struct err *err) MUST_CHECK;
/* Refuses what .dvcignore leaves out. */
int record_check_not_ignored(struct data_repo *repo, const char *rel, bool is_dir, struct err *err) MUST_CHECK;
/* Refuses an output that git tracks. */
int record_check_git(struct data_repo *repo, const char *path, struct err *err) MUST_CHECK;

/* Appends a name as a pattern of .gitignore that matches it alone. */
void gitignore_escape(struct buf *out, const char *name);

#endif
