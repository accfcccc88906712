/*
 * What lies below a directory, as it was read: by all processors, in no order, nothing copied. walk.c makes its sorted files of it where
 * they are needed; where all is as it was, `seen` says so without them.
 */
#ifndef FEATURES_DATA_WALK_TREE_H
#define FEATURES_DATA_WALK_TREE_H

#include "features/data/repo.h"

struct walk_found {
	uint32_t name_at;
	unsigned char type; /* d_type */
	bool ignored, is_link, broken, bad_name;
	int failed;         /* errno; ENOENT: gone since it was listed */
	struct fs_stamp stamp; /* of what a link leads to; of no directory */
};

struct walk_listing {
	char *rel;        /* below the walk's path; "" for itself */
	unsigned depth;
	DIR *dir;         /* while it is read */
	struct buf names; /* each with its NUL */
	VEC(struct walk_found) found;
	struct err err;
};

struct walk_tree {
	VEC(struct walk_listing) listings;
	size_t files;
	uint64_t bytes;
	int64_t newest;   /* the latest mtime or ctime of a file */
	struct digest seen; /* sha256 of every name and stamp; the same while nothing changed, if the file system lists in one order */
};

/* The directory at path, or its directory sub (""), .dvcignore respected. That of path itself must have been entered (repo_ignored). */
int walk_tree_read(struct data_repo *repo, const char *path, const char *sub, struct walk_tree *ret, struct err *err) MUST_CHECK;
void walk_tree_release(struct walk_tree *tree);
void walk_listing_release(struct walk_listing *listing);

#endif
