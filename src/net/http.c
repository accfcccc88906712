#include "net/http.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/sys.h"
#include "net/curl_table.h"
#include "net/http_explain.h"
#include "net/http_rate.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>

#define DEFAULT_CONNECTIONS 8
#define DEFAULT_CONNECT_TIMEOUT_MS 5000
#define DEFAULT_IDLE_TIMEOUT_S 15
#define WATCH_EVERY_MS 250
#define SPARE_CONNECTIONS 16 /* beyond those asked for, so that a request for a listing or a part's end never waits */
#define MAX_HEADERS (64 * 1024)
#define BULK_BUFFER (256L * 1024)

/* One easy handle and, while it is in use, its request. */
struct http_transfer {
	struct http *http;
	CURL *easy;
	struct http_request *request; /* NULL: idle */
	struct curl_slist *headers;
	uint64_t body_sent;
	bool paused;  /* until the rate allows more */
	bool refused; /* one of our callbacks ended it, and ret_err says why */
	int64_t moved; /* bytes that came or were taken by the other side, when last looked at */
	uint64_t moved_ms, started_ms;
	char error[CURL_ERROR_SIZE];
	struct http_transfer *next; /* of the idle ones */
};

struct http {
	struct curl_table curl;
	struct loop *loop;
	CURLM *multi;
	struct loop_timer *timer;
	struct loop_timer *watch;
	size_t running;
	VEC(struct http_transfer *) transfers;
	struct http_transfer *idle;
	char *ca_bundle;
	char *ca_directory;
	bool no_verify;
	bool no_proxy;
	unsigned connect_timeout_ms;
	unsigned idle_timeout_s;
	struct http_identity identity;
	struct http_rate rate;
	struct loop_timer *resume; /* of what waits for the rate */
};

static void step(struct http *http, curl_socket_t fd, int events);

/* The event loop under libcurl. */

