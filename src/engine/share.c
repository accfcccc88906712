/* The side of the loop. */
#include "engine/share.h"

#include "base/path.h"
#include "engine/share_internal.h"
#include "engine/share_record.h"
#include "store/outputs_gc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define WATCH_MS 200
#define SENDING_PATIENCE 3 /* an upload of parts tells nothing until one is through */

void ask_free(struct ask *ask)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (ask->dir && fs_remove_tree(ask->dir, &ignored) < 0)
		err_release(&ignored); /* a collection of the cache takes it */
	free(ask->dir);
	strlist_release(&ask->paths);
	action_release(&ask->action);
	free(ask);
}

void offer_free(struct offer *offer)
{
	for (size_t i = 0; i < offer->pieces.len; i++)
		free(offer->pieces.at[i].path);
	vec_release(&offer->pieces);
	buf_release(&offer->record);
	free(offer->target);
	free(offer);
}

void share_wake_loop(struct share *share)
{
	static const uint64_t one = 1;
	(void)!sys.write(share->event_fd, &one, sizeof(one));
}

void share_start(struct share *share, void *(*work)(void *))
{
	struct share_threads *threads = &share->threads;
	if (share->closing || threads->len == ARRAY_LEN(threads->at))
		return;
	if (pthread_create(&threads->at[threads->len], NULL, work, share) == 0)
		threads->len++;
	else
		strlist_add(&share->warnings, "the shared cache is not used: no thread can be started");
}

void share_end_reads(struct share *share, const char *why)
{
	if (!share->reads_ended && why)
		strlist_take(&share->warnings, mem_printf("results are no longer looked for on the remote '%s': %s", share->setup.remote->name, why));
	share->reads_ended = true;
	share_wake_loop(share);
}

void share_end_writes(struct share *share, const char *why)
{
	if (!share->writes_ended && why)
		strlist_take(&share->warnings, mem_printf("results are not shared on the remote '%s': %s", share->setup.remote->name, why));
	share->writes_ended = true;
	share_wake_loop(share);
}

static void answer(struct share *share, struct ask *ask, bool found)
{
	for (size_t i = 0; i < share->outstanding.len; i++) {
		if (share->outstanding.at[i] != ask)
			continue;
		share->outstanding.at[i] = share->outstanding.at[--share->outstanding.len];
		break;
	}
	atomic_store(&ask->abandoned, true);
	ask->fn(ask->ctx, found, found ? &ask->action : NULL);
}

static void tell_warnings(struct share *share)
{
	pthread_mutex_lock(&share->lock);
	struct strlist warnings = share->warnings;
	share->warnings = (struct strlist){ 0 };
	pthread_mutex_unlock(&share->lock);
	for (size_t i = 0; i < warnings.len; i++)
		share->sink.warn(share->sink.ctx, warnings.at[i]);
	strlist_release(&warnings);
}

/* Into the output cache. */
static bool keep(struct share *share, struct ask *ask)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (!ask->dir)
		return true;
	if (outputs_store(share->setup.cache, ask->dir, &ask->action, (const char *const *)ask->paths.at, ask->paths.len, &err) < 0) {
		OWNED char *message = mem_printf("a shared result cannot be kept here: %s", err.message);
		share->sink.warn(share->sink.ctx, message);
		return false;
	}
	pthread_mutex_lock(&share->lock);
	share->counts.fetched++;
	share->counts.fetched_bytes += ask->bytes;
	pthread_mutex_unlock(&share->lock);
	return true;
}

static void on_event(void *ctx, int fd, uint32_t events)
{
	struct share *share = ctx;
	uint64_t count;
	(void)events;
	(void)!sys.read(fd, &count, sizeof(count));
	tell_warnings(share);
	for (;;) {
		pthread_mutex_lock(&share->lock);
		struct ask *ask = share->answered.len ? share->answered.at[--share->answered.len] : NULL;
		pthread_mutex_unlock(&share->lock);
		if (!ask)
			return;
		if (!atomic_load(&ask->abandoned))
			answer(share, ask, ask->found && keep(share, ask));
		ask_free(ask);
	}
}

/* Nobody waits for what will not come. */
static void abandon(struct share *share, bool all_waiting, uint64_t now)
{
	for (size_t i = share->outstanding.len; i-- > 0;) {
		struct ask *ask = share->outstanding.at[i];
		bool fetching = atomic_load(&ask->fetching);
		if (fetching ? now > atomic_load(&ask->until_ms) + share->setup.timeout_ms : all_waiting)
			answer(share, ask, false);
	}
}

