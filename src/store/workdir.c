#include "store/workdir.h"

#include "base/fs.h"
#include "base/path.h"
#include "formats/digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_PLAIN 180

int workdir_make(const char *dir, struct err *err)
{
	char *ignore OWNED = path_joined(dir, ".gitignore");
	if (fs_exists(ignore))
		return 0;
	for (int again = FS_ATTEMPTS;; again--) {
		if (fs_mkdirs(dir, err) == 0 && fs_write_file(ignore, "*\n", 2, 0666, FS_VOLATILE, err) == 0)
			return 0;
		if (err->sys_errno != ENOENT || !again)
			break;
		err_release(err);
	}
	return err->hint ? -1 : err_hint(err, "make that possible, or let MLMAKE_STATE_DIR name a directory for it");
}

int workdir_path(const char *root, const char *sub, struct buf *out, struct err *err)
{
	size_t start = out->len;
	buf_addf(out, "%s/.mlmake", strcmp(root, "/") == 0 ? "" : root);
	if (workdir_make(out->data + start, err) < 0)
		return -1;
	if (!sub)
		return 0;
	buf_addf(out, "/%s", sub);
	return fs_is_dir(out->data + start) ? 0 : fs_mkdirs(out->data + start, err);
}

static bool is_plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("_-@+,=:", c);
}

void workdir_add_name(struct buf *out, const char *name)
{
	size_t start = out->len;
	for (const char *c = name; *c; c++) {
		if (is_plain((unsigned char)*c) || (*c == '.' && c != name))
			buf_addch(out, *c);
		else
			buf_addf(out, "%%%02X", (unsigned char)*c);
	}
	if (out->len - start <= NAME_MAX_PLAIN)
		return;
	struct digest digest;
	digest_bytes(DIGEST_SHA256, name, strlen(name), &digest);
	buf_truncate(out, start + NAME_MAX_PLAIN);
	buf_addstr(out, "%-");
	buf_addhex(out, digest.bytes, 16);
}

int workdir_user_cache(struct buf *out, struct err *err)
{
	const char *own = sys.getenv("MLMAKE_CACHE_DIR");
	const char *xdg = sys.getenv("XDG_CACHE_HOME");
	const char *home = sys.getenv("HOME");
	if (own && own[0] == '/')
		buf_addstr(out, own);
	else if (own && own[0])
		return err_set(err, ERR_CONFIG, "MLMAKE_CACHE_DIR is '%s', which is not an absolute path", own);
	else if (xdg && xdg[0] == '/')
		buf_addf(out, "%s/mlmake", xdg);
	else if (home && home[0] == '/')
		buf_addf(out, "%s/.cache/mlmake", home);
	else {
		err_set(err, ERR_CONFIG, "there is no place for the cache: neither HOME nor XDG_CACHE_HOME is set");
		return err_hint(err, "set MLMAKE_CACHE_DIR to a directory");
	}
	return 0;
}
