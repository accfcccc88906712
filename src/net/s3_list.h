/*
 * ListObjectsV2, page after page.
 *
 *     struct s3_lister lister;
 *     s3_lister_start(&lister, s3, "files/md5/", 0, visit, on_done, ctx);     many may run at once
 *     ... on_done(ctx, &lister); s3_lister_release(&lister);
 */
#ifndef NET_S3_LIST_H
#define NET_S3_LIST_H

#include "net/s3.h"

struct s3_lister;
/* name is below the remote's prefix; modified_s is 0 where the server does not say. Returns -1 with err to stop. */
typedef int s3_list_fn(void *ctx, const char *name, uint64_t size, int64_t modified_s, struct err *err);
typedef void s3_listed_fn(void *ctx, struct s3_lister *lister);

struct s3_lister {
	struct s3 *s3;
	char *prefix; /* in the bucket */
	size_t skip;  /* of every key: the remote's own prefix */
	unsigned max_pages;
	s3_list_fn *visit;
	s3_listed_fn *done;
	void *ctx;
	struct s3_op op;
	struct buf last; /* the last name seen */
	struct buf etag; /* of the object that is visited, as the server writes it */
	struct buf mark; /* a token of some pages ago: one that comes again comes for ever */

	/* Results */
	unsigned ret_pages;
	bool ret_more;      /* max_pages were read and there are more */
	int ret_status;     /* -1: ret_err */
	struct err ret_err;
};

/* max_pages 0: all. A prefix that does not exist lists as empty. Names that are not below the prefix end the listing with an error. */
void s3_lister_start(struct s3_lister *lister, struct s3 *s3, const char *prefix, unsigned max_pages, s3_list_fn *visit,
		     s3_listed_fn *done, void *ctx);
void s3_lister_release(struct s3_lister *lister);

#endif
