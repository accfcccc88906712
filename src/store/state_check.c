#include "store/state_check.h"

#include "base/mem.h"
#include "base/path.h"
#include "store/clock.h"
#include "store/codec.h"
#include "store/state.h"

#include <stdlib.h>
#include <string.h>

#define META_MAGIC 0xBEEFC0DEu
#define META_VERSION 1u
#define PAGE_BRANCH 0x01u
#define PAGE_LEAF 0x02u
#define PAGE_OVERFLOW 0x04u
#define PAGE_META 0x08u
#define PAGE_HEAD 16u
#define NODE_HEAD 8u
#define NODE_BIG 0x01u    /* the value is on pages of its own, whose number is here */
#define NODE_TABLE 0x02u  /* the value is a table's struct db */
#define INTEGER_KEYS 0x08u
#define NO_PAGE UINT64_MAX
#define DEPTH_MAX 32u
#define PAGE_SIZE_MIN 512u
#define PAGE_SIZE_MAX 65536u
#define BYTES_MAX ((uint64_t)1 << 40)
#define UNWRITTEN_MAX 65536u /* pages at the end that were given up by the transaction that took them are counted and not written */
#define NOTE_MAGIC 0x31574c4du /* "MLW1" */

/* As on disk; the numbers are the machine's own, and so is the layout. */
struct db {
	uint32_t page_size; /* of the free list's table alone */
	uint16_t flags;
	uint16_t depth;
	uint64_t branches, leaves, overflows, entries;
	uint64_t root;
};

struct meta {
	uint32_t magic, version;
	uint64_t address, map_size;
	struct db free, main;
	uint64_t last_page, transaction;
};

struct page {
	uint64_t number;
	uint16_t pad, flags;
	union {
		struct {
			uint16_t lower, upper;
		};
		uint32_t pages; /* of an overflow */
	};
};

struct node {
	uint16_t low, high, flags, key_len;
};

_Static_assert(sizeof(struct db) == 48 && sizeof(struct meta) == 136 && sizeof(struct page) == PAGE_HEAD && sizeof(struct node) == NODE_HEAD,
	       "LMDB's layout");

