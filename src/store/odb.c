#include "store/odb.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/pool.h"
#include "base/proc.h"
#include "base/text.h"
#include "store/odb_internal.h"

#include <errno.h>
#include <string.h>

#define TEMP_NAME ".mlmake-tmp"
#define DAMAGED_NAME "damaged"

/* fdatasync waits for the device: many at once let it merge them. */
#define SYNC_THREADS 16

void odb_init(struct odb *odb, const char *dir, bool shared)
{
	*odb = (struct odb){ .dir = mem_strdup(dir), .shared = shared, .temp = TEMP_DIR_INIT };
}

void odb_release(struct odb *odb)
{
	temp_dir_drop(&odb->temp);
	vec_release(&odb->made);
	for (size_t i = 0; i < odb->offered.len; i++)
		free(odb->offered.at[i].path);
	vec_release(&odb->offered);
	free(odb->dir);
	*odb = (struct odb){ .temp = TEMP_DIR_INIT };
}

struct odb_id odb_member(const struct odb_id *dir, const uint8_t md5[16])
{
	struct odb_id id = { { .kind = dir->digest.kind }, false };
	memcpy(id.digest.bytes, md5, 16);
	return id;
}

void odb_add_key(struct buf *out, const struct odb_id *id)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(&id->digest, hex);
	if (id->digest.kind != DIGEST_MD5_DOS2UNIX)
		buf_addstr(out, "files/md5/");
	buf_add(out, hex, 2);
	buf_addch(out, '/');
	buf_addstr(out, hex + 2);
	if (id->is_dir)
		buf_addstr(out, ".dir");
}

void odb_add_path(const struct odb *odb, struct buf *out, const struct odb_id *id)
{
	buf_addstr(out, odb->dir);
	buf_addch(out, '/');
	odb_add_key(out, id);
}

bool odb_id_of_key(const char *key, struct odb_id *ret)
{
	char hex[33] = "";
	bool legacy = !text_starts(key, "files/md5/");
	const char *rest = legacy ? key : key + strlen("files/md5/");
	size_t len = strlen(rest);
	ret->is_dir = len == 37 && text_ends(rest, ".dir");
	if ((len != 33 && !ret->is_dir) || rest[2] != '/')
		return false;
	memcpy(hex, rest, 2);
	memcpy(hex + 2, rest + 3, 30);
	return digest_parse(&ret->digest, legacy ? DIGEST_MD5_DOS2UNIX : DIGEST_MD5, hex);
}

/* md5 of nothing, in either kind. */
static bool is_empty_digest(const struct digest *digest)
{
	static const uint8_t empty[16] = { 0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04,
					   0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42, 0x7e };
	return memcmp(digest->bytes, empty, sizeof(empty)) == 0;
}

static bool protect_verified(const char *path, const struct odb_id *id)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct digest digest;
	struct fs_stamp stamp;
	bool stable = false;
	if (digest_file(id->digest.kind, path, &digest, &stamp, &stable, &ignored) < 0 || !stable)
		return false;
	if (!digest_eq(&digest, &id->digest))
		return false;
	/* That of another user in a shared cache, or where nobody may write, is right all the same. */
	return sys.fchmodat(AT_FDCWD, path, 0444, 0) == 0 || errno == EPERM || errno == EACCES || errno == EROFS;
}

