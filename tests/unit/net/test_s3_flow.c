/* How many requests at once: against servers that are made up. */
#include "net/s3_flow.h"

#include "../unit.h"

/* A server of so much latency that does at most so many requests a second, for some seconds. The limit at the end. */
static unsigned run(struct s3_flow *flow, unsigned latency_ms, unsigned per_second, unsigned seconds, uint64_t *now)
{
	for (unsigned i = 0; i < 10 * seconds; i++) {
		uint64_t possible = 100ull * flow->limit / latency_ms, most = per_second / 10;
		flow->work += (possible < most ? possible : most) * (S3_FLOW_REQUEST + 1024);
		*now += 100;
		s3_flow_step(flow, true, flow->slowdowns, *now);
	}
	return flow->limit;
}

static void test_latency_is_met_with_more(void **state UNUSED)
{
	struct s3_flow flow;
	uint64_t now = 1000;
	s3_flow_start(&flow, 256, now);
	assert_int_equal(flow.limit, S3_FLOW_FIRST);
	assert_true(run(&flow, 100, 1000000, 5, &now) > 200);
}

static void test_a_server_at_its_limit_gets_no_more(void **state UNUSED)
{
	struct s3_flow flow;
	uint64_t now = 1000;
	s3_flow_start(&flow, 256, now);
	run(&flow, 2, 1000, 2, &now);
	for (int i = 0; i < 50; i++)
		assert_true(run(&flow, 2, 1000, 1, &now) <= S3_FLOW_FIRST * 3 / 2);
}

static void test_slowdown_halves_once_for_a_burst(void **state UNUSED)
{
	struct s3_flow flow;
	uint64_t now = 1000;
	s3_flow_start(&flow, 256, now);
	s3_flow_step(&flow, true, 5, ++now);
	assert_int_equal(flow.limit, 16);
	s3_flow_step(&flow, true, 9, ++now);
	assert_int_equal(flow.limit, 16);
	now += 2000;
	s3_flow_step(&flow, true, 10, now);
	assert_int_equal(flow.limit, 8);
	for (uint64_t i = 11; i < 20; i++)
		s3_flow_step(&flow, true, i, now += 2000);
	assert_int_equal(flow.limit, 1);
	assert_true(run(&flow, 10, 1000000, 20, &now) > 32);
}

static void test_what_was_asked_for_is_the_most(void **state UNUSED)
{
	struct s3_flow flow;
	uint64_t now = 1000;
	s3_flow_start(&flow, 3, now);
	assert_int_equal(flow.limit, 3);
	assert_int_equal(run(&flow, 100, 1000000, 5, &now), 3);
}

static void test_idle_connections_are_no_reason(void **state UNUSED)
{
	struct s3_flow flow;
	uint64_t now = 1000;
	s3_flow_start(&flow, 256, now);
	for (int i = 0; i < 50; i++)
		s3_flow_step(&flow, false, 0, now += 300);
	assert_int_equal(flow.limit, S3_FLOW_FIRST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_latency_is_met_with_more),
		cmocka_unit_test(test_a_server_at_its_limit_gets_no_more),
		cmocka_unit_test(test_slowdown_halves_once_for_a_burst),
		cmocka_unit_test(test_what_was_asked_for_is_the_most),
		cmocka_unit_test(test_idle_connections_are_no_reason),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
