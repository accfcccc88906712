/*
 * Data versioned in DVC's formats: what `mlmake data` does, and what graph and engine see of it.
 *
 *     struct data_repo *repo;
 *     data_open(NULL, &ui, &repo, err);
 *     data_add(repo, paths, count, &report, err);
 *     data_close(repo);
 *
 * Paths are given absolute or relative to the current directory; paths in reports are relative to the root (the directory
 * that holds .dvc). Nothing here prints: progress and warnings go to the ui.
 */
#ifndef FEATURES_DATA_DATA_H
#define FEATURES_DATA_DATA_H

#include "base/err.h"
#include "base/vec.h"
#include "graph/provider.h"

extern const struct provider data_provider;

/* Totals are 0 where they are not known. */
struct data_progress {
	const char *verb;
	uint64_t done, total;
	uint64_t bytes, total_bytes;
	const char *slow; /* what holds it up: "models/big: no byte for 7 s"; NULL: nothing */
};

/* All may be NULL. */
struct data_ui {
	void (*progress)(void *ctx, const struct data_progress *progress);
	void (*note)(void *ctx, const char *text);
	void (*warn)(void *ctx, const char *text);
	/* The paths, absolute, that a word stands for which is none that is tracked. 0 also where it stands for nothing. */
	int (*meaning)(void *ctx, const char *word, struct strlist *ret, struct err *err);
	void *ctx;
};

struct data_repo;

/* The repository that holds dir (NULL: the current directory). ERR_CONFIG if there is none. ui is copied and may be NULL. */
int data_open(const char *dir, const struct data_ui *ui, struct data_repo **ret, struct err *err) MUST_CHECK;
void data_close(struct data_repo *repo);
const char *data_root(const struct data_repo *repo);
/* How long to wait for .dvc/tmp/lock; 60 s unless set. */
void data_set_lock_wait(struct data_repo *repo, uint64_t ms);

/* As `dvc init`. Without git it is as with --no-scm. ret_root: where. */
struct data_init_options {
	bool no_scm;
	bool subdir;  /* allow a directory below the root of the git repository */
	bool force;   /* replace .dvc/config of an existing one; never the cache */
};
int data_init(const struct data_init_options *options, struct buf *ret_root, struct err *err) MUST_CHECK;

/* add: content to the cache, then the .dvc, .gitignore and, with core.autostage, git's index. A member of a tracked directory changes
 * that member alone. Nothing is recorded of a path of which a part cannot be. */
struct data_added {
	char *path;
	char *dvc_path;
	bool changed;         /* the .dvc did */
	struct strlist removed; /* members that the directory had and has no more */
};
struct data_add_report {
	VEC(struct data_added) added;
	struct strlist to_stage; /* files for `git add`; empty where they are staged already or nothing changed */
	bool staged;
};
struct data_add_options {
	bool no_commit; /* record the content without bringing it into the cache; data_commit does that later */
	bool no_relink; /* leave the files as they are, whatever cache.type says */
	bool glob;      /* paths are patterns: *, ?, [a-z], and ** for any number of directories. What is hidden and .dvc files are left out */
};
/* options NULL: none. */
int data_add(struct data_repo *repo, const char *const *paths, size_t count, const struct data_add_options *options,
	     struct data_add_report *ret, struct err *err) MUST_CHECK;
void data_add_report_release(struct data_add_report *report);

/* What a path, http(s)://, s3:// or remote://NAME/path holds goes into the cache and to out, and is recorded there as data_add records it. Something
 * else that stands at out is replaced with force alone. */
int data_add_copy(struct data_repo *repo, const char *source, const char *out, bool force, struct data_add_report *ret, struct err *err)
	MUST_CHECK;

/* import: a file or directory of another data or git repository, by a directory or a git URL. update: imports again, at their revision as it
 * is now or at rev. Reports are those of add. */
