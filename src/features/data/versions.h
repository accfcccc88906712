/*
 * version_aware remotes: a bucket that keeps versions, with each file at its path in the repository. What tells one content from another
 * there is the version's id, which push writes into the .dvc file beside the md5. There are no objects and no manifests.
 */
#ifndef FEATURES_DATA_VERSIONS_H
#define FEATURES_DATA_VERSIONS_H

#include "features/data/objects.h"

/* Uploads each file whose recorded version is not there, unless the newest one has the same bytes, and records the versions: those of what did
 * arrive also where the rest failed. */
int versions_push(struct data_repo *repo, const struct remote_group *group, const struct data_transfer_options *options,
		  struct data_transfer_report *ret, struct err *err) MUST_CHECK;
/* Brings what the cache lacks there by its version. */
int versions_fetch(struct data_repo *repo, const struct remote_group *group, const struct data_transfer_options *options,
		   struct data_transfer_report *ret, struct err *err) MUST_CHECK;
/* Names what has no version there, as status does; what could not be asked for goes to the report. */
int versions_not_in_remote(struct data_repo *repo, const struct remote_group *group, const struct data_status_options *options,
			   struct data_transfer_report *report, struct strlist *ret, struct err *err) MUST_CHECK;

/* The files of a directory whose .dvc lists them, after its content became that of the manifest: what is as it was keeps its versions. For
 * writers of records, before they write; data is at path. */
int versions_list_again(struct data_repo *repo, const char *path, const struct odb_id *manifest, struct dvc_out *out, struct err *err) MUST_CHECK;

#endif
