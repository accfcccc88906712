/* The bucket that limits how fast bodies move. */
#include "net/http_rate.h"

#include "../unit.h"

/* Bytes that pass in so many seconds where every ms a piece of that size wants to. */
static uint64_t passed(struct http_rate *rate, uint64_t piece, unsigned seconds, uint64_t *now)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < 1000 * seconds; i++, ++*now)
		sum += http_rate_take(rate, piece, *now) ? piece : 0;
	return sum;
}

static void test_what_passes_is_the_rate(void **state UNUSED)
{
	static const uint64_t pieces[] = { 1000, 16384, 262144 };
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		struct http_rate rate;
		uint64_t now = 5000;
		http_rate_start(&rate, 1000000, now);
		uint64_t sum = passed(&rate, pieces[i], 10, &now);
		assert_in_range(sum, 9800000, 10000000 + pieces[i]);
	}
}

static void test_rest_is_saved_up_for_a_tenth_of_a_second(void **state UNUSED)
{
	struct http_rate rate;
	uint64_t now = 0;
	http_rate_start(&rate, 1000000, now);
	now += 3600 * 1000;
	assert_in_range(passed(&rate, 5000, 1, &now), 1090000, 1106000);
}

static void test_what_left_already_is_paid_for(void **state UNUSED)
{
	struct http_rate rate;
	http_rate_start(&rate, 1000, 0);
	assert_false(http_rate_is_spent(&rate, 0));
	http_rate_charge(&rate, 2000);
	assert_true(http_rate_is_spent(&rate, 1999));
	assert_false(http_rate_take(&rate, 1, 1999));
	assert_false(http_rate_is_spent(&rate, 2000));
}

static void test_no_limit(void **state UNUSED)
{
	struct http_rate rate;
	http_rate_start(&rate, 0, 0);
	http_rate_charge(&rate, UINT32_MAX);
	assert_false(http_rate_is_spent(&rate, 0));
	assert_true(http_rate_take(&rate, UINT32_MAX, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_passes_is_the_rate),
		cmocka_unit_test(test_rest_is_saved_up_for_a_tenth_of_a_second),
		cmocka_unit_test(test_what_left_already_is_paid_for),
		cmocka_unit_test(test_no_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
