/*
 * Bringing the work tree to what .dvc files record.
 */
#ifndef FEATURES_DATA_CHECKOUT_H
#define FEATURES_DATA_CHECKOUT_H

#include "features/data/outs.h"
#include "features/data/walk.h"

/* One out's checkout, for callers that hold it in the rwlock. Adds to ret; damaged objects' ids go to damaged (may be NULL). */
struct damaged_ids {
	VEC(struct odb_id) list;
};
int checkout_one(struct data_repo *repo, const struct selected *selected, const struct data_checkout_options *options,
		 struct data_checkout_report *ret, struct damaged_ids *damaged, struct err *err) MUST_CHECK;

/* Whether a second copy of so many bytes, made while they are verified, is likely to spare a checkout of rel the copying: *ret_path is where to make it
 * then, in staging. It is for odb_offer. Nothing is promised by it: the checkout looks at the work tree as ever, and renames only what it has then. */
bool checkout_prepare(struct data_repo *repo, const char *rel, uint64_t size, struct buf *ret_path);

/* Replaces the walk's files by links of the configured type to their objects, which must be there. */
int checkout_relink(struct data_repo *repo, const struct walk *walk, struct err *err) MUST_CHECK;

#endif
