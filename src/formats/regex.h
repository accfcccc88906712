/*
 * Regular expressions: PCRE2, UTF-8 where the subject is UTF-8, bounded in time and memory.
 *
 *     struct regex *re CLEANUP(regex_freep) = NULL;
 *     if (regex_new(&re, "^(\\w+)==(.*)$", REGEX_MULTILINE, err) < 0) return -1;
 *     struct regex_match m = REGEX_MATCH_INIT;
 *     while ((found = regex_next(re, text, len, &m, err)) > 0)
 *             use(text + m.groups[1].start, m.groups[1].end - m.groups[1].start);
 *
 * A regex belongs to one thread at a time. The only user of pcre2.
 */
#ifndef FORMATS_REGEX_H
#define FORMATS_REGEX_H

#include "base/buf.h"
#include "base/err.h"

enum regex_flags { REGEX_CASELESS = 1, REGEX_MULTILINE = 2, REGEX_DOTALL = 4, REGEX_ANCHORED_BOTH = 8 };

#define REGEX_MAX_GROUPS 16

struct regex_group {
	size_t start, end; /* byte offsets; both SIZE_MAX if the group took no part */
};

struct regex_match {
	struct regex_group groups[REGEX_MAX_GROUPS]; /* 0 is the whole match */
	size_t count;
	size_t next;    /* where regex_next goes on */
	bool was_empty; /* the last match: the next one at its place must not be */
};
#define REGEX_MATCH_INIT { .count = 0 }

struct regex;

/* Errors: ERR_CONFIG, with the offset in the pattern and the pattern itself. */
int regex_new(struct regex **ret, const char *pattern, unsigned flags, struct err *err) MUST_CHECK;
void regex_free(struct regex *regex);
void regex_freep(struct regex **regex); /* for CLEANUP */

/* The first match at or after m->next; m->next then stands behind it. 1 found, 0 none, -1 error (the match limit: ERR_FAILED). */
int regex_next(struct regex *regex, const char *text, size_t len, struct regex_match *m, struct err *err) MUST_CHECK;

/* Whether it matches anywhere: 1, 0, -1. m may be NULL. */
int regex_match(struct regex *regex, const char *text, size_t len, struct regex_match *m, struct err *err) MUST_CHECK;

/* Number of a named group, -1 if there is none. */
int regex_group_index(const struct regex *regex, const char *name);

/* Appends a group's text; false if it took no part. */
bool regex_add_group(struct buf *out, const struct regex_match *m, size_t group, const char *text);

#endif
