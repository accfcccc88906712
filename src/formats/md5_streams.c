#include "formats/md5_streams.h"

#include <string.h>

static void load(struct md5_state *state, unsigned lane, const struct md5_stream *stream)
{
	for (unsigned i = 0; i < 4; i++)
		state->word[i][lane] = stream->word[i];
}

static void store(const struct md5_state *state, unsigned lane, struct md5_stream *stream)
{
	for (unsigned i = 0; i < 4; i++)
		stream->word[i] = state->word[i][lane];
}

static void alone(struct md5_stream *stream, const uint8_t *data, size_t blocks)
{
	struct md5_state state;
	load(&state, 0, stream);
	md5_lane_alone(&state, 0, data, blocks);
	store(&state, 0, stream);
}

void md5_stream_begin(struct md5_stream *stream)
{
	struct md5_state state;
	md5_lane_start(&state, 0);
	store(&state, 0, stream);
	stream->len = 0;
}

/* Takes up to max bytes off the piece, to the end of the tail. */
static void keep(struct md5_piece *piece, size_t max)
{
	struct md5_stream *stream = piece->stream;
	size_t some = piece->len < max ? piece->len : max;
	if (!some)
		return;
	memcpy(stream->tail + stream->len % MD5_BLOCK, piece->bytes, some);
	stream->len += some;
	piece->bytes += some;
	piece->len -= some;
}

/* Completes the block that was begun. */
static void top_up(struct md5_piece *piece)
{
	size_t held = piece->stream->len % MD5_BLOCK;
	if (!held)
		return;
	keep(piece, MD5_BLOCK - held);
	if (piece->stream->len % MD5_BLOCK == 0)
		alone(piece->stream, piece->stream->tail, 1);
}

/* Those that have whole blocks left, as many as there are lanes; ret_blocks: so many each has. */
static unsigned choose(struct md5_piece *pieces, size_t count, unsigned lanes, struct md5_piece **ret, size_t *ret_blocks)
{
	unsigned busy = 0;
	for (size_t i = 0; i < count && busy < lanes; i++) {
		size_t blocks = pieces[i].len / MD5_BLOCK;
		if (!blocks)
			continue;
		*ret_blocks = busy && *ret_blocks < blocks ? *ret_blocks : blocks;
		ret[busy++] = &pieces[i];
	}
	return busy;
}

static void compress(const struct md5_backend *backend, struct md5_piece **busy, unsigned count, size_t blocks)
{
	struct md5_state state = { { { 0 } } };
	const uint8_t *data[MD5_MAX_LANES];
	for (unsigned i = 0; i < backend->lanes; i++)
		data[i] = busy[i < count ? i : 0]->bytes;
	for (unsigned i = 0; i < count; i++)
		load(&state, i, busy[i]->stream);
	backend->compress(&state, data, blocks);
	for (unsigned i = 0; i < count; i++)
		store(&state, i, busy[i]->stream);
}

void md5_streams_add(const struct md5_backend *backend, struct md5_piece *pieces, size_t count)
{
	struct md5_piece *busy[MD5_MAX_LANES];
	size_t blocks = 0;
	unsigned lanes;
	for (size_t i = 0; i < count; i++)
		top_up(&pieces[i]);
	while ((lanes = choose(pieces, count, backend->lanes, busy, &blocks)) > 0) {
		if (lanes == 1)
			alone(busy[0]->stream, busy[0]->bytes, blocks);
		else
			compress(backend, busy, lanes, blocks);
		for (unsigned i = 0; i < lanes; i++) {
			busy[i]->bytes += blocks * MD5_BLOCK;
			busy[i]->len -= blocks * MD5_BLOCK;
			busy[i]->stream->len += blocks * MD5_BLOCK;
		}
	}
	for (size_t i = 0; i < count; i++)
		keep(&pieces[i], MD5_BLOCK);
}

void md5_stream_end(struct md5_stream *stream, uint8_t ret[16])
{
	struct md5_state state;
	alone(stream, stream->tail, md5_pad(stream->tail, stream->len) / MD5_BLOCK);
	load(&state, 0, stream);
	md5_lane_result(&state, 0, ret);
}
