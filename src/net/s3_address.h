/*
 * Where a bucket is: the server, and how the bucket is named to it. For s3.c.
 */
#ifndef NET_S3_ADDRESS_H
#define NET_S3_ADDRESS_H

#include "net/aws_profile.h"
#include "net/remote.h"

struct s3_address {
	char *bucket, *prefix;    /* prefix without '/' at its ends */
	char *region;
	char *endpoint;           /* "https://host:port", no '/' at its end; NULL: AWS, by region */
	bool virtual_host;        /* the bucket is part of the host name */
	bool no_ssl;
	char *base, *host, *path; /* scheme and host; the host alone; what stands before the key, encoded: made of the above */
	unsigned generation;      /* changes with them */
};

/* remote: its name, for messages. */
int s3_address_make(const struct remote_spec *spec, const struct aws_profile *profile, const char *remote, struct s3_address *ret,
		    struct err *err) MUST_CHECK;
/* The bucket is in another region than was thought. */
void s3_address_go_to(struct s3_address *address, const char *region);
void s3_address_release(struct s3_address *address);

/* Whether it could be the name of one; it becomes part of a host name. */
bool s3_region_is_sane(const char *region);

#endif
