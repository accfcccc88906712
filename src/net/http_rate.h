/*
 * How fast bodies may move, all transfers of a client together: a bucket that fills at so many bytes a second, and holds a tenth of a second's.
 *
 *     struct http_rate rate;
 *     http_rate_start(&rate, 10 << 20, loop_now_ms());
 *     if (http_rate_take(&rate, len, loop_now_ms())) ... move len bytes; else wait some HTTP_RATE_TICK_MS and ask again
 */
#ifndef NET_HTTP_RATE_H
#define NET_HTTP_RATE_H

#include "base/compiler.h"

#define HTTP_RATE_TICK_MS 20

struct http_rate {
	uint64_t limit;     /* bytes a second; 0: any */
	double allowance;   /* bytes that may be moved; below 0: none */
	uint64_t filled_ms; /* when it was last added to */
};

void http_rate_start(struct http_rate *rate, uint64_t limit, uint64_t now_ms);
/* Whether nothing may be moved at this moment. */
bool http_rate_is_spent(const struct http_rate *rate, uint64_t now_ms);
/* Counts len bytes, which may be more than there is room for: what comes next waits for longer then. False, and nothing is counted, while
 * the bucket is spent. */
bool http_rate_take(struct http_rate *rate, uint64_t len, uint64_t now_ms);
/* Counts bytes that have left already. */
void http_rate_charge(struct http_rate *rate, uint64_t len);

#endif
