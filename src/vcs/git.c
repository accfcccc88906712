#include "vcs/git.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "vcs/git_lib.h"

#include <errno.h>
#include <string.h>

static void free_repository(git_repository **repo)
{
	if (*repo)
		git_lib.git_repository_free(*repo);
}

static void free_index(git_index **index)
{
	if (*index)
		git_lib.git_index_free(*index);
}

static void free_config(git_config **config)
{
	if (*config)
		git_lib.git_config_free(*config);
}

static void free_tree(git_tree **tree)
{
	if (*tree)
		git_lib.git_tree_free(*tree);
}

static void free_diff(git_diff **diff)
{
	if (*diff)
		git_lib.git_diff_free(*diff);
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
	if (git_lib.git_config_open_default(&config) < 0)
		return false;
	git_config_iterator *each = NULL;
	if (git_lib.git_config_iterator_new(&each, config) < 0)
		return false;
	bool safe = false;
	git_config_entry *entry;
	while (git_lib.git_config_next(&entry, each) == 0) {
		if (!text_eq(entry->name, "safe.directory"))
			continue;
		const char *value = entry->value ? entry->value : "";
		if (!*value)
			safe = false;
		else if (text_eq(value, "*") || text_eq(value, dir) ||
			 (text_ends(value, "/*") && !strncmp(value, dir, strlen(value) - 1)))
			safe = true;
	}
	git_lib.git_config_iterator_free(each);
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
	const char *sudo = geteuid() == 0 ? sys.getenv("SUDO_UID") : NULL;
	return sudo && text_parse_u64(sudo, &uid) && uid == st.st_uid;
}

/* git's rule (ensure_valid_ownership in its setup.c): work tree, its .git entry and the git directory belong to this user, or are declared
 * safe. libgit2's own check reports some of the refusals as "no repository", so it is off. */
static int check_owner(git_repository *repo, struct err *err)
{
	const char *top = git_lib.git_repository_workdir(repo);
	OWNED char *git_dir = without_slash(git_lib.git_repository_path(repo));
	OWNED char *worktree = without_slash(top ? top : git_dir);
	OWNED char *entry = path_joined(worktree, ".git");
	if ((is_own(worktree) && is_own(entry) && is_own(git_dir)) || is_declared_safe(worktree))
		return 0;
	err_set(err, ERR_FAILED, "the git repository at %s belongs to another user", worktree);
	return err_hint(err, "if you trust it: git config --global --add safe.directory %s", worktree);
}

static int open_discovered(const char *dir, git_repository **ret, struct err *err)
{
	int rc = git_lib.git_repository_open_ext(ret, dir, 0, sys.getenv("GIT_CEILING_DIRECTORIES"));
	if (rc == 0)
		return check_owner(*ret, err);
	*ret = NULL;
	return rc == GIT_ENOTFOUND ? 0 : git_lib_err(err, "cannot open the git repository");
}

/* A repository whose .git is elsewhere, as GIT_DIR says; the work tree is GIT_WORK_TREE, else the current directory. */
static int open_from_environment(const char *dir, git_repository **ret, struct err *err)
{
	const char *git_dir = sys.getenv("GIT_DIR");
	if (!git_dir || !*git_dir)
		return 0;
	struct buf cwd CLEANUP(buf_release) = BUF_INIT;
	if (path_cwd(&cwd, err) < 0)
		return -1;
	const char *work_tree = sys.getenv("GIT_WORK_TREE");
	OWNED char *joined = path_joined(cwd.data, work_tree && *work_tree ? work_tree : ".");
	struct buf normal CLEANUP(buf_release) = BUF_INIT;
	path_normalize(&normal, joined);
	if (!path_inside(normal.data, dir))
		return 0;
	if (git_lib.git_repository_open_ext(ret, git_dir, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL) < 0) {
		*ret = NULL;
		return git_lib_err(err, "cannot open the git repository that GIT_DIR names");
	}
	if (git_lib.git_repository_set_workdir(*ret, normal.data, 0) < 0)
		return git_lib_err(err, "cannot use the work tree that GIT_WORK_TREE names");
	return 0;
}

