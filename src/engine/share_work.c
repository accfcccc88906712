/* The threads: one asks for records, some fetch what they name, one sends. */
#include "engine/share_internal.h"

#include "base/path.h"
#include "engine/share_record.h"

#include <stdlib.h>
#include <string.h>

#define ASK_BATCH 256
#define SEND_BATCH 256
#define FETCH_CONNECTIONS 8

struct items {
	struct remote_item *at;
	size_t len, cap;
};

static void items_release(struct items *items)
{
	for (size_t i = 0; i < items->len; i++) {
		free((char *)(uintptr_t)items->at[i].key);
		free((char *)(uintptr_t)items->at[i].path);
		err_release(&items->at[i].ret_err);
	}
	vec_release(items);
}

/* Takes path. */
static struct remote_item *add_item(struct items *items, const char *prefix, const struct digest *digest, char *path, uint64_t size)
{
	struct remote_item item = { .key = share_name(prefix, digest), .path = path, .size = size };
	if (size != REMOTE_SIZE_UNKNOWN)
		item.expect = *digest;
	vec_push(items, item);
	return &items->at[items->len - 1];
}

static const struct remote_item *first_failed(const struct items *items)
{
	for (size_t i = 0; i < items->len; i++)
		if (items->at[i].ret_state == REMOTE_FAILED)
			return &items->at[i];
	return NULL;
}

static char *new_path(struct share *share)
{
	return mem_printf("%s/%u", share->dir, atomic_fetch_add(&share->serial, 1));
}

/* connections: 0 for as many as the remote's settings say. */
static int open_remote(struct share *share, bool to_read, unsigned connections, struct remote **ret, struct err *err)
{
	struct remote_spec spec = *share->setup.remote;
	spec.anonymous = spec.anonymous || (to_read && atomic_load(&share->anonymous));
	if (connections && (!spec.jobs || spec.jobs > connections))
		spec.jobs = connections;
	return remote_open(&spec, ret, err);
}

static void warn(struct share *share, char *message)
{
	pthread_mutex_lock(&share->lock);
	strlist_take(&share->warnings, message);
	share_wake_loop(share);
	pthread_mutex_unlock(&share->lock);
}

static void end_reads(struct share *share, const struct err *err)
{
	pthread_mutex_lock(&share->lock);
	share_end_reads(share, atomic_load(&share->cancel) ? NULL : err->message);
	pthread_mutex_unlock(&share->lock);
}

static void end_writes(struct share *share, const struct err *err)
{
	pthread_mutex_lock(&share->lock);
	share_end_writes(share, atomic_load(&share->cancel) || atomic_load(&share->cancel_sending) ? NULL : err->message);
	pthread_mutex_unlock(&share->lock);
}

static void give_answer(struct share *share, struct ask *ask)
{
	pthread_mutex_lock(&share->lock);
	atomic_store(&share->moved_ms, loop_now_ms());
	vec_push(&share->answered, ask);
	share_wake_loop(share);
	pthread_mutex_unlock(&share->lock);
}

/* What is there is not to be believed: the next who makes it may replace it. */
static void refuse(struct share *share, const struct digest *key, const char *why)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(key, hex);
	pthread_mutex_lock(&share->lock);
	map_set(&share->bad, hex, NULL);
	strlist_take(&share->warnings, mem_printf("a result on the remote '%s' is not used (%.12s): %s", share->setup.remote->name, hex, why));
	share_wake_loop(share);
	pthread_mutex_unlock(&share->lock);
}

struct moving {
	struct share *share;
	size_t items;
	uint64_t bytes;
	const struct ask *ask; /* fetching */
};

static bool on_asking(void *ctx, size_t items_done, uint64_t bytes_done)
{
	struct moving *moving = ctx;
	if (items_done != moving->items || bytes_done != moving->bytes)
		atomic_store(&moving->share->moved_ms, loop_now_ms());
	moving->items = items_done;
	moving->bytes = bytes_done;
	return !atomic_load(&moving->share->cancel);
}

