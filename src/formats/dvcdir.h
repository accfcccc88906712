/*
 * .dir manifests: the members of a directory that DVC tracks, as the JSON that Python writes:
 *
 *     [{"md5": "1dcca23355272056f04fe8bf20edfce0", "relpath": "a"}, {"md5": "26ab...", "relpath": "sub/c"}]
 *
 * sorted by relpath, one line without newline, ASCII only. Its object's name is the md5 of these bytes. No JSON tree is
 * built: a million entries take 40 bytes each and their names.
 *
 *     struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
 *     dvc_dir_add(&dir, "sub/c", md5_bytes);
 *     if (dvc_dir_sort(&dir, err) < 0) return -1;
 *     dvc_dir_render(&text, &dir);
 *
 * What is read comes from a remote and is hostile: paths must be path_is_safe and UTF-8, no path twice, none that is a
 * file and a directory at once, md5 of 32 hex digits, no other keys. Entries in another order are sorted.
 */
#ifndef FORMATS_DVCDIR_H
#define FORMATS_DVCDIR_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "formats/digest.h"

struct dvc_entry {
	const char *relpath; /* in the directory's arena */
	uint8_t md5[16];
};

struct dvc_dir {
	struct arena arena;
	struct dvc_entry *entries;
	size_t len;
	size_t cap;
};
#define DVC_DIR_INIT { .entries = NULL }

/* The most entries that a manifest may have, and the most bytes (docs/dvc-compat.md): one of that many takes about 400 MiB of memory. */
#define DVC_DIR_MAX_ENTRIES 4000000u
#define DVC_DIR_MAX_BYTES ((size_t)1 << 30)

/* Copies relpath. */
void dvc_dir_add(struct dvc_dir *dir, const char *relpath, const uint8_t md5[16]);

/* Whether a manifest may have so many; else ERR_DATA. shown_as names the directory or its manifest. */
int dvc_dir_check_count(uint64_t entries, const char *shown_as, struct err *err) MUST_CHECK;

/* Sorts by relpath and refuses what is described above (ERR_DATA). */
int dvc_dir_sort(struct dvc_dir *dir, struct err *err) MUST_CHECK;

/* Of a sorted directory; NULL if it has no such member. */
struct dvc_entry *dvc_dir_find(const struct dvc_dir *dir, const char *relpath);
/* Whether a member is path or lies below it. */
bool dvc_dir_has_part(const struct dvc_dir *dir, const char *path);

/* Appends the manifest of a sorted directory. */
void dvc_dir_render(struct buf *out, const struct dvc_dir *dir);
/* md5 of the manifest without keeping it. ret_len may be NULL. */
void dvc_dir_digest(const struct dvc_dir *dir, struct digest *ret, uint64_t *ret_len);

/* Writes the manifest of a sorted directory to a new file, in pieces. Not synced. */
int dvc_dir_write(const struct dvc_dir *dir, const char *path, struct err *err) MUST_CHECK;

/* Whether the file holds exactly the manifest of a sorted directory. */
bool dvc_dir_is_file(const struct dvc_dir *dir, const char *path);

/* Fills dir (emptied first) and sorts it. shown_as names the manifest in errors: ERR_DATA with the byte offset. */
int dvc_dir_parse(struct dvc_dir *dir, const char *bytes, size_t len, const char *shown_as, struct err *err) MUST_CHECK;

/* The same in pieces of any size, for manifests that are not wanted in memory. end frees and sorts; drop frees. */
struct dvc_dir_parser;
struct dvc_dir_parser *dvc_dir_parser_new(struct dvc_dir *dir, const char *shown_as);
int dvc_dir_parser_add(struct dvc_dir_parser *parser, const void *bytes, size_t len, struct err *err) MUST_CHECK;
int dvc_dir_parser_end(struct dvc_dir_parser *parser, struct err *err) MUST_CHECK;
void dvc_dir_parser_drop(struct dvc_dir_parser *parser);

/* Reads the file in pieces. */
int dvc_dir_read(struct dvc_dir *dir, const char *path, const char *shown_as, struct err *err) MUST_CHECK;

void dvc_dir_release(struct dvc_dir *dir);

#endif
