/*
 * What of the cache a remote has, too, so that the cache may lose it (gc --not-in-remote).
 */
#ifndef FEATURES_DATA_GC_REMOTE_H
#define FEATURES_DATA_GC_REMOTE_H

#include "features/data/repo.h"
#include "net/remote.h"

struct gc_copy {
	struct odb_id id;
	uint64_t size;
	bool ret_there;
};

/* Each object there is read and hashed, since what has the name may be junk, and the cache's copy be the last; that takes room beside the cache for
 * some of them at a time. quick: only their sizes are compared, and their ETags where those are md5s. What is damaged or could not be read counts as
 * not there, and is named; a remote that cannot be reached is an error. */
int gc_find_copies(struct data_repo *repo, struct remote *remote, struct gc_copy *copies, size_t count, bool quick, struct strlist *ret_damaged,
		   struct strlist *ret_unread, struct err *err) MUST_CHECK;

#endif
