#include "net/http_file.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "net/http_answer.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define MAX_REDIRECTS 10
#define TRIES 3
#define FIRST_PAUSE_MS 250
#define MAX_PAUSE_MS 10000
#define MAX_ERROR_BODY ((size_t)64 << 10)

struct transfer {
	struct loop *loop;
	struct http *http;
	struct http_request request;
	struct strlist headers;
	struct buf body;
	struct buf url;
	int fd;                       /* -1: bytes are not wanted */
	struct digest_stream *digest;
	uint64_t size;
	unsigned random;
	bool cut;                     /* by us, since the headers were all that is wanted */
	bool ended;
};

static void transfer_release(struct transfer *transfer)
{
	http_request_release(&transfer->request);
	http_free(transfer->http);
	loop_free(transfer->loop);
	strlist_release(&transfer->headers);
	buf_release(&transfer->body);
	buf_release(&transfer->url);
	fs_close_fd(&transfer->fd);
	if (transfer->digest)
		digest_drop(transfer->digest);
}

static int transfer_open(struct transfer *transfer, const char *url, struct err *err)
{
	struct http_config config = { .connections = 1 };
	*transfer = (struct transfer){ .request = HTTP_REQUEST_INIT, .body = BUF_INIT, .url = BUF_INIT, .fd = -1, .random = (unsigned)loop_now_ms() };
	buf_addstr(&transfer->url, url);
	strlist_add(&transfer->headers, "Accept-Encoding: identity");
	return loop_new(&transfer->loop, err) < 0 ? -1 : http_new(&config, transfer->loop, &transfer->http, err);
}

static bool on_data(struct http_request *request, const void *bytes, size_t len)
{
	struct transfer *transfer = request->ctx;
	transfer->cut = transfer->fd < 0;
	if (transfer->cut)
		return false;
	if (fs_write_all(transfer->fd, bytes, len) < 0) {
		err_set_errno(&request->ret_err, ERR_FAILED, errno, "cannot write what is downloaded");
		return false;
	}
	digest_add(transfer->digest, bytes, len);
	transfer->size += len;
	return true;
}

static int refused(const struct transfer *transfer, const char *given, struct err *err)
{
	unsigned status = transfer->request.ret_status;
	err_set(err, status == 404 || status == 410 ? ERR_DATA : ERR_NET, "%s cannot be had: the server answers %u", given, status);
	return status == 404 || status == 410 ? err_hint(err, "check the address") : -1;
}

static void on_done(struct http_request *request)
{
	struct transfer *transfer = request->ctx;
	transfer->ended = true;
}

static int run(struct transfer *transfer, struct err *err)
{
	transfer->ended = false;
	http_start(transfer->http, &transfer->request);
	while (!transfer->ended)
		if (loop_step(transfer->loop, -1, err) < 0)
			return -1;
	return 0;
}

static void pause_before(struct transfer *transfer, unsigned tries)
{
	uint64_t ms = http_pause_ms(&transfer->request, tries, FIRST_PAUSE_MS, MAX_PAUSE_MS, &transfer->random);
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 }, NULL);
}

/* One request with its redirects. *ret_ok: a 2xx. */
static int ask(struct transfer *transfer, const char *method, bool *ret_ok, struct err *err)
{
	unsigned tries = 1;
	for (int redirects = 0;;) {
		struct buf location CLEANUP(buf_release) = BUF_INIT;
		struct http_request *request = &transfer->request;
		http_request_release(request);
		*request = (struct http_request)HTTP_REQUEST_INIT;
		buf_truncate(&transfer->body, 0);
		request->method = method;
		request->url = transfer->url.data;
		request->headers = &transfer->headers;
		request->response = &transfer->body;
		request->response_max = MAX_ERROR_BODY;
		request->on_data = on_data;
		request->bulk = transfer->fd >= 0;
		request->done = on_done;
		request->ctx = transfer;
		if (run(transfer, err) < 0)
			return -1;
		bool busy = request->ret_status == 429 || request->ret_status >= 500;
		if ((busy || (!request->ret_status && request->ret_transient && !transfer->size)) && tries < TRIES) {
			pause_before(transfer, tries++);
			continue;
		}
		if (!request->ret_status && transfer->cut) {
			*ret_ok = true;
			return 0;
		}
		if (!request->ret_status)
			return err_move(err, &request->ret_err);
		*ret_ok = request->ret_status >= 200 && request->ret_status < 300;
		if (!http_is_redirect(request->ret_status) || !http_header(request, "location", &location))
			return 0;
		if (redirects++ == MAX_REDIRECTS)
			return err_set(err, ERR_NET, "%s redirects more than %d times", transfer->url.data, MAX_REDIRECTS);
		struct buf next CLEANUP(buf_release) = BUF_INIT;
		if (http_redirect_target(transfer->url.data, location.data, &next, err) < 0)
			return -1;
		buf_setstr(&transfer->url, next.data);
	}
}

