#include "features/data/source.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/source_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CONFIG ((size_t)1 << 20)
#define MAX_LINKS 10

static void warn(const struct source *source, const char *fmt, const char *what)
{
	if (!source->ui || !source->ui->warn)
		return;
	char *text OWNED = mem_printf("%s: %s %s", source->url, what, fmt);
	source->ui->warn(source->ui->ctx, text);
}

/* Opening */

static bool has_dvc(const char *dir)
{
	char *path OWNED = path_joined(dir, ".dvc");
	return fs_is_dir(path);
}

/* The nearest directory upward that holds .dvc; NULL if there is none. Owned by the caller. */
static char *find_dvc(const char *from)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	buf_addstr(&dir, from);
	while (!has_dvc(dir.data)) {
		struct buf up CLEANUP(buf_release) = BUF_INIT;
		if (text_eq(dir.data, "/"))
			return NULL;
		path_dir(&up, dir.data);
		buf_setstr(&dir, up.data);
	}
	return buf_detach(&dir);
}

/* The root that paths are relative to: of the data repository, else of git. */
static int open_directory(struct source *source, const char *dir, struct err *err)
{
	char *dvc OWNED = find_dvc(dir);
	if (git_open(dir, &source->git, err) < 0)
		return -1;
	source->owns_git = source->git != NULL;
	const char *top = source->git ? git_top(source->git) : NULL;
	if (dvc && (!top || path_inside(top, dvc)))
		source->root = mem_strdup(dvc);
	else if (source->git)
		source->root = mem_strdup(top ? top : dir);
	if (!source->root) {
		err_set(err, ERR_CONFIG, "%s is neither a data repository nor a git repository", dir);
		return err_hint(err, "mlmake data import-url imports files and directories that are in none");
	}
	if (top && path_inside(top, source->root)) {
		struct buf prefix CLEANUP(buf_release) = BUF_INIT;
		path_relative(&prefix, top, source->root);
		source->prefix = mem_strdup(text_eq(prefix.data, ".") ? "" : prefix.data);
	} else
		source->prefix = mem_strdup("");
	return 0;
}

static int find_commit(struct source *source, const char *rev, struct err *err)
{
	const char *wanted = rev ? rev : source->is_here ? "HEAD" : GIT_MIRROR_HEAD;
	if (!source->git) {
		err_set(err, ERR_CONFIG, "%s is not in a git repository, so there is no revision '%s'", source->url, wanted);
		return err_hint(err, "mlmake data import-url imports from a directory as it is");
	}
	char *remote OWNED = mem_printf("refs/remotes/origin/%s", wanted);
	if (git_resolve(source->git, wanted, source->commit, err) < 0) {
		/* A branch that a clone on this machine has only seen at its origin. */
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		if (!rev || git_resolve(source->git, remote, source->commit, &ignored) < 0)
			return err_note(err, "in %s", source->url);
		err_release(err);
	}
	return git_commit_files(source->git, source->commit, &source->entries, err);
}

