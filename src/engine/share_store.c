#include "engine/share_store.h"

#include "base/fs.h"
#include "base/map.h"
#include "base/path.h"
#include "base/text.h"
#include "engine/share_record.h"
#include "store/outputs_gc.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define READ_BATCH 1000

const char *share_remote_name(const struct project *project)
{
	const char *name = sys.getenv("MLMAKE_CACHE_REMOTE");
	if (!name || !*name)
		name = project->cache.remote;
	return text_eq(name, "none") ? NULL : name;
}

int share_remote_find(const struct project *project, struct share_remote *ret, struct err *err)
{
	const struct provider *provider = project->provider;
	*ret = (struct share_remote){ .name = share_remote_name(project) };
	if (!ret->name)
		return 0;
	if (!provider || !provider->remote)
		return err_set(err, ERR_BUG, "nothing knows of remotes");
	return provider->remote(project->root, ret->name, &ret->arena, &ret->spec, err);
}

void share_remote_release(struct share_remote *remote)
{
	arena_release(&remote->arena);
}

/* An object of the remote: a record, or a file's bytes. */
struct thing {
	struct digest digest;
	uint64_t bytes;
	int64_t modified_s;
	bool kept;
};

struct holdings {
	VEC(struct thing) records, objects;
};

static void holdings_release(struct holdings *holdings)
{
	vec_release(&holdings->records);
	vec_release(&holdings->objects);
}

/* What has another name is none of ours. */
static int take_thing(void *ctx, const char *key, uint64_t size, int64_t modified_s, struct err *err)
{
	struct holdings *holdings = ctx;
	struct thing thing = { .bytes = size, .modified_s = modified_s };
	(void)err;
	if (share_parse_name(SHARE_ACTIONS, key, &thing.digest))
		vec_push(&holdings->records, thing);
	else if (share_parse_name(SHARE_OBJECTS, key, &thing.digest))
		vec_push(&holdings->objects, thing);
	return 0;
}

static int look(const struct share_remote *where, struct remote **ret_remote, struct holdings *ret, struct err *err)
{
	struct remote *remote;
	if (remote_open(&where->spec, &remote, err) < 0)
		return -1;
	if (remote_list(remote, SHARE_PREFIX, take_thing, ret, err) < 0) {
		remote_close(remote);
		return err_note(err, "on the remote '%s'", where->name);
	}
	*ret_remote = remote;
	return 0;
}

int share_usage(const struct share_remote *where, struct share_usage *ret, struct err *err)
{
	struct holdings holdings CLEANUP(holdings_release) = { 0 };
	struct remote *remote;
	if (look(where, &remote, &holdings, err) < 0)
		return -1;
	remote_close(remote);
	*ret = (struct share_usage){ .results = holdings.records.len, .objects = holdings.objects.len };
	for (size_t i = 0; i < holdings.records.len; i++)
		ret->bytes += holdings.records.at[i].bytes;
	for (size_t i = 0; i < holdings.objects.len; i++)
		ret->bytes += holdings.objects.at[i].bytes;
	return 0;
}

struct collection {
	const struct share_gc_options *options;
	struct remote *remote;
	struct holdings holdings;
	struct map named;  /* objects, in hex, that a kept record names */
	char *dir;         /* for records */
	int64_t now_s;
};

static void collection_release(struct collection *c)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (c->dir && fs_remove_tree(c->dir, &ignored) < 0)
		err_release(&ignored); /* a collection of the output cache takes it */
	free(c->dir);
	map_release(&c->named);
	holdings_release(&c->holdings);
	remote_close(c->remote);
}

static void note_named(void *ctx, const struct digest *digest, uint64_t size)
{
	struct map *named = ctx;
	char hex[DIGEST_HEX_MAX];
	(void)size;
	digest_hex(digest, hex);
	map_set(named, hex, NULL);
}

/* A record that cannot be had leaves it open what it names: nothing is removed then. */
static int mark_record(struct collection *c, struct thing *thing, struct remote_item *item, struct err *err)
{
	struct buf record CLEANUP(buf_release) = BUF_INIT;
	if (item->ret_state == REMOTE_FAILED)
		return err_move(err, &item->ret_err);
	if (item->ret_state != REMOTE_DONE)
		return 0;
	if (fs_read_file(item->path, SHARE_RECORD_MAX, &record, err) < 0)
		return -1;
	thing->kept = share_record_objects(record.data, record.len, note_named, &c->named);
	return 0;
}

