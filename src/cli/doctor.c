#include "cli/doctor.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/text.h"
#include "engine/environment.h"
#include "engine/tools.h"
#include "features/data/data.h"
#include "net/http.h"
#include "store/state.h"
#include "store/workdir.h"
#include "vcs/git.h"

#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#define VERSION_MAX ((size_t)64 << 10)

void findings_release(struct findings *findings)
{
	for (size_t i = 0; i < findings->list.len; i++) {
		struct finding *one = &findings->list.at[i];
		free(one->name);
		free(one->detail);
		free(one->needed_by);
		free(one->hint);
	}
	vec_release(&findings->list);
}

/* hint counts only where something is missing. */
static void add(struct findings *ret, enum finding_state state, const char *name, const char *detail, const char *needed_by, const char *hint)
{
	bool there = state == FINDING_OK;
	struct finding one = { state, mem_strdup(name), mem_strdup(detail), mem_strdup(needed_by), there ? NULL : mem_strdup(hint) };
	vec_push(&ret->list, one);
}

/* "apt install PACKAGE" in the words of this system. */
static char *install_hint(const char *package)
{
	static const char *const managers[][2] = {
		{ "apt-get", "apt install" }, { "dnf", "dnf install" }, { "zypper", "zypper install" }, { "apk", "apk add" }, { "pacman", "pacman -S" },
	};
	const char *path = getenv("PATH");
	for (size_t i = 0; i < ARRAY_LEN(managers); i++) {
		struct buf found CLEANUP(buf_release) = BUF_INIT;
		if (proc_find(managers[i][0], path ? path : "", &found))
			return mem_printf("%s %s", managers[i][1], package);
	}
	return mem_printf("install %s", package);
}

/* The first line that a command prints; false if it does not end well. */
static bool first_line(const char *const *argv, struct buf *out)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf errout CLEANUP(buf_release) = BUF_INIT;
	struct proc_spec spec = PROC_SPEC_INIT;
	struct proc_capture capture = { .out = out, .errout = &errout, .max = VERSION_MAX };
	spec.argv = argv;
	if (proc_run(&spec, &capture, &ignored) < 0 || capture.ret_exit != 0)
		return false;
	buf_truncate(out, strcspn(out->data, "\n"));
	return true;
}

/* A program of this machine: its version and place. */
static bool look_for(struct findings *ret, const char *name, const char *version_option, const char *needed_by, const char *hint)
{
	const char *path = getenv("PATH");
	struct buf place CLEANUP(buf_release) = BUF_INIT;
	if (!proc_find(name, path ? path : "", &place)) {
		if (hint)
			add(ret, needed_by ? FINDING_MISSING : FINDING_OPTIONAL, name, "not installed", needed_by, hint);
		return false;
	}
	struct buf version CLEANUP(buf_release) = BUF_INIT;
	const char *const argv[] = { place.data, version_option, NULL };
	if (version_option && first_line(argv, &version) && version.len)
		buf_addf(&version, " (%s)", place.data);
	else
		buf_setstr(&version, place.data);
	add(ret, FINDING_OK, name, version.data, needed_by, NULL);
	return true;
}

static bool has_rule(const struct project *project, const char *name)
{
	for (size_t i = 0; i < project->rule_count; i++)
		if (strcmp(project->rules[i].name, name) == 0 && project->rules[i].targets.len)
			return true;
	return false;
}

static void look_at_python(const struct project *project, struct findings *ret)
{
	bool needed = has_rule(project, "python-pip");
	OWNED char *python_hint = install_hint("python3");
	OWNED char *venv_hint = install_hint("python3-venv");
	const char *by = needed ? "install" : NULL;
	if (!look_for(ret, "python3", "--version", by, python_hint))
		return;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	const char *const argv[] = { "python3", "-c", "import venv, ensurepip", NULL };
	if (first_line(argv, &out))
		add(ret, FINDING_OK, "python3 venv", "", by, NULL);
	else
		add(ret, needed ? FINDING_MISSING : FINDING_OPTIONAL, "python3 venv", "the modules venv and ensurepip are not there", by, venv_hint);
}

