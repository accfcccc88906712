/* The dependencies of .dvc files: what imports were made of. Schemas: dvc 3.67, dependency.SCHEMA and RepoDependency. */
#include "formats/dvcfile_source.h"

#include "base/mem.h"
#include "base/text.h"
#include "formats/digest.h"
#include "formats/json.h"
#include "formats/yaml.h"

#include <string.h>

static const char *const dep_keys[] = { "md5",  "checksum", "etag", "size", "nfiles", "isexec", "version_id", "path", "persist",
					"cloud", "hash",    "repo", "db",   "files",  "fs_config", "dataset" };
static const char *const repo_keys[] = { "url", "rev", "rev_lock", "config", "remote" };
static const char *const alien_keys[] = { "version_id", "cloud", "db", "files", "dataset" };

const char *const dvc_dep_key_names[DEP_KEY_COUNT] = { "md5", "etag", "checksum", "size", "nfiles", "isexec", "rev", "rev_lock" };

static int want_map(const struct yaml_node *node, const char *what, struct err *err)
{
	return node->kind == YAML_MAP && node->len ? 0 : yaml_err(err, node, "%s must be a map, not %s", what, yaml_kind_name(node->kind));
}

static int read_repo(const struct yaml_node *repo, struct dvc_dep *dep, struct err *err)
{
	if (want_map(repo, "repo", err) < 0 || dvc_check_keys(repo, repo_keys, ARRAY_LEN(repo_keys), "repo", err) < 0 ||
	    dvc_read_text(repo, "url", &dep->repo_url, err) < 0 || dvc_read_text(repo, "rev", &dep->repo_rev, err) < 0 ||
	    dvc_read_text(repo, "rev_lock", &dep->repo_rev_lock, err) < 0)
		return -1;
	const struct yaml_node *remote = yaml_get(repo, "remote");
	if (yaml_get(repo, "config") || (remote && remote->kind == YAML_MAP))
		dep->alien = "config";
	else if (dvc_read_text(repo, "remote", &dep->repo_remote, err) < 0)
		return -1;
	return dep->repo_url && *dep->repo_url ? 0 : yaml_err(err, repo, "repo has no url");
}

static void read_fs_config(const struct yaml_node *map, struct dvc_dep *dep)
{
	for (size_t i = 0; map && map->kind == YAML_MAP && i < map->len; i++)
		strlist_take(&dep->fs_config, mem_printf("%s=%s", map->pairs[i].key->text, map->pairs[i].value->text));
}

