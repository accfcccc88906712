#include "engine/tagged.h"

#include "base/map.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/yaml.h"
#include "vcs/git_revs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOB_MAX ((size_t)256 << 20)
#define PARAMS_FILE_MAX ((size_t)16 << 20)
#define LFS_POINTER "version https://git-lfs.github.com/spec/"

enum answer { NO, YES, UNKNOWN };

void tagged_results_release(struct tagged_results *results)
{
	for (size_t i = 0; i < results->len; i++)
		past_release(&results->at[i].past);
	vec_release(results);
}

struct search {
	struct git_repo *git;
	struct tagged_results *results;
	char *prefix;           /* of the project in the repository: "" or "sub/dir/" */
	struct map asked;       /* path hashes of inputs, as text */
	struct map made;        /* path hashes of outputs */
	struct map contents;    /* blob -> struct known */

	/* Of the commit that is looked at */
	struct git_entries entries;
	struct map files;       /* path hash -> entry, of those asked for */
	struct map made_here;   /* "path content" of results that are its own */
	struct map params;      /* file -> struct yaml_doc; NULL: not there, or not to be read */
};

struct known {
	enum answer readable;
	uint64_t hash;
};

static void number_text(char out[24], uint64_t number)
{
	snprintf(out, 24, "%llx", (unsigned long long)number);
}

static void free_doc(void *pointer)
{
	if (pointer)
		yaml_release(pointer);
	free(pointer);
}

static void leave_commit(struct search *s)
{
	git_entries_release(&s->entries);
	s->entries = (struct git_entries){ 0 };
	map_release(&s->files);
	map_release(&s->made_here);
	map_release_values(&s->params, free_doc);
}

static void search_release(struct search *s)
{
	leave_commit(s);
	map_release(&s->asked);
	map_release(&s->made);
	map_release_values(&s->contents, free);
	git_close(s->git);
	free(s->prefix);
}

/* The content of a blob. What cannot be read, or stands for something else, is unknown. */
static const struct known *content_of(struct search *s, const char *oid)
{
	struct map_entry *entry = map_entry(&s->contents, oid);
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct digest digest;
	if (entry->value)
		return entry->value;
	struct known *known = entry->value = mem_alloc(sizeof(*known));
	known->readable = UNKNOWN;
	if (git_blob_read(s->git, oid, BLOB_MAX, &bytes, &ignored) < 0 || text_starts(bytes.data, LFS_POINTER))
		return known;
	digest_bytes(DIGEST_SHA256, bytes.data, bytes.len, &digest);
	known->readable = YES;
	known->hash = past_hash_content(&digest, false);
	return known;
}

static bool has_content(struct search *s, const struct git_entry *entry, uint64_t content)
{
	const struct known *known = content_of(s, entry->oid);
	return known->readable != YES || (known->hash ^ (entry->mode == 0100755)) == content;
}

