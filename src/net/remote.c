#include "net/remote.h"

#include "base/fs.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "net/remote_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#define STALE_S (24 * 3600)
#define STALE_MOST 10000 /* removed at once */

/* What is spoken, and how to reach what is not. */
static const struct {
	const char *scheme;
	int (*open)(const struct remote_spec *spec, struct remote **ret, struct err *err);
	const char *example, *instead;
} kinds[] = {
	{ "s3", remote_s3_open, "s3://bucket/prefix", NULL },
	{ "http", remote_web_open, "http://host/path", NULL },
	{ "https", remote_web_open, "https://host/path", NULL },
	{ "webdav", remote_web_open, "webdav://host/path", NULL },
	{ "webdavs", remote_web_open, "webdavs://host/path", NULL },
	{ "ssh", remote_sftp_open, "ssh://user@host:port/path", NULL },
	{ "gs", NULL, NULL,
	  "Google Cloud Storage speaks S3, too: the same objects are at url = s3://BUCKET/PREFIX with endpointurl = https://storage.googleapis.com "
	  "and an HMAC key (gcloud storage hmac create ACCOUNT) as access_key_id and secret_access_key" },
	{ "azure", NULL, NULL,
	  "put an S3 gateway before it (versitygw azure, s3proxy) and use url = s3://CONTAINER/PREFIX with its endpointurl; or a WebDAV one "
	  "(rclone serve webdav), and webdav://host/path" },
	{ "hdfs", NULL, NULL, "use an S3 gateway (Apache Ozone has one) with s3://bucket/prefix and endpointurl; or `rclone serve webdav` and webdav://host/path" },
	{ "webhdfs", NULL, NULL, "use an S3 gateway (Apache Ozone has one) with s3://bucket/prefix and endpointurl; or `rclone serve webdav` and webdav://host/path" },
	{ "oss", NULL, NULL,
	  "Alibaba Cloud OSS speaks S3, too: the same objects are at url = s3://BUCKET/PREFIX with endpointurl = https://oss-REGION.aliyuncs.com, "
	  "addressing_style = virtual in ~/.aws/config, and the same keys as access_key_id and secret_access_key" },
	{ "gdrive", NULL, NULL, "put `rclone serve webdav` before it and use webdav://host/path; or keep the data where S3 is spoken" },
};

/* The index in kinds; -1: none, ARRAY_LEN(kinds): a directory. */
static int kind_of(const char *url)
{
	size_t len = strcspn(url, ":/");
	if (url[0] == '/' || text_starts(url, "file:///"))
		return (int)ARRAY_LEN(kinds);
	for (size_t i = 0; i < ARRAY_LEN(kinds) && text_starts(url + len, "://"); i++)
		if (strlen(kinds[i].scheme) == len && strncmp(url, kinds[i].scheme, len) == 0)
			return (int)i;
	return -1;
}

bool remote_url_is_slip(const char *url, const char **ret_example)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds) && kind_of(url) < 0; i++) {
		size_t len = strlen(kinds[i].scheme);
		if (strncasecmp(url, kinds[i].scheme, len) != 0 || (url[len] != ':' && !text_starts(url + len, "//")))
			continue;
		*ret_example = kinds[i].example ? kinds[i].example : "s3://bucket/prefix";
		return true;
	}
	return false;
}

int remote_check_url(const char *name, const char *url, struct err *err)
{
	int kind = kind_of(url);
	const char *example;
	if (kind == (int)ARRAY_LEN(kinds))
		return 0;
	if (kind >= 0 && kinds[kind].open && url[strlen(kinds[kind].scheme) + 3] && url[strlen(kinds[kind].scheme) + 3] != '/')
		return 0;
	if (remote_url_is_slip(url, &example)) {
		err_set(err, ERR_CONFIG, "'%s', the url of the remote '%s', is not written as one", url, name ? name : "");
		return err_hint(err, "write it as %s; a directory of that name is ./%s", example, url);
	}
	if (kind >= 0 && kinds[kind].open) {
		err_set(err, ERR_CONFIG, "the url '%s' of the remote '%s' names no %s", url, name, kind ? "host" : "bucket");
		return err_hint(err, "write it as %s", kinds[kind].example);
	}
	err_set(err, ERR_CONFIG, "the remote '%s' has the url '%s', and remotes of that kind are not supported", name ? name : "", url);
	return err_hint(err, "%s", kind >= 0 ? kinds[kind].instead : "supported are directories, s3://, ssh://, http(s):// and webdav(s)://");
}

