/*
 * The INI dialect of .dvc/config (ConfigObj as DVC uses it), and edits that leave all else as it was, comments
 * included.
 *
 *     [core]
 *         remote = s3            # a comment
 *     ['remote "s3"']
 *         url = s3://bucket/prefix
 *
 * Section names are given without quotes of their own: `remote "s3"` for the second one above, however it is written.
 * Section and key names compare without regard to case (DVC lowers them all). Values are given unquoted.
 *
 * Refused, with position (ERR_CONFIG): what ConfigObj refuses (a line that is no section, no key and no comment, a section or key twice,
 * bad quoting), and what DVC has no use for: nested sections, values over several lines.
 */
#ifndef FORMATS_INI_H
#define FORMATS_INI_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

struct ini_key {
	char *section; /* "" before the first section */
	char *name;    /* lower case */
	char *value;   /* a list's items joined with "," */
	struct span span;
	bool is_list;  /* unquoted commas */
	size_t line_start, line_end; /* byte range of its line in text, newline included */
	size_t value_start, value_end;
};

struct ini_section {
	char *name;
	struct span span;
	size_t line_start, line_end; /* its header line */
	size_t name_start, name_end; /* between the brackets */
	size_t body_end;             /* after its last key, its header if it has none */
};

struct ini {
	struct buf text;
	char *file; /* for errors */
	VEC(struct ini_section) sections;
	VEC(struct ini_key) keys;
};
#define INI_INIT { .text = BUF_INIT }

int ini_parse(struct ini *ini, const char *file, const char *bytes, size_t len, struct err *err) MUST_CHECK;
/* A missing file is an empty one. At most 1 MiB. */
int ini_read(struct ini *ini, const char *path, const char *shown_as, struct err *err) MUST_CHECK;
void ini_release(struct ini *ini);

const struct ini_key *ini_find(const struct ini *ini, const char *section, const char *name);
const char *ini_get(const struct ini *ini, const char *section, const char *name); /* NULL if absent */
bool ini_has_section(const struct ini *ini, const char *section);

/* Edits change ini->text and what was parsed of it (pointers into ini are void then); write text out to keep them. Setting makes
 * the section where it is missing. A value that the dialect cannot hold (line breaks, both kinds of quotes together with a
 * comma, '%(') is refused: ERR_CONFIG. */
int ini_set(struct ini *ini, const char *section, const char *name, const char *value, struct err *err) MUST_CHECK;
int ini_remove_key(struct ini *ini, const char *section, const char *name, bool *ret_found, struct err *err) MUST_CHECK;
/* The header and its keys, with the comments between them. */
int ini_remove_section(struct ini *ini, const char *section, bool *ret_found, struct err *err) MUST_CHECK;
int ini_rename_section(struct ini *ini, const char *from, const char *to, struct err *err) MUST_CHECK;

/* Atomic and synced. */
int ini_write(const struct ini *ini, const char *path, struct err *err) MUST_CHECK;

#endif
