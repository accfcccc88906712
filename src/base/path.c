#include "base/path.h"

#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

void path_join(struct buf *out, const char *a, const char *b)
{
	if (b[0] == '/' || a[0] == '\0' || strcmp(a, ".") == 0) {
		buf_addstr(out, b);
		return;
	}
	buf_addstr(out, a);
	if (out->data[out->len - 1] != '/')
		buf_addch(out, '/');
	buf_addstr(out, b);
}

char *path_joined(const char *a, const char *b)
{
	struct buf out = BUF_INIT;
	path_join(&out, a, b);
	return buf_detach(&out);
}

/* Removes the last component of what was written after start; false if there is none that ".." may remove. */
static bool drop_component(struct buf *out, size_t start)
{
	size_t at = out->len;
	while (at > start && out->data[at - 1] != '/')
		at--;
	if (out->len == start || strcmp(out->data + at, "..") == 0)
		return false;
	buf_truncate(out, at > start ? at - 1 : start);
	return true;
}

void path_normalize(struct buf *out, const char *path)
{
	bool absolute = path[0] == '/';
	if (absolute)
		buf_addch(out, '/');
	size_t start = out->len;
	while (*path) {
		size_t len = strcspn(path, "/");
		bool up = len == 2 && path[0] == '.' && path[1] == '.';
		if (up && (drop_component(out, start) || absolute)) {
			/* done, or above the root */
		} else if (len && !(len == 1 && path[0] == '.')) {
			if (out->len > start)
				buf_addch(out, '/');
			buf_add(out, path, len);
		}
		path += len;
		path += strspn(path, "/");
	}
	if (!absolute && out->len == start)
		buf_addch(out, '.');
}

void path_relative(struct buf *out, const char *from, const char *to)
{
	size_t common = 0, i = 0;
	while (from[i] && from[i] == to[i]) {
		i++;
		if ((from[i] == '/' || !from[i]) && (to[i] == '/' || !to[i]))
			common = i;
	}
	if (strcmp(from, "/") == 0)
		common = 0;
	const char *rest = from + common;
	size_t start = out->len;
	while (*rest) {
		rest += strspn(rest, "/");
		if (!*rest)
			break;
		buf_addstr(out, out->len > start ? "/.." : "..");
		rest += strcspn(rest, "/");
	}
	to += common;
	to += strspn(to, "/");
	if (*to) {
		if (out->len > start)
			buf_addch(out, '/');
		buf_addstr(out, to);
	}
	if (out->len == start)
		buf_addch(out, '.');
}

bool path_inside(const char *dir, const char *path)
{
	size_t len = strlen(dir);
	if (strcmp(dir, ".") == 0)
		return path[0] != '/' && strcmp(path, "..") != 0 && !text_starts(path, "../");
	if (strcmp(dir, "/") == 0)
		return path[0] == '/';
	return strncmp(dir, path, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

bool path_is_safe(const char *path)
{
	if (strlen(path) > 4096 || path[0] == '\0')
		return false;
	for (;;) {
		size_t len = strcspn(path, "/");
		if (len == 0 || len > NAME_MAX || (len == 1 && path[0] == '.') ||
		    (len == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		if (!path[len])
			return true;
		path += len + 1;
	}
}

const char *path_base(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

void path_dir(struct buf *out, const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		buf_addch(out, '.');
	else if (slash == path)
		buf_addch(out, '/');
	else
		buf_add(out, path, (size_t)(slash - path));
}

int path_cwd(struct buf *out, struct err *err)
{
	char *cwd = getcwd(NULL, 0);
	if (!cwd) {
		err_set_errno(err, ERR_FAILED, errno, "the current directory cannot be read");
		return err_hint(err, "it may have been deleted: change to another directory");
	}
	OWNED char *owned = cwd;
	buf_addstr(out, owned);
	return 0;
}

int path_compare(const char *left, const char *right)
{
	for (; *left && *left == *right; left++, right++)
		;
	/* '/' counts as the lowest of all but the end. */
	unsigned a = *left == '/' ? 1 : *left ? (unsigned char)*left + 1u : 0, b = *right == '/' ? 1 : *right ? (unsigned char)*right + 1u : 0;
	return (a > b) - (a < b);
}
