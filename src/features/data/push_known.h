/*
 * What need not be asked for in a push: for transfer.c.
 */
#ifndef FEATURES_DATA_PUSH_KNOWN_H
#define FEATURES_DATA_PUSH_KNOWN_H

#include "features/data/objects.h"

/* Marks as on_remote the directories that this clone has seen whole there, with their members, after a look at each manifest and at a few of
 * the members: one request a directory, and one. What does not bear that out is left unmarked, and has to be asked for. */
int push_mark_known(struct data_repo *repo, struct remote *remote, struct objects *objects, struct err *err) MUST_CHECK;

/* Remembers the directories that are now there with all their members. */
int push_note_known(struct data_repo *repo, struct remote *remote, const struct objects *objects, struct err *err) MUST_CHECK;

#endif
