/*
 * What a request is told that got no whole answer. For http.c.
 */
#ifndef NET_HTTP_EXPLAIN_H
#define NET_HTTP_EXPLAIN_H

#include "net/curl_table.h"
#include "net/http.h"

/* Sets ret_err, with method and public part of the URL and a hint, ret_transient and ret_hopeless. */
void http_explain(struct http_request *request, CURLcode code, const char *why);

#endif
