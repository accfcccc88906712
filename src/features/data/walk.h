/*
 * The files of a tracked path in the work tree: a file, or what is below a directory, .dvcignore respected.
 */
#ifndef FEATURES_DATA_WALK_H
#define FEATURES_DATA_WALK_H

#include "features/data/walk_tree.h"
#include "formats/dvcdir.h"
#include "store/hashes.h"

struct walk_file {
	const char *rel;     /* below the path; "" if the path is a file itself */
	bool is_link;        /* a symbolic link to a file, which counts as the file */
	bool exec;
	bool was_read;        /* walk_hash found no record that held, and read it */
	uint64_t size;
	struct digest digest; /* DIGEST_NONE until walk_hash */
	struct fs_stamp stamp;
};

struct walk {
	char *path;          /* relative to the root */
	enum digest_kind kind; /* in: of the files' digests; see tracked_kind */
	bool exists;
	bool is_dir;
	bool is_broken;      /* the path itself is a link to nothing: into a cache that lost the object, say */
	VEC(struct walk_file) files; /* sorted by rel */
	struct strlist odd;  /* what cannot be tracked: "data/pipe is a FIFO" */
	struct strlist broken; /* below the path: which of odd are links to nothing. They have a name, but no content */
	struct arena arena;
	struct walk_tree *tree; /* of a directory between walk_look and walk_list; files, odd and broken are empty until then */
};
#define WALK_INIT { .kind = DIGEST_MD5 }

/* What cannot be tracked (links to directories, broken links, FIFOs, sockets, devices, names that are not UTF-8, a .dvcignore, .dvc files)
 * goes to odd, and is an error of the caller's where it matters. A path that is absent gives exists = false. */
int walk_path(struct data_repo *repo, const char *path, struct walk *ret, struct err *err) MUST_CHECK;

/* The same in two steps, for those who may not need the files of a directory: what was seen of all of it together is in tree. */
int walk_look(struct data_repo *repo, const char *path, struct walk *ret, struct err *err) MUST_CHECK;
void walk_list(struct walk *walk); /* nothing to do where tree is NULL */

/* Of a directory, only what is at or below its member sub (NULL: everything); exists and is_dir still say what path itself is. Without a
 * look at the rest. */
int walk_part(struct data_repo *repo, const char *path, const char *sub, struct walk *ret, struct err *err) MUST_CHECK;

/* Fills the digests, from stat records where they hold. */
int walk_hash(struct data_repo *repo, struct walk *walk, struct err *err) MUST_CHECK;

/* The same from the records alone; the others keep DIGEST_NONE. */
int walk_hash_known(struct data_repo *repo, struct walk *walk, struct err *err) MUST_CHECK;

/* What a record of a hashed walk that exists says: its members (none of a file) and the id. */
int walk_describe(const struct walk *walk, struct dvc_dir *ret_members, struct odb_id *ret_id, struct err *err) MUST_CHECK;

/* Whether the cache has the very content of a file of a hashed walk, as DVC 3 keeps it or as DVC 2 did, whatever the walk's kind. */
bool walk_is_cached(struct data_repo *repo, const struct walk *walk, const struct walk_file *file);

void walk_release(struct walk *walk);

/* NULL if there is none. */
const struct walk_file *walk_find(const struct walk *walk, const char *rel);
/* Whether a file lies below the directory rel. */
bool walk_has_below(const struct walk *walk, const char *rel);

#endif
