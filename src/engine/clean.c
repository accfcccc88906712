#include "engine/clean.h"

#include "base/fs.h"
#include "base/path.h"
#include "engine/record.h"
#include "store/lock.h"

#include <stdlib.h>

struct cleaning {
	const struct project *project;
	const struct clean_options *options;
	struct clean_report *report;
	struct state *state;
	struct hashes *hashes;
	struct locks *locks;
};

void clean_report_release(struct clean_report *report)
{
	for (size_t i = 0; i < report->items.len; i++)
		free(report->items.at[i].left_because);
	vec_release(&report->items);
}

/* The recorded entries of one output; paths stay the record's. */
static void entries_of(const struct record *record, const char *path, struct manifest *ret)
{
	*ret = (struct manifest){ 0 };
	for (size_t i = 0; i < record->outputs.len; i++)
		if (path_inside(path, record->outputs.at[i].path))
			vec_push(ret, record->outputs.at[i]);
}

static int is_as_recorded(struct cleaning *c, const struct record *record, const char *path, bool *ret, struct err *err)
{
	struct manifest recorded, now;
	size_t missing;
	if (manifest_scan(c->hashes, c->project->root, &path, 1, &now, &missing, err) < 0)
		return -1;
	entries_of(record, path, &recorded);
	*ret = manifest_same(&recorded, &now);
	manifest_release(&recorded);
	manifest_release(&now);
	return 0;
}

/* Why an output stays; NULL if it may go. */
static char *reason_to_leave(struct cleaning *c, const struct target *target, const struct output *output, const struct record *record)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	bool same;
	if (c->options->force)
		return NULL;
	if (output->track)
		return mem_printf("versioned as data");
	if (!record->exists)
		return mem_printf("no record says that '%s' made it", target->name);
	if (is_as_recorded(c, record, output->path, &same, &err) < 0)
		return mem_strdup(err.message);
	return same ? NULL : mem_printf("changed since '%s' made it", target->name);
}

static int clean_output(struct cleaning *c, const struct target *target, const struct output *output, const struct record *record,
			struct err *err)
{
	struct stat st;
	bool exists;
	OWNED char *full = path_joined(c->project->root, output->path);
	if (fs_lstat(full, &st, &exists, err) < 0)
		return -1;
	if (!exists)
		return 0;
	struct clean_item item = { .target = target, .path = output->path };
	item.left_because = reason_to_leave(c, target, output, record);
	vec_push(&c->report->items, item);
	if (item.left_because || c->options->dry_run)
		return 0;
	return fs_remove_tree(full, err);
}

static void leave_all(struct cleaning *c, const struct target *target, const struct lock_holder *holder)
{
	for (size_t i = 0; i < target->outputs.len; i++) {
		char *why = holder->pid ? mem_printf("process %ld makes it (%s)", (long)holder->pid, holder->command)
					: mem_printf("another process makes it");
		vec_push(&c->report->items, (struct clean_item){ target, target->outputs.at[i].path, why });
	}
}

static int clean_target(struct cleaning *c, const struct target *target, struct err *err)
{
	struct record record = RECORD_INIT;
	struct lock_holder holder;
	struct lock *lock = NULL;
	if (!target->outputs.len)
		return 0;
	if (!c->options->dry_run) {
		if (locks_try(c->locks, target->name, &lock, &holder, err) < 0)
			return -1;
		if (!lock) {
			leave_all(c, target, &holder);
			return 0;
		}
	}
	state_refresh(c->state);
	record_load(&record, c->state, target->name);
	int failed = 0;
	for (size_t i = 0; i < target->outputs.len && !failed; i++)
		failed = clean_output(c, target, &target->outputs.at[i], &record, err);
	record_release(&record);
	lock_release(lock);
	return failed;
}

static int clean_all(struct cleaning *c, const uint32_t *ids, size_t count, struct err *err)
{
	if (state_open(c->project->root, &c->state, err) < 0 || hashes_new(c->state, c->project->root, &c->hashes, err) < 0)
		return -1;
	OWNED char *dir = path_joined(state_dir(c->state), "locks");
	if (!c->options->dry_run && locks_open(dir, "mlmake clean", &c->locks, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (clean_target(c, &c->project->targets[ids[i]], err) < 0)
			return -1;
	return hashes_save(c->hashes, err) < 0 ? -1 : state_flush(c->state, err);
}

int engine_clean(const struct project *project, const uint32_t *ids, size_t count, const struct clean_options *options,
		 struct clean_report *ret, struct err *err)
{
	struct cleaning c = { .project = project, .options = options, .report = ret };
	int failed = clean_all(&c, ids, count, err);
	locks_close(c.locks);
	hashes_free(c.hashes);
	state_close(c.state);
	return failed;
}
