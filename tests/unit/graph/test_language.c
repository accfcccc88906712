/* matrix and include: one declaration for many targets, many files for one graph. */
#include "project.h"

static void test_a_matrix_makes_instances_and_their_group(void **state)
{
	(void)state;
	struct project *p = load("vars: {out: 'm/${matrix.seed}'}\n"
				 "targets:\n"
				 "  train:\n"
				 "    desc: seed ${matrix.seed}\n"
				 "    matrix: {seed: [1, 0.5], kind: [tree, linear]}\n"
				 "    outputs: ['${out}-${matrix.kind}']\n"
				 "    run: train ${matrix.seed} ${matrix.kind}\n"
				 "    hook: true\n"
				 "  each:\n"
				 "    matrix: {seed: [1, 0.5]}\n"
				 "    needs: ['train@${matrix.seed},tree']\n"
				 "    run: use ${targets.train@1,linear.output}\n"
				 "  all: {needs: [train], run: x, inputs: ['m/*']}\n");
	assert_int_equal(p->target_count, 4 + 1 + 2 + 1 + 1);
	assert_string_equal(target_of(p, "train@1,tree")->run.at[0], "train 1 tree");
	assert_string_equal(target_of(p, "train@0.5,linear")->outputs.at[0].path, "m/0.5-linear");
	assert_string_equal(target_of(p, "train@0.5,linear")->desc, "seed 0.5");
	const struct target *group = target_of(p, "train");
	assert_true(group->is_alias);
	assert_string_equal(group->desc, "seed *");
	assert_int_equal(group->needs.len, 4);
	assert_int_equal(group->hook, HOOK_ON);
	assert_int_equal(target_of(p, "train@1,tree")->hook, HOOK_DEFAULT);
	const struct target *each = target_of(p, "each@0.5");
	assert_string_equal(each->run.at[0], "use m/1-linear");
	assert_int_equal(each->needs.len, 2);
	assert_int_equal(each->needs.at[0], target_of(p, "train@0.5,tree")->id);
	assert_int_equal(target_of(p, "all")->makes_inputs.len, 4);
	project_free(p);
}

/* A variable that names what only one target has must not keep that value for the next. */
static void test_values_of_one_target_do_not_reach_another(void **state)
{
	(void)state;
	put("a.yaml", "lr: 1\n");
	put("b.yaml", "lr: 2\n");
	struct project *p = load("vars: {rate: '${params.lr}', model: '${targets.make.output}'}\n"
				 "targets:\n"
				 "  a: {params: [a.yaml:lr], run: 'x ${rate} ${model}'}\n"
				 "  b: {params: [b.yaml:lr], run: 'x ${rate} ${model}'}\n"
				 "  make: {outputs: [m], run: y}\n");
	assert_string_equal(target_of(p, "a")->run.at[0], "x 1 m");
	assert_string_equal(target_of(p, "b")->run.at[0], "x 2 m");
	assert_int_equal(target_of(p, "a")->needs.len, 1);
	assert_int_equal(target_of(p, "b")->needs.len, 1);
	project_free(p);
}

static void test_refused_matrices(void **state)
{
	(void)state;
	refuse("targets:\n  a: {run: x, matrix: {s: []}}\n", 2, 24, "'s' has no values", NULL);
	refuse("targets:\n  a: {run: x, matrix: {}}\n", 2, 23, "the matrix of 'a' is empty", NULL);
	refuse("targets:\n  a: {run: x, matrix: {s: [1, 2, 1]}}\n", 2, 34, "'1' is there twice", NULL);
	refuse("targets:\n  a: {run: x, matrix: {s: [b c]}}\n", 2, 28,
	       "'b c' cannot be a value of a matrix: it becomes part of a target's name", NULL);
	refuse("targets:\n  a: {run: 'x ${matrix.t}', matrix: {s: [1]}}\n", 2, 15, "the matrix has no 't'", NULL);
	refuse("targets:\n  a: {run: 'x ${matrix.t}'}\n", 2, 15, "there is no matrix here that 't' could be of", NULL);
	refuse("targets:\n  a: {run: x, matrix: {s: [1, 2]}, outputs: [o]}\n", 2, 46, "targets 'a@1' and 'a@2' both write 'o'", NULL);
	refuse("targets:\n  a: {run: x, matrix: {s: [1]}, outputs: ['${matrix.s}']}\n  b: {run: '${targets.a.output}'}\n", 3, 13,
	       "'a' is a matrix, whose instances have outputs of their own", "name one of them: ${targets.a@1.output}");
	char yaml[4096] = "targets:\n  a: {run: x, matrix: {";
	for (int axis = 0; axis < 6; axis++) {
		char *end = yaml + strlen(yaml);
		end += sprintf(end, "%sk%d: [", axis ? ", " : "", axis);
		for (int value = 0; value < 10; value++)
			end += sprintf(end, "%s%d", value ? "," : "", value);
		strcpy(end, "]");
	}
	strcat(yaml, "}}\n");
	refuse(yaml, 2, 23, "the matrix of 'a' makes more than 100000 targets", NULL);
}