static void look_at_builders(const struct project *project, struct findings *ret)
{
	static const char *const names[] = { "buildah", "podman", "docker" };
	OWNED char *hint = install_hint("buildah");
	const char *by = has_rule(project, "dockerfile") ? "build" : NULL;
	bool any = false;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		any |= look_for(ret, names[i], "--version", by, NULL);
	if (!any)
		add(ret, by ? FINDING_MISSING : FINDING_OPTIONAL, "buildah, podman or docker", "none of them is installed", by, hint);
}

static void look_at_git(const struct project *project, struct findings *ret)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct git_repo *repo CLEANUP(git_close_ptr) = NULL;
	OWNED char *dot_git = path_joined(project->root, ".git");
	OWNED char *git_hint = install_hint("git");
	OWNED char *library_hint = install_hint("libgit2-1.5");
	const char *by = fs_exists(dot_git) ? "this git repository" : NULL;
	look_for(ret, "git", "--version", by, git_hint);
	if (git_open(project->root, &repo, &err) == 0)
		add(ret, FINDING_OK, "libgit2", "", by, NULL);
	else
		add(ret, by ? FINDING_MISSING : FINDING_OPTIONAL, "libgit2", err.message, by, err.hint ? err.hint : library_hint);
}

/* A remote that is reached by HTTP; owned. NULL if there is none. */
static char *http_remote(const struct project *project)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct data_repo *repo = NULL;
	struct data_remote_list remotes = { 0 };
	char *found = NULL;
	if (data_open(project->root, NULL, &repo, &ignored) == 0 && data_remote_list(repo, &remotes, &ignored) == 0)
		for (size_t i = 0; i < remotes.len && !found; i++)
			if (text_starts(remotes.at[i].url, "s3:") || text_starts(remotes.at[i].url, "http"))
				found = mem_printf("the remote %s", remotes.at[i].name);
	data_remote_list_release(&remotes);
	data_close(repo);
	return found;
}

static void look_at_curl(const struct project *project, struct findings *ret)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct loop *loop = NULL;
	struct http *http = NULL;
	const struct http_config config = { 0 };
	OWNED char *by = http_remote(project);
	OWNED char *hint = install_hint("libcurl4");
	if (loop_new(&loop, &err) == 0 && http_new(&config, loop, &http, &err) == 0)
		add(ret, FINDING_OK, "libcurl", "", by, NULL);
	else
		add(ret, by ? FINDING_MISSING : FINDING_OPTIONAL, "libcurl", err.message, by, hint);
	if (http)
		http_free(http);
	if (loop)
		loop_free(loop);
}

static const char *file_system_name(unsigned long type)
{
	static const struct {
		unsigned long type;
		const char *name;
	} known[] = {
		{ 0xef53, "ext4" }, { 0x58465342, "xfs" }, { 0x9123683e, "btrfs" }, { 0x01021994, "tmpfs" }, { 0x794c7630, "overlay" },
		{ 0x2fc12fc1, "zfs" }, { 0x6969, "nfs" }, { 0x65735546, "fuse" }, { 0xf2f52010, "f2fs" }, { 0x01021997, "9p" },
		{ 0xff534d42, "cifs" }, { 0xfe534d42, "smb2" }, { 0xca451a4e, "bcachefs" },
	};
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (known[i].type == (type & 0xffffffffu))
			return known[i].name;
	return NULL;
}

static void look_at_file_system(const struct project *project, struct findings *ret)
{
	struct statfs st;
	if (statfs(project->root, &st) < 0)
		return;
	unsigned long type = (unsigned long)st.f_type;
	const char *name = file_system_name(type);
	OWNED char *detail = name ? mem_strdup(name) : mem_printf("of type 0x%lx", type);
	if (state_is_network_fs(type))
		add(ret, FINDING_NOTE, "file system", detail, NULL,
		    "on a network: state is kept in the user's cache directory, so that machines do not wait for each other's targets");
	else
		add(ret, FINDING_OK, "file system", detail, NULL, NULL);
}