struct data_import_options {
	const char *out;    /* import: NULL: its own name, here; in a directory if that is one */
	const char *rev;    /* NULL: the default branch */
	const char *remote; /* of the other repository; NULL: its default one */
	bool no_exec;       /* only write the .dvc file */
	bool no_download;   /* record the state of the source, and nothing of its content */
	bool force;         /* replace what is there */
	struct strlist fs_config; /* import_url: "option=value", of the server */
};
/* import_url: a file or directory by its path, http(s)://, s3:// or remote://NAME/path. */
int data_import_url(struct data_repo *repo, const char *url, const struct data_import_options *options, struct data_add_report *ret,
		    struct err *err) MUST_CHECK;
int data_import(struct data_repo *repo, const char *url, const char *path, const struct data_import_options *options,
		struct data_add_report *ret, struct err *err) MUST_CHECK;
int data_update(struct data_repo *repo, const char *const *paths, size_t count, const struct data_import_options *options,
		struct data_add_report *ret, struct err *err) MUST_CHECK;

/* commit: add for what is tracked already; no paths: all of it. Outputs whose data is not here go to ret_absent and stay as recorded;
 * those of stages and imports are recorded by who makes them. options NULL: none. */
int data_commit(struct data_repo *repo, const char *const *paths, size_t count, const struct data_add_options *options,
		struct data_add_report *ret, struct strlist *ret_absent, struct err *err) MUST_CHECK;

/* remove: forgets outputs, named by path or by their .dvc. Their data stays, as files of its own; with with_data it goes too, unless
 * that would lose bytes that are in no cache (force). ret_to_stage: files for `git add`. */
int data_remove(struct data_repo *repo, const char *const *paths, size_t count, bool with_data, bool force, struct strlist *ret_removed,
		struct strlist *ret_to_stage, struct err *err) MUST_CHECK;
/* move: an output and its .dvc to another name, or into a directory. */
int data_move(struct data_repo *repo, const char *from, const char *to, struct buf *ret_to, struct strlist *ret_to_stage, struct err *err)
	MUST_CHECK;
/* unprotect: files that are links into the cache become copies, which may be written to. */
int data_unprotect(struct data_repo *repo, const char *const *paths, size_t count, size_t *ret_files, struct err *err) MUST_CHECK;

/* migrate: outputs that DVC 2 recorded (no `hash: md5`) are recorded as DVC 3 does; their objects get a place in files/md5 and keep the old one. An
 * output of which an object is absent or damaged stays as it is. */
struct data_migrate_report {
	size_t objects;          /* that got a new name */
	struct strlist migrated; /* .dvc files */
	struct strlist missing, damaged, broken;
	struct strlist left;     /* what is not recorded here, and who records it */
};
int data_migrate(struct data_repo *repo, const char *const *paths, size_t count, bool dry, struct data_migrate_report *ret, struct err *err)
	MUST_CHECK;
void data_migrate_report_release(struct data_migrate_report *report);

/* merge: what git's merge driver does for one .dvc file. files: the texts of base (empty: none), ours and theirs; ours becomes the result.
 * Directories are merged member by member, and the new manifest is in the cache afterwards. Where both sides changed a member, or a manifest
 * is not at hand, nothing of the data is merged: ret_conflicts says what, and ours gets git's conflict markers. */
int data_merge(struct data_repo *repo, const char *const files[3], const char *path, struct strlist *ret_conflicts, struct err *err)
	MUST_CHECK;

/* status. Names of directories end in '/'. */
struct data_rename {
	char *from, *to;
};
struct data_changes {
	struct strlist modified, added, deleted, unknown;
	VEC(struct data_rename) renamed;
};
struct data_status {
	struct strlist not_in_cache, not_in_remote;
	struct strlist not_asked; /* whether the remote has it could not be learnt, and why */
	struct strlist hints;     /* what to check about that */
	struct data_changes committed, uncommitted;
	struct strlist unchanged;
	struct strlist untracked; /* by git, and not ignored: paths below the root */
	struct strlist broken;   /* messages about .dvc files that cannot be read */
	struct strlist warnings; /* what lies in tracked directories and cannot be tracked */
	bool has_git, git_dirty;
};
struct data_status_options {
	bool granular;     /* members of directories too */
	bool not_in_remote;
	bool unchanged;
	bool untracked;
	const char *remote; /* NULL: the default one */
	unsigned jobs;
};
int data_status(struct data_repo *repo, const char *const *paths, size_t count, const struct data_status_options *options,
		struct data_status *ret, struct err *err) MUST_CHECK;
