#include "features/data/rwlock.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/json.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define MAX_BYTES ((size_t)64 << 20)
#define PAUSE_NS 50000000
#define MANY_PATHS 100
#define RWLOCK_FILE ".dvc/tmp/rwlock"
#define GUARD_FILE ".dvc/tmp/rwlock.lock"

struct entry {
	char *path;
	bool writes;
	int64_t pid;
	char *cmd;
};

struct table {
	VEC(struct entry) list;
};

static void table_release(struct table *table)
{
	for (size_t i = 0; i < table->list.len; i++) {
		free(table->list.at[i].path);
		free(table->list.at[i].cmd);
	}
	vec_release(&table->list);
}

/* Reading */

struct reading {
	struct table *table;
	const char *path;
	bool writes;
	bool wrong; /* not what dvc's schema allows */
};

static void read_info(struct reading *reading, const struct json_node *info)
{
	int64_t pid = json_int(json_get(info, "pid"), -1);
	const char *cmd = json_str(json_get(info, "cmd"));
	if (json_kind(json_get(info, "pid")) != JSON_INTEGER_NUMBER || !cmd) {
		reading->wrong = true;
		return;
	}
	vec_push(&reading->table->list, ((struct entry){ mem_strdup(reading->path), reading->writes, pid, mem_strdup(cmd) }));
}

static bool read_path(void *ctx, const char *path, const struct json_node *value)
{
	struct reading *reading = ctx;
	reading->path = path;
	if (reading->writes)
		read_info(reading, value);
	for (size_t i = 0; !reading->writes && i < json_len(value); i++)
		read_info(reading, json_at(value, i));
	return !reading->wrong;
}

static bool read_mode(void *ctx, const char *mode, const struct json_node *value)
{
	struct reading *reading = ctx;
	reading->writes = text_eq(mode, "write");
	reading->wrong = reading->wrong || (!reading->writes && !text_eq(mode, "read")) || json_kind(value) != JSON_DICT;
	if (!reading->wrong)
		json_each(value, read_path, reading);
	return !reading->wrong;
}

static int table_read(struct table *table, const char *path, struct err *err)
{
	struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
	struct reading reading = { .table = table };
	if (!fs_exists(path))
		return 0;
	int status = json_parse_file(&doc, path, RWLOCK_FILE, MAX_BYTES, err);
	if (status == 0 && json_kind(doc.root) == JSON_DICT)
		json_each(doc.root, read_mode, &reading);
	if (status == 0 && (reading.wrong || json_kind(doc.root) != JSON_DICT))
		status = err_set(err, ERR_DATA, "%s is not what dvc or mlmake writes", RWLOCK_FILE);
	return status < 0 ? err_hint(err, "when no dvc and no mlmake is at work here, remove it: rm %s", path) : 0;
}

/* Writing */

static void add_info(struct json_writer *w, const struct entry *entry)
{
	json_open_object(w);
	json_pair_int(w, "pid", entry->pid);
	json_pair_str(w, "cmd", entry->cmd);
	json_close(w);
}

static void add_readers(struct json_writer *w, const struct table *table)
{
	struct map seen CLEANUP(map_release) = MAP_INIT;
	for (size_t i = 0; i < table->list.len; i++) {
		const struct entry *entry = &table->list.at[i];
		if (entry->writes || !map_set(&seen, entry->path, NULL))
			continue;
		json_key(w, entry->path);
		json_open_array(w);
		for (size_t k = i; k < table->list.len; k++)
			if (!table->list.at[k].writes && text_eq(table->list.at[k].path, entry->path))
				add_info(w, &table->list.at[k]);
		json_close(w);
	}
}