static int mark_batch(struct collection *c, struct thing **batch, size_t count, struct err *err)
{
	struct remote_item *items OWNED = mem_alloc((count + 1) * sizeof(*items));
	for (size_t i = 0; i < count; i++)
		items[i] = (struct remote_item){ .key = share_name(SHARE_ACTIONS, &batch[i]->digest), .path = mem_printf("%s/%zu", c->dir, i),
						 .size = REMOTE_SIZE_UNKNOWN, .max_size = SHARE_RECORD_MAX };
	int failed = remote_get(c->remote, items, count, c->options->sink, err);
	for (size_t i = 0; i < count; i++) {
		if (!failed)
			failed = mark_record(c, batch[i], &items[i], err);
		(void)sys.unlinkat(AT_FDCWD, items[i].path, 0);
		err_release(&items[i].ret_err);
		free((char *)(uintptr_t)items[i].key);
		free((char *)(uintptr_t)items[i].path);
	}
	return failed;
}

static int mark(struct collection *c, struct err *err)
{
	for (size_t at = 0; at < c->holdings.records.len;) {
		struct thing *batch[READ_BATCH];
		size_t count = 0;
		for (; at < c->holdings.records.len && count < READ_BATCH; at++) {
			struct thing *thing = &c->holdings.records.at[at];
			if (!thing->modified_s || thing->modified_s >= c->now_s - c->options->older_than_s)
				batch[count++] = thing;
		}
		if (mark_batch(c, batch, count, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < c->holdings.objects.len; i++) {
		struct thing *thing = &c->holdings.objects.at[i];
		char hex[DIGEST_HEX_MAX];
		digest_hex(&thing->digest, hex);
		thing->kept = map_has(&c->named, hex) || !thing->modified_s || thing->modified_s >= c->now_s - SHARE_GC_GRACE_S;
	}
	return 0;
}

static int sweep(struct collection *c, const char *prefix, const struct thing *things, size_t count, uint64_t *removed, uint64_t *kept,
		 struct share_gc_result *ret, struct err *err)
{
	VEC(struct remote_item) items = { 0 };
	for (size_t i = 0; i < count; i++) {
		*(things[i].kept ? kept : removed) += 1;
		*(things[i].kept ? &ret->kept_bytes : &ret->removed_bytes) += things[i].bytes;
		if (!things[i].kept)
			vec_push(&items, (struct remote_item){ .key = share_name(prefix, &things[i].digest), .size = REMOTE_SIZE_UNKNOWN });
	}
	int failed = c->options->dry_run ? 0 : remote_remove(c->remote, items.at, items.len, c->options->sink, err);
	for (size_t i = 0; i < items.len; i++) {
		if (!failed && items.at[i].ret_state == REMOTE_FAILED)
			failed = err_move(err, &items.at[i].ret_err);
		err_release(&items.at[i].ret_err);
		free((char *)(uintptr_t)items.at[i].key);
	}
	vec_release(&items);
	return failed;
}

static int make_room(struct collection *c, struct err *err)
{
	struct outputs *cache;
	struct buf dir = BUF_INIT;
	if (outputs_open(&cache, err) < 0)
		return -1;
	OWNED char *tmp = path_joined(outputs_dir(cache), "tmp");
	outputs_close(cache);
	if (fs_mkdirs(tmp, err) < 0 || fs_temp_dir(tmp, "share-gc-", &dir, err) < 0) {
		buf_release(&dir);
		return -1;
	}
	c->dir = buf_detach(&dir);
	return 0;
}

int share_gc(const struct share_remote *where, const struct share_gc_options *options, struct share_gc_result *ret, struct err *err)
{
	struct collection c CLEANUP(collection_release) = { .options = options, .now_s = (int64_t)time(NULL) };
	const struct holdings *all = &c.holdings;
	*ret = (struct share_gc_result){ 0 };
	if (make_room(&c, err) < 0 || look(where, &c.remote, &c.holdings, err) < 0)
		return -1;
	/* Records before what they name, so that none is there whose objects are not. */
	if (mark(&c, err) < 0 ||
	    sweep(&c, SHARE_ACTIONS, all->records.at, all->records.len, &ret->removed_results, &ret->kept_results, ret, err) < 0 ||
	    sweep(&c, SHARE_OBJECTS, all->objects.at, all->objects.len, &ret->removed_objects, &ret->kept_objects, ret, err) < 0)
		return err_note(err, "on the remote '%s'", where->name);
	return 0;
}
