#include "cli/hook_checks.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "features/ci/ci.h"
#include "features/data/data.h"
#include "formats/dvcfile.h"

#include <string.h>

/* Only where a workflow was generated once; a file of that name that is somebody's own is fine, too. */
static int check_workflows(void *ctx, const struct hook_scene *scene, struct hook_report *report, struct err *err)
{
	(void)ctx;
	struct ci_request request = { .project = scene->staged, .repo_root = scene->tree_top };
	struct ci_report found CLEANUP(ci_report_release) = CI_REPORT_INIT;
	bool any;
	if (ci_any_generated(scene->tree_top, &any, err) < 0)
		return -1;
	if (!any)
		return 0;
	if (ci_check(&request, &found, err) < 0)
		return -1;
	bool orphaned = found.orphans.len > 0;
	if (found.state == CI_STALE || found.state == CI_EDITED || (found.state == CI_MISSING && orphaned)) {
		OWNED char *what = mem_printf("the staged workflow is not what the staged project gives: %s", found.why);
		OWNED char *mend = mem_printf("mlmake ci generate%s && git add %s", found.state == CI_EDITED ? " --force" : "", found.path);
		hook_refuse(report, what, found.diff.data, mend);
	} else if (orphaned) {
		OWNED char *what = mem_printf("%s was generated under another ci.path", found.orphans.at[0]);
		hook_refuse(report, what, "", "mlmake ci generate, then stage its removal");
	}
	return 0;
}

static void close_data(struct data_repo **repo)
{
	if (*repo)
		data_close(*repo);
}

/* *ret is NULL where the directory itself is no data repository. */
static int open_data(const char *root, struct data_repo **ret, struct err *err)
{
	OWNED char *dvc = path_joined(root, ".dvc");
	*ret = NULL;
	return fs_is_dir(dvc) ? data_open(root, NULL, ret, err) : 0;
}

/* The outputs of a staged .dvc file that the cache must hold. A file that cannot be read is a reason of its own. */
static int add_outputs(const char *root, const char *dvc_path, struct strlist *ret, struct hook_report *report, struct err *err)
{
	OWNED char *full = path_joined(root, dvc_path);
	struct dvc_file file CLEANUP(dvc_file_release) = DVC_FILE_INIT;
	if (!fs_is_file(full)) /* removed by this commit */
		return 0;
	if (dvc_file_read(full, dvc_path, &file, err) < 0) {
		if (err->code != ERR_DATA && err->code != ERR_CONFIG)
			return -1;
		OWNED char *what = mem_printf("the staged %s cannot be read: %s", dvc_path, err->message);
		hook_refuse(report, what, "", err->hint ? err->hint : "mend it and stage it again");
		err_release(err);
		return 0;
	}
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	path_dir(&dir, full);
	OWNED char *base = path_joined(dir.data, file.wdir ? file.wdir : ".");
	for (size_t i = 0; i < file.out_count && !file.dep_count; i++) {
		const struct dvc_out *out = &file.outs[i];
		OWNED char *path = path_joined(base, out->path);
		struct buf normal CLEANUP(buf_release) = BUF_INIT;
		path_normalize(&normal, path);
		if (out->cache && out->digest.kind != DIGEST_NONE)
			strlist_add(ret, normal.data);
	}
	return 0;
}

static void add_lines(struct buf *out, const struct strlist *paths)
{
	for (size_t i = 0; i < paths->len; i++)
		buf_addf(out, "    %s\n", paths->at[i]);
}

/* What this commit's .dvc files name must be in the cache: nobody could push it otherwise. */
static int check_staged_data(const struct hook_scene *scene, struct hook_report *report, struct err *err)
{
	struct data_repo *repo CLEANUP(close_data) = NULL;
	struct strlist paths CLEANUP(strlist_release) = { 0 };
	struct data_status status CLEANUP(data_status_release) = { .has_git = false };
	const struct data_status_options options = { .granular = true };
	for (size_t i = 0; i < scene->changed->len; i++) {
		const char *path = scene->changed->at[i];
		if (text_starts(path, scene->prefix) && text_ends(path, ".dvc") &&
		    add_outputs(scene->staged->root, path + strlen(scene->prefix), &paths, report, err) < 0)
			return -1;
	}
	if (!paths.len)
		return 0;
	if (open_data(scene->staged->root, &repo, err) < 0)
		return -1;
	if (!repo)
		return 0;
	if (data_status(repo, (const char *const *)paths.at, paths.len, &options, &status, err) < 0)
		return -1;
	if (!status.not_in_cache.len)
		return 0;
	struct buf lines CLEANUP(buf_release) = BUF_INIT;
	add_lines(&lines, &status.not_in_cache);
	hook_refuse(report, "staged .dvc files name data that is not in the cache", lines.data,
		    "save the data with `mlmake data add`, or get it with `mlmake data fetch`, then commit again");
	return 0;
}

/* What was changed in the work tree and not added. What is absent there is not lost by a commit. */
static int check_changed_data(const struct hook_scene *scene, struct hook_report *report, struct err *err)
{
	struct data_repo *repo CLEANUP(close_data) = NULL;
	struct data_status status CLEANUP(data_status_release) = { .has_git = false };
	const struct data_status_options options = { .granular = false };
	if (open_data(scene->root, &repo, err) < 0)
		return -1;
	if (!repo)
		return 0;
	if (data_status(repo, NULL, 0, &options, &status, err) < 0)
		return -1;
	struct buf lines CLEANUP(buf_release) = BUF_INIT;
	add_lines(&lines, &status.uncommitted.modified);
	add_lines(&lines, &status.uncommitted.added);
	if (lines.len)
		hook_refuse(report, "tracked data was changed and is not saved", lines.data,
			    "`mlmake data add` each and `git add` its .dvc; or drop the change with `mlmake data checkout --force`");
	return 0;
}

static int check_data(void *ctx, const struct hook_scene *scene, struct hook_report *report, struct err *err)
{
	(void)ctx;
	return check_staged_data(scene, report, err) < 0 ? -1 : check_changed_data(scene, report, err);
}

const struct hook_check hook_checks[] = {
	{ "workflows", check_workflows },
	{ "data", check_data },
};
const size_t hook_check_count = ARRAY_LEN(hook_checks);
