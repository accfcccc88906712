#include "features/data/glob_paths.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/dvcfile.h"
#include "formats/ignore.h"

#include <string.h>

struct globbing {
	const char *pattern; /* absolute */
	const char *dir;     /* that has no magic, and where the walk begins */
	size_t cut;          /* of an absolute path, what was not typed */
	const char *before;  /* what was typed instead of it */
	bool hidden;
	struct strlist *ret;
};

static void take(const struct globbing *globbing, const char *path)
{
	char *typed OWNED = mem_printf("%s%s", globbing->before, path + globbing->cut);
	if (!dvc_file_is_name(path_base(path)) && !strlist_has(globbing->ret, typed))
		strlist_add(globbing->ret, typed);
}

static int visit(void *ctx, const struct fs_entry *entry, struct err *err)
{
	const struct globbing *globbing = ctx;
	(void)err;
	if (path_base(entry->rel)[0] == '.' && !globbing->hidden)
		return 1;
	char *path OWNED = path_joined(globbing->dir, entry->rel);
	if (glob_match_plain(globbing->pattern, path)) {
		take(globbing, path);
		return 1;
	}
	return S_ISDIR(entry->st->st_mode) && !glob_may_match_below(globbing->pattern, path) ? 1 : 0;
}

static int expand(const struct data_repo *repo, const char *given, struct strlist *ret, struct err *err)
{
	size_t literal = glob_literal_dir(given);
	char *typed OWNED = mem_strndup(given, literal);
	char *joined OWNED = *given == '/' ? mem_strndup(given, literal ? literal : 1) : path_joined(repo->cwd, typed);
	struct buf dir CLEANUP(buf_release) = BUF_INIT, pattern CLEANUP(buf_release) = BUF_INIT, before CLEANUP(buf_release) = BUF_INIT;
	path_normalize(&dir, joined);
	const char *rest = given + literal + strspn(given + literal, "/");
	/* What is literal is not to be read as a pattern. */
	for (const char *at = dir.data; *at; at++) {
		if (strchr("*?[\\", *at))
			buf_addch(&pattern, '\\');
		buf_addch(&pattern, *at);
	}
	buf_addf(&pattern, "%s%s", text_ends(dir.data, "/") ? "" : "/", rest);
	buf_add(&before, given, (size_t)(rest - given));
	struct globbing globbing = { .pattern = pattern.data, .dir = dir.data, .before = before.data, .ret = ret };
	globbing.cut = dir.len + (text_ends(dir.data, "/") ? 0 : 1);
	globbing.hidden = rest[0] == '.' || strstr(rest, "/.");
	return fs_is_dir(dir.data) ? fs_walk(dir.data, visit, &globbing, err) : 0;
}

int glob_paths(const struct data_repo *repo, const char *const *patterns, size_t count, struct strlist *ret, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		char *path OWNED = *patterns[i] == '/' ? mem_strdup(patterns[i]) : path_joined(repo->cwd, patterns[i]);
		struct stat st;
		bool exists = false;
		bool magic = glob_has_magic(patterns[i]);
		if (!magic && fs_lstat(path, &st, &exists, err) < 0)
			return -1;
		if (exists && !strlist_has(ret, patterns[i]))
			strlist_add(ret, patterns[i]);
		if (magic && expand(repo, patterns[i], ret, err) < 0)
			return -1;
	}
	if (ret->len)
		return 0;
	err_set(err, ERR_CONFIG, "nothing matches %s%s", patterns[0], count > 1 ? ", or any of the other patterns" : "");
	return err_hint(err, "quote the pattern, so that the shell leaves it alone; names that begin with a dot match only '.*'");
}
