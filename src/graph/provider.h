/*
 * What features give to graph and engine, as one const table that src/cli passes down at start. Nothing calls upward
 * any other way.
 */
#ifndef GRAPH_PROVIDER_H
#define GRAPH_PROVIDER_H

#include "base/err.h"
#include "base/vec.h"
#include "formats/digest.h"

/* A path that is versioned as data (an out of a .dvc file), relative to the project's root. */
struct tracked_path {
	char *path;
	bool is_dir;
	struct digest digest; /* md5 of the file, or of the .dir manifest; DIGEST_NONE if its .dvc records none */
};
struct tracked_list {
	struct tracked_path *at;
	size_t len, cap;
};

struct arena;
struct remote_spec;

struct provider {
	/* Every tracked path of the project. No .dvc directory: an empty list. */
	int (*tracked)(const char *root, struct tracked_list *ret, struct err *err);
	/* The same as a commit of git has them. */
	int (*tracked_at)(const char *root, const char *commit, struct tracked_list *ret, struct err *err);
	/* Makes tracked paths present in the work tree: from the cache, else from the default remote. */
	int (*materialize)(const char *root, const char *const *paths, size_t count, struct err *err);
	/* Whether track_output could succeed, asked before anything runs. path NULL: for the project as a whole, which must be quick. */
	int (*can_track)(const char *root, const char *path, struct err *err);
	/* `data add` of an output with track: true, after its target succeeded. */
	int (*track_output)(const char *root, const char *path, struct err *err);
	/* How to reach a remote of the data configuration (net/remote.h); its strings are in the arena. */
	int (*remote)(const char *root, const char *name, struct arena *arena, struct remote_spec *ret, struct err *err);
};

void tracked_list_release(struct tracked_list *list);

#endif
