/*
 * Tracked data of any revision, without a checkout.
 */
#ifndef FEATURES_DATA_BROWSE_H
#define FEATURES_DATA_BROWSE_H

#include "features/data/outs.h"

/* The outputs of the work tree (rev NULL) or of a revision. */
int browse_outs(struct data_repo *repo, const char *rev, struct outs *ret, struct err *err) MUST_CHECK;

/* Makes sure that the cache has the object, from the output's remote if need be; a damaged manifest there is replaced. ERR_DATA if it
 * is nowhere. name is for messages. */
int browse_need(struct data_repo *repo, const struct tracked *tracked, const struct odb_id *id, const char *name, struct err *err)
	MUST_CHECK;

/* The manifest, fetched if need be. */
int browse_manifest(struct data_repo *repo, const struct tracked *tracked, struct dvc_dir *ret, struct err *err) MUST_CHECK;

/* Where something with that name goes (out NULL: here; in a directory if it is one), absolute, and an empty directory beside it to make
 * it in, which is the caller's to remove. */
int browse_target(const char *cwd, const char *out, const char *name, struct buf *ret_target, struct buf *ret_staging, struct err *err)
	MUST_CHECK;
/* Puts what was made there; with force over a file. */
int browse_place(const char *got, const char *target, bool force, struct err *err) MUST_CHECK;

#endif
