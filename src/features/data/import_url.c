/*
 * Imports by path or URL: what dvc records of the state of the source, and the content.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/import.h"
#include "formats/json.h"
#include "net/http_file.h"
#include "net/s3_tree.h"

#include <errno.h>
#include <string.h>

struct bringing {
	struct data_repo *repo;
	struct dvc_dep *dep;
	bool content;
	struct intake *intake;
};

static void set_text(char **to, const char *text)
{
	free(*to);
	*to = mem_strdup(text);
}

static void forget_state(struct dvc_dep *dep)
{
	set_text(&dep->md5, NULL);
	set_text(&dep->etag, NULL);
	set_text(&dep->checksum, NULL);
	dep->has_size = dep->has_nfiles = dep->isexec = false;
	dep->size = dep->nfiles = 0;
}

/* Files of this machine */

struct local_files {
	struct arena arena;
	VEC(struct digest_job) jobs;
	VEC(const char *) rels;
	VEC(uint64_t) sizes;
};

static void local_files_release(struct local_files *files)
{
	for (size_t i = 0; i < files->jobs.len; i++)
		err_release(&files->jobs.at[i].ret_err);
	vec_release(&files->jobs);
	vec_release(&files->rels);
	vec_release(&files->sizes);
	arena_release(&files->arena);
}

static void add_local(struct local_files *files, const char *path, const char *rel, uint64_t size)
{
	vec_push(&files->jobs, ((struct digest_job){ .path = arena_strdup(&files->arena, path) }));
	vec_push(&files->rels, arena_strdup(&files->arena, rel));
	vec_push(&files->sizes, size);
}

static int visit(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct local_files *files = ctx;
	struct stat st = *entry->st;
	if (S_ISDIR(st.st_mode))
		return 0;
	if (S_ISLNK(st.st_mode) && sys.fstatat(AT_FDCWD, entry->path, &st, 0) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "%s is a link that leads nowhere", entry->path);
	if (!S_ISREG(st.st_mode) || !text_is_utf8(entry->rel, strlen(entry->rel)))
		return err_set(err, ERR_FAILED, "%s cannot be imported: it is %s", entry->path,
			       S_ISREG(st.st_mode) ? "named by bytes that are not UTF-8" : "no file, and no link to one");
	add_local(files, entry->path, entry->rel, (uint64_t)st.st_size);
	return 0;
}

/* The digests; with content the files go into the cache on the way. */
static int take_digests(const struct bringing *bringing, struct local_files *files, struct err *err)
{
	size_t count = files->jobs.len;
	if (bringing->content) {
		struct odb_import *items OWNED = mem_alloc((count + 1) * sizeof(*items));
		for (size_t i = 0; i < count; i++)
			items[i].path = files->jobs.at[i].path;
		if (odb_import(&bringing->repo->odb, items, count, NULL, err) < 0)
			return -1;
		for (size_t i = 0; i < count; i++)
			files->jobs.at[i].ret = items[i].ret_digest;
		return 0;
	}
	digest_files(DIGEST_MD5, files->jobs.at, count);
	for (size_t i = 0; i < count; i++) {
		struct digest_job *job = &files->jobs.at[i];
		if (job->ret_status < 0)
			return err_move(err, &job->ret_err);
		if (!job->ret_stable)
			return err_set(err, ERR_FAILED, "%s changed while it was read", job->path);
	}
	return 0;
}

static int bring_path(const struct bringing *bringing, const char *path, struct err *err)
{
	struct local_files files CLEANUP(local_files_release) = { .jobs = { 0 } };
	struct intake own CLEANUP(intake_release) = INTAKE_INIT;
	struct intake *intake = bringing->content ? bringing->intake : &own;
	struct dvc_dep *dep = bringing->dep;
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	struct stat st;
	if (sys.fstatat(AT_FDCWD, path, &st, 0) < 0) {
		err_set_errno(err, ERR_CONFIG, errno, "cannot import %s", dep->path);
		return err_hint(err, "a file, a directory, or a URL: https://, s3://, remote://NAME/path");
	}
	bool is_dir = S_ISDIR(st.st_mode);
	if (!is_dir && !S_ISREG(st.st_mode))
		return err_set(err, ERR_CONFIG, "%s is neither a file nor a directory", dep->path);
	if (!is_dir)
		add_local(&files, path, "", (uint64_t)st.st_size);
	else if (fs_walk(path, visit, &files, err) < 0)
		return -1;
	if (take_digests(bringing, &files, err) < 0)
		return -1;
	for (size_t i = 0; i < files.jobs.len; i++)
		intake_add(intake, files.rels.at[i], &files.jobs.at[i].ret, files.sizes.at[i]);
	intake->is_dir = is_dir;
	if (bringing->content && intake_finish(intake, bringing->repo, err) < 0)
		return -1;
	if (is_dir && dvc_dir_sort(&intake->dir, err) < 0)
		return -1;
	if (is_dir)
		dvc_dir_digest(&intake->dir, &digest, NULL);
	else
		digest = intake->file;
	digest_hex(&digest, hex);
	dep->md5 = mem_printf("%s%s", hex, is_dir ? ".dir" : "");
	dep->has_size = true;
	dep->size = intake->size;
	dep->has_nfiles = is_dir;
	dep->nfiles = is_dir ? intake->nfiles : 0;
	dep->isexec = !is_dir && (st.st_mode & 0100);
	return 0;
}

