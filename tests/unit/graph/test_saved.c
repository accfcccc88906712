#include "unit/graph/project.h"

#include "graph/internal.h"

#include <stdlib.h>

static const char everything[] =
	"version: 1\n"
	"vars: {name: model, list: [a, b]}\n"
	"env: {SEED: '0'}\n"
	"pass_env: [FLAVOUR]\n"
	"secrets: [TOKEN]\n"
	"rules: none\n"
	"default: train\n"
	"pools: {one: 1, gpu: 2}\n"
	"cache: {remote: storage, push: always, timeout: 5s}\n"
	"ci: {install: 'curl x', targets: [train], branches: [main, dev], schedule: '0 1 * * *'}\n"
	"targets:\n"
	"  install: {run: x, inputs: [r.txt], stamp: .venv/stamp, path: [.venv/bin], desc: the environment}\n"
	"  prepare: {run: [a, b], outputs: [out/data], persist: true, cache: local, pool: one}\n"
	"  train:\n"
	"    needs: [install]\n"
	"    after: [prepare]\n"
	"    inputs: ['out/data/*.csv', '!out/data/no.csv', src/a.py]\n"
	"    outputs: [{path: 'out/${name}.onnx', track: true}]\n"
	"    metrics: [out/m.json]\n"
	"    params: ['params.yaml:train.lr,seed', other.yaml]\n"
	"    env: {LR: '1'}\n"
	"    pass_env: [MORE]\n"
	"    dir: src\n"
	"    shell: bash\n"
	"    tools: [cc, {name: python, version: [python, --version]}]\n"
	"    success_codes: [5, 6]\n"
	"    exit_codes: {1: tests failed}\n"
	"    exit_bits: {2: a warning}\n"
	"    timeout: 2h\n"
	"    retries: 3\n"
	"    backoff: 10s\n"
	"    resources: {cpu: 4, gpu: 1, memory: 8G}\n"
	"    pool: gpu\n"
	"    hook: false\n"
	"    ci: {runner: big, environment: prod, permissions: {id-token: write}, skip: true}\n"
	"    run: python train.py ${targets.prepare.outputs[0]}\n"
	"  report: {needs: [train], interactive: true, always: true, private: true, cache: false, run: 'x ${env:MLMAKE_NOT_SET}'}\n"
	"  all: {needs: [train, report]}\n";

static struct project *restored(const struct buf *bytes)
{
	struct project *project = mem_alloc(sizeof(*project));
	project->internal = mem_alloc(sizeof(*project->internal));
	buf_init(&project->internal->saved);
	project->root = arena_strdup(&project->arena, "/nowhere");
	if (graph_restore(project, bytes->data, bytes->len))
		return project;
	project_free(project);
	return NULL;
}

static void same_string(const char *a, const char *b)
{
	assert_true(text_eq(a, b));
}

/* What saving and restoring the same way would not notice: what is derived, and how things hang together. */
static void same_target(const struct project *p, const struct project *q, size_t i)
{
	const struct target *a = &p->targets[i], *b = &q->targets[i];
	assert_int_equal(a->id, b->id);
	same_string(a->name, b->name);
	same_string(a->dir, b->dir);
	same_string(a->settings->stamp, b->settings->stamp);
	assert_int_equal(a->run.len, b->run.len);
	for (size_t k = 0; k < a->run.len; k++)
		same_string(a->run.at[k], b->run.at[k]);
	same_string(a->settings->shell.at[0], b->settings->shell.at[0]);
	assert_int_equal(a->settings->env.len, b->settings->env.len);
	assert_int_equal(a->settings->timeout_ms, b->settings->timeout_ms);
	assert_int_equal(a->settings->backoff_ms, b->settings->backoff_ms);
	assert_int_equal(a->settings->resources.memory, b->settings->resources.memory);
	assert_int_equal(a->hook, b->hook);
	assert_int_equal(a->cache, b->cache);
	assert_int_equal(a->is_alias, b->is_alias);
	assert_int_equal(a->settings->pool ? a->settings->pool->limit : 0, b->settings->pool ? b->settings->pool->limit : 0);
	assert_int_equal(a->path_front.len, b->path_front.len);
	assert_int_equal(a->settings->exit_meanings.len, b->settings->exit_meanings.len);
	for (size_t k = 0; k < a->settings->exit_meanings.len; k++) {
		assert_int_equal(a->settings->exit_meanings.at[k].code, b->settings->exit_meanings.at[k].code);
		assert_int_equal(a->settings->exit_meanings.at[k].is_bit, b->settings->exit_meanings.at[k].is_bit);
		same_string(a->settings->exit_meanings.at[k].text, b->settings->exit_meanings.at[k].text);
	}
	assert_int_equal(a->needs.len, b->needs.len);
	assert_int_equal(a->after.len, b->after.len);
	assert_int_equal(a->makes_inputs.len, b->makes_inputs.len);
	assert_int_equal(a->used_by.len, b->used_by.len);
	for (size_t k = 0; k < a->used_by.len; k++)
		assert_int_equal(a->used_by.at[k], b->used_by.at[k]);
	for (size_t k = 0; k < a->outputs.len; k++) {
		const struct output_owner *owner = project_owner(q, a->outputs.at[k].path);
		assert_non_null(owner);
		assert_ptr_equal(owner->output, &b->outputs.at[k]);
	}
	assert_ptr_equal(project_find(q, a->name), b);
}

