/* The text of the workflow: templates/ci with their holes filled from the project. */
#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "features/ci/ci.h"
#include "features/ci/fill.h"
#include "features/ci/jobs.h"
#include "features/ci/pins.h"
#include "formats/ini.h"

#include <string.h>

#define SCHEMA 1
#define DEFAULT_TIMEOUT_MINUTES 60
#define SETUP_MINUTES 15 /* on top of a target's own timeout */
#define DATA_ENVIRONMENT "mlmake-data"
#define RESULTS_ENVIRONMENT "mlmake-results"

/* Where tracked data can be fetched from, by the committed configuration alone: what one machine adds must not change the workflow. */
enum remote { REMOTE_NONE, REMOTE_S3, REMOTE_DIR };

struct render {
	const struct ci_request *request;
	const struct project *project;
	struct yaml_doc pins;
	struct ci_jobs jobs;
	struct tracked_list tracked;
	char *subdir; /* of the project below the repository; "" at its top */
	char *gate;   /* name of the job over all others */
	bool python;
	enum remote remote;
	enum remote results; /* where `cache: {remote: NAME}` shares them */
	const struct ci_job *job; /* being rendered */
};

static void render_release(struct render *render)
{
	yaml_release(&render->pins);
	ci_jobs_release(&render->jobs);
	tracked_list_release(&render->tracked);
	free(render->subdir);
	free(render->gate);
}

static bool project_has(const struct render *render, const char *name)
{
	OWNED char *path = path_joined(render->project->root, name);
	return fs_is_file(path);
}

/* Where the interpreter's version is declared; without a declaration, the one of the runner's distribution. */
static int add_python_version(struct render *render, struct buf *out, struct err *err)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	OWNED char *pyproject = path_joined(render->project->root, "pyproject.toml");
	const char *file = NULL;
	if (project_has(render, ".python-version"))
		file = ".python-version";
	else if (fs_is_file(pyproject) && fs_read_file(pyproject, 1 << 20, &text, err) < 0)
		return -1;
	else if (strstr(text.data, "requires-python"))
		file = "pyproject.toml";
	if (!file) {
		buf_addstr(out, "python-version: '3.12'");
		return 0;
	}
	path_join(&path, render->subdir, file);
	buf_addstr(out, "python-version-file: ");
	return fill_scalar(out, "the project's path", path.data, err);
}

static int look_up_python(void *ctx, const char *name, struct buf *out, struct err *err)
{
	struct render *render = ctx;
	if (text_eq(name, "version"))
		return add_python_version(render, out, err);
	if (text_starts(name, "uses:"))
		return pins_add(&render->pins, name + strlen("uses:"), out, err);
	return err_set(err, ERR_BUG, "unknown hole '%s'", name);
}

static int look_up_install(void *ctx, const char *name, struct buf *out, struct err *err)
{
	struct render *render = ctx;
	if (text_eq(name, "script"))
		return fill_script(out, "ci.install", render->project->ci.install, err);
	return err_set(err, ERR_BUG, "unknown hole '%s'", name);
}

static int look_up_data(void *ctx, const char *name, struct buf *out, struct err *err)
{
	struct render *render = ctx;
	if (text_eq(name, "env"))
		return render->remote == REMOTE_S3 || render->results == REMOTE_S3 ? fill_template("env-s3.yml", look_up_data, ctx, out, err) : 0;
	return err_set(err, ERR_BUG, "unknown hole '%s'", name);
}

static bool fetches_data(const struct render *render)
{
	return render->job->reads_data && render->remote != REMOTE_NONE;
}

