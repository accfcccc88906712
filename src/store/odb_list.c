/*
 * Many objects by name alone: one listing for each fan-out directory that matters.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/pool.h"
#include "base/text.h"
#include "base/vec.h"
#include "store/odb_internal.h"

#include <errno.h>
#include <string.h>

#define FAN_OUT 256u
#define BUCKETS (2 * FAN_OUT) /* behind those of files/md5 those of DVC 2 */
#define REST_HEX 30
#define FEW 512

struct bucket {
	VEC(size_t) wanted; /* indices of ids */
};

struct listing {
	const struct odb *odb;
	const struct odb_id *ids;
	const uint64_t *sizes; /* of odb_has_many */
	bool *present;
	struct bucket buckets[BUCKETS];
};

struct name {
	uint8_t rest[REST_HEX / 2];
	bool is_dir;
};

static int compare_names(const void *a, const void *b)
{
	const struct name *left = a, *right = b;
	int order = memcmp(left->rest, right->rest, sizeof(left->rest));
	return order ? order : left->is_dir - right->is_dir;
}

static bool read_name(const char *text, struct name *ret)
{
	char hex[REST_HEX + 1] = "";
	size_t len = strlen(text);
	ret->is_dir = len == REST_HEX + 4 && text_ends(text, ".dir");
	if (len != REST_HEX && !ret->is_dir)
		return false;
	memcpy(hex, text, REST_HEX);
	return text_unhex(ret->rest, sizeof(ret->rest), hex);
}

