/*
 * data commit: what is tracked already, added again as it is in the work tree.
 */
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/outs.h"

/* An output whose data is not here is left as recorded, unless it is named. */
static int choose(struct data_repo *repo, const struct selection *chosen, bool named, struct strlist *ret, struct strlist *ret_absent,
		  struct err *err)
{
	for (size_t i = 0; i < chosen->list.len; i++) {
		const struct tracked *tracked = chosen->list.at[i].tracked;
		const char *sub = chosen->list.at[i].sub;
		char *rel OWNED = sub ? path_joined(tracked->path, sub) : mem_strdup(tracked->path);
		char *abs OWNED = repo_abs(repo, rel);
		struct stat st;
		bool exists;
		if (!named && (tracked->stage || tracked->is_import))
			continue;
		if (fs_lstat(abs, &st, &exists, err) < 0)
			return -1;
		if (exists || named)
			strlist_add(ret, abs);
		else
			strlist_add(ret_absent, rel);
	}
	return 0;
}

int data_commit(struct data_repo *repo, const char *const *paths, size_t count, const struct data_add_options *options,
		struct data_add_report *ret, struct strlist *ret_absent, struct err *err)
{
	struct outs outs CLEANUP(outs_release) = OUTS_INIT;
	struct selection chosen CLEANUP(selection_release) = SELECTION_INIT;
	struct strlist wanted CLEANUP(strlist_release) = { 0 };
	*ret = (struct data_add_report){ .staged = false };
	if (repo_lock(repo, err) < 0)
		return -1;
	int status = outs_load(repo, &outs, err);
	if (status == 0 && !count && outs.broken.len)
		status = err_move(err, &outs.broken.at[0].err);
	if (status == 0)
		status = outs_select(repo, &outs, paths, count, &chosen, err);
	if (status == 0)
		status = selection_check_parts(repo, &chosen, true, err);
	if (status == 0)
		status = choose(repo, &chosen, count > 0, &wanted, ret_absent, err);
	repo_unlock(repo);
	if (status == 0 && wanted.len)
		status = data_add(repo, (const char *const *)wanted.at, wanted.len, options, ret, err);
	return status;
}
