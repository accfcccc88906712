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

/* The version of a file's bytes that a version_aware remote has (`cloud:`). */
struct dvc_version {
	char *remote;         /* its name; NULL: none */
	char *version_id;
	char *etag;           /* without quotes; NULL if it is not recorded */
};

/* A file of a directory that was pushed to a version_aware remote (`files:`). */
struct dvc_member {
	char *relpath;
	struct digest digest;
	bool has_size, isexec;
	uint64_t size;
	struct dvc_version cloud;
};

/* The version that a further such remote has, for `cloud` has room for one: `meta: {mlmake: {cloud: {NAME: ...}}}`, which dvc keeps as
 * it is. It is of these bytes alone: where the output has others now, it says nothing. */
struct dvc_other_version {
	char *remote;
	char *relpath;        /* "": the output, a file */
	struct digest digest;
	char *version_id;
};

struct dvc_out {
	char *path;           /* relative to the .dvc file's directory (and its wdir), normalised, safe below it */
	struct digest digest; /* kind DIGEST_NONE: not known yet (partial import) */
	bool is_dir;          /* the digest is that of a .dir manifest */
	bool legacy;          /* no `hash: md5`: written by dvc 2; digest is a DIGEST_MD5_DOS2UNIX, the cache has it outside of files/md5 */
	bool has_size, has_nfiles;
	uint64_t size;        /* bytes; of a directory the sum of its members */
	uint64_t nfiles;      /* directories */
	bool isexec;          /* single files */
	bool cache;           /* false: hashed but not kept */
	bool push;            /* false: never pushed */
	bool persist;
	bool has_files;       /* members listed in the record itself (`files:`); digest and is_dir are those of their manifest, or DIGEST_NONE
			       * where they tell too little for one */
	struct dvc_version cloud;   /* of a file */
	struct {
		struct dvc_member *at;
		size_t len, cap;
	} members;            /* has_files: sorted by relpath */
	struct {
		struct dvc_other_version *at;
		size_t len, cap;
	} others;             /* sorted by remote and relpath */
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

/* Versions. of: the output's own cloud, or a member's; strings are copied. The member with that relpath is NULL where there is none. */
void dvc_version_set(struct dvc_version *of, const char *remote, const char *version_id, const char *etag);
void dvc_version_clear(struct dvc_version *of);
struct dvc_member *dvc_out_member(const struct dvc_out *out, const char *relpath);
/* Appends one; those who append keep the order. */
struct dvc_member *dvc_out_add_member(struct dvc_out *out, const char *relpath, const struct digest *digest);
/* Replaces what is recorded of that remote and relpath. */
void dvc_out_set_other(struct dvc_out *out, const char *remote, const char *relpath, const struct digest *digest, const char *version_id);
/* Drops those that are of names or bytes that the output has no more. */
void dvc_out_drop_others(struct dvc_out *out, bool (*is_old)(void *ctx, const struct dvc_other_version *other), void *ctx);
/* NULL if none is recorded of these bytes. */
const char *dvc_out_other(const struct dvc_out *out, const char *remote, const char *relpath, const struct digest *digest);
/* All of them go, and a directory keeps its list: the names that they are of are others now. */
void dvc_out_forget_versions(struct dvc_out *out);

/* The same for a dependency. */
struct dvc_dep *dvc_file_add_dep(struct dvc_file *file, const char *path);

/* What dvc keeps as the md5 of an import: that of its dependency and output without sizes and the like. Owned by the caller. */
char *dvc_file_stage_md5(const struct dvc_file *file);

/* Appends the text that a write would write. A file that was read is edited: changed digest, size, nfiles, isexec, remote, push and
 * path values, `hash: md5` where an output was legacy and is not any more, of dependencies what tells their state and revision, the md5 of the
 * whole, versions, and nothing else; a `files:` list is written anew as a whole. Where the digest is another, what names the old content's version
 * on a remote goes (cloud, version_id, etag, checksum): dvc would fetch the old content by it. ERR_CONFIG for versions that would have to go into
 * a map in brackets. */
int dvc_file_render(struct buf *out, const struct dvc_file *file, struct err *err) MUST_CHECK;

/* Atomic and synced. A file whose text would stay the same is not touched; ret_changed may be NULL. */
int dvc_file_write(const char *path, const struct dvc_file *file, bool *ret_changed, struct err *err) MUST_CHECK;

void dvc_file_release(struct dvc_file *file);

/* Whether a name is that of a .dvc file ("x.dvc", not ".dvc"). */
bool dvc_file_is_name(const char *name);

#endif
