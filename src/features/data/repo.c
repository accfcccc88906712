#include "features/data/repo.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "store/hashes.h"
#include "store/workdir.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#define DEFAULT_LOCK_WAIT_MS 60000
#define TELL_AFTER_MS 200 /* metadata changes are short */
#define MAX_IGNORE_FILE ((size_t)1 << 20)

static int find_root(const char *from, struct buf *ret, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	buf_addstr(&dir, from);
	for (;;) {
		char *candidate OWNED = path_joined(dir.data, ".dvc");
		if (fs_is_dir(candidate)) {
			buf_addstr(ret, dir.data);
			return 0;
		}
		if (text_eq(dir.data, "/"))
			break;
		struct buf up CLEANUP(buf_release) = BUF_INIT;
		path_dir(&up, dir.data);
		buf_setstr(&dir, up.data);
	}
	err_set(err, ERR_CONFIG, "%s is in no data repository: there is no .dvc directory here or above", from);
	return err_hint(err, "mlmake data init makes one");
}

int data_open(const char *dir, const struct data_ui *ui, struct data_repo **ret, struct err *err)
{
	struct buf cwd CLEANUP(buf_release) = BUF_INIT, from CLEANUP(buf_release) = BUF_INIT, joined CLEANUP(buf_release) = BUF_INIT;
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	if (path_cwd(&cwd, err) < 0)
		return -1;
	path_join(&joined, cwd.data, dir ? dir : "");
	path_normalize(&from, joined.data);
	if (find_root(from.data, &root, err) < 0)
		return -1;
	struct data_repo *repo = mem_alloc(sizeof(*repo));
	repo->root = buf_detach(&root);
	repo->cwd = buf_detach(&cwd);
	if (ui)
		repo->ui = *ui;
	repo->lock_fd = -1;
	repo->lock_wait_ms = DEFAULT_LOCK_WAIT_MS;
	repo->ignore = ignore_new();
	static const char *const defaults[] = { ".hg/", ".git/", ".git", ".dvc/" };
	for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
		ignore_add_pattern(repo->ignore, "", defaults[i]);
	if (config_load(&repo->config, repo->root, err) < 0) {
		data_close(repo);
		return -1;
	}
	odb_init(&repo->odb, repo->config.cache_dir, repo->config.cache_shared);
	*ret = repo;
	return 0;
}

/* A failure is left to repo_git, which tries again and says so. */
static void open_git(void *ctx, size_t index)
{
	struct data_repo *repo = ctx;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	(void)index;
	repo->git_tried = git_open(repo->root, &repo->git, &ignored) == 0;
}

void repo_git_begin(struct data_repo *repo)
{
	if (repo->git_tried || repo->git_begun || repo->config.no_scm)
		return;
	repo->git_begun = true;
	pool_aside_begin(&repo->git_opening, open_git, repo);
}

static void join_git(struct data_repo *repo)
{
	if (repo->git_begun)
		pool_aside_join(&repo->git_opening);
	repo->git_begun = false;
}

void data_close(struct data_repo *repo)
{
	if (!repo)
		return;
	for (size_t i = 0; i < repo->staging.len; i++)
		temp_dir_drop(&repo->staging.at[i]);
	vec_release(&repo->staging);
	join_git(repo);
	hashes_free(repo->hashes);
	state_close(repo->state);
	while (repo->lock_depth)
		repo_unlock(repo);
	if (repo->odb.dir)
		odb_release(&repo->odb);
	git_close(repo->git);
	ignore_free(repo->ignore);
	map_release(&repo->ignore_read);
	config_release(&repo->config);
	free(repo->root);
	free(repo->cwd);
	free(repo);
}

const char *data_root(const struct data_repo *repo)
{
	return repo->root;
}

void data_set_lock_wait(struct data_repo *repo, uint64_t ms)
{
	repo->lock_wait_ms = ms;
}

char *repo_abs(const struct data_repo *repo, const char *rel)
{
	return path_joined(repo->root, text_eq(rel, ".") ? "" : rel);
}

int repo_path(const struct data_repo *repo, const char *given, struct buf *ret, struct err *err)
{
	struct buf joined CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT;
	if (!*given)
		return err_set(err, ERR_CONFIG, "an empty path was given");
	path_join(&joined, repo->cwd, given);
	path_normalize(&path, joined.data);
	if (!path_inside(repo->root, path.data)) {
		err_set(err, ERR_CONFIG, "%s is outside of the data repository %s", given, repo->root);
		return err_hint(err, "move it into the repository first; mlmake data add PATH --out NAME takes a copy");
	}
	path_relative(ret, repo->root, path.data);
	return 0;
}

