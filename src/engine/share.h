/*
 * Results shared through a remote (engine/share_record.h says how they lie there): asked for and offered while a run goes on.
 *
 *     share_open(&setup, loop, &sink, &share, err);
 *     share_ask(share, &key, paths, count, false, on_answer, ctx);   on_answer comes from a later loop_step
 *     share_offer(share, root, &action);                             outputs are read from the work tree, soon
 *     while (share_pending(share)) loop_step(loop, ...);
 *     share_close(share);
 *
 * Threads do the work, each with connections of its own; what they have to say arrives on the loop. What is found is verified and put into
 * the local output cache, on the loop's thread; files go to disk as they come. Nothing here fails a run: a remote that is down, refuses or is silent for too
 * long ends the asking (or the offering) with one warning, and every ask gets its answer. A result may take as long to fetch as it took
 * to make, or as a silent remote is waited for.
 */
#ifndef ENGINE_SHARE_H
#define ENGINE_SHARE_H

#include "base/loop.h"
#include "net/remote.h"
#include "store/outputs.h"

#define SHARE_TIMEOUT_MS 10000

struct share;

struct share_setup {
	struct outputs *cache;            /* gets what is found */
	const struct remote_spec *remote; /* its strings live as long as the share */
	uint64_t timeout_ms;              /* for which a remote may be silent; 0: SHARE_TIMEOUT_MS */
	uint64_t max_bytes;               /* of one result */
};
struct share_sink {
	void (*warn)(void *ctx, const char *message);
	void *ctx;
};
struct share_counts {
	size_t asked, fetched, sent, present, unsent; /* results; present: offered, and there already */
	uint64_t fetched_bytes, sent_bytes;
};

/* Nothing is sent yet. */
int share_open(const struct share_setup *setup, struct loop *loop, const struct share_sink *sink, struct share **ret,
	       struct err *err) MUST_CHECK;
/* Ends what is under way. NULL is fine. */
void share_close(struct share *share);

/* found: the result of that key is in the local output cache now; with record_only, its record was found and is good, and nothing was
 * fetched. action lives until the function returns; NULL where nothing was found. */
typedef void share_answer_fn(void *ctx, bool found, const struct action *action);

/* Returns false, and does nothing, where it makes no sense to ask any more. paths: of the target's outputs, as in outputs_restore. */
bool share_ask(struct share *share, const struct digest *key, const char *const *paths, size_t count, bool record_only, share_answer_fn *fn,
	       void *ctx);

/* The action's files are below root and are read from there; one that has changed is not sent, nor is its record. */
void share_offer(struct share *share, const char *root, const char *target_name, const struct action *action);

/* Results that were offered and are not settled yet. */
size_t share_pending(const struct share *share);
/* Drops what is offered and not sent. */
void share_stop_sending(struct share *share);

void share_count(struct share *share, struct share_counts *ret);

#endif
