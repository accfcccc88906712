#include "formats/dvclock.h"

#include "base/path.h"
#include "base/text.h"
#include "formats/yaml.h"

#include <string.h>

/* Whether text is what template gives for some values of its ${...}. */
static bool matches(const char *template, const char *text)
{
	const char *hole = strstr(template, "${");
	if (!hole)
		return text_eq(template, text);
	if (strncmp(template, text, (size_t)(hole - template)) != 0)
		return false;
	const char *close = strchr(hole, '}');
	if (!close)
		return false;
	for (const char *rest = text + (hole - template);; rest++) {
		if (matches(close + 1, rest))
			return true;
		if (!*rest)
			return false;
	}
}

static bool same_path(const char *template, const char *path)
{
	struct buf left CLEANUP(buf_release) = BUF_INIT, right CLEANUP(buf_release) = BUF_INIT;
	path_normalize(&left, template);
	path_normalize(&right, path);
	return matches(left.data, right.data);
}

/* The entry of dvc.yaml that a stage of the lock comes from; NULL if none. */
static const struct yaml_node *find_stage(const struct yaml_node *stages, const char *name)
{
	const struct yaml_node *stage = yaml_get(stages, name);
	if (!stage) {
		size_t len = strcspn(name, "@");
		char *base OWNED = mem_strndup(name, len);
		stage = name[len] ? yaml_get(stages, base) : NULL;
	}
	const struct yaml_node *body = yaml_get(stage, "do");
	return body ? body : stage;
}

/* The flags of an output, an empty node if it has none; NULL if the stage has no such output. */
static const struct yaml_node *find_flags(const struct yaml_node *stage, const char *path)
{
	static const char *const lists[] = { "outs", "metrics", "plots" };
	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		const struct yaml_node *list = yaml_get(stage, lists[k]);
		for (size_t i = 0; list && list->kind == YAML_SEQ && i < list->len; i++) {
			const struct yaml_node *item = list->items[i];
			if (item->kind != YAML_MAP && same_path(item->text, path))
				return item;
			if (item->kind == YAML_MAP && item->len == 1 && same_path(item->pairs[0].key->text, path))
				return item->pairs[0].value;
		}
	}
	return NULL;
}

static bool is_false(const struct yaml_node *flags, const char *name)
{
	const struct yaml_node *value = yaml_get(flags, name);
	return value && value->kind == YAML_BOOL && !value->boolean;
}

static int read_digest(const struct yaml_node *entry, struct dvc_out *out, struct err *err)
{
	const struct yaml_node *md5 = yaml_get(entry, "md5");
	if (!md5)
		return 0;
	out->is_dir = text_ends(md5->text, ".dir");
	char *hex OWNED = mem_strndup(md5->text, out->is_dir ? md5->text_len - 4 : md5->text_len);
	if (!digest_parse(&out->digest, out->legacy ? DIGEST_MD5_DOS2UNIX : DIGEST_MD5, hex))
		return yaml_err(err, md5, "'%s' is no md5", md5->text);
	return 0;
}

static int read_count(const struct yaml_node *entry, const char *name, bool *ret_has, uint64_t *ret, struct err *err)
{
	const struct yaml_node *value = yaml_get(entry, name);
	*ret_has = value != NULL;
	if (!value)
		return 0;
	if (value->kind != YAML_INT || value->integer < 0)
		return yaml_err(err, value, "'%s' must be a whole number, not '%s'", name, value->text);
	*ret = (uint64_t)value->integer;
	return 0;
}

