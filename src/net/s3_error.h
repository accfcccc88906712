/*
 * What an S3 server's refusal means. For s3.c.
 */
#ifndef NET_S3_ERROR_H
#define NET_S3_ERROR_H

#include "net/s3.h"

enum s3_fault {
	S3_FAULT_NONE,        /* an outcome other than S3_FAILED */
	S3_FAULT_TRANSIENT,   /* try again after a pause */
	S3_FAULT_REGION,      /* the bucket is elsewhere */
	S3_FAULT_CLOCK,       /* our clock is off */
	S3_FAULT_EXPIRED,     /* credentials ran out */
	S3_FAULT_HOPELESS,    /* other requests will be refused as well */
	S3_FAULT_REFUSED,     /* this one is refused */
};

/* Judges the answer in op->request and op->response; sets ret_outcome. code gets the server's error code, "" if none. */
enum s3_fault s3_judge(struct s3_op *op, struct buf *code);

/* Fills op->ret_err. who describes remote and credentials for hints. */
struct s3_names {
	const char *remote, *bucket, *endpoint;
	bool customer_key;       /* the remote has an sse_customer_key */
	const char *credentials; /* where they are from; NULL: none are to be used */
};
void s3_explain(struct s3_op *op, const char *code, const struct s3_names *names);

#endif
