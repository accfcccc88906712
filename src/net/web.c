#include "net/web.h"

#include "base/mem.h"
#include "base/text.h"
#include "net/http_answer.h"
#include "net/s3_headers.h"
#include "net/sigv4.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TRIES 5
#define TRY_FOR_MS 30000
#define FIRST_PAUSE_MS 100
#define MAX_PAUSE_MS 10000
#define MAX_REDIRECTS 10
#define MAX_ERROR_BODY ((size_t)64 << 10)
#define MAX_SHOWN 200
#define DEFAULT_CONNECTIONS 32
#define MAX_CONNECTIONS 256

struct web {
	struct loop *loop;
	struct http *http;
	char *name;
	char *url;              /* http[s]://host/path, no '/' at its end, encoded, without a user */
	const char *path;       /* within url */
	size_t host_len;        /* of url up to the path */
	struct strlist login;   /* headers that log in */
	char *user, *password, *cert_path, *key_path;
	bool dav, digest;
	char *method;
	unsigned connections;
	uint64_t try_for_ms;
	uint64_t last_success_ms;
	unsigned random;
};

static void try_now(void *op);

static void free_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

/* What may not stand in a URL is encoded; what the user encoded stays. */
static void add_encoded_url(struct buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}", c))
			buf_addf(out, "%%%02X", c);
		else
			buf_addch(out, (char)c);
	}
}

static int take_url(struct web *web, const char *url, struct err *err)
{
	struct buf out = BUF_INIT;
	bool tls = text_starts(url, "https://") || text_starts(url, "webdavs://");
	web->dav = text_starts(url, "webdav");
	const char *host = strstr(url, "://") + 3;
	size_t authority = strcspn(host, "/?#");
	const char *at = memrchr(host, '@', authority);
	if (host[strcspn(host, "?#")] || authority == 0 || at + 1 == host + authority) {
		err_set(err, ERR_CONFIG, "the url of the remote '%s' holds a query or a fragment, or names no host", web->name);
		return err_hint(err, "write it as %s://host/path", web->dav ? "webdavs" : "https");
	}
	if (at) {
		size_t user = strcspn(host, ":@");
		web->user = mem_strndup(host, user);
		if (host[user] == ':')
			web->password = mem_strndup(host + user + 1, (size_t)(at - host) - user - 1);
		authority -= (size_t)(at + 1 - host);
		host = at + 1;
	}
	buf_addstr(&out, tls ? "https://" : "http://");
	buf_add(&out, host, authority);
	web->host_len = out.len;
	add_encoded_url(&out, host + authority, strlen(host + authority));
	while (out.len > web->host_len && out.data[out.len - 1] == '/')
		buf_truncate(&out, out.len - 1);
	web->url = buf_detach(&out);
	web->path = web->url + web->host_len;
	return 0;
}

/* Logging in. dvc's options: auth = basic, digest or custom for http; user, token or custom_auth_header for webdav. */

static int add_login(struct web *web, const char *name, const char *value, struct err *err)
{
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < ' ')
			return err_set(err, ERR_CONFIG, "the password or token of the remote '%s' holds a line break", web->name);
	if (!*name || name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")])
		return err_set(err, ERR_CONFIG, "the remote '%s' has '%s' as custom_auth_header, which is no name of a header", web->name, name);
	strlist_take(&web->login, mem_printf("%s: %s", name, value));
	return 0;
}

static int add_basic(struct web *web, struct err *err)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	char *pair OWNED = mem_printf("%s:%s", web->user, web->password ? web->password : "");
	buf_addstr(&value, "Basic ");
	s3_base64(&value, (const uint8_t *)pair, strlen(pair));
	int status = add_login(web, "Authorization", value.data, err);
	explicit_bzero(pair, strlen(pair));
	explicit_bzero(value.data, value.len);
	return status;
}

static int lacking(const struct web *web, const char *what, struct err *err)
{
	err_set(err, ERR_CONFIG, "the remote '%s' needs %s", web->name, what);
	return err_hint(err, "mlmake data remote modify --local %s password ...   (.dvc/config.local is not committed)", web->name);
}

