#include "formats/dvcdir.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE 32768u

void dvc_dir_release(struct dvc_dir *dir)
{
	arena_release(&dir->arena);
	free(dir->entries);
	dir->entries = NULL;
	dir->len = dir->cap = 0;
}

static void add_entry(struct dvc_dir *dir, const char *relpath, size_t len, const uint8_t md5[16])
{
	if (dir->len == dir->cap) {
		dir->cap = dir->cap ? dir->cap + dir->cap / 2 : 64;
		dir->entries = mem_resize_array(dir->entries, dir->cap, sizeof(*dir->entries));
	}
	struct dvc_entry *entry = &dir->entries[dir->len++];
	entry->relpath = arena_strndup(&dir->arena, relpath, len);
	memcpy(entry->md5, md5, 16);
}

void dvc_dir_add(struct dvc_dir *dir, const char *relpath, const uint8_t md5[16])
{
	add_entry(dir, relpath, strlen(relpath), md5);
}

/* The order of code points is that of the bytes in UTF-8. */
static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct dvc_entry *)a)->relpath, ((const struct dvc_entry *)b)->relpath);
}

struct dvc_entry *dvc_dir_find(const struct dvc_dir *dir, const char *relpath)
{
	struct dvc_entry key = { .relpath = relpath };
	return dir->len ? bsearch(&key, dir->entries, dir->len, sizeof(key), compare_entries) : NULL;
}

bool dvc_dir_has_part(const struct dvc_dir *dir, const char *path)
{
	for (size_t i = 0; i < dir->len; i++)
		if (path_inside(path, dir->entries[i].relpath))
			return true;
	return false;
}

/* A member must not lie below another one. Directories that the entry before has too were looked at with it. */
static int check_parents(const struct dvc_dir *dir, size_t index, struct err *err)
{
	const char *path = dir->entries[index].relpath, *before = index ? dir->entries[index - 1].relpath : "";
	size_t common = 0;
	while (path[common] && path[common] == before[common])
		common++;
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		if ((size_t)(slash - path) < common)
			continue;
		char parent[4097];
		size_t len = (size_t)(slash - path);
		memcpy(parent, path, len);
		parent[len] = '\0';
		if (dvc_dir_find(dir, parent))
			return err_set(err, ERR_DATA, "'%s' is a file and a directory at once", parent);
	}
	return 0;
}

int dvc_dir_check_count(uint64_t entries, const char *shown_as, struct err *err)
{
	if (entries <= DVC_DIR_MAX_ENTRIES)
		return 0;
	err_set(err, ERR_DATA, "%s lists more than 4,000,000 files, which is the most that a directory may have", shown_as);
	return err_hint(err, "track its subdirectories by themselves, or pack small files together");
}

