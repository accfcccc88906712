/* What happens between `git commit` and the commit. */
#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "features/hook/environments.h"
#include "features/hook/hook.h"
#include "features/hook/tree.h"
#include "store/lock.h"
#include "store/workdir.h"
#include "vcs/git.h"

#include <string.h>
#include <unistd.h>

#define MAX_OUTPUT ((size_t)256 << 10) /* of one target, in a refusal */

void hook_refuse(struct hook_report *report, const char *what, const char *detail, const char *mend)
{
	struct hook_refusal refusal = { mem_strdup(what), mem_strdup(detail), mem_strdup(mend) };
	vec_push(&report->refusals, refusal);
}

void hook_report_release(struct hook_report *report)
{
	for (size_t i = 0; i < report->refusals.len; i++) {
		free(report->refusals.at[i].what);
		free(report->refusals.at[i].detail);
		free(report->refusals.at[i].mend);
	}
	vec_release(&report->refusals);
}

/* What git tells a hook is about the real repository; the checks are to see the tree's. */
static void clean_environment(void)
{
	struct strlist names CLEANUP(strlist_release) = { 0 };
	for (char **at = environ; *at; at++) {
		if (text_starts(*at, "GIT_"))
			strlist_take(&names, mem_strndup(*at, strcspn(*at, "=")));
	}
	for (size_t i = 0; i < names.len; i++)
		unsetenv(names.at[i]);
}

/* What a target has printed so far. */
struct printed {
	const struct target *target;
	struct buf text;
};

struct pre_commit {
	const struct hook_request *request;
	struct hook_report *report;
	struct buf root;      /* of the project, in the work tree */
	struct buf below;     /* of the project under the top of the repository: "" or "sub" */
	struct buf tree_top;
	struct buf tree_root; /* of the project, in the tree */
	struct git_repo *repo;
	struct lock *lock;
	struct strlist changed;
	struct project *staged;
	VEC(struct printed) printed; /* by targets that are not done */
	struct buf output;    /* of what failed */
	struct strlist failed;
};

static void pre_commit_release(struct pre_commit *run)
{
	project_free(run->staged);
	lock_release(run->lock);
	git_close(run->repo);
	buf_release(&run->root);
	buf_release(&run->below);
	buf_release(&run->tree_top);
	buf_release(&run->tree_root);
	strlist_release(&run->changed);
	for (size_t i = 0; i < run->printed.len; i++)
		buf_release(&run->printed.at[i].text);
	vec_release(&run->printed);
	buf_release(&run->output);
	strlist_release(&run->failed);
}

static void say(const struct pre_commit *run, const char *doing)
{
	if (run->request->progress)
		run->request->progress(run->request->progress_ctx, doing);
}

static int find_repository(struct pre_commit *run, struct err *err)
{
	struct buf cwd CLEANUP(buf_release) = BUF_INIT;
	if (!run->request->dir && path_cwd(&cwd, err) < 0)
		return -1;
	if (project_find_root(run->request->dir ? run->request->dir : cwd.data, &run->root, err) < 0 ||
	    git_open(run->root.data, &run->repo, err) < 0)
		return -1;
	const char *top = run->repo ? git_top(run->repo) : NULL;
	if (!top) {
		err_set(err, ERR_CONFIG, "%s is not in the work tree of a git repository", run->root.data);
		return err_hint(err, "the hook checks what is staged in one");
	}
	if (path_inside(top, run->root.data) && !text_eq(top, run->root.data))
		path_relative(&run->below, top, run->root.data);
	return git_staged_paths(run->repo, &run->changed, err);
}

static int lock_tree(struct pre_commit *run, const char *base, struct err *err)
{
	struct lock_holder holder;
	if (lock_try(base, "lock", "mlmake hook run pre-commit", &run->lock, &holder, err) < 0)
		return -1;
	if (run->lock)
		return 0;
	err_set(err, ERR_LOCKED, "another commit is being checked in %s (process %ld)", run->root.data, (long)holder.pid);
	return err_hint(err, "wait for it, then commit again");
}

/* The tree as it would be committed, and the project in it. */
static int prepare_tree(struct pre_commit *run, struct err *err)
{
	struct buf base CLEANUP(buf_release) = BUF_INIT;
	if (workdir_path(run->root.data, "hook", &base, err) < 0 || lock_tree(run, base.data, err) < 0 ||
	    hook_tree_update(run->repo, base.data, &run->tree_top, err) < 0)
		return -1;
	path_join(&run->tree_root, run->tree_top.data, run->below.data);
	clean_environment();
	if (!fs_is_dir(run->tree_root.data))
		return 0;
	struct project_options options = { .dir = run->tree_root.data, .provider = run->request->provider };
	if (project_load(&options, &run->staged, err) < 0)
		return err_note(err, "in what is staged");
	return 0;
}

