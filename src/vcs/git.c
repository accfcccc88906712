#include "vcs/git.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"

#include <dlfcn.h>
#include <errno.h>
#include <git2.h>
#include <pthread.h>
#include <string.h>

/* Every function of libgit2 that is used. */
#define LIBGIT2_FUNCTIONS(X)             \
	X(git_blob_free)                 \
	X(git_blob_lookup)               \
	X(git_blob_rawcontent)           \
	X(git_blob_rawsize)              \
	X(git_buf_dispose)               \
	X(git_commit_free)               \
	X(git_commit_lookup)             \
	X(git_commit_tree)               \
	X(git_config_free)               \
	X(git_config_get_path)           \
	X(git_config_iterator_free)      \
	X(git_config_iterator_new)       \
	X(git_config_next)               \
	X(git_config_open_default)       \
	X(git_diff_free)                 \
	X(git_diff_get_delta)            \
	X(git_diff_num_deltas)           \
	X(git_diff_tree_to_index)        \
	X(git_error_last)                \
	X(git_ignore_path_is_ignored)    \
	X(git_index_add_all)             \
	X(git_index_add_bypath)          \
	X(git_index_entrycount)          \
	X(git_index_find_prefix)         \
	X(git_index_free)                \
	X(git_index_get_byindex)         \
	X(git_index_get_bypath)          \
	X(git_index_has_conflicts)       \
	X(git_index_open)                \
	X(git_index_path)                \
	X(git_index_read)                \
	X(git_index_remove_bypath)       \
	X(git_index_remove_directory)    \
	X(git_index_write)               \
	X(git_libgit2_init)              \
	X(git_libgit2_opts)              \
	X(git_oid_fromstr)               \
	X(git_oid_tostr)                 \
	X(git_reference_free)            \
	X(git_reference_lookup)          \
	X(git_reference_name_to_id)      \
	X(git_reference_symbolic_target) \
	X(git_reference_type)            \
	X(git_repository_commondir)      \
	X(git_repository_config)         \
	X(git_repository_free)           \
	X(git_repository_index)          \
	X(git_repository_open_ext)       \
	X(git_repository_path)           \
	X(git_repository_set_workdir)    \
	X(git_repository_workdir)        \
	X(git_tree_entry_filemode)       \
	X(git_tree_entry_id)             \
	X(git_tree_entry_name)           \
	X(git_tree_free)                 \
	X(git_tree_walk)

struct libgit2 {
#define X(name) __typeof__(&(name)) name;
	LIBGIT2_FUNCTIONS(X)
#undef X
	char *failure; /* why it could not be loaded; NULL if it was */
};

/* Written once, under `once`; read only after. */
static struct libgit2 lib;
static pthread_once_t once = PTHREAD_ONCE_INIT;

struct git_repo {
	git_repository *repo;
	git_index *index; /* NULL until asked for */
	char *worktree;   /* NULL if bare */
	char *common_dir;
	char *index_path;
	bool foreign_index; /* GIT_INDEX_FILE names another index than the repository's own */
};

static void free_repository(git_repository **repo)
{
	if (*repo)
		lib.git_repository_free(*repo);
}

static void free_index(git_index **index)
{
	if (*index)
		lib.git_index_free(*index);
}

static void free_config(git_config **config)
{
	if (*config)
		lib.git_config_free(*config);
}

static void free_tree(git_tree **tree)
{
	if (*tree)
		lib.git_tree_free(*tree);
}

static void free_diff(git_diff **diff)
{
	if (*diff)
		lib.git_diff_free(*diff);
}

