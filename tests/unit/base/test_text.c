#include "unit/unit.h"

#include "base/intern.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/vec.h"

#include <stdalign.h>
#include <stddef.h>

static void test_utf8(void **state)
{
	(void)state;
	assert_true(text_is_utf8("plain", 5));
	assert_true(text_is_utf8("\xc3\xa9\xf0\x9f\x98\x80", 6));
	assert_false(text_is_utf8("\xc0\xaf", 2));          /* overlong */
	assert_false(text_is_utf8("\xed\xa0\x80", 3));      /* a surrogate */
	assert_false(text_is_utf8("\xf4\x90\x80\x80", 4));  /* above U+10FFFF */
	assert_false(text_is_utf8("\xe2\x82", 2));          /* cut short */
}

static void test_nearest(void **state)
{
	static const char *const names[] = { "train", "test", "lint", "data" };
	(void)state;
	assert_string_equal(text_nearest("trian", names, 4), "train");
	assert_string_equal(text_nearest("tests", names, 4), "test");
	assert_string_equal(text_nearest("ltni", names, 4), "lint");
	assert_string_equal(text_nearest("da", names, 4), "data");
	assert_null(text_nearest("deploy", names, 4));
	assert_null(text_nearest("list", (const char *const[]){ "int", "test" }, 2));
	assert_null(text_nearest("", names, 4));
	assert_int_equal(text_distance("trian", "train"), 1);
	assert_int_equal(text_distance("kitten", "sitting"), 3);
}

static void test_sizes_and_durations(void **state)
{
	uint64_t value;
	(void)state;
	assert_true(text_parse_size("8G", &value) && value == 8ull << 30);
	assert_true(text_parse_size("10k", &value) && value == 10240);
	assert_true(text_parse_size("512MiB", &value) && value == 512ull << 20);
	assert_false(text_parse_size("8X", &value));
	assert_false(text_parse_size("G", &value));
	assert_false(text_parse_size("99999999999999999999", &value));
	assert_true(text_parse_duration("90", &value) && value == 90000);
	assert_true(text_parse_duration("1h30m", &value) && value == 5400000);
	assert_true(text_parse_duration("250ms", &value) && value == 250);
	assert_false(text_parse_duration("", &value));
	assert_false(text_parse_duration("2 h", &value));
	assert_false(text_parse_duration("h", &value));
}

static void test_times(void **state UNUSED)
{
	assert_int_equal(text_parse_utc("1970-01-02T00:00:01Z"), 86401);
	assert_int_equal(text_parse_utc("1970-01-02T00:00:01.5+01:30"), 86401 - 5400);
	assert_int_equal(text_parse_utc("1970-01-02T00:00:01-0100"), 86401 + 3600);
	assert_int_equal(text_parse_utc("1970-01-02T00:00:01UTC"), 86401);
	assert_int_equal(text_parse_utc("tomorrow"), 0);
	assert_int_equal(text_parse_utc(NULL), 0);
}

static void test_what_strangers_wrote(void **state UNUSED)
{
	static const struct { const char *text; size_t most; const char *shown; } cases[] = {
		{ "plain", 100, "plain" }, { "a\033[2Jb\r\nc\x7f", 100, "a [2Jb  c " }, { "a\xc2\x9b""2Jb", 100, "a 2Jb" }, { "\xc3\xbc", 100, "\xc3\xbc" },
		{ "abc", 2, "ab" }, { "a\xc3\xbc", 2, "a" }, { "a\xe2\x82\xac", 3, "a" }, { "a\xe2\x82\xac", 4, "a\xe2\x82\xac" }, { "\x80\x80", 1, "" },
		{ "\xc2", 100, "\xc2" }, { "", 100, "" }, { "abc", 0, "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out CLEANUP(buf_release) = BUF_INIT;
		text_add_printable(&out, cases[i].text, cases[i].most);
		assert_string_equal(out.data, cases[i].shown);
	}
}

static void test_for_people(void **state)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	(void)state;
	text_add_bytes(&out, 1023);
	buf_addch(&out, ' ');
	text_add_bytes(&out, 1536);
	buf_addch(&out, ' ');
	text_add_count(&out, 1234567);
	buf_addch(&out, ' ');
	text_add_count(&out, 12);
	buf_addch(&out, ' ');
	text_add_duration(&out, 420);
	buf_addch(&out, ' ');
	text_add_duration(&out, 123000);
	assert_string_equal(out.data, "1023 B 1.5 KiB 1,234,567 12 0.42s 2m 03s");
}

static void test_shell_quoting(void **state)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	(void)state;
	text_add_shell_quoted(&out, "src/a-b.py");
	buf_addch(&out, ' ');
	text_add_shell_quoted(&out, "it's $HOME");
	buf_addch(&out, ' ');
	text_add_shell_quoted(&out, "");
	assert_string_equal(out.data, "src/a-b.py 'it'\\''s $HOME' ''");
}

static void test_words(void **state)
{
	struct strlist words CLEANUP(strlist_release) = { 0 };
	static const char *const expected[] = { "a", "$B&c", "d e", "f'g\"h\\i", "", "j k" };
	static const char *const open_ended[] = { "a 'b", "\"a", "a\\", "'" };
	(void)state;
	assert_true(text_split_words(" a\t$B&c 'd e' \"f'g\\\"h\\\\i\" '' j\\ k\n", &words));
	assert_int_equal(words.len, ARRAY_LEN(expected));
	for (size_t i = 0; i < words.len; i++)
		assert_string_equal(words.at[i], expected[i]);
	for (size_t i = 0; i < ARRAY_LEN(open_ended); i++)
		assert_false(text_split_words(open_ended[i], &words));
}