bool odb_has(const struct odb *odb, const struct odb_id *id, uint64_t *ret_size)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	odb_add_path(odb, &path, id);
	if (sys.fstatat(AT_FDCWD, path.data, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	if ((st.st_size == 0) != is_empty_digest(&id->digest))
		return false;
	if ((st.st_mode & 0222) && !protect_verified(path.data, id))
		return false;
	if (ret_size)
		*ret_size = (uint64_t)st.st_size;
	return true;
}

static int make_shared_dir(const struct odb *odb, const char *path, struct err *err)
{
	struct buf parent CLEANUP(buf_release) = BUF_INIT;
	if (fs_is_dir(path))
		return 0;
	/* As in dvc all that is made on the way is the group's, or others could not add to it. */
	path_dir(&parent, path);
	if (odb->shared && make_shared_dir(odb, parent.data, err) < 0)
		return -1;
	if (fs_mkdirs(path, err) < 0)
		return -1;
	/* EPERM: somebody else of the group was faster. */
	if (odb->shared && sys.fchmodat(AT_FDCWD, path, 02775, 0) < 0 && errno != EPERM)
		return err_set_errno(err, ERR_FAILED, errno, "cannot change the mode of %s", path);
	return 0;
}

bool odb_exists(const struct odb *odb, const struct odb_id *id)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	odb_add_path(odb, &path, id);
	return sys.fstatat(AT_FDCWD, path.data, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static int make_temp(struct odb *odb, struct err *err)
{
	char *parent OWNED = path_joined(odb->dir, TEMP_NAME);
	if (make_shared_dir(odb, parent, err) < 0)
		return err_note(err, "the data cache is %s", odb->dir);
	return temp_dir_make(&odb->temp, parent, "t", err);
}

int odb_temp_path(struct odb *odb, struct buf *out, struct err *err)
{
	if (!odb->temp.path && make_temp(odb, err) < 0)
		return -1;
	buf_addf(out, "%s/%llu", odb->temp.path, (unsigned long long)odb->temp_next++);
	return 0;
}

void odb_partial_dir(const struct odb *odb, struct buf *out)
{
	buf_addf(out, "%s/%s/partial", odb->dir, TEMP_NAME);
}

/* Publishing: sync the temporaries, rename them, sync the directories. */

struct sync_job {
	const struct odb_publish *items;
	int *fds;     /* of each, as far as they are open */
	size_t may_stay; /* so many may be open at once */
	int *numbers; /* errno of each, 0 if done */
};

/* The device begins with all of them before the first is waited for: many small writes become few large ones. Only a hint; what fails here fails again
 * where it counts. */
static void start_one(void *ctx, size_t i)
{
	struct sync_job *job = ctx;
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, job->items[i].temp, O_RDONLY | O_CLOEXEC, 0);
	if (fd >= 0)
		sys.sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	if (i < job->may_stay) {
		job->fds[i] = fd;
		fd = -1;
	}
}

static void sync_one(void *ctx, size_t i)
{
	struct sync_job *job = ctx;
	int fd CLEANUP(fs_close_fd) = job->fds[i] >= 0 ? job->fds[i] : sys.openat(AT_FDCWD, job->items[i].temp, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0 || sys.fchmod(fd, 0444) < 0 || sys.fdatasync(fd) < 0)
		job->numbers[i] = errno;
}

static int sync_temps(const struct odb_publish *items, size_t count, struct err *err)
{
	int *numbers OWNED = mem_alloc(count * sizeof(*numbers)), *fds OWNED = mem_alloc(count * sizeof(*fds));
	struct sync_job job = { items, fds, proc_descriptors() / 4, numbers };
	for (size_t i = 0; i < count; i++)
		fds[i] = -1;
	if (count > SYNC_THREADS)
		pool_each(0, count, start_one, &job);
	pool_each(SYNC_THREADS, count, sync_one, &job);
	for (size_t i = 0; i < count; i++)
		if (numbers[i])
			return err_set_errno(err, ERR_FAILED, numbers[i], "cannot write %s", items[i].temp);
	return 0;
}

#define FAN_OUT 256u
#define FAN_OUTS (2 * FAN_OUT) /* behind those of files/md5 those of DVC 2 */

void odb_add_fan_out(const struct odb *odb, struct buf *out, bool legacy, unsigned first)
{
	buf_addf(out, "%s/%s%02x", odb->dir, legacy ? "" : "files/md5/", first);
}

static void fan_out_path(const struct odb *odb, unsigned index, struct buf *out)
{
	odb_add_fan_out(odb, out, index >= FAN_OUT, index % FAN_OUT);
}

static unsigned fan_out_of(const struct odb_id *id)
{
	return id->digest.bytes[0] + (id->digest.kind == DIGEST_MD5_DOS2UNIX ? FAN_OUT : 0);
}

struct fan_out_job {
	const struct odb *odb;
	uint16_t index[FAN_OUTS];
	int numbers[FAN_OUTS];
};

static void sync_fan_out(void *ctx, size_t i)
{
	struct fan_out_job *job = ctx;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	fan_out_path(job->odb, job->index[i], &path);
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0 || sys.fsync(fd) < 0)
		job->numbers[i] = errno;
}

static int sync_fan_outs(const struct odb *odb, const bool touched[FAN_OUTS], bool made, struct err *err)
{
	struct fan_out_job job = { .odb = odb };
	size_t count = 0;
	for (unsigned i = 0; i < FAN_OUTS; i++)
		if (touched[i])
			job.index[count++] = (uint16_t)i;
	pool_each(SYNC_THREADS, count, sync_fan_out, &job);
	for (size_t i = 0; i < count; i++) {
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		fan_out_path(odb, job.index[i], &path);
		if (job.numbers[i])
			return err_set_errno(err, ERR_FAILED, job.numbers[i], "cannot sync %s", path.data);
	}
	if (!made)
		return 0;
	static const char *const levels[] = { "/files/md5", "/files", "" };
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		buf_addf(&path, "%s%s", odb->dir, levels[i]);
		if (fs_is_dir(path.data) && fs_sync_dir(path.data, err) < 0)
			return -1;
	}
	return 0;
}

/* Below, hashing an object again costs less than it takes to remember. */
#define REMEMBERED_FROM ((off_t)1 << 20)

static void remember(struct odb *odb, const struct odb_publish *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		struct odb_made made = { .id = items[i].id };
		struct stat st;
		odb_add_path(odb, &path, &items[i].id);
		if (sys.fstatat(AT_FDCWD, path.data, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size < REMEMBERED_FROM)
			continue;
		fs_stamp_of(&made.stamp, &st);
		vec_push(&odb->made, made);
	}
}

bool odb_is_as_made(const struct odb *odb, const struct odb_id *id, const struct stat *st)
{
	struct fs_stamp stamp;
	if (st->st_size < REMEMBERED_FROM)
		return false;
	fs_stamp_of(&stamp, st);
	for (size_t i = 0; i < odb->made.len; i++)
		if (digest_eq(&odb->made.at[i].id.digest, &id->digest) && fs_stamp_same(&odb->made.at[i].stamp, &stamp))
			return true;
	return false;
}

