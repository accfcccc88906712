#include "features/data/walk.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/pool.h"
#include "base/text.h"
#include "formats/dvcfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *kind_name(mode_t mode)
{
	return S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : S_ISDIR(mode) ? "a directory" : "a device";
}

static void add_odd(struct walk *walk, const char *rel, const char *what)
{
	struct buf line = BUF_INIT;
	path_join(&line, walk->path, rel);
	/* A name that is not UTF-8 is shown with its odd bytes escaped. */
	if (!text_is_utf8(line.data, line.len)) {
		struct buf shown = BUF_INIT;
		for (size_t i = 0; i < line.len; i++) {
			unsigned char c = (unsigned char)line.data[i];
			if (c >= 0x80)
				buf_addf(&shown, "\\x%02x", c);
			else
				buf_addch(&shown, (char)c);
		}
		buf_release(&line);
		line = shown;
	}
	buf_addf(&line, " %s", what);
	strlist_take(&walk->odd, buf_detach(&line));
}

/*
 * Directories are read a window at a time, all processors at it: names first, then stats, in pieces, so that one large directory is
 * shared as well. What is found goes into the walk in one thread.
 */
#define WINDOW 128      /* directories that are open at once */
#define STATS_PER_TASK 256
#define MAX_DEPTH 512

struct found {
	uint32_t name_at;
	unsigned char type;  /* d_type */
	bool ignored, is_link, broken, bad_name;
	int failed;          /* errno; ENOENT: gone since it was listed */
	struct fs_stamp stamp; /* of what a link leads to */
};

struct listing {
	char *rel;           /* below the walk's path; "" for itself */
	unsigned depth;
	int fd;
	struct buf names;    /* each with its NUL */
	VEC(struct found) found;
	struct err err;
};

struct stat_task {
	size_t listing, from;
};

struct window {
	struct data_repo *repo;
	struct walk *walk;
	struct listing *at;
	size_t len;
	VEC(struct stat_task) tasks;
};