void data_status_release(struct data_status *status);

/* checkout: the work tree as the .dvc files say. What would destroy bytes that are in no cache is listed in unsafe, what the cache has
 * not in missing or damaged; if any of the three is not empty for a path, that path is left as it was. */
struct data_checkout_options {
	bool force;
	bool exact; /* with force: untracked files go, too */
	bool relink;
};
struct data_checkout_report {
	struct strlist added, modified, deleted; /* as status names them */
	struct strlist unsafe;
	struct strlist missing;
	struct strlist damaged;
	struct strlist broken;
	size_t files; /* written */
};
int data_checkout(struct data_repo *repo, const char *const *paths, size_t count, const struct data_checkout_options *options,
		  struct data_checkout_report *ret, struct err *err) MUST_CHECK;
void data_checkout_report_release(struct data_checkout_report *report);

#define DATA_RATE_ANY UINT64_MAX
/* push and fetch: returns 0 when every object got its answer; look at missing, damaged and failed. After -1 they and stopped name what was
 * not moved. */
struct data_transfer_options {
	const char *remote; /* NULL: the default one, and of an output that names its remote, that */
	unsigned jobs;      /* 0: as configured */
	uint64_t limit_rate; /* bytes a second; 0: what the project says; DATA_RATE_ANY */
	bool verify;        /* push: ask for every member, also of directories that were whole there before */
	bool dry;           /* move nothing: `planned` names what would be */
	bool checks_out;    /* fetch: a checkout of the same paths follows, from this data_repo */
};
struct data_transfer_report {
	char *remote;
	size_t moved, present;
	uint64_t bytes;
	struct strlist recorded; /* push: .dvc files that got versions, and are to be committed; empty where they are staged already */
	struct strlist planned; /* of a dry run: what would be moved. moved and bytes are of these, as far as sizes are known */
	struct strlist missing; /* nowhere: "data/x (md5 ...)" */
	struct strlist damaged; /* bytes that are not what their name says, and where */
	struct strlist failed;  /* with the reason */
	struct strlist withheld; /* push: manifests that stay here, since the remote lacks some of what they list; with what that is */
	struct strlist hints;   /* what to check about these and what is missing, each once */
	struct strlist stopped; /* after -1: what was not moved because of that error; names alone */
	struct strlist broken;
};
int data_push(struct data_repo *repo, const char *const *paths, size_t count, const struct data_transfer_options *options,
	      struct data_transfer_report *ret, struct err *err) MUST_CHECK;
int data_fetch(struct data_repo *repo, const char *const *paths, size_t count, const struct data_transfer_options *options,
	       struct data_transfer_report *ret, struct err *err) MUST_CHECK;
/* fetch, then checkout; a damaged object of the cache is moved aside and fetched again. */
int data_pull(struct data_repo *repo, const char *const *paths, size_t count, const struct data_transfer_options *transfer,
	      const struct data_checkout_options *checkout, struct data_transfer_report *ret_transfer,
	      struct data_checkout_report *ret_checkout, struct err *err) MUST_CHECK;
void data_transfer_report_release(struct data_transfer_report *report);

/* verify: reads every object that the outputs in paths consist of, and compares size and md5. Nothing counts as known. */
struct data_verify_options {
	bool everything;    /* every object file there, not only what a .dvc of the work tree refers to; paths must be none */
	bool with_remote;   /* the remote's objects too: each is downloaded and hashed */
	bool quick;         /* of the remote's, only the sizes */
	bool repair;        /* what is damaged or missing on one side is replaced from the other; damaged objects are moved aside */
	const char *remote; /* NULL: the default one */
	unsigned jobs;
};
struct data_verify_report {
	char *remote;       /* NULL: none was looked at */
	size_t cache_objects, remote_objects; /* looked at */
	uint64_t cache_bytes, remote_bytes;   /* read */
	struct strlist cache_missing, cache_damaged, remote_missing, remote_damaged; /* and not repaired */
	struct strlist repaired;
	struct strlist failed;   /* could not be looked at, with the reason */
	struct strlist hints;    /* what to check about these, each once */
	struct strlist broken;   /* .dvc files that cannot be read, manifests whose members are unknown */
};
int data_verify(struct data_repo *repo, const char *const *paths, size_t count, const struct data_verify_options *options,
		struct data_verify_report *ret, struct err *err) MUST_CHECK;
