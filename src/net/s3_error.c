#include "net/s3_error.h"

#include "base/text.h"
#include "net/http_answer.h"
#include "net/xml.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_SKEW_S 300
#define MAX_SHOWN 300

struct meaning {
	const char *code;
	enum s3_fault fault;
	const char *hint;
};

static const struct meaning meanings[] = {
	{ "SlowDown", S3_FAULT_TRANSIENT, "the server wants fewer requests: set a lower 'jobs' for the remote" },
	{ "InternalError", S3_FAULT_TRANSIENT, "the server is in trouble: try again later" },
	{ "ServiceUnavailable", S3_FAULT_TRANSIENT, "the server is in trouble: try again later" },
	{ "RequestTimeout", S3_FAULT_TRANSIENT, "the connection is too slow: set a lower 'jobs' for the remote" },
	{ "Throttling", S3_FAULT_TRANSIENT, "the server wants fewer requests: set a lower 'jobs' for the remote" },
	{ "ThrottlingException", S3_FAULT_TRANSIENT, "the server wants fewer requests: set a lower 'jobs' for the remote" },
	{ "RequestThrottled", S3_FAULT_TRANSIENT, "the server wants fewer requests: set a lower 'jobs' for the remote" },
	{ "OperationAborted", S3_FAULT_TRANSIENT, "another request changes the same thing: try again" },
	{ "RequestTimeTooSkewed", S3_FAULT_CLOCK, "this machine's clock is off: set it" },
	{ "PermanentRedirect", S3_FAULT_REGION, "set the remote's region to the bucket's" },
	{ "TemporaryRedirect", S3_FAULT_REGION, "set the remote's region to the bucket's" },
	{ "AuthorizationHeaderMalformed", S3_FAULT_REGION, "set the remote's region to the bucket's" },
	{ "IllegalLocationConstraintException", S3_FAULT_REGION, "set the remote's region to the bucket's" },
	{ "ExpiredToken", S3_FAULT_EXPIRED, "the session token has expired: sign in again" },
	{ "TokenRefreshRequired", S3_FAULT_EXPIRED, "the session token has expired: sign in again" },
	{ "ExpiredTokenException", S3_FAULT_EXPIRED, "the session token has expired: sign in again" },
	{ "InvalidToken", S3_FAULT_HOPELESS, "the session token belongs to other keys, or is not one" },
	{ "InvalidAccessKeyId", S3_FAULT_HOPELESS, "the server does not know this access key: check which credentials are used" },
	{ "XAdminUserNotFound", S3_FAULT_HOPELESS, "the server does not know this access key: check which credentials are used" },
	{ "SignatureDoesNotMatch", S3_FAULT_HOPELESS, "the secret key does not belong to the access key, or a proxy changes requests" },
	{ "NoSuchBucket", S3_FAULT_HOPELESS, "check the remote's url and endpointurl, or create the bucket" },
	{ "InvalidBucketName", S3_FAULT_HOPELESS, "check the remote's url" },
	{ "AccountProblem", S3_FAULT_HOPELESS, NULL },
	{ "AllAccessDisabled", S3_FAULT_HOPELESS, NULL },
	{ "QuotaExceeded", S3_FAULT_HOPELESS, "free space on the server" },
	{ "StorageFull", S3_FAULT_HOPELESS, "free space on the server" },
	{ "XMinioStorageFull", S3_FAULT_HOPELESS, "free space on the server" },
	{ "AccessDenied", S3_FAULT_REFUSED, NULL },
	{ "BadDigest", S3_FAULT_TRANSIENT, "the bytes that arrived are not those that were sent" },
	{ "XAmzContentSHA256Mismatch", S3_FAULT_TRANSIENT, "the bytes that arrived are not those that were sent" },
};

static const struct meaning *meaning_of(const char *code)
{
	for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
		if (strcmp(meanings[i].code, code) == 0)
			return &meanings[i];
	}
	return NULL;
}

static bool clock_is_off(const struct http_request *request)
{
	int64_t date = http_date(request), difference = date - (int64_t)time(NULL);
	return date && (difference > MAX_SKEW_S || difference < -MAX_SKEW_S);
}

static enum s3_fault judge_status(const struct s3_op *op)
{
	struct buf region CLEANUP(buf_release) = BUF_INIT;
	switch (op->request.ret_status) {
	case 408: case 429: case 500: case 502: case 503: case 504:
		return S3_FAULT_TRANSIENT;
	case 301: case 307: case 308:
		return S3_FAULT_REGION;
	case 400: /* a HEAD with another region's signature has no more than this to say */
		return http_header(&op->request, "x-amz-bucket-region", &region) ? S3_FAULT_REGION : S3_FAULT_REFUSED;
	case 403:
		return op->response.len == 0 && clock_is_off(&op->request) ? S3_FAULT_CLOCK : S3_FAULT_REFUSED;
	case 401:
		return S3_FAULT_HOPELESS;
	default:
		return S3_FAULT_REFUSED;
	}
}

/* Of an answer 404. One that is about something else must not be taken for a missing object. HEAD has no code. */
static bool means_absent(const char *code)
{
	return !*code || strcmp(code, "NoSuchKey") == 0 || strcmp(code, "NoSuchUpload") == 0 || strcmp(code, "NoSuchVersion") == 0;
}

