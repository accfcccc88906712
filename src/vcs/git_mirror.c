#include "vcs/git_mirror.h"

#include "base/fs.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/text.h"
#include "formats/digest.h"
#include "store/workdir.h"
#include "vcs/git_revs.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#define MAX_MIRRORS 20u
#define MAX_BYTES ((uint64_t)8 << 30)
#define MAX_PACKS 50u
#define MAX_OUTPUT ((size_t)1 << 20)
#define WAIT_MS 600000
#define PAUSE_NS 50000000

bool git_is_url(const char *text)
{
	if (strstr(text, "://"))
		return true;
	const char *colon = strchr(text, ':');
	return colon && colon > text && !memchr(text, '/', (size_t)(colon - text)) && !text_starts(text, ".");
}

char *git_url_shown(const char *url)
{
	const char *host = strstr(url, "://");
	if (!host)
		return mem_strdup(url);
	host += 3;
	size_t len = strcspn(host, "/");
	const char *at = memchr(host, '@', len), *colon = memchr(host, ':', len);
	if (!at || !colon || colon > at)
		return mem_strdup(url);
	return mem_printf("%.*s:***%s", (int)(colon - url), url, at);
}

static int check_url(const char *url, struct err *err)
{
	static const char *const schemes[] = { "file://", "git://", "http://", "https://", "ssh://", "git+ssh://" };
	bool known = !strstr(url, "://") && git_is_url(url) && !strstr(url, "::");
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		known = known || strncasecmp(url, schemes[i], strlen(schemes[i])) == 0;
	if (known && url[0] != '-')
		return 0;
	char *shown OWNED = git_url_shown(url);
	err_set(err, ERR_CONFIG, "'%s' is no address of a git repository that can be read", shown);
	return err_hint(err, "a directory, file://, https://, ssh:// or host:path");
}

