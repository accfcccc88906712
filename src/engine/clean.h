/*
 * Removing what targets made, and nothing else.
 *
 *     struct clean_report report = { 0 };
 *     engine_clean(project, ids, count, &options, &report, err);
 *     clean_report_release(&report);
 *
 * An output goes if it is what the record of its target's last success says, byte for byte. What was changed since, what no record
 * knows, what is versioned as data, and what a running mlmake is about to write stays and is listed with the reason. Stamp
 * files stay: what they stand for (.venv) is no output. Records and cached outputs stay, so that the next run restores.
 */
#ifndef ENGINE_CLEAN_H
#define ENGINE_CLEAN_H

#include "base/vec.h"
#include "graph/graph.h"

struct clean_options {
	bool force;   /* also what was changed, is unknown, or is versioned */
	bool dry_run; /* report only */
};

struct clean_item {
	const struct target *target;
	const char *path;   /* the output's */
	char *left_because; /* NULL: removed; owned */
};
struct clean_report {
	VEC(struct clean_item) items; /* of outputs that exist, in order */
};
void clean_report_release(struct clean_report *report);

int engine_clean(const struct project *project, const uint32_t *ids, size_t count, const struct clean_options *options,
		 struct clean_report *ret, struct err *err) MUST_CHECK;

#endif