static void on_socket_event(void *ctx, int fd, uint32_t events)
{
	int mask = (events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		   (events & EPOLLERR ? CURL_CSELECT_ERR : 0);
	step(ctx, fd, mask);
}

static void on_timer(void *ctx)
{
	struct http *http = ctx;
	http->timer = NULL;
	step(http, CURL_SOCKET_TIMEOUT, 0);
}

static int watch_socket(CURL *easy UNUSED, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct http *http = ctx;
	struct loop_source *source = socket_ctx;
	if (what == CURL_POLL_REMOVE) {
		if (source)
			loop_remove_fd(http->loop, source);
		http->curl.multi_assign(http->multi, fd, NULL);
		return 0;
	}
	uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) | (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
	if (source) {
		loop_change_fd(http->loop, source, events);
		return 0;
	}
	source = loop_add_fd(http->loop, fd, events, on_socket_event, http);
	http->curl.multi_assign(http->multi, fd, source);
	return source ? 0 : -1;
}

static int set_timer(CURLM *multi UNUSED, long timeout_ms, void *ctx)
{
	struct http *http = ctx;
	if (http->timer)
		loop_remove_timer(http->loop, http->timer);
	http->timer = timeout_ms < 0 ? NULL : loop_add_timer(http->loop, (uint64_t)timeout_ms, on_timer, http);
	return 0;
}

/* What libcurl calls while a transfer runs. */

static bool refuse(struct http_transfer *transfer)
{
	transfer->refused = true;
	return false;
}

/* The rate. */

bool http_is_at_limit(const struct http *http)
{
	return http_rate_is_spent(&http->rate, loop_now_ms());
}

static void resume_paused(void *ctx)
{
	struct http *http = ctx;
	bool waiting = false;
	http->resume = NULL;
	for (size_t i = 0; i < http->transfers.len; i++) {
		struct http_transfer *transfer = http->transfers.at[i];
		if (!transfer->request || !transfer->paused)
			continue;
		if (http_is_at_limit(http)) {
			waiting = true;
			continue;
		}
		transfer->paused = false;
		http->curl.easy_pause(transfer->easy, CURLPAUSE_CONT);
	}
	if (waiting && !http->resume)
		http->resume = loop_add_timer(http->loop, HTTP_RATE_TICK_MS, resume_paused, http);
}

/* Counts bytes of a body; false if it has to wait before it moves them. */
static bool may_move(struct http_transfer *transfer, size_t len)
{
	struct http *http = transfer->http;
	if (http_rate_take(&http->rate, len, loop_now_ms()))
		return true;
	transfer->paused = true;
	if (!http->resume)
		http->resume = loop_add_timer(http->loop, HTTP_RATE_TICK_MS, resume_paused, http);
	return false;
}

static size_t send_body(char *to, size_t size, size_t count, void *ctx)
{
	struct http_transfer *transfer = ctx;
	struct http_request *request = transfer->request;
	uint64_t left = request->body_len - transfer->body_sent;
	size_t want = size * count < left ? size * count : (size_t)left;
	if (want == 0)
		return 0;
	if (!may_move(transfer, want))
		return CURL_READFUNC_PAUSE;
	ssize_t got = sys.pread(request->body_fd, to, want, (off_t)(request->body_at + transfer->body_sent));
	if (got <= 0) {
		if (got < 0)
			err_set_errno(&request->ret_err, ERR_FAILED, errno, "cannot read the file that is sent");
		else
			err_set(&request->ret_err, ERR_DATA, "the file that is sent became shorter meanwhile");
		refuse(transfer);
		return CURL_READFUNC_ABORT;
	}
	transfer->body_sent += (uint64_t)got;
	if (request->on_body && !request->on_body(request, to, (size_t)got)) {
		refuse(transfer);
		return CURL_READFUNC_ABORT;
	}
	return (size_t)got;
}

static size_t receive_header(char *bytes, size_t size, size_t count, void *ctx)
{
	struct http_transfer *transfer = ctx;
	struct http_request *request = transfer->request;
	size_t len = size * count;
	if (len > 5 && memcmp(bytes, "HTTP/", 5) == 0) {
		buf_reset(&request->ret_headers);
		return len;
	}
	if (request->ret_headers.len + len > MAX_HEADERS) {
		err_set(&request->ret_err, ERR_NET, "the server sent more than %d bytes of headers", MAX_HEADERS);
		refuse(transfer);
		return 0;
	}
	size_t text = len;
	while (text > 0 && (bytes[text - 1] == '\n' || bytes[text - 1] == '\r'))
		text--;
	if (text > 0) {
		buf_add(&request->ret_headers, bytes, text);
		buf_addch(&request->ret_headers, '\n');
	}
	return len;
}

static bool receive(struct http_transfer *transfer, const char *bytes, size_t len)
{
	struct http_request *request = transfer->request;
	long status = 0;
	transfer->http->curl.easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	bool good = status >= 200 && status < 300;
	if (good && request->on_data)
		return request->on_data(request, bytes, len);
	if (!request->response)
		return true;
	size_t room = request->response_max - request->response->len;
	if (good && len > room) {
		err_set(&request->ret_err, ERR_NET, "the server sent more than %zu bytes where less was due", request->response_max);
		return false;
	}
	buf_add(request->response, bytes, len < room ? len : room);
	return true;
}

static size_t receive_body(char *bytes, size_t size, size_t count, void *ctx)
{
	struct http_transfer *transfer = ctx;
	if (!may_move(transfer, size * count))
		return CURL_WRITEFUNC_PAUSE;
	if (receive(transfer, bytes, size * count))
		return size * count;
	refuse(transfer);
	return 0;
}

/* Setting up a transfer. */

static const char *ca_bundle_of_env(void)
{
	static const char *const names[] = { "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = getenv(names[i]);
		if (value && *value)
			return value;
	}
	return NULL;
}

static void set_always(struct http *http, struct http_transfer *transfer)
{
	struct curl_table *curl = &http->curl;
	CURL *easy = transfer->easy;
	curl->easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl->easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
	curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl->easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
	curl->easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl->easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)http->connect_timeout_ms);
	curl->easy_setopt(easy, CURLOPT_USERAGENT, "mlmake/" MLMAKE_VERSION);
	curl->easy_setopt(easy, CURLOPT_READFUNCTION, send_body);
	curl->easy_setopt(easy, CURLOPT_READDATA, transfer);
	curl->easy_setopt(easy, CURLOPT_HEADERFUNCTION, receive_header);
	curl->easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive_body);
	curl->easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	if (http->no_proxy)
		curl->easy_setopt(easy, CURLOPT_PROXY, "");
	if (http->no_verify) {
		curl->easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl->easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (http->identity.digest_user) {
		curl->easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_DIGEST);
		curl->easy_setopt(easy, CURLOPT_USERNAME, http->identity.digest_user);
		curl->easy_setopt(easy, CURLOPT_PASSWORD, http->identity.digest_password);
	}
	if (http->identity.certificate)
		curl->easy_setopt(easy, CURLOPT_SSLCERT, http->identity.certificate);
	if (http->identity.certificate_key)
		curl->easy_setopt(easy, CURLOPT_SSLKEY, http->identity.certificate_key);
	if (http->ca_bundle)
		curl->easy_setopt(easy, CURLOPT_CAINFO, http->ca_bundle);
	if (http->ca_directory)
		curl->easy_setopt(easy, CURLOPT_CAPATH, http->ca_directory);
}

