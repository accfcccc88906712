#include "store/snapshot_internal.h"

#include "base/index.h"
#include "base/map.h"
#include "base/path.h"
#include "base/text.h"
#include "base/witness.h"
#include "store/clock.h"
#include "store/state.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC 0x534b4c4du /* "MLKS" */
#define VERSION 3u
#define SIZE_LIMIT ((size_t)1 << 30)
#define BLOCK_MAX 256u
#define SUM_AT 8 /* in a file */

/* Where answers of a kind are, and how many of them: those that were kept first make room. */
static const struct shelf {
	const char *dir;
	size_t max;
} shelves[] = {
	[SHELF_RUNS] = { "snapshots", 32 },
	[SHELF_GRAPHS] = { "graphs", 8 },
	[SHELF_SINCE] = { "since", 32 },
};

/* The format. */

bool snapshot_place(const char *root, enum snapshot_shelf shelf, const struct buf *question, struct buf *dir, struct buf *file)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (state_find_dir(root, dir, &ignored) < 0)
		return false;
	buf_addf(file, "%s/%s/%016llx", dir->data, shelves[shelf].dir, (unsigned long long)codec_checksum(question->data, question->len));
	return true;
}

bool snapshot_parse(const struct buf *bytes, const struct buf *question, struct snapshot_parts *ret)
{
	struct codec_in in = codec_in(bytes->data, bytes->len);
	uint32_t magic = codec_u32(&in), version = codec_u32(&in);
	ret->sum = codec_u64(&in);
	if (!codec_ok(&in) || magic != MAGIC || version != VERSION || ret->sum != codec_checksum(in.at, codec_left(&in)))
		return false;
	ret->boot = codec_u64(&in);
	ret->transaction = codec_u64(&in);
	ret->question = codec_bytes(&in, &ret->question_len);
	ret->answer = codec_bytes(&in, &ret->answer_len);
	ret->files = codec_u64(&in);
	ret->rest = in;
	return codec_ok(&in) && ret->question_len == question->len && memcmp(ret->question, question->data, question->len) == 0;
}

static void begin_file(struct buf *out, const struct snapshot_parts *parts)
{
	codec_add_u32(out, MAGIC);
	codec_add_u32(out, VERSION);
	codec_add_u64(out, 0);
	codec_add_u64(out, parts->boot);
	codec_add_u64(out, parts->transaction);
	codec_add_bytes(out, parts->question, parts->question_len);
	codec_add_bytes(out, parts->answer, parts->answer_len);
	codec_add_u64(out, parts->files);
}

static void end_file(struct buf *out)
{
	struct buf sum CLEANUP(buf_release) = BUF_INIT;
	codec_add_u64(&sum, codec_checksum(out->data + SUM_AT + 8, out->len - SUM_AT - 8));
	memcpy(out->data + SUM_AT, sum.data, sum.len);
}

bool snapshot_next_entry(struct codec_in *in, struct snapshot_entry *ret)
{
	ret->flags = codec_u8(in);
	ret->name = codec_str(in);
	if (!(ret->flags & SNAPSHOT_ENTRY_EXISTS))
		return codec_ok(in);
	ret->stamp.size = codec_u64(in);
	ret->stamp.mtime_ns = (int64_t)codec_u64(in);
	ret->stamp.ctime_ns = (int64_t)codec_u64(in);
	ret->stamp.ino = codec_u64(in);
	ret->stamp.dev = codec_u64(in);
	ret->stamp.mode = codec_u32(in);
	ret->stamp.nlink = codec_u32(in);
	return codec_ok(in);
}

static void add_entry(struct buf *out, const struct snapshot_entry *entry)
{
	const struct fs_stamp *stamp = &entry->stamp;
	const uint64_t wide[] = { stamp->size, (uint64_t)stamp->mtime_ns, (uint64_t)stamp->ctime_ns, stamp->ino, stamp->dev,
				  stamp->mode | (uint64_t)stamp->nlink << 32 };
	uint8_t bytes[sizeof(wide)];
	codec_add_u8(out, entry->flags);
	codec_add_str(out, entry->name);
	if (!(entry->flags & SNAPSHOT_ENTRY_EXISTS))
		return;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(wide[i / 8] >> (i % 8 * 8));
	buf_add(out, bytes, sizeof(bytes));
}

bool snapshot_is_identical(const struct fs_stamp *a, const struct fs_stamp *b)
{
	return a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns && a->ino == b->ino && a->dev == b->dev &&
	       a->mode == b->mode && a->nlink == b->nlink;
}

/* Keeping. */

struct snapshot {
	char *root;
	char *dir; /* of the state */
	int64_t clock;
	struct witness *witness;
	bool joined; /* the witness is that of a snapshot around this one */
	const struct snapshot_changes *changes; /* since the snapshot that this one goes on from; NULL: none */
};

