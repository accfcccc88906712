#include "features/scaffold/scaffold.h"

#include "base/embed.h"
#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"

#include <string.h>

#define TEMPLATES "templates/"
#define MARK "@project@"

/* The part of an embedded path that names its template: "tabular" of "templates/tabular/src/train.py"; NULL for others. */
static char *template_of(const char *path)
{
	if (!text_starts(path, TEMPLATES))
		return NULL;
	const char *name = path + strlen(TEMPLATES);
	const char *slash = strchr(name, '/');
	return slash ? mem_strndup(name, (size_t)(slash - name)) : NULL;
}

/* Workflow fragments live below templates/, too: only what has a README.md is a project. */
static bool is_project(const char *name)
{
	OWNED char *readme = mem_printf(TEMPLATES "%s/README.md", name);
	return embedded_find(readme) != NULL;
}

void scaffold_names(struct strlist *ret)
{
	for (size_t i = 0; i < embedded_file_count; i++) {
		OWNED char *name = template_of(embedded_files[i].path);
		if (name && !strlist_has(ret, name) && is_project(name))
			strlist_add(ret, name);
	}
	strlist_sort(ret);
}

void scaffold_describe(const char *template_name, struct buf *out)
{
	OWNED char *path = mem_printf(TEMPLATES "%s/README.md", template_name);
	const struct embedded_file *readme = embedded_find(path);
	if (!readme)
		return;
	const char *at = readme->data;
	while (*at == '#' || *at == '\n') {
		at += strcspn(at, "\n");
		at += *at == '\n';
	}
	/* A paragraph ends at an empty line; its line breaks become spaces. */
	for (; *at && !text_starts(at, "\n\n"); at++)
		buf_addch(out, *at == '\n' ? ' ' : *at);
}

static int project_name(const char *dir, struct buf *out, struct err *err)
{
	struct buf here CLEANUP(buf_release) = BUF_INIT;
	struct buf absolute CLEANUP(buf_release) = BUF_INIT;
	struct buf normal CLEANUP(buf_release) = BUF_INIT;
	if (dir[0] != '/' && path_cwd(&here, err) < 0)
		return -1;
	path_join(&absolute, here.data, dir);
	path_normalize(&normal, absolute.data);
	buf_addstr(out, path_base(normal.data));
	for (const char *c = out->data; *c; c++) {
		bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
		if (!letter && (!strchr("._-", *c) || (*c == '-' && c == out->data))) {
			err_set(err, ERR_CONFIG, "'%s' cannot be the name of a project", out->data);
			return err_hint(err, "use letters, digits, '.', '_' and '-', and do not begin with '-'");
		}
	}
	if (out->len == 0) {
		err_set(err, ERR_CONFIG, "'%s' has no name to give to the project", dir);
		return err_hint(err, "name a new directory");
	}
	return 0;
}

static int find_any(void *ctx, const struct fs_entry *entry, struct err *err)
{
	(void)err;
	struct buf *found = ctx;
	/* A clone of an empty repository, or `git init`, is where a project begins. */
	if (!found->len && !text_eq(entry->rel, ".git"))
		buf_addstr(found, entry->rel);
	return 1;
}

/* ret_made: whether the directory had to be made. */
static int claim_directory(const char *dir, bool *ret_made, struct err *err)
{
	struct stat st;
	bool exists;
	*ret_made = false;
	if (fs_lstat(dir, &st, &exists, err) < 0)
		return -1;
	if (!exists) {
		*ret_made = true;
		return fs_mkdirs(dir, err);
	}
	if (!fs_is_dir(dir)) {
		err_set(err, ERR_CONFIG, "'%s' is not a directory", dir);
		return err_hint(err, "name a directory that does not exist yet");
	}
	struct buf found CLEANUP(buf_release) = BUF_INIT;
	if (fs_walk(dir, find_any, &found, err) < 0)
		return -1;
	if (found.len) {
		err_set(err, ERR_CONFIG, "the directory '%s' is not empty: '%s' is in it", dir, found.data);
		return err_hint(err, "name a new directory; `mlmake init` adds an mlmake.yaml to a project that exists");
	}
	return 0;
}

