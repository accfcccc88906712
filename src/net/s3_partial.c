#include "net/s3_partial.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#define HEADER "mlmake download 1"
#define SUFFIX ".parts"
#define MAX_RECORD (1024 * 1024)
#define MAX_PARTS 10000u
#define NUMBER_WIDTH 17 /* 16 hex digits and the end of the line */
#define ABANDONED_S (3 * 24 * 3600)

/* A line without what could be taken for another one. */
static bool is_plain(const char *text)
{
	return text && *text && !strpbrk(text, "\r\n");
}

static char *name_of(const char *dir, const char *place, const char *key, const struct digest *expect)
{
	char hex[DIGEST_HEX_MAX], name[DIGEST_HEX_MAX];
	struct digest digest;
	digest_hex(expect, hex);
	char *what OWNED = mem_printf("%s\n%s\n%s", place, key, hex);
	digest_bytes(DIGEST_SHA256, what, strlen(what), &digest);
	digest_hex(&digest, name);
	return mem_printf("%s/%s", dir, name);
}

/* The record of the bytes at path, open and locked; -1 if somebody else has it. One that was removed while its lock was waited for is
 * nobody's. */
static int lock_record(const char *path, int flags)
{
	char *record OWNED = mem_printf("%s" SUFFIX, path);
	struct stat st;
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, record, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	if (fd < 0 || sys.flock(fd, LOCK_EX | LOCK_NB) < 0 || sys.fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink == 0)
		return -1;
	int locked = fd;
	fd = -1;
	return locked;
}

static void remove_both(const char *path)
{
	char *record OWNED = mem_printf("%s" SUFFIX, path);
	sys.unlinkat(AT_FDCWD, path, 0);
	sys.unlinkat(AT_FDCWD, record, 0);
}

bool s3_partial_any(const char *dir)
{
	bool any = false;
	int fd = dir ? sys.openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) : -1;
	DIR *entries = fd < 0 ? NULL : sys.fdopendir(fd);
	if (!entries) {
		fs_close_fd(&fd);
		return false;
	}
	for (struct dirent *entry; (entry = sys.readdir(entries)) != NULL;) {
		struct stat st;
		if (!text_ends(entry->d_name, SUFFIX) || sys.fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		any = true;
		if (time(NULL) - st.st_mtime < ABANDONED_S)
			continue;
		char *path OWNED = mem_printf("%s/%.*s", dir, (int)(strlen(entry->d_name) - strlen(SUFFIX)), entry->d_name);
		int record CLEANUP(fs_close_fd) = lock_record(path, 0);
		if (record >= 0)
			remove_both(path);
	}
	closedir(entries);
	return any;
}

static bool read_numbers(struct s3_partial *partial, const char *text, size_t len)
{
	if (len != (size_t)partial->parts * NUMBER_WIDTH)
		return false;
	for (unsigned i = 0; i < partial->parts; i++) {
		uint64_t part_len = partial->size - i * partial->part_size;
		char *end;
		partial->there[i] = strtoull(text + (size_t)i * NUMBER_WIDTH, &end, 16);
		if (end != text + (size_t)(i + 1) * NUMBER_WIDTH - 1 || *end != '\n')
			return false;
		if (partial->there[i] > (part_len < partial->part_size ? part_len : partial->part_size))
			return false;
	}
	return true;
}

static bool read_record(struct s3_partial *partial, const char *place, const char *key)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	if (sys.fstat(partial->record, &st) < 0 || st.st_size <= 0 || st.st_size > MAX_RECORD)
		return false;
	buf_reserve(&text, (size_t)st.st_size);
	ssize_t got = sys.pread(partial->record, text.data, (size_t)st.st_size, 0);
	if (got != st.st_size)
		return false;
	text.data[got] = '\0';
	char *rest = text.data;
	const char *header = strsep(&rest, "\n"), *at = strsep(&rest, "\n"), *of = strsep(&rest, "\n"), *size = strsep(&rest, "\n");
	const char *part_size = strsep(&rest, "\n"), *etag = strsep(&rest, "\n");
	if (!text_eq(header, HEADER) || !text_eq(at, place) || !text_eq(of, key) || !size || !part_size || !etag || !*etag || !rest ||
	    !text_parse_u64(size, &partial->size) || !text_parse_u64(part_size, &partial->part_size) || !partial->size || !partial->part_size)
		return false;
	uint64_t parts = (partial->size - 1) / partial->part_size + 1;
	if (parts > MAX_PARTS)
		return false;
	partial->parts = (unsigned)parts;
	partial->numbers_at = (uint64_t)(rest - text.data);
	partial->etag = mem_strdup(etag);
	partial->there = mem_alloc(partial->parts * sizeof(*partial->there));
	return read_numbers(partial, rest, (size_t)got - partial->numbers_at);
}