static void save_all(struct buf *out)
{
	struct project *project = load(everything);
	graph_save(project, out);
	project_free(project);
}

static void test_there_and_back(void **state)
{
	struct buf first CLEANUP(buf_release) = BUF_INIT, second CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct plan plan;
	(void)state;
	struct project *project = load(everything);
	graph_save(project, &first);
	struct project *again = restored(&first);
	assert_non_null(again);
	graph_save(again, &second);
	assert_int_equal(first.len, second.len);
	assert_memory_equal(first.data, second.data, first.len);
	assert_int_equal(project->target_count, again->target_count);
	for (size_t i = 0; i < project->target_count; i++)
		same_target(project, again, i);
	assert_string_equal(again->default_target, "train");
	assert_string_equal(again->cache.remote, "storage");
	assert_int_equal(again->cache.push, CACHE_PUSH_ALWAYS);
	assert_int_equal(again->cache.timeout_ms, 5000);
	assert_int_equal(project_span(again, &project_find(again, "train")->place, false).line, 14);
	assert_int_equal(plan_make(again, (const char *const[]){ "report" }, 1, &plan, &err), -1);
	assert_string_equal(err.message, "the environment variable MLMAKE_NOT_SET is not set");
	assert_string_equal(err.span.file, "mlmake.yaml");
	assert_int_equal(err.note_count, 1);
	project_free(project);
	project_free(again);
}

static void walk(struct project *project)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct plan plan;
	for (size_t i = 0; i < project->target_count; i++) {
		const char *name = project->targets[i].name;
		if (plan_make(project, &name, 1, &plan, &err) == 0)
			plan_release(&plan);
		err_release(&err);
		project_span(project, &project->targets[i].place, true);
	}
}

static void test_damage_is_no_graph_or_a_sound_one(void **state)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	size_t taken = 0;
	(void)state;
	save_all(&bytes);
	for (size_t at = 0; at < bytes.len; at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes.data[at] = (char)(bytes.data[at] ^ (1 << bit));
			struct project *project = restored(&bytes);
			if (project != NULL) {
				walk(project);
				taken++;
			}
			project_free(project);
			bytes.data[at] = (char)(bytes.data[at] ^ (1 << bit));
		}
	assert_true(taken > 0); /* of letters in names */
	for (size_t len = 0; len < bytes.len; len++) {
		struct buf cut CLEANUP(buf_release) = BUF_INIT;
		buf_add(&cut, bytes.data, len);
		assert_null(restored(&cut));
	}
}

static void test_another_version(void **state)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	(void)state;
	save_all(&bytes);
	bytes.data[0]++;
	assert_null(restored(&bytes));
	bytes.data[0]--;
	buf_addch(&bytes, 0);
	assert_null(restored(&bytes)); /* something behind it */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_temp_dir(test_there_and_back),
		in_temp_dir(test_damage_is_no_graph_or_a_sound_one),
		in_temp_dir(test_another_version),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