static char *header(const struct transfer *transfer, const char *name)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	const char *text = http_header(&transfer->request, name, &value);
	return text && *text ? mem_strdup(text) : NULL;
}

static void take_headers(const struct transfer *transfer, struct http_file *ret)
{
	char *length OWNED = header(transfer, "content-length");
	char *encoding OWNED = header(transfer, "content-encoding");
	char *ranges OWNED = header(transfer, "accept-ranges");
	http_file_release(ret);
	ret->url = mem_strdup(transfer->url.data);
	ret->etag = header(transfer, "etag");
	ret->content_md5 = header(transfer, "content-md5");
	ret->digest = header(transfer, "digest");
	ret->last_modified = header(transfer, "last-modified");
	ret->mimetype = header(transfer, "content-type");
	if (ret->mimetype)
		ret->mimetype[strcspn(ret->mimetype, ";")] = '\0';
	ret->no_ranges = text_eq(ranges, "none");
	ret->has_size = length && (!encoding || text_eq(encoding, "identity")) && text_parse_u64(length, &ret->size);
}

int http_file_look(const char *url, struct http_file *ret, struct err *err)
{
	static const char *const methods[] = { "HEAD", "GET" };
	*ret = (struct http_file){ .url = NULL };
	bool found = false;
	for (size_t i = 0; i < ARRAY_LEN(methods) && !(found && ret->has_size); i++) {
		struct transfer transfer CLEANUP(transfer_release);
		bool ok = false;
		if (transfer_open(&transfer, url, err) < 0 || ask(&transfer, methods[i], &ok, err) < 0)
			return -1;
		if (!ok && i + 1 == ARRAY_LEN(methods) && !found)
			return refused(&transfer, url, err);
		if (ok)
			take_headers(&transfer, ret);
		found = found || ok;
	}
	return 0;
}

static int finish(struct transfer *transfer, bool ok, const char *url, const char *to, struct digest *ret_md5, struct err *err)
{
	struct err late CLEANUP(err_release) = ERR_INIT;
	digest_end(transfer->digest, ret_md5);
	transfer->digest = NULL;
	if (ok)
		return 0;
	refused(transfer, url, err);
	if (fs_remove(to, &late) < 0)
		err_release(&late);
	return -1;
}

int http_file_get(const char *url, const char *to, struct digest *ret_md5, uint64_t *ret_size, struct err *err)
{
	struct transfer transfer CLEANUP(transfer_release);
	struct err late CLEANUP(err_release) = ERR_INIT;
	bool ok = false;
	if (transfer_open(&transfer, url, err) < 0)
		return -1;
	transfer.fd = sys.openat(AT_FDCWD, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (transfer.fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot create %s", to);
	transfer.digest = digest_begin(DIGEST_MD5);
	if (ask(&transfer, "GET", &ok, err) < 0) {
		if (fs_remove(to, &late) < 0)
			err_release(&late);
		return -1;
	}
	*ret_size = transfer.size;
	return finish(&transfer, ok, url, to, ret_md5, err);
}

void http_file_release(struct http_file *file)
{
	free(file->url);
	free(file->etag);
	free(file->content_md5);
	free(file->digest);
	free(file->last_modified);
	free(file->mimetype);
	*file = (struct http_file){ .url = NULL };
}
