/*
 * data ls and data get of another repository.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/browse.h"
#include "features/data/source.h"
#include "vcs/git_mirror.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

bool data_is_other(const struct data_repo *repo, const char *word)
{
	struct buf cwd CLEANUP(buf_release) = BUF_INIT, joined CLEANUP(buf_release) = BUF_INIT, dir CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (path_cwd(&cwd, &ignored) < 0)
		return false;
	path_join(&joined, cwd.data, word);
	path_normalize(&dir, joined.data);
	if (!fs_is_dir(dir.data))
		return git_is_url(word);
	if (!repo || !path_inside(repo->root, dir.data))
		return true;
	char *git OWNED = path_joined(dir.data, ".git"), *dvc OWNED = path_joined(dir.data, ".dvc");
	return !text_eq(repo->root, dir.data) && (fs_exists(git) || fs_is_dir(dvc));
}

static int open_source(struct data_repo *repo, const struct data_ui *ui, const char *url, const struct data_from_options *options,
		       struct source **ret, struct err *err)
{
	if (source_open(repo, ui, url, options->rev, SOURCE_TREE, ret, err) < 0)
		return -1;
	source_set_remote(*ret, options->remote);
	if (source_check_remote(*ret, options->remote, err) == 0)
		return 0;
	source_close(*ret);
	return -1;
}

/* ls */

struct listing {
	struct source *source;
	const struct data_from_options *options;
	struct data_listing *ret;
	struct map seen; /* index + 1 */
};

static void add_size(struct listing *listing, const struct source_file *file, struct data_listed *listed)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	listed->has_size = file->has_size;
	listed->size = file->size;
	if (file->kind != SOURCE_BLOB || !listing->options->sizes || source_blob(listing->source, file, &bytes, &ignored) < 0)
		return;
	listed->has_size = true;
	listed->size = bytes.len;
}

/* member: of a data directory that is listed from within. */
static void list_file(struct listing *listing, const struct source_file *file, const char *name, bool member)
{
	const char *rel = *file->rel ? file->rel : name;
	const char *slash = strchr(rel, '/');
	bool part = slash && !listing->options->recursive;
	char *shown OWNED = part ? mem_strndup(rel, (size_t)(slash - rel)) : mem_strdup(rel);
	if (listing->options->data_only && file->kind != SOURCE_OBJECT)
		return;
	if (!map_set(&listing->seen, shown, NULL))
		return;
	struct data_listed listed = { .path = mem_strdup(shown), .is_dir = part || file->id.is_dir };
	if (part)
		listed.is_out = member;
	else {
		listed.is_out = file->kind == SOURCE_OBJECT;
		listed.exec = file->exec;
		add_size(listing, file, &listed);
	}
	if (!part && file->kind == SOURCE_OBJECT) {
		char hex[DIGEST_HEX_MAX];
		digest_hex(&file->id.digest, hex);
		listed.md5 = mem_printf("%s%s", hex, file->id.is_dir ? ".dir" : "");
	}
	vec_push(&listing->ret->list, listed);
}

int data_ls_from(struct data_repo *repo, const struct data_ui *ui, const char *url, const char *path, const struct data_from_options *options,
		 struct data_listing *ret, struct err *err)
{
	struct source *source;
	struct source_files files = { .is_dir = false };
	struct buf normal CLEANUP(buf_release) = BUF_INIT;
	*ret = (struct data_listing){ .list = { 0 } };
	if (open_source(repo, ui, url, options, &source, err) < 0)
		return -1;
	unsigned depth = SOURCE_RECORDS | (options->recursive ? SOURCE_FILES : SOURCE_TOPS) | (options->empty ? SOURCE_EMPTY : 0);
	path_normalize(&normal, path ? path : ".");
	int status = source_list(source, normal.data, depth, &files, err);
	struct listing listing = { .source = source, .options = options, .ret = ret };
	for (size_t i = 0; status == 0 && i < files.list.len; i++)
		list_file(&listing, &files.list.at[i], path_base(normal.data), files.list.at[i].member);
	map_release(&listing.seen);
	source_files_release(&files);
	source_close(source);
	return status;
}

/* get */

static void staging_release(struct buf *staging)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (staging->len && fs_remove_tree(staging->data, &ignored) < 0)
		err_release(&ignored);
	buf_release(staging);
}

static mode_t file_mode(bool exec)
{
	mode_t mask = umask(022);
	umask(mask);
	return (exec ? 0777 : 0666) & ~mask;
}

