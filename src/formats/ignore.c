#include "formats/ignore.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/vec.h"

#include <string.h>

/* Longer lines are not patterns of this world; they match nothing. */
#define MAX_PATTERN 4096

struct rule {
	char *pattern; /* without '!', a leading '/' and a trailing '/' */
	bool negated;
	bool only_dirs;
	bool anchored; /* holds a '/': matched against the path below the base, else against the last component */
	size_t prefix; /* its length without magic, from the start */
};

struct group { /* the rules of one directory */
	VEC(struct rule) rules;
};

struct ignore {
	struct map groups;  /* base -> struct group */
	struct group *root; /* of base "", also in the map */
};

struct ignore *ignore_new(void)
{
	return mem_alloc(sizeof(struct ignore));
}

static void group_free(void *value)
{
	struct group *group = value;
	for (size_t i = 0; i < group->rules.len; i++)
		free(group->rules.at[i].pattern);
	vec_release(&group->rules);
	free(group);
}

void ignore_free(struct ignore *ignore)
{
	if (ignore == NULL)
		return;
	map_release_values(&ignore->groups, group_free);
	free(ignore);
}

static struct group *group_of(struct ignore *ignore, const char *base)
{
	struct map_entry *entry = map_entry(&ignore->groups, base);
	if (entry->value == NULL) {
		entry->value = mem_alloc(sizeof(struct group));
		if (*base == 0)
			ignore->root = entry->value;
	}
	return entry->value;
}

bool ignore_has(const struct ignore *ignore, const char *base)
{
	return map_has(&ignore->groups, base);
}

void ignore_add_pattern(struct ignore *ignore, const char *base, const char *pattern)
{
	struct group *group = group_of(ignore, base);
	struct rule rule = {.pattern = NULL};
	if (*pattern == '!') {
		rule.negated = true;
		pattern++;
	}
	size_t len = strlen(pattern);
	if (len == 0 || len > MAX_PATTERN)
		return;
	if (pattern[len - 1] == '/') {
		rule.only_dirs = true;
		len--;
	}
	rule.anchored = memchr(pattern, '/', len) != NULL;
	if (rule.anchored && *pattern == '/') {
		pattern++;
		len--;
	}
	rule.pattern = mem_strndup(pattern, len);
	rule.prefix = strcspn(rule.pattern, "*?[\\");
	vec_push(&group->rules, rule);
}

/* Cuts the spaces at the end that no backslash quotes. */
static void trim_git(struct buf *line)
{
	size_t keep = 0;
	for (size_t i = 0; i < line->len; i++) {
		if (line->data[i] == '\\') {
			if (++i == line->len)
				return;
			keep = i + 1;
		} else if (line->data[i] != ' ') {
			keep = i + 1;
		}
	}
	buf_truncate(line, keep);
}

static void trim_both(struct buf *line)
{
	const char *space = " \t\r\f\v";
	size_t end = line->len;
	while (end > 0 && strchr(space, line->data[end - 1]) != NULL)
		end--;
	buf_truncate(line, end);
	size_t start = strspn(line->data, space);
	memmove(line->data, line->data + start, line->len - start);
	buf_truncate(line, line->len - start);
}

void ignore_add(struct ignore *ignore, const char *base, const char *text, size_t len, bool trim)
{
	group_of(ignore, base);
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	const char *end = text + len;
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line_len = (size_t)((newline ? newline : end) - text);
		buf_reset(&line);
		/* A zero byte ends the pattern, as in git. */
		buf_add(&line, text, strnlen(text, line_len));
		text += line_len + 1;
		if (trim) {
			trim_both(&line);
		} else if (line.data[0] != '#') {
			if (newline != NULL && line.len > 0 && line.data[line.len - 1] == '\r')
				buf_truncate(&line, line.len - 1);
			trim_git(&line);
		}
		if (line.len > 0 && line.data[0] != '#')
			ignore_add_pattern(ignore, base, line.data);
	}
}

/* The part without magic is compared by itself, and the rest is a pattern of its own: that makes "abc**" at the end of
 * it a
 * "**" component, which is what git does. */
static bool rule_match(const struct rule *rule, const char *subject)
{
	if (strncmp(rule->pattern, subject, rule->prefix) != 0)
		return false;
	if (rule->pattern[rule->prefix] == 0)
		return subject[rule->prefix] == 0;
	return rule->anchored ? glob_match_plain(rule->pattern + rule->prefix, subject + rule->prefix)
			      : glob_match_plain(rule->pattern, subject);
}

/* 1 ignored, 0 re-included, -1 no rule matches. below is path without the group's base. */
static int group_match(const struct group *group, const char *below, const char *name, bool is_dir)
{
	for (size_t i = group->rules.len; i-- > 0;) {
		const struct rule *rule = &group->rules.at[i];
		if (rule->only_dirs && !is_dir)
			continue;
		if (rule_match(rule, rule->anchored ? below : name))
			return rule->negated ? 0 : 1;
	}
	return -1;
}

bool ignore_match(const struct ignore *ignore, const char *path, bool is_dir)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	int found;

	/* Bases from the deepest up. */
	if (ignore->groups.len > (ignore->root ? 1U : 0U)) {
		char *base OWNED = mem_strdup(path);
		for (char *cut = strrchr(base, '/'); cut != NULL; cut = strrchr(base, '/')) {
			*cut = 0;
			const struct group *group = map_get(&ignore->groups, base);
			if (group == NULL)
				continue;
			found = group_match(group, path + (cut - base) + 1, name, is_dir);
			if (found >= 0)
				return found == 1;
		}
	}
	return ignore->root != NULL && group_match(ignore->root, path, name, is_dir) == 1;
}

bool ignore_match_with_parents(const struct ignore *ignore, const char *path, bool is_dir)
{
	char *parent OWNED = mem_strdup(path);
	for (char *slash = strchr(parent, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (ignore_match(ignore, parent, true))
			return true;
		*slash = '/';
	}
	return ignore_match(ignore, path, is_dir);
}