static bool read_at(int fd, void *to, size_t len, uint64_t at)
{
	size_t done = 0;
	while (done < len) {
		ssize_t got = sys.pread(fd, (char *)to + done, len - done, (off_t)(at + done));
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

static bool read_meta(int fd, uint64_t file_size, unsigned which, uint32_t page_size, struct meta *ret)
{
	struct page page;
	uint64_t at = (uint64_t)which * page_size;
	if (!read_at(fd, &page, sizeof(page), at) || !read_at(fd, ret, sizeof(*ret), at + sizeof(page)))
		return false;
	uint32_t size = ret->free.page_size;
	if (page.number != which || page.flags != PAGE_META || ret->magic != META_MAGIC || ret->version != META_VERSION)
		return false;
	if (size < PAGE_SIZE_MIN || size > PAGE_SIZE_MAX || size & (size - 1) || file_size < (uint64_t)2 * size)
		return false;
	/* Transactions take turns. */
	if (ret->transaction && (ret->transaction & 1) != which)
		return false;
	return ret->last_page >= 1 && ret->last_page < file_size / size + UNWRITTEN_MAX && ret->last_page < BYTES_MAX / size &&
	       ret->map_size <= BYTES_MAX && (ret->free.flags & 0xff) == INTEGER_KEYS;
}

static bool read_metas(int fd, struct meta ret[2], uint64_t *ret_size)
{
	struct stat st;
	if (sys.fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	*ret_size = (uint64_t)st.st_size;
	return read_meta(fd, *ret_size, 0, 0, &ret[0]) && read_meta(fd, *ret_size, 1, ret[0].free.page_size, &ret[1]) &&
	       ret[0].free.page_size == ret[1].free.page_size;
}

static int open_data(const char *path)
{
	OWNED char *file = path_joined(path, "data.mdb");
	return sys.openat(AT_FDCWD, file, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
}

bool state_head_is_whole(const char *path, uint64_t *ret_ino)
{
	int fd CLEANUP(fs_close_fd) = open_data(path);
	struct meta metas[2];
	struct stat st;
	uint64_t size;
	*ret_ino = 0;
	if (fd < 0 || sys.fstat(fd, &st) < 0)
		return true;
	*ret_ino = (uint64_t)st.st_ino;
	return (S_ISREG(st.st_mode) && st.st_size == 0) || read_metas(fd, metas, &size);
}

uint64_t state_last(const char *dir)
{
	OWNED char *path = path_joined(dir, "state");
	int fd CLEANUP(fs_close_fd) = open_data(path);
	struct meta metas[2];
	uint64_t size;
	if (fd < 0 || !read_metas(fd, metas, &size))
		return 0;
	return metas[0].transaction > metas[1].transaction ? metas[0].transaction : metas[1].transaction;
}

/* Pages. */

struct check {
	int fd;
	uint64_t file_size;
	uint32_t page_size;
	uint64_t last_page, transaction;
	uint8_t *used; /* a bit a page */
};

/* A page belongs to one thing alone: LMDB would write over what it takes for free. */
static bool take_pages(struct check *c, uint64_t first, uint64_t count)
{
	if (first < 2 || first > c->last_page || count > c->last_page - first + 1)
		return false;
	for (uint64_t page = first; page < first + count; page++) {
		uint8_t bit = (uint8_t)(1u << (page & 7));
		if (c->used[page / 8] & bit)
			return false;
		c->used[page / 8] |= bit;
	}
	return true;
}

static struct page head_of(const uint8_t *page)
{
	struct page head;
	memcpy(&head, page, sizeof(head));
	return head;
}

struct item {
	const uint8_t *key, *value;
	size_t key_len;
	uint64_t value_len; /* of a leaf: where it is big, that of the whole, and value is the number of its first page */
	uint64_t child;     /* of a branch */
	unsigned flags;     /* of a leaf */
};

static size_t item_count(const uint8_t *page)
{
	return (head_of(page).lower - PAGE_HEAD) / 2u;
}

/* The item, if it lies within the page. *ret_space: what it takes of it. */
static bool open_item(const struct check *c, const uint8_t *page, size_t index, bool is_leaf, struct item *ret, size_t *ret_space)
{
	uint16_t at;
	struct node node;
	memcpy(&at, page + PAGE_HEAD + 2 * index, sizeof(at));
	if (at < head_of(page).upper || at & 1 || at > c->page_size - NODE_HEAD)
		return false;
	memcpy(&node, page + at, sizeof(node));
	uint64_t low = (uint64_t)node.low | (uint64_t)node.high << 16, space = NODE_HEAD + (uint64_t)node.key_len;
	*ret = (struct item){ .key = page + at + NODE_HEAD, .key_len = node.key_len, .value = page + at + NODE_HEAD + node.key_len };
	if (is_leaf) {
		ret->flags = node.flags;
		ret->value_len = low;
		space += node.flags & NODE_BIG ? sizeof(uint64_t) : low;
	} else {
		ret->child = low | (uint64_t)node.flags << 32;
	}
	*ret_space = (size_t)(space + (space & 1));
	return space <= c->page_size - at;
}

/* Reads a page of a tree. What its items take is what lies behind `upper`, or they overlap. */
static bool read_page(struct check *c, uint64_t number, bool is_leaf, uint8_t *page)
{
	if (!take_pages(c, number, 1) || number >= c->file_size / c->page_size || !read_at(c->fd, page, c->page_size, number * c->page_size))
		return false;
	struct page head = head_of(page);
	if (head.number != number || head.flags != (is_leaf ? PAGE_LEAF : PAGE_BRANCH))
		return false;
	if (head.lower < PAGE_HEAD || head.lower & 1 || head.lower > head.upper || head.upper > c->page_size)
		return false;
	size_t count = item_count(page), total = 0, space;
	if (count < (is_leaf ? 1u : 2u))
		return false;
	for (size_t i = 0; i < count; i++) {
		struct item item;
		if (!open_item(c, page, i, is_leaf, &item, &space))
			return false;
		total += space;
	}
	return total == c->page_size - head.upper;
}

/* Where a big value begins; its pages are taken. */
static bool find_big(struct check *c, const struct item *item, uint64_t *ret_at)
{
	uint64_t first;
	struct page head;
	memcpy(&first, item->value, sizeof(first));
	uint64_t needed = (PAGE_HEAD - 1 + item->value_len) / c->page_size + 1, in_file = c->file_size / c->page_size;
	if (first < 2 || first >= in_file || needed > in_file - first || !read_at(c->fd, &head, sizeof(head), first * c->page_size))
		return false;
	*ret_at = first * c->page_size + PAGE_HEAD;
	return head.number == first && head.flags == PAGE_OVERFLOW && head.pages >= needed && take_pages(c, first, head.pages);
}

/* Pages that are free since a transaction: a number, and so many pages, the last first. */
static bool check_free_list(struct check *c, const uint8_t *list, uint64_t len)
{
	uint64_t count, before = NO_PAGE;
	if (len < sizeof(count))
		return false;
	memcpy(&count, list, sizeof(count));
	if (count > len / sizeof(count) - 1)
		return false;
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t page;
		memcpy(&page, list + i * sizeof(page), sizeof(page));
		if (page >= before || !take_pages(c, page, 1))
			return false;
		before = page;
	}
	return true;
}

enum kind { OF_FREE, OF_RECORDS };

static bool check_value(struct check *c, enum kind kind, const struct item *item)
{
	uint64_t at = 0;
	if (item->flags & ~NODE_BIG || (item->flags && !find_big(c, item, &at)))
		return false;
	if (kind == OF_RECORDS)
		return true;
	if (!item->flags)
		return check_free_list(c, item->value, item->value_len);
	uint8_t *list OWNED = mem_try(item->value_len);
	return list && read_at(c->fd, list, item->value_len, at) && check_free_list(c, list, item->value_len);
}

/* What the integer keys of a tree are in. */
struct bounds {
	uint64_t from, below;
	bool open; /* no end above */
};

static bool check_tree(struct check *c, enum kind kind, uint64_t number, unsigned depth, struct bounds bounds);

/* The key of an item, if it is one of this tree. The first one of a branch stands for all that is smaller, and may be left out. */
static bool key_at(const struct check *c, const uint8_t *page, size_t index, bool is_leaf, struct bounds bounds, struct item *ret, uint64_t *ret_key)
{
	size_t space;
	bool stands_for_all = !is_leaf && index == 0;
	if (!open_item(c, page, index, is_leaf, ret, &space))
		return false;
	*ret_key = bounds.from;
	if (stands_for_all)
		return ret->key_len == 0 || ret->key_len == sizeof(*ret_key);
	if (ret->key_len != sizeof(*ret_key))
		return false;
	memcpy(ret_key, ret->key, sizeof(*ret_key));
	return *ret_key >= bounds.from && (bounds.open || *ret_key < bounds.below);
}

static bool check_items(struct check *c, enum kind kind, const uint8_t *page, unsigned depth, struct bounds bounds)
{
	size_t count = item_count(page);
	uint64_t key, after;
	struct item item, next;
	bool is_leaf = depth == 1;
	if (!key_at(c, page, 0, is_leaf, bounds, &item, &key))
		return false;
	for (size_t i = 0; i < count; i++) {
		bool last = i + 1 == count;
		if (!last && (!key_at(c, page, i + 1, is_leaf, bounds, &next, &after) || after <= key))
			return false;
		const struct bounds below = { .from = key, .below = last ? bounds.below : after, .open = last && bounds.open };
		if (is_leaf ? (kind == OF_FREE && key > c->transaction) || !check_value(c, kind, &item)
			    : !check_tree(c, kind, item.child, depth - 1, below))
			return false;
		item = next;
		key = after;
	}
	return true;
}

static bool check_tree(struct check *c, enum kind kind, uint64_t number, unsigned depth, struct bounds bounds)
{
	uint8_t *page OWNED = mem_alloc(c->page_size);
	return read_page(c, number, depth == 1, page) && check_items(c, kind, page, depth, bounds);
}

static bool check_table(struct check *c, enum kind kind, const struct db *db)
{
	if (db->root == NO_PAGE)
		return db->depth == 0;
	return db->depth >= 1 && db->depth <= DEPTH_MAX && check_tree(c, kind, db->root, db->depth, (struct bounds){ .open = true });
}

/* The table of tables: one leaf, a handful of names in their order. */
static bool check_main(struct check *c, const struct db *db)
{
	if (db->root == NO_PAGE)
		return db->depth == 0;
	uint8_t *page OWNED = mem_alloc(c->page_size);
	if (db->depth != 1 || db->flags || !read_page(c, db->root, true, page))
		return false;
	for (size_t i = 0; i < item_count(page); i++) {
		struct item item;
		struct db table;
		size_t space;
		if (!open_item(c, page, i, true, &item, &space) || item.flags != NODE_TABLE || item.value_len != sizeof(table) || !item.key_len)
			return false;
		memcpy(&table, item.value, sizeof(table));
		if (table.flags != INTEGER_KEYS || !check_table(c, OF_RECORDS, &table))
			return false;
	}
	return true;
}

enum state_shape state_check_pages(int fd, uint64_t transaction)
{
	struct meta metas[2], now[2];
	struct check c = { .fd = fd, .transaction = transaction };
	if (!read_metas(fd, metas, &c.file_size))
		return STATE_DAMAGED;
	const struct meta *meta = &metas[transaction & 1];
	if (meta->transaction != transaction)
		return STATE_MOVED_ON;
	c.page_size = meta->free.page_size;
	c.last_page = meta->last_page;
	uint8_t *used OWNED = c.used = mem_try(c.last_page / 8 + 1);
	if (used)
		memset(used, 0, c.last_page / 8 + 1);
	if (used && check_table(&c, OF_FREE, &meta->free) && check_main(&c, &meta->main))
		return STATE_WHOLE;
	/* Another process may have put its own in that place just then. */
	uint64_t size;
	bool same = read_metas(fd, now, &size) && memcmp(&now[transaction & 1], meta, sizeof(*meta)) == 0;
	return used && same ? STATE_DAMAGED : STATE_MOVED_ON;
}

/* The note. */

static void add_note(const struct fs_stamp *stamp, uint64_t boot, struct buf *out)
{
	codec_add_u32(out, NOTE_MAGIC);
	codec_add_u64(out, boot);
	codec_add_u64(out, stamp->ino);
	codec_add_u64(out, stamp->size);
	codec_add_u64(out, (uint64_t)stamp->mtime_ns);
	codec_add_u64(out, (uint64_t)stamp->ctime_ns);
	codec_add_u64(out, codec_checksum(out->data, out->len));
}

static int open_note(const char *path, int flags)
{
	OWNED char *file = path_joined(path, "whole");
	return sys.openat(AT_FDCWD, file, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
}

bool state_is_noted(const char *path, int fd, struct fs_stamp *ret)
{
	struct stat st;
	*ret = (struct fs_stamp){ 0 };
	if (sys.fstat(fd, &st) < 0)
		return false;
	fs_stamp_of(ret, &st);
	uint64_t boot = clock_boot();
	int note CLEANUP(fs_close_fd) = boot ? open_note(path, O_RDONLY) : -1;
	struct buf expected CLEANUP(buf_release) = BUF_INIT;
	char found[128];
	add_note(ret, boot, &expected);
	return note >= 0 && expected.len <= sizeof(found) && read_at(note, found, expected.len, 0) &&
	       memcmp(found, expected.data, expected.len) == 0;
}

void state_note(const char *path, const struct fs_stamp *stamp)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	uint64_t boot = clock_boot();
	int note CLEANUP(fs_close_fd) = boot && stamp->ino ? open_note(path, O_WRONLY | O_CREAT) : -1;
	add_note(stamp, boot, &bytes);
	if (note >= 0 && sys.pwrite(note, bytes.data, bytes.len, 0) != (ssize_t)bytes.len)
		(void)sys.ftruncate(note, 0);
}
