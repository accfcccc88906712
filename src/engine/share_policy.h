/*
 * Who may write results for others to restore.
 *
 * The keys of the remote are the real boundary; this keeps those who have them from writing what nobody has reviewed. In a run of
 * GitHub Actions nothing is written for a pull request, an event of one, or a fork, whatever is asked for.
 */
#ifndef ENGINE_SHARE_POLICY_H
#define ENGINE_SHARE_POLICY_H

#include "graph/graph.h"

struct share_decision {
	bool push;
	bool refused; /* it was asked for, by --cache-push or cache.push: always, and is not allowed here */
	char *why;    /* "the push of a pull request's ..."; owned */
};

/* By `cache.push` and the environment; asked: --cache-push. Reads what GITHUB_EVENT_PATH names. */
void share_decide(enum cache_push setting, bool asked, struct share_decision *ret);

#endif
