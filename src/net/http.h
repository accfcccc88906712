/*
 * HTTP requests, many at once, on libcurl's multi interface and the event loop of base/loop.h.
 *
 *     struct http *http;
 *     http_new(&config, loop, &http, err);
 *     struct http_request request = HTTP_REQUEST_INIT;
 *     request.method = "GET";
 *     request.url = url;
 *     request.response = &body;
 *     request.response_max = 1 << 20;
 *     request.done = on_done;
 *     http_start(http, &request);               on_done(&request) is called from a later loop_step
 *     ...
 *     http_request_release(&request);
 *     http_free(http);
 *
 * Connections are kept alive and reused. TLS is verified. Redirects are not followed: a 3xx is an answer like any
 * other. Proxies come from the usual environment variables. Error texts hold neither queries nor headers.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/vec.h"

/* Who we are, where headers of requests do not say it. The strings are kept by the caller until http_free. */
struct http_identity {
	const char *digest_user, *digest_password; /* log in by digest (RFC 7616); NULL */
	const char *certificate, *certificate_key; /* of this client, PEM files; NULL */
};

struct http_config {
	const char *ca_bundle;       /* NULL: AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE, or libcurl's own */
	bool no_verify;              /* trust any server */
	bool no_proxy;               /* ignore the environment's proxies (metadata services of this machine) */
	unsigned connections;        /* kept open at most; 0: 8 */
	unsigned connect_timeout_ms; /* 0: 5 s */
	uint64_t limit_rate;         /* bytes of bodies a second, of all transfers together; 0: any */
	unsigned idle_timeout_s;     /* a transfer that moves nothing for so long fails; 0: 15 s */
	struct http_identity identity;
};

struct http;
struct http_request;

/* bytes of a body with status 2xx, in order. Returns false to end the transfer, with request->ret_err set. It must not
 * start or cancel requests. */
typedef bool http_data_fn(struct http_request *request, const void *bytes, size_t len);
/* Called once, not from within http_start; may start further requests, this one included. */
typedef void http_done_fn(struct http_request *request);

struct http_request {
	/* Set by the caller, valid until done is called. */
	const char *method;
	const char *url;
	const struct strlist *headers; /* "Name: value"; NULL: none */
	const void *body;              /* body_len bytes in memory, or NULL */
	int body_fd;                   /* or body_len bytes of this file from body_at; -1 */
	uint64_t body_at;
	uint64_t body_len;
	http_data_fn *on_body;         /* sees every byte read from body_fd before it is sent; NULL */
	struct buf *response;          /* gets the body; NULL: dropped. Bodies of other statuses than 2xx go here too, cut at response_max */
	size_t response_max;           /* a 2xx body over this is an error */
	http_data_fn *on_data;         /* gets a 2xx body instead */
	bool bulk;                     /* megabytes are expected: larger buffers */
	unsigned patience;             /* how many times the client's idle timeout this may take; 0: 1 */
	http_done_fn *done;
	void *ctx;

	/* Results. ret_status 0: no whole answer came, ret_err says why and ret_transient whether trying again makes sense. */
	unsigned ret_status;
	uint64_t ret_moving_ms; /* from its start until bytes moved last: what came later was waiting in vain */
	bool ret_transient;
	bool ret_hopeless;      /* nor will any other request to this server be answered: its certificate, an address that is none */
	struct err ret_err;
	struct buf ret_headers; /* "name: value\n" lines of the last answer */

	struct http_transfer *transfer; /* while it runs */
};
#define HTTP_REQUEST_INIT { .body_fd = -1, .ret_headers = BUF_INIT }

int http_new(const struct http_config *config, struct loop *loop, struct http **ret, struct err *err) MUST_CHECK;
/* Whether so much was moved that the rate allows no more at this moment. Bodies that are streamed wait by themselves; what is sent from memory
 * goes out at once, and whoever starts it should ask here first. */
bool http_is_at_limit(const struct http *http);
/* Drops what still runs, without calling done. */
void http_free(struct http *http);

/* Results of an earlier use are reset. Failures, too, arrive through done. */
void http_start(struct http *http, struct http_request *request);
/* For how long nothing of a running request has moved, to within a quarter of a second; 0 while it waits for the rate, or does not run. */
uint64_t http_idle_ms(const struct http_request *request, uint64_t now_ms);
/* Ends a running request without calling done; one that does not run is left alone. */
void http_cancel(struct http_request *request);
/* Starts the request and steps the loop until it is done. -1 with err if no answer came; any status is an answer. done and ctx are used by this. */
int http_run(struct http *http, struct http_request *request, struct err *err) MUST_CHECK;

/* The value of a header of the answer, without surrounding blanks; NULL if absent. Valid until the next call with
 * the same buf. */
const char *http_header(const struct http_request *request, const char *name, struct buf *value);

void http_request_release(struct http_request *request);

#endif