static void load(void)
{
	void *handle = dlopen(LIBGIT2_SONAME, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		lib.failure = mem_strdup(dlerror());
		return;
	}
	/* A void pointer from dlsym becomes a function pointer through memory, the way POSIX describes. */
#define X(name)                                                                         \
	{                                                                               \
		void *symbol = dlsym(handle, #name);                                    \
		if (!symbol) {                                                          \
			lib.failure = mem_printf("%s lacks %s", LIBGIT2_SONAME, #name); \
			return;                                                         \
		}                                                                       \
		memcpy(&lib.name, &symbol, sizeof(symbol));                             \
	}
	LIBGIT2_FUNCTIONS(X)
#undef X
	if (lib.git_libgit2_init() < 0) {
		lib.failure = mem_strdup("it could not be initialised");
		return;
	}
	/* Neither changes what is read here: one says where per-worktree settings are, one that objects may be absent. */
	const char *extensions[] = { "worktreeconfig", "partialclone" };
	lib.git_libgit2_opts(GIT_OPT_SET_EXTENSIONS, extensions, ARRAY_LEN(extensions));
	/* The objects were checked by git; hashing each blob again is half of the time of reading it. */
	lib.git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 0);
	lib.git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0); /* check_owner does it */
	const char *no_system = getenv("GIT_CONFIG_NOSYSTEM");
	if (no_system && *no_system && !text_eq(no_system, "0") && !text_eq(no_system, "false"))
		lib.git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_SYSTEM, "");
}

static int need_library(struct err *err)
{
	pthread_once(&once, load);
	if (!lib.failure)
		return 0;
	err_set(err, ERR_FAILED, "cannot load libgit2: %s", lib.failure);
	return err_hint(err, "install it: apt-get install libgit2-1.5, or the package that has %s", LIBGIT2_SONAME);
}

/* What libgit2 said, behind what was being done. */
static int git_err(struct err *err, const char *doing)
{
	const git_error *last = lib.git_error_last();
	const char *text = last && last->message ? last->message : "unknown error of libgit2";
	err_set(err, ERR_FAILED, "%s: %s", doing, text);
	if (strstr(text, "mandatory extension: 'link'"))
		return err_hint(err, "split indexes are not supported: git update-index --no-split-index");
	if (strstr(text, "mandatory extension: 'sdir'"))
		return err_hint(err, "sparse indexes are not supported: git sparse-checkout reapply --no-sparse-index");
	if (strstr(text, "extensions.objectformat"))
		return err_hint(err, "repositories with SHA-256 object names are not supported");
	return -1;
}

static char *without_slash(const char *dir)
{
	size_t len = strlen(dir);
	while (len > 1 && dir[len - 1] == '/')
		len--;
	return mem_strndup(dir, len);
}

/* What the user and the system list as safe.directory, never the repository itself: a path, "*", or "/srv/repos/" followed by "*". */
static bool is_declared_safe(const char *dir)
{
	git_config *config CLEANUP(free_config) = NULL;
	if (lib.git_config_open_default(&config) < 0)
		return false;
	git_config_iterator *each = NULL;
	if (lib.git_config_iterator_new(&each, config) < 0)
		return false;
	bool safe = false;
	git_config_entry *entry;
	while (lib.git_config_next(&entry, each) == 0) {
		if (!text_eq(entry->name, "safe.directory"))
			continue;
		const char *value = entry->value ? entry->value : "";
		if (!*value)
			safe = false;
		else if (text_eq(value, "*") || text_eq(value, dir) ||
			 (text_ends(value, "/*") && !strncmp(value, dir, strlen(value) - 1)))
			safe = true;
	}
	lib.git_config_iterator_free(each);
	return safe;
}

