/*
 * -n: files as they would be once outputs were restored, which they are not yet.
 *
 *     foresight_add(&foresight, files, paths, count, &manifest, err);
 *     if (foresight_covers(&foresight, path)) ... foresight_find(&foresight, path) will be there, NULL: nothing
 *     if (foresight_follow(&foresight, root, path, &real)) ... the same of what links lead to
 *
 * Paths are relative to the project's root and normalised. The list of files (project_files) shows what is foreseen, too.
 */
#ifndef ENGINE_FORESIGHT_H
#define ENGINE_FORESIGHT_H

#include "base/map.h"
#include "graph/graph.h"
#include "store/manifest.h"

struct foresight {
	struct map outputs;            /* paths: what will be there and below is in entries, or will not be there */
	struct map entries;            /* path -> const struct manifest_entry * of one of manifests */
	VEC(struct manifest) manifests;
};

void foresight_release(struct foresight *foresight);

/* Takes the manifest of the outputs at the count paths, and leaves an empty one. If what is in it changes more than itself (what is ignored,
 * what DVC tracks), nothing of it is foreseen, and the manifest stays the caller's. */
int foresight_add(struct foresight *foresight, struct project_files *files, const char *const *paths, size_t count, struct manifest *manifest,
		  struct err *err) MUST_CHECK;

bool foresight_covers(const struct foresight *foresight, const char *path);
const struct manifest_entry *foresight_find(const struct foresight *foresight, const char *path);

/* Appends where path leads to through links, foreseen ones and those that are there; relative to root where it is below. Whether that is covered. */
bool foresight_follow(const struct foresight *foresight, const char *root, const char *path, struct buf *ret_real);

#endif
