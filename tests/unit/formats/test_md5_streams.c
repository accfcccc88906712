#include "unit/unit.h"

#include "base/mem.h"
#include "formats/digest.h"
#include "formats/md5_streams.h"

#include <string.h>

#define STREAMS 19

static const size_t lengths[STREAMS] = { 0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 4095, 4096, 4097, 65537, 200001, 300000 };

struct message {
	struct md5_stream stream;
	uint8_t *bytes;
	size_t len, at;
};

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static void begin(struct message *messages, uint64_t *random)
{
	for (size_t i = 0; i < STREAMS; i++) {
		struct message *message = &messages[i];
		message->len = lengths[(i + next_random(random)) % STREAMS];
		message->at = 0;
		message->bytes = mem_alloc(message->len + 1);
		for (size_t k = 0; k < message->len; k++)
			message->bytes[k] = (uint8_t)next_random(random);
		md5_stream_begin(&message->stream);
	}
}

static void end(struct message *messages)
{
	for (size_t i = 0; i < STREAMS; i++) {
		struct digest expected, got = { .kind = DIGEST_MD5 };
		digest_bytes(DIGEST_MD5, messages[i].bytes, messages[i].len, &expected);
		md5_stream_end(&messages[i].stream, got.bytes);
		assert_true(digest_eq(&got, &expected));
		free(messages[i].bytes);
	}
}

/* Of some messages, a piece each: none, a few bytes, about a block, a lot or all that is left. */
static void add_some(const struct md5_backend *backend, struct message *messages, uint64_t *random)
{
	static const size_t most[] = { 1, 4, 70, 600, 70000, 1000000 };
	struct md5_piece pieces[STREAMS];
	size_t count = 0, first = next_random(random) % STREAMS, some = 1 + next_random(random) % STREAMS;
	for (size_t i = first; i < first + some; i++) {
		struct message *message = &messages[i % STREAMS];
		size_t len = next_random(random) % most[next_random(random) % ARRAY_LEN(most)];
		if (len > message->len - message->at)
			len = message->len - message->at;
		pieces[count++] = (struct md5_piece){ &message->stream, message->bytes + message->at, len };
		message->at += len;
	}
	md5_streams_add(backend, pieces, count);
}

static bool is_whole(const struct message *messages)
{
	for (size_t i = 0; i < STREAMS; i++) {
		if (messages[i].at < messages[i].len)
			return false;
	}
	return true;
}

static void pieces_by_every_backend(void **state UNUSED)
{
	const struct md5_backend *backends[4];
	size_t count = md5_backends(backends);
	struct message messages[STREAMS];
	uint64_t random = 11;
	for (size_t b = 0; b < count; b++) {
		for (unsigned turn = 0; turn < 10; turn++) {
			begin(messages, &random);
			while (!is_whole(messages))
				add_some(backends[b], messages, &random);
			end(messages);
		}
	}
}

/* What nothing was ever added to, and what came in one piece along with all others. */
static void whole_messages(void **state UNUSED)
{
	struct message messages[STREAMS];
	struct md5_piece pieces[STREAMS];
	struct md5_stream empty;
	struct digest expected, got = { .kind = DIGEST_MD5 };
	uint64_t random = 5;
	md5_stream_begin(&empty);
	md5_stream_end(&empty, got.bytes);
	digest_bytes(DIGEST_MD5, "", 0, &expected);
	assert_true(digest_eq(&got, &expected));
	begin(messages, &random);
	for (size_t i = 0; i < STREAMS; i++)
		pieces[i] = (struct md5_piece){ &messages[i].stream, messages[i].bytes, messages[i].len };
	md5_streams_add(md5_backend_for(STREAMS), pieces, STREAMS);
	end(messages);
}

static void a_backend_has_lanes_enough_and_no_more(void **state UNUSED)
{
	const struct md5_backend *backends[4];
	size_t count = md5_backends(backends);
	assert_int_equal(md5_backend_for(0)->lanes, 1);
	assert_int_equal(md5_backend_for(1)->lanes, 1);
	assert_ptr_equal(md5_backend_for(MD5_MAX_LANES), backends[0]);
	assert_ptr_equal(md5_backend_for(MD5_MAX_LANES + 1), backends[0]);
	for (size_t i = 0; i < count; i++) {
		if (backends[i]->lanes == 4)
			assert_ptr_equal(md5_backend_for(4), backends[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_by_every_backend),
		cmocka_unit_test(whole_messages),
		cmocka_unit_test(a_backend_has_lanes_enough_and_no_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
