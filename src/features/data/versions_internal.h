/*
 * The files of a selection and their versions on one remote. For features/data/versions*.c.
 */
#ifndef FEATURES_DATA_VERSIONS_INTERNAL_H
#define FEATURES_DATA_VERSIONS_INTERNAL_H

#include "features/data/versions.h"

struct version_file {
	const struct tracked *tracked;
	const char *relpath;         /* "": the output is this file */
	const char *key;             /* its path in the repository */
	struct digest digest;
	uint64_t size;               /* REMOTE_SIZE_UNKNOWN */
	const char *version;         /* recorded; NULL: none */
	const char *etag;            /* recorded with it; NULL: none */
	struct remote_version now;   /* push: what it has there */
	bool on_remote;
	bool tried;
};

struct versioned {
	struct data_repo *repo;
	struct data_transfer_report *ret;
	struct remote *remote;
	char *name;                  /* of the remote */
	struct arena arena;
	VEC(struct version_file) files;
	const char *verb;
	size_t total, before;
	uint64_t bytes_before;
};

/* Opens the remote and collects the files; what cannot be handled goes to the report. for_push: outputs whose record cannot be written are
 * left out. */
int versioned_begin(struct versioned *run, const struct remote_group *group, const struct data_transfer_options *options, bool for_push,
		    struct err *err) MUST_CHECK;
void versioned_release(struct versioned *run);

struct version_batch {
	struct remote_item *items;
	struct version_file **files;
	size_t count;
};
void version_batch_init(struct version_batch *batch, size_t most);
void version_batch_add(struct version_batch *batch, struct version_file *file, const char *path);
void version_batch_release(struct version_batch *batch);

struct odb_id version_file_id(const struct version_file *file);
/* "data/x (md5 ...)" */
char *version_file_describe(const struct version_file *file);
void version_file_failed(struct versioned *run, const struct version_file *file, const struct remote_item *item);
struct remote_sink versioned_sink(struct versioned *run);

/* Writes the versions of what is on the remote into the .dvc files (versions_record.c). */
int versions_record(struct versioned *run, struct err *err) MUST_CHECK;

#endif