static int take_login_http(struct web *web, const struct remote_spec *spec, struct err *err)
{
	if (!spec->auth)
		return web->user ? add_basic(web, err) : 0;
	if (strcasecmp(spec->auth, "custom") == 0)
		return spec->custom_auth_header && web->password ? add_login(web, spec->custom_auth_header, web->password, err)
								 : lacking(web, "custom_auth_header and password", err);
	if (!web->user || !web->password)
		return lacking(web, "user and password", err);
	if (strcasecmp(spec->auth, "basic") == 0)
		return add_basic(web, err);
	web->digest = strcasecmp(spec->auth, "digest") == 0;
	if (web->digest)
		return 0;
	err_set(err, ERR_CONFIG, "the remote '%s' has auth = %s", web->name, spec->auth);
	return err_hint(err, "it is basic, digest or custom");
}

static int take_login_dav(struct web *web, const struct remote_spec *spec, struct err *err)
{
	if (spec->token) {
		char *value OWNED = mem_printf("Bearer %s", spec->token);
		return add_login(web, "Authorization", value, err);
	}
	if (spec->user || (web->user && !spec->custom_auth_header))
		return web->password ? add_basic(web, err) : lacking(web, "a password", err);
	if (spec->custom_auth_header)
		return web->password ? add_login(web, spec->custom_auth_header, web->password, err) : lacking(web, "a password", err);
	return 0;
}

static int take_login(struct web *web, const struct remote_spec *spec, struct err *err)
{
	if (spec->user) {
		free(web->user);
		web->user = mem_strdup(spec->user);
	}
	if (spec->password) {
		free_secret(web->password);
		web->password = mem_strdup(spec->password);
	}
	return web->dav ? take_login_dav(web, spec, err) : take_login_http(web, spec, err);
}

