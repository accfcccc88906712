/*
 * What the .dvc file of an import says of where it is from, and bringing that.
 */
#ifndef FEATURES_DATA_IMPORT_H
#define FEATURES_DATA_IMPORT_H

#include "features/data/intake.h"

/* Looks at what dep means and, with content, brings it into the cache. dep's record of the source's state is set anew; of another
 * repository the commit it is locked to counts, else its revision as it is now. dir_rel: of the .dvc file. */
int import_bring(struct data_repo *repo, struct dvc_dep *dep, const char *dir_rel, bool content, struct intake *intake, struct err *err)
	MUST_CHECK;

/* Of those that are from no repository: a path of this machine, relative to the .dvc file, s3://, http(s):// or remote://NAME/path. */
int import_bring_url(struct data_repo *repo, struct dvc_dep *dep, const char *dir_rel, bool content, struct intake *intake, struct err *err)
	MUST_CHECK;

/* Why this kind of import is not for us; NULL if it is. */
const char *import_alien(const struct dvc_file *file);

/* Brings the content of a recorded import as it is locked, and checks that it is what the record says. A partial one has no
 * content recorded: intake says what it is. */
int import_restore(struct data_repo *repo, const struct tracked *tracked, struct intake *intake, struct err *err) MUST_CHECK;

/* What DVC 2 recorded has names of its own: whether the content in the cache that intake lists is what wanted names, and then it lies there under
 * those names, too. */
int import_keep_legacy(struct data_repo *repo, const struct odb_id *wanted, const struct intake *intake, bool *ret_same, struct err *err)
	MUST_CHECK;

/* Of a selection, brings those into the cache that belong to no remote of ours, and reports. Returns how many there are. */
size_t import_fetch(struct data_repo *repo, const struct selection *chosen, struct data_transfer_report *ret);

/* Checks out an import whose content is not recorded, as its source has it. */
int import_check_out_partial(struct data_repo *repo, const struct tracked *tracked, const struct data_checkout_options *options,
			     struct data_checkout_report *ret, struct err *err) MUST_CHECK;

#endif