void data_verify_report_release(struct data_verify_report *report);

/* ls: what is tracked, in the work tree's records or a revision's. Manifests that the cache lacks are fetched. */
struct data_ls_options {
	const char *rev;    /* NULL: the work tree */
	bool recursive;     /* files alone; else what lies directly in path */
	bool empty;         /* with recursive: and directories without any */
	bool sizes;         /* of members, too, as far as the cache has them */
};
struct data_listed {
	char *path;         /* relative to what was listed */
	char *md5;          /* with ".dir"; NULL: a directory that is no output itself */
	bool is_out;        /* data; else a directory that has some in it */
	bool is_dir, exec, has_size;
	uint64_t size;
};
struct data_listing {
	VEC(struct data_listed) list; /* sorted by path */
	struct strlist broken;
};
int data_ls(struct data_repo *repo, const char *path, const struct data_ls_options *options, struct data_listing *ret, struct err *err)
	MUST_CHECK;
void data_listing_release(struct data_listing *listing);

/* get: a tracked file or directory, or a part of one, to where it is asked for; verified. */
struct data_get_options {
	const char *rev;    /* NULL: the work tree's records */
	const char *out;    /* NULL: its own name, here; in a directory if that is one */
	bool force;         /* overwrite a file */
};
int data_get(struct data_repo *repo, const char *path, const struct data_get_options *options, struct buf *ret_target, size_t *ret_files,
	     struct err *err) MUST_CHECK;

/* The same of another repository, which url names: a directory or the address of a git repository. What git has is listed and taken, too. No
 * data repository is needed here; if there is one (NULL if not), its remotes say which servers may see credentials. */
struct data_from_options {
	const char *rev;    /* NULL: a directory as it is, the default branch of what is elsewhere */
	const char *remote; /* NULL: its default one */
	const char *out;    /* get */
	bool force;         /* get */
	bool recursive, empty, sizes, data_only; /* ls */
};
int data_ls_from(struct data_repo *repo, const struct data_ui *ui, const char *url, const char *path, const struct data_from_options *options,
		 struct data_listing *ret, struct err *err) MUST_CHECK;
int data_get_from(struct data_repo *repo, const struct data_ui *ui, const char *url, const char *path,
		  const struct data_from_options *options, struct buf *ret_target, size_t *ret_files, struct err *err) MUST_CHECK;
/* Where data lies on its remote. */
int data_url_from(struct data_repo *repo, const struct data_ui *ui, const char *url, const char *path,
		  const struct data_from_options *options, struct buf *ret, struct err *err) MUST_CHECK;
/* Whether a word means another repository than this one (NULL: none), and not a path in it. */
bool data_is_other(const struct data_repo *repo, const char *word);

/* diff: from (NULL: HEAD) to to (NULL: the data in the work tree). Sorted by path; directories end in '/'. */
struct data_diff_entry {
	char *path, *hash;         /* the hash of a broken link, and of a directory that holds one, is NULL */
	char *new_path, *new_hash; /* of what is there twice: modified and renamed */
};
struct data_diff_list {
	struct data_diff_entry *at;
	size_t len, cap;
};
struct data_diff {
	struct data_diff_list added, deleted, modified, renamed;
	struct data_diff_list not_in_cache; /* of the old side; only against the work tree */
	bool with_missing;
	struct strlist warnings, broken;
};
int data_diff(struct data_repo *repo, const char *from, const char *to, const char *const *paths, size_t count, struct data_diff *ret,
	      struct err *err) MUST_CHECK;
void data_diff_release(struct data_diff *diff);

/* gc: deletes objects that nothing in the chosen scopes records. The work tree and git's index are always in. Refused when a record
 * cannot be read. */
