/*
 * Objects of another repository: from its cache where that is a directory of this machine, else from its remote.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/source_internal.h"

#include <string.h>

#define BATCH ((size_t)4096)
#define MAX_BLOB ((size_t)1 << 31)

void source_drop_places(struct source *source)
{
	for (size_t i = 0; i < source->places.len; i++) {
		remote_close(source->places.at[i].remote);
		free(source->places.at[i].name);
	}
	vec_release(&source->places);
}

/* A server that somebody else's repository names does not get to see credentials of ours, unless a remote of ours names it, too. */
static int guard_credentials(struct source *source, const struct source_project *project, struct remote_spec *spec, struct err *err)
{
	enum data_level level = DATA_SYSTEM;
	static const char region_chars[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	if (spec->region && spec->region[strspn(spec->region, region_chars)])
		return err_set(err, ERR_CONFIG, "the remote '%s' of %s has no region of S3: '%s'", spec->name, source->url, spec->region);
	if (!spec->endpoint_url || spec->access_key_id || spec->anonymous || source->is_here)
		return 0;
	char *section OWNED = config_remote_section(spec->name);
	config_get(&project->config, section, "endpointurl", &level);
	const char *const trusted[] = { sys.getenv("AWS_ENDPOINT_URL_S3"), sys.getenv("AWS_ENDPOINT_URL") };
	bool ours = level != DATA_PROJECT;
	for (size_t i = 0; i < ARRAY_LEN(trusted); i++)
		ours = ours || text_eq(trusted[i], spec->endpoint_url);
	for (int at = 0; source->repo && at < DATA_LEVELS; at++) {
		const struct ini *ini = &source->repo->config.files[at];
		for (size_t i = 0; i < ini->keys.len; i++)
			ours = ours || (text_eq(ini->keys.at[i].name, "endpointurl") && text_eq(ini->keys.at[i].value, spec->endpoint_url));
	}
	spec->anonymous = !ours;
	if (!ours && source->ui && source->ui->note) {
		char *text OWNED = mem_printf("%s keeps its data at %s, which is asked without credentials: no remote of yours has that endpointurl",
					      source->url, spec->endpoint_url);
		source->ui->note(source->ui->ctx, text);
	}
	return 0;
}

static int open_remote(struct source *source, const struct source_project *project, const char *name, struct remote **ret, struct err *err)
{
	struct remote_spec spec;
	if (config_remote(&project->config, name, &source->arena, &spec, err) < 0) {
		err_note(err, "in %s", source->url);
		return err_hint(err, "its data has to be on a remote of it that is known to its .dvc/config");
	}
	if (!source->is_here && spec.url[0] == '/') {
		char *section OWNED = config_remote_section(spec.name);
		const char *url = config_get(&project->config, section, "url", NULL);
		if (url && url[0] != '/' && url[0] != '~' && !text_starts(url, "file://")) {
			err_set(err, ERR_CONFIG, "the remote '%s' of %s is a directory relative to wherever it is: %s", spec.name, source->url, url);
			return err_hint(err, "name a clone of it that lies beside that directory");
		}
	}
	return guard_credentials(source, project, &spec, err) < 0 ? -1 : remote_open(&spec, ret, err);
}

/* The cache of a project as if it were a remote: it has the same layout. */
static int open_cache(struct source *source, const char *dir, struct remote **ret, struct err *err)
{
	struct remote_spec spec = { .name = "cache", .url = arena_strdup(&source->arena, dir) };
	return remote_open(&spec, ret, err);
}

/* *ret is NULL where there is no such place. */
static int find_place(struct source *source, const struct source_project *project, const char *name, bool cache, struct remote **ret,
		      struct err *err)
{
	*ret = NULL;
	const char *wanted = cache ? NULL : source->chosen_remote ? source->chosen_remote : name ? name : "";
	for (size_t i = 0; i < source->places.len; i++) {
		const struct source_place *place = &source->places.at[i];
		if (place->project == project && text_eq(place->name, wanted)) {
			*ret = place->remote;
			return 0;
		}
	}
	if (cache && (!project->is_here || !fs_is_dir(project->config.cache_dir)))
		return 0;
	int status = cache ? open_cache(source, project->config.cache_dir, ret, err)
			   : open_remote(source, project, *wanted ? wanted : NULL, ret, err);
	if (status == 0)
		vec_push(&source->places, ((struct source_place){ project, mem_strdup(wanted), *ret }));
	return status;
}

struct getting {
	struct source *source;
	size_t done, total;
};

static bool on_progress(void *ctx, size_t items_done, uint64_t bytes_done)
{
	const struct getting *getting = ctx;
	const struct data_ui *ui = getting->source->ui;
	if (ui && ui->progress)
		ui->progress(ui->ctx, &(struct data_progress){ .verb = "fetching", .done = getting->done + items_done, .total = getting->total,
							      .bytes = bytes_done });
	return true;
}

static void items_release(struct remote_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		err_release(&items[i].ret_err);
	free(items);
}

/* What of a batch belongs to one place. The last failure is kept in why. */
static int get_batch(struct getting *getting, struct remote *remote, struct source_want **wants, size_t count, struct err *why, struct err *err)
{
	struct remote_item *items = mem_alloc((count + 1) * sizeof(*items));
	struct arena keys CLEANUP(arena_release) = { 0 };
	for (size_t i = 0; i < count; i++) {
		const struct source_file *file = wants[i]->file;
		struct buf key CLEANUP(buf_release) = BUF_INIT;
		odb_add_key(&key, &file->id);
		items[i] = (struct remote_item){ .key = arena_strdup(&keys, key.data), .path = wants[i]->path, .size = REMOTE_SIZE_UNKNOWN,
						 .expect = file->id.digest };
		if (file->id.is_dir)
			items[i].max_size = DVC_DIR_MAX_BYTES;
	}
	struct remote_sink sink = { .progress = on_progress, .ctx = getting };
	int status = remote_get(remote, items, count, &sink, err);
	for (size_t i = 0; i < count; i++) {
		wants[i]->done = items[i].ret_state == REMOTE_DONE;
		if ((items[i].ret_state == REMOTE_FAILED || items[i].ret_state == REMOTE_DAMAGED) && items[i].ret_err.message)
			err_move(why, &items[i].ret_err);
	}
	items_release(items, count);
	return status;
}

static bool same_place(const struct source_want *a, const struct source_want *b)
{
	return a->file->project == b->file->project && text_eq(a->file->pinned, b->file->pinned);
}

/* All that is not done yet, from caches or from remotes. */
static int get_from(struct getting *getting, struct source_want *wants, size_t count, bool cache, struct err *why, struct err *err)
{
	struct source_want **batch OWNED = mem_alloc((BATCH + 1) * sizeof(struct source_want *));
	bool *tried OWNED = mem_alloc(count + 1);
	int status = 0;
	for (size_t first = 0; status == 0 && first < count; first++) {
		struct remote *remote;
		if (wants[first].done || tried[first])
			continue;
		if (find_place(getting->source, wants[first].file->project, wants[first].file->pinned, cache, &remote, err) < 0)
			return -1;
		size_t len = 0, at = first;
		for (; len < BATCH && at < count; at++) {
			if (wants[at].done || tried[at] || !same_place(&wants[first], &wants[at]))
				continue;
			tried[at] = true;
			batch[len++] = &wants[at];
		}
		if (remote)
			status = get_batch(getting, remote, batch, len, why, err);
		getting->done += len;
	}
	return status;
}

static int not_found(const struct source *source, const struct source_want *want, struct err *why, struct err *err)
{
	char hex[DIGEST_HEX_MAX];
	if (why->code != ERR_NONE) {
		err_move(err, why);
		return err_note(err, "in %s", source->url);
	}
	digest_hex(&want->file->id.digest, hex);
	err_set(err, ERR_DATA, "%s (md5 %s%s) is %s of %s", *want->file->rel ? want->file->rel : "the data", hex, want->file->id.is_dir ? ".dir" : "",
		source->is_here ? "neither in the cache nor on the remote" : "not on the remote", source->url);
	return err_hint(err, "push it from where it was made: mlmake data push");
}

int source_get(struct source *source, struct source_want *wants, size_t count, struct err *err)
{
	struct err why CLEANUP(err_release) = ERR_INIT;
	struct getting getting = { source, 0, count };
	if (get_from(&getting, wants, count, true, &why, err) < 0)
		return -1;
	bool all = true;
	for (size_t i = 0; i < count; i++)
		all = all && wants[i].done;
	if (all)
		return 0;
	getting.done = 0;
	err_release(&why);
	if (get_from(&getting, wants, count, false, &why, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (!wants[i].done)
			return not_found(source, &wants[i], &why, err);
	return 0;
}

static int temp_path(struct source *source, struct buf *ret, struct err *err)
{
	const char *tmp = sys.getenv("TMPDIR");
	if (!source->temp.path && temp_dir_make(&source->temp, tmp && *tmp ? tmp : "/tmp", "mlmake-data-", err) < 0)
		return -1;
	buf_addf(ret, "%s/%u", source->temp.path, source->temp_next++);
	return 0;
}

int source_manifest(struct source *source, const struct source_file *top, const char *name, struct dvc_dir *ret, struct err *err)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	char *shown OWNED = mem_printf("the manifest of %s", name);
	if (source->repo && odb_has(&source->repo->odb, &top->id, NULL) && dvc_manifest_is_intact(source->repo, &top->id, &ignored))
		return dvc_manifest_read(source->repo, &top->id, shown, ret, err);
	if (temp_path(source, &path, err) < 0)
		return -1;
	struct source_file file = *top;
	file.rel = shown;
	struct source_want want = { &file, path.data, false };
	return source_get(source, &want, 1, err) < 0 ? -1 : dvc_dir_read(ret, path.data, shown, err);
}

int source_url(struct source *source, const struct source_file *file, struct buf *ret, struct err *err)
{
	struct remote_spec spec;
	const char *name = source->chosen_remote ? source->chosen_remote : file->pinned;
	if (!name && !file->project->config.default_remote && file->project->is_here) {
		buf_addf(ret, "%s/", file->project->config.cache_dir);
		odb_add_key(ret, &file->id);
		return 0;
	}
	if (config_remote(&file->project->config, name, &source->arena, &spec, err) < 0)
		return err_note(err, "in %s", source->url);
	buf_addf(ret, "%s/", spec.url);
	odb_add_key(ret, &file->id);
	return 0;
}

int source_blob(struct source *source, const struct source_file *file, struct buf *ret, struct err *err)
{
	return git_blob_read(source->git, file->at, MAX_BLOB, ret, err);
}
