/* The index of the output cache: what is too small for a file of its own. */
#include "base/fs.h"
#include "base/path.h"
#include "store/outputs_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void unlock(pthread_mutex_t **mutex)
{
	pthread_mutex_unlock(*mutex);
}

static pthread_mutex_t *lock(void)
{
	pthread_mutex_lock(&turn);
	return &turn;
}

/* For the rest of the function. */
#define TAKE_TURN pthread_mutex_t *held UNUSED CLEANUP(unlock) = lock()

static struct state *open_index(struct outputs *cache, bool may_create)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (cache->index || cache->no_index)
		return cache->index;
	OWNED char *path = path_joined(cache->dir, "index");
	if (!fs_is_dir(path)) {
		if (!may_create)
			return NULL;
		cache->no_index = fs_mkdirs(cache->dir, &ignored) < 0 || state_on_network_fs(cache->dir);
	} else {
		cache->no_index = state_on_network_fs(path);
	}
	if (cache->no_index || state_open_index(cache->dir, &cache->index, &ignored) == 0)
		return cache->index;
	cache->no_index = true;
	return NULL;
}

bool outputs_index(struct outputs *cache, bool may_create)
{
	TAKE_TURN;
	return open_index(cache, may_create) != NULL;
}

static int give_up(struct outputs *cache)
{
	state_close(cache->index);
	cache->index = NULL;
	cache->no_index = true;
	return -1;
}

void outputs_index_close(struct outputs *cache)
{
	TAKE_TURN;
	(void)give_up(cache);
}

static bool get(struct outputs *cache, enum state_table table, const struct digest *digest, struct buf *out, size_t *ret_len)
{
	char hex[DIGEST_HEX_MAX];
	const void *bytes;
	if (!open_index(cache, false))
		return false;
	digest_hex(digest, hex);
	bool found = state_get(cache->index, table, hex, &bytes, ret_len);
	if (found && out)
		buf_add(out, bytes, *ret_len);
	/* An open view keeps the database from using freed pages again. */
	state_refresh(cache->index);
	return found;
}

bool outputs_index_get(struct outputs *cache, enum state_table table, const struct digest *digest, struct buf *out)
{
	TAKE_TURN;
	size_t len;
	return get(cache, table, digest, out, &len);
}

bool outputs_index_has(struct outputs *cache, enum state_table table, const struct digest *digest, size_t len)
{
	TAKE_TURN;
	size_t known;
	return get(cache, table, digest, NULL, &known) && known == len;
}

int outputs_index_put(struct outputs *cache, enum state_table table, const struct digest *digest, const void *bytes, size_t len,
		      struct err *err)
{
	TAKE_TURN;
	char hex[DIGEST_HEX_MAX];
	if (!open_index(cache, true))
		return err_set(err, ERR_FAILED, "the index of the output cache in '%s' cannot be used", cache->dir);
	digest_hex(digest, hex);
	return state_put(cache->index, table, hex, bytes, len, err) < 0 ? give_up(cache) : 0;
}

int outputs_index_remove(struct outputs *cache, enum state_table table, const struct digest *digest, struct err *err)
{
	TAKE_TURN;
	char hex[DIGEST_HEX_MAX];
	if (!open_index(cache, false))
		return 0;
	digest_hex(digest, hex);
	return state_remove(cache->index, table, hex, err) < 0 ? give_up(cache) : 0;
}

int outputs_index_each(struct outputs *cache, enum state_table table, state_visit_fn *visit, void *ctx, struct err *err)
{
	TAKE_TURN;
	struct state *index = open_index(cache, false);
	return index ? state_each(index, table, visit, ctx, err) : 0;
}

int outputs_index_put_action(struct outputs *cache, const struct digest *key, const void *record, size_t len, struct err *err)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	codec_add_u64(&bytes, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
	buf_add(&bytes, record, len);
	return outputs_index_put(cache, STATE_ACTIONS, key, bytes.data, bytes.len, err);
}

bool outputs_index_open_action(const struct buf *indexed, int64_t *ret_used_ms, const void **ret_record, size_t *ret_len)
{
	struct codec_in in = codec_in(indexed->data, indexed->len);
	*ret_used_ms = (int64_t)codec_u64(&in);
	*ret_record = in.at;
	*ret_len = codec_left(&in);
	return codec_ok(&in);
}

int outputs_flush(struct outputs *cache, struct err *err)
{
	TAKE_TURN;
	if (!cache || !cache->index)
		return 0;
	int failed = state_flush(cache->index, err);
	return failed ? give_up(cache) : 0;
}

bool outputs_have_unflushed(const struct outputs *cache)
{
	TAKE_TURN;
	return cache && cache->index && state_pending(cache->index);
}

void outputs_take_notices(struct outputs *cache, struct strlist *out)
{
	TAKE_TURN;
	if (!cache || !cache->index)
		return;
	const struct strlist *notices = state_notices(cache->index);
	while (cache->notices_taken < notices->len)
		strlist_add(out, notices->at[cache->notices_taken++]);
	state_told(cache->index);
}
