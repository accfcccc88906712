/*
 * How many requests run side by side. Begins with a moderate number, takes half as many more as long as that makes things faster, goes back
 * where it does not, and takes fewer when the server says so (SlowDown, 503, 429).
 *
 *     struct s3_flow flow;
 *     s3_flow_start(&flow, most, loop_now_ms());
 *     ... running < flow.limit: start another; for what is done: flow.work += S3_FLOW_REQUEST + bytes;
 *     s3_flow_step(&flow, full, slowdowns, loop_now_ms());       now and then
 */
#ifndef NET_S3_FLOW_H
#define NET_S3_FLOW_H

#include "base/compiler.h"

#define S3_FLOW_FIRST 32
#define S3_FLOW_REQUEST (32u << 10) /* a request costs what so many bytes cost */

struct s3_flow {
	unsigned limit;   /* requests at once, 1 or more */
	uint64_t work;    /* done since the window began */

	unsigned most, before; /* before: the limit that the one being tried is compared with; 0: none is being tried */
	uint64_t window_ms;    /* when it began */
	uint64_t hold_until_ms;
	double rate;           /* work per ms with `before` */
	uint64_t slowdowns;    /* as last seen */
};

void s3_flow_start(struct s3_flow *flow, unsigned most, uint64_t now_ms);
/* full: all that may run at once did so, so that more would have been of use. slowdowns: of the server, in all. */
void s3_flow_step(struct s3_flow *flow, bool full, uint64_t slowdowns, uint64_t now_ms);

#endif
