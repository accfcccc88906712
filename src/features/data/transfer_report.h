/*
 * What commands say of objects that could not be moved, asked for, read or deleted.
 */
#ifndef FEATURES_DATA_TRANSFER_REPORT_H
#define FEATURES_DATA_TRANSFER_REPORT_H

#include "features/data/data.h"
#include "features/data/objects.h"
#include "net/remote.h"

/* Of one object: its own reason, with what to check about it. */
void report_failed(struct data_transfer_report *report, const char *name, const struct remote_item *item);
/* What to check about it, if its error says so. */
void report_hint(struct strlist *hints, const struct remote_item *item);
void report_failed_for(struct data_transfer_report *report, const char *name, const char *why);
/* Of a manifest that is not uploaded: how much of what it lists the remote lacks, and how to send that if it was not asked for. What was asked
 * for and is not there has its own line. */
void report_withheld(struct data_transfer_report *report, const struct data_repo *repo, const struct objects *objects,
		     const struct object_dir *dir);
/* It waited for its turn, or was under way, when something ended the whole: the error that the caller returns. */
void report_stopped(struct data_transfer_report *report, const char *name);
/* Before that error is returned: what had failed for the same reason by then is part of it. */
void report_ended_by(struct data_transfer_report *report, const struct err *err);

#endif
