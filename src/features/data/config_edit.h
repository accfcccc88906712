/*
 * Edits of the config files, under the lock.
 *
 *     config_edit_begin(repo, level, err);
 *     ini_set(&repo->config.files[level], ...);
 *     config_edit_save(repo, level, err);
 *     repo_unlock(repo);
 */
#ifndef FEATURES_DATA_CONFIG_EDIT_H
#define FEATURES_DATA_CONFIG_EDIT_H

#include "features/data/repo.h"

/* Takes the lock, and reads the files again: somebody may have changed them before it was ours. */
int config_edit_begin(struct data_repo *repo, enum data_level level, struct err *err) MUST_CHECK;
int config_edit_save(struct data_repo *repo, enum data_level level, struct err *err) MUST_CHECK;

/* A given path as the file of that level holds it: relative to the file's directory, as dvc keeps it. URLs, absolute paths and "~" stay. */
char *config_stored_path(const struct data_repo *repo, enum data_level level, const char *value);

#endif
