/* Writing .dvc files: new ones whole, those that were read by replacing what changed. */
#include "formats/dvcfile_source.h"
#include "formats/json.h"
#include "formats/yaml.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

char *dvc_scalar(const char *text, size_t indent, size_t column, bool flow)
{
	struct buf out = BUF_INIT;
	if (flow)
		json_add_string(&out, text, strlen(text), false);
	else
		yaml_add_scalar(&out, text, indent, column);
	return buf_detach(&out);
}

static char *digest_text(const struct dvc_out *out)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(&out->digest, hex);
	return mem_printf("%s%s", hex, out->is_dir ? ".dir" : "");
}

static const char *text_of(const struct dvc_out *out, enum dvc_key key, const char *digest)
{
	switch (key) {
	case DVC_MD5:
		return digest;
	case DVC_HASH:
		return out->legacy ? NULL : "md5";
	case DVC_PATH:
		return out->path;
	case DVC_DESC:
		return out->desc;
	case DVC_REMOTE:
		return out->remote;
	default:
		return NULL;
	}
}

char *dvc_out_value(const struct dvc_out *out, enum dvc_key key, size_t indent, bool flow)
{
	if (out->has_files && (key == DVC_MD5 || key == DVC_SIZE || key == DVC_NFILES))
		return NULL; /* its members say it */
	switch (key) {
	case DVC_SIZE:
		return out->has_size ? mem_printf("%llu", (unsigned long long)out->size) : NULL;
	case DVC_NFILES:
		return out->has_nfiles ? mem_printf("%llu", (unsigned long long)out->nfiles) : NULL;
	case DVC_ISEXEC:
		return out->isexec ? mem_strdup("true") : NULL;
	case DVC_CACHE:
		return out->cache ? NULL : mem_strdup("false");
	case DVC_PERSIST:
		return out->persist ? mem_strdup("true") : NULL;
	case DVC_PUSH:
		return out->push ? NULL : mem_strdup("false");
	default:
		break;
	}
	char *digest OWNED = digest_len(out->digest.kind) == 16 ? digest_text(out) : NULL;
	const char *text = text_of(out, key, digest);
	return text ? dvc_scalar(text, indent + 2, indent + strlen(dvc_key_names[key]) + 2, flow) : NULL;
}

/* One output as dvc writes a new one; dash: the column of its "- ". */
static void render_out(struct buf *to, const struct dvc_out *out, size_t dash)
{
	bool first = true;
	for (int k = 0; k < DVC_KEY_COUNT; k++) {
		char *value OWNED = dvc_out_value(out, (enum dvc_key)k, dash + 2, false);
		if (!value)
			continue;
		buf_addf(to, "%*s%s%s: %s\n", (int)dash, "", first ? "- " : "  ", dvc_key_names[k], value);
		first = false;
	}
}

static void render_new(struct buf *out, const struct dvc_file *file)
{
	const struct {
		const char *key, *text;
	} texts[] = { { "desc", file->desc }, { "md5", file->md5 }, { "wdir", file->wdir } };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (!texts[i].text)
			continue;
		buf_addf(out, "%s: ", texts[i].key);
		yaml_add_scalar(out, texts[i].text, 2, strlen(texts[i].key) + 2);
		buf_addch(out, '\n');
	}
	if (file->frozen)
		buf_addstr(out, "frozen: true\n");
	dvc_render_deps(out, file);
	buf_addstr(out, "outs:\n");
	for (size_t i = 0; i < file->out_count; i++)
		render_out(out, &file->outs[i], 0);
}

/* ---- edits ---- */

struct edit {
	size_t at, remove;
	char *insert; /* owned */
	size_t order; /* of insertions at one place */
};

struct edits {
	struct edit *at;
	size_t len, cap;
	const struct buf *text;
	size_t cut_to; /* where the first key of a map was cut: what stands there is the first one now */
	bool refused;  /* a block would have to go into a map in brackets */
};

