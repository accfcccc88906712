/*
 * Where the values of a .dvc file stand in its text, so that they can be replaced one by one. For formats/dvcfile*.c.
 */
#ifndef FORMATS_DVCFILE_SOURCE_H
#define FORMATS_DVCFILE_SOURCE_H

#include "formats/dvcfile.h"

/* The keys of an output that mlmake writes, in dvc's order. */
enum dvc_key { DVC_MD5, DVC_SIZE, DVC_NFILES, DVC_ISEXEC, DVC_HASH, DVC_PATH, DVC_DESC, DVC_CACHE, DVC_PERSIST, DVC_REMOTE, DVC_PUSH, DVC_KEY_COUNT };
extern const char *const dvc_key_names[DVC_KEY_COUNT];

struct dvc_place {
	bool present;
	bool first;               /* of its map: on the line of the "- " */
	size_t key_start;
	size_t value_start, value_end;
	size_t before_end;        /* end of the value before it; flow style */
	size_t next_key_start;    /* 0 if it is the last one */
};

struct dvc_map {
	size_t end;               /* of its last value */
	size_t indent;            /* column of its keys */
	bool flow;
};

/* What says which version of the content a remote has: of no use once the content is another. */
#define DVC_VERSION_KEYS 3
extern const char *const dvc_version_key_names[DVC_VERSION_KEYS];

/* Values that are maps or lists: `files:`, `cloud:`, `meta:`, and in that one `mlmake:`. */
enum dvc_block { DVC_FILES, DVC_CLOUD, DVC_META, DVC_BLOCK_COUNT };
extern const char *const dvc_block_names[DVC_BLOCK_COUNT];

struct dvc_out_source {
	struct dvc_out read;      /* as it was read; strings shared with nobody */
	struct dvc_place at[DVC_KEY_COUNT];
	struct dvc_place version_at[DVC_VERSION_KEYS];
	struct dvc_place block_at[DVC_BLOCK_COUNT];
	struct dvc_map map;
	struct dvc_place own_at;  /* mlmake, in meta */
	struct dvc_map meta;
	bool meta_is_map;
};

/* The keys of a dependency that change when it is imported again, in dvc's order; those of repo are in a map of their own. */
enum dvc_dep_key { DEP_MD5, DEP_ETAG, DEP_CHECKSUM, DEP_SIZE, DEP_NFILES, DEP_ISEXEC, DEP_OWN_COUNT,
	DEP_REV = DEP_OWN_COUNT, DEP_REV_LOCK, DEP_KEY_COUNT };
extern const char *const dvc_dep_key_names[DEP_KEY_COUNT];

struct dvc_dep_source {
	struct dvc_dep read;
	struct dvc_place at[DEP_KEY_COUNT];
	struct dvc_map map, repo;
};

struct dvc_source {
	struct buf text;
	struct dvc_out_source *outs;
	size_t out_count;
	struct dvc_dep_source *deps;
	size_t dep_count;
	char *md5;                /* as it was read */
	struct dvc_place md5_at;
	struct dvc_map root;
	bool has_alias;
	size_t outs_end;          /* end of the last output */
	size_t dash_indent;       /* column of the "- " of the outputs */
	bool outs_flow;
};

/* Finds the keys of a map that names lists. */
struct yaml_node;
void dvc_find_places(const struct yaml_node *map, const char *const *names, size_t count, struct dvc_place *places, struct dvc_map *ret,
		     const char *text);

/* Reading values (dvcfile.c); ERR_DATA and ERR_CONFIG with their place. */
int dvc_read_text(const struct yaml_node *map, const char *key, char **ret, struct err *err) MUST_CHECK;
int dvc_read_bool(const struct yaml_node *map, const char *key, bool *ret, struct err *err) MUST_CHECK;
int dvc_read_count(const struct yaml_node *map, const char *key, bool *ret_has, uint64_t *ret, struct err *err) MUST_CHECK;
int dvc_check_keys(const struct yaml_node *map, const char *const *known, size_t count, const char *where, struct err *err) MUST_CHECK;

/* Dependencies (dvcfile_deps.c). */
int dvc_read_deps(const struct yaml_node *root, struct dvc_file *file, struct err *err) MUST_CHECK;
void dvc_dep_release(struct dvc_dep *dep);
void dvc_render_deps(struct buf *to, const struct dvc_file *file);
char *dvc_dep_value(const struct dvc_dep *dep, enum dvc_dep_key key, size_t indent, bool flow); /* as dvc_out_value */

/* A string as a YAML scalar behind "key: "; owned by the caller. */
char *dvc_scalar(const char *text, size_t indent, size_t column, bool flow);

/* `files:`, `cloud:` and `meta:` of an output (dvcfile_versions.c). */
int dvc_read_versions(const struct yaml_node *map, struct dvc_out *out, struct err *err) MUST_CHECK;
void dvc_versions_release(struct dvc_out *out);
void dvc_versions_copy(struct dvc_out *to, const struct dvc_out *from);
/* What stands behind the key's ':' where the keys of the map are in column indent: lines, the last one without its end. NULL: no such key.
 * DVC_META: what stands behind `mlmake:` of that map. Owned by the caller. */
char *dvc_block_text(const struct dvc_out *out, enum dvc_block block, size_t indent);

void dvc_out_release(struct dvc_out *out);
void dvc_out_copy(struct dvc_out *to, const struct dvc_out *from);

/* The text of a key's value as a YAML scalar; NULL where the key is not written. Owned by the caller. */
char *dvc_out_value(const struct dvc_out *out, enum dvc_key key, size_t indent, bool flow);

#endif