static void test_an_included_file_means_what_it_means_beside_itself(void **state)
{
	(void)state;
	put("services/api/params.yaml", "lr: 3\n");
	put("params.yaml", "lr: 1\n");
	put("services/api/mlmake.yaml", "vars: {who: api, image: '${who}:x'}\n"
					"env: {A: api, B: b}\n"
					"pools: {network: 7, own: 1}\n"
					"default: build\n"
					"targets:\n"
					"  build:\n"
					"    inputs: [src/*.c, '!src/x.c', ../../shared.txt]\n"
					"    outputs: [out/b]\n"
					"    params: [params.yaml:lr]\n"
					"    run: make ${image} ${outer} ${params.lr}\n"
					"  test: {needs: [build, lint], dir: sub, pool: own, run: 't ${targets.build.output} ${targets.top.output}'}\n"
					"  lint: {run: x}\n"
					"include: deeper.yaml\n");
	put("services/api/deeper.yaml", "targets:\n  z: {needs: [build], run: '${who}', stamp: s}\n");
	struct project *p = load("include: [services/api]\n"
				 "vars: {who: root, outer: '${who}'}\n"
				 "env: {A: root, C: c}\n"
				 "pools: {network: 2}\n"
				 "targets:\n"
				 "  top: {outputs: [top.txt], run: x}\n"
				 "  lint: {needs: ['api:lint'], run: x}\n"
				 "  use: {inputs: [services/api/out/b], run: x}\n");
	const struct target *build = target_of(p, "api:build");
	assert_string_equal(build->run.at[0], "make api:x root 3");
	assert_string_equal(build->dir, "services/api");
	assert_string_equal(build->inputs.at[0].glob, "services/api/src/*.c");
	assert_true(build->inputs.at[1].exclude);
	assert_string_equal(build->inputs.at[1].glob, "services/api/src/x.c");
	assert_string_equal(build->inputs.at[2].glob, "shared.txt");
	assert_string_equal(build->outputs.at[0].path, "services/api/out/b");
	assert_string_equal(build->params.at[0].file, "services/api/params.yaml");
	assert_string_equal(build->origin, "services/api/mlmake.yaml");
	assert_int_equal(build->settings->env.len, 3);
	assert_string_equal(build->settings->env.at[0].value, "api");
	const struct target *test = target_of(p, "api:test");
	assert_string_equal(test->dir, "services/api/sub");
	assert_string_equal(test->run.at[0], "t out/b ../../top.txt");
	assert_int_equal(test->needs.len, 3);
	assert_int_equal(test->needs.at[1], target_of(p, "api:lint")->id);
	assert_string_equal(target_of(p, "api:deeper:z")->run.at[0], "api");
	assert_string_equal(target_of(p, "api:deeper:z")->settings->stamp, "services/api/s");
	assert_int_equal(target_of(p, "api:deeper:z")->needs.at[0], build->id);
	assert_int_equal(target_of(p, "use")->makes_inputs.at[0], build->id);
	assert_int_equal(p->pool_count, 2);
	assert_int_equal(p->pools[0].limit, 2);
	assert_null(p->default_target);
	project_free(p);
}

static void test_refused_includes(void **state)
{
	(void)state;
	put("sub/mlmake.yaml", "include: ../mlmake.yaml\n");
	put("odd/x y.yaml", "targets: {}\n");
	put("d[1]/mlmake.yaml", "targets: {}\n");
	put("v2/mlmake.yaml", "version: 2\n");
	put("ok/mlmake.yaml", "targets: {a: {run: x}}\n");
	refuse("include: [gone.yaml]\n", 1, 11, "there is no file 'gone.yaml' to include", NULL);
	refuse("include: [../other]\n", 1, 11, "the included file '../other' lies outside the repository", NULL);
	refuse("include: odd/x y.yaml\n", 1, 10, "targets cannot be called 'x y:...'", "choose the name that they get: include: [{path: FILE, as: NAME}]");
	refuse("include: [{path: ok, as: a b}]\n", 1, 26, "targets cannot be called 'a b:...'", NULL);
	refuse("include: [{as: a}]\n", 1, 11, "an include without its path", NULL);
	refuse("include: [{path: 'd[1]', as: d}]\n", 1, 11, "'d[1]/mlmake.yaml' lies in a directory whose name reads as a glob", NULL);
	refuse("include: sub\n", 0, 0, "'mlmake.yaml' includes itself", NULL);
	refuse("include: v2\n", 0, 0, "version 2 of the language is not known", NULL);
	refuse("include: [ok, ok]\n", 0, 0, "there are two targets 'ok:a'",
	       "rename one of them, or include the file under another name: {path: FILE, as: NAME}");
	refuse("include: ok\ntargets: {'ok:a': {run: x}}\n", 0, 0, "there are two targets 'ok:a'", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_temp_dir(test_a_matrix_makes_instances_and_their_group),
		in_temp_dir(test_values_of_one_target_do_not_reach_another),
		in_temp_dir(test_refused_matrices),
		in_temp_dir(test_an_included_file_means_what_it_means_beside_itself),
		in_temp_dir(test_refused_includes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