static int read_out(struct dvc_stage *stage, const struct yaml_node *entry, const struct yaml_node *yaml_stage, bool all, struct err *err)
{
	const struct yaml_node *path = yaml_get(entry, "path"), *exec = yaml_get(entry, "isexec");
	if (!path || path->kind == YAML_MAP || path->kind == YAML_SEQ || !*path->text)
		return yaml_err(err, entry, "an output of the stage '%s' has no path", stage->name);
	if (path->text[0] == '/' || strstr(path->text, "://"))
		return 0;
	const struct yaml_node *flags = all ? NULL : find_flags(yaml_stage, path->text);
	if (!all && !flags)
		return 0;
	struct dvc_out *out = dvc_file_add_out(&stage->file, path->text);
	const struct yaml_node *remote = yaml_get(flags, "remote");
	out->cache = !is_false(flags, "cache");
	out->push = !is_false(flags, "push");
	out->remote = remote && remote->kind == YAML_STR ? mem_strdup(remote->text) : NULL;
	out->isexec = exec && exec->kind == YAML_BOOL && exec->boolean;
	out->legacy = !yaml_get(entry, "hash");
	out->has_files = yaml_get(entry, "files") != NULL;
	out->span = yaml_span(path);
	out->span.file = out->span.text = NULL; /* they go with the document */
	if (read_digest(entry, out, err) < 0 || read_count(entry, "size", &out->has_size, &out->size, err) < 0)
		return -1;
	return read_count(entry, "nfiles", &out->has_nfiles, &out->nfiles, err);
}

static int read_stage(struct dvc_lock *ret, const char *name, const struct yaml_node *entry, const struct yaml_node *yaml_stage, bool all,
		      struct err *err)
{
	const struct yaml_node *outs = yaml_get(entry, "outs"), *wdir = yaml_get(yaml_stage, "wdir");
	if (!outs)
		return 0;
	if (!*name)
		return yaml_err(err, entry, "a stage must have a name");
	if (outs->kind != YAML_SEQ)
		return yaml_err(err, outs, "'outs' of the stage '%s' must be a list, not %s", name, yaml_kind_name(outs->kind));
	if (wdir && strstr(wdir->text, "${")) {
		yaml_err(err, wdir, "the stage '%s' has a wdir that is computed, which is not supported", name);
		return err_hint(err, "write it out, or use dvc for the outputs of this dvc.yaml");
	}
	vec_push(&ret->stages, ((struct dvc_stage){ .name = mem_strdup(name), .file = DVC_FILE_INIT }));
	struct dvc_stage *stage = &ret->stages.at[ret->stages.len - 1];
	stage->file.wdir = wdir ? mem_strdup(wdir->text) : NULL;
	for (size_t i = 0; i < outs->len; i++)
		if (read_out(stage, outs->items[i], yaml_stage, all, err) < 0)
			return -1;
	return 0;
}

int dvc_lock_parse(struct dvc_lock *ret, const char *shown_as, const char *bytes, size_t len, const char *yaml_shown_as, const char *yaml,
		   size_t yaml_len, struct err *err)
{
	struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT, yaml_doc CLEANUP(yaml_release) = YAML_DOC_INIT;
	if (yaml_parse(&doc, shown_as, bytes, len, err) < 0 || (yaml && yaml_parse(&yaml_doc, yaml_shown_as, yaml, yaml_len, err) < 0))
		return -1;
	if (!doc.root || doc.root->kind != YAML_MAP) {
		err_set(err, ERR_DATA, "%s holds no stages: it is empty or cut off", shown_as);
		return err_hint(err, "git checkout %s brings the committed one back", shown_as);
	}
	/* Schema 1.0 had the stages at the top. */
	bool old = !yaml_get(doc.root, "schema") && !yaml_get(doc.root, "stages");
	const struct yaml_node *stages = old ? doc.root : yaml_get(doc.root, "stages");
	if (!stages || stages->kind == YAML_NULL)
		return 0;
	if (stages->kind != YAML_MAP)
		return yaml_err(err, stages, "'stages' must be a map, not %s", yaml_kind_name(stages->kind));
	for (size_t i = 0; i < stages->len; i++) {
		const char *name = stages->pairs[i].key->text;
		const struct yaml_node *yaml_stage = yaml ? find_stage(yaml_get(yaml_doc.root, "stages"), name) : NULL;
		if (yaml && !yaml_stage)
			continue;
		if (read_stage(ret, name, stages->pairs[i].value, yaml_stage, !yaml, err) < 0)
			return -1;
	}
	return 0;
}

void dvc_lock_release(struct dvc_lock *lock)
{
	for (size_t i = 0; i < lock->stages.len; i++) {
		free(lock->stages.at[i].name);
		dvc_file_release(&lock->stages.at[i].file);
	}
	vec_release(&lock->stages);
}
