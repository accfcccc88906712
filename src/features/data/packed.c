#include "features/data/packed.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "graph/schema.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FILE ((size_t)64 << 20)

static int take_remote(const char *file, const struct yaml_pair *pair, struct packed_remotes *ret, struct err *err)
{
	const struct yaml_node *url = schema_get(pair->value, "url"), *packed = schema_get(pair->value, "packed");
	const char *name = pair->key->text;
	if (!url || !*url->text) {
		yaml_err(err, pair->key, "the remote '%s' has no url", name);
		return err_hint(err, "write %s: {url: \"remote://NAME\", packed: true}, NAME being a remote of .dvc/config, or its own s3://bucket/prefix", name);
	}
	if (!packed || !packed->boolean) {
		yaml_err(err, pair->key, "the remote '%s' is not packed", name);
		return err_hint(err, "write packed: true; a plain one belongs into .dvc/config: mlmake data remote add %s %s", name, url->text);
	}
	struct packed_remote remote = { .name = mem_strdup(name) };
	struct buf dir CLEANUP(buf_release) = BUF_INIT, joined CLEANUP(buf_release) = BUF_INIT, path = BUF_INIT;
	if (strstr(url->text, "://")) {
		remote.url = mem_strdup(url->text);
	} else {
		path_dir(&dir, file);
		path_join(&joined, dir.data, url->text);
		path_normalize(&path, joined.data);
		remote.url = buf_detach(&path);
	}
	vec_push(&ret->list, remote);
	return 0;
}

static int take_rate(const struct yaml_node *rate, struct packed_remotes *ret, struct err *err)
{
	if (!rate || (text_parse_size(rate->text, &ret->limit_rate) && ret->limit_rate))
		return 0;
	yaml_err(err, rate, "'%s' is no rate", rate->text);
	return err_hint(err, "limit_rate takes bytes a second: 500k, 10M");
}

int packed_remotes_load(const char *file, struct packed_remotes *ret, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT;
	*ret = (struct packed_remotes){ .list = { 0 } };
	if (!file || !fs_is_file(file))
		return 0;
	if (fs_read_file(file, MAX_FILE, &text, err) < 0)
		return -1;
	/* Most say nothing of that, and are not parsed. */
	if (!memmem(text.data, text.len, "remotes", strlen("remotes")) && !memmem(text.data, text.len, "limit_rate", strlen("limit_rate")))
		return 0;
	if (yaml_parse(&doc, "mlmake.yaml", text.data, text.len, err) < 0)
		return -1;
	const struct yaml_node *data = schema_get(doc.root, "data");
	if (schema_check(data, "in data", data_keys, err) < 0)
		return -1;
	const struct yaml_node *remotes = schema_get(data, "remotes");
	int status = take_rate(schema_get(data, "limit_rate"), ret, err);
	for (size_t i = 0; status == 0 && remotes && i < remotes->len; i++)
		status = take_remote(file, &remotes->pairs[i], ret, err);
	if (status < 0)
		packed_remotes_release(ret);
	return status;
}

const char *packed_remotes_url(const struct packed_remotes *remotes, const char *name)
{
	for (size_t i = 0; i < remotes->list.len; i++)
		if (text_eq(remotes->list.at[i].name, name))
			return remotes->list.at[i].url;
	return NULL;
}

void packed_remotes_release(struct packed_remotes *remotes)
{
	for (size_t i = 0; i < remotes->list.len; i++) {
		free(remotes->list.at[i].name);
		free(remotes->list.at[i].url);
	}
	vec_release(&remotes->list);
}
