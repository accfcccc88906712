#include "vcs/git_revs.h"

#include "base/fs.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "vcs/git_lib.h"

#include <string.h>

#define MAX_DEPTH 200

int git_resolve(struct git_repo *repo, const char *rev, char ret_commit[GIT_HEX], struct err *err)
{
	git_object *found = NULL, *commit = NULL;
	int rc = *rev ? git_lib.git_revparse_single(&found, repo->repo, rev) : GIT_ENOTFOUND;
	if (rc == 0)
		rc = git_lib.git_object_peel(&commit, found, GIT_OBJECT_COMMIT);
	if (found)
		git_lib.git_object_free(found);
	if (rc < 0) {
		err_set(err, ERR_CONFIG, "git knows no revision '%s'", rev);
		return err_hint(err, "a commit, branch or tag: git log --oneline shows commits");
	}
	git_lib.git_oid_tostr(ret_commit, GIT_HEX, git_lib.git_object_id(commit));
	git_lib.git_object_free(commit);
	return 0;
}

static bool is_kind(const char *name, enum git_ref_kind kind)
{
	bool branch = text_starts(name, "refs/heads/"), tag = text_starts(name, "refs/tags/");
	switch (kind) {
	case GIT_BRANCHES:
		return branch;
	case GIT_TAGS:
		return tag;
	case GIT_BRANCHES_AND_TAGS:
		return branch || tag || text_starts(name, "refs/remotes/");
	case GIT_EVERY_REF:
		return true;
	}
	return true;
}

static void take_commit(struct map *seen, struct strlist *ret, const git_oid *oid)
{
	char hex[GIT_HEX];
	git_lib.git_oid_tostr(hex, sizeof(hex), oid);
	if (map_set(seen, hex, NULL))
		strlist_add(ret, hex);
}

static void free_refs(git_reference_iterator **refs)
{
	if (*refs)
		git_lib.git_reference_iterator_free(*refs);
}

#define MAX_LOG ((size_t)16 << 20)

static void take_rev(struct git_repo *repo, const char *rev, struct map *seen, struct strlist *ret)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	char hex[GIT_HEX];
	if (git_resolve(repo, rev, hex, &ignored) == 0 && map_set(seen, hex, NULL))
		strlist_add(ret, hex);
}

/* Commits that linked worktrees stand on; on a branch, it is the branch's tip. */
static void take_worktrees(struct git_repo *repo, struct map *seen, struct strlist *ret)
{
	OWNED char *parent = path_joined(repo->common_dir, "worktrees");
	int fd = sys.openat(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : sys.fdopendir(fd);
	if (!dir) {
		fs_close_fd(&fd);
		return;
	}
	for (struct dirent *entry; (entry = sys.readdir(dir));) {
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		OWNED char *path = mem_printf("%s/%s/HEAD", parent, entry->d_name);
		if (entry->d_name[0] == '.' || fs_read_file(path, MAX_LOG, &text, &ignored) < 0)
			continue;
		buf_truncate(&text, strcspn(text.data, "\n"));
		take_rev(repo, text_starts(text.data, "ref: ") ? text.data + strlen("ref: ") : text.data, seen, ret);
	}
	closedir(dir);
}

/* Every stash: the reference leads to the last one, its log to the others. The second parent is what was in the index. */
static void take_stashes(struct git_repo *repo, struct map *seen, struct strlist *ret)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	OWNED char *log = path_joined(repo->common_dir, "logs/refs/stash");
	take_rev(repo, "refs/stash", seen, ret);
	take_rev(repo, "refs/stash^2", seen, ret);
	if (fs_read_file(log, MAX_LOG, &text, &ignored) < 0)
		return;
	for (const char *line = text.data; *line;) {
		size_t len = strcspn(line, "\n");
		if (len > 81) {
			OWNED char *index = mem_printf("%.40s^2", line + 41);
			OWNED char *commit = mem_strndup(line + 41, 40);
			take_rev(repo, commit, seen, ret);
			take_rev(repo, index, seen, ret);
		}
		line += len + (line[len] == '\n');
	}
}