/* Secrets are read in an environment of their own, so that only these jobs see them; it records no deployments. */
static int add_environment(struct render *render, struct buf *out, struct err *err)
{
	const struct ci_options *ci = render->job->target->settings->ci;
	if (ci && ci->environment) {
		buf_addstr(out, "environment: ");
		return fill_scalar(out, "ci.environment", ci->environment, err);
	}
	/* Keys that write are given to pushes to the default branch alone. */
	if (render->results == REMOTE_S3 && render->project->cache.push != CACHE_PUSH_NEVER)
		buf_addstr(out, "environment:\n  # holds the keys of the remote: those of the default branch write results, the others read\n  name: >-\n"
				"    ${{ github.event_name == 'push' && github.ref_name == github.event.repository.default_branch\n"
				"    && '" RESULTS_ENVIRONMENT "' || '" DATA_ENVIRONMENT "' }}\n  deployment: false");
	else if (render->results == REMOTE_S3 || (fetches_data(render) && render->remote == REMOTE_S3))
		buf_addstr(out, "environment:\n  name: " DATA_ENVIRONMENT " # holds the keys of the data remote\n  deployment: false");
	return 0;
}

static int add_permissions(struct render *render, struct buf *out, struct err *err)
{
	const struct target *target = render->job->target;
	const struct ci_options *ci = target->settings->ci;
	for (size_t i = 0; ci && i < ci->permissions.len; i++) {
		const struct env_var *permission = &ci->permissions.at[i];
		const char *name = permission->name, *value = permission->value ? permission->value : "";
		bool known = text_eq(value, "read") || text_eq(value, "write");
		if (!known || !*name || name[strspn(name, "abcdefghijklmnopqrstuvwxyz-")]) {
			err_set(err, ERR_CONFIG, "ci.permissions of target '%s': '%s: %s' is no permission", target->name, name, value);
			err_hint(err, "write it as in a workflow, such as 'id-token: write'; what is left out is none");
			return project_err_at(render->project, &target->place, err);
		}
		if (text_eq(name, "contents") && text_eq(value, "read"))
			continue;
		if (text_eq(name, "contents")) {
			err_set(err, ERR_CONFIG, "ci.permissions of target '%s': contents is read in generated jobs", target->name);
			err_hint(err, "write a workflow of your own for what pushes to the repository");
			return project_err_at(render->project, &target->place, err);
		}
		buf_addf(out, "%s: %s # ci.permissions of %s\n", name, value, target->name);
	}
	return 0;
}

static int add_needs(struct render *render, struct buf *out, struct err *err)
{
	VEC(const char *) ids = { 0 };
	for (size_t i = 0; i < render->job->needs.len; i++)
		vec_push(&ids, render->jobs.at[render->job->needs.at[i]].id);
	int rc = ids.len ? fill_list(out, "a job", ids.at, ids.len, err) : 0;
	vec_release(&ids);
	return rc;
}

static void add_locks(struct render *render, struct buf *out)
{
	static const char *const python[] = { "requirements*.txt", "*.lock", "pyproject.toml" };
	const char *below = render->subdir;
	for (size_t i = 0; render->python && i < ARRAY_LEN(python); i++)
		buf_addf(out, "%s'%s%s%s'", i ? ", " : "", below, *below ? "/" : "", python[i]);
	if (!render->python)
		buf_addf(out, "'%s%smlmake.yaml'", below, *below ? "/" : "");
}

static int add_defaults(struct render *render, struct buf *out, struct err *err)
{
	if (!*render->subdir)
		return 0;
	buf_addstr(out, "defaults:\n  run:\n    working-directory: ");
	return fill_scalar(out, "the project's path", render->subdir, err);
}

/* A scalar made of id and, in a project below the repository's top, its directory: caches of two projects must not meet. */
static void add_cache_name(struct render *render, struct buf *out)
{
	buf_addf(out, "%s-%s", render->gate, render->job->id);
}

static int look_up_job_block(struct render *render, const char *name, struct buf *out, struct err *err)
{
	if (text_eq(name, "environment"))
		return add_environment(render, out, err);
	if (text_eq(name, "permissions"))
		return add_permissions(render, out, err);
	if (text_eq(name, "defaults"))
		return add_defaults(render, out, err);
	if (text_eq(name, "python"))
		return render->python ? fill_template("step-python.yml", look_up_python, render, out, err) : 0;
	if (text_eq(name, "install")) {
		bool own = render->project->ci.install != NULL;
		return fill_template(own ? "step-install.yml" : "step-bootstrap.yml", look_up_install, render, out, err);
	}
	if (text_eq(name, "results"))
		return render->results == REMOTE_S3 ? fill_template("env-s3.yml", look_up_data, render, out, err) : 0;
	if (text_eq(name, "data"))
		return fetches_data(render) ? fill_template("step-data.yml", look_up_data, render, out, err) : 0;
	return err_set(err, ERR_BUG, "unknown hole '%s'", name);
}

