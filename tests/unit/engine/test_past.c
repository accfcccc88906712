#include "unit/scratch.h"

#include "engine/cache.h"
#include "engine/components.h"
#include "engine/past.h"
#include "engine/share_record.h"

static struct digest digest_of(const char *text)
{
	struct digest digest;
	digest_bytes(DIGEST_SHA256, text, strlen(text), &digest);
	return digest;
}

static void make_record(struct record *record)
{
	struct digest one = digest_of("1"), two = digest_of("2"), tracked = { .kind = DIGEST_MD5 };
	*record = (struct record)RECORD_INIT;
	record->exists = true;
	components_begin(&record->components);
	components_add_text(&record->components, COMPONENT_COMMAND, "0", "python train.py");
	components_add_digest(&record->components, COMPONENT_INPUT, "plain", 'f', &one);
	components_add_digest(&record->components, COMPONENT_INPUT, "tool", 'x', &two);
	components_add_digest(&record->components, COMPONENT_INPUT, "link", 'l', &two);
	components_add_digest(&record->components, COMPONENT_INPUT, "data", 'f', &tracked);
	components_add_absent(&record->components, COMPONENT_INPUT, "gone");
	components_add_text(&record->components, COMPONENT_PARAM, "params.yaml:lr", "0.1");
	vec_push(&record->outputs, (struct manifest_entry){ .path = "out", .type = HASH_DIR, .mode = 0755 });
	vec_push(&record->outputs, (struct manifest_entry){ .path = "out/a", .type = HASH_FILE, .mode = 0755, .digest = one });
}

static int take_one(void *ctx, const char *name, const void *bytes, size_t len, struct err *err)
{
	struct buf *found = ctx;
	(void)err;
	buf_reset(found);
	buf_add(found, bytes, len);
	assert_memory_equal(name, "train\n", 6);
	return 0;
}

static int count_one(void *ctx, const char *name, const void *bytes, size_t len, struct err *err)
{
	(void)name, (void)bytes, (void)len, (void)err;
	++*(size_t *)ctx;
	return 0;
}

static void what_is_kept_of_a_result(void **ctx)
{
	struct scratch *s = *ctx;
	struct record record;
	struct past past;
	struct state *state;
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct digest one = digest_of("1"), two = digest_of("2"), key;
	make_record(&record);
	components_key(record.components.data, record.components.len, &key);
	OK(state_open(s->root.data, &state, &s->err));
	OK(past_add(state, "train", &record, &s->err));
	OK(state_each(state, STATE_PAST, take_one, &bytes, &s->err));
	assert_true(past_read(bytes.data, bytes.len, &past));
	assert_true(digest_eq(&past.key, &key));
	assert_int_equal(past.inputs.len, 2);
	assert_true(past.inputs.at[0].path == past_hash_path("plain") && past.inputs.at[0].content == past_hash_content(&one, false));
	assert_true(past.inputs.at[1].path == past_hash_path("tool") && past.inputs.at[1].content == past_hash_content(&two, true));
	assert_int_equal(past.outputs.len, 1);
	assert_true(past.outputs.at[0].path == past_hash_path("out/a") && past.outputs.at[0].content == past_hash_content(&one, true));
	assert_int_equal(past.params.len, 1);
	assert_string_equal(past.params.at[0].name, "params.yaml:lr");
	assert_true(past.params.at[0].value == past_hash_text("0.1"));
	past_release(&past);
	for (size_t len = 0; len < bytes.len; len++)
		assert_false(past_read(bytes.data, len, &past));
	state_close(state);
	record_release(&record);
}

/* The past of what the cache does not have would grow for ever. */
static void a_collection_forgets_what_is_gone(void **ctx)
{
	struct scratch *s = *ctx;
	struct record record;
	struct state *state;
	struct outputs *cache;
	struct project *project;
	struct outputs_gc_result result;
	const struct project_options options = { .dir = s->root.data };
	size_t count = 0;
	scratch_write(s, "mlmake.yaml", "targets: {train: {run: x, outputs: [out]}}\n");
	make_record(&record);
	OK(project_load(&options, &project, &s->err));
	OK(outputs_open(&cache, &s->err));
	OK(cache_know(cache, s->root.data, &s->err));
	OK(state_open(s->root.data, &state, &s->err));
	OK(past_add(state, "train", &record, &s->err));
	OK(cache_collect(cache, project, 0, true, &result, &s->err));
	OK(state_each(state, STATE_PAST, count_one, &count, &s->err));
	assert_int_equal(count, 1);
	OK(cache_collect(cache, project, 0, false, &result, &s->err));
	count = 0;
	OK(state_each(state, STATE_PAST, count_one, &count, &s->err));
	assert_int_equal(count, 0);
	state_close(state);
	outputs_close(cache);
	project_free(project);
	record_release(&record);
}

static void take_object(void *ctx, const struct digest *digest, uint64_t size)
{
	struct digest one = digest_of("1");
	assert_true(digest_eq(digest, &one) && size == 7);
	++*(size_t *)ctx;
}

/* A shared record goes out and comes back as it was; any byte of it that is another makes it none. */
static void a_shared_record_there_and_back(void **ctx)
{
	struct scratch *s = *ctx;
	struct action action = { .key = digest_of("key"), .duration_ms = 42, .log = BUF_INIT }, back;
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	const char *const paths[] = { "out" };
	struct digest link = digest_of("a");
	size_t objects = 0;
	vec_push(&action.manifest, (struct manifest_entry){ .path = "out", .type = HASH_DIR, .mode = 0755 });
	vec_push(&action.manifest, (struct manifest_entry){ .path = "out/a", .type = HASH_FILE, .mode = 0640, .size = 7, .digest = digest_of("1") });
	vec_push(&action.manifest, (struct manifest_entry){ .path = "out/l", .type = HASH_LINK, .mode = 0777, .size = 1, .digest = link, .target = "a" });
	buf_addstr(&action.log, "printed\n");
	share_record_write(&bytes, &action);
	OK(share_record_read(bytes.data, bytes.len, &action.key, paths, 1, 7, &back, &s->err));
	assert_true(manifest_same(&action.manifest, &back.manifest));
	assert_int_equal(back.manifest.at[1].mode, 0640);
	assert_string_equal(back.manifest.at[2].target, "a");
	assert_string_equal(back.log.data, "printed\n");
	assert_int_equal(back.duration_ms, 42);
	action_release(&back);
	assert_true(share_record_objects(bytes.data, bytes.len, take_object, &objects));
	assert_int_equal(objects, 1);
	assert_int_equal(share_record_read(bytes.data, bytes.len, &action.key, paths, 1, 6, &back, &s->err), -1);
	for (size_t i = 0; i < bytes.len; i++) {
		bytes.data[i] ^= 1;
		assert_int_equal(share_record_read(bytes.data, bytes.len, &action.key, paths, 1, 7, &back, &s->err), -1);
		bytes.data[i] ^= 1;
		assert_int_equal(share_record_read(bytes.data, i, &action.key, paths, 1, 7, &back, &s->err), -1);
	}
	action_release(&action);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_kept_of_a_result, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(a_collection_forgets_what_is_gone, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(a_shared_record_there_and_back, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