/* A body in memory goes out as POSTFIELDS whatever the method: libcurl then sends it in one piece with the headers. */
static void set_method(struct http *http, CURL *easy, const struct http_request *request)
{
	struct curl_table *curl = &http->curl;
	const char *method = request->method;
	if (strcmp(method, "HEAD") == 0) {
		curl->easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return;
	}
	if (request->body_fd >= 0) {
		curl->easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl->easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_len);
	} else if (request->body || strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0) {
		curl->easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
		curl->easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
	}
	curl->easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

static void add_header(struct http_transfer *transfer, const char *line)
{
	struct curl_slist *longer = transfer->http->curl.slist_append(transfer->headers, line);
	if (longer)
		transfer->headers = longer;
}

static void set_request(struct http *http, struct http_transfer *transfer, struct http_request *request)
{
	struct curl_table *curl = &http->curl;
	CURL *easy = transfer->easy;
	curl->easy_reset(easy);
	set_always(http, transfer);
	set_method(http, easy, request);
	curl->easy_setopt(easy, CURLOPT_URL, request->url);
	if (request->bulk) {
		curl->easy_setopt(easy, CURLOPT_BUFFERSIZE, BULK_BUFFER);
		curl->easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, BULK_BUFFER);
	}
	/* What libcurl would add by itself: a wait for "100 Continue" and the type of a form. */
	add_header(transfer, "Expect:");
	add_header(transfer, "Content-Type:");
	for (size_t i = 0; request->headers && i < request->headers->len; i++)
		add_header(transfer, request->headers->at[i]);
	curl->easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	transfer->body_sent = 0;
	transfer->refused = transfer->paused = false;
	if (request->body_fd < 0)
		http_rate_charge(&http->rate, request->body_len);
	transfer->error[0] = '\0';
}

static struct http_transfer *transfer_take(struct http *http)
{
	struct http_transfer *transfer = http->idle;
	if (transfer) {
		http->idle = transfer->next;
		return transfer;
	}
	transfer = mem_alloc(sizeof(*transfer));
	transfer->http = http;
	transfer->easy = http->curl.easy_init();
	if (!transfer->easy)
		mem_exhausted();
	vec_push(&http->transfers, transfer);
	return transfer;
}

/* Detaches the request and makes the handle idle. */
static void transfer_give_back(struct http_transfer *transfer)
{
	struct http *http = transfer->http;
	http->curl.multi_remove_handle(http->multi, transfer->easy);
	http->curl.slist_free_all(transfer->headers);
	transfer->headers = NULL;
	transfer->request->transfer = NULL;
	transfer->request = NULL;
	transfer->next = http->idle;
	http->idle = transfer;
	http->running--;
}

/* Results. */

static void finish(struct http_transfer *transfer, CURLcode code)
{
	struct http_request *request = transfer->request;
	request->ret_moving_ms = transfer->moved_ms - transfer->started_ms;
	if (code == CURLE_OK) {
		long status = 0;
		transfer->http->curl.easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
		request->ret_status = (unsigned)status;
	} else if (!transfer->refused) {
		http_explain(request, code, transfer->error[0] ? transfer->error : transfer->http->curl.easy_strerror(code));
	}
	transfer_give_back(transfer);
	request->done(request);
}

