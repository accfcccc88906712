/*
 * MD5 of several messages that come piece by piece: what came of each in a turn shares the lanes (formats/md5_lanes.h).
 *
 *     struct md5_stream one, other;
 *     md5_stream_begin(&one), md5_stream_begin(&other);
 *     struct md5_piece pieces[] = { { &one, bytes, len }, { &other, more, more_len } };
 *     md5_streams_add(md5_backend_for(2), pieces, 2);
 *     md5_stream_end(&one, digest); ...
 */
#ifndef FORMATS_MD5_STREAMS_H
#define FORMATS_MD5_STREAMS_H

#include "formats/md5_lanes.h"

/* Holds nothing that needs to be released. */
struct md5_stream {
	uint32_t word[4];
	uint64_t len;                /* so far */
	uint8_t tail[2 * MD5_BLOCK]; /* the last len % MD5_BLOCK bytes, and room for the padding */
};

struct md5_piece {
	struct md5_stream *stream;
	const uint8_t *bytes;
	size_t len;
};

void md5_stream_begin(struct md5_stream *stream);
/* Pieces of any lengths, and any number of them, each of another stream; equal lengths make the best use of the lanes. What the pieces say
 * afterwards means nothing. */
void md5_streams_add(const struct md5_backend *backend, struct md5_piece *pieces, size_t count);
void md5_stream_end(struct md5_stream *stream, uint8_t ret[16]);

#endif