void odb_offer(struct odb *odb, const struct odb_id *id, const char *path)
{
	struct odb_offered offered = { .id = *id };
	struct stat st;
	if (sys.fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return;
	fs_stamp_of(&offered.stamp, &st);
	offered.path = mem_strdup(path);
	vec_push(&odb->offered, offered);
}

static int publish_batch(struct odb *odb, const struct odb_publish *items, size_t count, struct err *err)
{
	if (sync_temps(items, count, err) < 0)
		return -1;
	bool touched[FAN_OUTS] = { false }, made = false;
	for (size_t i = 0; i < count; i++) {
		unsigned fan = fan_out_of(&items[i].id);
		if (!touched[fan]) {
			struct buf dir CLEANUP(buf_release) = BUF_INIT;
			fan_out_path(odb, fan, &dir);
			if (!fs_is_dir(dir.data)) {
				made = true;
				if (make_shared_dir(odb, dir.data, err) < 0)
					return -1;
			}
			touched[fan] = true;
		}
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		odb_add_path(odb, &path, &items[i].id);
		if (fs_rename(items[i].temp, path.data, err) < 0)
			return -1;
	}
	if (sync_fan_outs(odb, touched, made, err) < 0)
		return -1;
	remember(odb, items, count);
	return 0;
}

int odb_publish(struct odb *odb, const struct odb_publish *items, size_t count, struct err *err)
{
	for (size_t at = 0; at < count; at += ODB_BATCH_FILES) {
		size_t n = count - at < ODB_BATCH_FILES ? count - at : ODB_BATCH_FILES;
		if (publish_batch(odb, items + at, n, err) < 0)
			return err_note(err, "while writing to the data cache %s", odb->dir);
	}
	return 0;
}

int odb_put(struct odb *odb, const struct odb_id *id, const void *bytes, size_t len, struct err *err)
{
	struct buf temp CLEANUP(buf_release) = BUF_INIT;
	if (odb_temp_path(odb, &temp, err) < 0 || fs_write_file(temp.data, bytes, len, 0600, FS_VOLATILE, err) < 0)
		return -1;
	struct odb_publish item = { temp.data, *id };
	return odb_publish(odb, &item, 1, err);
}

#define PIECE ((size_t)256 << 10)

static int take_pieces(int fd, const char *path, struct digest_stream *stream, odb_piece_fn *take, void *ctx, struct err *unusable, struct err *err)
{
	char *bytes OWNED = mem_alloc(PIECE);
	for (;;) {
		ssize_t got = sys.read(fd, bytes, PIECE);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set_errno(err, ERR_DATA, errno, "cannot read %s", path);
		if (got == 0)
			return 0;
		digest_add(stream, bytes, (size_t)got);
		if (take && take(ctx, bytes, (size_t)got, unusable) < 0)
			take = NULL;
	}
}

int odb_read_pieces(const struct odb *odb, const struct odb_id *id, uint64_t max, odb_piece_fn *take, void *ctx, struct err *err)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct err unusable CLEANUP(err_release) = ERR_INIT;
	char hex[DIGEST_HEX_MAX];
	struct digest digest;
	struct stat st;
	odb_add_path(odb, &path, id);
	digest_hex(&id->digest, hex);
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path.data, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0 && errno == ENOENT)
		return err_set(err, ERR_DATA, "%s%s is not in the cache", hex, id->is_dir ? ".dir" : "");
	if (fd < 0 || sys.fstat(fd, &st) < 0)
		return err_set_errno(err, ERR_DATA, errno, "cannot open %s", path.data);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_DATA, "%s is not a regular file", path.data);
	if ((uint64_t)st.st_size > max)
		return err_set(err, ERR_DATA, "%s has %llu bytes; up to %llu are read", path.data, (unsigned long long)st.st_size,
			       (unsigned long long)max);
	struct digest_stream *stream = digest_begin(id->digest.kind);
	int status = take_pieces(fd, path.data, stream, take, ctx, &unusable, err);
	digest_end(stream, &digest);
	if (status < 0)
		return -1;
	if (!digest_eq(&digest, &id->digest))
		return err_set(err, ERR_DATA, "the cached object %s is damaged: its md5 is not its name", path.data);
	return unusable.code ? err_move(err, &unusable) : 0;
}

int odb_quarantine(struct odb *odb, const struct odb_id *id, struct buf *ret_path, struct err *err)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT, dir CLEANUP(buf_release) = BUF_INIT;
	char hex[DIGEST_HEX_MAX];
	odb_add_path(odb, &path, id);
	digest_hex(&id->digest, hex);
	buf_addf(&dir, "%s/%s/%s", odb->dir, TEMP_NAME, DAMAGED_NAME);
	if (make_shared_dir(odb, dir.data, err) < 0)
		return -1;
	buf_addf(ret_path, "%s/%s%s", dir.data, hex, id->is_dir ? ".dir" : "");
	return fs_rename(path.data, ret_path->data, err);
}