int git_tips(struct git_repo *repo, enum git_ref_kind kind, struct strlist *ret_commits, struct err *err)
{
	git_reference_iterator *refs CLEANUP(free_refs) = NULL;
	struct map seen CLEANUP(map_release) = MAP_INIT;
	git_oid head;
	int rc = git_lib.git_reference_name_to_id(&head, repo->repo, "HEAD");
	if (rc < 0 && rc != GIT_ENOTFOUND)
		return git_lib_err(err, "cannot read git's HEAD");
	if (rc == 0)
		take_commit(&seen, ret_commits, &head);
	if (kind == GIT_BRANCHES_AND_TAGS || kind == GIT_EVERY_REF) {
		take_worktrees(repo, &seen, ret_commits);
		take_stashes(repo, &seen, ret_commits);
	}
	if (git_lib.git_reference_iterator_new(&refs, repo->repo) < 0)
		return git_lib_err(err, "cannot list git's references");
	git_reference *ref;
	while ((rc = git_lib.git_reference_next(&ref, refs)) == 0) {
		git_object *commit = NULL;
		/* A tag of a tree or a blob, or a symbolic reference to nothing, leads to no commit. */
		if (is_kind(git_lib.git_reference_name(ref), kind) &&
		    git_lib.git_reference_peel(&commit, ref, GIT_OBJECT_COMMIT) == 0) {
			take_commit(&seen, ret_commits, git_lib.git_object_id(commit));
			git_lib.git_object_free(commit);
		}
		git_lib.git_reference_free(ref);
	}
	return rc == GIT_ITEROVER ? 0 : git_lib_err(err, "cannot list git's references");
}

static void free_revwalk(git_revwalk **walk)
{
	if (*walk)
		git_lib.git_revwalk_free(*walk);
}

int git_ancestors(struct git_repo *repo, const struct strlist *commits, struct strlist *ret_commits, struct err *err)
{
	git_revwalk *walk CLEANUP(free_revwalk) = NULL;
	git_oid oid;
	if (git_lib.git_revwalk_new(&walk, repo->repo) < 0)
		return git_lib_err(err, "cannot walk git's history");
	for (size_t i = 0; i < commits->len; i++)
		if (git_lib.git_oid_fromstr(&oid, commits->at[i]) < 0 || git_lib.git_revwalk_push(walk, &oid) < 0)
			return git_lib_err(err, "cannot walk git's history");
	int rc;
	struct map seen CLEANUP(map_release) = MAP_INIT;
	while ((rc = git_lib.git_revwalk_next(&oid, walk)) == 0)
		take_commit(&seen, ret_commits, &oid);
	return rc == GIT_ITEROVER ? 0 : git_lib_err(err, "cannot walk git's history");
}

int git_since(struct git_repo *repo, const struct strlist *commits, int64_t time, struct strlist *ret_commits, struct err *err)
{
	for (size_t i = 0; i < commits->len; i++) {
		git_commit *commit;
		git_oid oid;
		if (git_lib.git_oid_fromstr(&oid, commits->at[i]) < 0 || git_lib.git_commit_lookup(&commit, repo->repo, &oid) < 0)
			return git_lib_err(err, "cannot read git's history");
		if (git_lib.git_commit_time(commit) >= time)
			strlist_add(ret_commits, commits->at[i]);
		git_lib.git_commit_free(commit);
	}
	return 0;
}

int git_first_parents(struct git_repo *repo, const char *commit, unsigned max, struct strlist *ret_commits, struct err *err)
{
	char at[GIT_HEX];
	if (git_resolve(repo, commit, at, err) < 0)
		return -1;
	for (unsigned i = 0; i < max; i++) {
		struct err none CLEANUP(err_release) = ERR_INIT;
		OWNED char *parent = mem_printf("%s~1", at);
		strlist_add(ret_commits, at);
		if (git_resolve(repo, parent, at, &none) < 0)
			return none.code == ERR_CONFIG ? 0 : err_move(err, &none);
	}
	return 0;
}

