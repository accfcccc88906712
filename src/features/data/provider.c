/*
 * What graph and engine see of tracked data.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/outs.h"
#include "features/data/record.h"

static bool has_data(const char *root)
{
	char *path OWNED = path_joined(root, ".dvc");
	return fs_is_dir(path);
}

static void take_tracked(const struct outs *outs, struct tracked_list *ret)
{
	for (size_t i = 0; i < outs->list.len; i++) {
		const struct tracked *tracked = &outs->list.at[i];
		if (tracked->stage) /* what a run of the pipeline makes is no source */
			continue;
		struct tracked_path path = { mem_strdup(tracked->path), tracked->out->is_dir, tracked->out->digest };
		if (tracked->out->legacy) /* no md5 of the bytes */
			path.digest = (struct digest){ .kind = DIGEST_NONE };
		vec_push(ret, path);
	}
}

static int provide_tracked_at(const char *root, const char *commit, struct tracked_list *ret, struct err *err)
{
	*ret = (struct tracked_list){ .at = NULL };
	if (!has_data(root))
		return 0;
	struct data_repo *repo;
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	if (data_open(root, NULL, &repo, err) < 0)
		return -1;
	int status = outs_load_commit(repo, commit, &outs, err);
	if (status == 0)
		take_tracked(&outs, ret);
	data_close(repo);
	return status;
}

static int provide_tracked(const char *root, struct tracked_list *ret, struct err *err)
{
	*ret = (struct tracked_list){ .at = NULL };
	if (!has_data(root))
		return 0;
	struct data_repo *repo;
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	if (data_open(root, NULL, &repo, err) < 0)
		return -1;
	int status = outs_load(repo, &outs, err);
	/* A target must not run on data that nobody can tell apart: here a broken .dvc is an error. */
	if (status == 0 && outs.broken.len)
		status = err_move(err, &outs.broken.at[0].err);
	if (status == 0)
		take_tracked(&outs, ret);
	data_close(repo);
	return status;
}

/* Paths as data_open's functions take them: absolute. */
static char **absolute_paths(const char *root, const char *const *paths, size_t count)
{
	char **absolute = mem_alloc((count + 1) * sizeof(*absolute));
	for (size_t i = 0; i < count; i++)
		absolute[i] = path_joined(root, paths[i]);
	return absolute;
}

static void free_paths(char **paths, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(paths[i]);
	free(paths);
}

static int explain_checkout(const struct data_checkout_report *report, struct err *err)
{
	if (report->unsafe.len) {
		err_set(err, ERR_FAILED, "%s has changes that no .dvc file records", report->unsafe.at[0]);
		return err_hint(err, "mlmake data add records them, mlmake data checkout --force drops them");
	}
	if (report->damaged.len)
		return err_set(err, ERR_DATA, "%s is damaged in the cache", report->damaged.at[0]);
	if (report->missing.len) {
		err_set(err, ERR_DATA, "%s is neither in the cache nor on the remote", report->missing.at[0]);
		return err_hint(err, "push it from where it was made: mlmake data push");
	}
	return 0;
}

static int bring(struct data_repo *repo, const char *const *paths, size_t count, struct err *err)
{
	struct data_checkout_options options = { .force = false };
	struct data_transfer_options transfer = { .remote = NULL };
	struct data_checkout_report report;
	int status = data_checkout(repo, paths, count, &options, &report, err);
	bool fetch = status == 0 && (report.missing.len || report.damaged.len) && !report.unsafe.len;
	if (status == 0 && !fetch)
		status = explain_checkout(&report, err);
	data_checkout_report_release(&report);
	if (!fetch)
		return status;
	struct data_transfer_report moved = { .remote = NULL };
	status = data_pull(repo, paths, count, &transfer, &options, &moved, &report, err);
	if (status == 0 && moved.failed.len)
		status = err_set(err, ERR_NET, "%s", moved.failed.at[0]);
	if (status == 0 && moved.damaged.len)
		status = err_set(err, ERR_DATA, "%s", moved.damaged.at[0]);
	if (status == 0)
		status = explain_checkout(&report, err);
	data_transfer_report_release(&moved);
	data_checkout_report_release(&report);
	return status;
}

static int provide_materialize(const char *root, const char *const *paths, size_t count, struct err *err)
{
	struct data_repo *repo;
	if (data_open(root, NULL, &repo, err) < 0)
		return -1;
	char **absolute = absolute_paths(root, paths, count);
	int status = bring(repo, (const char *const *)absolute, count, err);
	free_paths(absolute, count);
	data_close(repo);
	return status;
}

static int provide_can_track(const char *root, const char *path, struct err *err)
{
	if (!has_data(root)) {
		err_set(err, ERR_CONFIG, "an output is to be tracked as data, but there is no data repository at %s", root);
		return err_hint(err, "'mlmake data init' makes one");
	}
	if (!path)
		return 0;
	struct data_repo *repo;
	if (data_open(root, NULL, &repo, err) < 0)
		return -1;
	char *absolute OWNED = path_joined(root, path);
	int failed = record_check_git(repo, absolute, err);
	data_close(repo);
	return failed;
}

static int provide_track_output(const char *root, const char *path, struct err *err)
{
	struct data_repo *repo;
	if (data_open(root, NULL, &repo, err) < 0)
		return -1;
	struct data_add_report report;
	char *absolute OWNED = path_joined(root, path);
	int status = data_add(repo, (const char *const[]){ absolute }, 1, NULL, &report, err);
	data_add_report_release(&report);
	data_close(repo);
	return status;
}

static int provide_remote(const char *root, const char *name, struct arena *arena, struct remote_spec *ret, struct err *err)
{
	struct data_repo *repo;
	if (data_open(root, NULL, &repo, err) < 0)
		return -1;
	int status = config_remote(&repo->config, name, arena, ret, err);
	data_close(repo);
	return status;
}

const struct provider data_provider = {
	.tracked = provide_tracked,
	.tracked_at = provide_tracked_at,
	.materialize = provide_materialize,
	.can_track = provide_can_track,
	.track_output = provide_track_output,
	.remote = provide_remote,
};