static bool any_waits(const struct share *share)
{
	for (size_t i = 0; i < share->outstanding.len; i++)
		if (!atomic_load(&share->outstanding.at[i]->fetching))
			return true;
	return false;
}

static void on_watch(void *ctx)
{
	struct share *share = ctx;
	uint64_t now = loop_now_ms();
	share->watchdog = NULL;
	bool silent = any_waits(share) && now - atomic_load(&share->moved_ms) > share->setup.timeout_ms;
	if (silent) {
		OWNED char *why = mem_printf("it has not answered for %llu s", (unsigned long long)(share->setup.timeout_ms + 999) / 1000);
		pthread_mutex_lock(&share->lock);
		share_end_reads(share, why);
		pthread_mutex_unlock(&share->lock);
		tell_warnings(share);
	}
	pthread_mutex_lock(&share->lock);
	bool ended = share->reads_ended;
	pthread_mutex_unlock(&share->lock);
	abandon(share, ended, now);
	if (share_pending(share) && now - atomic_load(&share->sent_ms) > SENDING_PATIENCE * share->setup.timeout_ms) {
		pthread_mutex_lock(&share->lock);
		share_end_writes(share, "it has been silent for too long");
		pthread_mutex_unlock(&share->lock);
		share_stop_sending(share);
		tell_warnings(share);
	}
	if ((share->outstanding.len || share_pending(share)) && !share->watchdog)
		share->watchdog = loop_add_timer(share->loop, WATCH_MS, on_watch, share);
}

bool share_ask(struct share *share, const struct digest *key, const char *const *paths, size_t count, bool record_only, share_answer_fn *fn,
	       void *ctx)
{
	pthread_mutex_lock(&share->lock);
	bool ended = share->reads_ended;
	pthread_mutex_unlock(&share->lock);
	if (ended)
		return false;
	struct ask *ask = mem_alloc(sizeof(*ask));
	ask->key = *key;
	ask->record_only = record_only;
	ask->fn = fn;
	ask->ctx = ctx;
	ask->action = (struct action)ACTION_INIT;
	for (size_t i = 0; i < count; i++)
		strlist_add(&ask->paths, paths[i]);
	if (!any_waits(share))
		atomic_store(&share->moved_ms, loop_now_ms());
	vec_push(&share->outstanding, ask);
	pthread_mutex_lock(&share->lock);
	vec_push(&share->wanted, ask);
	share->counts.asked++;
	if (!share->threads.asker)
		share_start(share, share_asker);
	share->threads.asker = true;
	pthread_cond_broadcast(&share->wake);
	pthread_mutex_unlock(&share->lock);
	if (!share->watchdog)
		share->watchdog = loop_add_timer(share->loop, WATCH_MS, on_watch, share);
	return true;
}

static struct offer *make_offer(const char *root, const char *target_name, const struct action *action)
{
	struct offer *offer = mem_alloc(sizeof(*offer));
	struct map seen CLEANUP(map_release) = MAP_INIT;
	offer->key = action->key;
	offer->target = mem_strdup(target_name);
	buf_init(&offer->record);
	share_record_write(&offer->record, action);
	for (size_t i = 0; i < action->manifest.len; i++) {
		const struct manifest_entry *entry = &action->manifest.at[i];
		char hex[DIGEST_HEX_MAX];
		digest_hex(&entry->digest, hex);
		if (entry->type != HASH_FILE || !map_set(&seen, hex, NULL))
			continue;
		vec_push(&offer->pieces, (struct piece){ entry->digest, entry->size, path_joined(root, entry->path) });
	}
	return offer;
}

