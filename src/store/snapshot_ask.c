/* Whether an answer still holds, and if not, what is not as it was. */
#include "store/snapshot_internal.h"

#include "base/path.h"
#include "base/pool.h"
#include "store/clock.h"
#include "store/state.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_LIMIT ((size_t)1 << 30)
#define PARALLEL_FILES 4096 /* below that a thread costs more than it saves */
#define OPEN_DIR_MIN 3      /* so many entries make it worth while to open their directory */
#define CHANGES_MAX 256     /* more than that is looked at the long way */

/* In place of a directory's descriptor. */
enum { DIR_NOT_OPEN = -1, DIR_MISSING = -2, DIR_DENIED = -3 };

struct block {
	const char *dir;
	uint32_t count;
	bool alone; /* each by its path: looking at the directory would be witnessed */
	struct codec_in entries;
};

struct asking {
	VEC(struct block) blocks;
	struct snapshot_changes *changes; /* NULL: not asked for */
	pthread_mutex_t lock;             /* of changes */
	atomic_bool differs;              /* there is no need to look further */
};

static bool is_missing(int number)
{
	return number == ENOENT || number == ENOTDIR;
}

static bool entry_holds(const struct block *block, int dir_fd, const struct snapshot_entry *entry, bool *ret_is_dir)
{
	char joined[PATH_MAX];
	struct fs_stamp now;
	struct stat st;
	bool exists = entry->flags & SNAPSHOT_ENTRY_EXISTS, denied = entry->flags & SNAPSHOT_ENTRY_DENIED;
	*ret_is_dir = exists && S_ISDIR(entry->stamp.mode);
	if (dir_fd == DIR_MISSING || dir_fd == DIR_DENIED)
		return !exists && !denied == (dir_fd == DIR_MISSING);
	if (dir_fd == DIR_NOT_OPEN && (size_t)snprintf(joined, sizeof(joined), "%s/%s", block->dir, entry->name) >= sizeof(joined))
		return false;
	if (sys.fstatat(dir_fd < 0 ? AT_FDCWD : dir_fd, dir_fd < 0 ? joined : entry->name, &st,
			entry->flags & SNAPSHOT_ENTRY_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		return !exists && (denied ? errno == EACCES : is_missing(errno));
	fs_stamp_of(&now, &st);
	*ret_is_dir = *ret_is_dir || S_ISDIR(st.st_mode);
	return exists && snapshot_is_identical(&entry->stamp, &now);
}

/* False if there is no need to look further. */
static bool note_change(struct asking *asking, const struct block *block, const struct snapshot_entry *entry, bool is_dir)
{
	struct snapshot_changes *changes = asking->changes;
	if (!changes)
		return false;
	pthread_mutex_lock(&asking->lock);
	bool fits = changes->files.len < CHANGES_MAX;
	if (fits)
		vec_push(&changes->files, (struct snapshot_change){ mem_printf("%s/%s", block->dir, entry->name), is_dir });
	pthread_mutex_unlock(&asking->lock);
	return fits;
}

static bool look_at_block(struct asking *asking, const struct block *block)
{
	struct codec_in in = block->entries;
	int fd CLEANUP(fs_close_fd) = -1;
	int dir_fd = DIR_NOT_OPEN;
	if (block->count >= OPEN_DIR_MIN && !block->alone) {
		fd = sys.openat(AT_FDCWD, *block->dir ? block->dir : "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
		if (fd < 0 && !is_missing(errno) && errno != EACCES)
			return false;
		dir_fd = fd >= 0 ? fd : errno == EACCES ? DIR_DENIED : DIR_MISSING;
	}
	for (uint32_t i = 0; i < block->count; i++) {
		struct snapshot_entry entry;
		bool is_dir;
		if (!snapshot_next_entry(&in, &entry))
			return false;
		if (!entry_holds(block, dir_fd, &entry, &is_dir) && !note_change(asking, block, &entry, is_dir))
			return false;
	}
	return codec_done(&in);
}

static void ask_block(void *ctx, size_t index)
{
	struct asking *asking = ctx;
	if (!atomic_load_explicit(&asking->differs, memory_order_relaxed) && !look_at_block(asking, &asking->blocks.at[index]))
		atomic_store_explicit(&asking->differs, true, memory_order_relaxed);
}

/* Whether all files are as they were, or, with changes, all that are not are among those. */
static bool files_hold(struct codec_in *in, enum snapshot_kind kind, uint64_t files, struct snapshot_changes *changes)
{
	struct asking asking = { .changes = changes, .lock = PTHREAD_MUTEX_INITIALIZER };
	uint32_t count = codec_u32(in);
	for (uint32_t i = 0; i < count && codec_ok(in); i++) {
		struct block block = { .dir = codec_str(in), .count = codec_u32(in), .alone = kind == SNAPSHOT_GRAPHS };
		size_t len;
		const void *bytes = codec_bytes(in, &len);
		block.entries = codec_in(bytes, len);
		vec_push(&asking.blocks, block);
	}
	if (codec_done(in))
		pool_each(files < PARALLEL_FILES ? 1 : 0, asking.blocks.len, ask_block, &asking);
	vec_release(&asking.blocks);
	return codec_done(in) && !asking.differs;
}

static bool vars_hold(struct codec_in *in)
{
	uint32_t count = codec_u32(in);
	bool same = true;
	for (uint32_t i = 0; i < count && codec_ok(in) && same; i++) {
		struct digest then, now = { .kind = DIGEST_NONE };
		const char *value = sys.getenv(codec_str(in));
		bool was_set = codec_u8(in) == 1;
		codec_digest(in, &then);
		if (value)
			digest_bytes(DIGEST_SHA256, value, strlen(value), &now);
		same = was_set == (value != NULL) && digest_eq(&then, &now);
	}
	return same && codec_ok(in);
}

/* What snapshot_revise wrote for this very snapshot, and the transaction that the database is at. */
static bool read_revision(const char *root, const struct buf *question, struct snapshot_changes *changes)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct snapshot_parts parts;
	if (!snapshot_place(root, SHELF_SINCE, question, &dir, &path) || fs_read_file(path.data, SIZE_LIMIT, &bytes, &ignored) < 0 ||
	    !snapshot_parse(&bytes, question, &parts) || parts.transaction != changes->transaction)
		return false;
	struct codec_in in = codec_in(parts.answer, parts.answer_len);
	bool same = codec_u64(&in) == changes->base;
	for (uint32_t count = codec_u32(&in); same && count > 0 && codec_ok(&in); count--)
		strlist_add(&changes->doubted, codec_str(&in));
	return same && codec_done(&in);
}

/* The state that the answer rests on: of the machine, and of the database. */
static bool state_holds(enum snapshot_kind kind, const char *root, const char *dir, const struct buf *question, const struct snapshot_parts *parts,
			struct snapshot_changes *changes)
{
	if (!parts->boot || parts->boot != clock_boot())
		return false;
	if (kind == SNAPSHOT_GRAPHS)
		return !parts->transaction;
	uint64_t last = state_last(dir);
	if (!last || !parts->transaction)
		return false;
	if (!changes)
		return parts->transaction == last;
	changes->transaction = last;
	changes->base = parts->sum;
	return parts->transaction == last || read_revision(root, question, changes);
}

bool snapshot_ask(const char *root, enum snapshot_kind kind, const struct buf *question, struct buf *ret_answer, uint64_t *ret_files,
		  struct snapshot_changes *ret_changes)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct snapshot_parts parts;
	if (!snapshot_place(root, (enum snapshot_shelf)kind, question, &dir, &path) || fs_read_file(path.data, SIZE_LIMIT, &bytes, &ignored) < 0 ||
	    !snapshot_parse(&bytes, question, &parts) || !state_holds(kind, root, dir.data, question, &parts, ret_changes))
		return false;
	*ret_files = parts.files;
	if (!vars_hold(&parts.rest) || !files_hold(&parts.rest, kind, parts.files, ret_changes))
		return false;
	if (ret_changes && (ret_changes->files.len || ret_changes->doubted.len)) {
		ret_changes->known = true;
		return false;
	}
	/* An answer can be large: it stays in the memory that it was read to. */
	memmove(bytes.data, parts.answer, parts.answer_len);
	buf_truncate(&bytes, parts.answer_len);
	buf_release(ret_answer);
	*ret_answer = bytes;
	buf_init(&bytes);
	return true;
}

void snapshot_changes_release(struct snapshot_changes *changes)
{
	for (size_t i = 0; i < changes->files.len; i++)
		free(changes->files.at[i].path);
	vec_release(&changes->files);
	strlist_release(&changes->doubted);
	*changes = (struct snapshot_changes){ 0 };
}