struct collecting {
	struct git_repo *repo;
	git_name_fn *wanted;
	struct git_entries *ret;
	bool links;      /* symbolic links and submodules, too */
	bool once;       /* a tree that was seen is left out: its path counts for nothing */
	struct map seen; /* trees by their ids */
};

static void collecting_release(struct collecting *collecting)
{
	map_release(&collecting->seen);
}

static void free_tree(git_tree **tree)
{
	if (*tree)
		git_lib.git_tree_free(*tree);
}

static int collect(struct collecting *collecting, const git_oid *oid, const char *dir, unsigned depth, struct err *err)
{
	git_tree *tree CLEANUP(free_tree) = NULL;
	char hex[GIT_HEX];
	git_lib.git_oid_tostr(hex, sizeof(hex), oid);
	if (collecting->once && !map_set(&collecting->seen, hex, NULL))
		return 0;
	if (depth > MAX_DEPTH)
		return err_set(err, ERR_FAILED, "%s: git's directories are nested too deeply", dir);
	if (git_lib.git_tree_lookup(&tree, collecting->repo->repo, oid) < 0)
		return git_lib_err(err, "cannot read a tree of git");
	size_t count = git_lib.git_tree_entrycount(tree);
	for (size_t i = 0; i < count; i++) {
		const git_tree_entry *entry = git_lib.git_tree_entry_byindex(tree, i);
		const char *name = git_lib.git_tree_entry_name(entry);
		git_filemode_t mode = git_lib.git_tree_entry_filemode(entry);
		bool is_file = mode == GIT_FILEMODE_BLOB || mode == GIT_FILEMODE_BLOB_EXECUTABLE || collecting->links;
		if (mode != GIT_FILEMODE_TREE && !(is_file && collecting->wanted(name)))
			continue;
		char *path OWNED = path_joined(dir, name);
		if (mode == GIT_FILEMODE_TREE) {
			if (collect(collecting, git_lib.git_tree_entry_id(entry), path, depth + 1, err) < 0)
				return -1;
			continue;
		}
		struct git_entry ours = { .path = mem_strdup(path), .mode = (uint32_t)mode };
		git_lib.git_oid_tostr(ours.oid, sizeof(ours.oid), git_lib.git_tree_entry_id(entry));
		vec_push(collecting->ret, ours);
	}
	return 0;
}

static int collect_commit(struct collecting *collecting, const char *commit, struct err *err)
{
	git_oid oid;
	git_commit *found = NULL;
	char *doing OWNED = mem_printf("cannot read the commit %s", commit);
	if (git_lib.git_oid_fromstr(&oid, commit) < 0 || git_lib.git_commit_lookup(&found, collecting->repo->repo, &oid) < 0)
		return git_lib_err(err, doing);
	int status = collect(collecting, git_lib.git_commit_tree_id(found), "", 0, err);
	git_lib.git_commit_free(found);
	return status;
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(((const struct git_entry *)a)->path, ((const struct git_entry *)b)->path);
}

int git_commit_entries(struct git_repo *repo, const char *commit, git_name_fn *wanted, struct git_entries *ret, struct err *err)
{
	struct collecting collecting CLEANUP(collecting_release) = { repo, wanted, ret, false, false, MAP_INIT };
	if (collect_commit(&collecting, commit, err) < 0)
		return -1;
	vec_sort(ret, compare_paths);
	return 0;
}

static bool is_any(const char *name UNUSED)
{
	return true;
}

int git_commit_files(struct git_repo *repo, const char *commit, struct git_entries *ret, struct err *err)
{
	struct collecting collecting CLEANUP(collecting_release) = { repo, is_any, ret, true, false, MAP_INIT };
	if (collect_commit(&collecting, commit, err) < 0)
		return -1;
	vec_sort(ret, compare_paths);
	return 0;
}

int git_commits_entries(struct git_repo *repo, const struct strlist *commits, git_name_fn *wanted, struct git_entries *ret,
			struct err *err)
{
	struct collecting collecting CLEANUP(collecting_release) = { repo, wanted, ret, false, true, MAP_INIT };
	for (size_t i = 0; i < commits->len; i++)
		if (collect_commit(&collecting, commits->at[i], err) < 0)
			return -1;
	return 0;
}
