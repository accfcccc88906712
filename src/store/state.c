#include "store/state_internal.h"

#include "base/path.h"
#include "store/codec.h"
#include "store/mapping.h"
#include "store/state_place.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_MAGIC 0x314b4d4cu /* "LMK1" */
#define RECORD_VERSION 1u
#define MAP_STEP_MAX ((size_t)4 << 30)
#define MAP_LIMIT ((size_t)1 << 40)

/* LMDB locks with fcntl: opening a database twice in one process and closing one of the two drops the locks of
 * both. So that the engine and a feature that it calls may both open it, this list knows what is open. */
static struct {
	struct state *first;
	pthread_mutex_t lock;
} open_states = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct state *find_open(const char *dir, const char *name)
{
	pthread_mutex_lock(&open_states.lock);
	struct state *open = open_states.first;
	while (open && (strcmp(open->dir, dir) != 0 || strcmp(path_base(open->path), name) != 0))
		open = open->next;
	pthread_mutex_unlock(&open_states.lock);
	return open;
}

static void list_open(struct state *state)
{
	pthread_mutex_lock(&open_states.lock);
	state->next = open_states.first;
	open_states.first = state;
	pthread_mutex_unlock(&open_states.lock);
}

static void unlist_open(struct state *state)
{
	pthread_mutex_lock(&open_states.lock);
	struct state **link = &open_states.first;
	while (*link && *link != state)
		link = &(*link)->next;
	if (*link)
		*link = state->next;
	pthread_mutex_unlock(&open_states.lock);
}

/* Takes notices. */
static int open_in(const char *dir, const char *name, unsigned wanted, struct strlist *notices, struct state **ret, struct err *err)
{
	struct state *state = find_open(dir, name);
	if (state) {
		strlist_release(notices);
		state->users++;
		*ret = state;
		return 0;
	}
	state = mem_alloc(sizeof(*state));
	state->users = 1;
	state->notices = *notices;
	state->wanted = wanted;
	state->dir = mem_strdup(dir);
	state->path = path_joined(dir, name);
	list_open(state);
	if (state_open_or_rebuild(state, err) < 0) {
		state_close(state);
		return -1;
	}
	*ret = state;
	return 0;
}

int state_open(const char *root, struct state **ret, struct err *err)
{
	struct strlist notices = { 0 };
	struct buf dir CLEANUP(buf_release) = BUF_INIT;
	*ret = NULL;
	if (state_place(root, &dir, &notices, err) == 0)
		return open_in(dir.data, "state", OF_PROJECT, &notices, ret, err);
	strlist_release(&notices);
	return -1;
}

int state_open_index(const char *dir, struct state **ret, struct err *err)
{
	struct strlist notices = { 0 };
	*ret = NULL;
	return open_in(dir, "index", OF_CACHE, &notices, ret, err);
}

/* The slot of a record that waits, or the free one where it belongs. */
static uint32_t *slot_of(const struct state *state, enum state_table table, uint64_t key)
{
	for (size_t slot = key + table;; slot++) {
		slot &= state->slot_count - 1;
		const struct pending *p = state->slots[slot] ? &state->pending.at[state->slots[slot] - 1] : NULL;
		if (!p || (p->key == key && p->table == table))
			return &state->slots[slot];
	}
}

/* There is always a free slot. */
static void make_slots(struct state *state)
{
	if (2 * (state->pending.len + 1) <= state->slot_count)
		return;
	state->slot_count = state->slot_count ? 2 * state->slot_count : 256;
	free(state->slots);
	state->slots = mem_alloc(state->slot_count * sizeof(*state->slots));
	for (size_t i = 0; i < state->pending.len; i++)
		*slot_of(state, state->pending.at[i].table, state->pending.at[i].key) = (uint32_t)(i + 1);
}

static void drop_pending(struct state *state)
{
	if (state->slots)
		memset(state->slots, 0, state->slot_count * sizeof(*state->slots));
	for (size_t i = 0; i < state->pending.len; i++)
		free(state->pending.at[i].bytes);
	state->pending.len = 0;
}

void state_close(struct state *state)
{
	if (!state || --state->users)
		return;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (state->env && state_flush(state, &ignored) < 0)
		drop_pending(state);
	unlist_open(state);
	state_note_written(state);
	state_close_env(state);
	drop_pending(state);
	vec_release(&state->pending);
	free(state->slots);
	strlist_release(&state->notices);
	free(state->dir);
	free(state->path);
	free(state);
}

const struct strlist *state_notices(const struct state *state)
{
	return &state->notices;
}

const char *state_dir(const struct state *state)
{
	return state->dir;
}

size_t state_pending(const struct state *state)
{
	return state->pending.len;
}

void state_refresh(struct state *state)
{
	if (state->view_open)
		mdb_txn_reset(state->view);
	state->view_open = false;
}