static const struct git_entry *find_entry(const struct source *source, const char *path)
{
	size_t low = 0, high = source->entries.len;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(source->entries.at[middle].path, path);
		if (order == 0)
			return &source->entries.at[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static bool is_blob(const struct git_entry *entry)
{
	return (entry->mode & 0170000) == 0100000;
}

static int add_project(struct source *source, const struct git_entry *config, const char *prefix, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct source_project *project = mem_alloc(sizeof(*project));
	vec_push(&source->projects, project);
	project->prefix = mem_strdup(prefix);
	project->outs = (struct outs)OUTS_INIT;
	/* A directory of this machine stands where git's top is, or in none. */
	const char *top = source->is_here && source->git ? git_top(source->git) : NULL;
	char *root OWNED = path_joined(top ? top : source->root, prefix);
	project->is_here = top != NULL;
	if (git_blob_read(source->git, config->oid, MAX_CONFIG, &text, err) < 0 ||
	    config_load_foreign(&project->config, root, project->is_here, text.data, text.len, err) < 0)
		return err_note(err, "in %s of %s", config->path, source->url);
	/* A revision from before there was a remote: its data may be where the directory has it now. */
	char *now OWNED = path_joined(root, ".dvc/config");
	if (project->is_here && !project->config.default_remote && fs_exists(now)) {
		buf_truncate(&text, 0);
		config_release(&project->config);
		if (fs_read_file(now, MAX_CONFIG, &text, err) < 0 ||
		    config_load_foreign(&project->config, root, true, text.data, text.len, err) < 0)
			return err_note(err, "in %s", now);
	}
	return outs_load_git(source->git, source->commit, *prefix ? prefix : ".", &project->outs, err);
}

static int find_projects(struct source *source, struct err *err)
{
	for (size_t i = 0; i < source->entries.len; i++) {
		const struct git_entry *entry = &source->entries.at[i];
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		size_t len = strlen(entry->path);
		bool top = text_eq(entry->path, ".dvc/config");
		if (is_blob(entry) && (top || text_ends(entry->path, "/.dvc/config"))) {
			char *prefix OWNED = top ? mem_strdup("") : mem_strndup(entry->path, len - strlen("/.dvc/config"));
			if (add_project(source, entry, prefix, err) < 0)
				return -1;
		}
		if (!is_blob(entry) || !text_eq(path_base(entry->path), ".dvcignore"))
			continue;
		struct buf dir CLEANUP(buf_release) = BUF_INIT;
		path_dir(&dir, entry->path);
		if (git_blob_read(source->git, entry->oid, MAX_CONFIG, &text, err) < 0)
			return -1;
		ignore_add(source->ignore, text_eq(dir.data, ".") ? "" : dir.data, text.data, text.len, true);
	}
	return 0;
}

/* A directory as it is. */
static int open_tree(struct source *source, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	char *path OWNED = path_joined(source->root, ".dvc/config");
	if (!has_dvc(source->root))
		return 0;
	struct source_project *project = mem_alloc(sizeof(*project));
	vec_push(&source->projects, project);
	project->prefix = mem_strdup("");
	project->outs = (struct outs)OUTS_INIT;
	project->is_here = true;
	if (fs_exists(path) && fs_read_file(path, MAX_CONFIG, &text, err) < 0)
		return -1;
	if (config_load_foreign(&project->config, source->root, true, text.data, text.len, err) < 0 ||
	    data_open(source->root, source->ui, &source->tree, err) < 0)
		return -1;
	return outs_load(source->tree, &project->outs, err);
}

static int open_any(struct source *source, const char *rev, enum source_mode mode, struct err *err)
{
	static const char *const defaults[] = { ".hg/", ".git/", ".git", ".dvc/" };
	struct buf cwd CLEANUP(buf_release) = BUF_INIT, joined CLEANUP(buf_release) = BUF_INIT, dir CLEANUP(buf_release) = BUF_INIT;
	for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
		ignore_add_pattern(source->ignore, "", defaults[i]);
	const char *local = text_starts(source->url, "file://") ? source->url + 7 : source->url;
	source->is_here = fs_is_dir(local) || !git_is_url(source->url);
	if (!source->is_here) {
		if (git_mirror_open(&source->mirror, source->url, rev, err) < 0)
			return -1;
		source->git = source->mirror.git;
		source->root = mem_strdup("/nonexistent");
		source->prefix = mem_strdup("");
		return find_commit(source, rev, err) < 0 ? -1 : find_projects(source, err);
	}
	if (path_cwd(&cwd, err) < 0)
		return -1;
	path_join(&joined, cwd.data, local);
	path_normalize(&dir, joined.data);
	if (!fs_is_dir(dir.data)) {
		err_set(err, ERR_CONFIG, "there is no repository at %s", source->url);
		return err_hint(err, "a directory, or the address of a git repository: https://..., host:path");
	}
	if (open_directory(source, dir.data, err) < 0)
		return -1;
	if (mode == SOURCE_TREE && !rev && (!source->git || git_top(source->git)))
		return open_tree(source, err);
	return find_commit(source, rev, err) < 0 ? -1 : find_projects(source, err);
}

int source_open(struct data_repo *repo, const struct data_ui *ui, const char *url, const char *rev, enum source_mode mode,
		struct source **ret, struct err *err)
{
	struct source *source = mem_alloc(sizeof(*source));
	source->repo = repo;
	source->ui = ui;
	source->url = mem_strdup(url);
	source->mirror = (struct git_mirror)GIT_MIRROR_INIT;
	source->temp = (struct temp_dir)TEMP_DIR_INIT;
	source->ignore = ignore_new();
	if (open_any(source, rev, mode, err) < 0) {
		source_close(source);
		return -1;
	}
	*ret = source;
	return 0;
}

void source_close(struct source *source)
{
	if (!source)
		return;
	source_drop_places(source);
	for (size_t i = 0; i < source->projects.len; i++) {
		struct source_project *project = source->projects.at[i];
		outs_release(&project->outs);
		config_release(&project->config);
		free(project->prefix);
		free(project);
	}
	vec_release(&source->projects);
	git_entries_release(&source->entries);
	data_close(source->tree);
	if (source->owns_git)
		git_close(source->git);
	git_mirror_close(&source->mirror);
	ignore_free(source->ignore);
	temp_dir_drop(&source->temp);
	arena_release(&source->arena);
	free(source->url);
	free(source->root);
	free(source->prefix);
	free(source->chosen_remote);
	free(source);
}

const char *source_commit(const struct source *source)
{
	return source->commit;
}

void source_set_remote(struct source *source, const char *name)
{
	free(source->chosen_remote);
	source->chosen_remote = mem_strdup(name);
}

int source_check_remote(const struct source *source, const char *name, struct err *err)
{
	bool known = !name || !source->projects.len; /* what git alone has is on no remote */
	for (size_t i = 0; i < source->projects.len; i++)
		known = known || config_remote_exists(&source->projects.at[i]->config, name);
	if (known)
		return 0;
	err_set(err, ERR_CONFIG, "%s has no remote '%s'", source->url, name);
	return err_hint(err, "without --remote its default one is asked");
}

/* Listing */

struct listing {
	struct source *source;
	const char *path;  /* in git or, of a tree, below its root; "" for all */
	unsigned depth;
	struct source_files *ret;
	struct map seen;
};

/* What follows the path that was asked for; NULL if it is not below it. */
static const char *below(const struct listing *listing, const char *path)
{
	if (!*listing->path)
		return path;
	if (!path_inside(listing->path, path))
		return NULL;
	return text_eq(listing->path, path) ? "" : path + strlen(listing->path) + 1;
}

static struct source_file *add_file(struct listing *listing, const char *rel, enum source_kind kind)
{
	if (!map_set(&listing->seen, rel, NULL))
		return NULL;
	vec_push(&listing->ret->list, ((struct source_file){ .rel = mem_strdup(rel), .kind = kind }));
	return &listing->ret->list.at[listing->ret->list.len - 1];
}

static int add_members(struct listing *listing, const struct source_file *top, const char *full, struct err *err)
{
	struct dvc_dir manifest CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	if (source_manifest(listing->source, top, full, &manifest, err) < 0)
		return -1;
	for (size_t i = 0; i < manifest.len; i++) {
		char *member OWNED = path_joined(full, manifest.entries[i].relpath);
		const char *rel = below(listing, member);
		struct source_file *file = rel ? add_file(listing, rel, SOURCE_OBJECT) : NULL;
		if (!file)
			continue;
		file->id = odb_member(&top->id, manifest.entries[i].md5);
		file->project = top->project;
		file->pinned = top->pinned;
		file->member = true;
	}
	const char *at = manifest.len ? NULL : below(listing, full);
	if (at && !*at)
		listing->ret->is_dir = true;
	struct source_file *empty = at && *at && (listing->depth & SOURCE_EMPTY) ? add_file(listing, at, SOURCE_OBJECT) : NULL;
	if (empty) {
		empty->id = top->id;
		empty->project = top->project;
	}
	return 0;
}

static int add_out(struct listing *listing, const struct source_project *project, const struct tracked *tracked, struct err *err)
{
	const struct dvc_out *out = tracked->out;
	char *full OWNED = path_joined(project->prefix, tracked->path);
	const char *rel = below(listing, full);
	bool above = out->is_dir && !rel && path_inside(full, listing->path);
	if (!rel && !above)
		return 0;
	if (tracked_check_supported(tracked, err) < 0)
		return err_note(err, "in %s", listing->source->url);
	if (!out->cache)
		return 0;
	struct source_file top = { .id = tracked_id(tracked), .project = project, .pinned = out->remote };
	bool expand = out->is_dir && (above || !*rel || !(listing->depth & SOURCE_TOPS));
	if (expand)
		return add_members(listing, &top, full, err);
	struct source_file *file = add_file(listing, rel, SOURCE_OBJECT);
	if (!file)
		return 0;
	file->id = top.id;
	file->project = project;
	file->pinned = out->remote;
	file->exec = out->isexec;
	file->has_size = out->has_size;
	file->size = out->size;
	return 0;
}

static int add_outs(struct listing *listing, struct err *err)
{
	const struct source *source = listing->source;
	for (size_t i = 0; i < source->projects.len; i++) {
		const struct source_project *project = source->projects.at[i];
		for (size_t k = 0; k < project->outs.list.len; k++)
			if (add_out(listing, project, &project->outs.list.at[k], err) < 0)
				return -1;
		for (size_t k = 0; k < project->outs.broken.len; k++) {
			const struct broken_file *broken = &project->outs.broken.at[k];
			char *full OWNED = path_joined(project->prefix, broken->dvc_path);
			if (below(listing, full))
				warn(source, broken->err.message, full);
		}
	}
	return 0;
}

/* What dvc takes for its own. */
static bool is_record(const char *path)
{
	const char *name = path_base(path);
	return dvc_file_is_name(name) || text_eq(name, "dvc.yaml") || text_eq(name, ".dvcignore");
}

/* Where links lead within the commit; NULL if it is no file of it. */
static const struct git_entry *follow(const struct source *source, const struct git_entry *entry, struct err *err)
{
	for (int i = 0; entry && !is_blob(entry) && i < MAX_LINKS; i++) {
		struct buf target CLEANUP(buf_release) = BUF_INIT, dir CLEANUP(buf_release) = BUF_INIT;
		struct buf joined CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT;
		if ((entry->mode & 0170000) != 0120000 || git_blob_read(source->git, entry->oid, 4096, &target, err) < 0)
			return NULL;
		path_dir(&dir, entry->path);
		path_join(&joined, dir.data, target.data);
		path_normalize(&path, joined.data);
		entry = find_entry(source, path.data);
	}
	return entry && is_blob(entry) ? entry : NULL;
}

static int add_blobs(struct listing *listing, struct err *err)
{
	struct source *source = listing->source;
	for (size_t i = 0; i < source->entries.len; i++) {
		const struct git_entry *entry = &source->entries.at[i];
		const char *rel = below(listing, entry->path);
		if (!rel || (*rel && !(listing->depth & SOURCE_RECORDS) && is_record(entry->path)) || ignore_match_with_parents(source->ignore, entry->path, false))
			continue;
		if (!path_is_safe(entry->path))
			return err_set(err, ERR_DATA, "%s holds the path '%s', which is none to write to", source->url, entry->path);
		const struct git_entry *found = follow(source, entry, err);
		if (!found) {
			err_release(err);
			if (!(listing->depth & SOURCE_TOPS))
				warn(source, "is left out: it is a link that leads to no file of the revision, or a submodule", entry->path);
			continue;
		}
		struct source_file *file = add_file(listing, rel, SOURCE_BLOB);
		if (!file)
			continue;
		file->at = mem_strdup(found->oid);
		file->exec = found->mode & 0100;
	}
	return 0;
}

/* A link to a file of the same directory tree counts as that file. */
static bool leads_to_own_file(const struct source *source, const char *path, struct stat *ret)
{
	char *root OWNED = realpath(source->root, NULL);
	char *file OWNED = realpath(path, NULL);
	return root && file && path_inside(root, file) && sys.fstatat(AT_FDCWD, file, ret, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(ret->st_mode);
}

static int visit_path(void *ctx, const struct fs_entry *entry, struct err *err UNUSED)
{
	struct listing *listing = ctx;
	char *path OWNED = path_joined(listing->path, entry->rel);
	bool is_dir = S_ISDIR(entry->st->st_mode);
	if (ignore_match(listing->source->ignore, path, is_dir) || (is_dir && has_dvc(entry->path)))
		return 1;
	struct stat st = *entry->st;
	bool is_file = S_ISREG(st.st_mode) || (S_ISLNK(st.st_mode) && leads_to_own_file(listing->source, entry->path, &st));
	if (is_file && ((listing->depth & SOURCE_RECORDS) || !is_record(path)) && !map_has(&listing->seen, entry->rel)) {
		struct source_file *file = add_file(listing, entry->rel, SOURCE_PATH);
		file->at = mem_strdup(entry->path);
		file->exec = st.st_mode & 0100;
		file->has_size = true;
		file->size = (uint64_t)st.st_size;
	}
	/* Below an output its record counts, not what lies there. */
	const struct source *source = listing->source;
	const struct tracked *owner = source->projects.len ? outs_find(&source->projects.at[0]->outs, path) : NULL;
	return is_dir && owner ? 1 : 0;
}

static int add_paths(struct listing *listing, struct err *err)
{
	struct source *source = listing->source;
	char *abs OWNED = path_joined(source->root, listing->path);
	const struct tracked *owner = source->projects.len && *listing->path ? outs_find(&source->projects.at[0]->outs, listing->path) : NULL;
	struct stat st;
	bool exists;
	if (owner)
		return 0;
	if (fs_lstat(abs, &st, &exists, err) < 0 || !exists)
		return exists ? -1 : 0;
	if (S_ISDIR(st.st_mode)) {
		listing->ret->is_dir = true;
		return fs_walk(abs, visit_path, listing, err);
	}
	if (!S_ISREG(st.st_mode))
		return 0;
	struct source_file *file = add_file(listing, "", SOURCE_PATH);
	file->at = mem_strdup(abs);
	file->exec = st.st_mode & 0100;
	file->has_size = true;
	file->size = (uint64_t)st.st_size;
	return 0;
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct source_file *)a)->rel, ((const struct source_file *)b)->rel);
}

