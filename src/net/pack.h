/*
 * Packs and their indexes, as bytes: what a packed remote (net/remote_packed.h) keeps below mlmake/packs/1/ of the plain one.
 *
 *     <md5>.pack    many small objects, one after another:
 *                   "mlmpack\1", nonce[16], u32 count, count x (md5[16], u32 length), and the bytes of each in that order
 *     <md5>.index   which object lies where in which pack:
 *                   "mlmpidx\1", nonce[16], u32 packs, u32 entries, packs x (md5[16], u32 size),
 *                   entries x (md5[16], u32 pack, u32 offset, u32 length), ascending by md5, each md5 once
 *
 * Numbers are little-endian. Both are named by the md5 of their own bytes, which tells a damaged one, and never change. The nonce is random:
 * no name comes twice, so that what somebody has decided to delete is never what somebody else has just put there.
 *
 * Both readers take hostile bytes: counts are bounded by the length before anything is allocated, and every place is inside its pack.
 * Errors are ERR_DATA. Why it is so: docs/decisions/0016-packed-remotes.md
 */
#ifndef NET_PACK_H
#define NET_PACK_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

#define PACK_MD5 16
#define PACK_NONCE 16
#define PACK_OBJECT_MAX ((size_t)1 << 20) /* a larger object goes by itself */
#define PACK_FULL ((size_t)16 << 20)      /* bytes of objects after which a writer ends a pack */
#define PACK_COUNT_MAX 65536u             /* objects in one */
#define PACK_SIZE_MAX ((size_t)64 << 20)  /* what readers take */
#define PACK_INDEX_MAX ((size_t)256 << 20)
#define PACK_INDEX_ENTRIES 1000000u       /* after which a writer ends an index */

struct pack_object {
	uint8_t md5[PACK_MD5];
	uint32_t length;
};

/* Reads the head of a pack whose first len bytes are at hand. *ret_objects is allocated (free it), *ret_bytes where the first object begins.
 * size is that of the whole pack: objects must fill it exactly. */
int pack_head_parse(const void *bytes, size_t len, uint64_t size, struct pack_object **ret_objects, uint32_t *ret_count, uint32_t *ret_bytes,
		    struct err *err) MUST_CHECK;

/* A pack that is filled in memory. Zero-initialise. */
struct pack_writer {
	VEC(struct pack_object) objects;
	VEC(uint8_t) bytes;
};
/* Whether an object of that length belongs into this pack, or into the next. An empty one takes any of PACK_OBJECT_MAX. */
bool pack_has_room(const struct pack_writer *pack, size_t length);
/* Room for the bytes of one more object, which the caller fills; then pack_add, or nothing. Valid until the next call. */
uint8_t *pack_room(struct pack_writer *pack, size_t length);
/* The length bytes at pack_room are an object. Returns its offset from the first one. */
uint32_t pack_add(struct pack_writer *pack, const uint8_t md5[PACK_MD5], size_t length);
/* What stands before the objects. */
void pack_head_render(const struct pack_writer *pack, const uint8_t nonce[PACK_NONCE], struct buf *out);
size_t pack_head_len(size_t count);
void pack_writer_reset(struct pack_writer *pack);
void pack_writer_release(struct pack_writer *pack);

struct pack_ref {
	uint8_t md5[PACK_MD5]; /* its name */
	uint32_t size;
};
struct pack_entry {
	uint8_t md5[PACK_MD5]; /* of the object */
	uint32_t pack;         /* in packs */
	uint32_t offset;       /* from the beginning of the pack */
	uint32_t length;
};
struct pack_index {
	VEC(struct pack_ref) packs;
	VEC(struct pack_entry) entries;
};
#define PACK_INDEX_INIT { .packs = { 0 }, .entries = { 0 } }

int pack_index_parse(const void *bytes, size_t len, struct pack_index *ret, struct err *err) MUST_CHECK;
/* entries must ascend by md5, each once. */
void pack_index_render(const struct pack_index *index, const uint8_t nonce[PACK_NONCE], struct buf *out);
void pack_index_release(struct pack_index *index);

/* Sorts by md5, then by place; the same place twice becomes one. Returns how many are left. */
size_t pack_sort_entries(struct pack_entry *entries, size_t count);
bool pack_same_object(const struct pack_entry *a, const struct pack_entry *b);

#endif