static int run_checks(struct pre_commit *run, struct err *err)
{
	OWNED char *prefix = mem_printf("%s%s", run->below.data, run->below.len ? "/" : "");
	struct hook_scene scene = {
		.root = run->root.data,
		.tree_top = run->tree_top.data,
		.staged = run->staged,
		.changed = &run->changed,
		.prefix = prefix,
	};
	for (size_t i = 0; i < run->request->check_count; i++) {
		const struct hook_check *check = &run->request->checks[i];
		say(run, check->name);
		if (check->run(run->request->check_ctx, &scene, run->report, err) < 0)
			return err_note(err, "checking %s before the commit", check->name);
	}
	return 0;
}

static struct buf *printed_by(struct pre_commit *run, const struct target *target)
{
	for (size_t i = 0; i < run->printed.len; i++) {
		if (run->printed.at[i].target == target)
			return &run->printed.at[i].text;
	}
	vec_push(&run->printed, (struct printed){ target, BUF_INIT });
	return &run->printed.at[run->printed.len - 1].text;
}

/* What succeeds says nothing. */
static void on_run_event(void *ctx, const struct run_event *event)
{
	struct pre_commit *run = ctx;
	if (!event->target)
		return;
	struct buf *text = printed_by(run, event->target);
	if (event->kind == RUN_STARTED)
		say(run, event->target->name);
	if (event->kind == RUN_OUTPUT && text->len < MAX_OUTPUT)
		buf_add(text, event->bytes, event->len);
	if (event->kind != RUN_FINISHED)
		return;
	if (event->outcome == RUN_FAILED) {
		strlist_add(&run->failed, event->target->name);
		buf_add(&run->output, text->data, text->len);
		if (text->len >= MAX_OUTPUT)
			buf_addstr(&run->output, "\n... (cut off)\n");
		if (event->message)
			buf_addf(&run->output, "%s\n", event->message);
	}
	buf_release(text);
}

static void refuse_lint(struct pre_commit *run)
{
	struct buf names CLEANUP(buf_release) = BUF_INIT;
	for (size_t i = 0; i < run->failed.len; i++)
		buf_addf(&names, "%s%s", i ? ", " : "", run->failed.at[i]);
	OWNED char *what = mem_printf("%s failed on what is staged", names.len ? names.data : "a check");
	OWNED char *mend = mem_printf("mend it, `git add` what you changed, and commit again; `mlmake %s` checks the work tree",
				      run->failed.len ? run->failed.at[0] : "lint");
	hook_refuse(run->report, what, run->output.data, mend);
}

/* `hook: true` targets, and lint unless it says `hook: false`. */
static int run_targets(struct pre_commit *run, struct err *err)
{
	VEC(const char *) names = { 0 };
	for (size_t i = 0; i < run->staged->target_count; i++) {
		const struct target *target = &run->staged->targets[i];
		if (target->hook == HOOK_ON || (target->hook == HOOK_DEFAULT && text_eq(target->name, "lint")))
			vec_push(&names, target->name);
	}
	struct plan plan CLEANUP(plan_release) = { 0 };
	struct run_summary summary = { 0 };
	struct run_options options = { .keep_going = true };
	struct run_sink sink = { on_run_event, run };
	int rc = 0;
	if (names.len) {
		rc = plan_make(run->staged, names.at, names.len, &plan, err);
		if (rc == 0)
			rc = hook_link_environments(run->staged, &plan, run->root.data, err);
		if (rc == 0)
			rc = engine_run(run->staged, &plan, &options, &sink, &summary, err);
	}
	vec_release(&names);
	run->report->signal_number = summary.signal_number;
	if (rc == 0 && !summary.signal_number && summary.failed)
		refuse_lint(run);
	return rc;
}

int hook_pre_commit(const struct hook_request *request, struct hook_report *ret, struct err *err)
{
	struct pre_commit run CLEANUP(pre_commit_release) = {
		.request = request,
		.report = ret,
		.root = BUF_INIT,
		.below = BUF_INIT,
		.tree_top = BUF_INIT,
		.tree_root = BUF_INIT,
		.output = BUF_INIT,
	};
	if (find_repository(&run, err) < 0)
		return -1;
	ret->nothing_staged = run.changed.len == 0;
	if (ret->nothing_staged)
		return 0;
	if (prepare_tree(&run, err) < 0)
		return -1;
	/* The commit removes the project altogether: nothing to check. */
	if (!run.staged)
		return 0;
	if (run_checks(&run, err) < 0)
		return -1;
	return run_targets(&run, err);
}
