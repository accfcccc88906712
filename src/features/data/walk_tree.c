/*
 * Directories are read a window at a time, all processors at it: names first, then stats, in pieces, so that one large directory is
 * shared as well.
 */
#include "features/data/walk_tree.h"

#include "base/text.h"

#include <errno.h>
#include <string.h>

#define WINDOW 128 /* directories that are open at once */
#define STATS_PER_TASK 256
#define MAX_DEPTH 512

struct task {
	struct walk_listing *listing;
	size_t from;
	/* What was found, all of its entries together. */
	size_t files;
	uint64_t bytes;
	int64_t newest;
	bool has_dirs;
	struct walk_found *failed; /* the first that could not be looked at */
	struct digest seen;
};

struct window {
	struct data_repo *repo;
	const char *path; /* of the walk */
	struct walk_listing *at;
	size_t len;
	VEC(struct task) tasks;
};

struct queue {
	VEC(struct walk_listing) list; /* what is still to be read */
};

static void close_listing(struct walk_listing *listing)
{
	if (listing->dir)
		closedir(listing->dir);
	listing->dir = NULL;
}

void walk_listing_release(struct walk_listing *listing)
{
	close_listing(listing);
	free(listing->rel);
	buf_release(&listing->names);
	vec_release(&listing->found);
	err_release(&listing->err);
	*listing = (struct walk_listing){ .rel = NULL };
}