/* Another process may have made the map larger than this one knows. */
static int adopt_map_size(struct state *state)
{
	state_refresh(state);
	state->mapping = (struct mapping){ 0 };
	return mdb_env_set_mapsize(state->env, 0);
}

static void note_transaction(struct state *state, size_t id, bool is_ours)
{
	if (state->seen && id != state->seen + is_ours)
		state->seen_others = true;
	state->seen = id;
}

uint64_t state_seen(const struct state *state)
{
	return state->seen_others ? 0 : state->seen;
}

static int open_view(struct state *state)
{
	if (state->view_open)
		return 0;
	for (int attempt = 0;; attempt++) {
		int code = state->view ? mdb_txn_renew(state->view) : mdb_txn_begin(state->env, NULL, MDB_RDONLY, &state->view);
		if (code == MDB_MAP_RESIZED && attempt < 10) {
			if ((code = adopt_map_size(state)))
				return code;
			continue;
		}
		state->view_open = code == 0;
		if (!code)
			note_transaction(state, mdb_txn_id(state->view), false);
		return code;
	}
}

/* Names that differ only in their last characters, as those of a series do, share the upper bits. */
#define TAIL_CHARS 3
#define SERIES_BITS 20

uint64_t state_key(const char *name)
{
	size_t len = strlen(name), stem = len > TAIL_CHARS ? len - TAIL_CHARS : 0;
	return codec_checksum(name, stem) << (64 - SERIES_BITS) | codec_checksum(name, len) >> SERIES_BITS;
}

/* The payload of a record, if it is whole and belongs to name. */
static bool open_record(const void *record, size_t record_len, const char *name, const void **ret, size_t *ret_len)
{
	struct codec_in in = codec_in(record, record_len);
	uint32_t magic = codec_u32(&in), version = codec_u32(&in);
	uint64_t sum = codec_u64(&in);
	if (!codec_ok(&in) || magic != RECORD_MAGIC || version != RECORD_VERSION || sum != codec_checksum(in.at, codec_left(&in)))
		return false;
	if (strcmp(codec_str(&in), name) != 0 || !codec_ok(&in))
		return false;
	*ret_len = codec_left(&in);
	*ret = in.at;
	return true;
}

static const char *name_in(const void *record, size_t record_len)
{
	struct codec_in in = codec_in(record, record_len);
	(void)codec_raw(&in, 16);
	const char *name = codec_str(&in);
	return codec_ok(&in) ? name : NULL;
}

bool state_get(struct state *state, enum state_table table, const char *name, const void **ret, size_t *ret_len)
{
	uint64_t key = state_key(name);
	uint32_t waits = state->pending.len ? *slot_of(state, table, key) : 0;
	const struct pending *pending = waits ? &state->pending.at[waits - 1] : NULL;
	if (pending)
		return pending->bytes && open_record(pending->bytes, pending->len, name, ret, ret_len);
	if (open_view(state))
		return false;
	MDB_val mdb_key = { sizeof(key), &key }, value;
	if (mdb_get(state->view, state->tables[table], &mdb_key, &value))
		return false;
	return open_record(value.mv_data, value.mv_size, name, ret, ret_len);
}

static void push_pending(struct state *state, struct pending new)
{
	make_slots(state);
	uint32_t *slot = slot_of(state, new.table, new.key);
	if (*slot) {
		free(state->pending.at[*slot - 1].bytes);
		state->pending.at[*slot - 1] = new;
		return;
	}
	vec_push(&state->pending, new);
	*slot = (uint32_t)state->pending.len;
}

void state_add_pending(struct state *state, enum state_table table, const char *name, const void *bytes, size_t len)
{
	struct buf record = BUF_INIT;
	codec_add_u32(&record, RECORD_MAGIC);
	codec_add_u32(&record, RECORD_VERSION);
	size_t sum_at = record.len;
	codec_add_u64(&record, 0);
	size_t body = record.len;
	codec_add_str(&record, name);
	buf_add(&record, bytes, len);
	struct buf sum CLEANUP(buf_release) = BUF_INIT;
	codec_add_u64(&sum, codec_checksum(record.data + body, record.len - body));
	memcpy(record.data + sum_at, sum.data, sum.len);

	struct pending new = { .table = table, .key = state_key(name), .len = record.len };
	new.bytes = buf_detach(&record);
	push_pending(state, new);
}

int state_put(struct state *state, enum state_table table, const char *name, const void *bytes, size_t len, struct err *err)
{
	state_add_pending(state, table, name, bytes, len);
	return state->pending.len >= STATE_GROUP ? state_flush(state, err) : 0;
}