/* What mlmake writes for itself says nothing about the project: its content is vouched for by the transaction. */
static bool is_ours(void *ctx, const char *path)
{
	static const char *const names[] = { "state", "state.aside", "locks", "logs", "snapshots", "graphs", "since", "clock", ".gitignore" };
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

static struct snapshot *begin(const char *root, bool may_create, bool later)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	void *outer;
	struct witness *witness = witness_current(is_ours, &outer);
	if (witness)
		return join(outer, witness, root);
	OWNED char *ours = path_joined(root, ".mlmake");
	bool is_new = may_create && !fs_is_dir(ours);
	int fd CLEANUP(fs_close_fd) = clock_open(root, may_create);
	/* Where our directory was just made, the project's own would be too new. */
	int64_t clock = later || is_new ? clock_later(fd) : clock_now(fd);
	if (clock == CLOCK_NONE || state_find_dir(root, &dir, &ignored) < 0)
		return NULL;
	struct snapshot *snapshot = mem_alloc(sizeof(*snapshot));
	snapshot->root = mem_strdup(root);
	snapshot->dir = buf_detach(&dir);
	snapshot->clock = clock;
	snapshot->witness = witness_begin(is_ours, snapshot);
	return snapshot;
}

struct snapshot *snapshot_begin(const char *root, bool may_create)
{
	return begin(root, may_create, false);
}

struct snapshot *snapshot_begin_later(const char *root)
{
	return begin(root, false, true);
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
	return a->exists == b->exists && a->denied == b->denied && snapshot_is_identical(&a->stamp, &b->stamp);
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

static struct open_block *block_of(struct keeping *keeping, const char *path, size_t len)
{
	size_t index = keeping->last;
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

/* dir_len: of the directory in path. */
static void put_entry(struct keeping *keeping, const char *path, size_t dir_len, const struct snapshot_entry *entry)
{
	struct open_block *block = block_of(keeping, path, dir_len);
	add_entry(&block->entries, entry);
	block->count++;
	keeping->count++;
}

static void add_file(struct keeping *keeping, const struct witness_file *file)
{
	/* Followed or not is one question where there is no link. */
	const struct witness_file *twin = file->follow ? find_seen(keeping, file->path, false) : NULL;
	if (twin && says_the_same(twin, file))
		return;
	const char *name = path_base(file->path);
	struct snapshot_entry entry = { .name = *name ? name : ".", .stamp = file->stamp };
	entry.flags = (uint8_t)((file->exists ? SNAPSHOT_ENTRY_EXISTS : 0) | (file->follow ? SNAPSHOT_ENTRY_FOLLOW : 0) |
				(file->denied ? SNAPSHOT_ENTRY_DENIED : 0));
	put_entry(keeping, file->path, (size_t)(name - file->path) - 1, &entry);
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

/* The snapshot that this one goes on from; false if it is another by now. */
static bool read_base(const struct snapshot *snapshot, const struct buf *question, struct buf *bytes, struct snapshot_parts *ret)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	return snapshot_place(snapshot->root, SHELF_RUNS, question, &dir, &path) && fs_read_file(path.data, SIZE_LIMIT, bytes, &ignored) == 0 &&
	       snapshot_parse(bytes, question, ret) && ret->sum == snapshot->changes->base;
}

/* The variables count for this answer, too: asking puts them among those that are witnessed. */
static void ask_vars(struct codec_in *in)
{
	for (uint32_t count = codec_u32(in); count > 0 && codec_ok(in); count--) {
		struct digest ignored;
		sys.getenv(codec_str(in));
		codec_u8(in);
		codec_digest(in, &ignored);
	}
}

/* What was as before when the base was asked, and was not looked at again since. */
static void add_old_block(struct keeping *keeping, const struct map *changed, const char *dir, struct codec_in *entries, uint32_t count)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	size_t dir_len = strlen(dir);
	buf_addf(&path, "%s/", dir);
	for (; count > 0; count--) {
		struct snapshot_entry entry;
		if (!snapshot_next_entry(entries, &entry))
			return;
		buf_truncate(&path, dir_len + 1);
		buf_addstr(&path, entry.name);
		if (!map_has(changed, path.data) && !find_seen(keeping, path.data, entry.flags & SNAPSHOT_ENTRY_FOLLOW))
			put_entry(keeping, path.data, dir_len, &entry);
	}
}

static bool add_base(struct keeping *keeping, struct codec_in *in)
{
	struct map changed CLEANUP(map_release) = MAP_INIT;
	const struct snapshot_changes *changes = keeping->snapshot->changes;
	for (size_t i = 0; i < changes->files.len; i++)
		map_set(&changed, changes->files.at[i].path, NULL);
	for (uint32_t blocks = codec_u32(in); blocks > 0 && codec_ok(in); blocks--) {
		const char *dir = codec_str(in);
		uint32_t count = codec_u32(in);
		size_t len;
		const void *bytes = codec_bytes(in, &len);
		struct codec_in entries = codec_in(bytes, len);
		if (codec_ok(in))
			add_old_block(keeping, &changed, dir, &entries, count);
	}
	return codec_done(in);
}

static void put_together(struct keeping *keeping, const struct snapshot_parts *parts, struct buf *out)
{
	begin_file(out, parts);
	add_vars(witness_vars(keeping->snapshot->witness), out);
	codec_add_u32(out, (uint32_t)keeping->blocks.len);
	for (size_t i = 0; i < keeping->blocks.len; i++) {
		struct open_block *block = &keeping->blocks.at[i];
		codec_add_str(out, block->dir);
		codec_add_u32(out, block->count);
		codec_add_bytes(out, block->entries.data, block->entries.len);
		buf_release(&block->entries);
	}
	end_file(out);
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

static bool write_to(enum snapshot_shelf shelf, const char *root, const struct buf *question, const struct buf *bytes)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	return bytes->len <= SIZE_LIMIT && snapshot_place(root, shelf, question, &dir, &path) && make_shelf(path.data, &ignored) == 0 &&
	       make_room(path.data, shelves[shelf].max, &ignored) == 0 &&
	       fs_write_file(path.data, bytes->data, bytes->len, 0666, FS_VOLATILE, &ignored) == 0;
}

static const char *keep(struct snapshot *snapshot, enum snapshot_kind kind, struct snapshot_parts *parts, const struct buf *question,
			struct codec_in *base)
{
	struct keeping keeping CLEANUP(keeping_release) = { .snapshot = snapshot };
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	const char *why = sort_files(&keeping);
	if (why)
		return why;
	if (base && !add_base(&keeping, base))
		return "what it goes on from is damaged";
	parts->files = keeping.count;
	put_together(&keeping, parts, &bytes);
	return write_to((enum snapshot_shelf)kind, snapshot->root, question, &bytes) ? NULL : "it cannot be written";
}

static struct snapshot_parts parts_of(const struct buf *question, const struct buf *answer, uint64_t seen)
{
	return (struct snapshot_parts){
		.boot = clock_boot(),
		.transaction = seen,
		.question = question->data,
		.question_len = question->len,
		.answer = answer->data,
		.answer_len = answer->len,
	};
}

static const char *keep_witnessed(struct snapshot *snapshot, enum snapshot_kind kind, const struct buf *question, const struct buf *answer,
				  uint64_t seen)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct snapshot_parts base, parts = parts_of(question, answer, kind == SNAPSHOT_RUNS ? seen : 0);
	if (!seen && kind == SNAPSHOT_RUNS)
		return "another process wrote to the state database";
	if (!parts.boot)
		return "the kernel does not tell one boot from another";
	if (snapshot->changes && !read_base(snapshot, question, &bytes, &base))
		return "what it goes on from is gone";
	if (snapshot->changes)
		ask_vars(&base.rest);
	if (!snapshot->joined)
		witness_end(snapshot->witness);
	const char *why_not = witness_fault(snapshot->witness);
	return why_not ? why_not : keep(snapshot, kind, &parts, question, snapshot->changes ? &base.rest : NULL);
}

