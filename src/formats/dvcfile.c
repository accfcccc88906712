#include "formats/dvcfile.h"

#include "base/path.h"
#include "base/text.h"
#include "formats/dvcfile_source.h"
#include "formats/yaml.h"

#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)64 << 20)

const char *const dvc_key_names[DVC_KEY_COUNT] = { "md5",  "size",  "nfiles",  "isexec", "hash", "path",
						   "desc", "cache", "persist", "remote", "push" };

/* dvc 3.67: SINGLE_STAGE_SCHEMA, output.SCHEMA and dependency.SCHEMA. */
static const char *const stage_keys[] = { "md5", "cmd", "wdir", "deps", "outs", "locked", "frozen", "meta", "always_changed", "desc" };
const char *const dvc_version_key_names[DVC_VERSION_KEYS] = { "version_id", "etag", "checksum" };
static const char *const out_keys[] = { "md5",   "checksum", "etag",   "size", "nfiles", "isexec", "version_id", "path",  "persist", "cloud",
					"hash",  "desc",     "type",   "labels", "meta", "cache",  "remote",     "push",  "files",   "fs_config" };

bool dvc_file_is_name(const char *name)
{
	const char *base = path_base(name);
	return text_ends(base, ".dvc") && strlen(base) > 4;
}

/* ---- reading values ---- */

static int data_err(struct err *err, const struct yaml_node *node, const char *fmt, const char *what)
{
	yaml_err(err, node, fmt, what);
	err->code = ERR_DATA;
	return -1;
}

int dvc_check_keys(const struct yaml_node *map, const char *const *known, size_t count, const char *where, struct err *err)
{
	for (size_t i = 0; i < map->len; i++) {
		const struct yaml_node *key = map->pairs[i].key;
		bool found = false;
		for (size_t k = 0; k < count && !found; k++)
			found = strcmp(key->text, known[k]) == 0;
		if (found)
			continue;
		yaml_err(err, key, "unknown key '%s' in %s", key->text, where);
		const char *near = text_nearest(key->text, known, count);
		if (near)
			return err_hint(err, "did you mean '%s'?", near);
		return err_hint(err, "dvc refuses it too; put data of your own below 'meta:'");
	}
	return 0;
}

static int want(const struct yaml_node *node, enum yaml_kind kind, const char *what, struct err *err)
{
	if (node->kind == kind)
		return 0;
	return yaml_err(err, node, "%s must be %s, not %s", what, yaml_kind_name(kind), yaml_kind_name(node->kind));
}

int dvc_read_bool(const struct yaml_node *map, const char *key, bool *ret, struct err *err)
{
	const struct yaml_node *node = yaml_get(map, key);
	if (!node)
		return 0;
	if (want(node, YAML_BOOL, key, err) < 0)
		return -1;
	*ret = node->boolean;
	return 0;
}

int dvc_read_count(const struct yaml_node *map, const char *key, bool *ret_has, uint64_t *ret, struct err *err)
{
	const struct yaml_node *node = yaml_get(map, key);
	if (!node || node->kind == YAML_NULL)
		return 0;
	if (want(node, YAML_INT, key, err) < 0)
		return -1;
	if (node->integer < 0)
		return data_err(err, node, "%s must not be negative", key);
	*ret_has = true;
	*ret = (uint64_t)node->integer;
	return 0;
}

int dvc_read_text(const struct yaml_node *map, const char *key, char **ret, struct err *err)
{
	const struct yaml_node *node = yaml_get(map, key);
	if (!node || node->kind == YAML_NULL)
		return 0;
	if (node->kind == YAML_SEQ || node->kind == YAML_MAP)
		return want(node, YAML_STR, key, err);
	if (strlen(node->text) != node->text_len)
		return data_err(err, node, "%s must not contain a zero byte", key);
	*ret = mem_strdup(node->text);
	return 0;
}

