/*
 * .dvc files: what one output's name beside it says about its content. Byte for byte what dvc 3.67 writes for a
 * new file; an existing one is edited in place, so that comments, quoting and the keys that are not ours stay.
 *
 *     struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
 *     if (dvc_file_read("data.dvc", "data.dvc", &file, err) < 0) return -1;
 *     struct dvc_out *out = &file.outs[0];
 *     out->digest = digest; out->size = size;
 *     if (dvc_file_write("data.dvc", &file, err) < 0) return -1;
 *
 * A new one: dvc_file_add_out on a DVC_FILE_INIT, set the fields, write.
 *
 * Refused when read, with position (ERR_DATA unless said): an empty or cut-off file (dvc reads it as "nothing is
 * tracked"), keys that dvc does not know (ERR_CONFIG), conflict markers of git, output paths that are absolute or leave
 * the directory, bad digests. All strings are owned by the dvc_file.
 */
#ifndef FORMATS_DVCFILE_H
#define FORMATS_DVCFILE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"
#include "formats/digest.h"

struct dvc_out {
	char *path;           /* relative to the .dvc file's directory (and its wdir), normalised, safe below it */
	struct digest digest; /* kind DIGEST_NONE: not known yet (partial import), or versioned by its remote (has_files) */
	bool is_dir;          /* the digest is that of a .dir manifest */
	bool legacy;          /* no `hash: md5`: written by dvc 2; digest is a DIGEST_MD5_DOS2UNIX, the cache has it outside of files/md5 */
	bool has_size, has_nfiles;
	uint64_t size;        /* bytes; of a directory the sum of its members */
	uint64_t nfiles;      /* directories */
	bool isexec;          /* single files */
	bool cache;           /* false: hashed but not kept */
	bool push;            /* false: never pushed */
	bool persist;
	bool has_files;       /* version-aware remote: members listed in the .dvc itself (`files:`) */
	char *remote;         /* the one remote it belongs to; NULL: any */
	char *desc;           /* NULL if none */
	struct span span;     /* of the entry; line 0 for a new one */
};

/* What an import was made of: a path of another repository, or a file or directory by its path or URL. */
struct dvc_dep {
	char *path;           /* as written; of the repository, or relative to the .dvc file, absolute, a URL */
	char *repo_url;       /* NULL: not from a repository */
	char *repo_rev;       /* NULL if none */
	char *repo_rev_lock;  /* the commit; NULL: not imported yet */
	char *repo_remote;    /* the remote of that repository to use; NULL: its default one */
	char *md5, *etag, *checksum; /* what the content was known by at the source; a directory's ends in ".dir"; NULL if absent */
	bool has_size, has_nfiles;
	uint64_t size, nfiles;
	bool isexec;
	struct strlist fs_config; /* "option=value" */
	const char *alien;    /* a key of it that is dvc's alone: db, dataset, files, config ...; NULL if none */
	struct span span;
};

struct dvc_file {
	struct dvc_out *outs;
	size_t out_count;
	struct dvc_dep *deps; /* empty: plain data; else an import */
	size_t dep_count;
	bool frozen;
	char *md5;            /* of an import: dvc_file_stage_md5; NULL if none */
	char *desc;           /* NULL if none */
	char *wdir;           /* NULL: the .dvc file's own directory */

	struct dvc_source *source; /* the text that was read; NULL for a new file */
};
#define DVC_FILE_INIT { .outs = NULL }

/* shown_as is for errors. A missing file has sys_errno ENOENT. */
int dvc_file_read(const char *path, const char *shown_as, struct dvc_file *ret, struct err *err) MUST_CHECK;
int dvc_file_parse(const char *bytes, size_t len, const char *shown_as, struct dvc_file *ret, struct err *err) MUST_CHECK;

/* Appends a new output (fields at their defaults; cache and push true) and returns it. Valid until the next one. */
struct dvc_out *dvc_file_add_out(struct dvc_file *file, const char *path);

/* The same for a dependency. */
struct dvc_dep *dvc_file_add_dep(struct dvc_file *file, const char *path);

/* What dvc keeps as the md5 of an import: that of its dependency and output without sizes and the like. Owned by the caller. */
char *dvc_file_stage_md5(const struct dvc_file *file);

/* Appends the text that a write would write. A file that was read is edited: changed digest, size, nfiles, isexec, remote, push and
 * path values, `hash: md5` where an output was legacy and is not any more, of dependencies what tells their state and revision, the md5 of the
 * whole, and nothing else. Where the digest is another, what names the old content's version on a remote goes (cloud, version_id, etag,
 * checksum): dvc would fetch the old content by it. */
int dvc_file_render(struct buf *out, const struct dvc_file *file, struct err *err) MUST_CHECK;

/* Atomic and synced. A file whose text would stay the same is not touched; ret_changed may be NULL. */
int dvc_file_write(const char *path, const struct dvc_file *file, bool *ret_changed, struct err *err) MUST_CHECK;

void dvc_file_release(struct dvc_file *file);

/* Whether a name is that of a .dvc file ("x.dvc", not ".dvc"). */
bool dvc_file_is_name(const char *name);

#endif