static void list_bucket(void *ctx, size_t fan)
{
	struct listing *listing = ctx;
	struct bucket *bucket = &listing->buckets[fan];
	VEC(struct name) names = { 0 };
	if (!bucket->wanted.len)
		return;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	odb_add_fan_out(listing->odb, &path, fan >= FAN_OUT, (unsigned)(fan % FAN_OUT));
	int fd = sys.openat(AT_FDCWD, path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : sys.fdopendir(fd);
	if (!dir) {
		fs_close_fd(&fd);
		return;
	}
	for (struct dirent *entry; (entry = sys.readdir(dir));) {
		struct name name;
		if ((entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN) && read_name(entry->d_name, &name))
			vec_push(&names, name);
	}
	closedir(dir);
	vec_sort(&names, compare_names);
	for (size_t i = 0; names.len && i < bucket->wanted.len; i++) {
		size_t index = bucket->wanted.at[i];
		struct name key = { .is_dir = listing->ids[index].is_dir };
		memcpy(key.rest, listing->ids[index].digest.bytes + 1, sizeof(key.rest));
		listing->present[index] = bsearch(&key, names.at, names.len, sizeof(key), compare_names) != NULL;
	}
	vec_release(&names);
}

/* By their names in their directory, which spares the kernel the way to it. What is not as it always is gets the full look. */
static void look_in_bucket(void *ctx, size_t fan)
{
	struct listing *listing = ctx;
	struct bucket *bucket = &listing->buckets[fan];
	if (!bucket->wanted.len)
		return;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	odb_add_fan_out(listing->odb, &path, fan >= FAN_OUT, (unsigned)(fan % FAN_OUT));
	int dir CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	for (size_t i = 0; dir >= 0 && i < bucket->wanted.len; i++) {
		size_t index = bucket->wanted.at[i];
		const struct odb_id *id = &listing->ids[index];
		char name[DIGEST_HEX_MAX];
		struct stat st;
		uint64_t size;
		digest_hex(&id->digest, name);
		bool plain = !id->is_dir && sys.fstatat(dir, name + 2, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
			     !(st.st_mode & 0222) && st.st_size && (uint64_t)st.st_size == listing->sizes[index];
		listing->present[index] = plain || (odb_has(listing->odb, id, &size) && size == listing->sizes[index]);
	}
}

static void each_bucket(struct listing *listing, size_t count, pool_fn *look)
{
	memset(listing->present, 0, count * sizeof(*listing->present));
	for (size_t i = 0; i < count; i++) {
		const struct digest *digest = &listing->ids[i].digest;
		vec_push(&listing->buckets[digest->bytes[0] + (digest->kind == DIGEST_MD5_DOS2UNIX ? FAN_OUT : 0)].wanted, i);
	}
	/* For a few a thread costs more than it saves. */
	pool_each(count < FEW ? 1 : 0, BUCKETS, look, listing);
	for (size_t fan = 0; fan < BUCKETS; fan++)
		vec_release(&listing->buckets[fan].wanted);
}

void odb_list_many(const struct odb *odb, const struct odb_id *ids, size_t count, bool *ret_present)
{
	struct listing listing = { .odb = odb, .ids = ids, .present = ret_present };
	each_bucket(&listing, count, list_bucket);
}

void odb_has_many(const struct odb *odb, const struct odb_id *ids, const uint64_t *sizes, size_t count, bool *ret_present)
{
	struct listing listing = { .odb = odb, .ids = ids, .sizes = sizes, .present = ret_present };
	each_bucket(&listing, count, look_in_bucket);
}

bool odb_fingerprint(const struct odb *odb, uint64_t device, int64_t before, struct digest *ret)
{
	struct fs_stamp stamps[FAN_OUT] = { { 0 } };
	struct digest_stream *stream;
	char *path OWNED = mem_printf("%s/files/md5", odb->dir);
	int dir CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (dir < 0)
		return false;
	for (unsigned fan = 0; fan < FAN_OUT; fan++) {
		static const char hex[] = "0123456789abcdef";
		const char name[] = { hex[fan >> 4], hex[fan & 15], '\0' };
		struct stat st;
		if (sys.fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		fs_stamp_of(&stamps[fan], &st);
		if (stamps[fan].dev != device || stamps[fan].mtime_ns >= before || stamps[fan].ctime_ns >= before)
			return false;
		stamps[fan].dev = 0; /* its number may differ after a boot */
	}
	stream = digest_begin(DIGEST_SHA256);
	digest_add(stream, odb->dir, strlen(odb->dir));
	digest_add(stream, stamps, sizeof(stamps));
	digest_end(stream, ret);
	return true;
}

static int visit_bucket(const struct odb *odb, bool legacy, unsigned fan, odb_visit_fn *visit, void *ctx, struct err *err)
{
	VEC(struct name) names = { 0 };
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	odb_add_fan_out(odb, &path, legacy, fan);
	int fd = sys.openat(AT_FDCWD, path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_set_errno(err, ERR_FAILED, errno, "cannot read %s", path.data);
	DIR *dir = sys.fdopendir(fd);
	if (!dir) {
		fs_close_fd(&fd);
		return err_set_errno(err, ERR_FAILED, ENOMEM, "cannot read %s", path.data);
	}
	for (struct dirent *entry; (entry = sys.readdir(dir));) {
		struct name name;
		if (read_name(entry->d_name, &name))
			vec_push(&names, name);
	}
	closedir(dir);
	vec_sort(&names, compare_names);
	int status = 0;
	for (size_t i = 0; status == 0 && i < names.len; i++) {
		struct odb_id id = { { .kind = legacy ? DIGEST_MD5_DOS2UNIX : DIGEST_MD5 }, names.at[i].is_dir };
		struct buf object CLEANUP(buf_release) = BUF_INIT;
		struct stat st;
		id.digest.bytes[0] = (uint8_t)fan;
		memcpy(id.digest.bytes + 1, names.at[i].rest, sizeof(names.at[i].rest));
		odb_add_path(odb, &object, &id);
		if (sys.fstatat(AT_FDCWD, object.data, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			status = visit(ctx, &id, (uint64_t)st.st_size, err);
	}
	vec_release(&names);
	return status;
}

int odb_each(const struct odb *odb, odb_visit_fn *visit, void *ctx, struct err *err)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		if (visit_bucket(odb, i >= FAN_OUT, i % FAN_OUT, visit, ctx, err) < 0)
			return -1;
	return 0;
}
