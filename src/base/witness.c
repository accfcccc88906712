#include "base/witness.h"

#include "base/mem.h"
#include "base/path.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define FDS_MAX 4096

struct witness {
	struct sys_table under; /* the table as it was */
	witness_ours_fn *is_ours;
	void *ctx;
	bool ended;
	_Atomic(const char *) fault;
	pthread_mutex_t lock; /* of all below */
	struct arena arena;
	char *cwd;
	const char *fds[FDS_MAX]; /* what directory a descriptor stands for; in the arena */
	struct witness_files files;
	struct witness_vars vars;
};

static void add_fault(struct witness *w, const char *why)
{
	const char *none = NULL;
	atomic_compare_exchange_strong(&w->fault, &none, why);
}

static bool is_blind(const struct witness *w)
{
	return atomic_load_explicit(&w->fault, memory_order_relaxed) != NULL;
}

/* What was recorded says nothing any more, and a run of many targets needs the memory. The lock is held; whoever takes it after this sees the fault. */
static void forget(struct witness *w)
{
	memset(w->fds, 0, sizeof(w->fds));
	vec_release(&w->files);
	vec_release(&w->vars);
	arena_release(&w->arena);
}

/* The path that dir and path stand for, in the arena; NULL where that is unknown. The lock is held. */
static const char *resolve(struct witness *w, int dir, const char *path)
{
	const char *base = path[0] == '/' ? "" : dir == AT_FDCWD ? w->cwd : dir >= 0 && dir < FDS_MAX ? w->fds[dir] : NULL;
	if (!base) {
		add_fault(w, "a directory of unknown name");
		return NULL;
	}
	size_t base_len = strlen(base), len = strlen(path);
	char *full = arena_alloc(&w->arena, base_len + len + 3), *at = full;
	memcpy(at, base, base_len);
	at += base_len;
	if (base_len && base[base_len - 1] != '/')
		*at++ = '/';
	memcpy(at, path, len);
	if (!len || path[len - 1] == '/')
		at[len] = '.';
	return full;
}

/* st is NULL where there is no such file, or none that may be looked at. */
static const char *record(struct witness *w, int dir, const char *path, bool follow, const struct stat *st, bool denied)
{
	pthread_mutex_lock(&w->lock);
	const char *full = is_blind(w) ? NULL : resolve(w, dir, path);
	if (full && !w->is_ours(w->ctx, full)) {
		struct witness_file file = { .path = full, .follow = follow, .exists = st != NULL, .denied = denied };
		if (st)
			fs_stamp_of(&file.stamp, st);
		vec_push(&w->files, file);
	}
	pthread_mutex_unlock(&w->lock);
	return full;
}

static void record_failure(struct witness *w, int dir, const char *path, bool follow)
{
	int number = errno;
	if (number == ENOENT || number == ENOTDIR || number == EACCES)
		record(w, dir, path, follow, NULL, number == EACCES);
	else
		add_fault(w, "a file that cannot be looked at");
	errno = number;
}

static void record_change(struct witness *w, int dir, const char *path)
{
	int number = errno;
	pthread_mutex_lock(&w->lock);
	const char *full = is_blind(w) ? NULL : resolve(w, dir, path);
	if (full && !w->is_ours(w->ctx, full)) {
		add_fault(w, "something was written");
		forget(w);
	}
	pthread_mutex_unlock(&w->lock);
	errno = number;
}

static int see_openat(int dir, const char *path, int flags, mode_t mode)
{
	struct witness *w = sys.witness;
	int fd = w->under.openat(dir, path, flags, mode);
	if (is_blind(w))
		return fd;
	bool follow = !(flags & O_NOFOLLOW);
	struct stat st;
	if ((flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)))
		record_change(w, dir, path);
	if (fd < 0) {
		record_failure(w, dir, path, follow);
		return fd;
	}
	if (w->under.fstat(fd, &st) < 0) {
		add_fault(w, "a file that cannot be looked at");
		return fd;
	}
	const char *full = record(w, dir, path, follow, &st, false);
	if (fd < FDS_MAX) {
		pthread_mutex_lock(&w->lock);
		w->fds[fd] = is_blind(w) ? NULL : full;
		pthread_mutex_unlock(&w->lock);
	}
	return fd;
}