static void edit_add(struct edits *edits, size_t at, size_t remove, char *insert)
{
	struct edit edit = { at, remove, insert, edits->len };
	vec_push(edits, edit);
}

static int compare_edits(const void *a, const void *b)
{
	const struct edit *x = a, *y = b;
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static size_t line_start(const struct buf *text, size_t at)
{
	while (at > 0 && text->data[at - 1] != '\n')
		at--;
	return at;
}

static size_t line_end(const struct buf *text, size_t at)
{
	const char *newline = memchr(text->data + at, '\n', text->len - at);
	return newline ? (size_t)(newline - text->data) + 1 : text->len;
}

static void edit_remove_key(struct edits *edits, const struct dvc_map *map, const struct dvc_place *place)
{
	if (place->next_key_start && (place->first || place->key_start == edits->cut_to)) {
		edit_add(edits, place->key_start, place->next_key_start - place->key_start, mem_strdup(""));
		edits->cut_to = place->next_key_start;
	} else if (map->flow) {
		edit_add(edits, place->before_end, place->value_end - place->before_end, mem_strdup(""));
	} else {
		size_t start = line_start(edits->text, place->key_start);
		edit_add(edits, start, line_end(edits->text, place->value_end) - start, mem_strdup(""));
	}
}

/* Where the text of a value begins. A long one may stand folded on a line of its own, and the new one belongs behind its key. */
static size_t value_place(const struct buf *text, const struct dvc_place *place, bool *ret_bare)
{
	size_t at = place->value_start;
	bool folded = false;
	*ret_bare = place->value_start == place->value_end;
	while (at > place->key_start && strchr(" \n", text->data[at - 1])) {
		at--;
		folded = folded || text->data[at] == '\n';
	}
	if (*ret_bare || !folded || at == place->key_start || text->data[at - 1] != ':')
		return place->value_start;
	*ret_bare = text->data[at] != ' ';
	return *ret_bare ? at : at + 1;
}

/* The value of one key; NULL: it is not written. */
static void edit_key(struct edits *edits, const struct dvc_map *map, const struct dvc_place *place, const char *name, const char *before,
		     const char *value)
{
	if (text_eq(value, before))
		return;
	if (place->present && value) {
		bool bare;
		size_t start = value_place(edits->text, place, &bare);
		edit_add(edits, start, place->value_end - start, mem_printf("%s%s", bare ? " " : "", value));
	} else if (place->present) {
		edit_remove_key(edits, map, place);
	} else if (value && map->flow) {
		edit_add(edits, map->end, 0, mem_printf(", %s: %s", name, value));
	} else if (value) {
		size_t end = line_end(edits->text, map->end);
		bool open = end == edits->text->len && (end == 0 || edits->text->data[end - 1] != '\n');
		edit_add(edits, end, 0,
			 mem_printf("%s%*s%s: %s%s", open ? "\n" : "", (int)map->indent, "", name, value, open ? "" : "\n"));
	}
}

/* A line more at the end of a map in block style. */
static void edit_append(struct edits *edits, const struct dvc_map *map, const char *name, const char *value)
{
	size_t end = line_end(edits->text, map->end);
	bool open = end == edits->text->len && (end == 0 || edits->text->data[end - 1] != '\n');
	edit_add(edits, end, 0, mem_printf("%s%*s%s:%s%s", open ? "\n" : "", (int)map->indent, "", name, value, open ? "" : "\n"));
}

/* A key whose value is a map or a list, of which text is all that stands behind the colon; NULL: it is not written. */
static void edit_block(struct edits *edits, const struct dvc_map *map, const struct dvc_place *place, const char *name, const char *before,
		       const char *text)
{
	if (text_eq(text, before))
		return;
	const char *colon = place->present ? memchr(edits->text->data + place->key_start, ':', place->value_end - place->key_start) : NULL;
	edits->refused = edits->refused || (text && map->flow);
	if (!text && place->present)
		edit_remove_key(edits, map, place);
	else if (text && colon) {
		size_t from = (size_t)(colon - edits->text->data) + 1;
		edit_add(edits, from, place->value_end - from, mem_strdup(text));
	} else if (text)
		edit_append(edits, map, name, text);
}

static void edit_meta(struct edits *edits, const struct dvc_out_source *source, const struct dvc_out *now)
{
	const struct dvc_place *place = &source->block_at[DVC_META];
	if (!source->meta_is_map) {
		char *text OWNED = dvc_block_text(now, DVC_META, source->map.indent + 2);
		edits->refused = edits->refused || (text && place->present);
		char *whole OWNED = text ? mem_printf("\n%*smlmake:%s", (int)source->map.indent + 2, "", text) : NULL;
		if (whole && !place->present)
			edit_block(edits, &source->map, place, "meta", NULL, whole);
		return;
	}
	char *text OWNED = dvc_block_text(now, DVC_META, source->meta.indent);
	char *before OWNED = dvc_block_text(&source->read, DVC_META, source->meta.indent);
	bool alone = source->own_at.present && source->own_at.first && !source->own_at.next_key_start;
	if (!text && alone)
		edit_remove_key(edits, &source->map, place);
	else
		edit_block(edits, &source->meta, &source->own_at, "mlmake", before, text);
}

static void edit_versions(struct edits *edits, const struct dvc_out_source *source, const struct dvc_out *now)
{
	bool same = digest_eq(&now->digest, &source->read.digest);
	for (size_t k = 0; k < DVC_VERSION_KEYS && !same; k++)
		if (source->version_at[k].present)
			edit_remove_key(edits, &source->map, &source->version_at[k]);
	size_t indent = source->map.indent;
	char *files OWNED = dvc_block_text(now, DVC_FILES, indent), *files_before OWNED = dvc_block_text(&source->read, DVC_FILES, indent);
	char *cloud OWNED = dvc_block_text(now, DVC_CLOUD, indent), *cloud_before OWNED = dvc_block_text(&source->read, DVC_CLOUD, indent);
	edit_block(edits, &source->map, &source->block_at[DVC_FILES], "files", files_before, files);
	if (!same && text_eq(cloud, cloud_before) && source->block_at[DVC_CLOUD].present)
		edit_remove_key(edits, &source->map, &source->block_at[DVC_CLOUD]);
	else
		edit_block(edits, &source->map, &source->block_at[DVC_CLOUD], "cloud", cloud_before, cloud);
	edit_meta(edits, source, now);
}

static void edit_out(struct edits *edits, const struct dvc_out_source *source, const struct dvc_out *now)
{
	for (int k = 0; k < DVC_KEY_COUNT; k++) {
		char *value OWNED = dvc_out_value(now, (enum dvc_key)k, source->map.indent, source->map.flow);
		char *before OWNED = dvc_out_value(&source->read, (enum dvc_key)k, source->map.indent, source->map.flow);
		edit_key(edits, &source->map, &source->at[k], dvc_key_names[k], before, value);
	}
	edit_versions(edits, source, now);
}

static void edit_dep(struct edits *edits, const struct dvc_dep_source *source, const struct dvc_dep *now)
{
	for (int k = 0; k < DEP_KEY_COUNT; k++) {
		const struct dvc_map *map = k < DEP_OWN_COUNT ? &source->map : &source->repo;
		char *value OWNED = dvc_dep_value(now, (enum dvc_dep_key)k, map->indent, map->flow);
		char *before OWNED = dvc_dep_value(&source->read, (enum dvc_dep_key)k, map->indent, map->flow);
		if (k < DEP_OWN_COUNT || now->repo_url)
			edit_key(edits, map, &source->at[k], dvc_dep_key_names[k], before, value);
	}
}

static void edits_apply(struct buf *out, struct edits *edits)
{
	size_t done = 0;
	vec_sort(edits, compare_edits);
	for (size_t i = 0; i < edits->len; i++) {
		const struct edit *edit = &edits->at[i];
		if (edit->at > done)
			buf_add(out, edits->text->data + done, edit->at - done);
		buf_addstr(out, edit->insert);
		if (edit->at + edit->remove > done)
			done = edit->at + edit->remove;
	}
	buf_add(out, edits->text->data + done, edits->text->len - done);
}

/* What keeps the text from being edited line by line; NULL if nothing. YAML takes more than LF for a line break. */
static const char *obstacle(const struct dvc_file *file)
{
	const struct dvc_source *source = file->source;
	const char *end = source->text.data + source->text.len;
	if (source->has_alias)
		return "anchors and aliases";
	if (source->outs_flow && file->out_count > source->out_count)
		return "a list in brackets";
	for (const char *p = source->text.data; p < end; p++) {
		bool lone_cr = *p == '\r' && p[1] != '\n';
		if (lone_cr || strncmp(p, "\xc2\x85", 2) == 0 || strncmp(p, "\xe2\x80\xa8", 3) == 0 || strncmp(p, "\xe2\x80\xa9", 3) == 0)
			return "line breaks other than LF";
	}
	return NULL;
}

static int render_edited(struct buf *out, const struct dvc_file *file, struct err *err)
{
	const struct dvc_source *source = file->source;
	struct edits edits = { .text = &source->text };
	int status = 0;
	for (size_t i = 0; i < source->dep_count && i < file->dep_count; i++)
		edit_dep(&edits, &source->deps[i], &file->deps[i]);
	for (size_t i = 0; i < source->out_count && i < file->out_count; i++)
		edit_out(&edits, &source->outs[i], &file->outs[i]);
	edit_key(&edits, &source->root, &source->md5_at, "md5", source->md5, file->md5);
	if (file->out_count > source->out_count) {
		struct buf more = BUF_INIT;
		size_t end = line_end(&source->text, source->outs_end);
		if (source->text.data[end - 1] != '\n')
			buf_addch(&more, '\n');
		for (size_t i = source->out_count; i < file->out_count; i++)
			render_out(&more, &file->outs[i], source->dash_indent);
		edit_add(&edits, end, 0, buf_detach(&more));
	}
	const char *why = edits.refused ? "braces" : edits.len ? obstacle(file) : NULL;
	if (why) {
		err_set(err, ERR_CONFIG, "cannot edit a .dvc file written with %s", why);
		err_hint(err, "write its outputs out, one key a line");
		status = -1;
	} else {
		edits_apply(out, &edits);
	}
	for (size_t i = 0; i < edits.len; i++)
		free(edits.at[i].insert);
	vec_release(&edits);
	return status;
}

int dvc_file_render(struct buf *out, const struct dvc_file *file, struct err *err)
{
	for (size_t i = 0; i < file->out_count; i++) {
		if (!text_is_utf8(file->outs[i].path, strlen(file->outs[i].path))) {
			err_set(err, ERR_DATA, "the name '%s' is not UTF-8", file->outs[i].path);
			return err_hint(err, "a .dvc file cannot hold it; rename the file");
		}
	}
	if (file->source)
		return render_edited(out, file, err);
	render_new(out, file);
	return 0;
}

int dvc_file_write(const char *path, const struct dvc_file *file, bool *ret_changed, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	bool exists, changed = true;
	if (ret_changed)
		*ret_changed = false;
	if (dvc_file_render(&text, file, err) < 0 || fs_lstat(path, &st, &exists, err) < 0)
		return -1;
	if (exists && S_ISREG(st.st_mode) && (uint64_t)st.st_size == text.len) {
		struct buf old CLEANUP(buf_release) = BUF_INIT;
		if (fs_read_file(path, text.len, &old, err) < 0)
			return -1;
		changed = old.len != text.len || memcmp(old.data, text.data, text.len) != 0;
	}
	mode_t mode = exists && S_ISREG(st.st_mode) ? st.st_mode & 0777 : 0666;
	if (changed && fs_write_file(path, text.data, text.len, mode, FS_SYNCED, err) < 0)
		return -1;
	if (ret_changed)
		*ret_changed = changed;
	return 0;
}