static void substitute(struct buf *out, const struct embedded_file *file, const char *name)
{
	const char *at = file->data, *end = file->data + file->len;
	while (at < end) {
		const char *mark = memmem(at, (size_t)(end - at), MARK, strlen(MARK));
		if (!mark) {
			buf_add(out, at, (size_t)(end - at));
			return;
		}
		buf_add(out, at, (size_t)(mark - at));
		buf_addstr(out, name);
		at = mark + strlen(MARK);
	}
}

static int write_one(const struct embedded_file *file, const char *dir, const char *rel, const char *name,
		     struct err *err)
{
	OWNED char *path = path_joined(dir, rel);
	struct buf content CLEANUP(buf_release) = BUF_INIT;
	substitute(&content, file, name);
	if (fs_mkdirs_for(path, err) < 0)
		return -1;
	return fs_write_file(path, content.data, content.len, (mode_t)file->mode, FS_VOLATILE, err);
}

/* Removes what was written. The first component of each path is enough: the directory was empty, or held .git alone. */
static void undo(const char *dir, bool made, const struct strlist *files)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	for (size_t i = 0; i < files->len; i++) {
		OWNED char *top = mem_strndup(files->at[i], strcspn(files->at[i], "/"));
		OWNED char *path = path_joined(dir, top);
		if (fs_remove_tree(path, &ignored) < 0)
			return;
	}
	if (made && fs_remove_tree(dir, &ignored) < 0)
		return;
}

static int unknown_template(const char *name, struct err *err)
{
	struct strlist names CLEANUP(strlist_release) = { 0 };
	scaffold_names(&names);
	err_set(err, ERR_CONFIG, "there is no template '%s'", name);
	const char *nearest = text_nearest(name, (const char *const *)names.at, names.len);
	if (nearest)
		return err_hint(err, "did you mean '%s'?", nearest);
	return err_hint(err, "`mlmake new` lists the templates");
}

int scaffold_create(const char *template_name, const char *dir, struct strlist *ret_files, struct err *err)
{
	struct buf name CLEANUP(buf_release) = BUF_INIT;
	struct strlist written CLEANUP(strlist_release) = { 0 };
	OWNED char *prefix = mem_printf(TEMPLATES "%s/", template_name);
	bool made;

	if (strchr(template_name, '/') || !is_project(template_name))
		return unknown_template(template_name, err);
	if (project_name(dir, &name, err) < 0 || claim_directory(dir, &made, err) < 0)
		return -1;
	for (size_t i = 0; i < embedded_file_count; i++) {
		const struct embedded_file *file = &embedded_files[i];
		if (!text_starts(file->path, prefix))
			continue;
		const char *rel = file->path + strlen(prefix);
		strlist_add(&written, rel); /* before it is written: a failed write may have made its directory */
		if (write_one(file, dir, rel, name.data, err) < 0) {
			undo(dir, made, &written);
			return err_note(err, "while making '%s' from the template %s", dir, template_name);
		}
	}
	for (size_t i = 0; i < written.len; i++)
		strlist_add(ret_files, written.at[i]);
	return 0;
}

int scaffold_init(const char *dir, struct err *err)
{
	OWNED char *path = path_joined(dir, "mlmake.yaml");
	struct stat st;
	bool exists;
	if (fs_lstat(path, &st, &exists, err) < 0)
		return -1;
	if (exists) {
		err_set(err, ERR_CONFIG, "'%s' exists already", path);
		return err_hint(err, "`mlmake list` shows its targets");
	}
	const struct embedded_file *file = embedded_find(TEMPLATES "init/mlmake.yaml");
	if (!file)
		return err_set(err, ERR_BUG, "the binary lacks " TEMPLATES "init/mlmake.yaml");
	return fs_write_file(path, file->data, file->len, 0644, FS_VOLATILE, err);
}
