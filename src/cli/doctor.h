/*
 * What `mlmake doctor` finds out: one finding for each thing that mlmake or the project's targets may want.
 *
 *     struct findings found CLEANUP(findings_release) = { 0 };
 *     doctor_look(project, &found);
 */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "base/vec.h"
#include "graph/graph.h"

enum finding_state {
	FINDING_OK,
	FINDING_MISSING,  /* and needed */
	FINDING_OPTIONAL, /* missing, and nothing here needs it */
	FINDING_NOTE,     /* there, but worth knowing */
};
struct finding {
	enum finding_state state;
	char *name;
	char *detail;     /* version and place, or what is wrong; "" if there is nothing to say */
	char *needed_by;  /* targets, or what of mlmake; NULL if nothing */
	char *hint;       /* how to get it; NULL where it is there */
};
struct findings {
	VEC(struct finding) list;
};
void findings_release(struct findings *findings);

void doctor_look(const struct project *project, struct findings *ret);

#endif