int remote_open(const struct remote_spec *spec, struct remote **ret, struct err *err)
{
	struct remote_spec local = *spec;
	if (remote_check_url(spec->name, spec->url, err) < 0)
		return -1;
	int kind = kind_of(spec->url);
	if (kind == (int)ARRAY_LEN(kinds) && text_starts(spec->url, "file://"))
		local.url += strlen("file://");
	if ((kind < (int)ARRAY_LEN(kinds) ? kinds[kind].open : remote_dir_open)(&local, ret, err) < 0)
		return -1;
	if (spec->packed && spec->pack_dir)
		remote_packed_open(spec, *ret, ret);
	return 0;
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

void remote_version_release(struct remote_version *version)
{
	free(version->id);
	free(version->etag);
	*version = (struct remote_version){ .id = NULL };
}

int remote_check_versions(struct remote *remote, struct err *err)
{
	if (remote->class->check_versions)
		return remote->class->check_versions(remote, err);
	err_set(err, ERR_CONFIG, "only buckets (s3://) keep versions of objects");
	return err_hint(err, "take version_aware out of the remote's options");
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

int remote_item_open(struct remote_item *item, int *ret_fd, uint64_t *ret_size)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct stat st;
	int fd = *ret_fd = sys.openat(AT_FDCWD, item->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	if (fd < 0 && errno == ENOENT) {
		remote_item_missing(item, "here");
		return -1;
	}
	if (fd < 0 || sys.fstat(fd, &st) < 0) {
		err_set_errno(&err, ERR_FAILED, errno, "cannot read '%s'", item->path);
		remote_item_failed(item, &err);
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(&err, ERR_FAILED, "'%s' is not a regular file", item->path);
		remote_item_failed(item, &err);
		return -1;
	}
	*ret_size = (uint64_t)st.st_size;
	if (item->size != REMOTE_SIZE_UNKNOWN && item->size != *ret_size) {
		remote_item_wrong_size(item, "the local copy", *ret_size);
		return -1;
	}
	return 0;
}

int remote_item_create(const struct remote_item *item, int *ret_fd, struct err *err)
{
	*ret_fd = sys.openat(AT_FDCWD, item->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return *ret_fd < 0 ? err_set_errno(err, ERR_FAILED, errno, "cannot create '%s'", item->path) : 0;
}

int remote_write_at(int fd, const void *bytes, size_t len, uint64_t at)
{
	const char *from = bytes;
	while (len > 0) {
		ssize_t put = sys.pwrite(fd, from, len, (off_t)at);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		from += put;
		len -= (size_t)put;
		at += (uint64_t)put;
	}
	return 0;
}

char *remote_temp_names(const char *dir)
{
	uint64_t random = 0;
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		random = ((uint64_t)getpid() << 32) ^ loop_now_ms();
	return mem_printf("%s/put-%016" PRIx64 "-", dir, random);
}

struct stale {
	int64_t before_s;
	struct strlist keys;
};

static int note_stale(void *ctx, const char *key, uint64_t size UNUSED, int64_t modified_s, struct err *err UNUSED)
{
	struct stale *stale = ctx;
	if (modified_s && modified_s < stale->before_s && stale->keys.len < STALE_MOST)
		strlist_add(&stale->keys, key);
	return 0;
}

size_t remote_drop_stale(struct remote *remote, const char *dir, int64_t now_s)
{
	size_t gone = 0;
	struct stale stale = { .before_s = now_s - STALE_S };
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	char *prefix OWNED = mem_printf("%s/", dir);
	if (!now_s)
		return 0;
	if (remote_list(remote, prefix, note_stale, &stale, &ignored) == 0) {
		struct remote_item *items OWNED = mem_alloc((stale.keys.len + 1) * sizeof(*items));
		for (size_t i = 0; i < stale.keys.len; i++)
			items[i] = (struct remote_item){ .key = stale.keys.at[i] };
		if (remote_remove(remote, items, stale.keys.len, NULL, &ignored) < 0)
			err_release(&ignored);
		for (size_t i = 0; i < stale.keys.len; i++) {
			gone += items[i].ret_state == REMOTE_DONE;
			err_release(&items[i].ret_err);
		}
	}
	strlist_release(&stale.keys);
	return gone;
}

size_t remote_sweep(struct remote *remote)
{
	return remote->class->sweep ? remote->class->sweep(remote) : 0;
}

static size_t depth_of(const char *key)
{
	size_t depth = 0;
	for (; *key; key++)
		depth += *key == '/';
	return depth;
}

void remote_parents(const struct remote_item *items, size_t count, const char *also, struct strlist *ret)
{
	struct strlist names CLEANUP(strlist_release) = { 0 };
	size_t depth, deepest = 0;
	strlist_add(&names, also);
	for (size_t i = 0; i < count; i++)
		for (const char *slash = strchr(items[i].key, '/'); slash; slash = strchr(slash + 1, '/'))
			strlist_take(&names, mem_strndup(items[i].key, (size_t)(slash - items[i].key)));
	strlist_sort(&names);
	strlist_unique(&names);
	for (size_t at = 0; at <= deepest; at++)
		for (size_t i = 0; i < names.len; i++) {
			depth = depth_of(names.at[i]);
			deepest = depth > deepest ? depth : deepest;
			if (depth == at)
				strlist_add(ret, names.at[i]);
		}
}

size_t remote_same_depth(const struct strlist *names, size_t from)
{
	size_t n = 1;
	while (from + n < names->len && depth_of(names->at[from + n]) == depth_of(names->at[from]))
		n++;
	return n;
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

bool remote_item_check_stream(struct remote_item *item, struct digest_stream **stream, const char *what)
{
	struct digest digest;
	digest_end(*stream, &digest);
	*stream = NULL;
	if (digest_eq(&digest, &item->expect))
		return true;
	remote_item_wrong_digest(item, what, &digest);
	return false;
}