void share_offer(struct share *share, const char *root, const char *target_name, const struct action *action)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(&action->key, hex);
	pthread_mutex_lock(&share->lock);
	bool ended = share->writes_ended, again = map_has(&share->bad, hex);
	share->counts.unsent += ended;
	pthread_mutex_unlock(&share->lock);
	if (ended)
		return;
	struct offer *offer = make_offer(root, target_name, action);
	offer->again = again;
	pthread_mutex_lock(&share->lock);
	if (offer->record.len > SHARE_RECORD_MAX) {
		strlist_take(&share->warnings, mem_printf("'%s' is not shared: it has too many outputs", target_name));
		share->counts.unsent++;
		share_wake_loop(share);
		offer_free(offer);
	} else {
		vec_push(&share->offered, offer);
		if (!share->threads.sender)
			share_start(share, share_sender);
		share->threads.sender = true;
		if (share->offered.len == 1 && !share->sending)
			atomic_store(&share->sent_ms, loop_now_ms());
		pthread_cond_broadcast(&share->wake);
	}
	pthread_mutex_unlock(&share->lock);
	if (!share->watchdog)
		share->watchdog = loop_add_timer(share->loop, WATCH_MS, on_watch, share);
}

size_t share_pending(const struct share *share)
{
	struct share *own = (struct share *)(uintptr_t)share;
	pthread_mutex_lock(&own->lock);
	size_t count = own->offered.len + own->sending;
	pthread_mutex_unlock(&own->lock);
	return count;
}

void share_stop_sending(struct share *share)
{
	atomic_store(&share->cancel_sending, true);
	pthread_mutex_lock(&share->lock);
	share_end_writes(share, NULL);
	pthread_cond_broadcast(&share->wake);
	pthread_mutex_unlock(&share->lock);
}

void share_count(struct share *share, struct share_counts *ret)
{
	pthread_mutex_lock(&share->lock);
	*ret = share->counts;
	pthread_mutex_unlock(&share->lock);
}

static int make_room(struct share *share, struct err *err)
{
	struct buf dir = BUF_INIT;
	OWNED char *tmp = path_joined(outputs_dir(share->setup.cache), "tmp");
	if (fs_mkdirs(tmp, err) < 0 || fs_temp_dir(tmp, "share-", &dir, err) < 0) {
		buf_release(&dir);
		return -1;
	}
	share->dir = buf_detach(&dir);
	share->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return share->event_fd < 0 ? err_set_errno(err, ERR_FAILED, errno, "cannot create an eventfd") : 0;
}

int share_open(const struct share_setup *setup, struct loop *loop, const struct share_sink *sink, struct share **ret, struct err *err)
{
	struct share *share = mem_alloc(sizeof(*share));
	share->setup = *setup;
	if (!share->setup.timeout_ms)
		share->setup.timeout_ms = SHARE_TIMEOUT_MS;
	share->loop = loop;
	share->sink = *sink;
	share->event_fd = -1;
	pthread_mutex_init(&share->lock, NULL);
	pthread_cond_init(&share->wake, NULL);
	if (make_room(share, err) < 0) {
		share_close(share);
		return -1;
	}
	share->source = loop_add_fd(loop, share->event_fd, EPOLLIN, on_event, share);
	*ret = share;
	return 0;
}

static void release_lists(struct share *share)
{
	for (size_t i = 0; i < share->wanted.len; i++)
		ask_free(share->wanted.at[i]);
	for (size_t i = 0; i < share->found.len; i++)
		ask_free(share->found.at[i]);
	for (size_t i = 0; i < share->answered.len; i++)
		ask_free(share->answered.at[i]);
	for (size_t i = 0; i < share->offered.len; i++)
		offer_free(share->offered.at[i]);
	vec_release(&share->wanted);
	vec_release(&share->found);
	vec_release(&share->answered);
	vec_release(&share->offered);
	vec_release(&share->outstanding);
	strlist_release(&share->warnings);
	map_release(&share->bad);
}

void share_close(struct share *share)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (!share)
		return;
	atomic_store(&share->cancel, true);
	pthread_mutex_lock(&share->lock);
	share->closing = true;
	pthread_cond_broadcast(&share->wake);
	pthread_mutex_unlock(&share->lock);
	for (size_t i = 0; i < share->threads.len; i++)
		pthread_join(share->threads.at[i], NULL);
	if (share->watchdog)
		loop_remove_timer(share->loop, share->watchdog);
	if (share->source) {
		tell_warnings(share);
		loop_remove_fd(share->loop, share->source);
	}
	fs_close_fd(&share->event_fd);
	release_lists(share);
	if (share->dir && fs_remove_tree(share->dir, &ignored) < 0)
		err_release(&ignored); /* a collection of the cache takes it */
	pthread_cond_destroy(&share->wake);
	pthread_mutex_destroy(&share->lock);
	free(share->dir);
	free(share);
}
