/*
 * The objects that a selection of outs consists of, each once, and the remotes that they belong to.
 */
#ifndef FEATURES_DATA_OBJECTS_H
#define FEATURES_DATA_OBJECTS_H

#include "base/index.h"
#include "features/data/outs.h"
#include "net/remote.h"

struct object {
	struct odb_id id;
	const char *name; /* a path that it stands for; a directory's ends in '/' */
	const char *key;  /* on the remote */
	uint64_t size;    /* REMOTE_SIZE_UNKNOWN */
	bool cached;      /* the cache has it */
	bool wanted;      /* in the selection; else only looked at for its directory's sake */
	bool on_remote;   /* known to be there and right */
	bool asked;       /* push: on_remote is an answer, not for want of one */
};

struct object_dir {
	uint32_t manifest;        /* index in list */
	VEC(uint32_t) members;
	bool known;               /* push: seen whole on the remote before, and still as it was */
};

struct objects {
	VEC(struct object) list;
	VEC(struct object_dir) dirs;
	struct index by_key;
	struct arena names;       /* and keys */
	bool only_wanted;         /* in: members out of the selection are not even looked at, and are not in dirs */
	struct strlist unknown;   /* directories whose manifest is nowhere at hand */
};
/* Not to be copied once something was added. */
#define OBJECTS_INIT { .list = { 0 } }

/* Adds one out: its object and, of a directory, its members, for which the manifest must be in the cache (else only itself). ERR_CONFIG for a
 * part that the directory does not have. */
int objects_add(struct data_repo *repo, struct objects *objects, const struct selected *selected, struct err *err) MUST_CHECK;
/* The object of an out alone. */
uint32_t objects_add_top(struct data_repo *repo, struct objects *objects, const struct selected *selected);
/* Any object by its id. */
uint32_t objects_add_id(struct data_repo *repo, struct objects *objects, const struct odb_id *id, const char *name);
void objects_release(struct objects *objects);

/* "data/x (md5 ...)" */
char *object_describe(const struct object *object);

/* "ab/cdef...[.dir]", for people. */
void object_add_name(struct buf *out, const struct odb_id *id);

/* Every file of a remote where objects lie, those of DVC 2 included; others are among them. */
int objects_list_remote(struct remote *remote, remote_visit_fn *visit, void *ctx, struct err *err) MUST_CHECK;

/* An out's remote, and what of a selection belongs to it. */
struct remote_group {
	const char *remote; /* NULL: the default */
	struct selection chosen;
};
struct remote_groups {
	VEC(struct remote_group) list;
};
/* chosen_remote: what was asked for; outs pinned to another one are left out then. for_push leaves out what is never pushed.
 * What comes from other repositories, and imports without content, belong to no remote. */
void groups_make(const struct selection *chosen, const char *chosen_remote, bool for_push, struct remote_groups *ret);
void groups_release(struct remote_groups *groups);

#endif