static void listing_release(struct listing *listing)
{
	free(listing->rel);
	fs_close_fd(&listing->fd);
	buf_release(&listing->names);
	vec_release(&listing->found);
	err_release(&listing->err);
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static void list_names(void *ctx, size_t index)
{
	struct window *window = ctx;
	struct listing *listing = &window->at[index];
	char *path OWNED = mem_printf("%s/%s%s%s", window->repo->root, window->walk->path, *listing->rel ? "/" : "", listing->rel);
	listing->fd = sys.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	int fd = listing->fd < 0 ? -1 : sys.openat(listing->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : sys.fdopendir(fd);
	if (!dir) {
		err_set_errno(&listing->err, ERR_FAILED, errno, "cannot open directory '%s'", path);
		fs_close_fd(&fd);
		return;
	}
	for (;;) {
		errno = 0;
		const struct dirent *entry = sys.readdir(dir);
		if (!entry && errno)
			err_set_errno(&listing->err, ERR_FAILED, errno, "cannot read directory '%s'", path);
		if (!entry)
			break;
		if (is_dot(entry->d_name))
			continue;
		if (listing->names.len > UINT32_MAX / 2) {
			err_set(&listing->err, ERR_FAILED, "the directory '%s' has too many entries", path);
			break;
		}
		vec_push(&listing->found, ((struct found){ .name_at = (uint32_t)listing->names.len, .type = entry->d_type }));
		buf_add(&listing->names, entry->d_name, strlen(entry->d_name) + 1);
	}
	closedir(dir);
}

static void look_at(const struct window *window, const struct listing *listing, struct found *found, struct buf *rel)
{
	const char *name = listing->names.data + found->name_at;
	struct stat st;
	if (found->type != DT_DIR && found->type != DT_LNK) {
		if (sys.fstatat(listing->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			found->failed = errno;
			return;
		}
		fs_stamp_of(&found->stamp, &st);
		found->type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISLNK(st.st_mode) ? DT_LNK : DT_REG;
	}
	buf_addf(rel, "%s/%s%s%s", window->walk->path, listing->rel, *listing->rel ? "/" : "", name);
	found->ignored = ignore_match(window->repo->ignore, rel->data, found->type == DT_DIR);
	found->bad_name = !text_is_utf8(name, strlen(name));
	if (found->type != DT_LNK || found->ignored || found->bad_name)
		return;
	found->is_link = true;
	if (sys.fstatat(listing->fd, name, &st, 0) == 0)
		fs_stamp_of(&found->stamp, &st);
	else if (errno == ENOENT || errno == ELOOP || errno == ENOTDIR)
		found->broken = true;
	else
		found->failed = errno;
}

static void look_at_some(void *ctx, size_t task)
{
	struct window *window = ctx;
	struct listing *listing = &window->at[window->tasks.at[task].listing];
	size_t from = window->tasks.at[task].from, end = from + STATS_PER_TASK;
	struct buf rel CLEANUP(buf_release) = BUF_INIT;
	for (size_t i = from; i < end && i < listing->found.len; i++) {
		buf_reset(&rel);
		look_at(window, listing, &listing->found.at[i], &rel);
	}
}

static void add_file(struct walk *walk, const char *rel, const struct fs_stamp *stamp, bool is_link)
{
	struct walk_file file = { .rel = rel, .is_link = is_link, .exec = stamp->mode & S_IXUSR, .size = stamp->size, .stamp = *stamp };
	vec_push(&walk->files, file);
}

/* A file, or a link to one; anything else is odd. */
static void add_leaf(struct walk *walk, const char *rel, const struct fs_stamp *stamp, bool is_link, bool broken)
{
	mode_t mode = (mode_t)stamp->mode;
	if (broken) {
		add_odd(walk, rel, "is a broken symbolic link");
		strlist_add(&walk->broken, rel);
	} else if (S_ISREG(mode))
		add_file(walk, rel, stamp, is_link);
	else if (is_link && S_ISDIR(mode))
		add_odd(walk, rel, "is a symbolic link to a directory");
	else {
		char *what OWNED = mem_printf("is %s%s", is_link ? "a symbolic link to " : "", kind_name(mode));
		add_odd(walk, rel, what);
	}
}

struct queue {
	VEC(struct listing) list; /* what is still to be read */
};

static int take_found(struct walk *walk, const struct listing *listing, const struct found *found, struct queue *queue, struct err *err)
{
	const char *name = listing->names.data + found->name_at;
	if (found->ignored || found->failed == ENOENT)
		return 0;
	if (found->failed)
		return err_set_errno(err, ERR_FAILED, found->failed, "cannot look at '%s/%s%s%s'", walk->path, listing->rel,
				     *listing->rel ? "/" : "", name);
	const char *rel = *listing->rel ? arena_join(&walk->arena, listing->rel, name) : arena_strdup(&walk->arena, name);
	if (found->bad_name) {
		add_odd(walk, rel, "has a name that is not UTF-8");
	} else if (found->type == DT_DIR) {
		if (listing->depth >= MAX_DEPTH)
			return err_set(err, ERR_FAILED, "directories are nested too deeply: '%s/%s'", walk->path, rel);
		vec_push(&queue->list, ((struct listing){ .rel = mem_strdup(rel), .depth = listing->depth + 1, .fd = -1 }));
	} else {
		if (strcmp(name, ".dvcignore") == 0)
			add_odd(walk, rel, "is inside of a tracked directory, where ignore files must not be");
		else if (dvc_file_is_name(name) && !found->is_link && S_ISREG((mode_t)found->stamp.mode))
			add_odd(walk, rel, "is a .dvc file inside of a tracked directory");
		add_leaf(walk, rel, &found->stamp, found->is_link, found->broken);
	}
	return 0;
}

static int read_window(struct window *window, struct queue *queue, struct err *err)
{
	pool_each(0, window->len, list_names, window);
	window->tasks.len = 0;
	size_t entries = 0;
	for (size_t i = 0; i < window->len; i++) {
		if (window->at[i].err.code)
			return err_move(err, &window->at[i].err);
		entries += window->at[i].found.len;
		for (size_t from = 0; from < window->at[i].found.len; from += STATS_PER_TASK)
			vec_push(&window->tasks, ((struct stat_task){ i, from }));
	}
	/* For a few a thread costs more than it saves. */
	pool_each(entries < 2 * STATS_PER_TASK ? 1 : 0, window->tasks.len, look_at_some, window);
	for (size_t i = 0; i < window->len; i++)
		for (size_t k = 0; k < window->at[i].found.len; k++)
			if (take_found(window->walk, &window->at[i], &window->at[i].found.at[k], queue, err) < 0)
				return -1;
	return 0;
}

static int read_tree(struct data_repo *repo, struct walk *walk, const char *sub, struct err *err)
{
	struct queue queue = { 0 };
	struct window window = { .repo = repo, .walk = walk };
	struct listing listings[WINDOW];
	int status = 0;
	vec_push(&queue.list, ((struct listing){ .rel = mem_strdup(sub), .fd = -1 }));
	while (queue.list.len) {
		window.at = listings;
		for (window.len = 0; window.len < WINDOW && queue.list.len;)
			listings[window.len++] = queue.list.at[--queue.list.len];
		if (status == 0)
			status = read_window(&window, &queue, err);
		for (size_t i = 0; i < window.len; i++)
			listing_release(&listings[i]);
	}
	vec_release(&queue.list);
	vec_release(&window.tasks);
	return status;
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct walk_file *)a)->rel, ((const struct walk_file *)b)->rel);
}