static bool on_fetching(void *ctx, size_t items_done, uint64_t bytes_done)
{
	const struct moving *moving = ctx;
	(void)items_done;
	(void)bytes_done;
	return !atomic_load(&moving->share->cancel) && !atomic_load(&moving->ask->abandoned) && loop_now_ms() <= atomic_load(&moving->ask->until_ms);
}

static bool on_sending(void *ctx, size_t items_done, uint64_t bytes_done)
{
	struct moving *moving = ctx;
	if (items_done != moving->items || bytes_done != moving->bytes)
		atomic_store(&moving->share->sent_ms, loop_now_ms());
	moving->items = items_done;
	moving->bytes = bytes_done;
	return !atomic_load(&moving->share->cancel) && !atomic_load(&moving->share->cancel_sending);
}

/* Asking */

static bool read_record(struct share *share, struct ask *ask, const struct remote_item *item)
{
	struct buf record CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	bool good = item->ret_state == REMOTE_DONE;
	if (item->ret_state == REMOTE_DAMAGED) {
		refuse(share, &ask->key, item->ret_err.message);
		return false;
	}
	if (good)
		good = fs_read_file(item->path, SHARE_RECORD_MAX, &record, &err) == 0 &&
		       share_record_read(record.data, record.len, &ask->key, (const char *const *)ask->paths.at, ask->paths.len,
					 share->setup.max_bytes, &ask->action, &err) == 0;
	if (!good && item->ret_state == REMOTE_DONE)
		refuse(share, &ask->key, err.message);
	return good;
}

/* To the fetchers. */
static void pass_on(struct share *share, struct ask *ask)
{
	uint64_t may_take = ask->action.duration_ms > share->setup.timeout_ms ? ask->action.duration_ms : share->setup.timeout_ms;
	atomic_store(&ask->until_ms, loop_now_ms() + may_take);
	atomic_store(&ask->fetching, true);
	pthread_mutex_lock(&share->lock);
	vec_push(&share->found, ask);
	if (share->threads.fetchers < SHARE_FETCHERS) {
		share->threads.fetchers++;
		share_start(share, share_fetcher);
	}
	pthread_cond_broadcast(&share->wake);
	pthread_mutex_unlock(&share->lock);
}

/* Whoever has no credentials (a fork's pull request) may still be allowed to read; if not, that there are none is what was wrong. */
static int get_records(struct share *share, struct remote **remote, struct items *items, const struct remote_sink *sink, struct err *err)
{
	struct err refused CLEANUP(err_release) = ERR_INIT;
	if (remote_get(*remote, items->at, items->len, sink, err) == 0)
		return 0;
	if (err->code != ERR_CONFIG || share->setup.remote->anonymous || atomic_load(&share->anonymous))
		return -1;
	remote_close(*remote);
	*remote = NULL;
	atomic_store(&share->anonymous, true);
	if (open_remote(share, true, 0, remote, &refused) < 0 || remote_get(*remote, items->at, items->len, sink, &refused) < 0 || first_failed(items))
		return -1;
	err_release(err);
	return 0;
}

static void ask_all(struct share *share, struct remote **remote, struct ask *const *asks, size_t count)
{
	struct items items CLEANUP(items_release) = { 0 };
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct moving moving = { .share = share };
	const struct remote_sink sink = { .progress = on_asking, .ctx = &moving };
	for (size_t i = 0; i < count; i++)
		add_item(&items, SHARE_ACTIONS, &asks[i]->key, new_path(share), REMOTE_SIZE_UNKNOWN)->max_size = SHARE_RECORD_MAX;
	bool asks_remote = remote != NULL && *remote != NULL;
	int failed = asks_remote ? get_records(share, remote, &items, &sink, &err) : 0;
	const struct remote_item *broken = failed ? NULL : first_failed(&items);
	if (failed || broken)
		end_reads(share, failed ? &err : &broken->ret_err);
	for (size_t i = 0; i < count; i++) {
		struct ask *ask = asks[i];
		bool good = !failed && asks_remote && !atomic_load(&ask->abandoned) && read_record(share, ask, &items.at[i]);
		(void)sys.unlinkat(AT_FDCWD, items.at[i].path, 0);
		ask->found = good;
		if (good && !ask->record_only)
			pass_on(share, ask);
		else
			give_answer(share, ask);
	}
}