static int see_fstatat(int dir, const char *path, struct stat *ret, int flags)
{
	struct witness *w = sys.witness;
	int failed = w->under.fstatat(dir, path, ret, flags);
	if (is_blind(w))
		return failed;
	if (failed)
		record_failure(w, dir, path, !(flags & AT_SYMLINK_NOFOLLOW));
	else
		record(w, dir, path, !(flags & AT_SYMLINK_NOFOLLOW), ret, false);
	return failed;
}

static ssize_t see_readlinkat(int dir, const char *path, char *to, size_t len)
{
	struct witness *w = sys.witness;
	struct stat st;
	see_fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW);
	return w->under.readlinkat(dir, path, to, len);
}

static int see_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	struct witness *w = sys.witness;
	record_change(w, from_dir, from);
	record_change(w, to_dir, to);
	return w->under.renameat(from_dir, from, to_dir, to);
}

static int see_unlinkat(int dir, const char *path, int flags)
{
	struct witness *w = sys.witness;
	record_change(w, dir, path);
	return w->under.unlinkat(dir, path, flags);
}

static int see_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	struct witness *w = sys.witness;
	record_change(w, from_dir, from);
	record_change(w, to_dir, to);
	return w->under.linkat(from_dir, from, to_dir, to, flags);
}

static int see_symlinkat(const char *target, int dir, const char *path)
{
	struct witness *w = sys.witness;
	record_change(w, dir, path);
	return w->under.symlinkat(target, dir, path);
}

static int see_mkdirat(int dir, const char *path, mode_t mode)
{
	struct witness *w = sys.witness;
	record_change(w, dir, path);
	return w->under.mkdirat(dir, path, mode);
}

static int see_fchmodat(int dir, const char *path, mode_t mode, int flags)
{
	struct witness *w = sys.witness;
	record_change(w, dir, path);
	return w->under.fchmodat(dir, path, mode, flags);
}

static char *see_getenv(const char *name)
{
	struct witness *w = sys.witness;
	char *value = w->under.getenv(name);
	if (is_blind(w))
		return value;
	pthread_mutex_lock(&w->lock);
	size_t i = 0;
	while (!is_blind(w) && i < w->vars.len && strcmp(w->vars.at[i].name, name) != 0)
		i++;
	if (!is_blind(w) && i == w->vars.len)
		vec_push(&w->vars, (struct witness_var){ .name = arena_strdup(&w->arena, name),
							 .value = value ? arena_strdup(&w->arena, value) : NULL });
	pthread_mutex_unlock(&w->lock);
	return value;
}

static void see_unseen(const char *what)
{
	struct witness *w = sys.witness;
	if (is_blind(w))
		return;
	pthread_mutex_lock(&w->lock);
	add_fault(w, what);
	forget(w);
	pthread_mutex_unlock(&w->lock);
}

struct witness *witness_begin(witness_ours_fn *is_ours, void *ctx)
{
	struct witness *w = mem_alloc(sizeof(*w));
	struct buf cwd = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	w->is_ours = is_ours;
	w->ctx = ctx;
	pthread_mutex_init(&w->lock, NULL);
	if (path_cwd(&cwd, &err) < 0)
		add_fault(w, "a working directory without a name");
	w->cwd = buf_detach(&cwd);
	w->under = sys;
	sys.witness = w;
	sys.openat = see_openat;
	sys.fstatat = see_fstatat;
	sys.readlinkat = see_readlinkat;
	sys.renameat = see_renameat;
	sys.unlinkat = see_unlinkat;
	sys.linkat = see_linkat;
	sys.symlinkat = see_symlinkat;
	sys.mkdirat = see_mkdirat;
	sys.fchmodat = see_fchmodat;
	sys.getenv = see_getenv;
	sys.unseen = see_unseen;
	return w;
}

void witness_end(struct witness *w)
{
	if (w->ended)
		return;
	w->ended = true;
	sys = w->under;
}

void witness_free(struct witness *w)
{
	if (!w)
		return;
	witness_end(w);
	arena_release(&w->arena);
	vec_release(&w->files);
	vec_release(&w->vars);
	free(w->cwd);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

struct witness *witness_current(witness_ours_fn *is_ours, void **ret_ctx)
{
	struct witness *w = sys.witness;
	if (!w || w->is_ours != is_ours)
		return NULL;
	*ret_ctx = w->ctx;
	return w;
}

const char *witness_fault(const struct witness *w)
{
	return atomic_load(&w->fault);
}

const struct witness_files *witness_files(const struct witness *w)
{
	return &w->files;
}

const struct witness_vars *witness_vars(const struct witness *w)
{
	return &w->vars;
}