static int write_pending(struct state *state)
{
	MDB_txn *txn;
	int code = mdb_txn_begin(state->env, NULL, 0, &txn);
	if (code)
		return code;
	for (size_t i = 0; i < state->pending.len && !code; i++) {
		struct pending *p = &state->pending.at[i];
		MDB_val key = { sizeof(p->key), &p->key }, value = { p->len, p->bytes };
		code = p->bytes ? mdb_put(txn, state->tables[p->table], &key, &value, 0) : mdb_del(txn, state->tables[p->table], &key, NULL);
		if (code == MDB_NOTFOUND)
			code = 0;
	}
	size_t id = mdb_txn_id(txn);
	if (code) {
		mdb_txn_abort(txn);
		return code;
	}
	code = mdb_txn_commit(txn);
	if (!code)
		note_transaction(state, id, true);
	state->wrote = true;
	return code;
}

static int grow_map(struct state *state)
{
	MDB_envinfo info;
	int code = mdb_env_info(state->env, &info);
	if (code)
		return code;
	size_t step = info.me_mapsize < MAP_STEP_MAX ? info.me_mapsize : MAP_STEP_MAX;
	if (info.me_mapsize > MAP_LIMIT - step)
		return MDB_MAP_FULL;
	state_refresh(state);
	state->mapping = (struct mapping){ 0 };
	return mdb_env_set_mapsize(state->env, info.me_mapsize + step);
}

static int write_growing(struct state *state)
{
	for (int attempt = 0;; attempt++) {
		int code = write_pending(state);
		if (code == MDB_MAP_FULL && attempt < 40)
			code = grow_map(state);
		else if (code == MDB_MAP_RESIZED && attempt < 40)
			code = adopt_map_size(state);
		else
			return code;
		if (code)
			return code;
	}
}

void state_drop(struct state *state, enum state_table table, const char *name)
{
	push_pending(state, (struct pending){ .table = table, .key = state_key(name) });
}

int state_remove(struct state *state, enum state_table table, const char *name, struct err *err)
{
	state_drop(state, table, name);
	return state->pending.len >= STATE_GROUP ? state_flush(state, err) : 0;
}

int state_each(struct state *state, enum state_table table, state_visit_fn *visit, void *ctx, struct err *err)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	if (state_flush(state, err) < 0)
		return -1;
	state_refresh(state);
	int code = open_view(state);
	if (!code)
		code = mdb_cursor_open(state->view, state->tables[table], &cursor);
	if (code)
		return state_fail(err, state, code, "read");
	int failed = 0;
	while (!failed && (code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		const void *bytes;
		size_t len;
		const char *name = name_in(value.mv_data, value.mv_size);
		if (name && open_record(value.mv_data, value.mv_size, name, &bytes, &len))
			failed = visit(ctx, name, bytes, len, err);
	}
	mdb_cursor_close(cursor);
	state_refresh(state);
	if (failed)
		return -1;
	return code == MDB_NOTFOUND ? 0 : state_fail(err, state, code, "read");
}

static int rekey_table(struct state *state, enum state_table table)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t old;
	const void *bytes;
	size_t len;
	int code = open_view(state);
	if (!code)
		code = mdb_cursor_open(state->view, state->tables[table], &cursor);
	if (code)
		return code;
	while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		const char *name = name_in(value.mv_data, value.mv_size);
		memcpy(&old, key.mv_data, sizeof(old));
		if (name && state_key(name) == old)
			continue;
		if (name && open_record(value.mv_data, value.mv_size, name, &bytes, &len))
			state_add_pending(state, table, name, bytes, len);
		push_pending(state, (struct pending){ .table = table, .key = old });
	}
	mdb_cursor_close(cursor);
	return code == MDB_NOTFOUND ? 0 : code;
}

int state_rekey(struct state *state, struct err *err)
{
	for (unsigned i = 0; i < STATE_TABLE_COUNT; i++) {
		int code = state->wanted & 1u << i ? rekey_table(state, i) : 0;
		if (code)
			return state_fail(err, state, code, "read");
		if (state_flush(state, err) < 0)
			return -1;
	}
	return 0;
}

void state_trim(struct state *state)
{
	int fd;
	if (state->env && mdb_env_get_fd(state->env, &fd) == 0)
		mapping_trim(&state->mapping, fd);
}

int state_flush(struct state *state, struct err *err)
{
	if (!state->pending.len)
		return 0;
	state_refresh(state);
	int code = write_growing(state);
	if (state_is_damage(code)) {
		/* Found only now: what is pending begins the new database. */
		if (state_set_aside(state, "is damaged", err) < 0)
			return -1;
		state_add_version(state);
		code = state_open_env(state);
		if (!code)
			code = write_growing(state);
	}
	if (code)
		return state_fail(err, state, code, "write");
	drop_pending(state);
	/* What writes many records looks at many pages of the map. */
	state_trim(state);
	return 0;
}