void *share_asker(void *ctx)
{
	struct share *share = ctx;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct remote *remote = NULL;
	if (open_remote(share, true, 0, &remote, &err) < 0)
		end_reads(share, &err);
	for (;;) {
		struct ask *asks[ASK_BATCH];
		size_t count = 0;
		pthread_mutex_lock(&share->lock);
		while (!share->closing && !share->wanted.len)
			pthread_cond_wait(&share->wake, &share->lock);
		bool closing = share->closing;
		while (!closing && count < ASK_BATCH && share->wanted.len)
			asks[count++] = share->wanted.at[--share->wanted.len];
		bool ended = share->reads_ended;
		pthread_mutex_unlock(&share->lock);
		if (closing)
			break;
		ask_all(share, ended ? NULL : &remote, asks, count);
	}
	remote_close(remote);
	return NULL;
}

/* Fetching */

/* Where each file waits, by its path in the project; each content is fetched once. *ret_copies: of those that are there twice. */
static int lay_out(const struct ask *ask, const char *dir, struct items *items, struct strlist *ret_copies, struct err *err)
{
	struct map first CLEANUP(map_release) = MAP_INIT;
	for (size_t i = 0; i < ask->action.manifest.len; i++) {
		const struct manifest_entry *entry = &ask->action.manifest.at[i];
		char hex[DIGEST_HEX_MAX];
		if (entry->type != HASH_FILE)
			continue;
		char *path = path_joined(dir, entry->path);
		digest_hex(&entry->digest, hex);
		struct map_entry *known = map_entry(&first, hex);
		if (fs_mkdirs_for(path, err) < 0) {
			free(path);
			return -1;
		}
		if (known->value) {
			strlist_add(ret_copies, known->value);
			strlist_take(ret_copies, path);
			continue;
		}
		known->value = path;
		add_item(items, SHARE_OBJECTS, &entry->digest, path, entry->size);
	}
	return 0;
}

static int make_copies(const struct strlist *copies, struct err *err)
{
	for (size_t i = 0; i < copies->len; i += 2)
		if (fs_copy_file(copies->at[i], copies->at[i + 1], 0600, err) < 0)
			return -1;
	return 0;
}

/* All of them, or why not: an end to reading, a result that is no good, or one that takes too long. */
static bool get_objects(struct share *share, struct remote *remote, const struct ask *ask, struct items *items)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct moving moving = { .share = share, .ask = ask };
	const struct remote_sink sink = { .progress = on_fetching, .ctx = &moving };
	if (remote_get(remote, items->at, items->len, &sink, &err) < 0) {
		if (err.code != ERR_SIGINT)
			end_reads(share, &err);
		else if (!atomic_load(&share->cancel))
			warn(share, mem_strdup("a shared result was not fetched: that takes longer than making it"));
		return false;
	}
	const struct remote_item *broken = first_failed(items);
	if (broken) {
		end_reads(share, &broken->ret_err);
		return false;
	}
	for (size_t i = 0; i < items->len; i++) {
		if (items->at[i].ret_state == REMOTE_DONE)
			continue;
		refuse(share, &ask->key, items->at[i].ret_err.message);
		return false;
	}
	return true;
}

static bool fetch(struct share *share, struct remote *remote, struct ask *ask)
{
	struct items items CLEANUP(items_release) = { 0 };
	struct strlist copies CLEANUP(strlist_release) = { 0 };
	struct err err CLEANUP(err_release) = ERR_INIT;
	ask->dir = new_path(share);
	bool room = fs_mkdirs(ask->dir, &err) == 0 && lay_out(ask, ask->dir, &items, &copies, &err) == 0;
	bool good = room && get_objects(share, remote, ask, &items);
	bool whole = good && make_copies(&copies, &err) == 0;
	if (!room || (good && !whole))
		warn(share, mem_printf("a shared result cannot be kept here: %s", err.message));
	for (size_t i = 0; i < items.len; i++)
		ask->bytes += items.at[i].size;
	return whole;
}

