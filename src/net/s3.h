/*
 * Requests to one S3 bucket: addressed, signed, retried, their errors explained.
 *
 *     struct s3 *s3;
 *     s3_open(&spec, loop, &s3, err);
 *     s3_ready(s3, err);                           finds credentials
 *     struct s3_op op = S3_OP_INIT;
 *     op.method = "GET"; op.key = "files/md5/ab/cd"; op.on_data = ...; op.done = ...;
 *     s3_start(s3, &op);                           done(&op) is called from a later loop_step
 *     s3_op_release(&op);
 *
 * Tried again, up to 5 times (AWS_MAX_ATTEMPTS) within 30 s and with growing pauses: no connection, a broken or silent one, and the
 * answers 408, 429, 500, 502, 503, 504, SlowDown and the like; Retry-After is honoured. Mended once and tried again: another region, a
 * clock that is off (the server's Date is taken), credentials that expired. Credentials that are about to expire are renewed before the
 * next request; that waits for whoever gives them out.
 */
#ifndef NET_S3_H
#define NET_S3_H

#include "net/http.h"
#include "net/remote.h"
#include "net/s3_headers.h"

enum s3_outcome {
	S3_OK,           /* 2xx */
	S3_ABSENT,       /* 404: no such key or upload */
	S3_RANGE,        /* 416: the object ends before the range */
	S3_CHANGED,      /* 412: no longer what If-Match says */
	S3_FAILED,       /* ret_err */
};

struct s3;
struct s3_op {
	/* Set by the caller, valid until done. */
	const char *method;
	const char *key;         /* of the object, not encoded; NULL: the bucket itself */
	struct strlist query;    /* "name=value", encoded */
	struct strlist headers;  /* "name: value", names in lower case */
	const void *body;        /* see struct http_request */
	int body_fd;
	uint64_t body_at, body_len;
	enum s3_use use;         /* which of the remote's headers go with it */
	const char *payload_hash; /* sha256 of the body in hex. NULL: of a body in memory it is computed, a file's is not signed */
	http_data_fn *on_body;   /* request->ctx is the op */
	http_data_fn *on_data;
	size_t response_max;     /* of what is collected in response; 0: 64 KiB */
	bool versioned;          /* asks for one version of the object (query has its id): what means that it is gone is S3_ABSENT */
	bool bulk;
	unsigned patience;       /* as in net/http.h */
	bool (*on_try)(struct s3_op *op); /* before each try: start over. false with request.ret_err set: give up. NULL is fine */
	void (*done)(struct s3_op *op);
	void *ctx;

	/* Results */
	enum s3_outcome ret_outcome;
	struct err ret_err;
	bool ret_hopeless;       /* other requests will fare no better: the bucket, the credentials or the server are at fault */
	struct buf response;     /* the body of an answer without on_data, or of an error */
	struct http_request request; /* for http_header */

	/* Of s3.c */
	struct s3 *s3;
	char *url;
	struct strlist sent_headers;
	struct loop_timer *timer;
	unsigned tries, generation, credentials_generation;
	bool mended_region, mended_clock, mended_credentials;
	bool refused;            /* a HEAD that is asked again as a GET, whose answer says why */
	bool asked_why;          /* once is enough */
	uint64_t first_try_ms, moving_ms; /* how much of the time since then bytes moved: it is no time of trouble */
};
#define S3_OP_INIT { .body_fd = -1, .response = BUF_INIT, .request = HTTP_REQUEST_INIT }

/* url is s3://bucket[/prefix]. Nothing is sent yet. */
int s3_open(const struct remote_spec *spec, struct loop *loop, struct s3 **ret, struct err *err) MUST_CHECK;
void s3_free(struct s3 *s3);

/* Finds credentials, or renews those that expire soon. Before a batch of requests. */
int s3_ready(struct s3 *s3, struct err *err) MUST_CHECK;

/* The key of an object below the url's prefix: "prefix/name". Owned by the caller. */
char *s3_key(const struct s3 *s3, const char *name);
/* Objects over this many bytes go in parts, of so many: the profile's s3.multipart_threshold and s3.multipart_chunksize, as the
 * aws command reads them; else 64 and 16 MiB up, 24 and 8 MiB down, where a second processor hashes what is there. A server takes no part below 5 MiB but the last, so that uploads use no smaller ones. */
uint64_t s3_multipart_threshold(const struct s3 *s3, bool put);
uint64_t s3_multipart_chunksize(const struct s3 *s3, bool put);
/* Server, bucket and prefix, as configured. */
const char *s3_name(const struct s3 *s3);     /* the remote's */
const char *s3_place(const struct s3 *s3);
unsigned s3_connections(const struct s3 *s3); /* the most at once */
uint64_t s3_slowdowns(const struct s3 *s3);   /* answers so far that asked for fewer requests */
bool s3_is_at_limit(const struct s3 *s3);     /* of its rate: nothing more should be started now */

void s3_start(struct s3 *s3, struct s3_op *op);
void s3_cancel(struct s3_op *op);
/* Starts it and steps the loop until it is done; -1 with err where the outcome is S3_FAILED. */
int s3_run(struct s3 *s3, struct s3_op *op, struct err *err) MUST_CHECK;
/* Frees what the op holds; it is as S3_OP_INIT then. */
void s3_op_release(struct s3_op *op);

#endif
