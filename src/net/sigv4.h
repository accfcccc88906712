/*
 * AWS Signature Version 4: the headers that authenticate one request.
 *
 *     struct sigv4 signer = { .access_key = ..., .secret_key = ..., .region = "eu-west-1", .service = "s3" };
 *     struct sigv4_input input = { .method = "GET", .host = "b.s3.eu-west-1.amazonaws.com", .path = "/a%20b", ... };
 *     sigv4_sign(&signer, &input, &headers);          headers gains x-amz-date, authorization, ...
 *
 * Format: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html. S3 takes the path as it is sent; other services
 * sign it encoded once more (encode_path_again).
 */
#ifndef NET_SIGV4_H
#define NET_SIGV4_H

#include "base/buf.h"
#include "base/vec.h"

#include <time.h>

#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"
#define SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* Borrowed strings, and the derived key of the day, which is kept while they stay the same; zero the struct's key_date when the
 * secret or region changes. */
struct sigv4 {
	const char *access_key, *secret_key;
	const char *session_token; /* NULL if none */
	const char *region, *service;
	bool encode_path_again;
	bool payload_header; /* send x-amz-content-sha256, as S3 wants */
	char key_date[9];
	uint8_t key[32];
};

struct sigv4_input {
	const char *method;
	const char *host;              /* as in the Host header: with the port unless it is the scheme's own */
	const char *path;              /* encoded, starts with '/' */
	const struct strlist *query;   /* "name=value", both encoded, in any order; NULL: none */
	const struct strlist *headers; /* "name: value", names in lower case: all of them are signed; NULL: none */
	const char *payload_hash;      /* sha256 in hex, or SIGV4_UNSIGNED */
	time_t now;
};

/* Appends "name: value" lines to out; copies of input->headers are not among them. */
void sigv4_sign(struct sigv4 *signer, const struct sigv4_input *input, struct strlist *out);

/* Appends text with all but A-Z a-z 0-9 - . _ ~ as %XX; '/' too unless keep_slash. */
void sigv4_encode(struct buf *out, const char *text, bool keep_slash);

#endif