void *share_fetcher(void *ctx)
{
	struct share *share = ctx;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct remote *remote = NULL;
	if (open_remote(share, true, FETCH_CONNECTIONS, &remote, &err) < 0)
		end_reads(share, &err);
	for (;;) {
		pthread_mutex_lock(&share->lock);
		while (!share->closing && !share->found.len)
			pthread_cond_wait(&share->wake, &share->lock);
		bool closing = share->closing;
		struct ask *ask = closing ? NULL : share->found.at[--share->found.len];
		pthread_mutex_unlock(&share->lock);
		if (closing)
			break;
		ask->found = remote && !atomic_load(&ask->abandoned) && fetch(share, remote, ask);
		give_answer(share, ask);
	}
	remote_close(remote);
	return NULL;
}

/* Sending */

struct batch {
	struct share *share;
	struct remote *remote;
	struct remote_sink sink;
	struct offer *at[SEND_BATCH];
	bool ready[SEND_BATCH];   /* all its objects are there */
	bool settled[SEND_BATCH]; /* nothing more to do for it */
	size_t len;
	struct share_counts counts;
};

static int check_present(struct batch *batch, struct err *err)
{
	struct items items CLEANUP(items_release) = { 0 };
	for (size_t i = 0; i < batch->len; i++)
		add_item(&items, SHARE_ACTIONS, &batch->at[i]->key, NULL, REMOTE_SIZE_UNKNOWN);
	if (remote_check(batch->remote, items.at, items.len, &batch->sink, err) < 0)
		return -1;
	for (size_t i = 0; i < items.len; i++) {
		if (items.at[i].ret_state == REMOTE_FAILED)
			return err_move(err, &items.at[i].ret_err);
		batch->settled[i] = items.at[i].ret_state == REMOTE_DONE && !batch->at[i]->again;
		batch->counts.present += batch->settled[i];
	}
	return 0;
}

/* Each content once, whoever has it. */
static void collect_pieces(const struct batch *batch, struct items *items, struct map *index)
{
	for (size_t i = 0; i < batch->len; i++) {
		for (size_t k = 0; k < batch->at[i]->pieces.len && !batch->settled[i]; k++) {
			const struct piece *piece = &batch->at[i]->pieces.at[k];
			char hex[DIGEST_HEX_MAX];
			digest_hex(&piece->digest, hex);
			if (map_has(index, hex))
				continue;
			add_item(items, SHARE_OBJECTS, &piece->digest, mem_strdup(piece->path), piece->size);
			map_set(index, hex, (void *)(uintptr_t)items->len);
		}
	}
}

/* Of the pieces, those that are not there; all that were there with the right size are done. */
static int put_missing(struct batch *batch, struct items *items, struct err *err)
{
	VEC(struct remote_item) missing = { 0 };
	VEC(size_t) of = { 0 };
	int failed = remote_check(batch->remote, items->at, items->len, &batch->sink, err);
	for (size_t i = 0; i < items->len && !failed; i++) {
		if (items->at[i].ret_state == REMOTE_DONE)
			continue;
		err_release(&items->at[i].ret_err);
		vec_push(&missing, items->at[i]);
		vec_push(&of, i);
	}
	if (!failed)
		failed = remote_put(batch->remote, missing.at, missing.len, &batch->sink, err);
	for (size_t i = 0; i < missing.len; i++) {
		items->at[of.at[i]] = missing.at[i];
		if (missing.at[i].ret_state == REMOTE_DONE)
			batch->counts.sent_bytes += missing.at[i].ret_size;
	}
	vec_release(&missing);
	vec_release(&of);
	return failed;
}

