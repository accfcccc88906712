#include "net/remote.h"

#include "base/path.h"
#include "base/text.h"
#include "net/remote_impl.h"

#include <inttypes.h>
#include <string.h>

int remote_open(const struct remote_spec *spec, struct remote **ret, struct err *err)
{
	if (text_starts(spec->url, "s3://"))
		return remote_s3_open(spec, ret, err);
	if (spec->url[0] == '/')
		return remote_dir_open(spec, ret, err);
	if (text_starts(spec->url, "file:///")) {
		struct remote_spec local = *spec;
		local.url = spec->url + strlen("file://");
		return remote_dir_open(&local, ret, err);
	}
	err_set(err, ERR_CONFIG, "the remote '%s' has the url '%s', and remotes of that kind are not supported", spec->name ? spec->name : "",
		spec->url);
	return err_hint(err, "supported are directories and s3://bucket/prefix");
}

void remote_close(struct remote *remote)
{
	if (remote)
		remote->class->close(remote);
}

const char *remote_place(const struct remote *remote)
{
	return remote->class->place ? remote->class->place(remote) : NULL;
}

static int begin(struct remote_item *items, size_t count, bool with_path, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct remote_item *item = &items[i];
		err_release(&item->ret_err);
		item->ret_state = REMOTE_PENDING;
		item->ret_size = 0;
		memset(item->ret_stamp, 0, sizeof(item->ret_stamp));
		if (!path_is_safe(item->key))
			return err_set(err, ERR_DATA, "'%s' cannot be the name of an object", item->key);
		if (with_path && !item->path)
			return err_set(err, ERR_BUG, "the object '%s' has no local file", item->key);
	}
	return 0;
}

int remote_check(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	if (begin(items, count, false, err) < 0)
		return -1;
	return count == 0 ? 0 : remote->class->check(remote, items, count, sink, err);
}

int remote_put(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	if (begin(items, count, true, err) < 0)
		return -1;
	return count == 0 ? 0 : remote->class->put(remote, items, count, sink, err);
}

int remote_get(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	if (begin(items, count, true, err) < 0)
		return -1;
	return count == 0 ? 0 : remote->class->get(remote, items, count, sink, err);
}

int remote_remove(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	if (begin(items, count, false, err) < 0)
		return -1;
	return count == 0 ? 0 : remote->class->remove(remote, items, count, sink, err);
}

int remote_list(struct remote *remote, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err)
{
	return remote->class->list(remote, prefix, visit, ctx, err);
}

int remote_tell(const struct remote_sink *sink, size_t items_done, uint64_t bytes_done, struct err *err)
{
	if (!sink || !sink->progress || sink->progress(sink->ctx, items_done, bytes_done))
		return 0;
	return err_set(err, ERR_SIGINT, "interrupted");
}

void remote_item_failed(struct remote_item *item, struct err *why)
{
	item->ret_state = REMOTE_FAILED;
	err_move(&item->ret_err, why);
}

void remote_item_missing(struct remote_item *item, const char *where)
{
	item->ret_state = REMOTE_MISSING;
	err_set(&item->ret_err, ERR_DATA, "'%s' does not exist %s", item->key, where);
}

void remote_item_too_large(struct remote_item *item, uint64_t size)
{
	item->ret_state = REMOTE_DAMAGED;
	item->ret_size = size;
	err_set(&item->ret_err, ERR_DATA, "the remote copy of '%s' has %" PRIu64 " bytes, more than the %" PRIu64 " that it may have", item->key,
		size, item->max_size);
}

void remote_item_wrong_size(struct remote_item *item, const char *what, uint64_t size)
{
	item->ret_state = REMOTE_DAMAGED;
	item->ret_size = size;
	err_set(&item->ret_err, ERR_DATA, "%s of '%s' has %" PRIu64 " bytes where %" PRIu64 " are expected", what, item->key, size,
		item->size);
}

void remote_item_wrong_digest(struct remote_item *item, const char *what, const struct digest *found)
{
	char is[DIGEST_HEX_MAX], due[DIGEST_HEX_MAX];
	digest_hex(found, is);
	digest_hex(&item->expect, due);
	item->ret_state = REMOTE_DAMAGED;
	err_set(&item->ret_err, ERR_DATA, "%s of '%s' has the digest %s where %s is expected", what, item->key, is, due);
}