/* Waited for, unless wait_ms is 0; *ret_got says. */
static int lock_file(const char *path, int how, uint64_t wait_ms, int *ret_fd, bool *ret_got, struct err *err)
{
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot open the lock %s", path);
	uint64_t start = loop_now_ms();
	while (sys.flock(fd, how | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_set_errno(err, ERR_FAILED, errno, "cannot lock %s", path);
		*ret_got = false;
		if (!wait_ms)
			return 0;
		if (loop_now_ms() - start > wait_ms)
			return err_set(err, ERR_LOCKED, "%s is held by another process", path);
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	*ret_fd = fd;
	*ret_got = true;
	fd = -1;
	return 0;
}

/* Runs git with an environment that no other repository shines through. */
static int run_git(const char *const *args, size_t count, struct buf *out, int *ret_exit, struct err *err)
{
	static const char *const before[] = {
		"env", "-u", "GIT_DIR", "-u", "GIT_WORK_TREE", "-u", "GIT_INDEX_FILE", "-u", "GIT_OBJECT_DIRECTORY", "-u",
		"GIT_ALTERNATE_OBJECT_DIRECTORIES", "-u", "GIT_COMMON_DIR", "-u", "GIT_NAMESPACE", "-u", "GIT_QUARANTINE_PATH", "-u", "GIT_PREFIX",
		"GIT_ALLOW_PROTOCOL=file:git:http:https:ssh:git+ssh", "LC_ALL=C", NULL, "git", "-c", "core.hooksPath=/dev/null", "-c",
		"gc.auto=0", "-c", "maintenance.auto=false", "-c", "fetch.recurseSubmodules=false", "-c", "core.fsmonitor=false",
	};
	VEC(const char *) argv = { 0 };
	bool terminal = isatty(STDIN_FILENO);
	for (size_t i = 0; i < ARRAY_LEN(before); i++)
		vec_push(&argv, before[i] ? before[i] : terminal ? "GIT_TERMINAL_PROMPT=1" : "GIT_TERMINAL_PROMPT=0");
	for (size_t i = 0; i < count; i++)
		vec_push(&argv, args[i]);
	vec_push(&argv, NULL);
	struct proc_spec spec = PROC_SPEC_INIT;
	spec.argv = argv.at;
	spec.stdin_fd = terminal ? STDIN_FILENO : -1;
	struct proc_capture capture = { .out = out, .errout = out, .max = MAX_OUTPUT };
	int status = proc_run(&spec, &capture, err);
	*ret_exit = capture.ret_exit;
	vec_release(&argv);
	return status < 0 ? err_hint(err, "other repositories are read with git: apt-get install git") : 0;
}

/* git's last lines, without the password that may stand in them. */
static int git_failed(const char *url, struct buf *out, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	char *shown OWNED = git_url_shown(url);
	for (const char *at = out->data; *at;) {
		if (text_starts(at, url)) {
			buf_addstr(&text, shown);
			at += strlen(url);
		} else
			buf_addch(&text, *at++);
	}
	while (text.len && isspace((unsigned char)text.data[text.len - 1]))
		buf_truncate(&text, text.len - 1);
	const char *cause = strstr(text.data, "fatal: ");
	err_set(err, ERR_NET, "cannot read the git repository %s: %s", shown, cause ? cause + 7 : text.data);
	return err_hint(err, "git ls-remote %s shows whether it can be reached", shown);
}

static int fetch(const char *dir, const char *url, const char *commit, struct err *err)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	int code;
	const char *const init[] = { "init", "-q", "--bare", "--template=", dir };
	if (!fs_is_dir(dir) && (run_git(init, ARRAY_LEN(init), &out, &code, err) < 0 || (code && git_failed(url, &out, err))))
		return -1;
	buf_truncate(&out, 0);
	const char *const all[] = { "-C", dir, "fetch", "-q", "--prune", "--no-tags", "--no-write-fetch-head", "--", url,
				    "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", "+HEAD:" GIT_MIRROR_HEAD };
	if (run_git(all, ARRAY_LEN(all), &out, &code, err) < 0)
		return -1;
	if (code)
		return git_failed(url, &out, err);
	if (!commit)
		return 0;
	/* A commit that no branch holds any more: some servers give it to those who know its name. */
	struct buf ignored CLEANUP(buf_release) = BUF_INIT;
	char *ref OWNED = mem_printf("+%s:refs/mlmake/commits/%s", commit, commit);
	const char *const one[] = { "-C", dir, "cat-file", "-e", commit };
	const char *const get[] = { "-C", dir, "fetch", "-q", "--no-tags", "--no-write-fetch-head", "--", url, ref };
	if (run_git(one, ARRAY_LEN(one), &ignored, &code, err) < 0 || (code && run_git(get, ARRAY_LEN(get), &ignored, &code, err) < 0))
		return -1;
	return 0;
}

static bool is_commit_name(const char *rev)
{
	return rev && strlen(rev) == 40 && strspn(rev, "0123456789abcdef") == 40;
}

/* Opens the copy if it is one, and whether it has the commit. */
static bool has_commit(const char *dir, const char *rev)
{
	struct git_repo *git CLEANUP(git_close_ptr) = NULL;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	char commit[GIT_HEX];
	return is_commit_name(rev) && fs_is_dir(dir) && git_open(dir, &git, &ignored) == 0 && git && git_resolve(git, rev, commit, &ignored) == 0;
}

/* What keeps the copies few */

struct kept {
	char *path;
	int64_t used_ns;
	uint64_t bytes;
};

static int compare_kept(const void *a, const void *b)
{
	const struct kept *left = a, *right = b;
	return left->used_ns > right->used_ns ? -1 : left->used_ns < right->used_ns;
}

static int add_size(void *ctx, const struct fs_entry *entry, struct err *err UNUSED)
{
	uint64_t *sum = ctx;
	*sum += S_ISREG(entry->st->st_mode) ? (uint64_t)entry->st->st_size : 0;
	return 0;
}

static void remove_mirror(const char *path)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	char *use OWNED = path_joined(path, "use.lock"), *fetching OWNED = path_joined(path, "fetch.lock");
	int use_fd CLEANUP(fs_close_fd) = -1, fetch_fd CLEANUP(fs_close_fd) = -1;
	bool got = false;
	if (lock_file(fetching, LOCK_EX, 0, &fetch_fd, &got, &ignored) < 0 || !got ||
	    lock_file(use, LOCK_EX, 0, &use_fd, &got, &ignored) < 0 || !got || fs_remove_tree(path, &ignored) < 0)
		return;
}

