/*
 * What hashes.c and hashes_save.c share.
 */
#ifndef STORE_HASHES_INTERNAL_H
#define STORE_HASHES_INTERNAL_H

#include "base/index.h"
#include "base/map.h"
#include "store/hashes.h"
#include "store/statrec.h"

struct fresh {
	struct fs_stamp stamp;
	struct digest digest;
	bool verify; /* came from hashes_record: looked at again before it is saved */
};

/* What is known of the files of one directory, for one kind of digest. */
struct dir_record {
	struct statrec saved;
	struct map fresh; /* name -> struct fresh */
	enum digest_kind kind;
	bool loaded; /* saved is what the database held */
	bool dirty;
};

/* What hashes_prefetch saw. */
struct prefetched {
	const char *path;      /* the caller's */
	struct fs_stamp stamp; /* mode 0: absent */
};

struct hashes {
	struct state *state;
	char *root;
	int root_fd;
	struct map dirs;        /* "<kind digit><directory>" -> struct dir_record */
	VEC(struct prefetched) stamps;
	struct index stamp_index; /* by path */
	struct digest empty[DIGEST_MD5_DOS2UNIX + 1]; /* by kind, of no bytes; DIGEST_NONE until needed */
	struct buf last_key;    /* of last_record: neighbours in a batch share their directory */
	struct dir_record *last_record;
	int clock_fd;           /* -1 until needed, -2 if there can be none */
	int64_t seen_clock;     /* what it last said */
	uint64_t boot;
	uint64_t files_read;
	uint64_t bytes_read;
	size_t unsaved;
	uint64_t leave_from;
	struct hashes_left *left; /* NULL: all is read */
	digest_told_fn *told; /* NULL: nobody watches */
	void *told_ctx;
};

int64_t hashes_clock_of(struct hashes *hashes);
uint64_t hashes_boot_of(struct hashes *hashes);
/* A file may change again unseen if its times are not older than the clock was when reading began. */
bool hashes_is_racy(const struct fs_stamp *stamp, int64_t clock);
/* The device is left out: its number may differ after a boot. */
bool hashes_same_stamp(const struct fs_stamp *recorded, const struct fs_stamp *now);
/* What the database holds of a directory, by its key. */
void hashes_load_saved(struct hashes *hashes, const char *key, struct dir_record *record);

#endif
