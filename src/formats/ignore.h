/*
 * Glob patterns, and ignore files in gitignore syntax (.gitignore, .dvcignore).
 * Source: gitignore(5), wildmatch; checked against git check-ignore in the tests.
 */
#ifndef FORMATS_IGNORE_H
#define FORMATS_IGNORE_H

#include "base/err.h"

/* Matches a whole relative path: * and ? do not cross '/', ** as a component crosses any number of components (at the
 * end: one or more), [a-z], [!a-z] and [[:alpha:]] classes, \ quotes, {a,b} alternatives (at most GLOB_MAX_ALTERNATIVES of
 * one pattern are tried). A leading dot needs no special treatment. Time is bounded by a small polynomial of both lengths. */
#define GLOB_MAX_ALTERNATIVES 1024
bool glob_match(const char *pattern, const char *path);
bool glob_has_magic(const char *pattern);
/* Whether anything below directory dir ("": the root) could match: false lets a walk skip it. */
bool glob_may_match_below(const char *pattern, const char *dir);
/* The same as glob_match without {a,b}: the language of gitignore. */
bool glob_match_plain(const char *pattern, const char *path);
/* Length of the directory part that has no magic: "src/" of "src/x*.py" gives 3, "a*" gives 0. */
size_t glob_literal_dir(const char *pattern);

/* The rules of one tree. Files of deeper directories are added as a walk enters them; deeper rules win over those of
 * directories above, and within one directory the later ones win. */
struct ignore;
struct ignore *ignore_new(void);
void ignore_free(struct ignore *ignore);

/* Adds the lines of one ignore file that lies in directory base (relative to the tree's root, "" for the root).
 * trim: strip both ends of each line (.dvcignore) instead of git's trailing-space rule. */
void ignore_add(struct ignore *ignore, const char *base, const char *text, size_t len, bool trim);
void ignore_add_pattern(struct ignore *ignore, const char *base, const char *pattern);

/* Whether rules of directory base are there already. */
bool ignore_has(const struct ignore *ignore, const char *base);

/* Whether the last rule that matches path (relative to the root) ignores it. Callers that walk do not descend into
 * ignored directories, so that what is below stays ignored; ignore_path_checked also looks at each parent. */
bool ignore_match(const struct ignore *ignore, const char *path, bool is_dir);
bool ignore_match_with_parents(const struct ignore *ignore, const char *path, bool is_dir);

#endif