/* A path that is no directory. */
static int read_leaf(struct walk *walk, const char *abs, const char *rel, const struct stat *lst, struct err *err)
{
	struct stat st = *lst;
	struct fs_stamp stamp;
	bool is_link = S_ISLNK(lst->st_mode), broken = false;
	if (is_link && sys.fstatat(AT_FDCWD, abs, &st, 0) < 0) {
		if (errno != ENOENT && errno != ELOOP && errno != ENOTDIR)
			return err_set_errno(err, ERR_FAILED, errno, "cannot read the link %s", abs);
		broken = true;
	}
	walk->is_broken = broken && !*rel;
	fs_stamp_of(&stamp, &st);
	add_leaf(walk, rel, &stamp, is_link, broken);
	return 0;
}

static bool is_ignored(const struct data_repo *repo, const char *path, size_t from, bool is_dir)
{
	for (const char *at = strchr(path + from, '/'); at; at = strchr(at + 1, '/')) {
		char *part OWNED = mem_strndup(path, (size_t)(at - path));
		if (ignore_match(repo->ignore, part, true))
			return true;
	}
	return ignore_match(repo->ignore, path, is_dir);
}

/* What is at the member sub of a directory. */
static int read_member(struct data_repo *repo, struct walk *walk, const char *sub, struct err *err)
{
	char *rel OWNED = path_joined(walk->path, sub), *abs OWNED = repo_abs(repo, rel);
	struct stat st;
	if (repo_check_parents(repo, rel, err) < 0)
		return -1;
	if (sys.fstatat(AT_FDCWD, abs, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_set_errno(err, ERR_FAILED, errno, "cannot look at '%s'", rel);
	if (is_ignored(repo, rel, strlen(walk->path) + 1, S_ISDIR(st.st_mode)))
		return 0;
	if (S_ISDIR(st.st_mode))
		return read_tree(repo, walk, sub, err);
	return read_leaf(walk, abs, arena_strdup(&walk->arena, sub), &st, err);
}

int walk_path(struct data_repo *repo, const char *path, struct walk *ret, struct err *err)
{
	return walk_part(repo, path, NULL, ret, err);
}

int walk_part(struct data_repo *repo, const char *path, const char *sub, struct walk *ret, struct err *err)
{
	char *abs OWNED = repo_abs(repo, path);
	struct stat st;
	ret->path = mem_strdup(path);
	if (fs_lstat(abs, &st, &ret->exists, err) < 0)
		return -1;
	if (!ret->exists)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return read_leaf(ret, abs, "", &st, err);
	bool ignored;
	if (repo_ignored(repo, path, true, &ignored, err) < 0)
		return -1;
	ret->is_dir = true;
	if ((sub ? read_member(repo, ret, sub, err) : read_tree(repo, ret, "", err)) < 0)
		return -1;
	vec_sort(&ret->files, compare_files);
	strlist_sort(&ret->odd);
	strlist_sort(&ret->broken);
	return 0;
}

/* What a look-up needs is larger than what is kept of it, so that it goes in pieces; large ones, for the sake of all processors. */
#define HASHED_AT_ONCE 65536

static int hash_some(struct hashes *hashes, struct walk *walk, size_t from, size_t count, bool known_only, struct err *err)
{
	struct arena paths CLEANUP(arena_release) = { 0 };
	struct hash_item *items OWNED = mem_alloc(count * sizeof(*items));
	for (size_t i = 0; i < count; i++) {
		const struct walk_file *file = &walk->files.at[from + i];
		items[i].path = *file->rel ? arena_join(&paths, walk->path, file->rel) : walk->path;
		items[i].follow = true;
		items[i].seen = &file->stamp;
	}
	(known_only ? hashes_known_many : hashes_lookup_many)(hashes, walk->kind, items, count);
	int status = 0;
	for (size_t i = 0; i < count && status == 0; i++) {
		struct walk_file *file = &walk->files.at[from + i];
		if (items[i].err)
			status = err_move(err, items[i].err);
		else if (items[i].type != HASH_FILE) {
			err_set(err, ERR_FAILED, "%s changed while it was read", items[i].path);
			status = err_hint(err, "wait until whatever writes it has finished");
		} else {
			file->digest = items[i].digest;
			file->was_read = items[i].was_read;
			file->stamp = items[i].stamp;
			file->size = items[i].stamp.size;
		}
	}
	hash_items_release(items, count);
	return status;
}

static int hash_files(struct data_repo *repo, struct walk *walk, bool known_only, struct err *err)
{
	struct hashes *hashes;
	size_t count = walk->files.len;
	if (!count)
		return 0;
	if (repo_hashes(repo, &hashes, err) < 0)
		return -1;
	for (size_t at = 0; at < count; at += HASHED_AT_ONCE)
		if (hash_some(hashes, walk, at, count - at < HASHED_AT_ONCE ? count - at : HASHED_AT_ONCE, known_only, err) < 0)
			return -1;
	if (count > HASHED_AT_ONCE)
		hashes_trim(hashes);
	return 0;
}

int walk_hash(struct data_repo *repo, struct walk *walk, struct err *err)
{
	return hash_files(repo, walk, false, err);
}

int walk_hash_known(struct data_repo *repo, struct walk *walk, struct err *err)
{
	return hash_files(repo, walk, true, err);
}

int walk_describe(const struct walk *walk, struct dvc_dir *ret_members, struct odb_id *ret_id, struct err *err)
{
	*ret_id = (struct odb_id){ .is_dir = walk->is_dir };
	if (!walk->is_dir) {
		ret_id->digest = walk->files.at[0].digest;
		return 0;
	}
	for (size_t i = 0; i < walk->files.len; i++)
		dvc_dir_add(ret_members, walk->files.at[i].rel, walk->files.at[i].digest.bytes);
	if (dvc_dir_sort(ret_members, err) < 0)
		return -1;
	dvc_dir_digest(ret_members, &ret_id->digest, NULL);
	ret_id->digest.kind = (uint8_t)walk->kind;
	return 0;
}

/* Objects of DVC 2 are named without regard to line ends: whether that is the file's very content. */
static bool is_same_content(const char *object, const char *abs)
{
	struct digest_job jobs[2] = { { .path = abs }, { .path = object } };
	digest_files(DIGEST_MD5, jobs, 2);
	bool same = jobs[0].ret_status == 0 && jobs[1].ret_status == 0 && digest_eq(&jobs[0].ret, &jobs[1].ret);
	err_release(&jobs[0].ret_err);
	err_release(&jobs[1].ret_err);
	return same;
}

static bool is_cached_as(const struct data_repo *repo, const struct walk_file *file, const struct digest *digest, const char *abs)
{
	struct odb_id id = { *digest, false };
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	uint64_t size;
	if (!odb_has(&repo->odb, &id, &size))
		return false;
	odb_add_path(&repo->odb, &path, &id);
	return digest->kind == DIGEST_MD5 || (size == file->size && is_same_content(path.data, abs));
}

bool walk_is_cached(struct data_repo *repo, const struct walk *walk, const struct walk_file *file)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct digest other;
	struct fs_stamp stamp;
	bool stable;
	char *abs OWNED = mem_printf("%s/%s%s%s", repo->root, walk->path, *file->rel ? "/" : "", file->rel);
	if (is_cached_as(repo, file, &file->digest, abs))
		return true;
	enum digest_kind kind = walk->kind == DIGEST_MD5 ? DIGEST_MD5_DOS2UNIX : DIGEST_MD5;
	return digest_file(kind, abs, &other, &stamp, &stable, &ignored) == 0 && stable && is_cached_as(repo, file, &other, abs);
}

void walk_release(struct walk *walk)
{
	free(walk->path);
	vec_release(&walk->files);
	strlist_release(&walk->odd);
	strlist_release(&walk->broken);
	arena_release(&walk->arena);
	*walk = (struct walk)WALK_INIT;
}

const struct walk_file *walk_find(const struct walk *walk, const char *rel)
{
	struct walk_file key = { .rel = rel };
	return walk->files.len ? bsearch(&key, walk->files.at, walk->files.len, sizeof(key), compare_files) : NULL;
}

bool walk_has_below(const struct walk *walk, const char *rel)
{
	char *first OWNED = mem_printf("%s/", rel);
	size_t low = 0, high = walk->files.len;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(walk->files.at[middle].rel, first) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < walk->files.len && text_starts(walk->files.at[low].rel, first);
}