static void test_hex(void **state)
{
	uint8_t bytes[3];
	char text[7];
	(void)state;
	assert_true(text_unhex(bytes, 3, "00fFa9"));
	text_hex(text, bytes, 3);
	assert_string_equal(text, "00ffa9");
	assert_false(text_unhex(bytes, 3, "00ff"));
	assert_false(text_unhex(bytes, 3, "00ffa9b"));
	assert_false(text_unhex(bytes, 3, "00ffgg"));
}

static void test_map_keeps_order(void **state)
{
	struct map map CLEANUP(map_release) = MAP_INIT;
	char key[32];
	(void)state;
	assert_null(map_get(&map, "none"));
	for (size_t i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "key%zu", i * 7919 % 5000);
		assert_true(map_set(&map, key, (void *)(i + 1)));
	}
	assert_false(map_set(&map, "key0", (void *)1));
	assert_int_equal(map.len, 5000);
	for (size_t i = 0; i < map.len; i++) {
		snprintf(key, sizeof(key), "key%zu", i * 7919 % 5000);
		assert_string_equal(map.entries[i].key, key);
		assert_ptr_equal(map_get(&map, key), (void *)(i + 1));
	}
}

static void test_strlist(void **state)
{
	struct strlist list CLEANUP(strlist_release) = { 0 };
	(void)state;
	strlist_add(&list, "b");
	strlist_add(&list, "a");
	strlist_add(&list, "b");
	strlist_sort(&list);
	strlist_unique(&list);
	assert_int_equal(list.len, 2);
	assert_string_equal(list.at[0], "a");
	assert_true(strlist_has(&list, "b"));
	assert_false(strlist_has(&list, "c"));
}

static void test_arena(void **state)
{
	struct arena arena CLEANUP(arena_release) = { 0 };
	char *kept[300];
	(void)state;
	for (size_t i = 0; i < 300; i++) {
		kept[i] = arena_printf(&arena, "%zu:%0*d", i, (int)(i * 13 % 6000) + 1, 7);
		uint64_t *numbers = arena_alloc(&arena, (i % 5 + 1) * sizeof(*numbers));
		assert_int_equal((uintptr_t)numbers % alignof(uint64_t), 0);
		assert_int_equal((uintptr_t)arena_alloc(&arena, 2 * sizeof(max_align_t)) % alignof(max_align_t), 0);
		for (size_t k = 0; k < i % 5 + 1; k++)
			assert_int_equal(numbers[k], 0);
		memset(numbers, 0xff, (i % 5 + 1) * sizeof(*numbers));
	}
	for (size_t i = 0; i < 300; i++) {
		assert_int_equal(strtoul(kept[i], NULL, 10), i);
		assert_int_equal(kept[i][strlen(kept[i]) - 1], '7');
	}
	assert_string_equal(arena_join(&arena, "a/b", "c"), "a/b/c");
}

static const char *word_at(const void *ctx, uint32_t number)
{
	return ((char *const *)ctx)[number];
}

static void test_index(void **state)
{
	char *words[5000];
	struct index index CLEANUP(index_release) = INDEX_INIT(word_at, words);
	(void)state;
	assert_int_equal(index_find(&index, "none", 4), INDEX_NONE);
	for (uint32_t i = 0; i < ARRAY_LEN(words); i++) {
		words[i] = mem_printf("word%u", i);
		assert_true(index_add(&index, i));
	}
	assert_false(index_add(&index, 7));
	assert_int_equal(index.len, ARRAY_LEN(words));
	for (uint32_t i = 0; i < ARRAY_LEN(words); i++)
		assert_int_equal(index_find(&index, words[i], strlen(words[i])), i);
	assert_int_equal(index_find(&index, "word12", 5), 1); /* the length counts, not the NUL */
	assert_int_equal(index_find(&index, "word", 4), INDEX_NONE);
	assert_int_equal(index_find(&index, "", 0), INDEX_NONE);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		free(words[i]);
}

static void test_intern(void **state)
{
	struct arena arena CLEANUP(arena_release) = { 0 };
	struct intern intern = INTERN_INIT(&arena);
	(void)state;
	const char *first = intern_str(&intern, "train");
	for (unsigned i = 0; i < 1000; i++) {
		OWNED char *word = mem_printf("w%u", i);
		assert_string_equal(intern_str(&intern, word), word);
	}
	assert_ptr_equal(intern_strn(&intern, "training", 5), first);
	assert_string_not_equal(intern_str(&intern, "trai"), first);
	intern_release(&intern);
	assert_string_equal(first, "train");
}

static void test_err(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT, other = ERR_INIT;
	struct span span = { .file = "mlmake.yaml", .text = "run: x", .line = 3, .col = 1, .len = 3 };
	(void)state;
	assert_int_equal(err_set_errno(&err, ERR_FAILED, 28, "cannot write '%s'", "a"), -1);
	assert_string_equal(err.message, "cannot write 'a': No space left on device");
	assert_non_null(err.hint);
	err_set(&err, ERR_CONFIG, "again");
	assert_null(err.hint);
	assert_int_equal(err.sys_errno, 0);
	err_at(&err, &span);
	err_note(&err, "in target '%s'", "x");
	err_move(&other, &err);
	assert_null(err.message);
	assert_string_equal(other.span.file, "mlmake.yaml");
	assert_string_equal(other.notes[0], "in target 'x'");
	err_release(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_sizes_and_durations),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_what_strangers_wrote),
		cmocka_unit_test(test_for_people),
		cmocka_unit_test(test_shell_quoting),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_map_keeps_order),
		cmocka_unit_test(test_strlist),
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_intern),
		cmocka_unit_test(test_err),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
