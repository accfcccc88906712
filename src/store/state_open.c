/* Opening a database, whatever state it is in. */
#include "store/state_internal.h"

#include "base/fs.h"
#include "base/path.h"
#include "store/codec.h"
#include "store/state_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#define DATABASE_VERSION 2u
#define MAP_START ((size_t)64 << 20)
#define NOTICE "notice" /* of STATE_META: what nobody was told yet */
#define LOOKS 20 /* at what another process may be writing just now */
#define ATTEMPTS 5

static const char *const table_names[STATE_TABLE_COUNT] = { "meta", "stat", "results", "tools", "history", "past", "actions", "objects" };

static const char *what_it_is(const struct state *state)
{
	return state->wanted == OF_CACHE ? "index of the output cache" : "state database";
}

int state_fail(struct err *err, const struct state *state, int code, const char *doing)
{
	if (code > 0)
		err_set_errno(err, ERR_FAILED, code, "cannot %s the %s in '%s'", doing, what_it_is(state), state->path);
	else
		err_set(err, ERR_FAILED, "cannot %s the %s in '%s': %s", doing, what_it_is(state), state->path, mdb_strerror(code));
	if (code == EACCES || code == EROFS || code == EPERM)
		return err_hint(err, "make it writable for you, or let MLMAKE_STATE_DIR name another directory");
	if (code == ENOSPC || code == EDQUOT)
		return -1; /* err_set_errno has given a hint */
	return err_hint(err, "removing that directory costs time, never data");
}

void state_close_env(struct state *state)
{
	if (state->view)
		mdb_txn_abort(state->view);
	state->view = NULL;
	state->view_open = false;
	if (state->env)
		mdb_env_close(state->env);
	state->env = NULL;
	state->mapping = (struct mapping){ 0 };
}

static int open_each(struct state *state, MDB_txn *txn, unsigned flags)
{
	int code = 0;
	for (unsigned i = 0; i < STATE_TABLE_COUNT && !code; i++)
		if (state->wanted & 1u << i)
			code = mdb_dbi_open(txn, table_names[i], MDB_INTEGERKEY | flags, &state->tables[i]);
	return code;
}

static int open_tables(struct state *state)
{
	MDB_txn *txn;
	int code = mdb_txn_begin(state->env, NULL, MDB_RDONLY, &txn);
	if (code)
		return code;
	code = open_each(state, txn, 0);
	if (!code)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	if (code != MDB_NOTFOUND)
		return code;
	if ((code = mdb_txn_begin(state->env, NULL, 0, &txn)))
		return code;
	code = open_each(state, txn, MDB_CREATE);
	if (!code)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return code;
}

void state_add_version(struct state *state)
{
	struct buf version CLEANUP(buf_release) = BUF_INIT;
	codec_add_u32(&version, DATABASE_VERSION);
	state_add_pending(state, STATE_META, "version", version.data, version.len);
}

static int fd_of(const struct state *state)
{
	int fd;
	return mdb_env_get_fd(state->env, &fd) ? -1 : fd;
}

void state_note_written(const struct state *state)
{
	struct fs_stamp stamp;
	if (state->env && state->wrote && !state_is_noted(state->path, fd_of(state), &stamp))
		state_note(state->path, &stamp);
}