/* The text as it is written counts: an md5 of digits alone is a number to YAML where nobody quoted it. */
static int read_digest(const struct yaml_node *map, struct dvc_out *out, struct err *err)
{
	const struct yaml_node *md5 = yaml_get(map, "md5"), *hash = yaml_get(map, "hash");
	if (hash && (hash->kind != YAML_STR || strcmp(hash->text, "md5") != 0)) {
		yaml_err(err, hash, "hash '%s' is not known", hash->text);
		return err_hint(err, "mlmake and dvc 3 write 'hash: md5'");
	}
	out->legacy = !hash;
	if (!md5 || md5->kind == YAML_NULL || !md5->text_len)
		return md5 && (md5->kind == YAML_SEQ || md5->kind == YAML_MAP) ? want(md5, YAML_STR, "md5", err) : 0;
	char hex[33];
	out->is_dir = text_ends(md5->text, ".dir");
	size_t len = md5->text_len - (out->is_dir ? 4 : 0);
	if (len == 32) {
		memcpy(hex, md5->text, 32);
		hex[32] = '\0';
		if (digest_parse(&out->digest, out->legacy ? DIGEST_MD5_DOS2UNIX : DIGEST_MD5, hex))
			return 0;
	}
	data_err(err, md5, "'%s' is not an md5", md5->text);
	return err_hint(err, "32 hexadecimal digits are expected, with '.dir' behind them for a directory");
}

static int read_path(const struct yaml_node *map, char **ret, struct err *err)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	const struct yaml_node *node = yaml_get(map, "path");
	if (!node) {
		data_err(err, map, "%s has no path", "the output");
		return err_hint(err, "the file was cut off, or 'path:' is missing");
	}
	if (node->kind == YAML_SEQ || node->kind == YAML_MAP || node->kind == YAML_NULL)
		return want(node, YAML_STR, "path", err);
	if (!text_is_utf8(node->text, node->text_len) || strlen(node->text) != node->text_len || node->text[0] == '/')
		return data_err(err, node, "the output's path '%s' is not a relative path", node->text);
	path_normalize(&path, node->text);
	if (!path_is_safe(path.data)) {
		data_err(err, node, "the output's path '%s' leads out of the .dvc file's directory", node->text);
		return err_hint(err, "a .dvc file stands beside its output or above it");
	}
	*ret = buf_detach(&path);
	return 0;
}

/* A map or list in block style ends for the parser where the next thing begins, on a line of its own. */
static size_t end_of(const struct yaml_node *value, const char *text)
{
	size_t end = value->end;
	bool block = (value->kind == YAML_MAP || value->kind == YAML_SEQ) && !value->flow;
	while (end > value->start && (text[end - 1] == '\n' || (block && text[end - 1] == ' ')))
		end--;
	return end;
}

void dvc_find_places(const struct yaml_node *map, const char *const *names, size_t count, struct dvc_place *places, struct dvc_map *ret,
		     const char *text)
{
	for (size_t i = 0; i < map->len; i++) {
		const struct yaml_node *key = map->pairs[i].key, *value = map->pairs[i].value;
		for (size_t k = 0; k < count; k++) {
			if (strcmp(key->text, names[k]) != 0)
				continue;
			struct dvc_place *place = &places[k];
			place->present = true;
			place->first = i == 0;
			place->key_start = key->start;
			place->value_start = value->start;
			place->value_end = end_of(value, text);
			place->before_end = i ? map->pairs[i - 1].value->end : 0;
			place->next_key_start = i + 1 < map->len ? map->pairs[i + 1].key->start : 0;
		}
	}
	ret->end = end_of(map->pairs[map->len - 1].value, text);
	ret->flow = map->flow;
	ret->indent = yaml_span(map->pairs[0].key).col - 1;
}

static int read_out(const struct yaml_node *map, struct dvc_out *out, struct err *err)
{
	out->cache = out->push = true;
	if (want(map, YAML_MAP, "an output", err) < 0 || dvc_check_keys(map, out_keys, ARRAY_LEN(out_keys), "an output", err) < 0)
		return -1;
	out->span = yaml_span(map);
	out->span.file = out->span.text = NULL;
	if (read_digest(map, out, err) < 0 || read_path(map, &out->path, err) < 0 ||
	    dvc_read_count(map, "size", &out->has_size, &out->size, err) < 0 ||
	    dvc_read_count(map, "nfiles", &out->has_nfiles, &out->nfiles, err) < 0 || dvc_read_bool(map, "isexec", &out->isexec, err) < 0 ||
	    dvc_read_bool(map, "cache", &out->cache, err) < 0 || dvc_read_bool(map, "push", &out->push, err) < 0 ||
	    dvc_read_bool(map, "persist", &out->persist, err) < 0)
		return -1;
	if (dvc_read_text(map, "remote", &out->remote, err) < 0 || dvc_read_text(map, "desc", &out->desc, err) < 0)
		return -1;
	return dvc_read_versions(map, out, err);
}

