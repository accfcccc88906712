#include "base/text.h"

#include "base/mem.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool text_eq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool text_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends(const char *text, const char *suffix)
{
	size_t len = strlen(text), suffix_len = strlen(suffix);
	return len >= suffix_len && strcmp(text + len - suffix_len, suffix) == 0;
}

/* The length of the well-formed sequence at s, 0 if it is not one (Unicode, table 3-7). */
static size_t utf8_sequence(const uint8_t *s, size_t len)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t need;
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		need = 2;
	} else if (s[0] >= 0xe0 && s[0] <= 0xef) {
		need = 3;
		low = s[0] == 0xe0 ? 0xa0 : low;
		high = s[0] == 0xed ? 0x9f : high;
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		need = 4;
		low = s[0] == 0xf0 ? 0x90 : low;
		high = s[0] == 0xf4 ? 0x8f : high;
	} else {
		return 0;
	}
	if (len < need || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < need; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return need;
}

bool text_is_utf8(const char *bytes, size_t len)
{
	const uint8_t *s = (const uint8_t *)bytes;
	for (size_t i = 0; i < len;) {
		size_t step = utf8_sequence(s + i, len - i);
		if (!step)
			return false;
		i += step;
	}
	return true;
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;
	return least < c ? least : c;
}

size_t text_distance(const char *a, const char *b)
{
	size_t rows = strlen(a) + 1, cols = strlen(b) + 1;
	/* Three rows are enough: a transposition looks two back. */
	OWNED size_t *cells = mem_resize_array(NULL, 3 * cols, sizeof(*cells));
	size_t *before = cells, *previous = cells + cols, *row = cells + 2 * cols;
	for (size_t j = 0; j < cols; j++)
		previous[j] = j;
	for (size_t i = 1; i < rows; i++) {
		row[0] = i;
		for (size_t j = 1; j < cols; j++) {
			size_t change = a[i - 1] != b[j - 1];
			row[j] = min3(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + change);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		size_t *spare = before;
		before = previous;
		previous = row;
		row = spare;
	}
	return previous[cols - 1];
}

const char *text_nearest(const char *word, const char *const *candidates, size_t count)
{
	size_t len = strlen(word);
	const char *nearest = NULL;
	size_t least = len < 3 ? 1 : len / 3 < 2 ? 2 : len / 3;
	if (len == 0 || len > 256)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t other = strlen(candidates[i]);
		if ((other > len ? other - len : len - other) > least)
			continue;
		size_t distance = text_distance(word, candidates[i]);
		/* A word that shares nothing with the candidate is not a typing error of it, and two errors are many in a short one. */
		if (distance >= len || (distance > 1 && len < 5 && word[0] != candidates[i][0]))
			continue;
		if (distance <= least && (!nearest || distance < least)) {
			nearest = candidates[i];
			least = distance;
		}
	}
	for (size_t i = 0; i < count && !nearest && len > 1; i++)
		if (text_starts(candidates[i], word))
			nearest = candidates[i];
	return nearest;
}

bool text_parse_u64(const char *text, uint64_t *ret)
{
	uint64_t value = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text) || __builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	}
	*ret = value;
	return true;
}

/* The digits at *text (at least one), with *text moved behind them. */
static bool take_number(const char **text, uint64_t *ret)
{
	size_t len = strspn(*text, "0123456789");
	char digits[24];
	if (len == 0 || len >= sizeof(digits))
		return false;
	memcpy(digits, *text, len);
	digits[len] = '\0';
	*text += len;
	return text_parse_u64(digits, ret);
}

bool text_parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGTP";
	uint64_t value;
	if (!take_number(&text, &value))
		return false;
	if (*text) {
		const char *unit = strchr(units, toupper((unsigned char)*text));
		if (!unit || __builtin_mul_overflow(value, (uint64_t)1 << (10 * (unit - units + 1)), &value))
			return false;
		text++;
		if (*text == 'i')
			text++;
		if (*text == 'B')
			text++;
	}
	*ret = value;
	return *text == '\0';
}

bool text_parse_duration(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
	uint64_t total = 0;
	if (!*text)
		return false;
	while (*text) {
		uint64_t value, ms = 0;
		if (!take_number(&text, &value))
			return false;
		for (size_t i = 0; i < ARRAY_LEN(units) && !ms; i++) {
			size_t len = strlen(units[i].name);
			if (strncmp(text, units[i].name, len) == 0 && !isalpha((unsigned char)text[len])) {
				ms = units[i].ms;
				text += len;
			}
		}
		if (!ms && *text == '\0')
			ms = 1000;
		if (!ms || __builtin_mul_overflow(value, ms, &value) || __builtin_add_overflow(total, value, &total))
			return false;
	}
	*ret_ms = total;
	return true;
}

