/*
 * Small questions about strings.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/buf.h"
#include "base/vec.h"

bool text_eq(const char *a, const char *b); /* NULL equals only NULL */
bool text_starts(const char *text, const char *prefix);
bool text_ends(const char *text, const char *suffix);

/* Whether len bytes are well-formed UTF-8 (no surrogates, no overlong forms). */
bool text_is_utf8(const char *bytes, size_t len);

/* Optimal string alignment distance, for "did you mean". */
size_t text_distance(const char *a, const char *b);

/* The nearest of count candidates, else one that begins with word; NULL if none is near enough to be meant. */
const char *text_nearest(const char *word, const char *const *candidates, size_t count);

/* A whole decimal or suffixed size ("8G", "512M", "10k": powers of 1024) or duration ("90", "90s", "2h", "1h30m",
 * "250ms"); false if it is not one or does not fit. Durations in milliseconds. */
bool text_parse_u64(const char *text, uint64_t *ret);
bool text_parse_size(const char *text, uint64_t *ret);
bool text_parse_duration(const char *text, uint64_t *ret_ms);

/* "2009-10-12T17:50:30", with a fraction, and "+01:00" or "-01:00" if it is not UTC, whatever else follows, as seconds since 1970; 0 for anything else, and for NULL. */
int64_t text_parse_utc(const char *text);

/* "1.4 GiB", "1,234", "2m 03s", "0.42s": for people. */
void text_add_bytes(struct buf *out, uint64_t bytes);
void text_add_count(struct buf *out, uint64_t count);
void text_add_duration(struct buf *out, uint64_t ms);

/* Appends what a stranger wrote, for a terminal: control characters, those of C1 in UTF-8 too, become blanks; no more than most bytes, and no
 * character in half. */
void text_add_printable(struct buf *out, const char *text, size_t most);

/* Appends text quoted so that a POSIX shell reads it back as one word; plain words stay plain. */
void text_add_shell_quoted(struct buf *out, const char *text);

/* Adds the words that a POSIX shell would see, quotes and backslashes undone and nothing expanded; false where a quote is left open. */
bool text_split_words(const char *text, struct strlist *ret);

/* 64 bits that tell strings apart, the same on every run and machine (little-endian): records on disk are checked with it
 * (store/codec.h). Not for hostile input. */
uint64_t text_hash(const void *bytes, size_t len);

/* Lower-case hex. The parser wants exactly 2 * len digits, either case. */
void text_hex(char *out /* 2 * len + 1 */, const uint8_t *bytes, size_t len);
bool text_unhex(uint8_t *out, size_t len, const char *hex);

#endif