/* HTTP */

static void add_repr(struct buf *out, const char *text)
{
	char quote = strchr(text, '\'') && !strchr(text, '"') ? '"' : '\'';
	buf_addch(out, quote);
	for (; *text; text++) {
		if (*text == quote || *text == '\\')
			buf_addch(out, '\\');
		buf_addch(out, *text);
	}
	buf_addch(out, quote);
}

static void add_item(struct buf *out, const char *key, const char *text)
{
	if (!text)
		return;
	buf_addf(out, "'%s': ", key);
	add_repr(out, text);
	buf_addstr(out, ", ");
}

/* 16 bytes, the first the highest, as a decimal number. */
static char *decimal(const uint8_t bytes[16])
{
	char digits[41] = { 0 };
	size_t at = sizeof(digits) - 1;
	uint8_t number[16];
	memcpy(number, bytes, 16);
	for (bool zero = false; !zero;) {
		unsigned rest = 0;
		zero = true;
		for (size_t i = 0; i < 16; i++) {
			unsigned value = rest * 256 + number[i];
			number[i] = (uint8_t)(value / 10);
			rest = value % 10;
			zero = zero && !number[i];
		}
		digits[--at] = (char)('0' + rest);
	}
	return mem_strdup(digits + at);
}

/* Where the server gives neither ETag nor Content-MD5, dvc takes fsspec's checksum: the md5 of all that is known, printed by Python. */
static char *checksum_of(const char *url, const struct http_file *file)
{
	if (file->etag || file->content_md5)
		return mem_strdup(file->etag ? file->etag : file->content_md5);
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct digest digest;
	buf_addstr(&text, "({");
	add_item(&text, "name", url);
	if (file->has_size)
		buf_addf(&text, "'size': %llu, ", (unsigned long long)file->size);
	else
		buf_addstr(&text, "'size': None, ");
	add_item(&text, "mimetype", file->mimetype);
	if (file->no_ranges)
		buf_addstr(&text, "'partial': False, ");
	add_item(&text, "url", file->url);
	add_item(&text, "Digest", file->digest);
	add_item(&text, "Last-Modified", file->last_modified);
	buf_addstr(&text, "'type': 'file'},)");
	digest_bytes(DIGEST_MD5, text.data, text.len, &digest);
	return decimal(digest.bytes);
}

static int keep_temp(const struct bringing *bringing, const char *temp, const char *rel, const struct digest *md5, uint64_t size,
		     struct err *err)
{
	struct odb_publish publish = { temp, { *md5, false } };
	if (odb_publish(&bringing->repo->odb, &publish, 1, err) < 0)
		return -1;
	intake_add(bringing->intake, rel, md5, size);
	return 0;
}

static int bring_http(const struct bringing *bringing, const char *url, struct err *err)
{
	struct http_file file;
	struct dvc_dep *dep = bringing->dep;
	if (dep->fs_config.len)
		return err_set(err, ERR_CONFIG, "%s has fs_config, which is not supported for HTTP", url);
	if (http_file_look(url, &file, err) < 0)
		return -1;
	dep->checksum = checksum_of(url, &file);
	dep->has_size = file.has_size;
	dep->size = file.size;
	http_file_release(&file);
	if (!bringing->content)
		return 0;
	struct buf temp CLEANUP(buf_release) = BUF_INIT;
	struct digest md5;
	uint64_t size;
	repo_progress(bringing->repo, "downloading", 0, 1, 0);
	if (odb_temp_path(&bringing->repo->odb, &temp, err) < 0 || http_file_get(url, temp.data, &md5, &size, err) < 0)
		return -1;
	if (dep->has_size && size != dep->size)
		return err_set(err, ERR_NET, "%s has %llu bytes, and %llu came", url, (unsigned long long)dep->size, (unsigned long long)size);
	if (keep_temp(bringing, temp.data, "", &md5, size, err) < 0)
		return -1;
	return intake_finish(bringing->intake, bringing->repo, err);
}

