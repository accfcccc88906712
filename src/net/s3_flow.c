#include "net/s3_flow.h"

#define WINDOW_MS 200
#define HOLD_MS 3000       /* after a larger number that was of no use */
#define SLOW_HOLD_MS 1000  /* after the server asked for less */
#define WORTH 1.08         /* half as many more must give at least so much more */

void s3_flow_start(struct s3_flow *flow, unsigned most, uint64_t now_ms)
{
	*flow = (struct s3_flow){ .most = most, .limit = most < S3_FLOW_FIRST ? most : S3_FLOW_FIRST, .window_ms = now_ms };
}

static void begin_window(struct s3_flow *flow, uint64_t now_ms)
{
	flow->window_ms = now_ms;
	flow->work = 0;
}

static void try_more(struct s3_flow *flow, double rate)
{
	unsigned more = flow->limit + (flow->limit + 1) / 2;
	flow->before = flow->limit;
	flow->rate = rate;
	flow->limit = more < flow->most ? more : flow->most;
}

void s3_flow_step(struct s3_flow *flow, bool full, uint64_t slowdowns, uint64_t now_ms)
{
	if (slowdowns != flow->slowdowns) {
		flow->slowdowns = slowdowns;
		if (now_ms < flow->hold_until_ms && flow->before == 0)
			return; /* those that were under way when the number was lowered */
		flow->limit = flow->limit > 1 ? flow->limit / 2 : 1;
		flow->before = 0;
		flow->hold_until_ms = now_ms + SLOW_HOLD_MS;
		begin_window(flow, now_ms);
		return;
	}
	uint64_t elapsed = now_ms - flow->window_ms;
	if (elapsed < WINDOW_MS)
		return;
	double rate = (double)flow->work / (double)elapsed;
	begin_window(flow, now_ms);
	if (!full) {
		flow->before = 0;
		return;
	}
	if (flow->before && rate < flow->rate * WORTH) {
		flow->limit = flow->before;
		flow->before = 0;
		flow->hold_until_ms = now_ms + HOLD_MS;
	} else if (flow->limit == flow->most || now_ms < flow->hold_until_ms) {
		flow->before = 0;
	} else {
		try_more(flow, rate);
	}
}