static int look_up_job(void *ctx, const char *name, struct buf *out, struct err *err)
{
	struct render *render = ctx;
	const struct target *target = render->job->target;
	const char *runner = target->settings->ci && target->settings->ci->runner ? target->settings->ci->runner : "ubuntu-24.04";
	if (text_eq(name, "id") || text_eq(name, "target"))
		buf_addstr(out, *name == 'i' ? render->job->id : target->name);
	else if (text_eq(name, "name"))
		return fill_scalar(out, "the name of a target", target->name, err);
	else if (text_eq(name, "needs"))
		return add_needs(render, out, err);
	else if (text_eq(name, "runner"))
		return fill_scalar(out, "ci.runner", runner, err);
	else if (text_eq(name, "timeout") && target->settings->timeout_ms)
		buf_addf(out, "%llu", ((unsigned long long)target->settings->timeout_ms + 59999) / 60000 + SETUP_MINUTES);
	else if (text_eq(name, "timeout"))
		buf_addf(out, "%d", DEFAULT_TIMEOUT_MINUTES);
	else if (text_eq(name, "cache"))
		add_cache_name(render, out);
	else if (text_eq(name, "locks"))
		add_locks(render, out);
	else if (text_starts(name, "uses:"))
		return pins_add(&render->pins, name + strlen("uses:"), out, err);
	else
		return look_up_job_block(render, name, out, err);
	return 0;
}

static int add_jobs(struct render *render, struct buf *out, struct err *err)
{
	for (size_t i = 0; i < render->jobs.len; i++) {
		render->job = &render->jobs.at[i];
		if (i)
			buf_addch(out, '\n');
		if (fill_template("job.yml", look_up_job, render, out, err) < 0)
			return err_note(err, "in the job of target '%s'", render->job->target->name);
	}
	return 0;
}

static int add_schedule(struct render *render, struct buf *out, struct err *err)
{
	if (!render->project->ci.schedule)
		return 0;
	buf_addstr(out, "schedule:\n  - cron: ");
	return fill_scalar(out, "ci.schedule", render->project->ci.schedule, err);
}

static int look_up_workflow(void *ctx, const char *name, struct buf *out, struct err *err)
{
	struct render *render = ctx;
	const struct string_list *branches = &render->project->ci.branches;
	if (text_eq(name, "workflow") || text_eq(name, "gate")) {
		buf_addstr(out, render->gate);
		return 0;
	}
	if (text_eq(name, "branches"))
		return fill_list(out, "ci.branches", branches->len ? branches->at : (const char *[]){ "main" },
				 branches->len ? branches->len : 1, err);
	if (text_eq(name, "schedule"))
		return add_schedule(render, out, err);
	if (text_eq(name, "jobs"))
		return add_jobs(render, out, err);
	VEC(const char *) ids = { 0 };
	for (size_t i = 0; i < render->jobs.len; i++)
		vec_push(&ids, render->jobs.at[i].id);
	int rc = 0;
	if (text_eq(name, "all"))
		rc = fill_list(out, "a job", ids.at, ids.len, err);
	else if (text_eq(name, "results"))
		for (size_t i = 0; i < ids.len; i++)
			buf_addf(out, "%s ${{ needs.%s.result }}\n", ids.at[i], ids.at[i]);
	else
		rc = err_set(err, ERR_BUG, "unknown hole '%s'", name);
	vec_release(&ids);
	return rc;
}

/* The project's path below the repository, and what is named after it. */
static int find_names(struct render *render, struct err *err)
{
	const char *root = render->project->root, *top = render->request->repo_root;
	if (!path_inside(top, root))
		return err_set(err, ERR_BUG, "the project at %s is not in the repository at %s", root, top);
	struct buf below CLEANUP(buf_release) = BUF_INIT;
	path_relative(&below, top, root);
	render->subdir = mem_strdup(text_eq(below.data, ".") ? "" : below.data);
	struct buf gate CLEANUP(buf_release) = BUF_INIT;
	buf_addstr(&gate, CI_GATE);
	if (*render->subdir)
		buf_addch(&gate, '-');
	for (const char *at = render->subdir; *at; at++) {
		bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') || *at == '_';
		buf_addch(&gate, plain ? *at : '-');
	}
	render->gate = buf_detach(&gate);
	return 0;
}