int repo_git(struct data_repo *repo, struct git_repo **ret, struct err *err)
{
	join_git(repo);
	if (!repo->git_tried && !repo->config.no_scm && git_open(repo->root, &repo->git, err) < 0)
		return -1;
	repo->git_tried = true;
	if (repo->git && !git_top(repo->git)) {
		git_close(repo->git);
		repo->git = NULL;
	}
	*ret = repo->git;
	return 0;
}

int repo_git_path(struct data_repo *repo, const char *rel, struct buf *ret, struct err *err)
{
	struct buf joined CLEANUP(buf_release) = BUF_INIT;
	const char *top = git_top(repo->git);
	path_join(&joined, repo->root, rel);
	if (!path_inside(top, joined.data))
		return err_set(err, ERR_FAILED, "%s is outside of git's work tree %s", joined.data, top);
	path_relative(ret, top, joined.data);
	return 0;
}

int repo_ignore_enter(struct data_repo *repo, const char *dir, struct err *err)
{
	if (!map_set(&repo->ignore_read, dir, NULL))
		return 0;
	struct buf path CLEANUP(buf_release) = BUF_INIT, text CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&path, "%s/%s%s.dvcignore", repo->root, dir, *dir ? "/" : "");
	if (!fs_is_file(path.data))
		return 0;
	if (fs_read_file(path.data, MAX_IGNORE_FILE, &text, err) < 0)
		return -1;
	ignore_add(repo->ignore, dir, text.data, text.len, true);
	return 0;
}

int repo_ignored(struct data_repo *repo, const char *rel, bool is_dir, bool *ret, struct err *err)
{
	if (repo_ignore_enter(repo, "", err) < 0)
		return -1;
	for (const char *at = strchr(rel, '/'); at; at = strchr(at + 1, '/')) {
		char *dir OWNED = mem_strndup(rel, (size_t)(at - rel));
		if (repo_ignore_enter(repo, dir, err) < 0)
			return -1;
	}
	*ret = ignore_match_with_parents(repo->ignore, rel, is_dir);
	return 0;
}

static void show_hashing(void *ctx, uint64_t bytes)
{
	repo_progress(ctx, "hashing", 0, 0, bytes);
}

int repo_hashes(struct data_repo *repo, struct hashes **ret, struct err *err)
{
	if (!repo->hashes) {
		if (state_open(repo->root, &repo->state, err) < 0)
			return -1;
		const struct strlist *notices = state_notices(repo->state);
		for (size_t i = 0; i < notices->len; i++)
			repo_note(repo, "%s", notices->at[i]);
		state_told(repo->state);
		if (hashes_new(repo->state, repo->root, &repo->hashes, err) < 0)
			return -1;
		hashes_watch(repo->hashes, show_hashing, repo);
	}
	*ret = repo->hashes;
	return 0;
}

int repo_save_hashes(struct data_repo *repo, struct err *err)
{
	if (!repo->hashes)
		return 0;
	if (hashes_save(repo->hashes, err) < 0)
		return -1;
	return state_flush(repo->state, err);
}

void repo_add_command(long pid, struct buf *out)
{
	char *path OWNED = mem_printf("/proc/%ld/cmdline", pid);
	int proc CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	char line[200];
	ssize_t got = proc < 0 ? -1 : sys.read(proc, line, sizeof(line));
	while (got > 0 && (line[got - 1] == ' ' || !line[got - 1]))
		got--;
	for (ssize_t i = 0; i < got; i++)
		buf_addch(out, line[i] ? line[i] : ' ');
}

/* Who holds the lock: " <pid>\n" in it, and that process's name. */
static void describe_holder(int fd, struct buf *out)
{
	char text[32] = { 0 };
	uint64_t pid = 0;
	ssize_t len = sys.pread(fd, text, sizeof(text) - 1, 0);
	char *digits = text + strspn(text, " ");
	digits[strcspn(digits, "\n")] = '\0';
	if (len <= 0 || !text_parse_u64(digits, &pid) || pid > INT32_MAX) {
		buf_addstr(out, "another process");
		return;
	}
	struct buf command CLEANUP(buf_release) = BUF_INIT;
	repo_add_command((long)pid, &command);
	buf_addf(out, "process %llu", (unsigned long long)pid);
	if (command.len)
		buf_addf(out, " (%s)", command.data);
}

static int lock_failed(const char *path, int fd, uint64_t waited_ms, struct err *err)
{
	struct buf holder CLEANUP(buf_release) = BUF_INIT, waited CLEANUP(buf_release) = BUF_INIT;
	describe_holder(fd, &holder);
	text_add_duration(&waited, waited_ms);
	err_set(err, ERR_LOCKED, "%s is held by %s; waited %s", path, holder.data, waited.data);
	return err_hint(err, "wait until it has finished, or longer: --lock-timeout 10m; the lock goes with its process");
}

