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

struct dvc_out_source {
	struct dvc_out read;      /* as it was read; strings shared with nobody */
	struct dvc_place at[DVC_KEY_COUNT];
	size_t end;               /* of the last value of the map */
	size_t indent;            /* column of the keys */
	bool flow;
};

struct dvc_source {
	struct buf text;
	struct dvc_out_source *outs;
	size_t out_count;
	bool has_alias;
	size_t outs_end;          /* end of the last output */
	size_t dash_indent;       /* column of the "- " of the outputs */
	bool outs_flow;
};

void dvc_out_release(struct dvc_out *out);
void dvc_out_copy(struct dvc_out *to, const struct dvc_out *from);

/* The text of a key's value as a YAML scalar; NULL where the key is not written. Owned by the caller. */
char *dvc_out_value(const struct dvc_out *out, enum dvc_key key, size_t indent, bool flow);

#endif
