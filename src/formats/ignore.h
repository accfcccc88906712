/*
 * Glob patterns, and ignore files in gitignore syntax (.gitignore, .dvcignore).
 * Source: gitignore(5), wildmatch; checked against git check-ignore in the tests.
 */
#ifndef FORMATS_IGNORE_H
#define FORMATS_IGNORE_H

#include "base/err.h"

/* Matches a whole relative path: * and ? do not cross '/', ** as a component crosses any number of components, [a-z] and
 * [!a-z] classes, \ quotes, {a,b} alternatives. A leading dot needs no special treatment. */
bool glob_match(const char *pattern, const char *path);
bool glob_has_magic(const char *pattern);
/* Whether anything below directory dir could match: false lets a walk skip it. */
bool glob_may_match_below(const char *pattern, const char *dir);

/* The rules of one tree. Files of deeper directories are added as a walk enters them; later and deeper rules win. */
struct ignore;
struct ignore *ignore_new(void);
void ignore_free(struct ignore *ignore);

/* Adds the lines of one ignore file that lies in directory base (relative to the tree's root, "" for the root).
 * trim: strip both ends of each line (.dvcignore) instead of git's trailing-space rule. */
void ignore_add(struct ignore *ignore, const char *base, const char *text, size_t len, bool trim);
void ignore_add_pattern(struct ignore *ignore, const char *base, const char *pattern);

/* Whether the last rule that matches path (relative to the root) ignores it. Callers that walk do not descend into
 * ignored directories, so that what is below stays ignored; ignore_path_checked also looks at each parent. */
bool ignore_match(const struct ignore *ignore, const char *path, bool is_dir);
bool ignore_match_with_parents(const struct ignore *ignore, const char *path, bool is_dir);

#endif