int64_t text_parse_utc(const char *text)
{
	struct tm tm = { 0 };
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (!end)
		return 0;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	unsigned zone[4] = { 0 }, have = 0;
	for (const char *c = *end == '+' || *end == '-' ? end + 1 : ""; *c && have < 4; c++) {
		if (*c >= '0' && *c <= '9')
			zone[have++] = (unsigned)(*c - '0');
	}
	int64_t offset = 60 * (60 * (int64_t)(10 * zone[0] + zone[1]) + 10 * zone[2] + zone[3]);
	return (int64_t)timegm(&tm) - (*end == '-' ? -offset : offset);
}

void text_add_printable(struct buf *out, const char *text, size_t most)
{
	size_t len = strnlen(text, most);
	bool cut = len == most;
	while (cut && len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i], next = i + 1 < len ? (unsigned char)text[i + 1] : 0;
		bool c1 = c == 0xc2 && next >= 0x80 && next < 0xa0;
		buf_addch(out, c < ' ' || c == 127 || c1 ? ' ' : (char)c);
		i += c1;
	}
}

void text_add_bytes(struct buf *out, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double value = (double)bytes;
	size_t unit = 0;
	while (value >= 1024 && unit + 1 < ARRAY_LEN(units)) {
		value /= 1024;
		unit++;
	}
	if (unit == 0)
		buf_addf(out, "%" PRIu64 " B", bytes);
	else
		buf_addf(out, "%.1f %s", value, units[unit]);
}

void text_add_count(struct buf *out, uint64_t count)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, count);
	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			buf_addch(out, ',');
		buf_addch(out, digits[i]);
	}
}

void text_add_duration(struct buf *out, uint64_t ms)
{
	uint64_t seconds = ms / 1000;
	if (ms < 60000)
		buf_addf(out, ms < 10000 ? "%.2fs" : "%.1fs", (double)ms / 1000);
	else if (seconds < 3600)
		buf_addf(out, "%" PRIu64 "m %02" PRIu64 "s", seconds / 60, seconds % 60);
	else
		buf_addf(out, "%" PRIu64 "h %02" PRIu64 "m", seconds / 3600, seconds / 60 % 60);
}

void text_add_shell_quoted(struct buf *out, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@+%";
	if (*text && text[strspn(text, plain)] == '\0') {
		buf_addstr(out, text);
		return;
	}
	buf_addch(out, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			buf_addstr(out, "'\\''");
		else
			buf_addch(out, *text);
	}
	buf_addch(out, '\'');
}

void text_hex(char *out, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * len] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool text_unhex(uint8_t *out, size_t len, const char *hex)
{
	for (size_t i = 0; i < len; i++) {
		int high = hex_value(hex[2 * i]);
		int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);
		if (low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return hex[2 * len] == '\0';
}

static uint64_t load_u64(const uint8_t *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
	__extension__ typedef unsigned __int128 wide;
	wide product = (wide)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Multiply and fold, sixteen bytes a step, in the manner of wyhash. Bytes beyond the end count as zero; the length is mixed
 * in, so that they are told apart from real ones. */
uint64_t text_hash(const void *bytes, size_t len)
{
	const uint64_t k1 = 0xa0761d6478bd642fu, k2 = 0xe7037ed1a0b428dbu;
	const uint8_t *at = bytes;
	size_t left = len;
	uint64_t hash = k1 ^ len;
	for (; left >= 16; left -= 16, at += 16)
		hash = fold(load_u64(at) ^ k2 ^ hash, load_u64(at + 8) ^ k1 ^ (hash << 32 | hash >> 32));
	uint8_t tail[16] = { 0 };
	if (left)
		memcpy(tail, at, left);
	hash = fold(load_u64(tail) ^ k2 ^ hash, load_u64(tail + 8) ^ k1 ^ (hash << 32 | hash >> 32));
	return fold(hash ^ k2, k1 ^ len);
}

/* From behind the opening quote to behind the closing one, or NULL. */
static const char *quoted(const char *at, char quote, struct buf *word)
{
	for (; *at && *at != quote; at++) {
		if (quote == '"' && *at == '\\' && (at[1] == '"' || at[1] == '\\'))
			at++;
		buf_addch(word, *at);
	}
	return *at ? at + 1 : NULL;
}

bool text_split_words(const char *text, struct strlist *ret)
{
	const char *at = text;
	for (;;) {
		struct buf word CLEANUP(buf_release) = BUF_INIT;
		at += strspn(at, " \t\r\n");
		if (!*at)
			return true;
		while (at && *at && !strchr(" \t\r\n", *at)) {
			if (*at == '"' || *at == '\'')
				at = quoted(at + 1, *at, &word);
			else if (*at == '\\' && !at[1])
				return false;
			else {
				at += *at == '\\';
				buf_addch(&word, *at++);
			}
		}
		if (!at)
			return false;
		strlist_add(ret, word.data);
	}
}
