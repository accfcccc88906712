/*
 * What source.c and source_get.c share.
 */
#ifndef FEATURES_DATA_SOURCE_INTERNAL_H
#define FEATURES_DATA_SOURCE_INTERNAL_H

#include "features/data/source.h"
#include "net/remote.h"
#include "store/tempdir.h"
#include "vcs/git_mirror.h"
#include "vcs/git_revs.h"

struct source_project {
	char *prefix;              /* the directory that holds its .dvc, relative to git's top; "" */
	bool is_here;              /* a directory of this machine: its cache can be read */
	struct data_config config;
	struct outs outs;
};

/* An opened remote, or the cache of a project, which has the layout of one. */
struct source_place {
	const struct source_project *project;
	char *name;                /* NULL: the cache */
	struct remote *remote;
};

struct source {
	struct data_repo *repo;    /* ours; NULL */
	const struct data_ui *ui;
	char *url;
	char *root;                /* of the directory; of a copy of a repository elsewhere, some path that nothing is at */
	bool is_here;
	struct git_mirror mirror;
	struct git_repo *git;      /* NULL: none */
	bool owns_git;
	char commit[GIT_HEX];
	char *prefix;              /* of the root in git, "" */
	char *chosen_remote;       /* NULL */
	struct git_entries entries;
	struct data_repo *tree;    /* SOURCE_TREE of a data repository */
	struct ignore *ignore;     /* .dvcignore files */
	VEC(struct source_project *) projects;
	VEC(struct source_place) places;
	struct arena arena;
	struct temp_dir temp;
	unsigned temp_next;
};

/* The members of a directory, its manifest taken from wherever it is. */
int source_manifest(struct source *source, const struct source_file *top, const char *name, struct dvc_dir *ret, struct err *err) MUST_CHECK;
void source_drop_places(struct source *source);

#endif
