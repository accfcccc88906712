#include "net/s3_resume.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEADER "mlmake upload 1"
#define MAX_RECORD (4 * 1024 * 1024)
#define ABANDONED_S (3 * 24 * 3600)

/* A line without what could be taken for another one. */
static bool is_plain(const char *text)
{
	return *text && !strpbrk(text, "\r\n");
}

static void read_part(struct s3_resume *resume, char *line)
{
	uint64_t number;
	const char *digits = strsep(&line, " "), *sha256 = strsep(&line, " ");
	if (!digits || !sha256 || !line || !text_parse_u64(digits, &number) || number >= resume->count || strlen(sha256) != 64 || !*line)
		return;
	struct s3_resume_part *part = &resume->parts[number];
	free(part->etag);
	part->etag = mem_strdup(line);
	memcpy(part->sha256, sha256, 65);
}

static void read_record(struct s3_resume *resume, const char *place, const char *key)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	if (fs_read_file(resume->path, MAX_RECORD, &text, &ignored) < 0)
		return;
	char *rest = text.data;
	const char *header = strsep(&rest, "\n"), *at = strsep(&rest, "\n"), *of = strsep(&rest, "\n"), *id = strsep(&rest, "\n");
	if (!text_eq(header, HEADER) || !text_eq(at, place) || !text_eq(of, key) || !id || !*id || !rest)
		return;
	resume->upload_id = mem_strdup(id);
	/* A line without its end was cut off when it was written. */
	for (char *end; rest && (end = strchr(rest, '\n')) != NULL; rest = end + 1) {
		*end = '\0';
		read_part(resume, rest);
	}
}

void s3_resume_open(struct s3_resume *resume, const char *dir, const char *place, const char *key, uint64_t size, uint64_t part_size,
		    const struct digest *expect)
{
	*resume = (struct s3_resume){ .count = (unsigned)((size + part_size - 1) / part_size) };
	if (!dir || expect->kind == DIGEST_NONE || !is_plain(place) || !is_plain(key))
		return;
	char hex[DIGEST_HEX_MAX], name[DIGEST_HEX_MAX];
	struct digest digest;
	digest_hex(expect, hex);
	char *what OWNED = mem_printf("%s\n%s\n%" PRIu64 "\n%" PRIu64 "\n%s", place, key, size, part_size, hex);
	digest_bytes(DIGEST_SHA256, what, strlen(what), &digest);
	digest_hex(&digest, name);
	resume->path = mem_printf("%s/%s", dir, name);
	resume->parts = mem_alloc(resume->count * sizeof(*resume->parts));
	read_record(resume, place, key);
}

static void append(const struct s3_resume *resume, const char *text, int flags)
{
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, resume->path, O_WRONLY | O_APPEND | O_CLOEXEC | flags, 0600);
	if (fd >= 0 && fs_write_all(fd, text, strlen(text)) < 0)
		sys.unlinkat(AT_FDCWD, resume->path, 0);
}

static void forget_parts(struct s3_resume *resume)
{
	for (unsigned i = 0; resume->parts && i < resume->count; i++) {
		free(resume->parts[i].etag);
		resume->parts[i].etag = NULL;
	}
}

void s3_resume_begin(struct s3_resume *resume, const char *place, const char *key, const char *upload_id)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	forget_parts(resume);
	if (!resume->path || !is_plain(upload_id) || fs_mkdirs_for(resume->path, &ignored) < 0)
		return;
	char *text OWNED = mem_printf(HEADER "\n%s\n%s\n%s\n", place, key, upload_id);
	append(resume, text, O_CREAT | O_TRUNC);
}

void s3_resume_note(struct s3_resume *resume, unsigned part, const char *sha256, const char *etag)
{
	if (!resume->path || !is_plain(etag))
		return;
	char *line OWNED = mem_printf("%u %s %s\n", part, sha256, etag);
	append(resume, line, 0);
}

void s3_resume_end(struct s3_resume *resume)
{
	if (resume->path)
		sys.unlinkat(AT_FDCWD, resume->path, 0);
}

void s3_resume_release(struct s3_resume *resume)
{
	forget_parts(resume);
	free(resume->parts);
	free(resume->upload_id);
	free(resume->path);
	*resume = (struct s3_resume){ .path = NULL };
}

struct search {
	const char *place;
	char *key, *upload_id;
};

static int look_at_record(void *ctx, const struct fs_entry *entry, struct err *err UNUSED)
{
	struct search *search = ctx;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	if (search->key || !S_ISREG(entry->st->st_mode) || time(NULL) - entry->st->st_mtime < ABANDONED_S ||
	    fs_read_file(entry->path, MAX_RECORD, &text, &ignored) < 0)
		return 0;
	char *rest = text.data;
	const char *header = strsep(&rest, "\n"), *at = strsep(&rest, "\n"), *of = strsep(&rest, "\n"), *id = strsep(&rest, "\n");
	if (!text_eq(header, HEADER) || !text_eq(at, search->place) || !of || !id || !*id)
		return 0;
	search->key = mem_strdup(of);
	search->upload_id = mem_strdup(id);
	sys.unlinkat(AT_FDCWD, entry->path, 0);
	return 0;
}

bool s3_resume_abandoned(const char *dir, const char *place, char **ret_key, char **ret_upload_id)
{
	struct search search = { .place = place };
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (!fs_is_dir(dir) || fs_walk(dir, look_at_record, &search, &ignored) < 0)
		err_release(&ignored);
	*ret_key = search.key;
	*ret_upload_id = search.upload_id;
	return search.key != NULL;
}
