/*
 * Objects to and from remotes.
 */
#ifndef FEATURES_DATA_TRANSFER_H
#define FEATURES_DATA_TRANSFER_H

#include "features/data/outs.h"
#include "net/remote.h"

/* name NULL: the default one. The arena outlives the remote. *ret_name, if it is asked for and not set yet, becomes the remote's name. */
int transfer_open_remote(struct data_repo *repo, const char *name, unsigned jobs, struct arena *arena, struct remote **ret, char **ret_name,
			 struct err *err) MUST_CHECK;

/* The same of one that may be version_aware (features/data/versions.h). */
int transfer_open_aware(struct data_repo *repo, const char *name, unsigned jobs, uint64_t limit_rate, struct arena *arena, struct remote **ret,
			char **ret_name, struct err *err) MUST_CHECK;

/* Lists what of the selection is not on its remote, or there with a wrong size, as status names it; and what could not be asked for. */
int transfer_find_not_in_remote(struct data_repo *repo, const struct selection *chosen, const struct data_status_options *options,
				struct data_status *ret, struct err *err) MUST_CHECK;

#endif
