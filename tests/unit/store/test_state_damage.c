/*
 * Databases that were damaged at random: none may end the process, be believed where it is wrong, or stay in the way.
 * MLMAKE_DAMAGE_ROUNDS and MLMAKE_DAMAGE_SEED say how many, and which.
 */
#include "unit/scratch.h"

#include "store/state.h"
#include "store/state_check.h"

#include <fcntl.h>

#define PAGE 4096u
#define NAMES 600

static uint64_t random_state;

static uint64_t roll(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

static uint64_t number_of(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);
	return text ? strtoull(text, NULL, 10) : otherwise;
}

/* What a record of that name says; large ones are on pages of their own. */
static void value_of(const char *name, struct buf *out)
{
	unsigned sum = 0;
	for (const char *c = name; *c; c++)
		sum = sum * 31 + (unsigned char)*c;
	size_t len = sum % 17 == 0 ? 3 * PAGE + sum % 9000 : sum % 300;
	buf_reset(out);
	while (out->len <= len)
		buf_addf(out, "%s %u;", name, sum);
}

static void put(struct scratch *s, struct state *state, enum state_table table, unsigned number)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	char name[32];
	snprintf(name, sizeof(name), "name%u", number);
	value_of(name, &value);
	OK(state_put(state, table, name, value.data, value.len, &s->err));
}

static void drop(struct scratch *s, struct state *state, enum state_table table, unsigned number)
{
	char name[32];
	snprintf(name, sizeof(name), "name%u", number);
	OK(state_remove(state, table, name, &s->err));
}

static enum state_table any_table(void)
{
	static const enum state_table tables[] = { STATE_STAT, STATE_RESULTS, STATE_HISTORY };
	return tables[roll(ARRAY_LEN(tables))];
}

static void some_writes(struct scratch *s, struct state *state, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		enum state_table table = any_table();
		if (roll(3))
			put(s, state, table, (unsigned)roll(NAMES));
		else
			drop(s, state, table, (unsigned)roll(NAMES));
		if (roll(150) == 0)
			OK(state_flush(state, &s->err));
	}
	OK(state_flush(state, &s->err));
}

static int is_right(void *ctx, const char *name, const void *bytes, size_t len, struct err *err)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	(void)ctx;
	(void)err;
	value_of(name, &value);
	assert_int_equal(value.len, len);
	assert_memory_equal(value.data, bytes, len);
	return 0;
}

static void believe_nothing_false(struct scratch *s, struct state *state)
{
	static const enum state_table tables[] = { STATE_STAT, STATE_RESULTS, STATE_HISTORY };
	for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
		for (unsigned i = 0; i < NAMES; i++) {
			char name[32];
			const void *bytes;
			size_t len;
			snprintf(name, sizeof(name), "name%u", i);
			if (state_get(state, tables[t], name, &bytes, &len))
				is_right(NULL, name, bytes, len, &s->err);
		}
		state_refresh(state);
		OK(state_each(state, tables[t], is_right, NULL, &s->err));
	}
}

static char *data_file(const struct scratch *s)
{
	return path_joined(s->root.data, ".mlmake/state/data.mdb");
}

static enum state_shape shape_of(struct scratch *s)
{
	char *file = data_file(s), *dir = path_joined(s->root.data, ".mlmake");
	int fd = sys.openat(AT_FDCWD, file, O_RDONLY, 0);
	assert_true(fd >= 0);
	enum state_shape shape = state_check_pages(fd, state_last(dir));
	sys.close(fd);
	free(file), free(dir);
	return shape;
}

/* What LMDB itself writes is never taken for damage, whatever it went through. */
static void whole_ones_are_whole(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	random_state = 88172645463325252u;
	OK(state_open(s->root.data, &state, &s->err));
	for (int i = 0; i < 40; i++) {
		some_writes(s, state, (unsigned)roll(i % 10 == 0 ? 900 : 40));
		assert_int_equal(shape_of(s), STATE_WHOLE);
	}
	for (unsigned i = 0; i < NAMES; i++)
		for (enum state_table table = STATE_STAT; table <= STATE_HISTORY; table++)
			drop(s, state, table, i);
	OK(state_flush(state, &s->err));
	assert_int_equal(shape_of(s), STATE_WHOLE);
	state_close(state);
}

static void make_whole_one(struct scratch *s, struct buf *ret)
{
	struct state *state;
	char *file = data_file(s);
	random_state = 88172645463325252u;
	OK(state_open(s->root.data, &state, &s->err));
	some_writes(s, state, 4000);
	state_close(state);
	OK(fs_read_file(file, 1 << 28, ret, &s->err));
	free(file);
}

static uint8_t *any_page(struct buf *bytes)
{
	return (uint8_t *)bytes->data + roll(bytes->len / PAGE) * PAGE;
}

static void fill_at_random(uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)roll(256);
}

