#include "store/snapshot.h"

#include "base/index.h"
#include "base/map.h"
#include "base/path.h"
#include "base/pool.h"
#include "base/text.h"
#include "base/witness.h"
#include "store/clock.h"
#include "store/codec.h"
#include "store/state.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define MAGIC 0x534b4c4du /* "MLKS" */
#define VERSION 3u
#define SIZE_LIMIT ((size_t)1 << 30)
#define BLOCK_MAX 256u
#define PARALLEL_FILES 4096 /* below that a thread costs more than it saves */
#define OPEN_DIR_MIN 3    /* so many entries make it worth while to open their directory */

enum { ENTRY_EXISTS = 1, ENTRY_FOLLOW = 2, ENTRY_DENIED = 4 };

/* In place of a directory's descriptor. */
enum { DIR_NOT_OPEN = -1, DIR_MISSING = -2, DIR_DENIED = -3 };

/* Where answers of a kind are, and how many of them: those that were kept first make room. */
static const struct shelf {
	const char *dir;
	size_t max;
} shelves[] = {
	[SNAPSHOT_RUNS] = { "snapshots", 32 },
	[SNAPSHOT_GRAPHS] = { "graphs", 8 },
};

static bool is_missing(int number)
{
	return number == ENOENT || number == ENOTDIR;
}

static bool find_place(const char *root, enum snapshot_kind kind, const struct buf *question, struct buf *dir, struct buf *file)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (state_find_dir(root, dir, &ignored) < 0)
		return false;
	buf_addf(file, "%s/%s/%016llx", dir->data, shelves[kind].dir, (unsigned long long)codec_checksum(question->data, question->len));
	return true;
}

static void add_stamp(struct buf *out, const struct fs_stamp *stamp)
{
	const uint64_t wide[] = { stamp->size, (uint64_t)stamp->mtime_ns, (uint64_t)stamp->ctime_ns, stamp->ino, stamp->dev,
				  stamp->mode | (uint64_t)stamp->nlink << 32 };
	uint8_t bytes[sizeof(wide)];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(wide[i / 8] >> (i % 8 * 8));
	buf_add(out, bytes, sizeof(bytes));
}

static void read_stamp(struct codec_in *in, struct fs_stamp *ret)
{
	ret->size = codec_u64(in);
	ret->mtime_ns = (int64_t)codec_u64(in);
	ret->ctime_ns = (int64_t)codec_u64(in);
	ret->ino = codec_u64(in);
	ret->dev = codec_u64(in);
	ret->mode = codec_u32(in);
	ret->nlink = codec_u32(in);
}

/* In every field: what fs_stamp_same forgives may be looked at the long way. */
static bool is_identical(const struct fs_stamp *a, const struct fs_stamp *b)
{
	return a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns && a->ino == b->ino && a->dev == b->dev &&
	       a->mode == b->mode && a->nlink == b->nlink;
}

/* Asking. */

struct block {
	const char *dir;
	uint32_t count;
	bool alone; /* each by its path: looking at the directory would be witnessed */
	struct codec_in entries;
};

struct asking {
	VEC(struct block) blocks;
	atomic_bool differs;
};

