/*
 * libcurl, loaded on first use: the program starts without it.
 *
 *     struct curl_table curl;
 *     curl_table_load(&curl, err);
 *     CURL *easy = curl.easy_init();
 *
 * Field x is the function curl_x, with its type from curl/curl.h. The library stays loaded until the process ends.
 * Only net/http*.c use this; everybody else talks to net/http.h.
 */
#ifndef NET_CURL_TABLE_H
#define NET_CURL_TABLE_H

#include "base/err.h"

/* The type-checking macros would expand inside curl.easy_setopt(...) just as well; plain functions are wanted. */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#define CURL_TABLE(X)       \
	X(global_init)      \
	X(global_cleanup)   \
	X(easy_init)        \
	X(easy_cleanup)     \
	X(easy_reset)       \
	X(easy_setopt)      \
	X(easy_getinfo)     \
	X(easy_pause)       \
	X(easy_strerror)    \
	X(slist_append)     \
	X(slist_free_all)   \
	X(multi_init)       \
	X(multi_cleanup)    \
	X(multi_setopt)     \
	X(multi_add_handle) \
	X(multi_remove_handle) \
	X(multi_socket_action) \
	X(multi_assign)     \
	X(multi_info_read)

#define CURL_TABLE_FIELD(name) __typeof__(&curl_##name) name;
struct curl_table {
	CURL_TABLE(CURL_TABLE_FIELD)
};
#undef CURL_TABLE_FIELD

/* ERR_FAILED with a hint if the library or one of its functions is not there. */
int curl_table_load(struct curl_table *ret, struct err *err) MUST_CHECK;

#endif