static void damage(struct buf *bytes)
{
	uint8_t *page = any_page(bytes);
	static const size_t sizes[] = { 1, 2, 4, 8 };
	size_t len = sizes[roll(4)];
	switch (roll(10)) {
	case 0:
		fill_at_random(page, PAGE);
		break;
	case 1:
		memset(page, 0, PAGE);
		break;
	case 2:
		memcpy(page, any_page(bytes), PAGE);
		break;
	case 3:
		buf_truncate(bytes, roll(bytes->len));
		break;
	case 4:
		memset(page, 0xff, PAGE);
		break;
	case 5: /* in the two first pages, on which the most rests */
		fill_at_random((uint8_t *)bytes->data + roll(2) * PAGE + roll(152), len);
		break;
	case 6: /* in a page's head, and where its items are */
		fill_at_random(page + roll(40), len);
		break;
	case 7:
		fill_at_random(page + roll(PAGE - 8), len);
		break;
	case 8: /* a number that is nearly right */
		page[roll(40)] ^= (uint8_t)(1u << roll(8));
		break;
	default: /* one of the two first pages is an older one's */
		memcpy(bytes->data + roll(2) * PAGE + 16, bytes->data + roll(2) * PAGE + 16, 136);
	}
}

static void use_it(struct scratch *s, size_t *set_aside)
{
	struct state *state;
	size_t before = *set_aside;
	OK(state_open(s->root.data, &state, &s->err));
	believe_nothing_false(s, state);
	some_writes(s, state, 300);
	believe_nothing_false(s, state);
	*set_aside += state_notices(state)->len;
	for (size_t i = 0; i < state_notices(state)->len; i++)
		assert_non_null(strstr(state_notices(state)->at[i], "is damaged: it is set aside as"));
	state_close(state);
	assert_int_equal(shape_of(s), STATE_WHOLE);
	/* Said until somebody was there to be told. */
	OK(state_open(s->root.data, &state, &s->err));
	assert_int_equal(state_notices(state)->len > 0, *set_aside > before);
	state_told(state);
	state_close(state);
	OK(state_open(s->root.data, &state, &s->err));
	assert_int_equal(state_notices(state)->len, 0);
	state_close(state);
}

static void damaged_at_random(void **ctx)
{
	struct scratch *s = *ctx;
	struct buf whole CLEANUP(buf_release) = BUF_INIT;
	uint64_t rounds = number_of("MLMAKE_DAMAGE_ROUNDS", 12), seed = number_of("MLMAKE_DAMAGE_SEED", 1);
	size_t set_aside = 0;
	char *file = data_file(s);
	make_whole_one(s, &whole);
	for (uint64_t round = 0; round < rounds; round++) {
		struct buf bytes CLEANUP(buf_release) = BUF_INIT;
		printf("MLMAKE_DAMAGE_SEED=%llu\n", (unsigned long long)(seed + round));
		random_state = (seed + round) * 2654435769u + 88172645463325252u;
		buf_add(&bytes, whole.data, whole.len);
		for (uint64_t left = 1 + roll(3); left && bytes.len >= 2 * PAGE; left--)
			damage(&bytes);
		OK(fs_write_file(file, bytes.data, bytes.len, 0644, FS_VOLATILE, &s->err));
		use_it(s, &set_aside);
	}
	assert_true(set_aside >= rounds / 4);
	free(file);
}

/* The same file, of the same size, in the same place: the note must not vouch for it. */
static void damage_in_place_is_noticed(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	struct buf whole CLEANUP(buf_release) = BUF_INIT;
	struct fs_stamp stamp;
	size_t set_aside = 0;
	make_whole_one(s, &whole);
	char *file = data_file(s), *dir = path_joined(s->root.data, ".mlmake/state");
	int fd = sys.openat(AT_FDCWD, file, O_RDWR, 0);
	assert_true(state_is_noted(dir, fd, &stamp));
	OK(state_open(s->root.data, &state, &s->err));
	state_close(state);
	assert_true(state_is_noted(dir, fd, &stamp));
	scratch_tick(s);
	for (size_t page = 2; page < whole.len / PAGE; page++)
		assert_int_equal(sys.pwrite(fd, "\377\377\377\377", 4, (off_t)(page * PAGE)), 4);
	assert_false(state_is_noted(dir, fd, &stamp));
	sys.close(fd);
	use_it(s, &set_aside);
	assert_int_equal(set_aside, 1);
	free(file), free(dir);
}

/* The lock file, what is not a file at all, and a file where the directory should be. */
static void other_things_in_its_place(void **ctx)
{
	struct scratch *s = *ctx;
	struct state *state;
	struct buf whole CLEANUP(buf_release) = BUF_INIT;
	size_t set_aside = 0;
	make_whole_one(s, &whole);
	scratch_write(s, ".mlmake/state/lock.mdb", "no lock file at all");
	scratch_write(s, ".mlmake/state/whole", "nor this");
	use_it(s, &set_aside);
	assert_int_equal(set_aside, 0);
	scratch_remove(s, ".mlmake/state/data.mdb");
	scratch_write(s, ".mlmake/state/data.mdb/file", "");
	use_it(s, &set_aside);
	assert_int_equal(set_aside, 1);
	scratch_remove(s, ".mlmake/state");
	scratch_write(s, ".mlmake/state", "a file");
	use_it(s, &set_aside);
	assert_int_equal(set_aside, 2);
	scratch_write(s, ".mlmake/state/data.mdb", "");
	OK(state_open(s->root.data, &state, &s->err));
	assert_int_equal(state_notices(state)->len, 0);
	state_close(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(whole_ones_are_whole), TEST(damaged_at_random), TEST(damage_in_place_is_noticed), TEST(other_things_in_its_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