static bool entry_holds(const struct block *block, int dir_fd, struct codec_in *in)
{
	char joined[PATH_MAX];
	struct fs_stamp then = { 0 }, now;
	struct stat st;
	uint8_t flags = codec_u8(in);
	const char *name = codec_str(in);
	if (flags & ENTRY_EXISTS)
		read_stamp(in, &then);
	if (!codec_ok(in))
		return false;
	if (dir_fd == DIR_MISSING || dir_fd == DIR_DENIED)
		return !(flags & ENTRY_EXISTS) && !(flags & ENTRY_DENIED) == (dir_fd == DIR_MISSING);
	if (dir_fd == DIR_NOT_OPEN && (size_t)snprintf(joined, sizeof(joined), "%s/%s", block->dir, name) >= sizeof(joined))
		return false;
	if (sys.fstatat(dir_fd < 0 ? AT_FDCWD : dir_fd, dir_fd < 0 ? joined : name, &st, flags & ENTRY_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		return !(flags & ENTRY_EXISTS) && (flags & ENTRY_DENIED ? errno == EACCES : is_missing(errno));
	fs_stamp_of(&now, &st);
	return (flags & ENTRY_EXISTS) && is_identical(&then, &now);
}

static bool block_holds(const struct block *block)
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
	for (uint32_t i = 0; i < block->count; i++)
		if (!entry_holds(block, dir_fd, &in))
			return false;
	return codec_done(&in);
}

static void ask_block(void *ctx, size_t index)
{
	struct asking *asking = ctx;
	if (!atomic_load_explicit(&asking->differs, memory_order_relaxed) && !block_holds(&asking->blocks.at[index]))
		atomic_store_explicit(&asking->differs, true, memory_order_relaxed);
}

static bool files_hold(struct codec_in *in, enum snapshot_kind kind, uint64_t files)
{
	struct asking asking = { .differs = false };
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

/* The state that the answer rests on: of the machine, and of the database. */
static bool state_holds(enum snapshot_kind kind, const char *dir, uint64_t boot, uint64_t transaction)
{
	if (!boot || boot != clock_boot())
		return false;
	return kind == SNAPSHOT_GRAPHS ? !transaction : transaction && transaction == state_last(dir);
}

bool snapshot_ask(const char *root, enum snapshot_kind kind, const struct buf *question, struct buf *ret_answer, uint64_t *ret_files)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (!find_place(root, kind, question, &dir, &path) || fs_read_file(path.data, SIZE_LIMIT, &bytes, &ignored) < 0)
		return false;
	struct codec_in in = codec_in(bytes.data, bytes.len);
	uint32_t magic = codec_u32(&in), version = codec_u32(&in);
	uint64_t sum = codec_u64(&in);
	if (!codec_ok(&in) || magic != MAGIC || version != VERSION || sum != codec_checksum(in.at, codec_left(&in)))
		return false;
	uint64_t boot = codec_u64(&in), transaction = codec_u64(&in);
	size_t question_len, answer_len;
	const void *asked = codec_bytes(&in, &question_len), *answer = codec_bytes(&in, &answer_len);
	*ret_files = codec_u64(&in);
	if (!codec_ok(&in) || question_len != question->len || memcmp(asked, question->data, question_len) != 0)
		return false;
	if (!state_holds(kind, dir.data, boot, transaction) || !vars_hold(&in) || !files_hold(&in, kind, *ret_files))
		return false;
	/* An answer can be large: it stays in the memory that it was read to. */
	memmove(bytes.data, answer, answer_len);
	buf_truncate(&bytes, answer_len);
	buf_release(ret_answer);
	*ret_answer = bytes;
	buf_init(&bytes);
	return true;
}

/* Keeping. */

struct snapshot {
	char *root;
	char *dir; /* of the state */
	int64_t clock;
	struct witness *witness;
	bool joined; /* the witness is that of a snapshot around this one */
};

/* What mlmake writes for itself says nothing about the project: its content is vouched for by the transaction. */
static bool is_ours(void *ctx, const char *path)
{
	static const char *const names[] = { "state", "state.aside", "locks", "logs", "snapshots", "graphs", "clock", ".gitignore" };
	const struct snapshot *snapshot = ctx;
	size_t root = strcmp(snapshot->root, "/") == 0 ? 0 : strlen(snapshot->root), dir = strlen(snapshot->dir);
	if (text_starts(path, "/proc/"))
		return true;
	const char *below = NULL;
	if (strncmp(path, snapshot->dir, dir) == 0 && (path[dir] == '/' || !path[dir]))
		below = path + dir;
	else if (strncmp(path, snapshot->root, root) == 0 && text_starts(path + root, "/.mlmake"))
		below = path + root + strlen("/.mlmake");
	if (!below || (*below && *below != '/'))
		return false;
	below += *below == '/';
	size_t len = strcspn(below, "/");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strlen(names[i]) == len && strncmp(names[i], below, len) == 0)
			return true;
	return !*below;
}

static struct snapshot *join(const struct snapshot *outer, struct witness *witness, const char *root)
{
	if (strcmp(outer->root, root) != 0)
		return NULL;
	struct snapshot *snapshot = mem_alloc(sizeof(*snapshot));
	*snapshot = (struct snapshot){ .root = mem_strdup(root), .dir = mem_strdup(outer->dir), .clock = outer->clock, .witness = witness,
				       .joined = true };
	return snapshot;
}

struct snapshot *snapshot_begin(const char *root, bool may_create)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	void *outer;
	struct witness *witness = witness_current(is_ours, &outer);
	if (witness)
		return join(outer, witness, root);
	int fd CLEANUP(fs_close_fd) = clock_open(root, may_create);
	int64_t clock = clock_now(fd);
	if (clock == CLOCK_NONE || state_find_dir(root, &dir, &ignored) < 0)
		return NULL;
	struct snapshot *snapshot = mem_alloc(sizeof(*snapshot));
	snapshot->root = mem_strdup(root);
	snapshot->dir = buf_detach(&dir);
	snapshot->clock = clock;
	snapshot->witness = witness_begin(is_ours, snapshot);
	return snapshot;
}

struct open_block {
	char *dir;
	uint32_t count;
	struct buf entries;
};

