#include "features/data/outs.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/dvclock.h"

#include <errno.h>
#include <string.h>

#define MAX_DEPTH 200
#define MAX_IGNORE_FILE ((size_t)1 << 20)
#define MAX_LOCK_FILE ((size_t)64 << 20)

struct search {
	struct data_repo *repo;
	struct outs *outs;
	struct ignore *git_ignore; /* .gitignore files read so far; only saves walking */
	struct map out_paths;
};

static void output_path(const char *dir, const struct dvc_file *file, const struct dvc_out *out, struct buf *ret)
{
	struct buf joined CLEANUP(buf_release) = BUF_INIT, full CLEANUP(buf_release) = BUF_INIT;
	path_join(&joined, dir, file->wdir ? file->wdir : "");
	path_join(&full, joined.data, out->path);
	path_normalize(ret, full.data);
}

static int check_paths(const char *dir, const char *dvc_path, const struct dvc_file *file, struct err *err)
{
	for (size_t i = 0; i < file->out_count; i++) {
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		output_path(dir, file, &file->outs[i], &path);
		if (path_is_safe(path.data) && !path_inside(".dvc", path.data) && !path_inside(".git", path.data))
			continue;
		err_set(err, ERR_DATA, "%s: the output '%s' is not inside the repository", dvc_path, file->outs[i].path);
		if (file->outs[i].span.file)
			err_at(err, &file->outs[i].span);
		return -1;
	}
	return 0;
}

void outs_take_broken(struct outs *outs, const char *dvc_path, struct err *why)
{
	struct broken_file broken = { mem_strdup(dvc_path), ERR_INIT };
	err_move(&broken.err, why);
	vec_push(&outs->broken, broken);
}

void outs_take(struct outs *outs, const char *dir, const char *dvc_path, const char *stage, struct dvc_file *file)
{
	struct err failure CLEANUP(err_release) = ERR_INIT;
	if (!outs->everything && check_paths(dir, dvc_path, file, &failure) < 0) {
		outs_take_broken(outs, dvc_path, &failure);
		dvc_file_release(file);
		*file = (struct dvc_file)DVC_FILE_INIT;
		return;
	}
	bool import = false;
	for (size_t k = 0; k < file->dep_count; k++)
		import = import || file->deps[k].repo_url;
	for (size_t i = 0; i < file->out_count; i++) {
		struct buf path = BUF_INIT;
		if (stage && !file->outs[i].cache)
			continue;
		output_path(dir, file, &file->outs[i], &path);
		/* The outs and deps themselves do not move when files does. */
		vec_push(&outs->list, ((struct tracked){ .path = buf_detach(&path), .dvc_path = mem_strdup(dvc_path), .out = &file->outs[i], .is_import = import,
						     .has_source = !stage && file->dep_count, .source = !stage && file->dep_count ? &file->deps[0] : NULL,
						     .stage = mem_strdup(stage) }));
	}
	vec_push(&outs->files, *file);
	*file = (struct dvc_file)DVC_FILE_INIT;
}

void outs_take_lock(struct outs *outs, const char *dir, const char *lock_text, size_t lock_len, const char *yaml_text, size_t yaml_len)
{
	struct dvc_lock lock CLEANUP(dvc_lock_release) = DVC_LOCK_INIT;
	struct err failure CLEANUP(err_release) = ERR_INIT;
	char *lock_path OWNED = path_joined(dir, "dvc.lock");
	char *yaml_path OWNED = path_joined(dir, "dvc.yaml");
	if (dvc_lock_parse(&lock, lock_path, lock_text, lock_len, yaml_path, yaml_text, yaml_len, &failure) < 0) {
		char *at OWNED = mem_strdup(failure.span.file ? failure.span.file : lock_path);
		outs_take_broken(outs, at, &failure);
		return;
	}
	for (size_t i = 0; i < lock.stages.len; i++)
		outs_take(outs, dir, yaml_path, lock.stages.at[i].name, &lock.stages.at[i].file);
}

