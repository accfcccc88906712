#include "features/ci/diff.h"

#include "base/vec.h"

#include <string.h>

#define CONTEXT 3
#define MAX_CELLS ((size_t)4 << 20) /* of the table of common subsequences */

struct line {
	const char *text;
	size_t len; /* with the newline, if it has one */
};
struct lines {
	struct line *at;
	size_t len, cap;
};

/* One step from the old text to the new: ' ' keep, '-' drop, '+' add. */
struct step {
	char kind;
	struct line line;
};
struct steps {
	struct step *at;
	size_t len, cap;
};

static void split(struct lines *lines, const char *text)
{
	vec_reserve(lines, 1); /* so that there is an array to point into where there is no line */
	while (*text) {
		size_t len = strcspn(text, "\n");
		len += text[len] == '\n';
		vec_push(lines, (struct line){ text, len });
		text += len;
	}
}

static bool same(const struct line *a, const struct line *b)
{
	return a->len == b->len && !memcmp(a->text, b->text, a->len);
}

static void add_steps(struct steps *steps, char kind, const struct line *lines, size_t count)
{
	for (size_t i = 0; i < count; i++)
		vec_push(steps, (struct step){ kind, lines[i] });
}

/* The longest common subsequence by the textbook's table; length[i][j] is that of a from i and b from j. */
static void compare_middle(struct steps *steps, const struct line *a, size_t a_len, const struct line *b, size_t b_len)
{
	size_t width = b_len + 1;
	uint32_t *length OWNED = (a_len + 1) <= MAX_CELLS / width ? mem_try((a_len + 1) * width * sizeof(*length)) : NULL;
	if (!length) {
		add_steps(steps, '-', a, a_len);
		add_steps(steps, '+', b, b_len);
		return;
	}
	memset(length, 0, (a_len + 1) * width * sizeof(*length));
	for (size_t i = a_len; i-- > 0;) {
		for (size_t j = b_len; j-- > 0;) {
			uint32_t down = length[(i + 1) * width + j], right = length[i * width + j + 1];
			length[i * width + j] = same(&a[i], &b[j]) ? length[(i + 1) * width + j + 1] + 1
								   : (down > right ? down : right);
		}
	}
	size_t i = 0, j = 0;
	while (i < a_len || j < b_len) {
		if (i < a_len && j < b_len && same(&a[i], &b[j])) {
			add_steps(steps, ' ', &a[i++], 1);
			j++;
		} else if (i < a_len && (j == b_len || length[(i + 1) * width + j] >= length[i * width + j + 1])) {
			add_steps(steps, '-', &a[i++], 1);
		} else {
			add_steps(steps, '+', &b[j++], 1);
		}
	}
}

/* "start,count" counts from 1; of an empty side, from the line before. */
static void add_range(struct buf *out, char sign, size_t before, size_t count)
{
	buf_addf(out, " %c%zu", sign, count ? before + 1 : before);
	if (count != 1)
		buf_addf(out, ",%zu", count);
}

static void add_hunk(struct buf *out, const struct steps *steps, size_t first, size_t last, size_t a_before, size_t b_before)
{
	size_t a_count = 0, b_count = 0;
	for (size_t i = first; i < last; i++) {
		a_count += steps->at[i].kind != '+';
		b_count += steps->at[i].kind != '-';
	}
	buf_addstr(out, "@@");
	add_range(out, '-', a_before, a_count);
	add_range(out, '+', b_before, b_count);
	buf_addstr(out, " @@\n");
	for (size_t i = first; i < last; i++) {
		const struct line *line = &steps->at[i].line;
		buf_addch(out, steps->at[i].kind);
		buf_add(out, line->text, line->len);
		if (line->text[line->len - 1] != '\n')
			buf_addstr(out, "\n\\ No newline at end of file\n");
	}
}

static void add_hunks(struct buf *out, const struct steps *steps)
{
	size_t a_line = 0, b_line = 0, at = 0;
	while (at < steps->len) {
		size_t change = at;
		while (change < steps->len && steps->at[change].kind == ' ')
			change++;
		if (change == steps->len)
			return;
		size_t first = change - at > CONTEXT ? change - CONTEXT : at;
		size_t last = change, end = change; /* last: behind the last change; end: behind its context */
		for (; end < steps->len && end - last < 2 * CONTEXT; end++) {
			if (steps->at[end].kind != ' ')
				last = end + 1;
		}
		end = steps->len - last > CONTEXT ? last + CONTEXT : steps->len;
		a_line += first - at;
		b_line += first - at;
		add_hunk(out, steps, first, end, a_line, b_line);
		for (size_t i = first; i < end; i++) {
			a_line += steps->at[i].kind != '+';
			b_line += steps->at[i].kind != '-';
		}
		at = end;
	}
}

void diff_unified(struct buf *out, const char *from_name, const char *from, const char *to_name, const char *to)
{
	if (!strcmp(from, to))
		return;
	struct lines a = { 0 }, b = { 0 };
	struct steps steps = { 0 };
	split(&a, from);
	split(&b, to);
	size_t head = 0, tail = 0;
	while (head < a.len && head < b.len && same(&a.at[head], &b.at[head]))
		head++;
	while (tail < a.len - head && tail < b.len - head && same(&a.at[a.len - tail - 1], &b.at[b.len - tail - 1]))
		tail++;
	add_steps(&steps, ' ', a.at, head);
	compare_middle(&steps, a.at + head, a.len - head - tail, b.at + head, b.len - head - tail);
	add_steps(&steps, ' ', a.at + a.len - tail, tail);
	buf_addf(out, "--- %s\n+++ %s\n", from_name, to_name);
	add_hunks(out, &steps);
	vec_release(&a);
	vec_release(&b);
	vec_release(&steps);
}
