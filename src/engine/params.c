#include "engine/params.h"

#include "base/path.h"
#include "engine/components.h"
#include "formats/yaml.h"

#include <stdlib.h>
#include <string.h>

struct params {
	const struct project *project;
	const struct foresight *foresight;
	struct map files;    /* path -> struct param_file */
	struct map foreseen; /* the same of what is not there yet */
};

struct param_file {
	struct fs_stamp stamp;
	struct yaml_doc doc;
};

struct params *params_new(const struct project *project, const struct foresight *foresight)
{
	struct params *params = mem_alloc(sizeof(*params));
	params->project = project;
	params->foresight = foresight;
	return params;
}

static void free_file(void *pointer)
{
	struct param_file *file = pointer;
	yaml_release(&file->doc);
	free(file);
}

void params_free(struct params *params)
{
	if (!params)
		return;
	map_release_values(&params->files, free_file);
	map_release_values(&params->foreseen, free_file);
	free(params);
}

bool params_are_foreseen(const struct params *params, const char *file)
{
	return foresight_covers(params->foresight, file) && map_has(&params->foreseen, file);
}

int params_foresee(struct params *params, const char *file, const void *bytes, size_t len, struct err *err)
{
	struct param_file *foreseen = mem_alloc(sizeof(*foreseen));
	if (yaml_parse(&foreseen->doc, file, bytes, len, err) < 0) {
		free(foreseen);
		return -1;
	}
	struct map_entry *entry = map_entry(&params->foreseen, file);
	if (entry->value)
		free_file(entry->value);
	entry->value = foreseen;
	return 0;
}

static int find_file(struct params *params, const struct param_ref *ref, const struct yaml_node **ret, struct err *err)
{
	OWNED char *path = path_joined(params->project->root, ref->file);
	struct stat st;
	struct fs_stamp stamp;
	bool exists;
	if (params_are_foreseen(params, ref->file)) {
		*ret = ((const struct param_file *)map_get(&params->foreseen, ref->file))->doc.root;
		return 0;
	}
	if (fs_lstat(path, &st, &exists, err) < 0)
		return -1;
	if (!exists) {
		err_set(err, ERR_CONFIG, "the parameter file '%s' does not exist", ref->file);
		project_err_at(params->project, &ref->place, err);
		return err_hint(err, "params: names a YAML or JSON file in the project, or keys of it: params.yaml:train.lr");
	}
	fs_stamp_of(&stamp, &st);
	struct map_entry *entry = map_entry(&params->files, ref->file);
	struct param_file *file = entry->value;
	if (file && !fs_stamp_same(&file->stamp, &stamp)) {
		free_file(file);
		entry->value = file = NULL;
	}
	if (!file) {
		file = mem_alloc(sizeof(*file));
		if (yaml_parse_file(&file->doc, path, ref->file, err) < 0) {
			free(file);
			return -1;
		}
		file->stamp = stamp;
		entry->value = file;
	}
	*ret = file->doc.root;
	return 0;
}

static int by_key(const void *a, const void *b)
{
	const struct yaml_pair *x = a, *y = b;
	return strcmp(x->key->text, y->key->text);
}

/* Appends a key to a dotted name. Dots of its own are escaped, so that no two parameters share a name. */
static void add_key(struct buf *name, const char *key)
{
	if (name->len && name->data[name->len - 1] != ':')
		buf_addch(name, '.');
	for (; *key; key++) {
		if (*key == '.' || *key == '\\')
			buf_addch(name, '\\');
		buf_addch(name, *key);
	}
}

/* One component a leaf, whatever the order in the file, so that a change is told by the leaf that changed. */
static void add_value(struct buf *list, struct buf *name, const struct yaml_node *node)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	if (node && node->kind == YAML_MAP && node->len) {
		struct yaml_pair *pairs = mem_resize_array(NULL, node->len, sizeof(*pairs));
		memcpy(pairs, node->pairs, node->len * sizeof(*pairs));
		qsort(pairs, node->len, sizeof(*pairs), by_key);
		for (size_t i = 0; i < node->len; i++) {
			size_t len = name->len;
			add_key(name, pairs[i].key->text);
			add_value(list, name, pairs[i].value);
			buf_truncate(name, len);
		}
		free(pairs);
		return;
	}
	if (node)
		yaml_add_canonical(&value, node);
	components_add_text(list, COMPONENT_PARAM, name->data, value.data);
}

static void add_named(struct buf *list, const char *file, const char *key, const struct yaml_node *node)
{
	struct buf name CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&name, "%s:%s", file, key);
	add_value(list, &name, node);
}

int params_add(struct params *params, const struct target *target, struct buf *list, struct err *err)
{
	for (size_t i = 0; i < target->params.len; i++) {
		const struct param_ref *ref = &target->params.at[i];
		const struct yaml_node *root = NULL;
		if (find_file(params, ref, &root, err) < 0)
			return err_note(err, "in target '%s'", target->name);
		if (!ref->keys.len)
			add_named(list, ref->file, "", root);
		for (size_t k = 0; k < ref->keys.len; k++) {
			const struct yaml_node *node = yaml_get_dotted(root, ref->keys.at[k]);
			if (node) {
				add_named(list, ref->file, ref->keys.at[k], node);
				continue;
			}
			err_set(err, ERR_CONFIG, "'%s' has no parameter '%s'", ref->file, ref->keys.at[k]);
			project_err_at(params->project, &ref->place, err);
			return err_note(err, "in target '%s'", target->name);
		}
	}
	return 0;
}
