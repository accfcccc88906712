/*
 * MD5 of several messages at once: one message to a lane of the vector registers (RFC 1321 for the algorithm). md5 is
 * serial within a message, so this is the only way to use the width of the processor.
 */
#ifndef FORMATS_MD5_LANES_H
#define FORMATS_MD5_LANES_H

#include "base/compiler.h"

#define MD5_MAX_LANES 16
#define MD5_BLOCK 64

/* state[word][lane]: the words of one state lie lanes apart, as the registers want them. */
struct md5_state {
	uint32_t word[4][MD5_MAX_LANES];
};

struct md5_backend {
	const char *name;
	unsigned lanes;
	/* Takes blocks blocks of 64 bytes from each data[lane]. Every lane is read, used or not. */
	void (*compress)(struct md5_state *state, const uint8_t *const *data, size_t blocks);
};

/* Those that this processor can run, the fastest first; the last is plain C with one lane. */
size_t md5_backends(const struct md5_backend *ret[4]);
/* The one that is done first with a block of each of so many messages. */
const struct md5_backend *md5_backend_for(size_t messages);

void md5_lane_start(struct md5_state *state, unsigned lane);
void md5_lane_result(const struct md5_state *state, unsigned lane, uint8_t ret[16]);

/* One lane alone, in plain C: when the others have nothing left to do. */
void md5_lane_alone(struct md5_state *state, unsigned lane, const uint8_t *data, size_t blocks);

/* Writes the padding that follows the last len % 64 bytes of a message of len bytes: 1 or 2 blocks end at the returned
 * count of bytes. tail holds the len % 64 bytes already and has room for 128. */
size_t md5_pad(uint8_t tail[2 * MD5_BLOCK], uint64_t len);

#endif