/* A relative GIT_INDEX_FILE is relative to the top of the work tree, where git runs its hooks. */
static void find_index(struct git_repo *repo)
{
	OWNED char *own = path_joined(git_lib.git_repository_path(repo->repo), "index");
	const char *given = sys.getenv("GIT_INDEX_FILE");
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
	sys.unseen("git was asked");
	if (git_lib_need(err) < 0)
		return -1;
	git_repository *opened CLEANUP(free_repository) = NULL;
	if (open_discovered(dir, &opened, err) < 0 || (!opened && open_from_environment(dir, &opened, err) < 0))
		return -1;
	if (!opened)
		return 0;
	struct git_repo *repo = mem_alloc(sizeof(*repo));
	repo->repo = opened;
	const char *worktree = git_lib.git_repository_workdir(opened);
	repo->worktree = worktree ? without_slash(worktree) : NULL;
	repo->common_dir = without_slash(git_lib.git_repository_commondir(opened));
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
	git_lib.git_repository_free(repo->repo);
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
		int rc = repo->foreign_index ? git_lib.git_index_open(&repo->index, repo->index_path)
					     : git_lib.git_repository_index(&repo->index, repo->repo);
		if (rc < 0) {
			repo->index = NULL;
			git_lib_err(err, "cannot read git's index");
			return NULL;
		}
	}
	if (git_lib.git_index_read(repo->index, 0) < 0) {
		git_lib_err(err, "cannot read git's index");
		return NULL;
	}
	return repo->index;
}

int git_is_ignored(struct git_repo *repo, const char *path, bool *ret, struct err *err)
{
	int ignored = 0;
	if (git_lib.git_ignore_path_is_ignored(&ignored, repo->repo, path) < 0)
		return git_lib_err(err, "cannot read git's ignore rules");
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
	*ret = git_lib.git_index_get_bypath(index, path, 0) || git_lib.git_index_find_prefix(&at, index, below) == 0;
	return 0;
}

static int stage_gone(git_index *index, const char *path)
{
	OWNED char *below = mem_printf("%s/", path);
	size_t at;
	if (git_lib.git_index_find_prefix(&at, index, below) == 0)
		return git_lib.git_index_remove_directory(index, path, 0);
	return git_lib.git_index_get_bypath(index, path, 0) ? git_lib.git_index_remove_bypath(index, path) : 0;
}

static int stage_dir(git_index *index, const char *path)
{
	char *pattern = mem_strdup(path);
	git_strarray patterns = { .strings = &pattern, .count = 1 };
	int rc = git_lib.git_index_add_all(index, &patterns, GIT_INDEX_ADD_DISABLE_PATHSPEC_MATCH, NULL, NULL);
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
		rc = git_lib.git_index_add_bypath(index, path);
	if (rc == 0)
		rc = git_lib.git_index_write(index);
	if (rc < 0) {
		OWNED char *doing = mem_printf("cannot stage %s", path);
		git_lib.git_index_read(index, 1);
		return git_lib_err(err, doing);
	}
	return 0;
}

/* *ret_born is false on a branch without commits. */
static int head_oid(struct git_repo *repo, git_oid *ret, bool *ret_born, struct err *err)
{
	int rc = git_lib.git_reference_name_to_id(ret, repo->repo, "HEAD");
	*ret_born = rc == 0;
	return rc == 0 || rc == GIT_ENOTFOUND ? 0 : git_lib_err(err, "cannot read git's HEAD");
}

int git_head_commit(struct git_repo *repo, struct buf *ret_hex, struct err *err)
{
	git_oid oid;
	bool born;
	if (head_oid(repo, &oid, &born, err) < 0)
		return -1;
	char hex[GIT_OID_HEXSZ + 1] = "";
	if (born)
		git_lib.git_oid_tostr(hex, sizeof(hex), &oid);
	buf_addstr(ret_hex, hex);
	return 0;
}

int git_head_branch(struct git_repo *repo, struct buf *ret, struct err *err)
{
	git_reference *head = NULL;
	if (git_lib.git_reference_lookup(&head, repo->repo, "HEAD") < 0)
		return git_lib_err(err, "cannot read git's HEAD");
	if (git_lib.git_reference_type(head) == GIT_REFERENCE_SYMBOLIC) {
		const char *name = git_lib.git_reference_symbolic_target(head);
		buf_addstr(ret, text_starts(name, "refs/heads/") ? name + strlen("refs/heads/") : name);
	}
	git_lib.git_reference_free(head);
	return 0;
}

