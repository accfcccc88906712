/*
 * Objects to and from remotes.
 */
#ifndef FEATURES_DATA_TRANSFER_H
#define FEATURES_DATA_TRANSFER_H

#include "features/data/outs.h"

/* Lists what of the selection is not on its remote, or there with a wrong size, as status names it. */
int transfer_find_not_in_remote(struct data_repo *repo, const struct selection *chosen, const struct data_status_options *options,
				struct strlist *ret, struct err *err) MUST_CHECK;

#endif