int s3_partial_open(struct s3_partial *partial, const char *dir, const char *place, const char *key, const struct digest *expect)
{
	struct stat st;
	*partial = (struct s3_partial)S3_PARTIAL_INIT;
	if (expect->kind == DIGEST_NONE)
		return -1;
	partial->path = name_of(dir, place, key, expect);
	partial->record = lock_record(partial->path, 0);
	if (partial->record < 0) {
		s3_partial_release(partial);
		return -1;
	}
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, partial->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0 || !read_record(partial, place, key) || sys.fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 ||
	    (uint64_t)st.st_size > partial->size) {
		s3_partial_drop(partial);
		return -1;
	}
	/* Where the length could not be given in advance, the file ends where the last byte was written. */
	for (unsigned i = 0; i < partial->parts; i++)
		if (i * partial->part_size + partial->there[i] > (uint64_t)st.st_size)
			partial->there[i] = 0;
	int opened = fd;
	fd = -1;
	return opened;
}

static bool write_record(const struct s3_partial *partial, const struct buf *text)
{
	return sys.ftruncate(partial->record, 0) == 0 && sys.pwrite(partial->record, text->data, text->len, 0) == (ssize_t)text->len;
}

void s3_partial_begin(struct s3_partial *partial, const char *dir, const char *place, const char *key, const struct digest *expect, const char *from,
		      uint64_t size, uint64_t part_size, const char *etag)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	*partial = (struct s3_partial)S3_PARTIAL_INIT;
	if (!dir || expect->kind == DIGEST_NONE || !is_plain(place) || !is_plain(key) || !is_plain(etag))
		return;
	char *path = name_of(dir, place, key, expect);
	partial->path = path;
	if (fs_mkdirs_for(path, &ignored) == 0)
		partial->record = lock_record(path, O_CREAT);
	if (partial->record < 0) {
		s3_partial_release(partial);
		return;
	}
	partial->size = size;
	partial->part_size = part_size;
	partial->parts = (unsigned)((size - 1) / part_size + 1);
	partial->there = mem_alloc(partial->parts * sizeof(*partial->there));
	buf_addf(&text, HEADER "\n%s\n%s\n%" PRIu64 "\n%" PRIu64 "\n%s\n", place, key, size, part_size, etag);
	partial->numbers_at = text.len;
	for (unsigned i = 0; i < partial->parts; i++)
		buf_addf(&text, "%016x\n", 0);
	if (!write_record(partial, &text) || sys.renameat(AT_FDCWD, from, AT_FDCWD, path) < 0)
		s3_partial_drop(partial);
}

void s3_partial_note(struct s3_partial *partial, unsigned part, uint64_t there)
{
	char text[NUMBER_WIDTH + 1];
	if (!partial->path)
		return;
	partial->there[part] = there;
	snprintf(text, sizeof(text), "%016" PRIx64 "\n", there);
	/* A number that is not written costs fetching those bytes again. */
	if (sys.pwrite(partial->record, text, NUMBER_WIDTH, (off_t)(partial->numbers_at + part * (uint64_t)NUMBER_WIDTH)) < 0)
		return;
}

void s3_partial_void(struct s3_partial *partial)
{
	for (unsigned i = 0; partial->path && i < partial->parts; i++)
		s3_partial_note(partial, i, 0);
}

int s3_partial_finish(struct s3_partial *partial, int fd, const char *to, struct err *err)
{
	struct stat ours, named;
	/* What is verified is what is open: it has to be what bears the name. */
	if (sys.fstat(fd, &ours) < 0 || sys.fstatat(AT_FDCWD, partial->path, &named, AT_SYMLINK_NOFOLLOW) < 0 || ours.st_ino != named.st_ino ||
	    ours.st_dev != named.st_dev)
		return err_set(err, ERR_FAILED, "'%s' was replaced by somebody else", partial->path);
	if (sys.fstatat(AT_FDCWD, to, &named, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set_errno(err, ERR_FAILED, EEXIST, "cannot create '%s'", to);
	if (fs_rename(partial->path, to, err) < 0)
		return -1;
	s3_partial_drop(partial);
	return 0;
}

void s3_partial_drop(struct s3_partial *partial)
{
	if (partial->path && partial->record >= 0)
		remove_both(partial->path);
	s3_partial_release(partial);
}

void s3_partial_release(struct s3_partial *partial)
{
	fs_close_fd(&partial->record);
	free(partial->path);
	free(partial->etag);
	free(partial->there);
	*partial = (struct s3_partial)S3_PARTIAL_INIT;
}