int web_open(const struct remote_spec *spec, struct loop *loop, struct web **ret, struct err *err)
{
	struct web *web = mem_alloc(sizeof(*web));
	web->loop = loop;
	web->name = mem_strdup(spec->name ? spec->name : spec->url);
	web->cert_path = mem_strdup(spec->cert_path);
	web->key_path = mem_strdup(spec->key_path);
	web->connections = spec->jobs ? spec->jobs : DEFAULT_CONNECTIONS;
	if (web->connections > MAX_CONNECTIONS)
		web->connections = MAX_CONNECTIONS;
	web->random = (unsigned)getpid() ^ (unsigned)loop_now_ms();
	web->try_for_ms = 1000ull * spec->read_timeout_s > TRY_FOR_MS ? 1000ull * spec->read_timeout_s : TRY_FOR_MS;
	if (take_url(web, spec->url, err) < 0 || take_login(web, spec, err) < 0) {
		web_free(web);
		return -1;
	}
	web->method = mem_strdup(web->dav ? "PUT" : spec->method ? spec->method : "POST");
	for (char *c = web->method; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	if (strcmp(web->method, "PUT") != 0 && strcmp(web->method, "POST") != 0 && strcmp(web->method, "PATCH") != 0) {
		err_set(err, ERR_CONFIG, "the remote '%s' has method = %s", web->name, spec->method);
		err_hint(err, "objects are sent by POST (the default) or PUT");
		web_free(web);
		return -1;
	}
	struct http_config http = {
		.ca_bundle = spec->ca_bundle,
		.no_verify = spec->no_ssl_verify,
		.connections = web->connections,
		.connect_timeout_ms = 1000 * spec->connect_timeout_s,
		.idle_timeout_s = spec->read_timeout_s,
		.limit_rate = spec->limit_rate,
		.identity = { web->digest ? web->user : NULL, web->password, web->cert_path, web->key_path },
	};
	if (http_new(&http, loop, &web->http, err) < 0) {
		web_free(web);
		return -1;
	}
	*ret = web;
	return 0;
}

void web_free(struct web *web)
{
	if (!web)
		return;
	http_free(web->http);
	for (size_t i = 0; i < web->login.len; i++)
		explicit_bzero(web->login.at[i], strlen(web->login.at[i]));
	strlist_release(&web->login);
	free(web->name);
	free(web->url);
	free(web->user);
	free(web->cert_path);
	free(web->key_path);
	free_secret(web->password);
	free(web->method);
	free(web);
}

const char *web_place(const struct web *web)
{
	return web->url;
}

const char *web_path(const struct web *web)
{
	return web->path;
}

bool web_is_dav(const struct web *web)
{
	return web->dav;
}

const char *web_upload_method(const struct web *web)
{
	return web->method;
}

unsigned web_connections(const struct web *web)
{
	return web->connections;
}

bool web_is_at_limit(const struct web *web)
{
	return http_is_at_limit(web->http);
}

/* One try. */

static void add_address(const struct web *web, struct buf *out, const char *key)
{
	buf_addf(out, "%s/", web->url);
	sigv4_encode(out, key, true);
}

static void make_headers(struct web *web, struct web_op *op)
{
	strlist_release(&op->sent_headers);
	strlist_add(&op->sent_headers, "Accept-Encoding: identity");
	for (size_t i = 0; i < op->headers.len; i++)
		strlist_add(&op->sent_headers, op->headers.at[i]);
	if (op->to_key) {
		struct buf line = BUF_INIT;
		buf_addstr(&line, "Destination: ");
		add_address(web, &line, op->to_key);
		strlist_take(&op->sent_headers, buf_detach(&line));
		strlist_add(&op->sent_headers, "Overwrite: T");
	}
	bool at_home = strncmp(op->url.data, web->url, web->host_len) == 0 && strchr("/", op->url.data[web->host_len]);
	for (size_t i = 0; at_home && i < web->login.len; i++)
		strlist_add(&op->sent_headers, web->login.at[i]);
}

/* Consumes what the request failed with, or says what its status means. */
static void explain(struct web_op *op)
{
	const struct web *web = op->web;
	unsigned status = op->request.ret_status;
	op->ret_outcome = WEB_FAILED;
	if (status == 0) {
		err_move(&op->ret_err, &op->request.ret_err);
		return;
	}
	struct buf url CLEANUP(buf_release) = BUF_INIT, said CLEANUP(buf_release) = BUF_INIT;
	size_t line = strcspn(op->response.data, "\r\n<");
	text_add_printable(&url, op->url.data, op->url.len);
	text_add_printable(&said, op->response.data, line < MAX_SHOWN ? line : MAX_SHOWN);
	err_set(&op->ret_err, ERR_NET, "the remote '%s' answers %u to %s %s%s%s", web->name, status, op->method, url.data, said.len ? ": " : "",
		said.data);
	if (status == 401 || status == 407)
		err_hint(&op->ret_err, web->login.len || web->digest ? "check the remote's user, password or token"
								     : "it wants to know who you are: set the remote's %s", web->dav ? "user and password" : "auth, user and password");
	else if (status == 403)
		err_hint(&op->ret_err, "may this user do that there?");
	else if (status == 405 || status == 501)
		err_hint(&op->ret_err, web->dav ? "is this a WebDAV server?" : "the server takes no uploads this way: set the remote's method (PUT, POST), or use webdav://");
	else if (http_is_redirect(status))
		err_hint(&op->ret_err, "set the remote's url to where that leads");
	else if (status == 413 || status == 507)
		err_hint(&op->ret_err, "the server does not take that much");
}

static void settle(struct web_op *op, enum web_outcome outcome)
{
	op->ret_outcome = outcome;
	op->done(op);
}

static void fail(struct web_op *op, bool hopeless)
{
	op->ret_hopeless = hopeless;
	explain(op);
	op->done(op);
}

static void try_later(struct web_op *op)
{
	struct web *web = op->web;
	uint64_t pause = http_pause_ms(&op->request, op->tries, FIRST_PAUSE_MS, MAX_PAUSE_MS, &web->random);
	op->moving_ms += op->request.ret_moving_ms;
	if (op->tries >= MAX_TRIES || loop_now_ms() + pause - op->first_try_ms - op->moving_ms > web->try_for_ms) {
		fail(op, web->last_success_ms < op->first_try_ms);
		return;
	}
	op->timer = loop_add_timer(web->loop, pause, try_now, op);
}

static void follow(struct web_op *op)
{
	struct buf location CLEANUP(buf_release) = BUF_INIT, next CLEANUP(buf_release) = BUF_INIT;
	bool reads = strcmp(op->method, "GET") == 0 || strcmp(op->method, "HEAD") == 0;
	if (!reads || op->web->digest || !http_header(&op->request, "location", &location) || op->redirects++ == MAX_REDIRECTS) {
		fail(op, !reads);
		return;
	}
	if (http_redirect_target(op->url.data, location.data, &next, &op->ret_err) < 0) {
		op->ret_hopeless = true;
		settle(op, WEB_FAILED);
		return;
	}
	buf_setstr(&op->url, next.data);
	op->tries = 0;
	op->timer = loop_add_timer(op->web->loop, 0, try_now, op);
}

static void on_answer(struct http_request *request)
{
	struct web_op *op = request->ctx;
	unsigned status = request->ret_status;
	if (status == 0 && request->ret_transient)
		try_later(op);
	else if (status == 0)
		fail(op, request->ret_hopeless);
	else if (status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504))
		try_later(op);
	else if (http_is_redirect(status))
		follow(op);
	else if (status == 401 || status == 407 || status == 507)
		fail(op, true);
	else {
		op->web->last_success_ms = loop_now_ms();
		if (status >= 200 && status < 300)
			settle(op, WEB_OK);
		else if (status == 404 || status == 410)
			settle(op, WEB_ABSENT);
		else if (status == 409)
			settle(op, WEB_CONFLICT);
		else if (status == 405 || status == 501) {
			explain(op);
			settle(op, WEB_UNABLE);
		} else
			fail(op, false);
	}
}

