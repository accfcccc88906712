/*
 * Every output that the .dvc files of a repository record, and those of the stages that dvc.yaml and dvc.lock say.
 *
 *     struct outs outs CLEANUP(outs_release) = OUTS_INIT;
 *     outs_load(repo, &outs, err);
 *     struct selection chosen CLEANUP(selection_release) = SELECTION_INIT;
 *     outs_select(repo, &outs, paths, count, &chosen, err);
 */
#ifndef FEATURES_DATA_OUTS_H
#define FEATURES_DATA_OUTS_H

#include "features/data/repo.h"
#include "formats/dvcdir.h"
#include "formats/dvcfile.h"

struct tracked {
	char *path;                /* relative to the root, normalised, below it */
	char *dvc_path;            /* of its .dvc or dvc.yaml, relative to the root */
	const struct dvc_out *out; /* in the file */
	bool is_import;            /* from another repository: never pushed */
	bool has_source;           /* an import of any kind */
	const struct dvc_dep *source; /* of an import: what its content is known by there; NULL: no import */
	char *stage;               /* of dvc.yaml: its record is dvc's alone to write; NULL: it has a .dvc */
};

struct broken_file {
	char *dvc_path;
	struct err err;
};

struct outs {
	VEC(struct tracked) list; /* sorted by path */
	VEC(struct dvc_file) files;
	VEC(struct broken_file) broken; /* .dvc files that cannot be read */
	bool everything; /* set before loading, for those who ask what content is in use: stages that dvc.yaml does not name any more,
			  * too, wherever they lead */
};
#define OUTS_INIT { .list = { 0 } }

/* Directories that are outputs, ignored by .dvcignore or by git, or repositories of their own are not searched. A .dvc file that
 * cannot be read is kept in broken, and no error. Two files with one output, or one inside another, are: ERR_CONFIG. */
int outs_load(struct data_repo *repo, struct outs *ret, struct err *err) MUST_CHECK;
void outs_release(struct outs *outs);

/* The same, as a commit has it. What is outside of this repository's root or in a nested one is left out; overlaps are no error. */
int outs_load_commit(struct data_repo *repo, const char *commit, struct outs *ret, struct err *err) MUST_CHECK;

/* The same of any git repository; root_in_git is the directory that holds .dvc, "." for the top. */
int outs_load_git(struct git_repo *git, const char *commit, const char *root_in_git, struct outs *ret, struct err *err) MUST_CHECK;

/* In pieces, for those who find the records elsewhere: any number of takes, then one sort. dir is that of the record. outs_take takes
 * over what is in file. */
void outs_take(struct outs *outs, const char *dir, const char *dvc_path, const char *stage, struct dvc_file *file);
/* yaml_text NULL: every stage. */
void outs_take_lock(struct outs *outs, const char *dir, const char *lock_text, size_t lock_len, const char *yaml_text, size_t yaml_len);
void outs_take_broken(struct outs *outs, const char *dvc_path, struct err *why);
void outs_sort(struct outs *outs);

/* The output that is rel or contains it; NULL if none. */
const struct tracked *outs_find(const struct outs *outs, const char *rel);

/* The messages of the broken ones that paths reach (no paths: all), one line each. */
void outs_add_broken(const struct data_repo *repo, const struct outs *outs, const char *const *paths, size_t count,
		     struct strlist *ret);

/* Outputs that paths mean: an output, its .dvc, a dvc.yaml or a stage ("train", "sub/dvc.yaml:train"), something below an output (sub is that part then), or a directory that contains
 * outputs. No paths: all. ERR_CONFIG for a path that means nothing, and the error of a broken .dvc that is meant. */
struct selected {
	const struct tracked *tracked;
	char *sub; /* NULL: all of it */
};
struct selection {
	VEC(struct selected) list;
};
#define SELECTION_INIT { .list = { 0 } }
int outs_select(const struct data_repo *repo, const struct outs *outs, const char *const *paths, size_t count, struct selection *ret,
		struct err *err) MUST_CHECK;
void selection_release(struct selection *selection);

/* Whether the member lies in what was selected. */
bool selected_covers(const struct selected *selected, const char *member);

struct odb_id tracked_id(const struct tracked *tracked);
/* Of its files: DIGEST_MD5, or DIGEST_MD5_DOS2UNIX where DVC 2 recorded it. */
enum digest_kind tracked_kind(const struct tracked *tracked);

/* An import whose content is not recorded (--no-download). */
bool tracked_is_partial(const struct tracked *tracked);
/* What stands for its content where states are compared, as in dvc: the md5 at the source; where that gives an etag or a checksum, a digest that no
 * content has. False if nothing is known of it either. */
bool tracked_describe_partial(const struct tracked *tracked, struct dvc_out *ret);

/* That the output can be handled here: has a hash, its own or those of the files that are listed in its .dvc. */
int tracked_check_supported(const struct tracked *tracked, struct err *err) MUST_CHECK;

/* A manifest of the cache by its id, in pieces, without its text in memory. shown_as names it in errors (ERR_DATA). */
int dvc_manifest_read(struct data_repo *repo, const struct odb_id *id, const char *shown_as, struct dvc_dir *ret, struct err *err) MUST_CHECK;
/* Whether its bytes are those that its name says, whatever they mean. *damage, where they are not, says why. */
bool dvc_manifest_is_intact(struct data_repo *repo, const struct odb_id *id, struct err *damage);

/* The manifest of a directory, from the cache or its record. ERR_DATA if it is absent or damaged, or the .dvc's size and count contradict it. */
int tracked_read_manifest(struct data_repo *repo, const struct tracked *tracked, struct dvc_dir *ret, struct err *err) MUST_CHECK;
/* Makes the manifest of a directory whose files are listed in its .dvc an object like that of any other. */
int tracked_keep_manifest(struct data_repo *repo, const struct tracked *tracked, struct err *err) MUST_CHECK;

#endif
