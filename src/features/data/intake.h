/*
 * Content on its way into the cache from anywhere else than the work tree, file by file; at the end it is one object, or a
 * directory's manifest and its members.
 *
 *     struct intake intake CLEANUP(intake_release) = INTAKE_INIT;
 *     intake_source(&intake, repo, source, &files, err);
 *     intake_finish(&intake, repo, err);              intake.id, .size, .nfiles say what it is
 */
#ifndef FEATURES_DATA_INTAKE_H
#define FEATURES_DATA_INTAKE_H

#include "base/map.h"
#include "features/data/source.h"

struct intake {
	bool is_dir;
	struct dvc_dir dir;
	struct digest file; /* where it is no directory */
	uint64_t size;      /* of all files */
	size_t nfiles;
	struct odb_id id;   /* by intake_finish */
	struct map renamed; /* what a source of DVC 2 had: its hex to the digest that it got */
};
#define INTAKE_INIT { .dir = DVC_DIR_INIT }

/* What is in the list, members of data directories included: what the cache has not is fetched. */
int intake_source(struct intake *intake, struct data_repo *repo, struct source *source, const struct source_files *files, struct err *err)
	MUST_CHECK;

/* A file that is in the cache now; rel "" where it is all there is. */
void intake_add(struct intake *intake, const char *rel, const struct digest *md5, uint64_t size);

/* The manifest of a directory goes into the cache. */
int intake_finish(struct intake *intake, struct data_repo *repo, struct err *err) MUST_CHECK;
void intake_release(struct intake *intake);

/* Fills what an output records of it. */
void intake_describe(const struct intake *intake, struct dvc_out *out);

#endif
