/*
 * A packed remote: a plain one, with packs beside its objects (net/pack.h). For src/net/remote_packed*.c only.
 *
 * What lies in packs is learnt from one listing of mlmake/packs/1/ and from the indexes there, which this clone keeps. An entry counts if its
 * pack is listed with the size that the index says. Objects that are in no pack are asked of, and go to, the plain layout: large ones, and what is
 * not named by its md5. Manifests have a place of their own, mlmake/manifests/1/: to dvc, one in the plain layout says that all that it lists is
 * there, too.
 */
#ifndef NET_REMOTE_PACKED_IMPL_H
#define NET_REMOTE_PACKED_IMPL_H

#include "net/pack.h"
#include "net/remote_impl.h"
#include "store/tempdir.h"

#define PACKED_PREFIX "mlmake/packs/1/"
#define PACKED_MANIFESTS "mlmake/manifests/1/"
#define PACKED_AT_ONCE 4     /* packs on their way at once, each a file beside */
#define PACKED_KEPT 8        /* packs that are kept open, for the next batch is likely to want the same */
#define PACKED_SETTLED_S 3600 /* a pack that no index names and that is younger is on its way; else its push was interrupted, or the index is gone */

struct packed_pack {
	struct pack_ref ref;
	int64_t modified_s;
	bool indexed;  /* an index names it */
	bool adopted;  /* none does, and its own head was read instead */
};

struct packed_open {
	uint8_t md5[PACK_MD5];
	int fd; /* -1: free */
	uint64_t used;
};

struct remote_packed {
	struct remote remote;
	struct remote *plain;
	char *dir;             /* of this place, for what is kept; made on first use */
	char *place;
	struct temp_dir temp;
	uint64_t temps, uses;  /* counters */
	struct packed_open open[PACKED_KEPT];

	bool loaded;
	VEC(struct packed_pack) packs;     /* by md5 */
	VEC(struct pack_entry) entries;    /* by md5, which may be there more than once; pack is in packs */
	VEC(struct pack_ref) indexes;
	VEC(uint8_t) also_plain;           /* of each entry, as list has seen it; empty: it has not looked */
	char *damaged;                     /* an index that cannot be read; NULL: none */
};

/* What lies in packs now, if that is not known yet. */
int packed_load(struct remote_packed *packed, struct err *err) MUST_CHECK;
/* Makes it known anew by the next load. */
void packed_forget(struct remote_packed *packed);
/* The packs and indexes on the remote, by md5; entries are left alone. */
struct packed_listing {
	VEC(struct packed_pack) packs;
	VEC(struct pack_ref) indexes;
};
int packed_list(struct remote_packed *packed, struct packed_listing *ret, struct err *err) MUST_CHECK;
void packed_listing_release(struct packed_listing *listing);
bool packed_listing_has(const struct packed_listing *listing, const struct pack_ref *pack);

/* The first entry of an object; entries.len if there is none. Further ones follow it. */
size_t packed_find(const struct remote_packed *packed, const uint8_t md5[PACK_MD5]);
bool packed_is(const struct remote_packed *packed, size_t entry, const uint8_t md5[PACK_MD5]);
/* The md5 that the key of an object says, where such an object may be in a pack. */
bool packed_key(const char *key, uint8_t ret_md5[PACK_MD5]);

/* "mlmake/packs/1/<md5>.pack", or ".index". Owned by the caller. */
char *packed_name(const uint8_t md5[PACK_MD5], const char *suffix);
/* A path that nobody uses, for a temporary of this process. */
char *packed_temp(struct remote_packed *packed, struct err *err);
void packed_nonce(uint8_t ret[PACK_NONCE]);
int packed_read(int fd, uint8_t *to, size_t len, uint64_t at); /* all of it, or -1 with errno */

/* Opens packs (at most PACKED_AT_ONCE), each the one of its item, whose path is ignored: fetches those that are not open already. Items get
 * their ret_state; an open one is had with packed_fd until the next call. */
int packed_open_packs(struct remote_packed *packed, const uint32_t *packs, struct remote_item *items, size_t count, const struct remote_sink *sink,
		      struct err *err) MUST_CHECK;
int packed_fd(const struct remote_packed *packed, uint32_t pack);

/* A sink that adds to what is done already; items of packs mean nothing to the caller. */
struct packed_sink {
	const struct remote_sink *outer;
	size_t items;
	uint64_t bytes;
	bool count_items; /* its items are the caller's */
	struct remote_sink sink;
};
const struct remote_sink *packed_sink(struct packed_sink *sink, const struct remote_sink *outer, size_t items, uint64_t bytes, bool count_items);

/* One call of the plain remote for some of the items, their manifests at PACKED_MANIFESTS. */
typedef int packed_plain_fn(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err);
/* The same for manifests among them that are MISSING there (or, removing, were removed), in the plain layout. */
int packed_plain_manifests(struct remote_packed *packed, packed_plain_fn *call, struct remote_item *items, const uint32_t *index, size_t count,
			   const struct remote_sink *sink, struct err *err) MUST_CHECK;
int packed_plain(struct remote_packed *packed, packed_plain_fn *call, struct remote_item *items, const uint32_t *index, size_t count,
		 const struct remote_sink *sink, struct err *err) MUST_CHECK;

/* Packs that are filled, sent and then indexed. Zero-initialise. */
struct packed_sent {
	struct pack_entry entry; /* its offset is from the first object until the pack is full */
	uint32_t item;
};
struct packed_built {
	struct pack_ref ref;
	char *path;      /* until it is sent */
	char *why;       /* it could not be */
	bool sent;
};
struct packed_sending {
	struct remote_packed *packed;
	const struct remote_sink *sink;
	struct pack_writer pack;
	VEC(struct packed_built) built;
	VEC(struct packed_sent) entries; /* those of the pack that is being filled last */
	size_t of_full;                  /* entries that are of packs in built */
	size_t unsent;                   /* packs from that one on are not sent yet */
	uint64_t bytes;                  /* sent since the last index */
};
void packed_sending_release(struct packed_sending *sending);
/* The object at pack_room(&sending->pack, length) is the item's. */
void packed_send_add(struct packed_sending *sending, const uint8_t md5[PACK_MD5], size_t length, uint32_t item);
/* Ends the pack that is being filled; sends when enough are full, or with `all` what there is. */
int packed_send(struct packed_sending *sending, bool all, struct err *err) MUST_CHECK;
/* Sends an index of what was sent, and of `more` (entries whose packs are in packed->packs), and looks whether all packs of it are there. */
int packed_send_index(struct packed_sending *sending, const struct pack_entry *more, size_t more_count, struct err *err) MUST_CHECK;

int packed_put(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err) MUST_CHECK;
int packed_get(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err) MUST_CHECK;
int packed_remove(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err) MUST_CHECK;

#endif
