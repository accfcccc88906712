#include "features/hook/environments.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/text.h"
#include "engine/engine.h"
#include "features/hook/lend.h"
#include "store/state.h"

#include <string.h>

static void close_state(struct state **state)
{
	state_close(*state);
}

/* What the project remembers of the target holds for the same target of the tree, if the same things went in: the engine judges. */
static int copy_record(const char *from_root, const char *to_root, const char *name, struct err *err)
{
	struct state *from CLEANUP(close_state) = NULL;
	struct state *to CLEANUP(close_state) = NULL;
	const void *bytes;
	size_t len;
	if (state_open(from_root, &from, err) < 0)
		return -1;
	if (!state_get(from, STATE_RESULTS, name, &bytes, &len))
		return 0;
	struct buf copy CLEANUP(buf_release) = BUF_INIT;
	buf_add(&copy, bytes, len);
	if (state_open(to_root, &to, err) < 0 || state_put(to, STATE_RESULTS, name, copy.data, copy.len, err) < 0)
		return -1;
	return state_flush(to, err);
}

static int is_current(const struct project *staged, const char *name, bool *ret, struct err *err)
{
	struct strlist reasons CLEANUP(strlist_release) = { 0 };
	if (engine_why(staged, name, &reasons, err) < 0)
		return -1;
	*ret = reasons.len == 0;
	return 0;
}

/* *ret_done: the tree has an environment of its own, and it is as it must be. One that is out of date goes. */
static int look_at_own(const struct project *staged, const char *name, const char *here, bool *ret_done, struct err *err)
{
	struct stat st;
	bool exists;
	*ret_done = false;
	if (fs_lstat(here, &st, &exists, err) < 0)
		return -1;
	if (!exists || !S_ISDIR(st.st_mode))
		return 0;
	if (is_current(staged, name, ret_done, err) < 0)
		return -1;
	return *ret_done ? 0 : fs_remove_tree(here, err);
}

static int link_environment(const struct project *staged, const struct target *target, const char *root, struct err *err)
{
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	path_dir(&dir, target->settings->stamp);
	if (text_eq(dir.data, "."))
		return 0;
	OWNED char *stamp = path_joined(root, target->settings->stamp);
	OWNED char *here = path_joined(staged->root, dir.data);
	OWNED char *there = path_joined(root, dir.data);
	bool done = false;
	if (look_at_own(staged, target->name, here, &done, err) < 0)
		return -1;
	if (done)
		return 0;
	if (!fs_is_file(stamp))
		return hook_unlend(here, err);
	if (fs_mkdirs_for(here, err) < 0 || hook_lend(here, there, err) < 0 ||
	    copy_record(root, staged->root, target->name, err) < 0 || is_current(staged, target->name, &done, err) < 0)
		return -1;
	/* Never left in place for a target that is going to run: it would write through the link. */
	return done ? 0 : hook_unlend(here, err);
}

int hook_link_environments(const struct project *staged, const struct plan *plan, const char *root, struct err *err)
{
	for (size_t i = 0; i < plan->len; i++) {
		const struct target *target = &staged->targets[plan->order[i]];
		if (target->settings->stamp && link_environment(staged, target, root, err) < 0)
			return err_note(err, "looking for the environment that '%s' makes", target->name);
	}
	return 0;
}