static const struct git_entry *find_entry(const struct search *s, const char *path)
{
	OWNED char *full = mem_printf("%s%s", s->prefix, path);
	for (size_t low = 0, high = s->entries.len; low < high;) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(full, s->entries.at[middle].path);
		if (order == 0)
			return &s->entries.at[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* The commit's own version of a parameter file; NULL where it has none that can be read. */
static const struct yaml_doc *params_file(struct search *s, const char *path)
{
	bool known = map_has(&s->params, path);
	struct map_entry *slot = map_entry(&s->params, path);
	if (known)
		return slot->value;
	const struct git_entry *entry = find_entry(s, path);
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (!entry || git_blob_read(s->git, entry->oid, PARAMS_FILE_MAX, &text, &ignored) < 0)
		return NULL;
	struct yaml_doc *doc = mem_alloc(sizeof(*doc));
	if (yaml_parse(doc, path, text.data, text.len, &ignored) == 0) {
		slot->value = doc;
		return doc;
	}
	free(doc);
	return NULL;
}

static bool has_param(struct search *s, const struct past_param *param)
{
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	const char *colon = strchr(param->name, ':');
	OWNED char *file = mem_strndup(param->name, colon ? (size_t)(colon - param->name) : 0);
	const struct yaml_doc *doc = colon ? params_file(s, file) : NULL;
	if (!doc || !colon[1])
		return true;
	const struct yaml_node *node = yaml_get_dotted(doc->root, colon + 1);
	if (!node)
		return strchr(colon, '\\') != NULL; /* a key with a dot of its own is not looked for */
	yaml_add_canonical(&value, node);
	return past_hash_text(value.data) == param->value;
}

static bool is_of_commit(struct search *s, const struct past *past)
{
	for (size_t i = 0; i < past->inputs.len; i++) {
		char path[24];
		number_text(path, past->inputs.at[i].path);
		const struct git_entry *entry = map_get(&s->files, path);
		if (entry) {
			if (!has_content(s, entry, past->inputs.at[i].content))
				return false;
			continue;
		}
		OWNED char *both = mem_printf("%s %llx", path, (unsigned long long)past->inputs.at[i].content);
		if (map_has(&s->made, path) && !map_has(&s->made_here, both))
			return false;
	}
	for (size_t i = 0; i < past->params.len; i++)
		if (!has_param(s, &past->params.at[i]))
			return false;
	return true;
}

static void take_result(struct search *s, struct tagged_result *result)
{
	result->kept = result->of_commit = true;
	for (size_t i = 0; i < result->past.outputs.len; i++) {
		char path[24];
		number_text(path, result->past.outputs.at[i].path);
		OWNED char *both = mem_printf("%s %llx", path, (unsigned long long)result->past.outputs.at[i].content);
		map_set(&s->made_here, both, NULL);
	}
}

static bool any_name(const char *name)
{
	return *name != '\0';
}

static int look_at_commit(struct search *s, const char *commit, struct err *err)
{
	size_t skip = strlen(s->prefix);
	if (git_commit_entries(s->git, commit, any_name, &s->entries, err) < 0)
		return -1;
	for (size_t i = 0; i < s->entries.len; i++) {
		char path[24];
		if (!text_starts(s->entries.at[i].path, s->prefix))
			continue;
		number_text(path, past_hash_path(s->entries.at[i].path + skip));
		if (map_has(&s->asked, path))
			map_set(&s->files, path, &s->entries.at[i]);
	}
	for (size_t i = 0; i < s->results->len; i++)
		s->results->at[i].of_commit = false;
	/* Each result of the commit may show others to be so. */
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < s->results->len; i++) {
			struct tagged_result *result = &s->results->at[i];
			if (result->of_commit || !is_of_commit(s, &result->past))
				continue;
			take_result(s, result);
			more = true;
		}
	}
	leave_commit(s);
	return 0;
}

static void note_paths(struct map *map, const struct past_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char path[24];
		number_text(path, files[i].path);
		map_set(map, path, NULL);
	}
}

int tagged_find(const char *root, struct tagged_results *results, struct err *err)
{
	struct search s CLEANUP(search_release) = { .results = results };
	struct strlist commits CLEANUP(strlist_release) = { 0 };
	if (!results->len || git_open(root, &s.git, err) < 0)
		return results->len ? -1 : 0;
	if (!s.git || !git_top(s.git) || !path_inside(git_top(s.git), root))
		return 0;
	const char *below = root + strlen(git_top(s.git));
	s.prefix = *below ? mem_printf("%s/", below + 1) : mem_strdup("");
	if (git_tips(s.git, GIT_TAGS, &commits, err) < 0)
		return -1;
	for (size_t i = 0; i < results->len; i++) {
		note_paths(&s.asked, results->at[i].past.inputs.at, results->at[i].past.inputs.len);
		note_paths(&s.made, results->at[i].past.outputs.at, results->at[i].past.outputs.len);
	}
	for (size_t i = 0; i < commits.len; i++)
		if (look_at_commit(&s, commits.at[i], err) < 0)
			return -1;
	return 0;
}
