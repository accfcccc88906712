/*
 * New projects from the templates that are embedded in the binary (templates/<name>/...).
 *
 *     struct strlist files = { 0 };
 *     scaffold_create("tabular", "work/tumours", &files, err);
 *
 * A template's files are copied as they are, but for the word @project@, which becomes the base name of the
 * new directory (letters, digits, '.', '_' and '-' only, so that it can stand in any file). A template describes itself in
 * the first paragraph below the heading of its README.md.
 */
#ifndef FEATURES_SCAFFOLD_SCAFFOLD_H
#define FEATURES_SCAFFOLD_SCAFFOLD_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

/* Names of all templates, sorted. */
void scaffold_names(struct strlist *ret);

/* Appends the description, one line; nothing if the template has none. */
void scaffold_describe(const char *template_name, struct buf *out);

/* Writes the template into dir, which must be absent or an empty directory (parents are made). The paths of the files,
 * relative to dir, are added to ret_files in order. What it made is removed again when it fails. */
int scaffold_create(const char *template_name, const char *dir, struct strlist *ret_files, struct err *err) MUST_CHECK;

/* The commented mlmake.yaml that `mlmake init` writes into dir. ERR_CONFIG if there is one. */
int scaffold_init(const char *dir, struct err *err) MUST_CHECK;

#endif