/* libcurl's own low-speed limit averages over several seconds and takes what lies in the socket's buffer as sent. */
static int64_t bytes_moved(struct http_transfer *transfer)
{
	const struct curl_table *curl = &transfer->http->curl;
	curl_off_t up = 0, down = 0;
	long headers = 0, request = 0;
	curl_socket_t fd = CURL_SOCKET_BAD;
	int queued = 0;
	curl->easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	curl->easy_getinfo(transfer->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	curl->easy_getinfo(transfer->easy, CURLINFO_HEADER_SIZE, &headers);
	curl->easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &request);
	curl->easy_getinfo(transfer->easy, CURLINFO_ACTIVESOCKET, &fd);
	if (fd != CURL_SOCKET_BAD && ioctl(fd, SIOCOUTQ, &queued) < 0)
		queued = 0;
	return (int64_t)up + (int64_t)down + headers + request - queued;
}

static bool is_stuck(struct http_transfer *transfer, uint64_t now)
{
	const struct http_request *request = transfer->request;
	unsigned idle = transfer->http->idle_timeout_s * (request->patience ? request->patience : 1);
	int64_t moved = bytes_moved(transfer);
	if (moved != transfer->moved || transfer->paused) {
		transfer->moved = moved;
		transfer->moved_ms = now;
	}
	if (now - transfer->moved_ms < 1000ull * idle)
		return false;
	snprintf(transfer->error, sizeof(transfer->error), "nothing came for %u s", idle);
	return true;
}

static void look_at_transfers(void *ctx)
{
	struct http *http = ctx;
	uint64_t now = loop_now_ms();
	http->watch = loop_add_timer(http->loop, WATCH_EVERY_MS, look_at_transfers, http);
	for (size_t i = 0; i < http->transfers.len; i++) {
		struct http_transfer *transfer = http->transfers.at[i];
		if (transfer->request && is_stuck(transfer, now))
			finish(transfer, CURLE_OPERATION_TIMEDOUT);
	}
	if (http->running == 0 && http->watch) {
		loop_remove_timer(http->loop, http->watch);
		http->watch = NULL;
	}
}

static void step(struct http *http, curl_socket_t fd, int events)
{
	int running, queued;
	http->curl.multi_socket_action(http->multi, fd, events, &running);
	CURLMsg *message;
	while ((message = http->curl.multi_info_read(http->multi, &queued)) != NULL) {
		if (message->msg != CURLMSG_DONE)
			continue;
		char *transfer = NULL;
		CURLcode code = message->data.result;
		http->curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		finish((struct http_transfer *)(void *)transfer, code);
	}
}

/* The interface. */

static int check_ca(const char *path, struct err *err)
{
	struct stat st;
	if (sys.fstatat(AT_FDCWD, path, &st, 0) == 0)
		return 0;
	err_set_errno(err, ERR_CONFIG, errno, "cannot read the CA bundle %s", path);
	return err_hint(err, "it is named by the remote's ssl_verify, AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE");
}