void snapshot_keep(struct snapshot *snapshot, enum snapshot_kind kind, const struct buf *question, const struct buf *answer, uint64_t seen,
		   const char **ret_why_not)
{
	const char *why_not = "mlmake has not run here before";
	if (snapshot) {
		why_not = keep_witnessed(snapshot, kind, question, answer, seen);
		if (!snapshot->joined)
			witness_end(snapshot->witness);
	}
	if (ret_why_not)
		*ret_why_not = why_not;
}

void snapshot_go_on(struct snapshot *snapshot, const struct snapshot_changes *changes)
{
	snapshot->changes = changes;
}

bool snapshot_has_seen(const struct snapshot *snapshot, const struct snapshot_changes *changes)
{
	struct map changed CLEANUP(map_release) = MAP_INIT;
	const struct witness_files *files = witness_files(snapshot->witness);
	for (size_t i = 0; i < changes->files.len; i++)
		map_set(&changed, changes->files.at[i].path, NULL);
	for (size_t i = 0; i < files->len; i++)
		if (map_has(&changed, files->at[i].path))
			return true;
	return witness_fault(snapshot->witness) != NULL;
}

void snapshot_revise(const char *root, const struct buf *question, const struct snapshot_changes *changes, uint64_t seen,
		     const struct strlist *doubted)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct buf revision CLEANUP(buf_release) = BUF_INIT;
	codec_add_u64(&revision, changes->base);
	codec_add_u32(&revision, (uint32_t)doubted->len);
	for (size_t i = 0; i < doubted->len; i++)
		codec_add_str(&revision, doubted->at[i]);
	struct snapshot_parts parts = parts_of(question, &revision, seen);
	if (!seen)
		return;
	begin_file(&bytes, &parts);
	end_file(&bytes);
	if (!write_to(SHELF_SINCE, root, question, &bytes))
		return; /* then the next run goes the long way */
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