/* S3 */

static int take_fs_config(const struct dvc_dep *dep, struct arena *arena, struct remote_spec *spec, struct err *err)
{
	const struct {
		const char *name;
		const char **to;
	} options[] = { { "endpointurl", &spec->endpoint_url }, { "region", &spec->region }, { "profile", &spec->profile } };
	for (size_t i = 0; i < dep->fs_config.len; i++) {
		const char *text = dep->fs_config.at[i];
		size_t len = strcspn(text, "=");
		bool known = false;
		for (size_t k = 0; k < ARRAY_LEN(options); k++) {
			if (strlen(options[k].name) != len || strncmp(options[k].name, text, len) != 0)
				continue;
			*options[k].to = arena_strdup(arena, text + len + 1);
			known = true;
		}
		if (known)
			continue;
		err_set(err, ERR_CONFIG, "the option '%.*s' of fs_config is not supported", (int)len, text);
		return err_hint(err, "endpointurl, region and profile are; a remote of .dvc/config takes all: remote://NAME/path");
	}
	return 0;
}

/* What dvc makes of a directory: the md5 of the list of etags. */
static char *tree_md5(const struct s3_tree *tree)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	buf_addch(&text, '[');
	for (size_t i = 0; i < tree->list.len; i++) {
		const struct s3_entry *entry = &tree->list.at[i];
		buf_addstr(&text, i ? ", {\"etag\": " : "{\"etag\": ");
		json_add_string(&text, entry->etag, strlen(entry->etag), true);
		buf_addstr(&text, ", \"relpath\": ");
		json_add_string(&text, entry->name, strlen(entry->name), true);
		buf_addch(&text, '}');
	}
	buf_addch(&text, ']');
	digest_bytes(DIGEST_MD5, text.data, text.len, &digest);
	digest_hex(&digest, hex);
	return mem_printf("%s.dir", hex);
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct s3_entry *)a)->name, ((const struct s3_entry *)b)->name);
}

static int keep_objects(const struct bringing *bringing, const struct s3_tree *tree, struct remote_item *items, struct err *err)
{
	size_t count = tree->list.len;
	struct digest_job *jobs = mem_alloc((count + 1) * sizeof(*jobs));
	int status = 0;
	for (size_t i = 0; i < count; i++)
		jobs[i].path = items[i].path;
	digest_files(DIGEST_MD5, jobs, count);
	for (size_t i = 0; status == 0 && i < count; i++)
		status = jobs[i].ret_status < 0 ? err_move(err, &jobs[i].ret_err)
						: keep_temp(bringing, items[i].path, tree->list.at[i].name, &jobs[i].ret,
							    tree->list.at[i].size, err);
	for (size_t i = 0; i < count; i++)
		err_release(&jobs[i].ret_err);
	free(jobs);
	return status;
}

static int get_objects(const struct bringing *bringing, const struct remote_spec *spec, const struct s3_tree *tree, struct err *err)
{
	struct arena names CLEANUP(arena_release) = { 0 };
	struct remote_spec above = *spec;
	struct remote *remote;
	size_t count = tree->list.len;
	const char *base = path_base(spec->url);
	if (tree->is_file) /* an object is got by its name in what holds it */
		above.url = arena_strndup(&names, spec->url, (size_t)(base - spec->url - 1));
	if (remote_open(&above, &remote, err) < 0)
		return -1;
	struct remote_item *items = mem_alloc((count + 1) * sizeof(*items));
	int status = 0;
	for (size_t i = 0; status == 0 && i < count; i++) {
		struct buf temp CLEANUP(buf_release) = BUF_INIT;
		const struct s3_entry *entry = &tree->list.at[i];
		status = odb_temp_path(&bringing->repo->odb, &temp, err);
		items[i] = (struct remote_item){ .key = tree->is_file ? base : entry->name, .path = arena_strdup(&names, temp.data),
						 .size = entry->size };
	}
	repo_progress(bringing->repo, "downloading", 0, count, 0);
	if (status == 0)
		status = remote_get(remote, items, count, NULL, err);
	for (size_t i = 0; status == 0 && i < count; i++)
		if (items[i].ret_state != REMOTE_DONE)
			status = items[i].ret_err.message ? err_move(err, &items[i].ret_err)
							  : err_set(err, ERR_DATA, "%s: an object is gone", bringing->dep->path);
	if (status == 0)
		status = keep_objects(bringing, tree, items, err);
	for (size_t i = 0; i < count; i++)
		err_release(&items[i].ret_err);
	free(items);
	remote_close(remote);
	return status < 0 ? -1 : intake_finish(bringing->intake, bringing->repo, err);
}

