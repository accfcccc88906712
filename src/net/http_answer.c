#include "net/http_answer.h"

#include "base/mem.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_SHOWN 500

bool http_is_redirect(unsigned status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

int http_redirect_target(const char *url, const char *location, struct buf *ret, struct err *err)
{
	const char *host = strstr(url, "://") + 3;
	size_t root = (size_t)(host - url) + strcspn(host, "/?#");
	buf_reset(ret);
	if (strstr(location, "://") && strcspn(location, ":") < strcspn(location, "/?#"))
		buf_addstr(ret, location);
	else if (text_starts(location, "//"))
		buf_addf(ret, "%.*s%s", (int)(host - 2 - url), url, location);
	else if (location[0] == '/')
		buf_addf(ret, "%.*s%s", (int)root, url, location);
	else {
		size_t end = root + strcspn(url + root, "?#");
		while (end > root && url[end - 1] != '/')
			end--;
		buf_addf(ret, "%.*s%s%s", (int)end, url, end == root ? "/" : "", location);
	}
	bool web = text_starts(ret->data, "https://") || text_starts(ret->data, "http://");
	if (web && !(text_starts(url, "https://") && !text_starts(ret->data, "https://")))
		return 0;
	struct buf from CLEANUP(buf_release) = BUF_INIT, to CLEANUP(buf_release) = BUF_INIT;
	text_add_printable(&from, url, MAX_SHOWN);
	text_add_printable(&to, ret->data, MAX_SHOWN);
	return err_set(err, ERR_NET, "%s leads to %s, which is not followed", from.data, to.data);
}

void http_url_decode(struct buf *text, bool plus_is_blank)
{
	size_t to = 0;
	for (size_t from = 0; from < text->len; from++) {
		uint8_t byte;
		char digits[3] = { 0 };
		if (text->data[from] == '%' && text->len - from > 2) {
			memcpy(digits, text->data + from + 1, 2);
			if (text_unhex(&byte, 1, digits)) {
				text->data[to++] = (char)byte;
				from += 2;
				continue;
			}
		}
		text->data[to++] = plus_is_blank && text->data[from] == '+' ? ' ' : text->data[from];
	}
	buf_truncate(text, to);
}

void http_stamp(const struct http_request *request, uint8_t ret[REMOTE_STAMP_LEN])
{
	static const char *const names[] = { "etag", "last-modified", "content-length" };
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	struct digest digest;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		buf_addf(&text, "%s\n", http_header(request, names[i], &value) ? value.data : "");
	digest_bytes(DIGEST_MD5, text.data, text.len, &digest);
	memcpy(ret, digest.bytes, REMOTE_STAMP_LEN);
}

bool http_take_range(const struct http_request *request, uint64_t from, uint64_t size, uint64_t arrived, const char **bytes, size_t *len)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	uint64_t at = arrived, end = from + size;
	if (http_header(request, "content-range", &value)) {
		char *due OWNED = mem_printf("bytes %" PRIu64 "-", from);
		if (!text_starts(value.data, due))
			return false;
		at += from;
	}
	size_t skip = at >= from ? 0 : from - at < *len ? (size_t)(from - at) : *len;
	uint64_t left = at + skip < end ? end - at - skip : 0;
	*bytes += skip;
	*len -= skip;
	*len = *len < left ? *len : (size_t)left;
	return true;
}

int64_t http_parse_date(const char *text)
{
	struct tm tm = { 0 };
	return strptime(text, "%a, %d %b %Y %H:%M:%S", &tm) ? (int64_t)timegm(&tm) : 0;
}

int64_t http_date(const struct http_request *request)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	return http_header(request, "date", &value) ? http_parse_date(value.data) : 0;
}

/* Seconds, or a date, which is that of the server's own clock. */
static bool retry_after(const struct http_request *request, uint64_t *ret_seconds)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	if (!http_header(request, "retry-after", &value))
		return false;
	if (text_parse_u64(value.data, ret_seconds))
		return true;
	int64_t at = http_parse_date(value.data), now = http_date(request);
	now = now ? now : (int64_t)time(NULL);
	*ret_seconds = at > now ? (uint64_t)(at - now) : 0;
	return at != 0;
}

uint64_t http_pause_ms(const struct http_request *request, unsigned tries, unsigned first_ms, unsigned most_ms, unsigned *random)
{
	uint64_t seconds;
	if (retry_after(request, &seconds))
		return seconds < most_ms / 1000 ? 1000 * seconds : most_ms;
	uint64_t full = (uint64_t)first_ms << tries;
	return full / 2 + (uint64_t)rand_r(random) % (full / 2 + 1);
}
