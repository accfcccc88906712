/* Packs and indexes: what is written is read again, and bytes that lie are refused. */
#include "net/pack.h"

#include "../unit.h"

static const uint8_t nonce[PACK_NONCE] = "0123456789abcde";

static void add(struct pack_writer *pack, uint8_t name, const char *text)
{
	uint8_t md5[PACK_MD5] = { name };
	memcpy(pack_room(pack, strlen(text)), text, strlen(text));
	pack_add(pack, md5, strlen(text));
}

static void make_head(struct buf *out, size_t *ret_size)
{
	struct pack_writer pack = { .objects = { 0 } };
	add(&pack, 7, "one");
	add(&pack, 3, "");
	add(&pack, 9, "three");
	pack_head_render(&pack, nonce, out);
	*ret_size = out->len + pack.bytes.len;
	assert_int_equal(pack_head_len(3), out->len);
	assert_memory_equal(pack.bytes.at, "onethree", 8);
	pack_writer_release(&pack);
}

static void test_head(void **state UNUSED)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf head CLEANUP(buf_release) = BUF_INIT;
	struct pack_object *objects OWNED = NULL;
	uint32_t count, first;
	size_t size;
	make_head(&head, &size);
	assert_ok(pack_head_parse(head.data, head.len, size, &objects, &count, &first, &err), &err);
	assert_int_equal(count, 3);
	assert_int_equal(first, head.len);
	assert_int_equal(objects[0].md5[0], 7);
	assert_int_equal(objects[1].length, 0);
	assert_int_equal(objects[2].length, 5);
}

static void refuse_head(const struct buf *head, size_t len, uint64_t size, const char *words)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct pack_object *objects OWNED = NULL;
	uint32_t count, first;
	assert_error(pack_head_parse(head->data, len, size, &objects, &count, &first, &err), &err, ERR_DATA, words);
}

static void test_hostile_heads(void **state UNUSED)
{
	struct buf head CLEANUP(buf_release) = BUF_INIT;
	size_t size;
	make_head(&head, &size);
	for (size_t len = 0; len < head.len; len++)
		refuse_head(&head, len, size, "pack");
	refuse_head(&head, head.len, size + 1, "not as long");
	refuse_head(&head, head.len, (uint64_t)PACK_SIZE_MAX + 1, "damaged");
	head.data[24 + 3] = 0x7f; /* two thousand million objects */
	refuse_head(&head, head.len, size, "damaged");
	head.data[24 + 3] = 0;
	head.data[28 + 16 + 2] = 0x20; /* one of 2 MiB */
	refuse_head(&head, head.len, size + ((size_t)2 << 20), "too large");
	head.data[7] = 2;
	refuse_head(&head, head.len, size, "no pack of version 1");
}

static void test_when_a_pack_is_full(void **state UNUSED)
{
	struct pack_writer pack = { .objects = { 0 } };
	uint8_t md5[PACK_MD5] = { 0 };
	assert_true(pack_has_room(&pack, PACK_OBJECT_MAX));
	for (size_t i = 0; i < PACK_FULL / PACK_OBJECT_MAX; i++) {
		assert_true(pack_has_room(&pack, PACK_OBJECT_MAX));
		memset(pack_room(&pack, PACK_OBJECT_MAX), 'x', PACK_OBJECT_MAX);
		assert_int_equal(pack_add(&pack, md5, PACK_OBJECT_MAX), i * PACK_OBJECT_MAX);
	}
	assert_false(pack_has_room(&pack, 1));
	pack_writer_reset(&pack);
	for (size_t i = 0; i < PACK_COUNT_MAX; i++) {
		assert_true(pack_has_room(&pack, 0));
		pack_room(&pack, 0);
		pack_add(&pack, md5, 0);
	}
	assert_false(pack_has_room(&pack, 0));
	assert_true(pack_head_len(PACK_COUNT_MAX) + PACK_FULL <= PACK_SIZE_MAX);
	pack_writer_release(&pack);
}

static void make_index(struct pack_index *index, struct buf *out)
{
	vec_push(&index->packs, (struct pack_ref){ { 'p' }, 1000 });
	vec_push(&index->packs, (struct pack_ref){ { 'q' }, 500 });
	vec_push(&index->entries, (struct pack_entry){ { 1 }, 0, 100, 900 });
	vec_push(&index->entries, (struct pack_entry){ { 2 }, 1, 48, 0 });
	vec_push(&index->entries, (struct pack_entry){ { 2, 1 }, 1, 60, 400 });
	pack_index_render(index, nonce, out);
}

static void test_index(void **state UNUSED)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT, again CLEANUP(buf_release) = BUF_INIT;
	struct pack_index index = PACK_INDEX_INIT, read = PACK_INDEX_INIT;
	make_index(&index, &text);
	assert_ok(pack_index_parse(text.data, text.len, &read, &err), &err);
	assert_int_equal(read.packs.len, 2);
	assert_int_equal(read.packs.at[1].size, 500);
	assert_int_equal(read.entries.len, 3);
	assert_int_equal(read.entries.at[2].offset, 60);
	pack_index_render(&read, nonce, &again);
	assert_memory_equal(text.data, again.data, text.len);
	pack_index_release(&index);
	pack_index_release(&read);
}

static void refuse_index(const struct pack_index *index, const char *words)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct pack_index read = PACK_INDEX_INIT;
	pack_index_render(index, nonce, &text);
	assert_error(pack_index_parse(text.data, text.len, &read, &err), &err, ERR_DATA, words);
	assert_null(read.entries.at);
}

static void test_hostile_indexes(void **state UNUSED)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct pack_index index = PACK_INDEX_INIT, read = PACK_INDEX_INIT;
	make_index(&index, &text);
	for (size_t len = 0; len < text.len; len++)
		assert_error(pack_index_parse(text.data, len, &read, &err), &err, ERR_DATA, "index");
	memset(text.data + 24, 0xff, 8); /* so many packs and entries that their lengths overflow 32 bits */
	assert_error(pack_index_parse(text.data, text.len, &read, &err), &err, ERR_DATA, "not as long");

	struct pack_entry *entry = &index.entries.at[2], good = *entry;
	entry->pack = 2;
	refuse_index(&index, "outside");
	*entry = good;
	entry->offset = 101;
	refuse_index(&index, "outside");
	entry->offset = UINT32_MAX - 10;
	refuse_index(&index, "outside");
	entry->offset = 47; /* in the head */
	refuse_index(&index, "outside");
	*entry = good;
	entry->length = (1 << 20) + 1;
	refuse_index(&index, "outside");
	*entry = good;
	entry->md5[1] = 0; /* twice */
	refuse_index(&index, "not in order");
	entry->md5[0] = 1;
	refuse_index(&index, "not in order");
	*entry = good;
	index.packs.at[0].size = (64u << 20) + 1;
	refuse_index(&index, "too large");
	pack_index_release(&index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_hostile_heads),
		cmocka_unit_test(test_when_a_pack_is_full),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_hostile_indexes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