static void mark_outputs(struct search *search, size_t from)
{
	for (size_t i = from; i < search->outs->list.len; i++)
		map_set(&search->out_paths, search->outs->list.at[i].path, NULL);
}

static void load_file(struct search *search, const char *dir, const char *dvc_path)
{
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	struct err failure CLEANUP(err_release) = ERR_INIT;
	char *abs OWNED = repo_abs(search->repo, dvc_path);
	size_t before = search->outs->list.len;
	if (dvc_file_read(abs, dvc_path, &file, &failure) < 0)
		outs_take_broken(search->outs, dvc_path, &failure);
	else
		outs_take(search->outs, dir, dvc_path, NULL, &file);
	mark_outputs(search, before);
}

/* Without a dvc.yaml there are no stages, whatever the lock says. */
static void load_lock(struct search *search, const char *dir)
{
	struct buf lock CLEANUP(buf_release) = BUF_INIT, yaml CLEANUP(buf_release) = BUF_INIT;
	struct err failure CLEANUP(err_release) = ERR_INIT;
	char *lock_path OWNED = path_joined(dir, "dvc.lock");
	char *yaml_path OWNED = path_joined(dir, "dvc.yaml");
	char *lock_abs OWNED = repo_abs(search->repo, lock_path);
	char *yaml_abs OWNED = repo_abs(search->repo, yaml_path);
	size_t before = search->outs->list.len;
	bool everything = search->outs->everything;
	if (!fs_exists(yaml_abs) && !everything)
		return;
	if (fs_read_file(lock_abs, MAX_LOCK_FILE, &lock, &failure) < 0 ||
	    (!everything && fs_read_file(yaml_abs, MAX_LOCK_FILE, &yaml, &failure) < 0))
		outs_take_broken(search->outs, yaml_path, &failure);
	else
		outs_take_lock(search->outs, dir, lock.data, lock.len, everything ? NULL : yaml.data, yaml.len);
	mark_outputs(search, before);
}

struct dir_names {
	struct strlist dirs;
	struct strlist dvc_files;
	bool has_gitignore;
	bool has_lock;
	bool is_repo;
};