/* A version that was deleted, a marker that says so, and an id that the server never gave: 404, 405 and 400. */
static bool means_version_gone(const struct s3_op *op, const char *code)
{
	struct buf region CLEANUP(buf_release) = BUF_INIT;
	unsigned status = op->request.ret_status;
	if (!op->versioned || (status != 400 && status != 405))
		return false;
	if (!*code)
		return status == 405 || !http_header(&op->request, "x-amz-bucket-region", &region);
	return strcmp(code, "InvalidArgument") == 0 || strcmp(code, "NoSuchVersion") == 0 || strcmp(code, "MethodNotAllowed") == 0 ||
	       strcmp(code, "InvalidVersionId") == 0;
}

enum s3_fault s3_judge(struct s3_op *op, struct buf *code)
{
	unsigned status = op->request.ret_status;
	bool good = status >= 200 && status < 300;
	buf_reset(code);
	op->ret_outcome = S3_FAILED;
	if (status == 0)
		return op->request.ret_transient ? S3_FAULT_TRANSIENT : op->request.ret_hopeless ? S3_FAULT_HOPELESS : S3_FAULT_REFUSED;
	/* CompleteMultipartUpload may say 200 and then fail. */
	bool is_error = !good || (!op->on_data && op->response.len < 16384 && strstr(op->response.data, "<Error"));
	if (is_error)
		xml_find(op->response.data, op->response.len, "Code", code);
	if (good && !is_error) {
		op->ret_outcome = S3_OK;
		return S3_FAULT_NONE;
	}
	const struct meaning *meaning = meaning_of(code->data);
	if (meaning && !(meaning->fault == S3_FAULT_REFUSED && status >= 500))
		return meaning->fault;
	if (status == 416 || status == 412 || (status == 404 && means_absent(code->data))) {
		op->ret_outcome = status == 404 ? S3_ABSENT : status == 416 ? S3_RANGE : S3_CHANGED;
		return S3_FAULT_NONE;
	}
	if (means_version_gone(op, code->data)) {
		op->ret_outcome = S3_ABSENT;
		return S3_FAULT_NONE;
	}
	return good ? S3_FAULT_TRANSIENT : judge_status(op);
}

static void explain_answer(struct s3_op *op, const char *code, const struct s3_names *names)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct buf field CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&text, "the remote '%s' answered %s of %s with status %u", names->remote, op->method, op->key ? op->key : names->bucket,
		 op->request.ret_status);
	if (*code) {
		buf_addstr(&text, ", ");
		text_add_printable(&text, code, MAX_SHOWN);
	}
	if (xml_find(op->response.data, op->response.len, "Message", &field) && field.len) {
		buf_addstr(&text, ": ");
		text_add_printable(&text, field.data, MAX_SHOWN);
	}
	/* A HEAD has it in a header alone. */
	if ((xml_find(op->response.data, op->response.len, "RequestId", &field) && field.len) ||
	    http_header(&op->request, "x-amz-request-id", &field)) {
		buf_addstr(&text, " (request ");
		text_add_printable(&text, field.data, MAX_SHOWN);
		buf_addch(&text, ')');
	}
	err_set(&op->ret_err, ERR_NET, "%s", text.data);
}

static void explain_redirect(struct s3_op *op)
{
	struct buf location CLEANUP(buf_release) = BUF_INIT;
	struct buf shown CLEANUP(buf_release) = BUF_INIT;
	if (http_header(&op->request, "location", &location))
		text_add_printable(&shown, location.data, MAX_SHOWN);
	err_hint(&op->ret_err, "%s%s%scheck the remote's region and endpointurl", shown.len ? "that leads to " : "", shown.data,
		 shown.len ? ", which is not followed: " : "");
}

void s3_explain(struct s3_op *op, const char *code, const struct s3_names *names)
{
	if (op->request.ret_status == 0) {
		err_move(&op->ret_err, &op->request.ret_err);
		err_note(&op->ret_err, "while talking to the remote '%s'", names->remote);
		return;
	}
	explain_answer(op, code, names);
	unsigned status = op->request.ret_status;
	const struct meaning *meaning = meaning_of(code);
	if (meaning && meaning->hint)
		err_hint(&op->ret_err, "%s", meaning->hint);
	else if ((status == 401 || status == 403) && !names->credentials)
		err_hint(&op->ret_err, "the remote is asked without keys (allow_anonymous_login), and the bucket '%s' does not let everybody do this",
			 names->bucket);
	else if (status == 401 || status == 403)
		err_hint(&op->ret_err, "check that the credentials (from %s) may do this to the bucket '%s', and this machine's clock%s",
			 names->credentials, names->bucket,
			 names->customer_key ? ", and the remote's sse_customer_key" :
			 strcmp(op->method, "HEAD") == 0 ? "; to those who may not list it (s3:ListBucket), S3 says this of what is not there, too" : "");
	else if (status >= 500)
		err_hint(&op->ret_err, "the server is in trouble: try again later%s", status == 503 ? ", or set a lower 'jobs' for the remote" : "");
	else if (status >= 300 && status < 400)
		explain_redirect(op);
	else if (status == 400 && strcmp(code, "InvalidRequest") == 0 && strstr(op->response.data, "Encryption"))
		err_hint(&op->ret_err, "what is there was encrypted otherwise: check the remote's sse_customer_key");
	else if ((status == 400 || status == 405) && !*code)
		err_hint(&op->ret_err, "is %s an S3 server?", names->endpoint);
}
