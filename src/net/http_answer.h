/*
 * What an answer's headers say: where a redirect leads, which state of an object this is, how long to wait.
 */
#ifndef NET_HTTP_ANSWER_H
#define NET_HTTP_ANSWER_H

#include "net/http.h"
#include "net/remote.h"

/* 301, 302, 303, 307, 308 */
bool http_is_redirect(unsigned status);
/* Sets ret to where `location` leads from url (RFC 3986, as far as servers use it). ERR_NET for what is not http or https, and from https to
 * http. */
int http_redirect_target(const char *url, const char *location, struct buf *ret, struct err *err) MUST_CHECK;

/* An HTTP date in seconds since 1970; 0 if it is none. http_date: the answer's own, by the server's clock. */
int64_t http_parse_date(const char *text);
int64_t http_date(const struct http_request *request);

/* Decodes %XX, and '+' as a blank where that is meant so. */
void http_url_decode(struct buf *text, bool plus_is_blank);

/* Tells one state of an object from another: a digest of ETag, Last-Modified and Content-Length. */
void http_stamp(const struct http_request *request, uint8_t ret[REMOTE_STAMP_LEN]);

/* Of `len` bytes that came behind `arrived` others, in answer to a request for `size` bytes from `from` on: those that were asked for. A server
 * that knows no ranges sends everything, which is dropped but for them. False: it sent another range. */
bool http_take_range(const struct http_request *request, uint64_t from, uint64_t size, uint64_t arrived, const char **bytes, size_t *len);

/* Before try number `tries` + 1: Retry-After, at most most_ms, or a random part of first_ms doubled with each try. */
uint64_t http_pause_ms(const struct http_request *request, unsigned tries, unsigned first_ms, unsigned most_ms, unsigned *random);

#endif
