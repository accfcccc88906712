#include "graph/detect.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/ignore.h"
#include "formats/regex.h"

#include <string.h>

#define MAX_FILE (4U << 20)

struct detector {
	struct tree *tree;
	const char *root;
	struct buf *why;
};

static void say(struct detector *d, const char *what, const char *path)
{
	if (d->why->len > 0)
		buf_addstr(d->why, " and ");
	buf_addf(d->why, "%s %s", what, path);
}

/* The first file below node that the glob matches and visit says 1 to. */
typedef int visit_fn(struct detector *d, const char *path, void *ctx, struct err *err);

static int find_file(struct detector *d, struct tree_node *node, const char *glob, visit_fn *visit, void *ctx,
		     struct err *err)
{
	if (!node->is_dir)
		return glob_match(glob, node->path) ? visit(d, node->path, ctx, err) : 0;
	if (tree_list(d->tree, node, err) < 0)
		return -1;
	/* Files before directories: what is found is what a person would name. */
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < node->in->len; i++) {
			struct tree_node *child = node->in->at[i];
			if (child->ignored || child->is_dir != (pass == 1) ||
			    (child->is_dir && !glob_may_match_below(glob, child->path)))
				continue;
			int found = find_file(d, child, glob, visit, ctx, err);
			if (found != 0)
				return found;
		}
	return 0;
}

static int found_file(struct detector *d, const char *path, void *ctx, struct err *err)
{
	(void)ctx;
	(void)err;
	say(d, "found", path);
	return 1;
}

/* A file that cannot be read, or is too big to be a configuration, does not match. */
static int match_file(struct detector *d, const char *path, void *ctx, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct err unreadable CLEANUP(err_release) = ERR_INIT;
	char *full OWNED = path_joined(d->root, path);
	if (fs_read_file(full, MAX_FILE, &text, &unreadable) < 0)
		return 0;
	int found = regex_match(ctx, text.data, text.len, NULL, err);
	if (found == 1)
		say(d, "configured by", path);
	return found;
}

static int detect_matches(struct detector *d, const struct yaml_node *node, struct err *err)
{
	const struct yaml_node *file = yaml_get(node, "file"), *pattern = yaml_get(node, "pattern");
	if (file == NULL || pattern == NULL) {
		yaml_err(err, node, "'matches' wants file and pattern");
		return err_hint(err, "write matches: {file: setup.cfg, pattern: '^\\[pylint'}");
	}
	struct regex *regex CLEANUP(regex_freep) = NULL;
	if (regex_new(&regex, pattern->text, REGEX_MULTILINE, err) < 0) {
		err_hint(err, "the pattern is a regular expression of PCRE2");
		const struct span span = yaml_span(pattern);
		return err_at(err, &span);
	}
	return find_file(d, tree_root(d->tree), file->text, match_file, regex, err);
}

static int detect_map(struct detector *d, const struct yaml_node *condition, const char *skip, struct err *err);

static int detect_list(struct detector *d, const struct yaml_node *list, bool any, struct err *err)
{
	if (list->kind != YAML_SEQ) {
		yaml_err(err, list, "'%s' wants a list of conditions", any ? "any" : "all");
		return err_hint(err, "write [{file: NAME}, {glob: PATTERN}]");
	}
	for (size_t i = 0; i < list->len; i++) {
		int holds = detect_map(d, list->items[i], NULL, err);
		if (holds < 0 || holds == any)
			return holds;
	}
	return !any;
}

static int detect_not(struct detector *d, const struct yaml_node *condition, struct err *err)
{
	struct buf unsaid CLEANUP(buf_release) = BUF_INIT;
	struct detector inner = {d->tree, d->root, &unsaid};
	int holds = detect_map(&inner, condition, NULL, err);
	return holds < 0 ? -1 : !holds;
}

static int detect_key(struct detector *d, const struct yaml_pair *pair, struct err *err)
{
	const char *key = pair->key->text;
	struct tree_node *node;
	if (text_eq(key, "file")) {
		if (tree_find(d->tree, pair->value->text, &node, err) < 0)
			return -1;
		return node != NULL && !node->is_dir ? found_file(d, node->path, NULL, err) : 0;
	}
	if (text_eq(key, "glob"))
		return find_file(d, tree_root(d->tree), pair->value->text, found_file, NULL, err);
	if (text_eq(key, "matches"))
		return detect_matches(d, pair->value, err);
	if (text_eq(key, "not"))
		return detect_not(d, pair->value, err);
	if (text_eq(key, "any") || text_eq(key, "all"))
		return detect_list(d, pair->value, text_eq(key, "any"), err);
	yaml_err(err, pair->key, "unknown condition '%s'", key);
	return err_hint(err, "known here: file, glob, matches, not, any, all");
}

static int detect_map(struct detector *d, const struct yaml_node *condition, const char *skip, struct err *err)
{
	if (condition->kind != YAML_MAP) {
		yaml_err(err, condition, "a condition is a map, not %s", yaml_kind_name(condition->kind));
		return err_hint(err, "write {file: NAME}");
	}
	for (size_t i = 0; i < condition->len; i++) {
		if (skip != NULL && text_eq(condition->pairs[i].key->text, skip))
			continue;
		int holds = detect_key(d, &condition->pairs[i], err);
		if (holds != 1)
			return holds;
	}
	return 1;
}

int detect(struct tree *tree, const char *root, const struct yaml_node *condition, const char *skip, struct buf *why,
	   struct err *err)
{
	struct detector d = {tree, root, why};
	return detect_map(&d, condition, skip, err);
}
