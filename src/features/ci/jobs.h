/*
 * Which targets become jobs, and which job waits for which.
 */
#ifndef FEATURES_CI_JOBS_H
#define FEATURES_CI_JOBS_H

#include "base/vec.h"
#include "graph/graph.h"

struct ci_job {
	char *id;                /* of the job: letters, digits, '-' and '_' */
	const struct target *target;
	VEC(size_t) needs;       /* indexes of jobs whose targets this one reaches, without those that another of them reaches */
	bool reads_data;         /* it, or what it runs first, has an input that is tracked as data */
};
struct ci_jobs {
	struct ci_job *at;
	size_t len, cap;
};

/* The name that the job over all others has, and nothing else may have. */
#define CI_GATE "mlmake"

/* project->ci.targets, else those of lint, typecheck, test and build that there are. None at all is an error. */
int ci_jobs_select(const struct project *project, const struct tracked_list *tracked, struct ci_jobs *ret, struct err *err) MUST_CHECK;
void ci_jobs_release(struct ci_jobs *jobs);

#endif