/* Owned by this user; for root under sudo, by the user who called it, too. */
static bool is_own(const char *path)
{
	struct stat st;
	if (sys.fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT;
	if (st.st_uid == geteuid())
		return true;
	uint64_t uid;
	const char *sudo = geteuid() == 0 ? getenv("SUDO_UID") : NULL;
	return sudo && text_parse_u64(sudo, &uid) && uid == st.st_uid;
}

/* git's rule (ensure_valid_ownership in its setup.c): work tree, its .git entry and the git directory belong to this user, or are declared
 * safe. libgit2's own check reports some of the refusals as "no repository", so it is off. */
static int check_owner(git_repository *repo, struct err *err)
{
	const char *top = lib.git_repository_workdir(repo);
	OWNED char *git_dir = without_slash(lib.git_repository_path(repo));
	OWNED char *worktree = without_slash(top ? top : git_dir);
	OWNED char *entry = path_joined(worktree, ".git");
	if ((is_own(worktree) && is_own(entry) && is_own(git_dir)) || is_declared_safe(worktree))
		return 0;
	err_set(err, ERR_FAILED, "the git repository at %s belongs to another user", worktree);
	return err_hint(err, "if you trust it: git config --global --add safe.directory %s", worktree);
}

static int open_discovered(const char *dir, git_repository **ret, struct err *err)
{
	int rc = lib.git_repository_open_ext(ret, dir, 0, getenv("GIT_CEILING_DIRECTORIES"));
	if (rc == 0)
		return check_owner(*ret, err);
	*ret = NULL;
	return rc == GIT_ENOTFOUND ? 0 : git_err(err, "cannot open the git repository");
}

/* A repository whose .git is elsewhere, as GIT_DIR says; the work tree is GIT_WORK_TREE, else the current directory. */
static int open_from_environment(const char *dir, git_repository **ret, struct err *err)
{
	const char *git_dir = getenv("GIT_DIR");
	if (!git_dir || !*git_dir)
		return 0;
	struct buf cwd CLEANUP(buf_release) = BUF_INIT;
	if (path_cwd(&cwd, err) < 0)
		return -1;
	const char *work_tree = getenv("GIT_WORK_TREE");
	OWNED char *joined = path_joined(cwd.data, work_tree && *work_tree ? work_tree : ".");
	struct buf normal CLEANUP(buf_release) = BUF_INIT;
	path_normalize(&normal, joined);
	if (!path_inside(normal.data, dir))
		return 0;
	if (lib.git_repository_open_ext(ret, git_dir, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL) < 0) {
		*ret = NULL;
		return git_err(err, "cannot open the git repository that GIT_DIR names");
	}
	if (lib.git_repository_set_workdir(*ret, normal.data, 0) < 0)
		return git_err(err, "cannot use the work tree that GIT_WORK_TREE names");
	return 0;
}

/* A relative GIT_INDEX_FILE is relative to the top of the work tree, where git runs its hooks. */
static void find_index(struct git_repo *repo)
{
	OWNED char *own = path_joined(lib.git_repository_path(repo->repo), "index");
	const char *given = getenv("GIT_INDEX_FILE");
	if (!given || !*given) {
		repo->index_path = mem_strdup(own);
		return;
	}
	OWNED char *joined = path_joined(repo->worktree ? repo->worktree : ".", given);
	struct buf normal CLEANUP(buf_release) = BUF_INIT;
	path_normalize(&normal, joined);
	repo->index_path = mem_strdup(normal.data);
	repo->foreign_index = !text_eq(normal.data, own);
}

int git_open(const char *dir, struct git_repo **ret, struct err *err)
{
	*ret = NULL;
	if (need_library(err) < 0)
		return -1;
	git_repository *opened CLEANUP(free_repository) = NULL;
	if (open_discovered(dir, &opened, err) < 0 || (!opened && open_from_environment(dir, &opened, err) < 0))
		return -1;
	if (!opened)
		return 0;
	struct git_repo *repo = mem_alloc(sizeof(*repo));
	repo->repo = opened;
	const char *worktree = lib.git_repository_workdir(opened);
	repo->worktree = worktree ? without_slash(worktree) : NULL;
	repo->common_dir = without_slash(lib.git_repository_commondir(opened));
	find_index(repo);
	opened = NULL;
	*ret = repo;
	return 0;
}

void git_close(struct git_repo *repo)
{
	if (!repo)
		return;
	free_index(&repo->index);
	lib.git_repository_free(repo->repo);
	free(repo->worktree);
	free(repo->common_dir);
	free(repo->index_path);
	free(repo);
}

void git_close_ptr(struct git_repo **repo)
{
	git_close(*repo);
}

const char *git_top(const struct git_repo *repo)
{
	return repo->worktree;
}

const char *git_common_dir(const struct git_repo *repo)
{
	return repo->common_dir;
}

const char *git_index_file(const struct git_repo *repo)
{
	return repo->index_path;
}

/* The index as it is on disk now: another git may have written it since the last look. */
static git_index *index_of(struct git_repo *repo, struct err *err)
{
	if (!repo->index) {
		int rc = repo->foreign_index ? lib.git_index_open(&repo->index, repo->index_path)
					     : lib.git_repository_index(&repo->index, repo->repo);
		if (rc < 0) {
			repo->index = NULL;
			git_err(err, "cannot read git's index");
			return NULL;
		}
	}
	if (lib.git_index_read(repo->index, 0) < 0) {
		git_err(err, "cannot read git's index");
		return NULL;
	}
	return repo->index;
}

int git_is_ignored(struct git_repo *repo, const char *path, bool *ret, struct err *err)
{
	int ignored = 0;
	if (lib.git_ignore_path_is_ignored(&ignored, repo->repo, path) < 0)
		return git_err(err, "cannot read git's ignore rules");
	*ret = ignored != 0;
	return 0;
}

int git_is_tracked(struct git_repo *repo, const char *path, bool *ret, struct err *err)
{
	git_index *index = index_of(repo, err);
	if (!index)
		return -1;
	OWNED char *below = mem_printf("%s/", path);
	size_t at;
	*ret = lib.git_index_get_bypath(index, path, 0) || lib.git_index_find_prefix(&at, index, below) == 0;
	return 0;
}

static int stage_gone(git_index *index, const char *path)
{
	OWNED char *below = mem_printf("%s/", path);
	size_t at;
	if (lib.git_index_find_prefix(&at, index, below) == 0)
		return lib.git_index_remove_directory(index, path, 0);
	return lib.git_index_get_bypath(index, path, 0) ? lib.git_index_remove_bypath(index, path) : 0;
}

static int stage_dir(git_index *index, const char *path)
{
	char *pattern = mem_strdup(path);
	git_strarray patterns = { .strings = &pattern, .count = 1 };
	int rc = lib.git_index_add_all(index, &patterns, GIT_INDEX_ADD_DISABLE_PATHSPEC_MATCH, NULL, NULL);
	free(pattern);
	return rc;
}

int git_stage(struct git_repo *repo, const char *path, struct err *err)
{
	if (!repo->worktree)
		return err_set(err, ERR_FAILED, "cannot stage %s: the git repository is bare", path);
	if (repo->foreign_index) {
		err_set(err, ERR_FAILED, "cannot stage %s: git is at work with an index of its own, %s", path, repo->index_path);
		return err_hint(err, "stage it when that command is done: git add %s", path);
	}
	git_index *index = index_of(repo, err);
	if (!index)
		return -1;
	OWNED char *full = path_joined(repo->worktree, path);
	struct stat st;
	bool exists;
	if (fs_lstat(full, &st, &exists, err) < 0)
		return -1;
	int rc;
	if (!exists)
		rc = stage_gone(index, path);
	else if (S_ISDIR(st.st_mode))
		rc = stage_dir(index, path);
	else
		rc = lib.git_index_add_bypath(index, path);
	if (rc == 0)
		rc = lib.git_index_write(index);
	if (rc < 0) {
		OWNED char *doing = mem_printf("cannot stage %s", path);
		lib.git_index_read(index, 1);
		return git_err(err, doing);
	}
	return 0;
}

/* *ret_born is false on a branch without commits. */
static int head_oid(struct git_repo *repo, git_oid *ret, bool *ret_born, struct err *err)
{
	int rc = lib.git_reference_name_to_id(ret, repo->repo, "HEAD");
	*ret_born = rc == 0;
	return rc == 0 || rc == GIT_ENOTFOUND ? 0 : git_err(err, "cannot read git's HEAD");
}

int git_head_commit(struct git_repo *repo, struct buf *ret_hex, struct err *err)
{
	git_oid oid;
	bool born;
	if (head_oid(repo, &oid, &born, err) < 0)
		return -1;
	char hex[GIT_OID_HEXSZ + 1] = "";
	if (born)
		lib.git_oid_tostr(hex, sizeof(hex), &oid);
	buf_addstr(ret_hex, hex);
	return 0;
}

int git_head_branch(struct git_repo *repo, struct buf *ret, struct err *err)
{
	git_reference *head = NULL;
	if (lib.git_reference_lookup(&head, repo->repo, "HEAD") < 0)
		return git_err(err, "cannot read git's HEAD");
	if (lib.git_reference_type(head) == GIT_REFERENCE_SYMBOLIC) {
		const char *name = lib.git_reference_symbolic_target(head);
		buf_addstr(ret, text_starts(name, "refs/heads/") ? name + strlen("refs/heads/") : name);
	}
	lib.git_reference_free(head);
	return 0;
}

int git_hooks_dir(struct git_repo *repo, struct buf *ret, struct err *err)
{
	git_config *config CLEANUP(free_config) = NULL;
	if (lib.git_repository_config(&config, repo->repo) < 0)
		return git_err(err, "cannot read git's configuration");
	git_buf path = GIT_BUF_INIT;
	int rc = lib.git_config_get_path(&path, config, "core.hooksPath");
	if (rc < 0 && rc != GIT_ENOTFOUND)
		return git_err(err, "cannot read git's core.hooksPath");
	bool set = rc == 0 && path.ptr && *path.ptr;
	OWNED char *joined = set ? path_joined(repo->worktree ? repo->worktree : repo->common_dir, path.ptr)
				 : path_joined(repo->common_dir, "hooks");
	path_normalize(ret, joined);
	lib.git_buf_dispose(&path);
	return 0;
}

int git_entries_read(struct git_repo *repo, struct git_entries *ret, struct err *err)
{
	git_index *index = index_of(repo, err);
	if (!index)
		return -1;
	size_t count = lib.git_index_entrycount(index);
	vec_reserve(ret, count);
	for (size_t i = 0; i < count; i++) {
		const git_index_entry *entry = lib.git_index_get_byindex(index, i);
		if (GIT_INDEX_ENTRY_STAGE(entry)) {
			git_entries_release(ret);
			err_set(err, ERR_FAILED, "%s is in conflict", entry->path);
			return err_hint(err, "resolve it, then: git add %s", entry->path);
		}
		if (entry->flags_extended & GIT_INDEX_ENTRY_INTENT_TO_ADD)
			continue;
		struct git_entry ours = { .path = mem_strdup(entry->path), .mode = entry->mode };
		lib.git_oid_tostr(ours.oid, sizeof(ours.oid), &entry->id);
		vec_push(ret, ours);
	}
	return 0;
}

void git_entries_release(struct git_entries *entries)
{
	for (size_t i = 0; i < entries->len; i++)
		free(entries->at[i].path);
	vec_release(entries);
}

int git_blob_read(struct git_repo *repo, const char *oid, size_t max, struct buf *out, struct err *err)
{
	git_oid id;
	OWNED char *doing = mem_printf("cannot read object %s", oid);
	if (lib.git_oid_fromstr(&id, oid) < 0)
		return git_err(err, doing);
	git_blob *blob = NULL;
	if (lib.git_blob_lookup(&blob, repo->repo, &id) < 0) {
		git_err(err, doing);
		return err_hint(err, "in a partial clone, fetch it first: git cat-file -e %s", oid);
	}
	uint64_t size = (uint64_t)lib.git_blob_rawsize(blob);
	if (size > max) {
		lib.git_blob_free(blob);
		return err_set(err, ERR_FAILED, "%s: it has %llu bytes, more than %zu", doing, (unsigned long long)size, max);
	}
	buf_add(out, lib.git_blob_rawcontent(blob), (size_t)size);
	lib.git_blob_free(blob);
	return 0;
}

/* HEAD's tree; NULL on a branch without commits. */
static int head_tree(struct git_repo *repo, git_tree **ret, struct err *err)
{
	git_oid oid;
	bool born;
	*ret = NULL;
	if (head_oid(repo, &oid, &born, err) < 0)
		return -1;
	if (!born)
		return 0;
	git_commit *commit = NULL;
	if (lib.git_commit_lookup(&commit, repo->repo, &oid) < 0)
		return git_err(err, "cannot read the commit of HEAD");
	int rc = lib.git_commit_tree(ret, commit);
	lib.git_commit_free(commit);
	return rc < 0 ? git_err(err, "cannot read the tree of HEAD") : 0;
}

struct tree_search {
	const char *suffix;
	struct git_entries *found;
};

static int take_tree_entry(const char *dir, const git_tree_entry *entry, void *payload)
{
	struct tree_search *search = payload;
	const char *name = lib.git_tree_entry_name(entry);
	git_filemode_t mode = lib.git_tree_entry_filemode(entry);
	if (mode == GIT_FILEMODE_TREE || !text_ends(name, search->suffix))
		return 0;
	struct git_entry ours = { .path = mem_printf("%s%s", dir, name), .mode = (uint32_t)mode };
	lib.git_oid_tostr(ours.oid, sizeof(ours.oid), lib.git_tree_entry_id(entry));
	vec_push(search->found, ours);
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct git_entry *)a)->path, ((const struct git_entry *)b)->path);
}