static void pause_a_moment(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* One look may meet a page that is being written. */
static int check_pages(struct state *state)
{
	struct fs_stamp stamp;
	size_t first = 0, last = 0;
	if (state_is_noted(state->path, fd_of(state), &stamp))
		return 0;
	for (int look = 0, damaged = 0; look < LOOKS; look++) {
		MDB_txn *txn;
		if (look)
			pause_a_moment();
		int code = mdb_txn_begin(state->env, NULL, MDB_RDONLY, &txn);
		if (code == MDB_MAP_RESIZED)
			code = mdb_env_set_mapsize(state->env, 0);
		else if (code)
			return code;
		if (code)
			return code;
		last = mdb_txn_id(txn);
		first = look ? first : last;
		enum state_shape shape = state_check_pages(fd_of(state), last);
		mdb_txn_abort(txn);
		if (shape == STATE_WHOLE) {
			state_note(state->path, &stamp);
			return 0;
		}
		damaged = shape == STATE_DAMAGED ? damaged + 1 : 0;
		if (damaged == 2)
			return MDB_CORRUPTED;
	}
	/* Where transactions went on, others write to it all the time, who have looked at it themselves. */
	return last != first ? 0 : MDB_CORRUPTED;
}

/* A file that another process is just creating looks damaged for a moment. */
static bool head_is_whole(struct state *state)
{
	for (int look = 0; look < LOOKS; look++) {
		if (state_head_is_whole(state->path, &state->ino))
			return true;
		pause_a_moment();
	}
	return false;
}

/* Shared by who opens a database, so that LMDB's two files are of the same one; alone by who puts another in its place. */
static int take_turn(const struct state *state, int how)
{
	int fd = sys.openat(AT_FDCWD, state->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd >= 0)
		(void)sys.flock(fd, how);
	return fd;
}

static int open_env(struct state *state)
{
	struct stat st;
	if (!head_is_whole(state))
		return MDB_CORRUPTED;
	int code = mdb_env_create(&state->env);
	if (code)
		return code;
	mdb_env_set_maxdbs(state->env, STATE_TABLE_COUNT);
	mdb_env_set_maxreaders(state->env, 1024);
	mdb_env_set_mapsize(state->env, MAP_START);
	/* Without the synchronous meta page a power cut may undo the last transaction; the database stays whole. */
	if ((code = mdb_env_open(state->env, state->path, MDB_NOTLS | MDB_NOMETASYNC, 0666)))
		return code;
	state->ino = sys.fstat(fd_of(state), &st) == 0 ? (uint64_t)st.st_ino : 0;
	int dead;
	mdb_reader_check(state->env, &dead);
	code = check_pages(state);
	return code ? code : open_tables(state);
}

int state_open_env(struct state *state)
{
	int turn UNUSED CLEANUP(fs_close_fd) = take_turn(state, LOCK_SH);
	return open_env(state);
}

/* Not MDB_PANIC: then a write has failed, and what is on disk is what was before it. */
bool state_is_damage(int code)
{
	return code == MDB_CORRUPTED || code == MDB_INVALID || code == MDB_VERSION_MISMATCH || code == MDB_PAGE_NOTFOUND ||
	       code == MDB_INCOMPATIBLE || code == MDB_BAD_DBI;
}

/* Whoever comes second finds that another process has begun a new one. */
static bool is_still_there(const struct state *state)
{
	uint64_t ino;
	(void)state_head_is_whole(state->path, &ino);
	return ino == state->ino;
}

int state_set_aside(struct state *state, const char *why, struct err *err)
{
	state_close_env(state);
	int turn UNUSED CLEANUP(fs_close_fd) = take_turn(state, LOCK_EX);
	if (!is_still_there(state))
		return 0;
	char *aside OWNED = mem_printf("%s.aside", state->path);
	if (fs_remove_tree(aside, err) < 0 || fs_rename(state->path, aside, err) < 0 || fs_mkdirs(state->path, err) < 0)
		return -1;
	const char *then = state->wanted == OF_CACHE ? "what is missing from it is made again" : "targets are looked at anew";
	char *notice = mem_printf("the %s %s: it is set aside as '%s' and a new one begun; %s", what_it_is(state), why, aside, then);
	state_add_pending(state, STATE_META, NOTICE, notice, strlen(notice) + 1);
	strlist_take(&state->notices, notice);
	state->knows_notice = true;
	return 0;
}

/* Whether what is there is of a version that this program understands; writes the version into a new database, or one that it has brought up
 * to its own. */
static int check_version(struct state *state, bool *ret_newer, struct err *err)
{
	const void *bytes;
	size_t len;
	*ret_newer = false;
	if (state_get(state, STATE_META, "version", &bytes, &len)) {
		struct codec_in in = codec_in(bytes, len);
		*ret_newer = codec_u32(&in) > DATABASE_VERSION;
		state_refresh(state);
		return 0;
	}
	if (state_rekey(state, err) < 0)
		return -1;
	state_add_version(state);
	return state_flush(state, err);
}

/* Whoever opened it before may have had nobody to tell. */
static void find_notice(struct state *state)
{
	const void *bytes;
	size_t len;
	if (state->knows_notice || !state_get(state, STATE_META, NOTICE, &bytes, &len))
		return;
	if (len && ((const char *)bytes)[len - 1] == 0)
		strlist_add(&state->notices, bytes);
	state->knows_notice = true;
	state_refresh(state);
}

void state_told(struct state *state)
{
	if (state->knows_notice)
		state_drop(state, STATE_META, NOTICE);
	state->knows_notice = false;
}

/* What else is there in its place goes out of the way. */
static int make_place(struct state *state, struct err *err)
{
	struct stat st;
	bool exists;
	if (fs_is_dir(state->path))
		return 0;
	if (fs_lstat(state->path, &st, &exists, err) < 0)
		return -1;
	return exists && state->wanted != OF_CACHE ? state_set_aside(state, "is damaged", err) : fs_mkdirs(state->path, err);
}

int state_open_or_rebuild(struct state *state, struct err *err)
{
	for (int attempt = 1;; attempt++) {
		if (make_place(state, err) < 0)
			return -1;
		int code = state_open_env(state);
		if (code && (attempt == ATTEMPTS || (code != ENOENT && !state_is_damage(code))))
			return state_fail(err, state, code, "open");
		if (code) {
			/* A directory that was there a moment ago was removed. */
			state_close_env(state);
			if (code != ENOENT && state_set_aside(state, "is damaged", err) < 0)
				return -1;
			continue;
		}
		bool newer;
		if (check_version(state, &newer, err) < 0)
			return -1;
		if (!newer) {
			find_notice(state);
			return 0;
		}
		if (state_set_aside(state, "was written by a newer mlmake", err) < 0)
			return -1;
	}
}

