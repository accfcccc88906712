#include "features/ci/pins.h"

#include "base/embed.h"

#include <string.h>

#define PINS_PATH "templates/ci/pins.yaml"

int pins_load(struct yaml_doc *ret, struct err *err)
{
	const struct embedded_file *file = embedded_find(PINS_PATH);
	if (!file)
		return err_set(err, ERR_BUG, "%s is not in this binary", PINS_PATH);
	return yaml_parse(ret, PINS_PATH, file->data, file->len, err);
}

int pins_add(const struct yaml_doc *pins, const char *action, struct buf *out, struct err *err)
{
	const char *slash = strchr(action, '/');
	const char *end = slash ? strchr(slash + 1, '/') : NULL;
	OWNED char *repository = end ? mem_strndup(action, (size_t)(end - action)) : mem_strdup(action);
	const struct yaml_node *pin = yaml_get(yaml_get(pins->root, "actions"), repository);
	const struct yaml_node *version = yaml_get(pin, "version"), *commit = yaml_get(pin, "commit");
	if (!version || !commit)
		return err_set(err, ERR_BUG, "%s pins no commit of %s", PINS_PATH, repository);
	if (commit->text_len != 40 || commit->text[strspn(commit->text, "0123456789abcdef")])
		return yaml_err(err, commit, "the pin of %s is not a full commit", repository);
	buf_addf(out, "%s@%s # %s", action, commit->text, version->text);
	return 0;
}
