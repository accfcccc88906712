#include "net/http_explain.h"

#include "base/text.h"

#include <string.h>

/* Scheme, host and, if wanted, path: a query may hold a signature, and what stands before '@' a password. */
static void add_public_url(struct buf *out, const char *url, bool with_path)
{
	const char *host = strstr(url, "://");
	host = host ? host + 3 : url;
	size_t authority = strcspn(host, "/?#");
	const char *at = memrchr(host, '@', authority);
	buf_add(out, url, (size_t)(host - url));
	if (at) {
		authority -= (size_t)(at + 1 - host);
		host = at + 1;
	}
	text_add_printable(out, host, authority + (with_path ? strcspn(host + authority, "?#") : 0));
}

/* Before anything was asked for: it is the server's matter, whatever was wanted of it. */
static bool is_before_request(CURLcode code)
{
	return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_CONNECT ||
	       code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
}

static bool is_transient(CURLcode code)
{
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_UNSUPPORTED_PROTOCOL: /* an answer that is no HTTP: our own URLs are always http */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_PARTIAL_FILE:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_FAIL_REWIND:
		return true;
	default:
		return false;
	}
}

static void add_hint(struct err *err, CURLcode code)
{
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
		err_hint(err, "the server's certificate is not trusted: name its CA bundle in AWS_CA_BUNDLE or the remote's ssl_verify");
		break;
	case CURLE_SSL_CACERT_BADFILE:
		err_hint(err, "check AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE and the remote's ssl_verify");
		break;
	case CURLE_SSL_CONNECT_ERROR:
		err_hint(err, "does the server speak TLS there? check scheme and port of the remote's endpointurl or url");
		break;
	case CURLE_COULDNT_RESOLVE_HOST:
		err_hint(err, "check the network, and the remote's endpointurl or url; at AWS, its region, too");
		break;
	case CURLE_GOT_NOTHING:
		err_hint(err, "does the server want TLS there, or is a proxy in the way? check the scheme of the remote's endpointurl or url");
		break;
	case CURLE_COULDNT_RESOLVE_PROXY:
		err_hint(err, "check http_proxy, https_proxy and no_proxy");
		break;
	case CURLE_COULDNT_CONNECT:
		err_hint(err, "is the server running, and is its address right?");
		break;
	case CURLE_OPERATION_TIMEDOUT:
		err_hint(err, "the server does not answer: check the network, proxies and the remote's connect_timeout and read_timeout");
		break;
	default:
		break;
	}
}

void http_explain(struct http_request *request, CURLcode code, const char *why)
{
	struct buf where CLEANUP(buf_release) = BUF_INIT;
	bool before = is_before_request(code);
	add_public_url(&where, request->url, !before);
	err_set(&request->ret_err, ERR_NET, "%s %s: %s", before ? "cannot connect to" : request->method, where.data, why);
	add_hint(&request->ret_err, code);
	request->ret_transient = is_transient(code);
	request->ret_hopeless = !request->ret_transient;
}
