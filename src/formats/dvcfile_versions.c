/*
 * What a .dvc file says of versions on remotes: `cloud:` of a file, `files:` of a directory, and what mlmake keeps below `meta:`. Schemas: dvc
 * 3.67, output.META_SCHEMA and DIR_FILES_SCHEMA.
 */
#include "formats/dvcfile_source.h"

#include "base/mem.h"
#include "base/text.h"
#include "formats/dvcdir.h"
#include "formats/yaml.h"

#include <stdlib.h>
#include <string.h>

const char *const dvc_block_names[DVC_BLOCK_COUNT] = { "files", "cloud", "meta" };

static const char *const member_keys[] = { "relpath", "md5", "size", "isexec", "cloud" };

/* ---- in memory ---- */

void dvc_version_clear(struct dvc_version *of)
{
	free(of->remote);
	free(of->version_id);
	free(of->etag);
	*of = (struct dvc_version){ .remote = NULL };
}

void dvc_version_set(struct dvc_version *of, const char *remote, const char *version_id, const char *etag)
{
	struct dvc_version now = { mem_strdup(remote), mem_strdup(version_id), mem_strdup(etag) };
	dvc_version_clear(of);
	*of = now;
}

struct dvc_member *dvc_out_member(const struct dvc_out *out, const char *relpath)
{
	size_t low = 0, high = out->members.len;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(out->members.at[middle].relpath, relpath);
		if (order == 0)
			return &out->members.at[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

struct dvc_member *dvc_out_add_member(struct dvc_out *out, const char *relpath, const struct digest *digest)
{
	vec_push(&out->members, ((struct dvc_member){ .relpath = mem_strdup(relpath), .digest = *digest }));
	return &out->members.at[out->members.len - 1];
}

static int compare_others(const void *a, const void *b)
{
	const struct dvc_other_version *left = a, *right = b;
	int order = strcmp(left->remote, right->remote);
	return order ? order : strcmp(left->relpath, right->relpath);
}

/* Where it is, or would be. */
static size_t place_of_other(const struct dvc_out *out, const struct dvc_other_version *wanted)
{
	size_t low = 0, high = out->others.len;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare_others(&out->others.at[middle], wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void free_other(struct dvc_other_version *other)
{
	free(other->remote);
	free(other->relpath);
	free(other->version_id);
}

void dvc_out_set_other(struct dvc_out *out, const char *remote, const char *relpath, const struct digest *digest, const char *version_id)
{
	struct dvc_other_version now = { mem_strdup(remote), mem_strdup(relpath), *digest, mem_strdup(version_id) };
	size_t at = place_of_other(out, &now);
	if (at < out->others.len && compare_others(&out->others.at[at], &now) == 0) {
		free_other(&out->others.at[at]);
	} else {
		vec_push(&out->others, now);
		memmove(out->others.at + at + 1, out->others.at + at, (out->others.len - 1 - at) * sizeof(now));
	}
	out->others.at[at] = now;
}

void dvc_out_drop_others(struct dvc_out *out, bool (*is_old)(void *ctx, const struct dvc_other_version *other), void *ctx)
{
	size_t kept = 0;
	for (size_t i = 0; i < out->others.len; i++) {
		if (is_old(ctx, &out->others.at[i]))
			free_other(&out->others.at[i]);
		else
			out->others.at[kept++] = out->others.at[i];
	}
	out->others.len = kept;
}

const char *dvc_out_other(const struct dvc_out *out, const char *remote, const char *relpath, const struct digest *digest)
{
	const struct dvc_other_version wanted = { .remote = (char *)(uintptr_t)remote, .relpath = (char *)(uintptr_t)relpath };
	size_t at = place_of_other(out, &wanted);
	bool found = at < out->others.len && compare_others(&out->others.at[at], &wanted) == 0;
	return found && digest_eq(&out->others.at[at].digest, digest) ? out->others.at[at].version_id : NULL;
}

void dvc_out_forget_versions(struct dvc_out *out)
{
	dvc_version_clear(&out->cloud);
	for (size_t i = 0; i < out->members.len; i++)
		dvc_version_clear(&out->members.at[i].cloud);
	for (size_t i = 0; i < out->others.len; i++)
		free_other(&out->others.at[i]);
	vec_release(&out->others);
}

void dvc_versions_release(struct dvc_out *out)
{
	dvc_out_forget_versions(out);
	for (size_t i = 0; i < out->members.len; i++)
		free(out->members.at[i].relpath);
	vec_release(&out->members);
}

void dvc_versions_copy(struct dvc_out *to, const struct dvc_out *from)
{
	to->cloud = (struct dvc_version){ .remote = NULL };
	to->members.at = NULL;
	to->others.at = NULL;
	to->members.len = to->members.cap = to->others.len = to->others.cap = 0;
	dvc_version_set(&to->cloud, from->cloud.remote, from->cloud.version_id, from->cloud.etag);
	for (size_t i = 0; i < from->members.len; i++) {
		const struct dvc_member *member = &from->members.at[i];
		struct dvc_member *copy = dvc_out_add_member(to, member->relpath, &member->digest);
		copy->has_size = member->has_size;
		copy->size = member->size;
		copy->isexec = member->isexec;
		dvc_version_set(&copy->cloud, member->cloud.remote, member->cloud.version_id, member->cloud.etag);
	}
	for (size_t i = 0; i < from->others.len; i++) {
		const struct dvc_other_version *other = &from->others.at[i];
		vec_push(&to->others, ((struct dvc_other_version){ mem_strdup(other->remote), mem_strdup(other->relpath), other->digest,
								   mem_strdup(other->version_id) }));
	}
}

/* ---- reading ---- */

/* The first remote counts, as for dvc, which writes no more than one. */
static int read_cloud(const struct yaml_node *map, struct dvc_version *ret, struct err *err)
{
	const struct yaml_node *cloud = yaml_get(map, "cloud");
	if (!cloud || cloud->kind != YAML_MAP || !cloud->len || cloud->pairs[0].value->kind != YAML_MAP)
		return 0;
	if (dvc_read_text(cloud->pairs[0].value, "version_id", &ret->version_id, err) < 0 ||
	    dvc_read_text(cloud->pairs[0].value, "etag", &ret->etag, err) < 0)
		return -1;
	if (ret->version_id && *ret->version_id)
		ret->remote = mem_strdup(cloud->pairs[0].key->text);
	else
		dvc_version_clear(ret);
	return 0;
}

static bool read_md5(const struct yaml_node *map, struct digest *ret)
{
	const struct yaml_node *md5 = yaml_get(map, "md5");
	return md5 && md5->text_len == 32 && digest_parse(ret, DIGEST_MD5, md5->text);
}

/* *ret_whole: all of it is understood, and its content is known. */
static int read_member(const struct yaml_node *map, struct dvc_out *out, bool *ret_whole, struct err *err)
{
	struct digest digest = { .kind = DIGEST_NONE };
	char *relpath OWNED = NULL;
	if (map->kind != YAML_MAP)
		return yaml_err(err, map, "a file must be a map, not %s", yaml_kind_name(map->kind));
	if (dvc_read_text(map, "relpath", &relpath, err) < 0)
		return -1;
	if (!relpath)
		return yaml_err(err, map, "a file has no relpath");
	if (!read_md5(map, &digest))
		*ret_whole = false;
	for (size_t i = 0; i < map->len; i++) {
		bool known = false;
		for (size_t k = 0; k < ARRAY_LEN(member_keys); k++)
			known = known || text_eq(map->pairs[i].key->text, member_keys[k]);
		*ret_whole = *ret_whole && known;
	}
	struct dvc_member *member = dvc_out_add_member(out, relpath, &digest);
	return dvc_read_count(map, "size", &member->has_size, &member->size, err) < 0 || dvc_read_bool(map, "isexec", &member->isexec, err) < 0
		       ? -1 : read_cloud(map, &member->cloud, err);
}

static int compare_members(const void *a, const void *b)
{
	return strcmp(((const struct dvc_member *)a)->relpath, ((const struct dvc_member *)b)->relpath);
}

/* What the directory's manifest would be, were it an object. */
static int describe(const struct yaml_node *files, struct dvc_out *out, struct err *err)
{
	struct dvc_dir dir CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	out->size = 0;
	out->has_size = true;
	for (size_t i = 0; i < out->members.len; i++) {
		dvc_dir_add(&dir, out->members.at[i].relpath, out->members.at[i].digest.bytes);
		out->has_size = out->has_size && out->members.at[i].has_size;
		out->size += out->members.at[i].size;
	}
	if (dvc_dir_sort(&dir, err) < 0) {
		struct span span = yaml_span(files);
		return err_at(err, &span);
	}
	dvc_dir_digest(&dir, &out->digest, NULL);
	out->is_dir = out->has_nfiles = true;
	out->nfiles = dir.len;
	return 0;
}

static int read_files(const struct yaml_node *map, struct dvc_out *out, struct err *err)
{
	const struct yaml_node *files = yaml_get(map, "files");
	bool whole = out->digest.kind == DIGEST_NONE && !out->legacy;
	if (!files || files->kind == YAML_NULL)
		return 0;
	out->has_files = true;
	if (files->kind != YAML_SEQ)
		return yaml_err(err, files, "files must be a list, not %s", yaml_kind_name(files->kind));
	for (size_t i = 0; i < files->len; i++)
		if (read_member(files->items[i], out, &whole, err) < 0)
			return -1;
	if (!whole || !files->len) {
		out->digest.kind = DIGEST_NONE;
		return 0;
	}
	vec_sort(&out->members, compare_members);
	return describe(files, out, err);
}

static int read_other(const struct yaml_node *map, const char *remote, bool member, struct dvc_out *out, struct err *err)
{
	char *relpath OWNED = NULL, *version_id OWNED = NULL;
	struct digest digest;
	if ((member && dvc_read_text(map, "relpath", &relpath, err) < 0) || dvc_read_text(map, "version_id", &version_id, err) < 0)
		return -1;
	if (version_id && *version_id && (!member || relpath) && read_md5(map, &digest))
		vec_push(&out->others, ((struct dvc_other_version){ mem_strdup(remote), mem_strdup(member ? relpath : ""), digest,
								    mem_strdup(version_id) }));
	return 0;
}

static int read_others(const struct yaml_node *map, struct dvc_out *out, struct err *err)
{
	const struct yaml_node *cloud = yaml_get(yaml_get(yaml_get(map, "meta"), "mlmake"), "cloud");
	for (size_t i = 0; cloud && cloud->kind == YAML_MAP && i < cloud->len; i++) {
		const char *remote = cloud->pairs[i].key->text;
		const struct yaml_node *value = cloud->pairs[i].value, *files = yaml_get(value, "files");
		if (value->kind == YAML_MAP && !files && read_other(value, remote, false, out, err) < 0)
			return -1;
		for (size_t k = 0; files && files->kind == YAML_SEQ && k < files->len; k++)
			if (files->items[k]->kind == YAML_MAP && read_other(files->items[k], remote, true, out, err) < 0)
				return -1;
	}
	vec_sort(&out->others, compare_others);
	return 0;
}

int dvc_read_versions(const struct yaml_node *map, struct dvc_out *out, struct err *err)
{
	if (read_files(map, out, err) < 0 || read_others(map, out, err) < 0)
		return -1;
	return out->has_files ? 0 : read_cloud(map, &out->cloud, err);
}

/* ---- writing ---- */

static void add_pair(struct buf *to, size_t indent, const char *key, const char *text)
{
	char *value OWNED = dvc_scalar(text, indent + 2, indent + strlen(key) + 2, false);
	buf_addf(to, "\n%*s%s: %s", (int)indent, "", key, value);
}

static void add_key(struct buf *to, size_t indent, const char *key)
{
	buf_addf(to, "\n%*s", (int)indent, "");
	char *text OWNED = dvc_scalar(key, indent + 2, indent, false);
	buf_addf(to, "%s:", text);
}

static void add_cloud(struct buf *to, size_t indent, const struct dvc_version *cloud)
{
	add_key(to, indent, cloud->remote);
	if (cloud->etag)
		add_pair(to, indent + 2, "etag", cloud->etag);
	add_pair(to, indent + 2, "version_id", cloud->version_id);
}

static void add_md5(struct buf *to, size_t indent, const struct digest *digest)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(digest, hex);
	add_pair(to, indent, "md5", hex);
}

static void add_relpath(struct buf *to, size_t dash, const char *relpath)
{
	char *value OWNED = dvc_scalar(relpath, dash + 4, dash + strlen("- relpath: "), false);
	buf_addf(to, "\n%*s- relpath: %s", (int)dash, "", value);
}

static void add_members(struct buf *to, size_t dash, const struct dvc_out *out)
{
	for (size_t i = 0; i < out->members.len; i++) {
		const struct dvc_member *member = &out->members.at[i];
		add_relpath(to, dash, member->relpath);
		if (member->digest.kind == DIGEST_MD5)
			add_md5(to, dash + 2, &member->digest);
		if (member->has_size)
			buf_addf(to, "\n%*ssize: %llu", (int)dash + 2, "", (unsigned long long)member->size);
		if (member->isexec)
			buf_addf(to, "\n%*sisexec: true", (int)dash + 2, "");
		if (!member->cloud.remote)
			continue;
		buf_addf(to, "\n%*scloud:", (int)dash + 2, "");
		add_cloud(to, dash + 4, &member->cloud);
	}
}

/* Each remote once; those of one remote stand together in the order of their names. */
static void add_others(struct buf *to, size_t indent, const struct dvc_out *out)
{
	struct strlist remotes CLEANUP(strlist_release) = { 0 };
	buf_addf(to, "\n%*scloud:", (int)indent, "");
	for (size_t i = 0; i < out->others.len; i++)
		strlist_add(&remotes, out->others.at[i].remote);
	strlist_sort(&remotes);
	strlist_unique(&remotes);
	for (size_t r = 0; r < remotes.len; r++) {
		bool in_files = false;
		add_key(to, indent + 2, remotes.at[r]);
		for (size_t i = 0; i < out->others.len; i++) {
			const struct dvc_other_version *other = &out->others.at[i];
			if (!text_eq(other->remote, remotes.at[r]))
				continue;
			if (*other->relpath && !in_files)
				buf_addf(to, "\n%*sfiles:", (int)indent + 4, "");
			in_files = in_files || *other->relpath;
			if (*other->relpath)
				add_relpath(to, indent + 4, other->relpath);
			add_md5(to, indent + (*other->relpath ? 6 : 4), &other->digest);
			add_pair(to, indent + (*other->relpath ? 6 : 4), "version_id", other->version_id);
		}
	}
}

char *dvc_block_text(const struct dvc_out *out, enum dvc_block block, size_t indent)
{
	struct buf text = BUF_INIT;
	if (block == DVC_FILES ? !out->has_files : block == DVC_CLOUD ? out->has_files || !out->cloud.remote : !out->others.len)
		return NULL;
	if (block == DVC_FILES && !out->members.len)
		buf_addstr(&text, " []");
	else if (block == DVC_FILES)
		add_members(&text, indent, out);
	else if (block == DVC_CLOUD)
		add_cloud(&text, indent + 2, &out->cloud);
	else
		add_others(&text, indent + 2, out);
	return buf_detach(&text);
}