static void try_now(void *ctx)
{
	struct web_op *op = ctx;
	struct web *web = op->web;
	struct http_request *request = &op->request;
	op->timer = NULL;
	op->tries++;
	err_release(&request->ret_err);
	if (op->on_try && !op->on_try(op)) {
		request->ret_status = 0;
		fail(op, false);
		return;
	}
	make_headers(web, op);
	request->method = op->method;
	request->url = op->url.data;
	request->headers = &op->sent_headers;
	request->body = op->body;
	request->body_fd = op->body_fd;
	request->body_len = op->body_len;
	request->on_body = op->on_body;
	request->on_data = op->on_data;
	request->response = &op->response;
	request->response_max = op->response_max ? op->response_max : MAX_ERROR_BODY;
	request->bulk = op->bulk;
	request->done = on_answer;
	request->ctx = op;
	http_start(web->http, request);
}

/* The interface. */

void web_start(struct web *web, struct web_op *op)
{
	op->web = web;
	op->tries = op->redirects = 0;
	op->ret_hopeless = false;
	op->first_try_ms = loop_now_ms();
	op->moving_ms = 0;
	err_release(&op->ret_err);
	buf_reset(&op->url);
	if (op->of_host)
		buf_addf(&op->url, "%.*s%s", (int)web->host_len, web->url, op->key);
	else
		add_address(web, &op->url, op->key);
	op->timer = loop_add_timer(web->loop, 0, try_now, op);
}

static void note_done(struct web_op *op)
{
	*(bool *)op->ctx = true;
}

int web_run(struct web *web, struct web_op *op, struct err *err)
{
	bool done = false;
	op->done = note_done;
	op->ctx = &done;
	web_start(web, op);
	while (!done)
		if (loop_step(web->loop, -1, err) < 0)
			return -1;
	return op->ret_outcome == WEB_FAILED ? err_move(err, &op->ret_err) : 0;
}

void web_op_release(struct web_op *op)
{
	if (op->timer)
		loop_remove_timer(op->web->loop, op->timer);
	http_request_release(&op->request);
	strlist_release(&op->headers);
	strlist_release(&op->sent_headers);
	err_release(&op->ret_err);
	buf_release(&op->response);
	buf_release(&op->url);
	*op = (struct web_op)WEB_OP_INIT;
}
