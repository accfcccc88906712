/*
 * What a directory of many files is as a whole, remembered with what was seen of it (walk_tree.h): while that is the same, neither its files'
 * digests nor its manifest are looked up one by one.
 *
 *     int64_t clock = whole_clock(repo);
 *     walk_look(repo, path, &walk, err);
 *     if (whole_is(repo, &walk, &id)) ... it is what the manifest id says, and the cache has the very bytes of that manifest
 *     else { walk_list(&walk); ... look closely, and if so: whole_learn(repo, &walk, &seen, &id, clock); }
 *
 * Nothing is remembered of files or of a manifest that are not older than the clock was before the look: they could change without a trace.
 * What may not be on disk yet counts until the next boot alone.
 */
#ifndef FEATURES_DATA_WHOLE_H
#define FEATURES_DATA_WHOLE_H

#include "features/data/walk.h"

/* The file system's clock; CLOCK_NONE where there is none, and nothing is learnt then. Read once, so to be asked before the first look. */
int64_t whole_clock(struct data_repo *repo);

/* What of a walk is needed to learn it, to be kept before walk_list. */
struct whole_seen {
	bool worth; /* the directory is large enough */
	int64_t newest;
	struct digest seen;
};
struct whole_seen whole_seen_of(const struct walk *walk);

bool whole_is(struct data_repo *repo, const struct walk *walk, const struct odb_id *id);

/* The caller has compared every file's digest with the manifest, and the manifest's bytes with its name, and found nothing odd. Failing is no
 * error: it is looked at closely again. */
void whole_learn(struct data_repo *repo, const struct walk *walk, const struct whole_seen *seen, const struct odb_id *id, int64_t clock);

/* That each object of the manifest id was looked at and found sound by its stat, while the cache was as whole_cache_seen said then. Counts
 * until the next boot. */
bool whole_was_sound(struct data_repo *repo, const struct odb_id *id, const struct digest *cache_seen);
void whole_learn_sound(struct data_repo *repo, const struct odb_id *id, const struct digest *cache_seen);

/* A value that is another one after an object came to the cache or went (odb_fingerprint). False, and DIGEST_NONE, where that cannot be
 * told. */
bool whole_cache_seen(struct data_repo *repo, struct digest *ret);

#endif