struct keeping {
	const struct snapshot *snapshot;
	const struct witness_files *files;
	struct index seen[2]; /* by path, of those that follow links not, and of those that do; numbers of files */
	VEC(uint32_t) distinct; /* the first of each */
	struct map current;     /* directory -> index + 1 of the block that takes more */
	VEC(struct open_block) blocks;
	size_t last;            /* index + 1 of the block that took the last one */
	uint64_t count;
};

static void keeping_release(struct keeping *keeping)
{
	for (size_t i = 0; i < keeping->blocks.len; i++) {
		free(keeping->blocks.at[i].dir);
		buf_release(&keeping->blocks.at[i].entries);
	}
	vec_release(&keeping->blocks);
	vec_release(&keeping->distinct);
	map_release(&keeping->current);
	index_release(&keeping->seen[0]);
	index_release(&keeping->seen[1]);
}

static const char *path_of(const void *ctx, uint32_t number)
{
	const struct witness_files *files = ctx;
	return files->at[number].path;
}

static bool says_the_same(const struct witness_file *a, const struct witness_file *b)
{
	return a->exists == b->exists && a->denied == b->denied && is_identical(&a->stamp, &b->stamp);
}

static const struct witness_file *find_seen(const struct keeping *keeping, const char *path, bool follow)
{
	uint32_t found = index_find(&keeping->seen[follow], path, strlen(path));
	return found == INDEX_NONE ? NULL : &keeping->files->at[found];
}

/* NULL, or why that cannot be kept. */
static const char *take_in(struct keeping *keeping, uint32_t number)
{
	const struct witness_file *file = &keeping->files->at[number];
	int64_t clock = keeping->snapshot->clock;
	if (index_add(&keeping->seen[file->follow], number))
		vec_push(&keeping->distinct, number);
	else if (!says_the_same(find_seen(keeping, file->path, file->follow), file))
		return "a file changed meanwhile";
	if (file->exists && (file->stamp.mtime_ns >= clock || file->stamp.ctime_ns >= clock))
		return "a file is too new";
	return NULL;
}

static struct open_block *block_of(struct keeping *keeping, const char *path, const char *name)
{
	size_t len = (size_t)(name - path) - 1, index = keeping->last;
	const char *last = index ? keeping->blocks.at[index - 1].dir : "";
	if (!index || strncmp(last, path, len) != 0 || last[len] || keeping->blocks.at[index - 1].count == BLOCK_MAX) {
		OWNED char *dir = mem_strndup(path, len);
		struct map_entry *entry = map_entry(&keeping->current, dir);
		index = (size_t)(uintptr_t)entry->value;
		if (!index || keeping->blocks.at[index - 1].count == BLOCK_MAX) {
			vec_push(&keeping->blocks, (struct open_block){ .dir = mem_strdup(dir), .entries = BUF_INIT });
			index = keeping->blocks.len;
			entry->value = (void *)(uintptr_t)index;
		}
		keeping->last = index;
	}
	return &keeping->blocks.at[index - 1];
}

static void add_file(struct keeping *keeping, const struct witness_file *file)
{
	/* Followed or not is one question where there is no link. */
	const struct witness_file *twin = file->follow ? find_seen(keeping, file->path, false) : NULL;
	if (twin && says_the_same(twin, file))
		return;
	const char *name = path_base(file->path);
	struct open_block *block = block_of(keeping, file->path, name);
	codec_add_u8(&block->entries, (uint8_t)((file->exists ? ENTRY_EXISTS : 0) | (file->follow ? ENTRY_FOLLOW : 0) |
						 (file->denied ? ENTRY_DENIED : 0)));
	codec_add_str(&block->entries, *name ? name : ".");
	if (file->exists)
		add_stamp(&block->entries, &file->stamp);
	block->count++;
	keeping->count++;
}

static const char *sort_files(struct keeping *keeping)
{
	const struct witness_files *files = keeping->files = witness_files(keeping->snapshot->witness);
	if (files->len >= INDEX_NONE)
		return "there are too many files";
	for (size_t follow = 0; follow < 2; follow++)
		keeping->seen[follow] = (struct index)INDEX_INIT(path_of, files);
	for (size_t i = 0; i < files->len; i++) {
		const char *why = take_in(keeping, (uint32_t)i);
		if (why)
			return why;
	}
	for (size_t i = 0; i < keeping->distinct.len; i++)
		add_file(keeping, &files->at[keeping->distinct.at[i]]);
	return NULL;
}

static void add_vars(const struct witness_vars *vars, struct buf *out)
{
	codec_add_u32(out, (uint32_t)vars->len);
	for (size_t i = 0; i < vars->len; i++) {
		const char *value = vars->at[i].value;
		struct digest digest = { .kind = DIGEST_NONE };
		if (value)
			digest_bytes(DIGEST_SHA256, value, strlen(value), &digest);
		codec_add_str(out, vars->at[i].name);
		codec_add_u8(out, value != NULL);
		codec_add_digest(out, &digest);
	}
}

