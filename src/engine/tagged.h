/*
 * Which of a project's results belong to commits that tags lead to.
 *
 * A result is a tag's if each of its inputs that the commit holds has the same content there, and each parameter the same value. An input
 * that the commit does not hold, but some result makes, must be an output of a result that is the tag's, too; of what nobody knows (data that
 * DVC tracks, files that git ignores), nothing is asked: that can only keep too much.
 */
#ifndef ENGINE_TAGGED_H
#define ENGINE_TAGGED_H

#include "engine/past.h"

struct tagged_result {
	struct past past;
	bool kept;      /* set where it is a tag's */
	bool of_commit; /* of the one that is looked at */
};
struct tagged_results {
	struct tagged_result *at;
	size_t len, cap;
};
void tagged_results_release(struct tagged_results *results);

/* root: the project's. Where there is no git repository, or no tag, nothing is a tag's. */
int tagged_find(const char *root, struct tagged_results *results, struct err *err) MUST_CHECK;

#endif