static void find_out_places(const struct yaml_node *map, struct dvc_out_source *ret, const char *text)
{
	static const char *const own[] = { "mlmake" };
	const struct yaml_node *meta = yaml_get(map, "meta");
	dvc_find_places(map, dvc_key_names, DVC_KEY_COUNT, ret->at, &ret->map, text);
	dvc_find_places(map, dvc_version_key_names, DVC_VERSION_KEYS, ret->version_at, &ret->map, text);
	dvc_find_places(map, dvc_block_names, DVC_BLOCK_COUNT, ret->block_at, &ret->map, text);
	ret->meta_is_map = meta && meta->kind == YAML_MAP && meta->len;
	if (ret->meta_is_map)
		dvc_find_places(meta, own, 1, &ret->own_at, &ret->meta, text);
}

static int read_outs(const struct yaml_node *root, struct dvc_file *file, struct err *err)
{
	const struct yaml_node *outs = yaml_get(root, "outs");
	struct dvc_source *source = file->source;
	if (!outs || outs->kind == YAML_NULL || (outs->kind == YAML_SEQ && outs->len == 0)) {
		data_err(err, outs ? outs : root, "no outputs%s: the file was cut off, or 'outs:' is missing", "");
		return err_hint(err, "restore it from git");
	}
	if (want(outs, YAML_SEQ, "outs", err) < 0)
		return -1;
	file->outs = mem_alloc(outs->len * sizeof(*file->outs));
	source->outs = mem_alloc(outs->len * sizeof(*source->outs));
	for (size_t i = 0; i < outs->len; i++) {
		file->out_count++;
		if (read_out(outs->items[i], &file->outs[i], err) < 0)
			return -1;
		for (size_t k = 0; k < i; k++) {
			if (strcmp(file->outs[k].path, file->outs[i].path) == 0)
				return data_err(err, outs->items[i], "the output '%s' is listed twice", file->outs[i].path);
		}
		dvc_out_copy(&source->outs[i].read, &file->outs[i]);
		source->out_count++;
		find_out_places(outs->items[i], &source->outs[i], source->text.data);
	}
	source->outs_end = source->outs[outs->len - 1].map.end;
	source->outs_flow = outs->flow;
	source->dash_indent = yaml_span(outs).col - 1;
	return 0;
}

static int read_stage(const struct yaml_node *root, struct dvc_file *file, struct err *err)
{
	if (want(root, YAML_MAP, "a .dvc file", err) < 0 || dvc_check_keys(root, stage_keys, ARRAY_LEN(stage_keys), "a .dvc file", err) < 0)
		return -1;
	if (dvc_read_bool(root, "locked", &file->frozen, err) < 0 || dvc_read_bool(root, "frozen", &file->frozen, err) < 0 ||
	    dvc_read_text(root, "desc", &file->desc, err) < 0 || dvc_read_text(root, "wdir", &file->wdir, err) < 0)
		return -1;
	if (file->wdir && (strcmp(file->wdir, ".") == 0 || !*file->wdir)) {
		free(file->wdir);
		file->wdir = NULL;
	}
	if (file->wdir) {
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		path_normalize(&path, file->wdir);
		if (!path_is_safe(path.data))
			return data_err(err, yaml_get(root, "wdir"), "wdir '%s' leads out of the .dvc file's directory", file->wdir);
	}
	static const char *const md5[] = { "md5" };
	struct dvc_source *source = file->source;
	if (dvc_read_text(root, "md5", &file->md5, err) < 0 || dvc_read_deps(root, file, err) < 0 || read_outs(root, file, err) < 0)
		return -1;
	for (size_t i = 0; i < file->out_count && file->dep_count; i++)
		if (file->outs[i].has_files) /* the md5 of the import is of a manifest that dvc makes in a way of its own */
			file->outs[i].digest.kind = source->outs[i].read.digest.kind = DIGEST_NONE;
	source->md5 = mem_strdup(file->md5);
	dvc_find_places(root, md5, 1, &source->md5_at, &source->root, source->text.data);
	return 0;
}

/* ---- whole files ---- */

