#include "vcs/git_head.h"

#include "base/err.h"
#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define HEX_LEN 40
#define SMALL_MAX ((size_t)4096) /* HEAD, a ref, a .git file */
#define PACKED_MAX ((size_t)64 << 20)
#define HEADS "refs/heads/"

struct places {
	struct buf own, common; /* this worktree's directory, and what all worktrees share */
};

enum found { FOUND, MISSING, UNKNOWN };

/* A small text file without its line end. */
static enum found read_line(const char *path, struct buf *out)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct stat st;
	bool exists;
	if (fs_lstat(path, &st, &exists, &err) < 0)
		return UNKNOWN;
	if (!exists || S_ISDIR(st.st_mode))
		return MISSING;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return UNKNOWN;
	buf_reset(out);
	if (fs_read_file(path, SMALL_MAX, out, &err) < 0)
		return err.sys_errno == ENOENT ? MISSING : UNKNOWN;
	while (out->len && strchr(" \t\r\n", out->data[out->len - 1]))
		buf_truncate(out, out->len - 1);
	return strlen(out->data) == out->len ? FOUND : UNKNOWN;
}

/* From a linked worktree's .git file. */
static enum found follow_file(const char *top, const char *file, struct places *ret)
{
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	if (read_line(file, &line) != FOUND || !text_starts(line.data, "gitdir: "))
		return UNKNOWN;
	OWNED char *own = path_joined(top, line.data + strlen("gitdir: "));
	buf_setstr(&ret->own, own);
	OWNED char *pointer = path_joined(own, "commondir");
	switch (read_line(pointer, &line)) {
	case FOUND: {
		OWNED char *common = path_joined(own, line.data);
		buf_setstr(&ret->common, common);
		return FOUND;
	}
	case MISSING: /* a submodule's: it has a directory of its own */
		buf_setstr(&ret->common, own);
		return FOUND;
	default:
		return UNKNOWN;
	}
}

static enum found find_places(const char *root, struct places *ret)
{
	struct buf at CLEANUP(buf_release) = BUF_INIT;
	const char *git_dir = sys.getenv("GIT_DIR"), *ceilings = sys.getenv("GIT_CEILING_DIRECTORIES");
	if ((git_dir && *git_dir) || (ceilings && *ceilings))
		return UNKNOWN;
	buf_addstr(&at, root);
	for (;;) {
		struct err err CLEANUP(err_release) = ERR_INIT;
		struct buf parent CLEANUP(buf_release) = BUF_INIT;
		struct stat st;
		bool exists;
		OWNED char *git = path_joined(at.data, ".git");
		if (fs_lstat(git, &st, &exists, &err) < 0 || (exists && st.st_uid != geteuid()))
			return UNKNOWN;
		if (exists && S_ISDIR(st.st_mode)) {
			buf_setstr(&ret->own, git);
			buf_setstr(&ret->common, git);
			return FOUND;
		}
		if (exists)
			return S_ISREG(st.st_mode) ? follow_file(at.data, git, ret) : UNKNOWN;
		if (text_eq(at.data, "/"))
			return MISSING;
		path_dir(&parent, at.data);
		buf_setstr(&at, parent.data);
	}
}

static bool is_oid(const char *text)
{
	return strlen(text) == HEX_LEN && strspn(text, "0123456789abcdef") == HEX_LEN;
}

/* "<oid> <ref>", a line each; those that begin with # or ^ are about others. */
static enum found find_packed(const struct places *places, const char *ref, struct buf *ret_sha)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	OWNED char *path = path_joined(places->common.data, "packed-refs");
	if (fs_read_file(path, PACKED_MAX, &text, &err) < 0)
		return err.sys_errno == ENOENT ? MISSING : UNKNOWN;
	OWNED char *wanted = mem_printf(" %s", ref);
	size_t len = strlen(wanted);
	for (const char *at = text.data; (at = strstr(at, wanted)) != NULL; at += len) {
		const char *start = at - HEX_LEN;
		if ((at[len] != '\n' && at[len] != '\r' && at[len] != 0) || start < text.data || (start > text.data && start[-1] != '\n'))
			continue;
		OWNED char *oid = mem_strndup(start, HEX_LEN);
		if (!is_oid(oid))
			return UNKNOWN;
		buf_addstr(ret_sha, oid);
		return FOUND;
	}
	return MISSING;
}

/* What HEAD says. A branch that is another name for a branch is left to libgit2. */
static enum found resolve(const struct places *places, struct buf *text, struct buf *ret_sha, struct buf *ret_ref)
{
	if (is_oid(text->data)) {
		buf_addstr(ret_sha, text->data);
		return FOUND;
	}
	const char *ref = text_starts(text->data, "ref:") ? text->data + strlen("ref:") : "";
	ref += strspn(ref, " \t");
	if (!text_starts(ref, HEADS) || !path_is_safe(ref) || text_eq(ref, HEADS ".invalid"))
		return UNKNOWN;
	buf_setstr(ret_ref, ref);
	OWNED char *path = path_joined(places->common.data, ret_ref->data);
	switch (read_line(path, text)) {
	case FOUND:
		buf_addstr(ret_sha, text->data);
		return is_oid(text->data) ? FOUND : UNKNOWN;
	case MISSING:
		return find_packed(places, ret_ref->data, ret_sha);
	default:
		return UNKNOWN;
	}
}

void git_head_read(const char *root, struct buf *ret_sha, struct buf *ret_branch, bool *ret_known)
{
	struct places places = { .own = BUF_INIT, .common = BUF_INIT };
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct buf sha CLEANUP(buf_release) = BUF_INIT;
	struct buf ref CLEANUP(buf_release) = BUF_INIT;
	enum found found = find_places(root, &places);
	bool in_repository = found == FOUND;
	if (in_repository) {
		OWNED char *head = path_joined(places.own.data, "HEAD");
		found = read_line(head, &text) == FOUND ? resolve(&places, &text, &sha, &ref) : UNKNOWN;
	}
	buf_release(&places.own);
	buf_release(&places.common);
	*ret_known = found != UNKNOWN;
	if (!in_repository || !*ret_known)
		return;
	buf_addstr(ret_sha, sha.data);
	if (ref.len)
		buf_addstr(ret_branch, ref.data + strlen(HEADS));
}