static int add_path(const struct render *render, struct buf *out, struct err *err)
{
	const char *path = render->project->ci.path;
	if (!path) {
		buf_addf(out, ".github/workflows/%s.yml", render->gate);
		return 0;
	}
	bool is_yaml = text_ends(path, ".yml") || text_ends(path, ".yaml");
	if (path_is_safe(path) && text_starts(path, ".github/workflows/") && !strchr(path + strlen(".github/workflows/"), '/') && is_yaml) {
		buf_addstr(out, path);
		return 0;
	}
	err_set(err, ERR_CONFIG, "ci.path: GitHub would not look for a workflow at '%s'", path);
	return err_hint(err, "it must be .github/workflows/NAME.yml, counted from the top of the repository");
}

static void add_source(const struct render *render, struct buf *out)
{
	const struct project *project = render->project;
	if (project->config_path) {
		path_join(out, render->subdir, project->config_path);
		return;
	}
	buf_addstr(out, "the files of the project");
}

/* All that the text is made from, in a form that does not depend on the templates. */
static void describe_source(const struct render *render, const char *path, struct buf *out)
{
	const struct ci_settings *ci = &render->project->ci;
	buf_addf(out, "path=%s\nproject=%s\npython=%d\nremote=%d\ninstall=%s\nschedule=%s\n", path, render->subdir, render->python,
		 (int)render->remote, ci->install ? ci->install : "", ci->schedule ? ci->schedule : "");
	for (size_t i = 0; i < ci->branches.len; i++)
		buf_addf(out, "branch=%s\n", ci->branches.at[i]);
	if (render->results != REMOTE_NONE)
		buf_addf(out, "results=%d push=%d\n", (int)render->results, (int)render->project->cache.push);
	for (size_t i = 0; i < render->jobs.len; i++) {
		const struct ci_job *job = &render->jobs.at[i];
		const struct target *target = job->target;
		buf_addf(out, "job=%s data=%d timeout=%llu", target->name, job->reads_data, (unsigned long long)target->settings->timeout_ms);
		for (size_t k = 0; k < job->needs.len; k++)
			buf_addf(out, " needs=%s", render->jobs.at[job->needs.at[k]].target->name);
		for (size_t k = 0; target->settings->ci && k < target->settings->ci->permissions.len; k++)
			buf_addf(out, " %s=%s", target->settings->ci->permissions.at[k].name, target->settings->ci->permissions.at[k].value);
		buf_addf(out, " runner=%s environment=%s\n", target->settings->ci && target->settings->ci->runner ? target->settings->ci->runner : "",
			 target->settings->ci && target->settings->ci->environment ? target->settings->ci->environment : "");
	}
}

static void add_digest(struct buf *out, const struct buf *bytes)
{
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	digest_bytes(DIGEST_SHA256, bytes->data, bytes->len, &digest);
	digest_hex(&digest, hex);
	buf_addstr(out, hex);
}

static void add_header(const struct render *render, const char *path, const struct buf *body, struct buf *out)
{
	struct buf source CLEANUP(buf_release) = BUF_INIT;
	describe_source(render, path, &source);
	buf_addstr(out, "# Generated by mlmake. Do not edit: change ");
	add_source(render, out);
	buf_addf(out, ", then run: mlmake ci generate\n# mlmake-ci: schema=%d project=%s source=", SCHEMA,
		 *render->subdir ? render->subdir : ".");
	add_digest(out, &source);
	buf_addstr(out, " body=");
	add_digest(out, body);
	buf_addch(out, '\n');
}

