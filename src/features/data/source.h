/*
 * Another repository to take data from: a directory of this machine, or a git repository elsewhere (vcs/git_mirror.h). It may be a data
 * repository, hold several, or be plain git. Nothing of it is executed and nothing is written to it. Of the config that its git holds only
 * what says where data is counts (config_load_foreign); paths that lead out of it are refused.
 *
 *     struct source *source;
 *     source_open(repo, &ui, "https://example.com/models.git", "v1.0", SOURCE_COMMIT, &source, err);
 *     source_list(source, "data/raw", SOURCE_FILES, &files, err);
 *     ... source_get(source, wants, count, err), source_blob(source, file, &bytes, err) ...
 *     source_files_release(&files);
 *     source_close(source);
 */
#ifndef FEATURES_DATA_SOURCE_H
#define FEATURES_DATA_SOURCE_H

#include "features/data/outs.h"

struct source;

/* A revision, the default branch's or HEAD's where none is named; or with SOURCE_TREE and no revision, a directory as it is now. */
enum source_mode { SOURCE_COMMIT, SOURCE_TREE };

/* repo: the one to bring data to, whose cache is asked first; NULL: none. url: a path is relative to the current directory. */
int source_open(struct data_repo *repo, const struct data_ui *ui, const char *url, const char *rev, enum source_mode mode,
		struct source **ret, struct err *err) MUST_CHECK;
void source_close(struct source *source);
const char *source_commit(const struct source *source); /* 40 hex digits; "" in SOURCE_TREE */
/* The remote to take data from instead of the default one. */
void source_set_remote(struct source *source, const char *name);
/* ERR_CONFIG if no data repository there has it. */
int source_check_remote(const struct source *source, const char *name, struct err *err) MUST_CHECK;

enum source_kind { SOURCE_OBJECT, SOURCE_BLOB, SOURCE_PATH };
struct source_project;
struct source_file {
	char *rel;                             /* below what was asked for; "" if that is a file itself */
	enum source_kind kind;
	struct odb_id id;                      /* SOURCE_OBJECT; of SOURCE_FILES never a directory */
	const struct source_project *project;  /* SOURCE_OBJECT */
	const char *pinned;                    /* SOURCE_OBJECT: the remote of the output; NULL */
	char *at;                              /* SOURCE_BLOB: its name in git; SOURCE_PATH: absolute */
	bool exec, has_size;
	bool member;                           /* SOURCE_OBJECT: of a data directory */
	uint64_t size;
};
struct source_files {
	VEC(struct source_file) list; /* sorted by rel */
	bool is_dir;
};

/* What is at path: git's files, but no .dvc files and the like, and data. SOURCE_FILES: the files alone, members of data directories included.
 * SOURCE_TOPS: data directories below path stand for their members, so that no manifest is needed. SOURCE_RECORDS, besides: .dvc files and the like,
 * too. SOURCE_EMPTY, besides: data directories without files. ERR_CONFIG if there is nothing. */
enum source_depth { SOURCE_FILES, SOURCE_TOPS, SOURCE_RECORDS, SOURCE_EMPTY = 4 };
int source_list(struct source *source, const char *path, unsigned depth, struct source_files *ret, struct err *err) MUST_CHECK;
void source_files_release(struct source_files *files);

/* Objects to new files, verified, from the cache of the source or its remote. ERR_DATA names the first that is nowhere. */
struct source_want {
	const struct source_file *file;
	const char *path; /* must not exist; gets mode 0600 */
	bool done;
};
int source_get(struct source *source, struct source_want *wants, size_t count, struct err *err) MUST_CHECK;

/* Where the object lies on the source's remote, as people give it to others. */
int source_url(struct source *source, const struct source_file *file, struct buf *ret, struct err *err) MUST_CHECK;

int source_blob(struct source *source, const struct source_file *file, struct buf *ret, struct err *err) MUST_CHECK;

#endif
