/*
 * The headers that a remote's options add to requests: encryption, access rights, who pays.
 *
 * Names and rules are those of botocore and dvc: sse, sse_kms_key_id, sse_customer_algorithm, sse_customer_key (base64 of the key itself),
 * acl or grant_*. docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
 */
#ifndef NET_S3_HEADERS_H
#define NET_S3_HEADERS_H

#include "base/vec.h"
#include "net/remote.h"

/* What a request does, as far as headers are concerned. */
enum s3_use {
	S3_USE_OTHER,
	S3_USE_CREATE, /* PUT of an object, the start of a multipart upload */
	S3_USE_PART,   /* a part of an upload */
	S3_USE_READ,   /* GET, HEAD */
	S3_USE_COUNT
};

struct s3_headers {
	struct strlist of[S3_USE_COUNT]; /* "name: value", names in lower case */
	bool customer_key; /* they hold an sse_customer_key */
};

/* ERR_CONFIG for options that exclude each other or are not what they must be. */
int s3_headers_make(const struct remote_spec *spec, struct s3_headers *ret, struct err *err) MUST_CHECK;
/* Wipes and frees. */
void s3_headers_release(struct s3_headers *headers);

void s3_base64(struct buf *out, const uint8_t *bytes, size_t len);

#endif
