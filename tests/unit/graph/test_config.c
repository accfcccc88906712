#include "project.h"

static void test_values_are_expanded(void **state)
{
	(void)state;
	put("params.yaml", "train: {lr: 1e-3, seeds: [7, 8]}\nepochs: 3\n");
	put("other.yaml", "train: {lr: 5}\n");
	setenv("MLMAKE_TEST_WHO", "world", 1);
	unsetenv("MLMAKE_TEST_NOBODY");
	struct project *p = load("vars:\n"
				 "  a: x\n"
				 "  b: ${a}y\n"
				 "  nested: {deep: [p, q]}\n"
				 "targets:\n"
				 "  one:\n"
				 "    outputs: ['out/${a}.txt', out/z]\n"
				 "    run: |\n"
				 "      echo ${b} ${vars.a} ${nested.deep.1} ${params.train.lr} ${params.train.seeds.0}\n"
				 "      echo ${env:MLMAKE_TEST_WHO} ${env:MLMAKE_TEST_NOBODY:-none} $HOME $${HOME}\n"
				 "  two:\n"
				 "    params: [other.yaml:train]\n"
				 "    run: cat ${targets.one.outputs[1]} ${targets.one.output} ${params.train.lr} ${params.epochs}\n");
	assert_string_equal(target_of(p, "one")->run.at[0],
			    "echo xy x q 1e-3 7\necho world none $HOME ${HOME}\n");
	assert_string_equal(target_of(p, "one")->outputs.at[0].path, "out/x.txt");
	assert_string_equal(target_of(p, "two")->run.at[0], "cat out/z out/x.txt 5 3");
	assert_int_equal(target_of(p, "two")->needs.len, 1);
	assert_int_equal(target_of(p, "two")->needs.at[0], target_of(p, "one")->id);
	project_free(p);
}

static void test_every_field(void **state)
{
	(void)state;
	struct project *p = load("version: 1\n"
				 "env: {A: 1, B: no}\n"
				 "pass_env: [P]\n"
				 "secrets: [S]\n"
				 "default: t\n"
				 "targets:\n"
				 "  t:\n"
				 "    desc: does it\n"
				 "    inputs: [./src//*.py, '!src/x.py', src/a.txt]\n"
				 "    outputs: [{path: m.bin, track: true}, dir/]\n"
				 "    metrics: [m.json]\n"
				 "    params: ['params.yaml:a,b.c', p.json]\n"
				 "    run: [one, two]\n"
				 "    dir: sub\n"
				 "    shell: bash\n"
				 "    timeout: 2h\n"
				 "    retries: 2\n"
				 "    env: {B: b, C: 1:30}\n"
				 "    pass_env: Q\n"
				 "    cache: local\n"
				 "    always: true\n"
				 "    persist: true\n"
				 "    interactive: true\n"
				 "    private: true\n"
				 "    hook: false\n"
				 "    tools: [make, {name: cc, version: [cc, --version]}]\n"
				 "    success_codes: [5]\n"
				 "    ci: {runner: gpu, environment: prod, permissions: {contents: read}, skip: true}\n"
				 "  all: {needs: [t]}\n");
	const struct target *t = target_of(p, "t");
	assert_string_equal(p->default_target, "t");
	assert_string_equal(t->desc, "does it");
	assert_string_equal(t->inputs.at[0].glob, "src/*.py");
	assert_false(t->inputs.at[0].named);
	assert_true(t->inputs.at[1].exclude);
	assert_string_equal(t->inputs.at[1].glob, "src/x.py");
	assert_true(t->inputs.at[2].named);
	assert_int_equal(t->outputs.len, 3);
	assert_true(t->outputs.at[0].track);
	assert_string_equal(t->outputs.at[1].path, "dir");
	assert_true(t->outputs.at[2].metrics);
	assert_string_equal(t->params.at[0].file, "params.yaml");
	assert_int_equal(t->params.at[0].keys.len, 2);
	assert_string_equal(t->params.at[0].keys.at[1], "b.c");
	assert_int_equal(t->params.at[1].keys.len, 0);
	assert_int_equal(t->run.len, 2);
	assert_string_equal(t->dir, "sub");
	assert_string_equal(t->settings->shell.at[0], "bash");
	assert_int_equal(t->settings->shell.len, 3);
	assert_int_equal(t->settings->timeout_ms, 7200000);
	assert_int_equal(t->settings->retries, 2);
	assert_int_equal(t->settings->env.len, 3);
	assert_string_equal(t->settings->env.at[1].value, "b");
	assert_string_equal(t->settings->env.at[2].value, "1:30");
	assert_int_equal(t->settings->pass_env.len, 2);
	assert_int_equal(t->settings->secrets.len, 1);
	assert_int_equal(t->cache, CACHE_LOCAL);
	assert_true(t->always && t->persist && t->interactive && t->is_private);
	assert_int_equal(t->hook, HOOK_OFF);
	assert_int_equal(t->settings->tools.at[1].version_argv.len, 2);
	assert_int_equal(t->settings->success_codes.at[0], 5);
	assert_true(t->settings->ci->skip);
	assert_string_equal(t->settings->ci->permissions.at[0].value, "read");
	assert_true(target_of(p, "all")->is_alias);
	assert_string_equal(p->ci.branches.at[0], "main");
	project_free(p);
}

