/*
 * A result as it lies on a remote, for other clones to restore.
 *
 *     mlmake/v1/actions/<key>       the record: what the outputs consist of, what was printed, how long it took
 *     mlmake/v1/objects/<sha256>    the bytes of a file
 *
 * The directories are flat, so that no path ends as an object's of DVC does (two digits, a slash, the rest of a digest). Objects are put first, then the record that names them, each at once or not at all.
 *
 * Record, version 1 (numbers little-endian, strings and blobs as in store/codec.h):
 *
 *     u32 "MLS1", u32 1, digest: sha256 of all that follows
 *     digest: the key; u64 ms that it took; u32 count; count times
 *         u8 'f' u32 mode, u64 size, digest, string path
 *         u8 'd' u32 mode, string path
 *         u8 'l' string path, string where it leads
 *     blob: what it printed
 *
 * A remote is not trusted: whoever may write there may write anything.
 */
#ifndef ENGINE_SHARE_RECORD_H
#define ENGINE_SHARE_RECORD_H

#include "store/outputs.h"

#define SHARE_PREFIX "mlmake/v1/"
#define SHARE_ACTIONS SHARE_PREFIX "actions/"
#define SHARE_OBJECTS SHARE_PREFIX "objects/"
#define SHARE_RECORD_MAX ((size_t)64 << 20)

/* Appends the record. */
void share_record_write(struct buf *out, const struct action *action);

/* What stands in the way of believing that the record is this key's result and may be put where a target's count outputs are: ERR_DATA.
 * It must be whole and of that key, list every output, nothing but them and what lies in them, each once, through no link, inside of the
 * project; files, links and directories alone, with no mode but permissions; and no more than max_bytes. Release *ret after success. */
int share_record_read(const void *bytes, size_t len, const struct digest *key, const char *const *paths, size_t count, uint64_t max_bytes,
		      struct action *ret, struct err *err) MUST_CHECK;

/* Only what a collection needs: the objects that a record names. False if it is damaged. */
typedef void share_object_fn(void *ctx, const struct digest *digest, uint64_t size);
bool share_record_objects(const void *bytes, size_t len, share_object_fn *visit, void *ctx);

/* "mlmake/v1/objects/<hex>", owned by the caller; and the digest of such a name (false if it is none). */
char *share_name(const char *prefix, const struct digest *digest);
bool share_parse_name(const char *prefix, const char *name, struct digest *ret);

#endif