int repo_flock(struct data_repo *repo, const char *name, int *ret_fd, struct err *err)
{
	char *dir OWNED = repo_abs(repo, ".dvc/tmp");
	char *path OWNED = repo_abs(repo, name);
	if (fs_mkdirs(dir, err) < 0)
		return -1;
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot open the lock %s", path);
	uint64_t start = loop_now_ms();
	bool told = false;
	while (sys.flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_set_errno(err, ERR_FAILED, errno, "cannot lock %s", path);
		uint64_t waited = loop_now_ms() - start;
		if (waited >= repo->lock_wait_ms)
			return lock_failed(name, fd, waited, err);
		if (!told && waited >= TELL_AFTER_MS) {
			struct buf holder CLEANUP(buf_release) = BUF_INIT;
			describe_holder(fd, &holder);
			repo_note(repo, "waiting for %s, which holds %s", holder.data, name);
			told = true;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&text, " %ld\n", (long)getpid());
	if (sys.ftruncate(fd, 0) < 0 || sys.pwrite(fd, text.data, text.len, 0) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot write the lock %s", path);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

int repo_lock(struct data_repo *repo, struct err *err)
{
	if (!repo->lock_depth && repo_flock(repo, ".dvc/tmp/lock", &repo->lock_fd, err) < 0)
		return -1;
	repo->lock_depth++;
	return 0;
}

void repo_unlock(struct data_repo *repo)
{
	if (--repo->lock_depth == 0)
		fs_close_fd(&repo->lock_fd);
}

int repo_check_parents(const struct data_repo *repo, const char *rel, struct err *err)
{
	for (const char *at = strchr(rel, '/'); at; at = strchr(at + 1, '/')) {
		char *part OWNED = mem_strndup(rel, (size_t)(at - rel));
		char *path OWNED = repo_abs(repo, part);
		struct stat st;
		bool exists;
		if (fs_lstat(path, &st, &exists, err) < 0)
			return -1;
		if (!exists)
			return 0;
		if (S_ISDIR(st.st_mode))
			continue;
		err_set(err, ERR_DATA, "%s: %s in its path is %s, not a directory", rel, part,
			S_ISLNK(st.st_mode) ? "a symbolic link" : "a file");
		return err_hint(err, "nothing is written through links; move %s out of the way", part);
	}
	return 0;
}

/* One directory a parent and process; what is staged at a time has a numbered one below it. */
static int staging_area(struct data_repo *repo, const char *parent, const char *prefix, struct temp_dir **ret, struct err *err)
{
	for (size_t i = 0; i < repo->staging.len; i++) {
		*ret = &repo->staging.at[i];
		if (text_starts((*ret)->path, parent) && strrchr((*ret)->path, '/') == (*ret)->path + strlen(parent))
			return 0;
	}
	struct temp_dir made = TEMP_DIR_INIT;
	if (temp_dir_make(&made, parent, prefix, err) < 0)
		return -1;
	vec_push(&repo->staging, made);
	*ret = &repo->staging.at[repo->staging.len - 1];
	return 0;
}

int repo_staging(struct data_repo *repo, const char *dir_rel, struct buf *ret, struct err *err)
{
	char *tmp OWNED = repo_abs(repo, ".dvc/tmp");
	char *wanted OWNED = repo_abs(repo, dir_rel);
	struct stat tmp_st, wanted_st;
	struct temp_dir *area;
	bool tmp_exists, wanted_exists;
	if (fs_mkdirs(tmp, err) < 0 || fs_mkdirs(wanted, err) < 0)
		return -1;
	if (fs_lstat(tmp, &tmp_st, &tmp_exists, err) < 0 || fs_lstat(wanted, &wanted_st, &wanted_exists, err) < 0)
		return -1;
	bool same = tmp_exists && wanted_exists && tmp_st.st_dev == wanted_st.st_dev;
	if (staging_area(repo, same ? tmp : wanted, same ? "staging-" : ".mlmake-staging-", &area, err) < 0)
		return -1;
	return fs_temp_dir(area->path, "s", ret, err);
}

void repo_progress_of(const struct data_repo *repo, const struct data_progress *progress)
{
	if (repo->ui.progress)
		repo->ui.progress(repo->ui.ctx, progress);
}

void repo_progress(const struct data_repo *repo, const char *verb, uint64_t done, uint64_t total, uint64_t bytes)
{
	repo_progress_of(repo, &(struct data_progress){ .verb = verb, .done = done, .total = total, .bytes = bytes });
}

static void say(void (*fn)(void *, const char *), void *ctx, const char *fmt, va_list args)
{
	char *text OWNED = mem_vprintf(fmt, args);
	fn(ctx, text);
}

void repo_note(const struct data_repo *repo, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	if (repo->ui.note)
		say(repo->ui.note, repo->ui.ctx, fmt, args);
	va_end(args);
}

void repo_warn(const struct data_repo *repo, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	if (repo->ui.warn)
		say(repo->ui.warn, repo->ui.ctx, fmt, args);
	va_end(args);
}