static void sweep(const char *parent)
{
	VEC(struct kept) list = { 0 };
	int fd = sys.openat(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : sys.fdopendir(fd);
	if (!dir) {
		fs_close_fd(&fd);
		return;
	}
	for (struct dirent *entry; (entry = sys.readdir(dir));) {
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		struct stat st;
		struct kept kept = { .path = path_joined(parent, entry->d_name) };
		char *use OWNED = path_joined(kept.path, "use.lock");
		if (entry->d_name[0] == '.' || sys.fstatat(AT_FDCWD, use, &st, 0) < 0 || fs_walk(kept.path, add_size, &kept.bytes, &ignored) < 0) {
			free(kept.path);
			continue;
		}
		kept.used_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
		vec_push(&list, kept);
	}
	closedir(dir);
	vec_sort(&list, compare_kept);
	uint64_t bytes = 0;
	for (size_t i = 0; i < list.len; i++) {
		bytes += list.at[i].bytes;
		if (i && (i >= MAX_MIRRORS || bytes > MAX_BYTES))
			remove_mirror(list.at[i].path);
		free(list.at[i].path);
	}
	vec_release(&list);
}

static int count_packs(void *ctx, const struct fs_entry *entry, struct err *err UNUSED)
{
	unsigned *count = ctx;
	*count += text_ends(entry->rel, ".pack");
	return 0;
}

/* Every fetch leaves a pack behind. */
static int join_packs(const char *dir, struct err *err)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	unsigned packs = 0;
	int code;
	char *pack_dir OWNED = path_joined(dir, "objects/pack");
	const char *const gc[] = { "-C", dir, "gc", "-q" };
	if (!fs_is_dir(pack_dir))
		return 0;
	if (fs_walk(pack_dir, count_packs, &packs, err) < 0)
		return -1;
	return packs <= MAX_PACKS ? 0 : run_git(gc, ARRAY_LEN(gc), &out, &code, err);
}

static int bring_up_to_date(const char *top, const char *dir, const char *url, const char *rev, struct err *err)
{
	char *fetching OWNED = path_joined(top, "fetch.lock");
	int fd CLEANUP(fs_close_fd) = -1;
	bool got;
	if (lock_file(fetching, LOCK_EX, WAIT_MS, &fd, &got, err) < 0)
		return -1;
	if (has_commit(dir, rev))
		return 0;
	if (join_packs(dir, err) < 0)
		return -1;
	return fetch(dir, url, is_commit_name(rev) ? rev : NULL, err);
}

int git_mirror_open(struct git_mirror *mirror, const char *url, const char *rev, struct err *err)
{
	struct buf parent CLEANUP(buf_release) = BUF_INIT;
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	bool got;
	if (check_url(url, err) < 0 || workdir_user_cache(&parent, err) < 0)
		return -1;
	buf_addstr(&parent, "/repos");
	digest_bytes(DIGEST_SHA256, url, strlen(url), &digest);
	digest_hex(&digest, hex);
	char *top OWNED = path_joined(parent.data, hex);
	char *dir OWNED = path_joined(top, "repo.git");
	char *use OWNED = path_joined(top, "use.lock");
	if (fs_mkdirs(top, err) < 0 || lock_file(use, LOCK_SH, WAIT_MS, &mirror->use_fd, &got, err) < 0)
		return -1;
	(void)sys.futimens(mirror->use_fd, NULL); /* when it was last used */
	if (bring_up_to_date(top, dir, url, rev, err) < 0)
		return -1;
	sweep(parent.data);
	if (git_open(dir, &mirror->git, err) < 0)
		return -1;
	return mirror->git ? 0 : err_set(err, ERR_FAILED, "%s is not a git repository", dir);
}

void git_mirror_close(struct git_mirror *mirror)
{
	git_close(mirror->git);
	mirror->git = NULL;
	fs_close_fd(&mirror->use_fd);
}