static int put_objects(struct batch *batch, struct err *err)
{
	struct items items CLEANUP(items_release) = { 0 };
	struct map index CLEANUP(map_release) = MAP_INIT;
	collect_pieces(batch, &items, &index);
	if (put_missing(batch, &items, err) < 0)
		return -1;
	const struct remote_item *broken = first_failed(&items);
	if (broken)
		return err_set(err, ERR_NET, "%s", broken->ret_err.message);
	for (size_t i = 0; i < batch->len; i++) {
		const struct offer *offer = batch->at[i];
		const struct remote_item *bad = NULL;
		for (size_t k = 0; k < offer->pieces.len && !batch->settled[i] && !bad; k++) {
			char hex[DIGEST_HEX_MAX];
			digest_hex(&offer->pieces.at[k].digest, hex);
			const struct remote_item *item = &items.at[(size_t)(uintptr_t)map_get(&index, hex) - 1];
			bad = item->ret_state == REMOTE_DONE ? NULL : item;
		}
		batch->ready[i] = !batch->settled[i] && !bad;
		if (bad)
			warn(batch->share, mem_printf("'%s' is not shared: its outputs have changed since (%s)", offer->target, bad->ret_err.message));
	}
	return 0;
}

static int put_records(struct batch *batch, struct err *err)
{
	struct items items CLEANUP(items_release) = { 0 };
	int failed = 0;
	for (size_t i = 0; i < batch->len && !failed; i++) {
		const struct offer *offer = batch->at[i];
		if (!batch->ready[i])
			continue;
		char *path = new_path(batch->share);
		add_item(&items, SHARE_ACTIONS, &offer->key, path, REMOTE_SIZE_UNKNOWN);
		/* A collection takes directories in which nothing was done for a day: a target may have taken as long. */
		failed = fs_mkdirs_for(path, err);
		if (!failed)
			failed = fs_write_file(path, offer->record.data, offer->record.len, 0600, FS_VOLATILE, err);
	}
	if (!failed)
		failed = remote_put(batch->remote, items.at, items.len, &batch->sink, err);
	for (size_t i = 0; i < items.len; i++) {
		(void)sys.unlinkat(AT_FDCWD, items.at[i].path, 0);
		batch->counts.sent += items.at[i].ret_state == REMOTE_DONE;
		batch->counts.sent_bytes += items.at[i].ret_state == REMOTE_DONE ? items.at[i].ret_size : 0;
		if (!failed && items.at[i].ret_state != REMOTE_DONE)
			failed = err_set(err, ERR_NET, "%s", items.at[i].ret_err.message);
	}
	return failed;
}

static void send_batch(struct batch *batch)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (check_present(batch, &err) < 0 || put_objects(batch, &err) < 0 || put_records(batch, &err) < 0)
		end_writes(batch->share, &err);
}

/* All that is offered, at most a batch of it; false at the end. */
static bool take_offers(struct share *share, struct batch *batch)
{
	pthread_mutex_lock(&share->lock);
	while (!share->closing && !share->offered.len)
		pthread_cond_wait(&share->wake, &share->lock);
	bool closing = share->closing;
	while (!closing && batch->len < SEND_BATCH && share->offered.len) {
		batch->at[batch->len++] = share->offered.at[0];
		memmove(share->offered.at, share->offered.at + 1, --share->offered.len * sizeof(*share->offered.at));
	}
	share->sending = batch->len;
	if (share->writes_ended)
		batch->remote = NULL;
	pthread_mutex_unlock(&share->lock);
	return !closing;
}

static void settle_batch(struct share *share, struct batch *batch)
{
	pthread_mutex_lock(&share->lock);
	share->sending = 0;
	atomic_store(&share->sent_ms, loop_now_ms());
	share->counts.sent += batch->counts.sent;
	share->counts.sent_bytes += batch->counts.sent_bytes;
	share->counts.present += batch->counts.present;
	share->counts.unsent += batch->len - batch->counts.sent - batch->counts.present;
	share_wake_loop(share);
	pthread_mutex_unlock(&share->lock);
	for (size_t i = 0; i < batch->len; i++)
		offer_free(batch->at[i]);
}

void *share_sender(void *ctx)
{
	struct share *share = ctx;
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct remote *remote = NULL;
	if (open_remote(share, false, 0, &remote, &err) < 0)
		end_writes(share, &err);
	for (;;) {
		struct moving moving = { .share = share };
		struct batch batch = { .share = share, .remote = remote, .sink = { .progress = on_sending, .ctx = &moving } };
		if (!take_offers(share, &batch))
			break;
		if (batch.remote)
			send_batch(&batch);
		settle_batch(share, &batch);
	}
	remote_close(remote);
	return NULL;
}