/* As dvc leaves it: "write" goes with its last entry, "read" stays. */
static int table_write(const struct table *table, const char *path, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	bool writes = false;
	for (size_t i = 0; i < table->list.len; i++)
		writes = writes || table->list.at[i].writes;
	json_begin(&w, &text, JSON_PYTHON);
	json_open_object(&w);
	if (writes) {
		json_key(&w, "write");
		json_open_object(&w);
		for (size_t i = 0; i < table->list.len; i++) {
			if (!table->list.at[i].writes)
				continue;
			json_key(&w, table->list.at[i].path);
			add_info(&w, &table->list.at[i]);
		}
		json_close(&w);
	}
	json_key(&w, "read");
	json_open_object(&w);
	add_readers(&w, table);
	json_end(&w);
	return fs_write_file(path, text.data, text.len, 0666, FS_VOLATILE, err);
}

/* Conflicts */

static bool is_gone(int64_t pid)
{
	if (pid <= 0 || pid > INT32_MAX)
		return true;
	return kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

static bool overlaps(const struct strlist *paths, const char *path)
{
	for (size_t i = 0; i < paths->len; i++)
		if (path_inside(paths->at[i], path) || path_inside(path, paths->at[i]))
			return true;
	return false;
}

/* The entry that stands in the way; NULL if there is none. Those of the dead are dropped, and so are those of an earlier process
 * that had our own number. */
static const struct entry *find_blocker(struct data_repo *repo, struct table *table, const struct rwlock *held)
{
	const struct entry *blocker = NULL;
	size_t kept = 0;
	for (size_t i = 0; i < table->list.len; i++) {
		struct entry *entry = &table->list.at[i];
		bool concerns = overlaps(&held->write, entry->path) || (entry->writes && overlaps(&held->read, entry->path));
		bool stale = concerns && (entry->pid == getpid() || is_gone(entry->pid));
		if (stale) {
			repo_warn(repo, "process %lld (%s) ended without giving up %s; its entry in %s is dropped", (long long)entry->pid,
				  entry->cmd, entry->path, RWLOCK_FILE);
			free(entry->path);
			free(entry->cmd);
			continue;
		}
		table->list.at[kept++] = *entry;
		if (concerns && !blocker)
			blocker = &table->list.at[kept - 1];
	}
	table->list.len = kept;
	return blocker;
}

static void add_own(struct table *table, const struct strlist *paths, bool writes, const char *cmd)
{
	for (size_t i = 0; i < paths->len; i++)
		vec_push(&table->list, ((struct entry){ mem_strdup(paths->at[i]), writes, getpid(), mem_strdup(cmd) }));
}

static void drop_own(struct table *table, const struct rwlock *held)
{
	size_t kept = 0;
	for (size_t i = 0; i < table->list.len; i++) {
		struct entry *entry = &table->list.at[i];
		if (entry->pid == getpid() && strlist_has(entry->writes ? &held->write : &held->read, entry->path)) {
			free(entry->path);
			free(entry->cmd);
			continue;
		}
		table->list.at[kept++] = *entry;
	}
	table->list.len = kept;
}

/* Tries once. *ret_holder: who stands in the way, "" if it was taken. */
static int try_take(struct data_repo *repo, struct rwlock *held, struct buf *ret_holder, struct err *err)
{
	struct table table CLEANUP(table_release) = { .list = { 0 } };
	struct buf cmd CLEANUP(buf_release) = BUF_INIT;
	char *path OWNED = repo_abs(repo, RWLOCK_FILE);
	int guard CLEANUP(fs_close_fd) = -1;
	buf_truncate(ret_holder, 0);
	if (repo_flock(repo, GUARD_FILE, &guard, err) < 0 || table_read(&table, path, err) < 0)
		return -1;
	size_t before = table.list.len;
	const struct entry *blocker = find_blocker(repo, &table, held);
	if (blocker) {
		buf_addf(ret_holder, "%s is busy: process %lld (%s) %s %s", overlaps(&held->write, blocker->path) ? "a path to write" : "a path to read",
			 (long long)blocker->pid, blocker->cmd, blocker->writes ? "writes" : "reads", blocker->path);
		return table.list.len < before ? table_write(&table, path, err) : 0;
	}
	repo_add_command(getpid(), &cmd);
	add_own(&table, &held->read, false, cmd.data);
	add_own(&table, &held->write, true, cmd.data);
	return table_write(&table, path, err);
}

int rwlock_enter(struct data_repo *repo, rwlock_names_fn *names, void *ctx, struct rwlock *held, struct err *err)
{
	struct buf holder CLEANUP(buf_release) = BUF_INIT;
	uint64_t start = loop_now_ms();
	for (bool told = false;; told = true) {
		if (repo_lock(repo, err) < 0)
			return -1;
		strlist_release(&held->read);
		strlist_release(&held->write);
		if (names(ctx, held, err) < 0 || try_take(repo, held, &holder, err) < 0)
			break;
		if (!holder.len) {
			held->repo = repo;
			return 0;
		}
		uint64_t waited = loop_now_ms() - start;
		if (waited >= repo->lock_wait_ms) {
			struct buf time CLEANUP(buf_release) = BUF_INIT;
			text_add_duration(&time, waited);
			err_set(err, ERR_LOCKED, "%s; waited %s", holder.data, time.data);
			err_hint(err, "wait until it has finished; its entry in %s goes with it", RWLOCK_FILE);
			break;
		}
		if (!told)
			repo_note(repo, "waiting: %s", holder.data);
		repo_unlock(repo);
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	repo_unlock(repo);
	return -1;
}

void rwlock_read(struct rwlock *held, const char *abs)
{
	if (!strlist_has(&held->read, abs))
		strlist_add(&held->read, abs);
}

void rwlock_write(struct rwlock *held, const char *abs)
{
	if (!strlist_has(&held->write, abs))
		strlist_add(&held->write, abs);
}

static int give_up(const struct rwlock *held, struct err *err)
{
	struct table table CLEANUP(table_release) = { .list = { 0 } };
	char *path OWNED = repo_abs(held->repo, RWLOCK_FILE);
	int guard CLEANUP(fs_close_fd) = -1;
	if (repo_flock(held->repo, GUARD_FILE, &guard, err) < 0 || table_read(&table, path, err) < 0)
		return -1;
	drop_own(&table, held);
	return table_write(&table, path, err);
}

void rwlock_release(struct rwlock *held)
{
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (held->repo && give_up(held, &late) < 0)
		repo_warn(held->repo, "%s keeps entries of this command: %s", RWLOCK_FILE, late.message);
	strlist_release(&held->read);
	strlist_release(&held->write);
	held->repo = NULL;
}

/* The root instead of very many: everybody reads and writes the whole file. */
static void write_chosen(struct rwlock *held, const struct data_repo *repo, const struct selection *chosen)
{
	if (chosen->list.len > MANY_PATHS)
		rwlock_write(held, repo->root);
	for (size_t i = 0; i < chosen->list.len && chosen->list.len <= MANY_PATHS; i++) {
		char *abs OWNED = repo_abs(repo, chosen->list.at[i].tracked->path);
		rwlock_write(held, abs);
	}
}

static int name_outs(void *ctx, struct rwlock *held, struct err *err)
{
	struct held_outs *outs = ctx;
	held_outs_release(outs);
	if (outs_load(outs->repo, &outs->outs, err) < 0 ||
	    outs_select(outs->repo, &outs->outs, outs->paths, outs->count, &outs->chosen, err) < 0)
		return -1;
	write_chosen(held, outs->repo, &outs->chosen);
	return 0;
}

int held_outs_take(struct data_repo *repo, const char *const *paths, size_t count, struct held_outs *ret, struct err *err)
{
	ret->repo = repo;
	ret->paths = paths;
	ret->count = count;
	return rwlock_enter(repo, name_outs, ret, &ret->held, err);
}

void held_outs_release(struct held_outs *outs)
{
	rwlock_release(&outs->held);
	selection_release(&outs->chosen);
	outs_release(&outs->outs);
	outs->chosen = (struct selection)SELECTION_INIT;
	outs->outs = (struct outs)OUTS_INIT;
}
