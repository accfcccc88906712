/*
 * How a target's runs went: the last few one by one, all of them as sums. In the state database's history table under the target's name.
 * Finding a target up to date is not a run and leaves nothing here: doing nothing must cost nothing.
 */
#ifndef ENGINE_HISTORY_H
#define ENGINE_HISTORY_H

#include "engine/engine.h"
#include "store/state.h"

#define HISTORY_LAST 20

struct history_entry {
	uint64_t finished_at;      /* seconds since 1970 */
	uint64_t duration_ms;      /* RUN_RESTORED: what the run took whose outputs these are */
	enum run_outcome outcome;  /* RUN_SUCCEEDED, RUN_FAILED or RUN_RESTORED */
};
struct history {
	uint64_t succeeded, failed, restored;
	uint64_t ran_ms;           /* of all that succeeded */
	uint64_t saved_ms;         /* of all that were restored */
	struct history_entry last[HISTORY_LAST]; /* oldest first */
	size_t last_len;
};

/* All zero if nothing is known. */
void history_load(struct history *ret, struct state *state, const char *name);
int history_add(struct state *state, const char *name, const struct history_entry *entry, struct err *err) MUST_CHECK;

#endif