static int bring_s3(const struct bringing *bringing, const struct remote_spec *spec, struct err *err)
{
	struct s3_tree tree CLEANUP(s3_tree_release) = { .is_file = false };
	struct dvc_dep *dep = bringing->dep;
	if (s3_tree_read(spec, &tree, err) < 0)
		return -1;
	if (!tree.list.len)
		return err_set(err, ERR_DATA, "there is nothing at %s", dep->path);
	vec_sort(&tree.list, compare_entries);
	dep->has_size = true;
	for (size_t i = 0; i < tree.list.len; i++)
		dep->size += tree.list.at[i].size;
	if (tree.is_file)
		dep->etag = mem_strdup(tree.list.at[0].etag);
	else {
		dep->md5 = tree_md5(&tree);
		dep->has_nfiles = true;
		dep->nfiles = tree.list.len;
	}
	return bringing->content ? get_objects(bringing, spec, &tree, err) : 0;
}

static int bring_remote(const struct bringing *bringing, struct err *err)
{
	struct arena arena CLEANUP(arena_release) = { 0 };
	struct remote_spec spec;
	const char *rest = bringing->dep->path + strlen("remote://");
	size_t len = strcspn(rest, "/");
	char *name OWNED = mem_strndup(rest, len);
	if (config_remote(&bringing->repo->config, name, &arena, &spec, err) < 0)
		return -1;
	struct buf url CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT;
	path_normalize(&path, rest[len] ? rest + len + 1 : "");
	if (!text_eq(path.data, ".") && !path_is_safe(path.data))
		return err_set(err, ERR_CONFIG, "%s leads out of the remote '%s'", bringing->dep->path, name);
	path_join(&url, spec.url, text_eq(path.data, ".") ? "" : path.data);
	if (!text_starts(url.data, "s3://"))
		return bring_path(bringing, url.data, err);
	while (text_ends(url.data, "/"))
		buf_truncate(&url, url.len - 1);
	spec.url = arena_strdup(&arena, url.data);
	return bring_s3(bringing, &spec, err);
}

int import_bring_url(struct data_repo *repo, struct dvc_dep *dep, const char *dir_rel, bool content, struct intake *intake, struct err *err)
{
	struct bringing bringing = { repo, dep, content, intake };
	forget_state(dep);
	if (text_starts(dep->path, "remote://"))
		return bring_remote(&bringing, err);
	bool is_web = text_starts(dep->path, "http://") || text_starts(dep->path, "https://");
	if (is_web && strpbrk(dep->path, " \t\r\n")) {
		err_set(err, ERR_CONFIG, "'%s' is no URL: there is white space in it", dep->path);
		return err_hint(err, "a space is written %%20");
	}
	if (is_web)
		return bring_http(&bringing, dep->path, err);
	if (text_starts(dep->path, "s3://")) {
		struct arena arena CLEANUP(arena_release) = { 0 };
		size_t len = strlen(dep->path);
		while (len > 5 && dep->path[len - 1] == '/')
			len--;
		struct remote_spec spec = { .name = dep->path, .url = arena_strndup(&arena, dep->path, len) };
		return take_fs_config(dep, &arena, &spec, err) < 0 ? -1 : bring_s3(&bringing, &spec, err);
	}
	if (strstr(dep->path, "://")) {
		err_set(err, ERR_CONFIG, "'%s' is of a kind that cannot be imported from", dep->path);
		return err_hint(err, "a path, https://, s3:// or remote://NAME/path; dvc import-url takes others");
	}
	struct buf joined CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT;
	char *dir OWNED = repo_abs(repo, dir_rel);
	path_join(&joined, dir, dep->path);
	path_normalize(&path, joined.data);
	return bring_path(&bringing, path.data, err);
}