static void look_at_cache(struct findings *ret)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf dir CLEANUP(buf_release) = BUF_INIT, made CLEANUP(buf_release) = BUF_INIT;
	bool good = workdir_user_cache(&dir, &err) == 0 && fs_mkdirs(dir.data, &err) == 0 && fs_temp_dir(dir.data, "doctor-", &made, &err) == 0 &&
		    fs_remove_tree(made.data, &err) == 0;
	if (good)
		add(ret, FINDING_OK, "output cache", dir.data, "every target", NULL);
	else
		add(ret, FINDING_MISSING, "output cache", err.message, "every target", "set MLMAKE_CACHE_DIR to a directory that can be written to");
}

/* Programs that targets run */

struct wanted {
	struct strlist by; /* names of targets */
	bool later;        /* another target may bring it: it is looked for when that has run */
};

static void free_wanted(void *pointer)
{
	struct wanted *wanted = pointer;
	strlist_release(&wanted->by);
	free(wanted);
}

static void want(struct map *map, const struct project *project, const struct target *target, const char *word)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT, place CLEANUP(buf_release) = BUF_INIT;
	environment_add_path(&path, project->root, target);
	if (strchr(word, '/') || proc_find(word, path.data, &place))
		return;
	struct map_entry *entry = map_entry(map, word);
	if (!entry->value)
		entry->value = mem_alloc(sizeof(struct wanted));
	struct wanted *wanted = entry->value;
	wanted->later |= target->path_front.len > 0;
	if (!strlist_has(&wanted->by, target->name))
		strlist_add(&wanted->by, target->name);
}

/* The first program of a command: what comes after it may be a fallback, or text that only looks like a program. */
static void want_programs(struct map *map, const struct project *project, const struct target *target)
{
	for (size_t i = 0; i < target->run.len; i++) {
		struct strlist words CLEANUP(strlist_release) = { 0 };
		OWNED char *line = mem_strndup(target->run.at[i], strcspn(target->run.at[i], "\n|"));
		if (!strstr(line, "command -v"))
			tools_words(line, &words);
		if (words.len && !target->inferred)
			want(map, project, target, words.at[0]);
	}
	for (size_t i = 0; i < target->settings->tools.len; i++)
		want(map, project, target, target->settings->tools.at[i].name);
	if (target->settings->shell.len)
		want(map, project, target, target->settings->shell.at[0]);
}

static void look_at_programs(const struct project *project, struct findings *ret)
{
	struct map map = MAP_INIT;
	for (size_t i = 0; i < project->target_count; i++)
		want_programs(&map, project, &project->targets[i]);
	for (size_t i = 0; i < map.len; i++) {
		const struct wanted *wanted = map.entries[i].value;
		struct buf by CLEANUP(buf_release) = BUF_INIT;
		for (size_t k = 0; k < wanted->by.len; k++)
			buf_addf(&by, "%s%s", k ? ", " : "", wanted->by.at[k]);
		bool told = false;
		for (size_t k = 0; k < ret->list.len; k++)
			told |= strcmp(ret->list.at[k].name, map.entries[i].key) == 0 && ret->list.at[k].state == FINDING_MISSING;
		if (told)
			continue;
		if (wanted->later)
			add(ret, FINDING_NOTE, map.entries[i].key, "not there yet", by.data, "what these targets need may bring it");
		else
			add(ret, FINDING_MISSING, map.entries[i].key, "not on PATH", by.data, "install it, or put its directory on PATH");
	}
	map_release_values(&map, free_wanted);
}

void doctor_look(const struct project *project, struct findings *ret)
{
	look_at_python(project, ret);
	look_at_git(project, ret);
	look_at_builders(project, ret);
	look_for(ret, "dvc", NULL, NULL, "not needed: mlmake reads and writes its formats; pipx install 'dvc[s3]' for those who want it");
	look_at_curl(project, ret);
	look_at_cache(ret);
	look_at_file_system(project, ret);
	look_at_programs(project, ret);
}
