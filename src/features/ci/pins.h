/*
 * The commits that generated workflows pin actions at: templates/ci/pins.yaml.
 */
#ifndef FEATURES_CI_PINS_H
#define FEATURES_CI_PINS_H

#include "base/buf.h"
#include "base/err.h"
#include "formats/yaml.h"

/* Zero-initialise as YAML_DOC_INIT; released with yaml_release. */
int pins_load(struct yaml_doc *ret, struct err *err) MUST_CHECK;

/* Appends "actions/cache/restore@<commit> # v5.0.5" for "actions/cache/restore": the pin of its first two components. */
int pins_add(const struct yaml_doc *pins, const char *action, struct buf *out, struct err *err) MUST_CHECK;

#endif
