/* The words of a live line, at the pace of the last seconds. */
#include "cli/progress.h"

#include "../unit.h"

static const struct cli_progress half = { .verb = "fetching", .done = 1204, .total = 10000, .bytes = 50 << 20, .total_bytes = 100 << 20 };

static void assert_line(const struct cli_progress *now, const struct pace *pace, enum progress_form form, uint64_t now_ms, const char *due)
{
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	progress_line(&line, now, pace, form, now_ms);
	assert_string_equal(line.data, due);
}

/* Slow for an hour, then 10 MiB a second for ten. */
static struct pace make_pace(void)
{
	struct pace pace;
	pace_start(&pace, 0);
	pace_note(&pace, 0, 0, 0);
	for (unsigned i = 0; i <= 10; i++)
		pace_note(&pace, 1000 + 10 * i, (uint64_t)(i < 5 ? 0 : i - 5) * (10 << 20), 3600000 + i * 1000);
	return pace;
}

static void test_the_last_seconds_count(void **state UNUSED)
{
	struct pace pace = make_pace();
	assert_line(&half, &pace, PROGRESS_FULL, 3610000, "fetching  1,204/10,000  50.0 MiB/100.0 MiB  7.1 MiB/s  ETA 7s");
	struct cli_progress items = half;
	items.total_bytes = 0;
	assert_line(&items, &pace, PROGRESS_FULL, 3610000, "fetching  1,204/10,000  50.0 MiB  7.1 MiB/s  ETA 5m 53s");
}

static void test_narrow_terminals(void **state UNUSED)
{
	struct pace pace = make_pace();
	assert_line(&half, &pace, PROGRESS_NO_BYTES, 3610000, "fetching  1,204/10,000  7.1 MiB/s  ETA 7s");
	assert_line(&half, &pace, PROGRESS_PERCENT, 3610000, "fetching 50% ETA 7s");
	assert_line(&half, &pace, PROGRESS_LEAST, 3610000, "fetching 50%");
}

static void test_what_is_slow(void **state UNUSED)
{
	struct pace pace = make_pace();
	struct cli_progress slow = half;
	slow.slow = "models/big: no byte for 7 s";
	assert_line(&slow, &pace, PROGRESS_FULL, 3610000,
		    "fetching  1,204/10,000  50.0 MiB/100.0 MiB  7.1 MiB/s  ETA 7s  models/big: no byte for 7 s");
	assert_line(&slow, &pace, PROGRESS_LEAST, 3610000, "models/big: no byte for 7 s");
	assert_line(&slow, &pace, PROGRESS_LEAST, 3612000, "fetching 50%");
}

static void test_another_round_begins_anew(void **state UNUSED)
{
	struct pace pace = make_pace();
	struct cli_progress first = { .verb = "fetching", .done = 0, .total = 100 };
	pace_note(&pace, 0, 0, 3620000);
	assert_line(&first, &pace, PROGRESS_FULL, 3623000, "fetching  0/100");
	first.done = 50;
	assert_line(&first, &pace, PROGRESS_FULL, 3623000, "fetching  50/100  ETA 3s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_last_seconds_count),
		cmocka_unit_test(test_narrow_terminals),
		cmocka_unit_test(test_what_is_slow),
		cmocka_unit_test(test_another_round_begins_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