static void put_together(struct keeping *keeping, uint64_t boot, const struct buf *question, const struct buf *answer, uint64_t seen,
			 struct buf *out)
{
	struct buf head CLEANUP(buf_release) = BUF_INIT;
	codec_add_u32(out, MAGIC);
	codec_add_u32(out, VERSION);
	size_t sum_at = out->len;
	codec_add_u64(out, 0);
	codec_add_u64(out, boot);
	codec_add_u64(out, seen);
	codec_add_bytes(out, question->data, question->len);
	codec_add_bytes(out, answer->data, answer->len);
	codec_add_u64(out, keeping->count);
	add_vars(witness_vars(keeping->snapshot->witness), out);
	codec_add_u32(out, (uint32_t)keeping->blocks.len);
	for (size_t i = 0; i < keeping->blocks.len; i++) {
		const struct open_block *block = &keeping->blocks.at[i];
		codec_add_str(out, block->dir);
		codec_add_u32(out, block->count);
		codec_add_bytes(out, block->entries.data, block->entries.len);
	}
	codec_add_u64(&head, codec_checksum(out->data + sum_at + 8, out->len - sum_at - 8));
	memcpy(out->data + sum_at, head.data, head.len);
}

struct crowd {
	size_t count;
	char *oldest;
	int64_t oldest_ns;
};

static int count_in(void *ctx, const struct fs_entry *entry, struct err *err)
{
	struct crowd *crowd = ctx;
	struct fs_stamp stamp;
	(void)err;
	fs_stamp_of(&stamp, entry->st);
	if (!crowd->count++ || stamp.mtime_ns < crowd->oldest_ns) {
		free(crowd->oldest);
		crowd->oldest = mem_strdup(entry->path);
		crowd->oldest_ns = stamp.mtime_ns;
	}
	return 1;
}

/* The one that was kept first makes room for a new one. */
static int make_room(const char *file, size_t max, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct crowd crowd = { .count = 0 };
	if (fs_exists(file))
		return 0;
	path_dir(&dir, file);
	int failed = fs_walk(dir.data, count_in, &crowd, err);
	if (!failed && crowd.count >= max)
		failed = fs_remove(crowd.oldest, err);
	free(crowd.oldest);
	return failed;
}

/* One directory in what is ours; directories around that would be seen by a witness that still stands. */
static int make_shelf(const char *file, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	path_dir(&dir, file);
	if (fs_is_dir(dir.data) || sys.mkdirat(AT_FDCWD, dir.data, 0777) == 0)
		return 0;
	return fs_mkdirs(dir.data, err);
}

static const char *keep(struct snapshot *snapshot, enum snapshot_kind kind, const struct buf *question, const struct buf *answer, uint64_t seen)
{
	struct keeping keeping CLEANUP(keeping_release) = { .snapshot = snapshot };
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	uint64_t boot = clock_boot();
	if (!seen && kind == SNAPSHOT_RUNS)
		return "another process wrote to the state database";
	if (!boot)
		return "the kernel does not tell one boot from another";
	const char *why = sort_files(&keeping);
	if (why)
		return why;
	put_together(&keeping, boot, question, answer, kind == SNAPSHOT_RUNS ? seen : 0, &bytes);
	if (bytes.len > SIZE_LIMIT || !find_place(snapshot->root, kind, question, &dir, &path) || make_shelf(path.data, &ignored) < 0 ||
	    make_room(path.data, shelves[kind].max, &ignored) < 0 || fs_write_file(path.data, bytes.data, bytes.len, 0666, FS_VOLATILE, &ignored) < 0)
		return "it cannot be written";
	return NULL;
}

void snapshot_keep(struct snapshot *snapshot, enum snapshot_kind kind, const struct buf *question, const struct buf *answer, uint64_t seen,
		   const char **ret_why_not)
{
	const char *why_not = "mlmake has not run here before";
	if (snapshot) {
		if (!snapshot->joined)
			witness_end(snapshot->witness);
		why_not = witness_fault(snapshot->witness);
		if (!why_not)
			why_not = keep(snapshot, kind, question, answer, seen);
	}
	if (ret_why_not)
		*ret_why_not = why_not;
}

void snapshot_end(struct snapshot *snapshot)
{
	if (!snapshot)
		return;
	if (!snapshot->joined)
		witness_free(snapshot->witness);
	free(snapshot->root);
	free(snapshot->dir);
	free(snapshot);
}

void snapshot_endp(struct snapshot **snapshot)
{
	snapshot_end(*snapshot);
}
