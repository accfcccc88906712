/*
 * Directories that this clone has seen whole on a remote: uploaded, or asked for member by member. Kept in the state database, by the
 * remote's place, the manifest's key, and what tells this state of the manifest there from another (its ETag and time).
 *
 * A record spares asking for each member again. It is not trusted for longer than a week, nor when the manifest there is not the one that it
 * is about; whoever relies on it looks at a few members all the same. Losing records costs a listing.
 */
#ifndef FEATURES_DATA_KNOWN_H
#define FEATURES_DATA_KNOWN_H

#include "features/data/repo.h"
#include "net/remote.h"

/* Whether there is a record that still counts; ret_stamp is then what the manifest must have. */
bool known_get(struct data_repo *repo, const char *place, const char *key, uint8_t ret_stamp[REMOTE_STAMP_LEN]);
/* A failure to write costs time later, so there is none to report. */
void known_put(struct data_repo *repo, const char *place, const char *key, const uint8_t stamp[REMOTE_STAMP_LEN]);
/* All records of a place are void: something there was found missing or damaged. */
void known_forget(struct data_repo *repo, const char *place);

#endif
