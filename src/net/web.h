/*
 * Requests to one place on a web or WebDAV server: addressed, authenticated, retried, their errors explained.
 *
 *     struct web *web;
 *     web_open(&spec, loop, &web, err);            spec.url: http://, https://, webdav://, webdavs://
 *     struct web_op op = WEB_OP_INIT;
 *     op.method = "GET"; op.key = "files/md5/ab/cd"; op.on_data = ...; op.done = ...;
 *     web_start(web, &op);                         done(&op) is called from a later loop_step
 *     web_op_release(&op);
 *
 * Tried again, up to 5 times within 30 s and with growing pauses: no connection, a broken or silent one, and the answers 408, 429, 500, 502, 503,
 * 504; Retry-After is honoured. Redirects of GET and HEAD are followed, up to 10; what logs in is sent to the remote's own host alone.
 */
#ifndef NET_WEB_H
#define NET_WEB_H

#include "net/http.h"
#include "net/remote.h"

enum web_outcome {
	WEB_OK,       /* 2xx */
	WEB_ABSENT,   /* 404, 410 */
	WEB_CONFLICT, /* 409: the collection above it does not exist (RFC 4918) */
	WEB_UNABLE,   /* 405, 501: the server does not know this method here */
	WEB_FAILED,   /* ret_err */
};

struct web;
struct web_op {
	/* Set by the caller, valid until done. */
	const char *method;
	const char *key;         /* below the remote's root, not encoded; "": the root */
	bool of_host;            /* key is a path of the server instead, encoded: "/a" */
	const char *to_key;      /* MOVE: the new name; NULL */
	struct strlist headers;  /* "Name: value" */
	const char *body;        /* see struct http_request */
	int body_fd;
	uint64_t body_len;
	http_data_fn *on_body;   /* request->ctx is the op */
	http_data_fn *on_data;
	size_t response_max;     /* 0: 64 KiB */
	bool bulk;
	bool (*on_try)(struct web_op *op); /* before each try: start over. false with request.ret_err set: give up */
	void (*done)(struct web_op *op);
	void *ctx;

	/* Results */
	enum web_outcome ret_outcome;
	struct err ret_err;
	bool ret_hopeless;       /* other requests will fare no better */
	struct buf response;
	struct http_request request;

	/* Of web.c */
	struct web *web;
	struct buf url;
	struct strlist sent_headers;
	struct loop_timer *timer;
	unsigned tries, redirects;
	uint64_t first_try_ms, moving_ms; /* how much of the time since then bytes moved: it is no time of trouble */
};
#define WEB_OP_INIT { .body_fd = -1, .response = BUF_INIT, .request = HTTP_REQUEST_INIT, .url = BUF_INIT }

int web_open(const struct remote_spec *spec, struct loop *loop, struct web **ret, struct err *err) MUST_CHECK;
void web_free(struct web *web);

const char *web_place(const struct web *web); /* the url, without user and password */
const char *web_path(const struct web *web);  /* of the root: "/a/b", as it is sent; no '/' at its end */
bool web_is_dav(const struct web *web);
const char *web_upload_method(const struct web *web);
unsigned web_connections(const struct web *web);
bool web_is_at_limit(const struct web *web);

void web_start(struct web *web, struct web_op *op);
/* Starts it and steps the loop until it is done; -1 with err where the outcome is WEB_FAILED. */
int web_run(struct web *web, struct web_op *op, struct err *err) MUST_CHECK;
/* Ends it and frees what it holds; it is as WEB_OP_INIT then. */
void web_op_release(struct web_op *op);

#endif