int git_head_entries(struct git_repo *repo, const char *suffix, struct git_entries *ret, struct err *err)
{
	git_tree *tree CLEANUP(free_tree) = NULL;
	if (head_tree(repo, &tree, err) < 0)
		return -1;
	struct tree_search search = { suffix, ret };
	if (tree && lib.git_tree_walk(tree, GIT_TREEWALK_PRE, take_tree_entry, &search) < 0)
		return git_err(err, "cannot walk the tree of HEAD");
	vec_sort(ret, compare_entries);
	return 0;
}

int git_staged_paths(struct git_repo *repo, struct strlist *ret, struct err *err)
{
	git_index *index = index_of(repo, err);
	if (!index)
		return -1;
	git_tree *tree CLEANUP(free_tree) = NULL;
	if (head_tree(repo, &tree, err) < 0)
		return -1;
	git_diff_options options = { .version = GIT_DIFF_OPTIONS_VERSION, .ignore_submodules = GIT_SUBMODULE_IGNORE_UNSPECIFIED };
	options.flags = GIT_DIFF_INCLUDE_TYPECHANGE | GIT_DIFF_SKIP_BINARY_CHECK;
	git_diff *diff CLEANUP(free_diff) = NULL;
	if (lib.git_diff_tree_to_index(&diff, repo->repo, tree, index, &options) < 0)
		return git_err(err, "cannot compare git's index with HEAD");
	size_t count = lib.git_diff_num_deltas(diff);
	for (size_t i = 0; i < count; i++) {
		const char *path = lib.git_diff_get_delta(diff, i)->new_file.path;
		const git_index_entry *entry = lib.git_index_get_bypath(index, path, 0);
		if (entry && entry->flags_extended & GIT_INDEX_ENTRY_INTENT_TO_ADD)
			continue;
		strlist_add(ret, path);
	}
	strlist_sort(ret);
	strlist_unique(ret);
	return 0;
}
