/*
 * One file over HTTP: what the server says of it, and its bytes. Redirects are followed, up to ten, not from https to http.
 */
#ifndef NET_HTTP_FILE_H
#define NET_HTTP_FILE_H

#include "base/err.h"
#include "formats/digest.h"

struct http_file {
	char *url;      /* where redirects led */
	char *etag, *content_md5, *digest, *last_modified, *mimetype; /* NULL where the server is silent */
	bool no_ranges; /* Accept-Ranges: none */
	bool has_size;
	uint64_t size;
};

/* By HEAD, else by GET without the body. ERR_DATA where there is no such file, ERR_NET where the server does not answer or refuses. */
int http_file_look(const char *url, struct http_file *ret, struct err *err) MUST_CHECK;
/* To a new file, not synced; removed again on failure. */
int http_file_get(const char *url, const char *to, struct digest *ret_md5, uint64_t *ret_size, struct err *err) MUST_CHECK;
void http_file_release(struct http_file *file);

#endif
