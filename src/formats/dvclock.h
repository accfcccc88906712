/*
 * dvc.lock: what the outputs of the stages of a dvc.yaml were when they last ran. Read only.
 *
 *     struct dvc_lock lock CLEANUP(dvc_lock_release) = DVC_LOCK_INIT;
 *     if (dvc_lock_parse(&lock, "dvc.lock", text, len, "dvc.yaml", yaml_text, yaml_len, err) < 0) return -1;
 *     for each stage: stage->name, stage->file.wdir, stage->file.outs
 *
 * The lock has content and size of each output, relative to its stage's wdir; wdir and the flags (cache, push, remote) are in the
 * dvc.yaml beside it. What dvc.yaml does not name any more is left out, as dvc does; without a dvc.yaml (yaml NULL) all that the lock
 * records is given, with wdir unknown: for those who ask what content is in use. Outputs that are not files of the repository (URLs,
 * absolute paths) are left out. A stage of a foreach or matrix is matched with the entry that makes it; `${...}` in an output's path
 * stands for anything there.
 *
 * Refused, with position: what is no map of stages, bad digests, a wdir with `${...}` (ERR_CONFIG). Source: dvc 3.67, schema 2.0.
 */
#ifndef FORMATS_DVCLOCK_H
#define FORMATS_DVCLOCK_H

#include "formats/dvcfile.h"

struct dvc_stage {
	char *name;           /* "train", "train@a" */
	struct dvc_file file; /* outs and wdir as those of a .dvc */
};

struct dvc_lock {
	VEC(struct dvc_stage) stages;
};
#define DVC_LOCK_INIT { .stages = { 0 } }

int dvc_lock_parse(struct dvc_lock *ret, const char *shown_as, const char *bytes, size_t len, const char *yaml_shown_as, const char *yaml,
		   size_t yaml_len, struct err *err) MUST_CHECK;
void dvc_lock_release(struct dvc_lock *lock);

#endif