static int read_dep(const struct yaml_node *map, struct dvc_dep *dep, struct err *err)
{
	if (want_map(map, "a dependency", err) < 0 || dvc_check_keys(map, dep_keys, ARRAY_LEN(dep_keys), "a dependency", err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(alien_keys); i++)
		if (yaml_get(map, alien_keys[i]))
			dep->alien = alien_keys[i];
	const struct yaml_node *repo = yaml_get(map, "repo");
	dep->span = yaml_span(map);
	dep->span.file = dep->span.text = NULL;
	read_fs_config(yaml_get(map, "fs_config"), dep);
	if (repo && read_repo(repo, dep, err) < 0)
		return -1;
	if (dvc_read_text(map, "path", &dep->path, err) < 0 || dvc_read_text(map, "md5", &dep->md5, err) < 0 ||
	    dvc_read_text(map, "etag", &dep->etag, err) < 0 || dvc_read_text(map, "checksum", &dep->checksum, err) < 0 ||
	    dvc_read_count(map, "size", &dep->has_size, &dep->size, err) < 0 ||
	    dvc_read_count(map, "nfiles", &dep->has_nfiles, &dep->nfiles, err) < 0)
		return -1;
	return dvc_read_bool(map, "isexec", &dep->isexec, err);
}

static void copy_state(struct dvc_dep *to, const struct dvc_dep *from)
{
	*to = (struct dvc_dep){ .has_size = from->has_size, .has_nfiles = from->has_nfiles, .size = from->size, .nfiles = from->nfiles,
				.isexec = from->isexec };
	to->md5 = mem_strdup(from->md5);
	to->etag = mem_strdup(from->etag);
	to->checksum = mem_strdup(from->checksum);
	to->repo_rev = mem_strdup(from->repo_rev);
	to->repo_rev_lock = mem_strdup(from->repo_rev_lock);
}

int dvc_read_deps(const struct yaml_node *root, struct dvc_file *file, struct err *err)
{
	const struct yaml_node *deps = yaml_get(root, "deps");
	struct dvc_source *source = file->source;
	if (!deps || deps->kind == YAML_NULL)
		return 0;
	if (deps->kind != YAML_SEQ)
		return yaml_err(err, deps, "deps must be a list, not %s", yaml_kind_name(deps->kind));
	file->deps = mem_alloc((deps->len + 1) * sizeof(*file->deps));
	source->deps = mem_alloc((deps->len + 1) * sizeof(*source->deps));
	for (size_t i = 0; i < deps->len; i++) {
		struct dvc_dep *dep = &file->deps[file->dep_count++];
		struct dvc_dep_source *from = &source->deps[i];
		if (read_dep(deps->items[i], dep, err) < 0)
			return -1;
		copy_state(&from->read, dep);
		source->dep_count++;
		dvc_find_places(deps->items[i], dvc_dep_key_names, DEP_OWN_COUNT, from->at, &from->map, source->text.data);
		if (dep->repo_url)
			dvc_find_places(yaml_get(deps->items[i], "repo"), dvc_dep_key_names + DEP_OWN_COUNT, DEP_KEY_COUNT - DEP_OWN_COUNT,
					from->at + DEP_OWN_COUNT, &from->repo, source->text.data);
	}
	return 0;
}

void dvc_dep_release(struct dvc_dep *dep)
{
	free(dep->path);
	free(dep->repo_url);
	free(dep->repo_rev);
	free(dep->repo_rev_lock);
	free(dep->repo_remote);
	free(dep->md5);
	free(dep->etag);
	free(dep->checksum);
	strlist_release(&dep->fs_config);
}

struct dvc_dep *dvc_file_add_dep(struct dvc_file *file, const char *path)
{
	file->deps = mem_resize_array(file->deps, file->dep_count + 1, sizeof(*file->deps));
	struct dvc_dep *dep = &file->deps[file->dep_count++];
	*dep = (struct dvc_dep){ .path = mem_strdup(path) };
	return dep;
}

char *dvc_dep_value(const struct dvc_dep *dep, enum dvc_dep_key key, size_t indent, bool flow)
{
	const char *const texts[DEP_KEY_COUNT] = { [DEP_MD5] = dep->md5, [DEP_ETAG] = dep->etag, [DEP_CHECKSUM] = dep->checksum,
						   [DEP_REV] = dep->repo_rev, [DEP_REV_LOCK] = dep->repo_rev_lock };
	if (key == DEP_SIZE)
		return dep->has_size ? mem_printf("%llu", (unsigned long long)dep->size) : NULL;
	if (key == DEP_NFILES)
		return dep->has_nfiles ? mem_printf("%llu", (unsigned long long)dep->nfiles) : NULL;
	if (key == DEP_ISEXEC)
		return dep->isexec ? mem_strdup("true") : NULL;
	return texts[key] ? dvc_scalar(texts[key], indent + 2, indent + strlen(dvc_dep_key_names[key]) + 2, flow) : NULL;
}

/* "key: value" at a column; the first of a map stands behind its "- ". */
static void add_line(struct buf *to, size_t indent, const char *key, const char *text, bool *first)
{
	if (!text)
		return;
	char *value OWNED = dvc_scalar(text, indent + 2, indent + strlen(key) + 2, false);
	buf_addf(to, "%*s%s%s: %s\n", (int)(indent - (*first ? 2 : 0)), "", *first ? "- " : "", key, value);
	*first = false;
}

static void render_dep(struct buf *to, const struct dvc_dep *dep)
{
	bool first = true;
	for (int k = 0; k < DEP_OWN_COUNT && !dep->repo_url; k++) {
		char *value OWNED = dvc_dep_value(dep, (enum dvc_dep_key)k, 2, false);
		if (value)
			buf_addf(to, "%s%s: %s\n", first ? "- " : "  ", dvc_dep_key_names[k], value);
		first = first && !value;
	}
	if (!dep->repo_url)
		add_line(to, 2, "hash", "md5", &first);
	add_line(to, 2, "path", dep->path, &first);
	if (dep->fs_config.len)
		buf_addstr(to, "  fs_config:\n");
	for (size_t i = 0; i < dep->fs_config.len; i++) {
		const char *option = dep->fs_config.at[i];
		char *name OWNED = mem_strndup(option, strcspn(option, "="));
		add_line(to, 4, name, option + strlen(name) + 1, &first);
	}
	if (!dep->repo_url)
		return;
	buf_addstr(to, "  repo:\n");
	add_line(to, 4, "url", dep->repo_url, &first);
	add_line(to, 4, "rev", dep->repo_rev, &first);
	add_line(to, 4, "rev_lock", dep->repo_rev_lock, &first);
	add_line(to, 4, "remote", dep->repo_remote, &first);
}

void dvc_render_deps(struct buf *to, const struct dvc_file *file)
{
	if (file->dep_count)
		buf_addstr(to, "deps:\n");
	for (size_t i = 0; i < file->dep_count; i++)
		render_dep(to, &file->deps[i]);
}

/* The stage's md5: json.dumps(..., sort_keys=True) of what dvc writes, without the keys that say nothing of the content. */

static void pair(struct json_writer *w, const char *key, const char *text)
{
	if (text)
		json_pair_str(w, key, text);
}

static void add_dep_json(struct json_writer *w, const struct dvc_dep *dep)
{
	json_open_object(w);
	pair(w, "checksum", dep->checksum);
	pair(w, "etag", dep->etag);
	if (dep->fs_config.len) {
		struct strlist sorted CLEANUP(strlist_release) = { 0 };
		for (size_t i = 0; i < dep->fs_config.len; i++)
			strlist_add(&sorted, dep->fs_config.at[i]);
		strlist_sort(&sorted);
		json_key(w, "fs_config");
		json_open_object(w);
		for (size_t i = 0; i < sorted.len; i++) {
			char *name OWNED = mem_strndup(sorted.at[i], strcspn(sorted.at[i], "="));
			json_pair_str(w, name, sorted.at[i] + strlen(name) + 1);
		}
		json_close(w);
	}
	if (!dep->repo_url)
		json_pair_str(w, "hash", "md5");
	pair(w, "md5", dep->md5);
	pair(w, "path", dep->path);
	if (dep->repo_url) {
		json_key(w, "repo");
		json_open_object(w);
		pair(w, "remote", dep->repo_remote);
		pair(w, "rev", dep->repo_rev);
		pair(w, "rev_lock", dep->repo_rev_lock);
		json_pair_str(w, "url", dep->repo_url);
		json_close(w);
	}
	json_close(w);
}

static void add_out_json(struct json_writer *w, const struct dvc_out *out)
{
	json_open_object(w);
	if (!out->cache)
		json_pair_bool(w, "cache", false);
	if (!out->legacy)
		json_pair_str(w, "hash", "md5");
	if (out->digest.kind != DIGEST_NONE) {
		char hex[DIGEST_HEX_MAX];
		digest_hex(&out->digest, hex);
		char *md5 OWNED = mem_printf("%s%s", hex, out->is_dir ? ".dir" : "");
		json_pair_str(w, "md5", md5);
	}
	json_pair_str(w, "path", out->path);
	if (!out->push)
		json_pair_bool(w, "push", false);
	pair(w, "remote", out->remote);
	json_close(w);
}

char *dvc_file_stage_md5(const struct dvc_file *file)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &text, JSON_PYTHON);
	json_open_object(&w);
	if (file->dep_count) {
		json_key(&w, "deps");
		json_open_array(&w);
		for (size_t i = 0; i < file->dep_count; i++)
			add_dep_json(&w, &file->deps[i]);
		json_close(&w);
	}
	json_key(&w, "outs");
	json_open_array(&w);
	for (size_t i = 0; i < file->out_count; i++)
		add_out_json(&w, &file->outs[i]);
	json_close(&w);
	pair(&w, "wdir", file->wdir);
	json_end(&w);
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	digest_bytes(DIGEST_MD5, text.data, text.len, &digest);
	digest_hex(&digest, hex);
	return mem_strdup(hex);
}
