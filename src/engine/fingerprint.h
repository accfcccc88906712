/*
 * The key of a target: everything that its result is a function of.
 *
 *     struct fingerprint fp = FINGERPRINT_INIT;
 *     fingerprint_make(ctx, target, args, results, &fp, err);
 *     if the record's components equal fp.components, nothing that counts has changed
 *     fingerprint_key(&fp, &key);
 *     ... run ...
 *     fingerprint_changed_since(ctx, target, &fp)  names an input that is not what it was
 *     fingerprint_release(&fp);
 *
 * Inputs that DVC tracks count by md5, by the recorded one where they are absent; all else by sha256. A tracked directory counts
 * by the digest of its .dir manifest, so that it makes no difference whether it is checked out.
 */
#ifndef ENGINE_FINGERPRINT_H
#define ENGINE_FINGERPRINT_H

#include "engine/foresight.h"
#include "engine/params.h"
#include "engine/tools.h"
#include "graph/graph.h"
#include "store/hashes.h"
#include "store/manifest.h"

struct fingerprints {
	const struct project *project;
	struct project_files *files;
	struct hashes *hashes;
	struct tools *tools;
	struct params *params;
	char *platform;
	VEC(struct hash_item) items;   /* scratch */
	struct foresight foresight;    /* -n: files that will be so, whatever they are now */
};

struct watched {
	const char *path; /* in the fingerprint's arena */
	bool follow;      /* what a link at path leads to */
	struct fs_stamp stamp;
	struct digest racy; /* what it held, where its stamp does not tell; else DIGEST_NONE */
};

struct fingerprint {
	struct buf components;
	struct digest key;          /* DIGEST_NONE until asked for */
	bool has_inputs;            /* files or parameters */
	bool keeps_watch;           /* in: whether watched is wanted */
	VEC(struct watched) watched; /* the input files as they were */
	size_t params_at, params_len; /* where in components the parameters are */
	uint64_t files_changes;     /* project_files_changes when the input files were listed */
	struct strlist absent;      /* tracked inputs that must be materialised before running */
	struct arena arena;
};
#define FINGERPRINT_INIT { .components = BUF_INIT }

int fingerprints_init(struct fingerprints *ctx, const struct project *project, struct state *state, struct hashes *hashes,
		      struct err *err) MUST_CHECK;
void fingerprints_release(struct fingerprints *ctx);

/* results: by target id, of the targets that are needed. args: NULL or what follows the command. */
int fingerprint_make(struct fingerprints *ctx, const struct target *target, const struct string_list *args,
		     const struct digest *results, struct fingerprint *ret, struct err *err) MUST_CHECK;
const struct digest *fingerprint_key(struct fingerprint *fp);

/* The first input file or parameter file of a target that is not what it was for fp, also one that has come since; NULL if there is none. */
const char *fingerprint_changed_since(struct fingerprints *ctx, const struct target *target, const struct fingerprint *fp);

void fingerprint_reset(struct fingerprint *fp); /* for another target, memory kept */
void fingerprint_release(struct fingerprint *fp);

#endif