static void test_refused_documents(void **state)
{
	(void)state;
	refuse("targets:\n  a: {run: x, inptus: [b]}\n", 2, 15, "unknown key 'inptus'", "did you mean 'inputs'?");
	refuse("targts: {}\n", 1, 1, "unknown key 'targts'", "did you mean 'targets'?");
	refuse("targets: [a]\n", 1, 10, "'targets' is a list, not a map of names and their settings", NULL);
	refuse("targets:\n  a: {run: {x: y}}\n", 2, 12, "'run' is a map, not a string or a list of strings", NULL);
	refuse("targets:\n  a: {run: x, cache: lokal}\n", 2, 22, "'cache' cannot be 'lokal'", "did you mean 'local'?");
	refuse("targets:\n  a: {run: x, always: maybe}\n", 2, 23, "'always' is a string, not true or false", NULL);
	refuse("targets:\n  a: {run: x, timeout: soon}\n", 2, 24, "'timeout' is a string, not a duration such as 90s, 15m or 1h30m", NULL);
	refuse("targets:\n  a: {run: x, retries: -1}\n", 2, 24, "'retries' cannot be -1", NULL);
	refuse("targets:\n  a: {run: x, when: y}\n", 2, 15, "'when' is not supported in this version", NULL);
	refuse("targets:\n  a: {run: x, outputs: [out/${a}/x]}\n", 0, 0,
	       "invalid YAML: while parsing a flow sequence, did not find expected ',' or ']'",
	       "a value with ${...} needs quotes inside [...] and {...}: ['${name}/x']");
	refuse("version: 2\n", 1, 10, "version 2 of the language is not known", NULL);
	refuse("targets:\n  a:\n    desc: idle\n", 2, 3, "target 'a' has nothing to do", NULL);
	refuse("targets:\n  a b: {run: x}\n", 2, 3, "'a b' cannot be the name of a target", NULL);
	refuse("targets:\n  a: {run: x}\ndefault: b\n", 3, 10, "unknown target 'b'", NULL);
	refuse("targets:\n  a: {run: x, needs: [b]}\n", 2, 23, "unknown target 'b'", NULL);
	refuse("targets:\n  a: {run: x, outputs: [../b]}\n", 2, 25, "output '../b' lies outside the repository", NULL);
	refuse("targets:\n  a: {run: x, outputs: [/etc/b]}\n", 2, 25, "output '/etc/b' lies outside the repository", NULL);
	refuse("targets:\n  a: {run: x, outputs: [.]}\n", 2, 25, "the project's root cannot be an output", NULL);
	refuse("targets:\n  a: {run: x, outputs: [.git/x]}\n", 2, 25, "'.git/x' cannot be an output", NULL);
	refuse("targets:\n  a: {run: x, outputs: ['*.x']}\n", 2, 25, "output '*.x' is a glob", NULL);
	refuse("targets:\n  a: {run: x, dir: ../b}\n", 2, 20, "dir '../b' lies outside the repository", NULL);
}

