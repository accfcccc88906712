#include "net/http_rate.h"

#define BURST_MS 100

void http_rate_start(struct http_rate *rate, uint64_t limit, uint64_t now_ms)
{
	*rate = (struct http_rate){ .limit = limit, .filled_ms = now_ms };
}

static double filled(const struct http_rate *rate, uint64_t now_ms)
{
	double most = (double)rate->limit * BURST_MS / 1000;
	double allowance = rate->allowance + (double)rate->limit * (double)(now_ms - rate->filled_ms) / 1000;
	return allowance < most ? allowance : most;
}

bool http_rate_is_spent(const struct http_rate *rate, uint64_t now_ms)
{
	return rate->limit && filled(rate, now_ms) < 0;
}

bool http_rate_take(struct http_rate *rate, uint64_t len, uint64_t now_ms)
{
	if (!rate->limit)
		return true;
	rate->allowance = filled(rate, now_ms);
	rate->filled_ms = now_ms;
	if (rate->allowance < 0)
		return false;
	rate->allowance -= (double)len;
	return true;
}

void http_rate_charge(struct http_rate *rate, uint64_t len)
{
	rate->allowance -= (double)len;
}
