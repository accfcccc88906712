#include "project.h"

#include <time.h>

static void expect_ids(const struct project *p, const uint32_t *ids, size_t len, const char *names)
{
	struct buf got CLEANUP(buf_release) = BUF_INIT;
	for (size_t i = 0; i < len; i++)
		buf_addf(&got, "%s%s", i ? " " : "", p->targets[ids[i]].name);
	assert_string_equal(got.data, names);
}

static void expect_plan(const struct project *p, const char *name, const char *names)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct plan plan;
	assert_ok(plan_make(p, &name, 1, &plan, &err), &err);
	expect_ids(p, plan.order, plan.len, names);
	plan_release(&plan);
}

static void test_edges_and_order(void **state)
{
	(void)state;
	struct project *p = load("targets:\n"
				 "  report: {inputs: [out/eval], needs: [train, train], run: x}\n"
				 "  eval: {inputs: ['models/*.onnx', 'out/data/*.csv'], outputs: [out/eval/m.json], run: x}\n"
				 "  train: {inputs: [out/data/a.csv], outputs: [models/m.onnx, models/notes.txt], run: x}\n"
				 "  prepare: {outputs: [out/data], run: x}\n"
				 "  clean: {after: [train], run: x}\n"
				 "  wide: {inputs: ['**', '!out', '!models'], outputs: [w.txt], run: x}\n");
	const struct target *eval = target_of(p, "eval"), *report = target_of(p, "report"), *train = target_of(p, "train");
	expect_ids(p, eval->makes_inputs.at, eval->makes_inputs.len, "train prepare");
	expect_ids(p, report->makes_inputs.at, report->makes_inputs.len, "eval");
	expect_ids(p, report->needs.at, report->needs.len, "train");
	expect_ids(p, train->used_by.at, train->used_by.len, "report eval clean");
	expect_ids(p, target_of(p, "wide")->makes_inputs.at, target_of(p, "wide")->makes_inputs.len, "");
	expect_plan(p, "report", "prepare train eval report");
	expect_plan(p, "clean", "clean");
	project_free(p);
}

static void test_ties_go_by_declaration(void **state)
{
	(void)state;
	struct project *p = load("targets:\n"
				 "  all: {needs: [c, a, b, z]}\n"
				 "  b: {run: x}\n"
				 "  z: {run: x, after: [c]}\n"
				 "  a: {run: x}\n"
				 "  c: {run: x}\n");
	expect_plan(p, "all", "b a c z all");
	project_free(p);
}

static void test_conflicts(void **state)
{
	(void)state;
	refuse("targets:\n  a: {run: x, outputs: [out/m]}\n  b: {run: x, outputs: [./out//m]}\n", 3, 25,
	       "targets 'a' and 'b' both write 'out/m'", NULL);
	refuse("targets:\n  a: {run: x, outputs: [out]}\n  b: {run: x, outputs: [out/m]}\n", 3, 25,
	       "output 'out' of 'a' and output 'out/m' of 'b' lie in each other", NULL);
	refuse("targets:\n  a: {run: x, outputs: [out/m]}\n  b: {run: x, outputs: [out]}\n", 3, 25,
	       "output 'out/m' of 'a' and output 'out' of 'b' lie in each other", NULL);
	refuse("targets:\n  a: {run: x, outputs: [m, m]}\n", 2, 28, "output 'm' is there twice", NULL);
	refuse("targets:\n  a: {run: x, inputs: [m], outputs: [m]}\n", 2, 24, "'m' is both input and output of target 'a'", NULL);
}

static void test_cycles(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct project *project;
	const struct project_options options = { .dir = NULL };
	refuse("targets:\n  a: {run: x, needs: [a]}\n", 2, 23, "targets need each other in a circle: a -> a", NULL);
	refuse("targets:\n"
	       "  start: {run: x, needs: [a]}\n"
	       "  a: {run: x, needs: [b]}\n"
	       "  b: {run: x, inputs: [c.txt]}\n"
	       "  c: {run: x, outputs: [c.txt], after: [a]}\n",
	       3, 23, "targets need each other in a circle: a -> b -> c -> a", "remove one of these from needs:, after: or inputs:");
	assert_int_equal(project_load(&options, &project, &err), -1);
	assert_int_equal(err.note_count, 3);
	assert_string_equal(err.notes[0], "'a' needs 'b' at mlmake.yaml:3:23");
	assert_string_equal(err.notes[1], "'b' reads what is made by 'c' at mlmake.yaml:4:24");
	assert_string_equal(err.notes[2], "'c' runs after 'a' at mlmake.yaml:5:41");
}

/* A chain, a glob that all share and an output each: time must grow with the count alone. */
static void test_many_targets(void **state)
{
	(void)state;
	const int count = 20000;
	struct buf yaml CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct plan plan;
	buf_addstr(&yaml, "targets:\n");
	for (int i = 0; i < count; i++) {
		buf_addf(&yaml, "  t%d:\n    run: make it\n    inputs: ['src/*.c'", i);
		if (i > 0)
			buf_addf(&yaml, ", out/%d.txt", i - 1);
		buf_addf(&yaml, "]\n    outputs: [out/%d.txt]\n", i);
	}
	clock_t start = clock();
	struct project *p = load(yaml.data);
	const char *last = p->targets[count - 1].name;
	assert_ok(plan_make(p, &last, 1, &plan, &err), &err);
	assert_int_equal(plan.len, count);
	assert_int_equal(plan.order[0], 0);
	plan_release(&plan);
	project_free(p);
	assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_temp_dir(test_edges_and_order),
		in_temp_dir(test_ties_go_by_declaration),
		in_temp_dir(test_conflicts),
		in_temp_dir(test_cycles),
		in_temp_dir(test_many_targets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