static int write_blob(struct source *source, const struct source_file *file, const char *to, struct err *err)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	if (source_blob(source, file, &bytes, err) < 0)
		return -1;
	return fs_write_file(to, bytes.data, bytes.len, 0666, FS_VOLATILE, err);
}

static int get_files(struct source *source, const struct source_files *files, const char *got, struct err *err)
{
	struct arena names CLEANUP(arena_release) = { 0 };
	struct source_want *wants OWNED = mem_alloc((files->list.len + 1) * sizeof(*wants));
	size_t count = 0;
	if (files->is_dir && fs_mkdirs(got, err) < 0)
		return -1;
	for (size_t i = 0; i < files->list.len; i++) {
		const struct source_file *file = &files->list.at[i];
		const char *to = arena_printf(&names, "%s%s%s", got, *file->rel ? "/" : "", file->rel);
		if (fs_mkdirs_for(to, err) < 0)
			return -1;
		if (file->kind == SOURCE_OBJECT)
			wants[count++] = (struct source_want){ file, to, false };
		else if ((file->kind == SOURCE_BLOB ? write_blob(source, file, to, err) : fs_copy_file(file->at, to, 0666, err)) < 0)
			return -1;
	}
	if (source_get(source, wants, count, err) < 0)
		return -1;
	for (size_t i = 0; i < files->list.len; i++) {
		const struct source_file *file = &files->list.at[i];
		char *to OWNED = mem_printf("%s%s%s", got, *file->rel ? "/" : "", file->rel);
		if (sys.fchmodat(AT_FDCWD, to, file_mode(file->exec), 0) < 0)
			return err_set_errno(err, ERR_FAILED, errno, "cannot set the mode of %s", to);
	}
	return 0;
}

static int get_listed(struct source *source, const struct source_files *files, const char *name, const struct data_from_options *options,
		      struct buf *ret_target, struct err *err)
{
	struct buf cwd CLEANUP(buf_release) = BUF_INIT, staging CLEANUP(staging_release) = BUF_INIT;
	if (!options->out && (text_eq(name, ".") || !*name)) {
		err_set(err, ERR_CONFIG, "all of a repository has no name of its own");
		return err_hint(err, "-o OUT gives it one");
	}
	if (path_cwd(&cwd, err) < 0 || browse_target(cwd.data, options->out, name, ret_target, &staging, err) < 0)
		return -1;
	char *got OWNED = path_joined(staging.data, "got");
	if (get_files(source, files, got, err) < 0)
		return -1;
	return browse_place(got, ret_target->data, options->force, err);
}

int data_get_from(struct data_repo *repo, const struct data_ui *ui, const char *url, const char *path,
		  const struct data_from_options *options, struct buf *ret_target, size_t *ret_files, struct err *err)
{
	struct source *source;
	struct source_files files = { .is_dir = false };
	struct buf normal CLEANUP(buf_release) = BUF_INIT;
	if (open_source(repo, ui, url, options, &source, err) < 0)
		return -1;
	path_normalize(&normal, path);
	int status = source_list(source, normal.data, SOURCE_FILES, &files, err);
	if (status == 0)
		status = get_listed(source, &files, path_base(normal.data), options, ret_target, err);
	*ret_files = files.list.len;
	source_files_release(&files);
	source_close(source);
	return status;
}

int data_url_from(struct data_repo *repo, const struct data_ui *ui, const char *url, const char *path,
		  const struct data_from_options *options, struct buf *ret, struct err *err)
{
	struct source *source;
	struct buf normal CLEANUP(buf_release) = BUF_INIT, parent CLEANUP(buf_release) = BUF_INIT;
	struct source_files files = { .is_dir = false };
	if (open_source(repo, ui, url, options, &source, err) < 0)
		return -1;
	/* Seen from above, a data directory is its manifest, which has an address. */
	path_normalize(&normal, path);
	path_dir(&parent, normal.data);
	int status = source_list(source, parent.data, SOURCE_TOPS, &files, err);
	const struct source_file *found = NULL;
	for (size_t i = 0; i < files.list.len; i++)
		if (text_eq(files.list.at[i].rel, path_base(normal.data)) && files.list.at[i].kind == SOURCE_OBJECT)
			found = &files.list.at[i];
	if (status == 0 && !found) {
		err_set(err, ERR_CONFIG, "%s is no data of %s", path, url);
		status = err_hint(err, "mlmake data ls --dvc-only %s shows what there is", url);
	}
	if (status == 0)
		status = source_url(source, found, ret, err);
	source_files_release(&files);
	source_close(source);
	return status;
}