int source_list(struct source *source, const char *path, unsigned depth, struct source_files *ret, struct err *err)
{
	struct buf joined CLEANUP(buf_release) = BUF_INIT, full CLEANUP(buf_release) = BUF_INIT;
	*ret = (struct source_files){ .is_dir = false };
	while (*path == '/')
		path++;
	path_join(&joined, source->commit[0] ? source->prefix : "", path);
	path_normalize(&full, joined.data);
	bool all = text_eq(full.data, ".");
	if (!all && !path_is_safe(full.data))
		return err_set(err, ERR_CONFIG, "'%s' leads out of the repository %s", path, source->url);
	if (dvc_file_is_name(path_base(full.data))) {
		err_set(err, ERR_CONFIG, "%s is a .dvc file", path);
		return err_hint(err, "name the data that it stands for: %.*s", (int)(strlen(path) - 4), path);
	}
	struct listing listing = { .source = source, .path = all ? "" : full.data, .depth = depth, .ret = ret };
	int status = add_outs(&listing, err);
	if (status == 0)
		status = source->commit[0] ? add_blobs(&listing, err) : add_paths(&listing, err);
	map_release(&listing.seen);
	if (status < 0)
		return -1;
	if (!ret->list.len && !ret->is_dir && !all) {
		const char *rev = source->commit[0] ? source->commit : "the work tree";
		err_set(err, ERR_CONFIG, "there is no %s in %s of %s", path, rev, source->url);
		return err_hint(err, "mlmake data ls %s shows what there is", source->url);
	}
	ret->is_dir = !(ret->list.len == 1 && !*ret->list.at[0].rel);
	vec_sort(&ret->list, compare_files);
	return 0;
}

void source_files_release(struct source_files *files)
{
	for (size_t i = 0; i < files->list.len; i++) {
		free(files->list.at[i].rel);
		free(files->list.at[i].at);
	}
	vec_release(&files->list);
}