void walk_tree_release(struct walk_tree *tree)
{
	for (size_t i = 0; i < tree->listings.len; i++)
		walk_listing_release(&tree->listings.at[i]);
	vec_release(&tree->listings);
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static void add_shown(const struct window *window, const struct walk_listing *listing, struct buf *out)
{
	buf_addstr(out, window->path);
	if (*listing->rel) {
		buf_addch(out, '/');
		buf_addstr(out, listing->rel);
	}
}

static void list_names(void *ctx, size_t index)
{
	struct window *window = ctx;
	struct walk_listing *listing = &window->at[index];
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&path, "%s/", window->repo->root);
	add_shown(window, listing, &path);
	int fd = sys.openat(AT_FDCWD, path.data, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	listing->dir = fd < 0 ? NULL : sys.fdopendir(fd);
	if (!listing->dir) {
		err_set_errno(&listing->err, ERR_FAILED, errno, "cannot open directory '%s'", path.data);
		fs_close_fd(&fd);
		return;
	}
	for (;;) {
		errno = 0;
		const struct dirent *entry = sys.readdir(listing->dir);
		if (!entry && errno)
			err_set_errno(&listing->err, ERR_FAILED, errno, "cannot read directory '%s'", path.data);
		if (!entry)
			break;
		if (is_dot(entry->d_name))
			continue;
		if (listing->names.len > UINT32_MAX / 2) {
			err_set(&listing->err, ERR_FAILED, "the directory '%s' has too many entries", path.data);
			break;
		}
		vec_push(&listing->found, ((struct walk_found){ .name_at = (uint32_t)listing->names.len, .type = entry->d_type }));
		buf_add(&listing->names, entry->d_name, strlen(entry->d_name) + 1);
	}
}

static void stat_target(int dir, const char *name, struct walk_found *found)
{
	struct stat st;
	found->is_link = true;
	if (sys.fstatat(dir, name, &st, 0) == 0)
		fs_stamp_of(&found->stamp, &st);
	else if (errno == ENOENT || errno == ELOOP || errno == ENOTDIR)
		found->broken = true;
	else
		found->failed = errno;
}

/* rel: the directory's path with a slash, in which the name finds room. */
static void look_at(const struct window *window, int dir, const char *name, struct walk_found *found, struct buf *rel)
{
	struct stat st;
	if (found->type != DT_DIR && found->type != DT_LNK) {
		if (sys.fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			found->failed = errno;
			return;
		}
		fs_stamp_of(&found->stamp, &st);
		found->type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISLNK(st.st_mode) ? DT_LNK : DT_REG;
	}
	size_t base = rel->len, len = strlen(name);
	buf_add(rel, name, len);
	found->ignored = ignore_match(window->repo->ignore, rel->data, found->type == DT_DIR);
	buf_truncate(rel, base);
	found->bad_name = !text_is_utf8(name, len);
	if (found->type == DT_LNK && !found->ignored && !found->bad_name)
		stat_target(dir, name, found);
}

/* What a changed entry cannot keep, as it goes into the digest. The device is left out, whose number may differ after a boot, and the
 * ctime where a link elsewhere changes it. */
struct trace {
	uint64_t size;
	int64_t mtime_ns, ctime_ns;
	uint64_t ino;
	uint32_t mode;
	uint8_t type, is_link, is_linked, zero;
};
_Static_assert(sizeof(struct trace) == 40, "no bytes without a value are hashed");

static void add_trace(struct buf *out, const char *name, const struct walk_found *found)
{
	const struct fs_stamp *stamp = &found->stamp;
	bool is_dir = found->type == DT_DIR, is_linked = stamp->nlink > 1;
	struct trace trace = { .type = found->type, .is_link = found->is_link, .is_linked = !is_dir && is_linked };
	if (!is_dir) {
		trace.size = stamp->size;
		trace.mtime_ns = stamp->mtime_ns;
		trace.ctime_ns = is_linked ? 0 : stamp->ctime_ns;
		trace.ino = stamp->ino;
		trace.mode = stamp->mode;
	}
	buf_add(out, &trace, sizeof(trace));
	buf_add(out, name, strlen(name) + 1);
}

static void count(struct task *task, const struct walk_found *found)
{
	task->has_dirs |= found->type == DT_DIR;
	if (found->type == DT_DIR)
		return;
	task->files++;
	task->bytes += found->stamp.size;
	task->newest = found->stamp.mtime_ns > task->newest ? found->stamp.mtime_ns : task->newest;
	task->newest = found->stamp.ctime_ns > task->newest ? found->stamp.ctime_ns : task->newest;
}

static void look_at_some(void *ctx, size_t index)
{
	struct window *window = ctx;
	struct task *task = &window->tasks.at[index];
	struct walk_listing *listing = task->listing;
	struct buf rel CLEANUP(buf_release) = BUF_INIT, traces CLEANUP(buf_release) = BUF_INIT;
	int dir = dirfd(listing->dir);
	add_shown(window, listing, &rel);
	buf_addch(&rel, '/');
	task->newest = INT64_MIN;
	for (size_t i = task->from; i < task->from + STATS_PER_TASK && i < listing->found.len; i++) {
		struct walk_found *found = &listing->found.at[i];
		const char *name = listing->names.data + found->name_at;
		look_at(window, dir, name, found, &rel);
		if (found->failed && found->failed != ENOENT && !found->ignored && !task->failed)
			task->failed = found;
		if (found->ignored || found->failed)
			continue;
		add_trace(&traces, name, found);
		count(task, found);
	}
	digest_bytes(DIGEST_SHA256, traces.data, traces.len, &task->seen);
}

static int queue_dirs(const struct window *window, const struct task *task, struct queue *queue, struct err *err)
{
	const struct walk_listing *listing = task->listing;
	for (size_t i = task->from; i < task->from + STATS_PER_TASK && i < listing->found.len; i++) {
		const struct walk_found *found = &listing->found.at[i];
		if (found->type != DT_DIR || found->ignored || found->failed || found->bad_name)
			continue;
		const char *name = listing->names.data + found->name_at;
		char *rel = mem_printf("%s%s%s", listing->rel, *listing->rel ? "/" : "", name);
		vec_push(&queue->list, ((struct walk_listing){ .rel = rel, .depth = listing->depth + 1, .names = BUF_INIT }));
		if (listing->depth >= MAX_DEPTH)
			return err_set(err, ERR_FAILED, "directories are nested too deeply: '%s/%s'", window->path, rel);
	}
	return 0;
}

static int take_task(const struct window *window, const struct task *task, struct walk_tree *tree, struct queue *queue, struct err *err)
{
	const struct walk_listing *listing = task->listing;
	if (task->failed)
		return err_set_errno(err, ERR_FAILED, task->failed->failed, "cannot look at '%s/%s%s%s'", window->path, listing->rel,
				     *listing->rel ? "/" : "", listing->names.data + task->failed->name_at);
	tree->files += task->files;
	tree->bytes += task->bytes;
	tree->newest = task->newest > tree->newest ? task->newest : tree->newest;
	return task->has_dirs ? queue_dirs(window, task, queue, err) : 0;
}

static void add_tasks(struct window *window, struct walk_listing *listing, struct digest_stream *seen)
{
	uint64_t before = window->tasks.len;
	for (size_t from = 0; from < listing->found.len; from += STATS_PER_TASK)
		vec_push(&window->tasks, ((struct task){ .listing = listing, .from = from }));
	uint64_t tasks = window->tasks.len - before;
	digest_add(seen, listing->rel, strlen(listing->rel) + 1);
	digest_add(seen, &tasks, sizeof(tasks));
}

static int read_window(struct window *window, struct walk_tree *tree, struct queue *queue, struct digest_stream *seen, struct err *err)
{
	pool_each(0, window->len, list_names, window);
	window->tasks.len = 0;
	size_t entries = 0;
	for (size_t i = 0; i < window->len; i++) {
		if (window->at[i].err.code)
			return err_move(err, &window->at[i].err);
		entries += window->at[i].found.len;
		add_tasks(window, &window->at[i], seen);
	}
	/* For a few a thread costs more than it saves. */
	pool_each(entries < 2 * STATS_PER_TASK ? 1 : 0, window->tasks.len, look_at_some, window);
	for (size_t i = 0; i < window->tasks.len; i++) {
		digest_add(seen, window->tasks.at[i].seen.bytes, digest_len(DIGEST_SHA256));
		if (take_task(window, &window->tasks.at[i], tree, queue, err) < 0)
			return -1;
	}
	return 0;
}

int walk_tree_read(struct data_repo *repo, const char *path, const char *sub, struct walk_tree *ret, struct err *err)
{
	struct queue queue = { 0 };
	struct window window = { .repo = repo, .path = path };
	struct walk_listing listings[WINDOW];
	struct digest_stream *seen = digest_begin(DIGEST_SHA256);
	int status = 0;
	*ret = (struct walk_tree){ .newest = INT64_MIN };
	vec_push(&queue.list, ((struct walk_listing){ .rel = mem_strdup(sub), .names = BUF_INIT }));
	while (queue.list.len) {
		window.at = listings;
		for (window.len = 0; window.len < WINDOW && queue.list.len;)
			listings[window.len++] = queue.list.at[--queue.list.len];
		if (status == 0)
			status = read_window(&window, ret, &queue, seen, err);
		for (size_t i = 0; i < window.len; i++) {
			close_listing(&listings[i]);
			vec_push(&ret->listings, listings[i]);
		}
	}
	vec_release(&queue.list);
	vec_release(&window.tasks);
	digest_end(seen, &ret->seen);
	if (status < 0)
		walk_tree_release(ret);
	return status;
}