struct data_gc_report;
struct data_gc_options {
	bool branches, tags, commits; /* besides the work tree; all commits of all refs */
	struct strlist revs;          /* and these */
	unsigned rev_commits;         /* of each of these and of the branches, so many: itself, its first parent, ...; 0: itself */
	bool has_since;
	int64_t since;                /* and all commits of all refs from then on, seconds since 1970 */
	struct strlist projects;      /* directories of further data repositories that share the cache, each with the same scopes */
	bool strict;       /* delete what branches and tags outside of the scopes record; else it stays */
	bool skip_failed;  /* go on without records of revisions, and manifests, that cannot be read */
	bool dry;
	bool with_remote;
	bool not_in_remote; /* of what is recorded, keep only what the remote has not; excludes with_remote */
	bool quick;         /* which is told from the sizes there; else each object there is read */
	const char *remote; /* NULL: the default one */
	unsigned jobs;
	bool (*confirm)(void *ctx, const struct data_gc_report *report); /* NULL: yes. Asked once, before anything is deleted */
	void *ctx;
};
struct data_gc_report {
	char *remote;             /* that was cleaned, or asked what it has */
	size_t used;              /* objects that are recorded, here or not */
	size_t kept;              /* by the branches and tags outside of the scopes, here and on the remote */
	size_t objects, remote_objects; /* that are not recorded, or on the remote, too */
	size_t copied;            /* which of objects are recorded, and on the remote */
	struct strlist damaged, unread; /* not_in_remote: what stays because the remote's copy is damaged, or could not be read */
	uint64_t bytes, remote_bytes;
	size_t leftovers;         /* of killed pushes, removed from the remote */
	struct strlist names;     /* of the objects, those of the remote last */
	struct strlist failed;
	struct strlist hints;     /* what to check about these, each once */
	bool deleted;
};
int data_gc(struct data_repo *repo, const struct data_gc_options *options, struct data_gc_report *ret, struct err *err) MUST_CHECK;
void data_gc_report_release(struct data_gc_report *report);

/* The config files: later levels win. Options are named "section.option" or "remote.NAME.option". Writes change that line alone. */
enum data_level { DATA_SYSTEM, DATA_GLOBAL, DATA_PROJECT, DATA_LOCAL };
#define DATA_LEVELS 4
#define DATA_ANY_LEVEL (-1)
struct data_setting {
	char *name;
	char *value;         /* paths are absolute */
	enum data_level level;
	char *file;
};
struct data_settings {
	struct data_setting *at;
	size_t len, cap;
};
/* Those of one level, or with DATA_ANY_LEVEL those that take effect. name NULL: all; one that is not set gives none. */
int data_config_get(struct data_repo *repo, int level, const char *name, struct data_settings *ret, struct err *err) MUST_CHECK;
void data_settings_release(struct data_settings *settings);
/* value NULL: unset, which is an error (ERR_CONFIG) if it is not set in that file. */
int data_config_set(struct data_repo *repo, enum data_level level, const char *name, const char *value, struct err *err) MUST_CHECK;

/* Remotes in the config files. */
struct data_remote_entry {
	char *name;
	char *url; /* as it takes effect */
	bool is_default;
	bool is_packed; /* declared in mlmake.yaml */
};
struct data_remote_list {
	struct data_remote_entry *at;
	size_t len, cap;
};
int data_remote_list(struct data_repo *repo, struct data_remote_list *ret, struct err *err) MUST_CHECK;
void data_remote_list_release(struct data_remote_list *list);
int data_remote_add(struct data_repo *repo, enum data_level level, const char *name, const char *url, bool make_default, bool force,
		    struct err *err) MUST_CHECK;
/* value NULL: unset. */
int data_remote_modify(struct data_repo *repo, enum data_level level, const char *name, const char *option, const char *value,
		       struct err *err) MUST_CHECK;
int data_remote_remove(struct data_repo *repo, enum data_level level, const char *name, struct err *err) MUST_CHECK;
int data_remote_rename(struct data_repo *repo, enum data_level level, const char *name, const char *to, struct err *err) MUST_CHECK;
/* name NULL: unset. */
int data_remote_default(struct data_repo *repo, enum data_level level, const char *name, struct err *err) MUST_CHECK;

#endif
