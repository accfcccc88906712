#include "formats/md5_lanes.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define MD5_X86 1
#else
#define MD5_X86 0
#endif

/* The 64 steps of RFC 1321, section 3.4: function, registers, message word, rotation, constant. */
#define MD5_STEPS(STEP) \
	STEP(F, a, b, c, d,  0,  7, 0xd76aa478u) \
	STEP(F, d, a, b, c,  1, 12, 0xe8c7b756u) \
	STEP(F, c, d, a, b,  2, 17, 0x242070dbu) \
	STEP(F, b, c, d, a,  3, 22, 0xc1bdceeeu) \
	STEP(F, a, b, c, d,  4,  7, 0xf57c0fafu) \
	STEP(F, d, a, b, c,  5, 12, 0x4787c62au) \
	STEP(F, c, d, a, b,  6, 17, 0xa8304613u) \
	STEP(F, b, c, d, a,  7, 22, 0xfd469501u) \
	STEP(F, a, b, c, d,  8,  7, 0x698098d8u) \
	STEP(F, d, a, b, c,  9, 12, 0x8b44f7afu) \
	STEP(F, c, d, a, b, 10, 17, 0xffff5bb1u) \
	STEP(F, b, c, d, a, 11, 22, 0x895cd7beu) \
	STEP(F, a, b, c, d, 12,  7, 0x6b901122u) \
	STEP(F, d, a, b, c, 13, 12, 0xfd987193u) \
	STEP(F, c, d, a, b, 14, 17, 0xa679438eu) \
	STEP(F, b, c, d, a, 15, 22, 0x49b40821u) \
	STEP(G, a, b, c, d,  1,  5, 0xf61e2562u) \
	STEP(G, d, a, b, c,  6,  9, 0xc040b340u) \
	STEP(G, c, d, a, b, 11, 14, 0x265e5a51u) \
	STEP(G, b, c, d, a,  0, 20, 0xe9b6c7aau) \
	STEP(G, a, b, c, d,  5,  5, 0xd62f105du) \
	STEP(G, d, a, b, c, 10,  9, 0x02441453u) \
	STEP(G, c, d, a, b, 15, 14, 0xd8a1e681u) \
	STEP(G, b, c, d, a,  4, 20, 0xe7d3fbc8u) \
	STEP(G, a, b, c, d,  9,  5, 0x21e1cde6u) \
	STEP(G, d, a, b, c, 14,  9, 0xc33707d6u) \
	STEP(G, c, d, a, b,  3, 14, 0xf4d50d87u) \
	STEP(G, b, c, d, a,  8, 20, 0x455a14edu) \
	STEP(G, a, b, c, d, 13,  5, 0xa9e3e905u) \
	STEP(G, d, a, b, c,  2,  9, 0xfcefa3f8u) \
	STEP(G, c, d, a, b,  7, 14, 0x676f02d9u) \
	STEP(G, b, c, d, a, 12, 20, 0x8d2a4c8au) \
	STEP(H, a, b, c, d,  5,  4, 0xfffa3942u) \
	STEP(H, d, a, b, c,  8, 11, 0x8771f681u) \
	STEP(H, c, d, a, b, 11, 16, 0x6d9d6122u) \
	STEP(H, b, c, d, a, 14, 23, 0xfde5380cu) \
	STEP(H, a, b, c, d,  1,  4, 0xa4beea44u) \
	STEP(H, d, a, b, c,  4, 11, 0x4bdecfa9u) \
	STEP(H, c, d, a, b,  7, 16, 0xf6bb4b60u) \
	STEP(H, b, c, d, a, 10, 23, 0xbebfbc70u) \
	STEP(H, a, b, c, d, 13,  4, 0x289b7ec6u) \
	STEP(H, d, a, b, c,  0, 11, 0xeaa127fau) \
	STEP(H, c, d, a, b,  3, 16, 0xd4ef3085u) \
	STEP(H, b, c, d, a,  6, 23, 0x04881d05u) \
	STEP(H, a, b, c, d,  9,  4, 0xd9d4d039u) \
	STEP(H, d, a, b, c, 12, 11, 0xe6db99e5u) \
	STEP(H, c, d, a, b, 15, 16, 0x1fa27cf8u) \
	STEP(H, b, c, d, a,  2, 23, 0xc4ac5665u) \
	STEP(I, a, b, c, d,  0,  6, 0xf4292244u) \
	STEP(I, d, a, b, c,  7, 10, 0x432aff97u) \
	STEP(I, c, d, a, b, 14, 15, 0xab9423a7u) \
	STEP(I, b, c, d, a,  5, 21, 0xfc93a039u) \
	STEP(I, a, b, c, d, 12,  6, 0x655b59c3u) \
	STEP(I, d, a, b, c,  3, 10, 0x8f0ccc92u) \
	STEP(I, c, d, a, b, 10, 15, 0xffeff47du) \
	STEP(I, b, c, d, a,  1, 21, 0x85845dd1u) \
	STEP(I, a, b, c, d,  8,  6, 0x6fa87e4fu) \
	STEP(I, d, a, b, c, 15, 10, 0xfe2ce6e0u) \
	STEP(I, c, d, a, b,  6, 15, 0xa3014314u) \
	STEP(I, b, c, d, a, 13, 21, 0x4e0811a1u) \
	STEP(I, a, b, c, d,  4,  6, 0xf7537e82u) \
	STEP(I, d, a, b, c, 11, 10, 0xbd3af235u) \
	STEP(I, c, d, a, b,  2, 15, 0x2ad7d2bbu) \
	STEP(I, b, c, d, a,  9, 21, 0xeb86d391u)

