/*
 * What lies at an S3 address, with the etags that tell one state of it from another.
 */
#ifndef NET_S3_TREE_H
#define NET_S3_TREE_H

#include "base/vec.h"
#include "net/remote.h"

struct s3_entry {
	char *name;    /* below the address; "" for an object there itself */
	char *etag;    /* without quotes */
	uint64_t size;
};
struct s3_tree {
	VEC(struct s3_entry) list;
	bool is_file;
};

/* spec->url is the address. Nothing there: an empty list. */
int s3_tree_read(const struct remote_spec *spec, struct s3_tree *ret, struct err *err) MUST_CHECK;
void s3_tree_release(struct s3_tree *tree);

#endif