int dvc_dir_sort(struct dvc_dir *dir, struct err *err)
{
	bool sorted = true;
	for (size_t i = 0; i < dir->len; i++) {
		const char *path = dir->entries[i].relpath;
		if (!path_is_safe(path) || !text_is_utf8(path, strlen(path)))
			return err_set(err, ERR_DATA, "the member path '%s' is not safe or not UTF-8", path);
		sorted = sorted && (i == 0 || compare_entries(&dir->entries[i - 1], &dir->entries[i]) < 0);
	}
	if (!sorted)
		qsort(dir->entries, dir->len, sizeof(*dir->entries), compare_entries);
	for (size_t i = 0; i < dir->len; i++) {
		if (i && strcmp(dir->entries[i - 1].relpath, dir->entries[i].relpath) == 0)
			return err_set(err, ERR_DATA, "the member '%s' is listed twice", dir->entries[i].relpath);
		if (check_parents(dir, i, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- writing ---- */

static void render_entry(struct buf *out, const struct dvc_dir *dir, size_t index)
{
	const struct dvc_entry *entry = &dir->entries[index];
	buf_addstr(out, index ? ", {\"md5\": \"" : "{\"md5\": \"");
	buf_addhex(out, entry->md5, 16);
	buf_addstr(out, "\", \"relpath\": ");
	json_add_string(out, entry->relpath, strlen(entry->relpath), true);
	buf_addch(out, '}');
}

void dvc_dir_render(struct buf *out, const struct dvc_dir *dir)
{
	buf_addch(out, '[');
	for (size_t i = 0; i < dir->len; i++)
		render_entry(out, dir, i);
	buf_addch(out, ']');
}

/* Hands the manifest over in pieces, until use returns false. */
typedef bool piece_fn(void *ctx, const char *bytes, size_t len);
static bool render_pieces(const struct dvc_dir *dir, piece_fn *use, void *ctx)
{
	struct buf piece CLEANUP(buf_release) = BUF_INIT;
	buf_addch(&piece, '[');
	for (size_t i = 0; i <= dir->len; i++) {
		if (i < dir->len)
			render_entry(&piece, dir, i);
		else
			buf_addch(&piece, ']');
		if (piece.len < PIECE && i < dir->len)
			continue;
		if (!use(ctx, piece.data, piece.len))
			return false;
		buf_reset(&piece);
	}
	return true;
}

struct digesting {
	struct digest_stream *stream;
	uint64_t total;
};

static bool digest_piece(void *ctx, const char *bytes, size_t len)
{
	struct digesting *digesting = ctx;
	digest_add(digesting->stream, bytes, len);
	digesting->total += len;
	return true;
}

void dvc_dir_digest(const struct dvc_dir *dir, struct digest *ret, uint64_t *ret_len)
{
	struct digesting digesting = { .stream = digest_begin(DIGEST_MD5) };
	render_pieces(dir, digest_piece, &digesting);
	digest_end(digesting.stream, ret);
	if (ret_len)
		*ret_len = digesting.total;
}

static bool write_piece(void *ctx, const char *bytes, size_t len)
{
	const int *fd = ctx;
	return fs_write_all(*fd, bytes, len) == 0;
}

int dvc_dir_write(const struct dvc_dir *dir, const char *path, struct err *err)
{
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot create '%s'", path);
	bool done = render_pieces(dir, write_piece, &fd);
	int number = errno, closed = sys.close(fd);
	fd = -1;
	if (done && closed == 0)
		return 0;
	number = done ? errno : number;
	sys.unlinkat(AT_FDCWD, path, 0);
	return err_set_errno(err, ERR_FAILED, number, "cannot write '%s'", path);
}

struct comparing {
	int fd;
	char bytes[2 * PIECE];
};

static bool compare_piece(void *ctx, const char *bytes, size_t len)
{
	struct comparing *comparing = ctx;
	while (len) {
		size_t want = len < sizeof(comparing->bytes) ? len : sizeof(comparing->bytes);
		ssize_t got = sys.read(comparing->fd, comparing->bytes, want);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || memcmp(bytes, comparing->bytes, (size_t)got) != 0)
			return false;
		bytes += got;
		len -= (size_t)got;
	}
	return true;
}

bool dvc_dir_is_file(const struct dvc_dir *dir, const char *path)
{
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
	struct comparing *comparing OWNED = mem_alloc(sizeof(*comparing));
	if (fd < 0)
		return false;
	comparing->fd = fd;
	return render_pieces(dir, compare_piece, comparing) && sys.read(fd, comparing->bytes, 1) == 0;
}

/* ---- reading: a state machine over bytes, so that it can stop and go on anywhere ---- */

enum state {
	ST_START,      /* before '[' */
	ST_FIRST,      /* after '[': an entry or ']' */
	ST_NEXT,       /* after an entry: ',' or ']' */
	ST_ENTRY,      /* '{' must come */
	ST_KEY,        /* '"' of a key must come */
	ST_IN_KEY,
	ST_COLON,
	ST_VALUE,      /* '"' of a value must come */
	ST_IN_VALUE,
	ST_AFTER,      /* after a value: ',' or '}' */
	ST_END,
};

enum field { FIELD_NONE, FIELD_MD5, FIELD_RELPATH };

struct dvc_dir_parser {
	struct dvc_dir *dir;
	char *shown_as;
	uint64_t offset;
	enum state state;
	enum field field;     /* whose value comes */
	bool has_md5, has_relpath;
	uint8_t md5[16];
	struct buf text;      /* of the string that is being read */
	struct buf relpath;
	unsigned escape;      /* 0 none, 1 after the backslash, 2..5: hex digits of \u to come + 1 */
	uint32_t unit;        /* of \u so far */
	uint32_t high;        /* surrogate that waits for its second half; 0 none */
};

#define MAX_STRING 4200u

struct dvc_dir_parser *dvc_dir_parser_new(struct dvc_dir *dir, const char *shown_as)
{
	struct dvc_dir_parser *p = mem_alloc(sizeof(*p));
	dvc_dir_release(dir);
	p->dir = dir;
	p->shown_as = mem_strdup(shown_as);
	buf_init(&p->text);
	buf_init(&p->relpath);
	return p;
}

void dvc_dir_parser_drop(struct dvc_dir_parser *p)
{
	if (!p)
		return;
	free(p->shown_as);
	buf_release(&p->text);
	buf_release(&p->relpath);
	free(p);
}

static int bad(const struct dvc_dir_parser *p, const char *what, struct err *err)
{
	err_set(err, ERR_DATA, "%s is not a manifest of dvc: %s at byte %llu", p->shown_as, what, (unsigned long long)p->offset);
	return err_hint(err, "the object is damaged; fetch it again from the remote");
}

static void add_unit(struct buf *text, uint32_t c)
{
	if (c < 0x80) {
		buf_addch(text, (char)c);
	} else if (c < 0x800) {
		buf_addch(text, (char)(0xc0 | c >> 6));
		buf_addch(text, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		buf_addch(text, (char)(0xe0 | c >> 12));
		buf_addch(text, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_addch(text, (char)(0x80 | (c & 0x3f)));
	} else {
		buf_addch(text, (char)(0xf0 | c >> 18));
		buf_addch(text, (char)(0x80 | (c >> 12 & 0x3f)));
		buf_addch(text, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_addch(text, (char)(0x80 | (c & 0x3f)));
	}
}

static int take_unit(struct dvc_dir_parser *p, struct err *err)
{
	uint32_t c = p->unit;
	bool low = c >= 0xdc00 && c <= 0xdfff;
	if ((p->high != 0) != low)
		return bad(p, "half a surrogate pair", err);
	if (c == 0)
		return bad(p, "a zero byte in a string", err);
	if (c >= 0xd800 && c <= 0xdbff) {
		p->high = c;
		return 0;
	}
	if (low)
		c = 0x10000 + ((p->high - 0xd800) << 10) + (c - 0xdc00);
	p->high = 0;
	add_unit(&p->text, c);
	return 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int take_escape(struct dvc_dir_parser *p, char c, struct err *err)
{
	static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	if (p->escape > 1) {
		int value = hex_value(c);
		if (value < 0)
			return bad(p, "a bad \\u escape", err);
		p->unit = p->unit << 4 | (uint32_t)value;
		p->escape = p->escape == 5 ? 0 : p->escape + 1;
		return p->escape ? 0 : take_unit(p, err);
	}
	if (c == 'u') {
		p->escape = 2;
		p->unit = 0;
		return 0;
	}
	const char *known = c ? strchr(letters, c) : NULL;
	if (!known || p->high)
		return bad(p, "a bad escape", err);
	buf_addch(&p->text, meant[known - letters]);
	p->escape = 0;
	return 0;
}

/* A byte within a string; sets *ret_end at its closing quote. */
static int take_string(struct dvc_dir_parser *p, char c, bool *ret_end, struct err *err)
{
	*ret_end = false;
	if (p->text.len > MAX_STRING)
		return bad(p, "a string that is too long", err);
	if (p->escape)
		return take_escape(p, c, err);
	if (c == '\\') {
		p->escape = 1;
		return 0;
	}
	if (p->high)
		return bad(p, "half a surrogate pair", err);
	if ((unsigned char)c < ' ')
		return bad(p, "a control character in a string", err);
	*ret_end = c == '"';
	if (!*ret_end)
		buf_addch(&p->text, c);
	return 0;
}

static int key_done(struct dvc_dir_parser *p, struct err *err)
{
	bool md5 = strcmp(p->text.data, "md5") == 0, relpath = strcmp(p->text.data, "relpath") == 0;
	if (!md5 && !relpath)
		return bad(p, "an unknown key", err);
	if (md5 ? p->has_md5 : p->has_relpath)
		return bad(p, "a key twice", err);
	p->field = md5 ? FIELD_MD5 : FIELD_RELPATH;
	return 0;
}

static int value_done(struct dvc_dir_parser *p, struct err *err)
{
	if (p->field == FIELD_MD5) {
		p->has_md5 = true;
		return p->text.len == 32 && text_unhex(p->md5, 16, p->text.data) ? 0 : bad(p, "a bad md5", err);
	}
	if (!text_is_utf8(p->text.data, p->text.len))
		return bad(p, "a path that is not UTF-8", err);
	if (!path_is_safe(p->text.data))
		return bad(p, "a path that is not safe", err);
	p->has_relpath = true;
	buf_reset(&p->relpath);
	buf_add(&p->relpath, p->text.data, p->text.len);
	return 0;
}

static int entry_done(struct dvc_dir_parser *p, struct err *err)
{
	if (!p->has_md5 || !p->has_relpath)
		return bad(p, "an entry without md5 or relpath", err);
	if (dvc_dir_check_count(p->dir->len + 1, p->shown_as, err) < 0)
		return -1;
	add_entry(p->dir, p->relpath.data, p->relpath.len, p->md5);
	p->has_md5 = p->has_relpath = false;
	return 0;
}

/* A byte between strings that is not white space. */
static int take_mark(struct dvc_dir_parser *p, char c, struct err *err)
{
	switch (p->state) {
	case ST_START:
		if (c != '[')
			break;
		p->state = ST_FIRST;
		return 0;
	case ST_FIRST:
	case ST_ENTRY:
		if (c == ']' && p->state == ST_FIRST) {
			p->state = ST_END;
			return 0;
		}
		if (c != '{')
			break;
		p->state = ST_KEY;
		return 0;
	case ST_NEXT:
		if (c != ',' && c != ']')
			break;
		p->state = c == ',' ? ST_ENTRY : ST_END;
		return 0;
	case ST_KEY:
	case ST_VALUE:
		if (c != '"')
			break;
		buf_reset(&p->text);
		p->state = p->state == ST_KEY ? ST_IN_KEY : ST_IN_VALUE;
		return 0;
	case ST_COLON:
		if (c != ':')
			break;
		p->state = ST_VALUE;
		return 0;
	case ST_AFTER:
		if (c != ',' && c != '}')
			break;
		p->state = c == ',' ? ST_KEY : ST_NEXT;
		return c == ',' ? 0 : entry_done(p, err);
	case ST_END:
	case ST_IN_KEY:
	case ST_IN_VALUE:
		break;
	}
	return bad(p, "an unexpected character", err);
}

static int take_byte(struct dvc_dir_parser *p, char c, struct err *err)
{
	bool end;
	if (p->state == ST_IN_KEY || p->state == ST_IN_VALUE) {
		if (take_string(p, c, &end, err) < 0)
			return -1;
		if (!end)
			return 0;
		bool key = p->state == ST_IN_KEY;
		p->state = key ? ST_COLON : ST_AFTER;
		return key ? key_done(p, err) : value_done(p, err);
	}
	if (c == ' ' || c == '\n' || c == '\t' || c == '\r')
		return 0;
	return take_mark(p, c, err);
}

int dvc_dir_parser_add(struct dvc_dir_parser *p, const void *bytes, size_t len, struct err *err)
{
	const char *text = bytes;
	if (p->offset + len > DVC_DIR_MAX_BYTES)
		return err_set(err, ERR_DATA, "%s is larger than 1 GiB, which no manifest may be", p->shown_as);
	for (size_t i = 0; i < len; i++, p->offset++) {
		/* The plain part of a string at once. */
		if ((p->state == ST_IN_VALUE || p->state == ST_IN_KEY) && !p->escape && !p->high) {
			size_t plain = i;
			while (plain < len && (unsigned char)text[plain] >= ' ' && text[plain] != '"' && text[plain] != '\\' && plain - i < MAX_STRING)
				plain++;
			buf_add(&p->text, text + i, plain - i);
			p->offset += plain - i;
			i = plain;
			if (i == len)
				break;
		}
		if (take_byte(p, text[i], err) < 0)
			return -1;
	}
	return 0;
}

int dvc_dir_parser_end(struct dvc_dir_parser *p, struct err *err)
{
	int status = p->state == ST_END ? dvc_dir_sort(p->dir, err) : bad(p, "it ends too early", err);
	if (status < 0 && p->state == ST_END)
		err_note(err, "in the manifest %s", p->shown_as);
	dvc_dir_parser_drop(p);
	return status;
}

int dvc_dir_parse(struct dvc_dir *dir, const char *bytes, size_t len, const char *shown_as, struct err *err)
{
	struct dvc_dir_parser *p = dvc_dir_parser_new(dir, shown_as);
	if (dvc_dir_parser_add(p, bytes, len, err) == 0)
		return dvc_dir_parser_end(p, err);
	dvc_dir_parser_drop(p);
	return -1;
}

int dvc_dir_read(struct dvc_dir *dir, const char *path, const char *shown_as, struct err *err)
{
	int fd CLEANUP(fs_close_fd) = sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(err, errno == ENOENT ? ERR_DATA : ERR_FAILED, errno, "cannot open %s", path);
	const size_t size = 65536;
	char *bytes OWNED = mem_alloc(size);
	struct dvc_dir_parser *p = dvc_dir_parser_new(dir, shown_as);
	for (;;) {
		ssize_t got = sys.read(fd, bytes, size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			err_set_errno(err, ERR_FAILED, errno, "cannot read %s", path);
		if (got == 0)
			return dvc_dir_parser_end(p, err);
		if (got < 0 || dvc_dir_parser_add(p, bytes, (size_t)got, err) < 0)
			break;
	}
	dvc_dir_parser_drop(p);
	return -1;
}