void md5_lane_start(struct md5_state *state, unsigned lane)
{
	state->word[0][lane] = 0x67452301u;
	state->word[1][lane] = 0xefcdab89u;
	state->word[2][lane] = 0x98badcfeu;
	state->word[3][lane] = 0x10325476u;
}

void md5_lane_result(const struct md5_state *state, unsigned lane, uint8_t ret[16])
{
	for (unsigned i = 0; i < 16; i++)
		ret[i] = (uint8_t)(state->word[i / 4][lane] >> (8 * (i % 4)));
}

size_t md5_pad(uint8_t tail[2 * MD5_BLOCK], uint64_t len)
{
	size_t used = (size_t)(len % MD5_BLOCK);
	size_t end = used < MD5_BLOCK - 8 ? MD5_BLOCK : 2 * MD5_BLOCK;
	tail[used] = 0x80;
	memset(tail + used + 1, 0, end - used - 1 - 8);
	for (unsigned i = 0; i < 8; i++)
		tail[end - 8 + i] = (uint8_t)((len * 8) >> (8 * i));
	return end;
}

static inline uint32_t word_at(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* x is what the step before has just made, and comes last: clang would sort the sums in another order, and take a fifth longer. The two halves
 * of G share no bit, so that they may be added. */
#define SCALAR_F(w, x, y, z) ((w) + ((z) ^ ((x) & ((y) ^ (z)))))
#define SCALAR_G(w, x, y, z) ((w) + ((y) & ~(z)) + ((x) & (z)))
#define SCALAR_H(w, x, y, z) ((w) + ((x) ^ ((y) ^ (z))))
#define SCALAR_I(w, x, y, z) ((w) + ((y) ^ ((x) | ~(z))))
#define SCALAR_STEP(f, a, b, c, d, k, s, t)     \
	a += word_at(data + 4 * (k)) + (t);     \
	__asm__("" : "+r"(a));                  \
	a = SCALAR_##f(a, b, c, d);             \
	a = (a << (s) | a >> (32 - (s))) + b;

void md5_lane_alone(struct md5_state *state, unsigned lane, const uint8_t *data, size_t blocks)
{
	uint32_t a = state->word[0][lane], b = state->word[1][lane], c = state->word[2][lane], d = state->word[3][lane];
	for (; blocks; blocks--, data += MD5_BLOCK) {
		uint32_t a0 = a, b0 = b, c0 = c, d0 = d;
		MD5_STEPS(SCALAR_STEP)
		a += a0, b += b0, c += c0, d += d0;
	}
	state->word[0][lane] = a, state->word[1][lane] = b, state->word[2][lane] = c, state->word[3][lane] = d;
}

static void compress_plain(struct md5_state *state, const uint8_t *const *data, size_t blocks)
{
	md5_lane_alone(state, 0, data[0], blocks);
}

static const struct md5_backend plain_backend = { "plain", 1, compress_plain };

#if MD5_X86

/* The registers of a block are to be registers: gcc keeps arrays that loops walk over in memory at -O2. clang unrolls by itself. */
#if defined(__clang__)
#define UNROLLED
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

/* x is what the step before has just made: as little as can be waits for it. The two halves of G share no bit, so that they may be added. */
#define PAIR_F(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define PAIR_H(x, y, z) ((x) ^ ((y) ^ (z)))

/* 4 lanes: SSE2, which every x86-64 has. */
static void compress_sse2(struct md5_state *state, const uint8_t *const *data, size_t blocks)
{
	__m128i a = _mm_loadu_si128((const __m128i *)state->word[0]), b = _mm_loadu_si128((const __m128i *)state->word[1]);
	__m128i c = _mm_loadu_si128((const __m128i *)state->word[2]), d = _mm_loadu_si128((const __m128i *)state->word[3]);
	const __m128i ones = _mm_set1_epi32(-1);
	for (size_t at = 0; at < blocks * MD5_BLOCK; at += MD5_BLOCK) {
		__m128i m[16], a0 = a, b0 = b, c0 = c, d0 = d;
		UNROLLED
		for (unsigned q = 0; q < 4; q++) {
			__m128i r0 = _mm_loadu_si128((const __m128i *)(const void *)(data[0] + at + 16 * q));
			__m128i r1 = _mm_loadu_si128((const __m128i *)(const void *)(data[1] + at + 16 * q));
			__m128i r2 = _mm_loadu_si128((const __m128i *)(const void *)(data[2] + at + 16 * q));
			__m128i r3 = _mm_loadu_si128((const __m128i *)(const void *)(data[3] + at + 16 * q));
			__m128i t0 = _mm_unpacklo_epi32(r0, r1), t1 = _mm_unpackhi_epi32(r0, r1);
			__m128i t2 = _mm_unpacklo_epi32(r2, r3), t3 = _mm_unpackhi_epi32(r2, r3);
			m[4 * q] = _mm_unpacklo_epi64(t0, t2);
			m[4 * q + 1] = _mm_unpackhi_epi64(t0, t2);
			m[4 * q + 2] = _mm_unpacklo_epi64(t1, t3);
			m[4 * q + 3] = _mm_unpackhi_epi64(t1, t3);
		}
#define PAIR_I(x, y, z) ((y) ^ ((x) | ((z) ^ ones)))
#define SSE2_F(w, x, y, z) _mm_add_epi32(w, PAIR_F(x, y, z))
#define SSE2_G(w, x, y, z) _mm_add_epi32(_mm_add_epi32(w, _mm_andnot_si128(z, y)), _mm_and_si128(z, x))
#define SSE2_H(w, x, y, z) _mm_add_epi32(w, PAIR_H(x, y, z))
#define SSE2_I(w, x, y, z) _mm_add_epi32(w, PAIR_I(x, y, z))
#define SSE2_STEP(f, w, x, y, z, k, s, t)                                                                        \
	w = SSE2_##f(_mm_add_epi32(w, _mm_add_epi32(m[k], _mm_set1_epi32((int)(t)))), x, y, z);                  \
	w = _mm_add_epi32(_mm_or_si128(_mm_slli_epi32(w, s), _mm_srli_epi32(w, 32 - (s))), x);
		MD5_STEPS(SSE2_STEP)
		a = _mm_add_epi32(a, a0), b = _mm_add_epi32(b, b0), c = _mm_add_epi32(c, c0), d = _mm_add_epi32(d, d0);
	}
	_mm_storeu_si128((__m128i *)state->word[0], a), _mm_storeu_si128((__m128i *)state->word[1], b);
	_mm_storeu_si128((__m128i *)state->word[2], c), _mm_storeu_si128((__m128i *)state->word[3], d);
}

/* 8 words of 8 lanes, turned so that each register holds one word of all lanes. */
__attribute__((target("avx2"))) static inline void turn_avx2(__m256i m[8], const uint8_t *const *data, size_t at)
{
	__m256i r[8], t[8];
	UNROLLED
	for (unsigned i = 0; i < 8; i++)
		r[i] = _mm256_loadu_si256((const __m256i *)(const void *)(data[i] + at));
	UNROLLED
	for (unsigned i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
	}
	UNROLLED
	for (unsigned i = 0; i < 8; i += 4) {
		r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
		r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
		r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
		r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	UNROLLED
	for (unsigned i = 0; i < 4; i++) {
		m[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
		m[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
	}
}

/* Two sets of 8 lanes: the steps of one fill the time that the other waits for its own. */
__attribute__((target("avx2"))) static void compress_avx2(struct md5_state *state, const uint8_t *const *data, size_t blocks)
{
	__m256i s[2][4];
	const __m256i ones = _mm256_set1_epi32(-1);
	UNROLLED
	for (unsigned i = 0; i < 8; i++)
		s[i / 4][i % 4] = _mm256_loadu_si256((const __m256i *)(const void *)(state->word[i % 4] + 8 * (i / 4)));
	for (size_t at = 0; at < blocks * MD5_BLOCK; at += MD5_BLOCK) {
		__m256i m[16], n[16];
		__m256i a = s[0][0], b = s[0][1], c = s[0][2], d = s[0][3], a_ = s[1][0], b_ = s[1][1], c_ = s[1][2], d_ = s[1][3];
		turn_avx2(m, data, at);
		turn_avx2(m + 8, data, at + 32);
		turn_avx2(n, data + 8, at);
		turn_avx2(n + 8, data + 8, at + 32);
#define AVX2_F(w, x, y, z) _mm256_add_epi32(w, PAIR_F(x, y, z))
#define AVX2_G(w, x, y, z) _mm256_add_epi32(_mm256_add_epi32(w, _mm256_andnot_si256(z, y)), _mm256_and_si256(z, x))
#define AVX2_H(w, x, y, z) _mm256_add_epi32(w, PAIR_H(x, y, z))
#define AVX2_I(w, x, y, z) _mm256_add_epi32(w, PAIR_I(x, y, z))
#define AVX2_HALF(f, w, x, y, z, word, s, t)                                                                              \
	w = AVX2_##f(_mm256_add_epi32(w, _mm256_add_epi32(word, t)), x, y, z);                                            \
	w = _mm256_add_epi32(_mm256_or_si256(_mm256_slli_epi32(w, s), _mm256_srli_epi32(w, 32 - (s))), x);
#define AVX2_STEP(f, w, x, y, z, k, s, t)                                \
	{                                                                \
		const __m256i constant = _mm256_set1_epi32((int)(t));    \
		AVX2_HALF(f, w, x, y, z, m[k], s, constant)              \
		AVX2_HALF(f, w##_, x##_, y##_, z##_, n[k], s, constant)  \
	}
		MD5_STEPS(AVX2_STEP)
		s[0][0] = _mm256_add_epi32(s[0][0], a), s[0][1] = _mm256_add_epi32(s[0][1], b);
		s[0][2] = _mm256_add_epi32(s[0][2], c), s[0][3] = _mm256_add_epi32(s[0][3], d);
		s[1][0] = _mm256_add_epi32(s[1][0], a_), s[1][1] = _mm256_add_epi32(s[1][1], b_);
		s[1][2] = _mm256_add_epi32(s[1][2], c_), s[1][3] = _mm256_add_epi32(s[1][3], d_);
	}
	UNROLLED
	for (unsigned i = 0; i < 8; i++)
		_mm256_storeu_si256((__m256i *)(void *)(state->word[i % 4] + 8 * (i / 4)), s[i / 4][i % 4]);
}

/* 16 words of 16 lanes. */
__attribute__((target("avx512f"))) static inline void turn_avx512(__m512i m[16], const uint8_t *const *data, size_t at)
{
	__m512i r[16], t[16];
	UNROLLED
	for (unsigned i = 0; i < 16; i++)
		r[i] = _mm512_loadu_si512(data[i] + at);
	UNROLLED
	for (unsigned i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
	}
	UNROLLED
	for (unsigned i = 0; i < 16; i += 4) {
		r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	/* r[4 g + w] holds words w, w + 4, w + 8, w + 12 of lanes 4 g .. 4 g + 3 in its quarters. */
	UNROLLED
	for (unsigned w = 0; w < 4; w++) {
		__m512i low01 = _mm512_shuffle_i32x4(r[w], r[w + 4], 0x44), high01 = _mm512_shuffle_i32x4(r[w], r[w + 4], 0xee);
		__m512i low23 = _mm512_shuffle_i32x4(r[w + 8], r[w + 12], 0x44);
		__m512i high23 = _mm512_shuffle_i32x4(r[w + 8], r[w + 12], 0xee);
		m[w] = _mm512_shuffle_i32x4(low01, low23, 0x88);
		m[w + 4] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
		m[w + 8] = _mm512_shuffle_i32x4(high01, high23, 0x88);
		m[w + 12] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
	}
}

/* Truth tables of the four functions for vpternlogd. */
#define TERNARY_F 0xca
#define TERNARY_G 0xe4
#define TERNARY_H 0x96
#define TERNARY_I 0x39

__attribute__((target("avx512f"))) static void compress_avx512(struct md5_state *state, const uint8_t *const *data, size_t blocks)
{
	__m512i a = _mm512_loadu_si512(state->word[0]), b = _mm512_loadu_si512(state->word[1]);
	__m512i c = _mm512_loadu_si512(state->word[2]), d = _mm512_loadu_si512(state->word[3]);
	for (size_t at = 0; at < blocks * MD5_BLOCK; at += MD5_BLOCK) {
		__m512i m[16], a0 = a, b0 = b, c0 = c, d0 = d;
		turn_avx512(m, data, at);
#define AVX512_STEP(f, w, x, y, z, k, s, t)                                                                  \
	w = _mm512_add_epi32(_mm512_add_epi32(w, _mm512_add_epi32(m[k], _mm512_set1_epi32((int)(t)))),       \
			     _mm512_ternarylogic_epi32(x, y, z, TERNARY_##f));                              \
	w = _mm512_add_epi32(_mm512_rol_epi32(w, s), x);
		MD5_STEPS(AVX512_STEP)
		a = _mm512_add_epi32(a, a0), b = _mm512_add_epi32(b, b0);
		c = _mm512_add_epi32(c, c0), d = _mm512_add_epi32(d, d0);
	}
	_mm512_storeu_si512(state->word[0], a), _mm512_storeu_si512(state->word[1], b);
	_mm512_storeu_si512(state->word[2], c), _mm512_storeu_si512(state->word[3], d);
}

static const struct md5_backend sse2_backend = { "sse2", 4, compress_sse2 };
static const struct md5_backend avx2_backend = { "avx2", 16, compress_avx2 };
static const struct md5_backend avx512_backend = { "avx512", 16, compress_avx512 };

#endif

size_t md5_backends(const struct md5_backend *ret[4])
{
	size_t count = 0;
#if MD5_X86
	if (__builtin_cpu_supports("avx512f"))
		ret[count++] = &avx512_backend;
	if (__builtin_cpu_supports("avx2"))
		ret[count++] = &avx2_backend;
	ret[count++] = &sse2_backend;
#endif
	ret[count++] = &plain_backend;
	return count;
}

/* What is wide takes longer over a block, however few of its lanes are in use. */
const struct md5_backend *md5_backend_for(size_t messages)
{
	const struct md5_backend *all[4];
	size_t i = md5_backends(all) - 1;
	while (i > 0 && all[i]->lanes < messages)
		i--;
	while (i > 0 && all[i - 1]->lanes == all[i]->lanes)
		i--;
	return all[i];
}