static void add_results_notes(const struct render *render, struct strlist *notes)
{
	const char *name = render->project->cache.remote;
	if (render->results == REMOTE_S3)
		strlist_add(notes, "results are shared: put keys that read into the environment " DATA_ENVIRONMENT ", keys that write into "
				   RESULTS_ENVIRONMENT ", and let only the default branch use that (docs/ci.md)");
	else if (render->results == REMOTE_DIR)
		strlist_take(notes, mem_printf("results are shared on the remote '%s', which is a directory: hosted runners do not have it", name));
	else if (name)
		strlist_take(notes, mem_printf("cache.remote names '%s', and the committed .dvc/config has no such remote: jobs share no results", name));
}

static void add_notes(const struct render *render, struct strlist *notes)
{
	bool reads = false;
	add_results_notes(render, notes);
	for (size_t i = 0; i < render->jobs.len; i++)
		reads = reads || render->jobs.at[i].reads_data;
	if (!reads)
		return;
	if (render->remote == REMOTE_NONE)
		strlist_add(notes, "jobs read tracked data, but there is no default remote to fetch it from: mlmake data remote add");
	if (render->remote == REMOTE_DIR)
		strlist_add(notes, "jobs fetch tracked data from the default remote, which is a directory: hosted runners do not have it");
	if (render->remote == REMOTE_S3)
		strlist_add(notes, "jobs read tracked data: put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into the secrets of the"
				   " environment " DATA_ENVIRONMENT " (docs/ci.md)");
}

static enum remote kind_of_remote(const struct ini *config, const char *name)
{
	OWNED char *section = name ? mem_printf("remote \"%s\"", name) : NULL;
	const char *url = name ? ini_get(config, section, "url") : NULL;
	return !url ? REMOTE_NONE : text_starts(url, "s3://") ? REMOTE_S3 : REMOTE_DIR;
}

/* The default remote, and that of the results, of the nearest .dvc/config from the project up to the repository's top. */
static int find_remote(struct render *render, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	buf_addstr(&dir, render->project->root);
	for (;;) {
		OWNED char *path = path_joined(dir.data, ".dvc/config");
		if (fs_is_file(path))
			break;
		if (text_eq(dir.data, render->request->repo_root) || !path_inside(render->request->repo_root, dir.data))
			return 0;
		buf_truncate(&dir, (size_t)(strrchr(dir.data, '/') - dir.data));
	}
	OWNED char *path = path_joined(dir.data, ".dvc/config");
	struct ini config CLEANUP(ini_release) = INI_INIT;
	if (ini_read(&config, path, ".dvc/config", err) < 0)
		return -1;
	render->remote = kind_of_remote(&config, ini_get(&config, "core", "remote"));
	render->results = kind_of_remote(&config, render->project->cache.remote);
	return 0;
}

static int render_all(struct render *render, struct ci_workflow *ret, struct err *err)
{
	const struct project *project = render->project;
	struct buf body CLEANUP(buf_release) = BUF_INIT;
	if (find_names(render, err) < 0 || find_remote(render, err) < 0 || pins_load(&render->pins, err) < 0)
		return -1;
	if (project->provider && project->provider->tracked && project->provider->tracked(project->root, &render->tracked, err) < 0)
		return -1;
	if (ci_jobs_select(project, &render->tracked, &render->jobs, err) < 0)
		return -1;
	for (size_t i = 0; i < project->rule_count; i++)
		render->python = render->python || text_starts(project->rules[i].name, "python");
	if (add_path(render, &ret->path, err) < 0 || fill_template("workflow.yml", look_up_workflow, render, &body, err) < 0)
		return -1;
	add_header(render, ret->path.data, &body, &ret->text);
	buf_add(&ret->text, body.data, body.len);
	buf_addstr(&ret->gate, render->gate);
	add_notes(render, &ret->notes);
	return 0;
}

int ci_render(const struct ci_request *request, struct ci_workflow *ret, struct err *err)
{
	struct render render CLEANUP(render_release) = { .request = request, .project = request->project };
	return render_all(&render, ret, err);
}

void ci_workflow_release(struct ci_workflow *workflow)
{
	buf_release(&workflow->text);
	buf_release(&workflow->path);
	buf_release(&workflow->gate);
	strlist_release(&workflow->notes);
}