static int open_multi(struct http *http, unsigned connections, struct err *err)
{
	if (http->curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(err, ERR_FAILED, "libcurl does not initialise");
	http->multi = http->curl.multi_init();
	if (!http->multi)
		return err_set(err, ERR_NOMEM, "no memory for libcurl");
	struct curl_table *curl = &http->curl;
	long count = SPARE_CONNECTIONS + (connections ? (long)connections : DEFAULT_CONNECTIONS);
	curl->multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl->multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl->multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl->multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl->multi_setopt(http->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, count);
	curl->multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, count);
	curl->multi_setopt(http->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	return 0;
}

int http_new(const struct http_config *config, struct loop *loop, struct http **ret, struct err *err)
{
	struct http *http = mem_alloc(sizeof(*http));
	http->loop = loop;
	http->no_verify = config->no_verify;
	http->identity = config->identity;
	http->no_proxy = config->no_proxy;
	http_rate_start(&http->rate, config->limit_rate, loop_now_ms());
	http->connect_timeout_ms = config->connect_timeout_ms ? config->connect_timeout_ms : DEFAULT_CONNECT_TIMEOUT_MS;
	http->idle_timeout_s = config->idle_timeout_s ? config->idle_timeout_s : DEFAULT_IDLE_TIMEOUT_S;
	const char *bundle = config->ca_bundle ? config->ca_bundle : ca_bundle_of_env();
	if (bundle && fs_is_dir(bundle))
		http->ca_directory = mem_strdup(bundle);
	else
		http->ca_bundle = mem_strdup(bundle);
	if (!bundle)
		http->ca_directory = mem_strdup(getenv("SSL_CERT_DIR"));
	if ((bundle && check_ca(bundle, err) < 0) || curl_table_load(&http->curl, err) < 0) {
		free(http->ca_bundle);
		free(http->ca_directory);
		free(http);
		return -1;
	}
	if (open_multi(http, config->connections, err) < 0) {
		http_free(http);
		return -1;
	}
	*ret = http;
	return 0;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	for (size_t i = 0; i < http->transfers.len; i++) {
		struct http_transfer *transfer = http->transfers.at[i];
		if (transfer->request)
			transfer_give_back(transfer);
		http->curl.easy_cleanup(transfer->easy);
		free(transfer);
	}
	vec_release(&http->transfers);
	if (http->multi)
		http->curl.multi_cleanup(http->multi);
	if (http->timer)
		loop_remove_timer(http->loop, http->timer);
	if (http->watch)
		loop_remove_timer(http->loop, http->watch);
	if (http->resume)
		loop_remove_timer(http->loop, http->resume);
	http->curl.global_cleanup();
	free(http->ca_bundle);
	free(http->ca_directory);
	free(http);
}

void http_start(struct http *http, struct http_request *request)
{
	request->ret_status = 0;
	request->ret_transient = request->ret_hopeless = false;
	err_release(&request->ret_err);
	buf_reset(&request->ret_headers);
	if (request->response)
		buf_reset(request->response);
	struct http_transfer *transfer = transfer_take(http);
	transfer->request = request;
	request->transfer = transfer;
	transfer->moved = 0;
	transfer->moved_ms = transfer->started_ms = loop_now_ms();
	http->running++;
	if (!http->watch)
		http->watch = loop_add_timer(http->loop, WATCH_EVERY_MS, look_at_transfers, http);
	set_request(http, transfer, request);
	/* A new handle is refused for want of memory alone, and would never be heard of again. */
	if (http->curl.multi_add_handle(http->multi, transfer->easy) != CURLM_OK)
		mem_exhausted();
}

uint64_t http_idle_ms(const struct http_request *request, uint64_t now_ms)
{
	const struct http_transfer *transfer = request->transfer;
	return transfer && !transfer->paused && now_ms > transfer->moved_ms ? now_ms - transfer->moved_ms : 0;
}

void http_cancel(struct http_request *request)
{
	if (request->transfer)
		transfer_give_back(request->transfer);
}

static void note_done(struct http_request *request)
{
	*(bool *)request->ctx = true;
}

int http_run(struct http *http, struct http_request *request, struct err *err)
{
	bool done = false;
	request->done = note_done;
	request->ctx = &done;
	http_start(http, request);
	while (!done) {
		if (loop_step(http->loop, -1, err) < 0) {
			http_cancel(request);
			return -1;
		}
	}
	return request->ret_status ? 0 : err_move(err, &request->ret_err);
}

const char *http_header(const struct http_request *request, const char *name, struct buf *value)
{
	size_t name_len = strlen(name);
	const char *line = request->ret_headers.data;
	while (*line) {
		size_t len = strcspn(line, "\n");
		if (len > name_len && line[name_len] == ':' && strncasecmp(line, name, name_len) == 0) {
			const char *from = line + name_len + 1, *to = line + len;
			while (from < to && (*from == ' ' || *from == '\t'))
				from++;
			while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
				to--;
			buf_reset(value);
			buf_add(value, from, (size_t)(to - from));
			return value->data;
		}
		line += len + (line[len] == '\n');
	}
	return NULL;
}

void http_request_release(struct http_request *request)
{
	http_cancel(request);
	err_release(&request->ret_err);
	buf_release(&request->ret_headers);
}