int git_hooks_dir(struct git_repo *repo, struct buf *ret, struct err *err)
{
	git_config *config CLEANUP(free_config) = NULL;
	if (git_lib.git_repository_config(&config, repo->repo) < 0)
		return git_lib_err(err, "cannot read git's configuration");
	git_buf path = GIT_BUF_INIT;
	int rc = git_lib.git_config_get_path(&path, config, "core.hooksPath");
	if (rc < 0 && rc != GIT_ENOTFOUND)
		return git_lib_err(err, "cannot read git's core.hooksPath");
	bool set = rc == 0 && path.ptr && *path.ptr;
	OWNED char *joined = set ? path_joined(repo->worktree ? repo->worktree : repo->common_dir, path.ptr)
				 : path_joined(repo->common_dir, "hooks");
	path_normalize(ret, joined);
	git_lib.git_buf_dispose(&path);
	return 0;
}

int git_entries_read(struct git_repo *repo, struct git_entries *ret, struct err *err)
{
	git_index *index = index_of(repo, err);
	if (!index)
		return -1;
	size_t count = git_lib.git_index_entrycount(index);
	vec_reserve(ret, count);
	for (size_t i = 0; i < count; i++) {
		const git_index_entry *entry = git_lib.git_index_get_byindex(index, i);
		if (GIT_INDEX_ENTRY_STAGE(entry)) {
			git_entries_release(ret);
			err_set(err, ERR_FAILED, "%s is in conflict", entry->path);
			return err_hint(err, "resolve it, then: git add %s", entry->path);
		}
		if (entry->flags_extended & GIT_INDEX_ENTRY_INTENT_TO_ADD)
			continue;
		struct git_entry ours = { .path = mem_strdup(entry->path), .mode = entry->mode };
		git_lib.git_oid_tostr(ours.oid, sizeof(ours.oid), &entry->id);
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
	if (git_lib.git_oid_fromstr(&id, oid) < 0)
		return git_lib_err(err, doing);
	git_blob *blob = NULL;
	if (git_lib.git_blob_lookup(&blob, repo->repo, &id) < 0) {
		git_lib_err(err, doing);
		return err_hint(err, "in a partial clone, fetch it first: git cat-file -e %s", oid);
	}
	uint64_t size = (uint64_t)git_lib.git_blob_rawsize(blob);
	if (size > max) {
		git_lib.git_blob_free(blob);
		return err_set(err, ERR_FAILED, "%s: it has %llu bytes, more than %zu", doing, (unsigned long long)size, max);
	}
	buf_add(out, git_lib.git_blob_rawcontent(blob), (size_t)size);
	git_lib.git_blob_free(blob);
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
	if (git_lib.git_commit_lookup(&commit, repo->repo, &oid) < 0)
		return git_lib_err(err, "cannot read the commit of HEAD");
	int rc = git_lib.git_commit_tree(ret, commit);
	git_lib.git_commit_free(commit);
	return rc < 0 ? git_lib_err(err, "cannot read the tree of HEAD") : 0;
}

struct tree_search {
	const char *suffix;
	struct git_entries *found;
};

static int take_tree_entry(const char *dir, const git_tree_entry *entry, void *payload)
{
	struct tree_search *search = payload;
	const char *name = git_lib.git_tree_entry_name(entry);
	git_filemode_t mode = git_lib.git_tree_entry_filemode(entry);
	if (mode == GIT_FILEMODE_TREE || !text_ends(name, search->suffix))
		return 0;
	struct git_entry ours = { .path = mem_printf("%s%s", dir, name), .mode = (uint32_t)mode };
	git_lib.git_oid_tostr(ours.oid, sizeof(ours.oid), git_lib.git_tree_entry_id(entry));
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
	if (tree && git_lib.git_tree_walk(tree, GIT_TREEWALK_PRE, take_tree_entry, &search) < 0)
		return git_lib_err(err, "cannot walk the tree of HEAD");
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
	if (git_lib.git_diff_tree_to_index(&diff, repo->repo, tree, index, &options) < 0)
		return git_lib_err(err, "cannot compare git's index with HEAD");
	size_t count = git_lib.git_diff_num_deltas(diff);
	for (size_t i = 0; i < count; i++) {
		const char *path = git_lib.git_diff_get_delta(diff, i)->new_file.path;
		const git_index_entry *entry = git_lib.git_index_get_bypath(index, path, 0);
		if (entry && entry->flags_extended & GIT_INDEX_ENTRY_INTENT_TO_ADD)
			continue;
		strlist_add(ret, path);
	}
	strlist_sort(ret);
	strlist_unique(ret);
	return 0;
}