static int list_dir(const char *abs, const char *rel, struct dir_names *ret, struct err *err)
{
	int fd = sys.openat(AT_FDCWD, abs, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : sys.fdopendir(fd);
	if (!dir) {
		int number = errno;
		fs_close_fd(&fd);
		if (number == ENOENT || number == EACCES)
			return 0;
		return err_set_errno(err, ERR_FAILED, number, "cannot read the directory %s", rel);
	}
	for (struct dirent *entry; (entry = sys.readdir(dir));) {
		const char *name = entry->d_name;
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		ret->has_lock = ret->has_lock || strcmp(name, "dvc.lock") == 0;
		ret->has_gitignore = ret->has_gitignore || strcmp(name, ".gitignore") == 0;
		unsigned char type = entry->d_type;
		if (type == DT_UNKNOWN) {
			char *path OWNED = path_joined(abs, name);
			struct stat st;
			if (sys.fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
				type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_UNKNOWN;
		}
		if (type == DT_DIR) {
			ret->is_repo = ret->is_repo || strcmp(name, ".dvc") == 0;
			strlist_add(&ret->dirs, name);
		} else if (type == DT_REG && dvc_file_is_name(name))
			strlist_add(&ret->dvc_files, name);
	}
	closedir(dir);
	strlist_sort(&ret->dirs);
	strlist_sort(&ret->dvc_files);
	return 0;
}

static void dir_names_release(struct dir_names *names)
{
	strlist_release(&names->dirs);
	strlist_release(&names->dvc_files);
}

static int read_gitignore(struct search *search, const char *abs, const char *rel, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	char *path OWNED = path_joined(abs, ".gitignore");
	if (!fs_is_file(path))
		return 0;
	if (fs_read_file(path, MAX_IGNORE_FILE, &text, err) < 0)
		return -1;
	ignore_add(search->git_ignore, rel, text.data, text.len, false);
	return 0;
}

static int search_dir(struct search *search, const char *rel, unsigned depth, struct err *err)
{
	struct dir_names names CLEANUP(dir_names_release) = { .has_gitignore = false };
	char *abs OWNED = repo_abs(search->repo, rel);
	if (depth > MAX_DEPTH)
		return err_set(err, ERR_FAILED, "%s: directories are nested too deeply", rel);
	if (list_dir(abs, rel, &names, err) < 0 || (names.is_repo && depth))
		return names.is_repo ? 0 : -1;
	if (repo_ignore_enter(search->repo, rel, err) < 0)
		return -1;
	if (names.has_gitignore && read_gitignore(search, abs, rel, err) < 0)
		return -1;
	for (size_t i = 0; i < names.dvc_files.len; i++) {
		char *path OWNED = path_joined(rel, names.dvc_files.at[i]);
		if (!ignore_match(search->repo->ignore, path, false))
			load_file(search, rel, path);
	}
	if (names.has_lock)
		load_lock(search, rel);
	for (size_t i = 0; i < names.dirs.len; i++) {
		char *path OWNED = path_joined(rel, names.dirs.at[i]);
		if (map_has(&search->out_paths, path) || strcmp(names.dirs.at[i], ".git") == 0 ||
		    strcmp(names.dirs.at[i], ".mlmake") == 0 || ignore_match(search->repo->ignore, path, true) ||
		    ignore_match(search->git_ignore, path, true))
			continue;
		if (search_dir(search, path, depth + 1, err) < 0)
			return -1;
	}
	return 0;
}

static int compare_tracked(const void *left, const void *right)
{
	return path_compare(((const struct tracked *)left)->path, ((const struct tracked *)right)->path);
}

static int check_overlaps(const struct outs *outs, struct err *err)
{
	for (size_t i = 1; i < outs->list.len; i++) {
		const struct tracked *before = &outs->list.at[i - 1], *at = &outs->list.at[i];
		if (!path_inside(before->path, at->path))
			continue;
		err_set(err, ERR_CONFIG, "the outputs '%s' (%s) and '%s' (%s) overlap", before->path, before->dvc_path, at->path,
			at->dvc_path);
		return err_hint(err, "take it out of one of the two");
	}
	return 0;
}

void outs_sort(struct outs *outs)
{
	vec_sort(&outs->list, compare_tracked);
}

int outs_load(struct data_repo *repo, struct outs *ret, struct err *err)
{
	struct search search = { .repo = repo, .outs = ret, .git_ignore = ignore_new() };
	int status = search_dir(&search, "", 0, err);
	ignore_free(search.git_ignore);
	map_release(&search.out_paths);
	outs_sort(ret);
	return status < 0 || ret->everything ? status : check_overlaps(ret, err);
}

void outs_release(struct outs *outs)
{
	for (size_t i = 0; i < outs->list.len; i++) {
		free(outs->list.at[i].path);
		free(outs->list.at[i].dvc_path);
		free(outs->list.at[i].stage);
	}
	for (size_t i = 0; i < outs->files.len; i++)
		dvc_file_release(&outs->files.at[i]);
	for (size_t i = 0; i < outs->broken.len; i++) {
		free(outs->broken.at[i].dvc_path);
		err_release(&outs->broken.at[i].err);
	}
	vec_release(&outs->list);
	vec_release(&outs->files);
	vec_release(&outs->broken);
}

const struct tracked *outs_find(const struct outs *outs, const char *rel)
{
	for (size_t i = 0; i < outs->list.len; i++)
		if (path_inside(outs->list.at[i].path, rel))
			return &outs->list.at[i];
	return NULL;
}

static bool is_reached(const struct data_repo *repo, const char *rel, const char *const *paths, size_t count)
{
	bool reached = !count;
	for (size_t i = 0; i < count && !reached; i++) {
		struct buf given CLEANUP(buf_release) = BUF_INIT;
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		if (repo_path(repo, paths[i], &given, &ignored) == 0)
			reached = text_eq(given.data, ".") || path_inside(given.data, rel);
	}
	return reached;
}

void outs_add_broken(const struct data_repo *repo, const struct outs *outs, const char *const *paths, size_t count,
		     struct strlist *ret)
{
	for (size_t i = 0; i < outs->broken.len; i++) {
		const struct broken_file *broken = &outs->broken.at[i];
		if (!is_reached(repo, broken->dvc_path, paths, count))
			continue;
		bool named = strstr(broken->err.message, broken->dvc_path) != NULL;
		strlist_take(ret, named ? mem_strdup(broken->err.message)
					: mem_printf("%s: %s", broken->dvc_path, broken->err.message));
	}
}

static int broken_error(const struct broken_file *broken, struct err *err)
{
	err_set(err, broken->err.code, "%s", broken->err.message);
	if (broken->err.span.file)
		err_at(err, &broken->err.span);
	if (broken->err.hint)
		err_hint(err, "%s", broken->err.hint);
	return -1;
}

static void select_one(struct selection *ret, const struct tracked *tracked, const char *sub)
{
	for (size_t i = 0; i < ret->list.len; i++) {
		struct selected *have = &ret->list.at[i];
		if (have->tracked != tracked)
			continue;
		if (!have->sub || (sub && path_inside(have->sub, sub)))
			return;
		if (!sub) { /* all of it swallows the parts */
			free(have->sub);
			have->sub = NULL;
			return;
		}
	}
	vec_push(&ret->list, ((struct selected){ tracked, mem_strdup(sub) }));
}

/* "train" of the dvc.yaml at the root, "sub/dvc.yaml:train" of any. */
static bool is_stage(const struct tracked *tracked, const char *rel)
{
	if (!tracked->stage)
		return false;
	size_t len = strlen(tracked->dvc_path);
	if (text_starts(rel, tracked->dvc_path) && rel[len] == ':')
		return text_eq(rel + len + 1, tracked->stage);
	return text_eq(tracked->dvc_path, "dvc.yaml") && text_eq(rel, tracked->stage);
}

static int select_path(const struct outs *outs, const char *rel, struct selection *ret, bool *ret_found, struct err *err)
{
	size_t before = ret->list.len;
	bool meant = false;
	for (size_t i = 0; i < outs->broken.len; i++)
		if (text_eq(outs->broken.at[i].dvc_path, rel) ||
		    (text_starts(outs->broken.at[i].dvc_path, rel) && text_eq(outs->broken.at[i].dvc_path + strlen(rel), ".dvc")))
			return broken_error(&outs->broken.at[i], err);
	for (size_t i = 0; i < outs->list.len; i++) {
		const struct tracked *tracked = &outs->list.at[i];
		bool all = text_eq(rel, ".") || text_eq(tracked->path, rel) || text_eq(tracked->dvc_path, rel) ||
			   path_inside(rel, tracked->path) || is_stage(tracked, rel);
		if (!all && (!tracked->out->is_dir || !path_inside(tracked->path, rel)))
			continue;
		meant = true;
		select_one(ret, tracked, all ? NULL : rel + strlen(tracked->path) + 1);
	}
	*ret_found = meant || ret->list.len > before || text_eq(rel, ".");
	return 0;
}

static int not_tracked(const struct data_repo *repo, const char *given, struct err *err)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT, word CLEANUP(buf_release) = BUF_INIT;
	path_join(&path, repo->cwd, given);
	text_add_shell_quoted(&word, given);
	err_set(err, ERR_CONFIG, "%s is not tracked: no .dvc file records it", given);
	return fs_exists(path.data) ? err_hint(err, "mlmake data add %s tracks it", word.data)
				    : err_hint(err, "there is no such file here, either; mlmake data ls -R shows what is tracked");
}

/* A word that is no path, but may stand for some. */
static int select_meaning(const struct data_repo *repo, const struct outs *outs, const char *word, struct selection *ret, struct err *err)
{
	struct strlist paths CLEANUP(strlist_release) = { 0 };
	if (repo->ui.meaning && repo->ui.meaning(repo->ui.ctx, word, &paths, err) < 0)
		return -1;
	for (size_t i = 0; i < paths.len; i++) {
		struct buf rel CLEANUP(buf_release) = BUF_INIT;
		bool found = false;
		if (repo_path(repo, paths.at[i], &rel, err) < 0 || select_path(outs, rel.data, ret, &found, err) < 0)
			return -1;
		if (found)
			continue;
		err_set(err, ERR_CONFIG, "%s, an output of the target '%s', is not tracked: no .dvc file records it", rel.data, word);
		return err_hint(err, "mlmake %s makes and records it, if it says track: true", word);
	}
	return paths.len ? 0 : not_tracked(repo, word, err);
}

int outs_select(const struct data_repo *repo, const struct outs *outs, const char *const *paths, size_t count, struct selection *ret,
		struct err *err)
{
	if (!count)
		for (size_t i = 0; i < outs->list.len; i++)
			select_one(ret, &outs->list.at[i], NULL);
	for (size_t i = 0; i < count; i++) {
		struct buf rel CLEANUP(buf_release) = BUF_INIT;
		bool found = false;
		if (repo_path(repo, paths[i], &rel, err) < 0 || select_path(outs, rel.data, ret, &found, err) < 0 ||
		    (!found && select_meaning(repo, outs, paths[i], ret, err) < 0))
			return -1;
	}
	return 0;
}

void selection_release(struct selection *selection)
{
	for (size_t i = 0; i < selection->list.len; i++)
		free(selection->list.at[i].sub);
	vec_release(&selection->list);
}

int selected_check_part(const struct selected *selected, const struct dvc_dir *manifest, struct err *err)
{
	const char *path = selected->tracked->path;
	if (!selected->sub || dvc_dir_has_part(manifest, selected->sub))
		return 0;
	err_set(err, ERR_CONFIG, "%s has no member %s", path, selected->sub);
	return err_hint(err, "mlmake data ls -R %s shows those it has", path);
}

int selection_check_parts(struct data_repo *repo, const struct selection *chosen, bool in_tree, struct err *err)
{
	for (size_t i = 0; i < chosen->list.len; i++) {
		const struct selected *selected = &chosen->list.at[i];
		struct dvc_dir manifest CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
		struct err unknown CLEANUP(err_release) = ERR_INIT;
		if (!selected->sub)
			continue;
		char *rel OWNED = path_joined(selected->tracked->path, selected->sub);
		char *abs OWNED = repo_abs(repo, rel);
		if (!(in_tree && fs_exists(abs)) && tracked_read_manifest(repo, selected->tracked, &manifest, &unknown) == 0 &&
		    selected_check_part(selected, &manifest, err) < 0)
			return -1;
	}
	return 0;
}

bool selected_covers(const struct selected *selected, const char *member)
{
	return !selected->sub || path_inside(selected->sub, member);
}

struct odb_id tracked_id(const struct tracked *tracked)
{
	return (struct odb_id){ tracked->out->digest, tracked->out->is_dir };
}

enum digest_kind tracked_kind(const struct tracked *tracked)
{
	return tracked->out->legacy ? DIGEST_MD5_DOS2UNIX : DIGEST_MD5;
}

bool tracked_is_partial(const struct tracked *tracked)
{
	return tracked->has_source && tracked->out->digest.kind == DIGEST_NONE && !tracked->out->has_files;
}

bool tracked_describe_partial(const struct tracked *tracked, struct dvc_out *ret)
{
	const struct dvc_dep *source = tracked->source;
	const char *state = source->md5 ? source->md5 : source->etag ? source->etag : source->checksum;
	if (source->repo_url || !state)
		return false;
	*ret = *tracked->out;
	ret->is_dir = text_ends(state, ".dir");
	ret->digest = (struct digest){ .kind = DIGEST_MD5 };
	char *hex OWNED = mem_strndup(state, strcspn(state, "."));
	if (!source->md5 || !text_unhex(ret->digest.bytes, 16, hex))
		digest_bytes(DIGEST_MD5, state, strlen(state), &ret->digest);
	return true;
}

int tracked_check_supported(const struct tracked *tracked, struct err *err)
{
	const struct dvc_out *out = tracked->out;
	if (out->has_files && out->digest.kind == DIGEST_NONE)
		err_set(err, ERR_CONFIG, "%s lists files of %s with versions that are dvc's alone to read", tracked->dvc_path, tracked->path);
	else if (out->digest.kind == DIGEST_NONE)
		err_set(err, ERR_DATA, "%s records no content for '%s'%s", tracked->dvc_path, tracked->path,
			tracked->has_source ? " (an import without download)" : "");
	else
		return 0;
	return err_hint(err, "use dvc for this one");
}

static int take_piece(void *ctx, const void *bytes, size_t len, struct err *err)
{
	return dvc_dir_parser_add(ctx, bytes, len, err);
}

int dvc_manifest_read(struct data_repo *repo, const struct odb_id *id, const char *shown_as, struct dvc_dir *ret, struct err *err)
{
	struct dvc_dir_parser *parser = dvc_dir_parser_new(ret, shown_as);
	int status = odb_read_pieces(&repo->odb, id, DVC_DIR_MAX_BYTES, take_piece, parser, err);
	if (status == 0)
		status = dvc_dir_parser_end(parser, err);
	else
		dvc_dir_parser_drop(parser);
	if (status < 0)
		dvc_dir_release(ret); /* half a list is none */
	return status;
}

bool dvc_manifest_is_intact(struct data_repo *repo, const struct odb_id *id, struct err *damage)
{
	return odb_read_pieces(&repo->odb, id, UINT64_MAX, NULL, NULL, damage) == 0;
}

int tracked_keep_manifest(struct data_repo *repo, const struct tracked *tracked, struct err *err)
{
	struct dvc_dir manifest CLEANUP(dvc_dir_release) = DVC_DIR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct odb_id id = tracked_id(tracked);
	if (!tracked->out->has_files || odb_has(&repo->odb, &id, NULL))
		return 0;
	if (tracked_read_manifest(repo, tracked, &manifest, err) < 0)
		return -1;
	dvc_dir_render(&text, &manifest);
	return odb_put(&repo->odb, &id, text.data, text.len, err);
}

int tracked_read_manifest(struct data_repo *repo, const struct tracked *tracked, struct dvc_dir *ret, struct err *err)
{
	struct odb_id id = tracked_id(tracked);
	char *shown OWNED = mem_printf("the manifest of %s", tracked->path);
	if (tracked->out->has_files) {
		for (size_t i = 0; i < tracked->out->members.len; i++)
			dvc_dir_add(ret, tracked->out->members.at[i].relpath, tracked->out->members.at[i].digest.bytes);
		return dvc_dir_sort(ret, err);
	}
	if (dvc_manifest_read(repo, &id, shown, ret, err) < 0)
		return err_note(err, "it is the list of what is in %s", tracked->path);
	if (tracked->out->has_nfiles && tracked->out->nfiles != ret->len)
		return err_set(err, ERR_DATA, "%s says that %s has %llu files, its manifest lists %zu", tracked->dvc_path, tracked->path,
			       (unsigned long long)tracked->out->nfiles, ret->len);
	return 0;
}