static void test_refused_values(void **state)
{
	(void)state;
	put("params.yaml", "train: {lr: 1}\n");
	refuse("vars: {image: x}\ntargets:\n  a: {run: 'echo ${imgae}'}\n", 3, 18, "unknown name 'imgae'", "did you mean 'image'?");
	refuse("targets:\n  a: {run: 'echo ${HOME}'}\n", 2, 18, "unknown name 'HOME'",
	       "declare it below vars:, or write $${HOME} for a variable of the shell");
	refuse("targets:\n  a: {run: 'echo ${{ github.sha }}'}\n", 2, 18, "'${{' is no reference of this file", NULL);
	refuse("vars: {a: '${b}', b: '${c}', c: '${a}'}\ntargets:\n  t: {run: '${a}'}\n", 1, 34,
	       "variables go round in a circle: a -> b -> c -> a", NULL);
	refuse("vars: {params: x}\n", 1, 8, "a variable cannot be called 'params'", NULL);
	refuse("targets:\n  a: {run: '${params.train.rl}'}\n", 2, 13, "params.yaml has no 'train.rl'", "did you mean 'train.lr'?");
	refuse("targets:\n  a: {run: '${params.train}'}\n", 2, 13, "params.train is a map, not one value", NULL);
	refuse("targets:\n  a: {run: '${targets.b.outputs[0]}'}\n", 2, 13, "there is no target 'b'", NULL);
	refuse("targets:\n  a: {run: x, outputs: ['${targets.a.output}']}\n", 2, 26, "the outputs of 'a' are named by themselves", NULL);
	refuse("targets:\n  a: {run: x}\n  b: {run: '${targets.a.outputs[0]}'}\n", 3, 13,
	       "target 'a' has 0 outputs, not one numbered 0", NULL);
}

/* An environment that lacks a value is no trouble of other targets. */
static void test_missing_environment_is_an_error_of_its_target(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct plan plan;
	unsetenv("MLMAKE_TEST_NOBODY");
	struct project *p = load("vars: {token: '${env:MLMAKE_TEST_NOBODY}'}\n"
				 "targets:\n"
				 "  test: {run: x}\n"
				 "  deploy: {run: 'push ${token}'}\n"
				 "  again: {run: 'push ${token}'}\n");
	assert_ok(plan_make(p, (const char *[]){ "test" }, 1, &plan, &err), &err);
	plan_release(&plan);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "again" : "deploy";
		assert_error(plan_make(p, &name, 1, &plan, &err), &err, ERR_CONFIG, "MLMAKE_TEST_NOBODY is not set");
		assert_int_equal(err.span.line, 1);
		assert_non_null(err.hint);
	}
	project_free(p);
}

static int load_override(const char *override, struct project **ret, struct err *err)
{
	const struct project_options options = { .overrides = { (const char *[]){ override }, 1 } };
	return project_load(&options, ret, err);
}

static void test_overrides(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct project *p;
	put("params.yaml", "train: {lr: 1}\n");
	put("mlmake.yaml", "vars: {x: 1, y: '${x}'}\ntargets:\n  t: {run: '${x} ${y} ${params.train.lr}'}\n");
	assert_ok(load_override("vars.x=a=b", &p, &err), &err);
	assert_string_equal(target_of(p, "t")->run.at[0], "a=b a=b 1");
	project_free(p);
	assert_ok(load_override("params.train.lr=0.5", &p, &err), &err);
	assert_string_equal(target_of(p, "t")->run.at[0], "1 1 0.5");
	project_free(p);
	assert_error(load_override("vars.z=1", &p, &err), &err, ERR_CONFIG, "there is no variable 'z'");
	assert_error(load_override("z=1", &p, &err), &err, ERR_CONFIG, "'z=1' sets nothing that is known");
	assert_error(load_override("params.train.rl=1", &p, &err), &err, ERR_CONFIG, "no target uses ${params.train.rl}");
}

static void test_root_is_found_upward(void **state)
{
	(void)state;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	struct buf cwd CLEANUP(buf_release) = BUF_INIT;
	struct buf sub CLEANUP(buf_release) = BUF_INIT;
	assert_ok(path_cwd(&cwd, &err), &err);
	put("a/b/c", "");
	assert_ok(fs_mkdirs(".git", &err), &err);
	assert_ok(project_find_root("a/b", &root, &err), &err);
	assert_string_equal(root.data, cwd.data);
	put("a/mlmake.yaml", "");
	buf_reset(&root);
	buf_addf(&sub, "%s/a", cwd.data);
	assert_ok(project_find_root("a/b", &root, &err), &err);
	assert_string_equal(root.data, sub.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_temp_dir(test_values_are_expanded),
		in_temp_dir(test_every_field),
		in_temp_dir(test_refused_documents),
		in_temp_dir(test_refused_values),
		in_temp_dir(test_missing_environment_is_an_error_of_its_target),
		in_temp_dir(test_overrides),
		in_temp_dir(test_root_is_found_upward),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