static int check_conflict(const char *bytes, size_t len, const char *shown_as, struct err *err)
{
	static const char marker[] = "<<<<<<< ";
	unsigned line = 1;
	for (size_t at = 0; at < len; line++) {
		const char *newline = memchr(bytes + at, '\n', len - at);
		size_t end = newline ? (size_t)(newline - bytes) : len;
		if (end - at >= sizeof(marker) - 1 && memcmp(bytes + at, marker, sizeof(marker) - 1) == 0) {
			char *text OWNED = mem_strndup(bytes + at, end - at);
			struct span span = { .file = shown_as, .text = text, .line = line, .col = 1, .len = 7 };
			err_set(err, ERR_DATA, "a merge conflict is not resolved in %s", shown_as);
			err_hint(err, "keep one side with 'git checkout --ours -- %s' or --theirs, then 'git add' it", shown_as);
			return err_at(err, &span);
		}
		at = end + 1;
	}
	return 0;
}

/* The last thing in a .dvc file is a path, and half a path is a path too. */
static int check_cut_off(const struct dvc_file *file, const char *shown_as, struct err *err)
{
	const struct buf *text = &file->source->text;
	if (text->data[text->len - 1] == '\n')
		return 0;
	const char *name = path_base(shown_as), *base = path_base(file->outs[file->out_count - 1].path);
	if (!text_ends(name, ".dvc") || (strlen(base) == strlen(name) - 4 && strncmp(base, name, strlen(base)) == 0))
		return 0;
	err_set(err, ERR_DATA, "%s ends within a line and names '%s': it was cut off", shown_as, base);
	return err_hint(err, "restore it from git, or end its last line if it is complete");
}

int dvc_file_parse(const char *bytes, size_t len, const char *shown_as, struct dvc_file *ret, struct err *err)
{
	struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT;
	*ret = (struct dvc_file)DVC_FILE_INIT;
	if (check_conflict(bytes, len, shown_as, err) < 0)
		return -1;
	if (yaml_parse(&doc, shown_as, bytes, len, err) < 0) {
		if (err->code == ERR_CONFIG)
			err->code = ERR_DATA;
		return -1;
	}
	if (!doc.root) {
		err_set(err, ERR_DATA, "%s is empty", shown_as);
		return err_hint(err, "it was cut off; restore it from git, or run 'mlmake data add' again");
	}
	ret->source = mem_alloc(sizeof(*ret->source));
	buf_init(&ret->source->text);
	buf_add(&ret->source->text, bytes, len);
	ret->source->has_alias = doc.has_alias;
	if (read_stage(doc.root, ret, err) < 0 || check_cut_off(ret, shown_as, err) < 0) {
		dvc_file_release(ret);
		return -1;
	}
	return 0;
}

int dvc_file_read(const char *path, const char *shown_as, struct dvc_file *ret, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	*ret = (struct dvc_file)DVC_FILE_INIT;
	if (fs_read_file(path, MAX_BYTES, &text, err) < 0)
		return -1;
	return dvc_file_parse(text.data, text.len, shown_as, ret, err);
}

struct dvc_out *dvc_file_add_out(struct dvc_file *file, const char *path)
{
	file->outs = mem_resize_array(file->outs, file->out_count + 1, sizeof(*file->outs));
	struct dvc_out *out = &file->outs[file->out_count++];
	memset(out, 0, sizeof(*out));
	out->path = mem_strdup(path);
	out->cache = out->push = true;
	return out;
}

void dvc_out_release(struct dvc_out *out)
{
	free(out->path);
	free(out->remote);
	free(out->desc);
	dvc_versions_release(out);
}

void dvc_out_copy(struct dvc_out *to, const struct dvc_out *from)
{
	*to = *from;
	to->path = mem_strdup(from->path);
	to->remote = mem_strdup(from->remote);
	to->desc = mem_strdup(from->desc);
	dvc_versions_copy(to, from);
}

static void source_free(struct dvc_source *source)
{
	if (!source)
		return;
	for (size_t i = 0; i < source->out_count; i++)
		dvc_out_release(&source->outs[i].read);
	for (size_t i = 0; i < source->dep_count; i++)
		dvc_dep_release(&source->deps[i].read);
	free(source->outs);
	free(source->deps);
	free(source->md5);
	buf_release(&source->text);
	free(source);
}

void dvc_file_release(struct dvc_file *file)
{
	for (size_t i = 0; i < file->out_count; i++)
		dvc_out_release(&file->outs[i]);
	for (size_t i = 0; i < file->dep_count; i++)
		dvc_dep_release(&file->deps[i]);
	free(file->outs);
	free(file->deps);
	free(file->md5);
	free(file->desc);
	free(file->wdir);
	source_free(file->source);
	*file = (struct dvc_file)DVC_FILE_INIT;
}
