#include "unit/scratch.h"

#include "engine/history.h"
#include "engine/run.h"

struct machine {
	struct resources res;
	struct pool_limit pool;
	struct project project;
	struct target_settings settings[4];
	struct target targets[4];
	struct node nodes[4];
	struct claim claims[4];
	struct node_list woken;
};

static void begin(struct machine *m, unsigned slots, unsigned pool_limit)
{
	*m = (struct machine){ .pool = { "net", pool_limit } };
	m->project.pools = &m->pool;
	m->project.pool_count = 1;
	for (size_t i = 0; i < 4; i++) {
		m->targets[i].settings = &m->settings[i];
		m->nodes[i].target = &m->targets[i];
	}
	setenv("MLMAKE_GPUS", "3,5", 1);
	setenv("MLMAKE_MEMORY", "8G", 1);
	resources_init(&m->res, &m->project, slots, NULL);
}

static enum take take(struct machine *m, size_t i)
{
	return resources_take(&m->res, &m->nodes[i], &m->claims[i]);
}

/* Which one was woken first; SIZE_MAX for none. */
static size_t give(struct machine *m, size_t i)
{
	m->woken.list.len = 0;
	resources_give(&m->res, &m->claims[i], &m->woken);
	return m->woken.list.len ? (size_t)(m->woken.list.at[0] - m->nodes) : SIZE_MAX;
}

static void end(struct machine *m)
{
	for (size_t i = 0; i < 4; i++)
		free(m->claims[i].gpus);
	vec_release(&m->woken.list);
	resources_release(&m->res);
}

static void processors_and_memory_are_waited_for(void **state)
{
	struct machine m;
	(void)state;
	begin(&m, 4, 1);
	m.settings[0].resources.cpus = 3;
	m.settings[1].resources.cpus = 2;
	m.settings[2].resources.memory = (uint64_t)6 << 30;
	m.settings[3].resources.memory = (uint64_t)100 << 30;
	assert_int_equal(take(&m, 0), TAKE_DONE);
	assert_int_equal(take(&m, 1), TAKE_WAIT);
	assert_int_equal(take(&m, 2), TAKE_DONE);
	assert_int_equal(give(&m, 0), SIZE_MAX);
	assert_int_equal(take(&m, 3), TAKE_WAIT);
	give(&m, 2);
	assert_int_equal(take(&m, 3), TAKE_DONE); /* more than there is: all of it */
	assert_int_equal(take(&m, 2), TAKE_WAIT);
	give(&m, 3);
	assert_int_equal(m.res.cpus_used, 0);
	assert_int_equal(m.res.memory_used, 0);
	end(&m);
}

static void all_processors_are_all_places(void **state)
{
	struct machine m;
	(void)state;
	begin(&m, 5, 1);
	m.res.machine = 4;
	m.settings[0].resources.cpus = 4;
	m.settings[2].resources.cpus = 3;
	assert_int_equal(take(&m, 0), TAKE_DONE);
	assert_int_equal(take(&m, 1), TAKE_WAIT);
	give(&m, 0);
	assert_int_equal(take(&m, 2), TAKE_DONE);
	assert_int_equal(take(&m, 1), TAKE_DONE);
	assert_int_equal(take(&m, 3), TAKE_DONE); /* beside them, the one more */
	give(&m, 1), give(&m, 2), give(&m, 3);
	assert_int_equal(m.res.cpus_used, 0);
	end(&m);
}

static void a_pool_wakes_one_for_each_place(void **state)
{
	struct machine m;
	(void)state;
	begin(&m, 8, 2);
	for (size_t i = 0; i < 4; i++)
		m.settings[i].pool = &m.pool;
	assert_int_equal(take(&m, 0), TAKE_DONE);
	assert_int_equal(take(&m, 1), TAKE_DONE);
	assert_int_equal(take(&m, 2), TAKE_PARKED);
	assert_int_equal(take(&m, 3), TAKE_PARKED);
	assert_int_equal(m.res.cpus_used, 2); /* what is parked holds nothing */
	assert_int_equal(give(&m, 1), 2);
	assert_int_equal(m.woken.list.len, 1);
	assert_int_equal(take(&m, 2), TAKE_DONE);
	assert_int_equal(give(&m, 0), 3);
	assert_int_equal(take(&m, 3), TAKE_DONE);
	assert_int_equal(give(&m, 2), SIZE_MAX);
	give(&m, 3);
	end(&m);
}

static void gpus_are_given_by_id(void **state)
{
	struct machine m;
	(void)state;
	begin(&m, 8, 1);
	m.settings[0].resources.gpus = m.settings[1].resources.gpus = 1;
	m.settings[2].resources.gpus = 2;
	m.settings[3].resources.gpus = 3;
	assert_int_equal(take(&m, 0), TAKE_DONE);
	assert_int_equal(take(&m, 1), TAKE_DONE);
	assert_string_equal(m.claims[0].gpus, "3");
	assert_string_equal(m.claims[1].gpus, "5");
	assert_int_equal(take(&m, 2), TAKE_PARKED);
	assert_int_equal(take(&m, 3), TAKE_DONE); /* it never can: to fail, or be restored */
	assert_true(m.claims[3].lacks_gpus);
	assert_null(m.claims[3].gpus);
	assert_int_equal(give(&m, 0), 2);
	assert_int_equal(take(&m, 2), TAKE_PARKED);
	assert_int_equal(give(&m, 1), 2);
	assert_int_equal(take(&m, 2), TAKE_DONE);
	assert_string_equal(m.claims[2].gpus, "3,5");
	end(&m);
}

static void history_survives(void **state)
{
	struct scratch *s = *state;
	struct state *db;
	struct history history;
	OK(state_open(s->root.data, &db, &s->err));
	for (unsigned i = 1; i <= HISTORY_LAST + 2; i++) {
		const struct history_entry entry = { i, i * 10, i == 2 ? RUN_FAILED : i == 3 ? RUN_RESTORED : RUN_SUCCEEDED };
		OK(history_add(db, "t", &entry, &s->err));
	}
	OK(state_flush(db, &s->err));
	history_load(&history, db, "t");
	assert_int_equal(history.last_len, HISTORY_LAST);
	assert_int_equal(history.last[0].finished_at, 3);
	assert_int_equal(history.last[0].outcome, RUN_RESTORED);
	assert_int_equal(history.succeeded, HISTORY_LAST);
	assert_int_equal(history.failed, 1);
	assert_int_equal(history.saved_ms, 30);
	history_load(&history, db, "other");
	assert_int_equal(history.last_len, 0);
	/* A record that ends too early, or says that it is longer than any, is none. */
	OK(state_put(db, STATE_HISTORY, "short", "xy", 2, &s->err));
	history_load(&history, db, "short");
	assert_int_equal(history.last_len, 0);
	char many[44];
	memset(many, 0xff, sizeof(many));
	OK(state_put(db, STATE_HISTORY, "many", many, sizeof(many), &s->err));
	history_load(&history, db, "many");
	assert_int_equal(history.last_len, 0);
	assert_int_equal(history.succeeded, 0);
	state_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(processors_and_memory_are_waited_for),
		cmocka_unit_test(all_processors_are_all_places),
		cmocka_unit_test(a_pool_wakes_one_for_each_place),
		cmocka_unit_test(gpus_are_given_by_id),
		cmocka_unit_test_setup_teardown(history_survives, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
