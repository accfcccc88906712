#include "net/sftp_list.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_DEPTH 32

struct listing {
	struct sftp *sftp;
	const char *prefix;
	remote_visit_fn *visit;
	void *ctx;
};

static int list_directory(const struct listing *listing, const char *key, unsigned depth, struct err *err);

static int take_entry(const struct listing *listing, const char *above, const char *name, const struct sftp_reply *attributes, unsigned depth,
		      struct err *err)
{
	char *key OWNED = *above ? mem_printf("%s/%s", above, name) : mem_strdup(name);
	if (text_eq(name, ".") || text_eq(name, "..") || text_eq(key, SFTP_TEMP_DIR) || strchr(name, '/') || !path_is_safe(key))
		return 0;
	size_t common = strlen(key) < strlen(listing->prefix) ? strlen(key) : strlen(listing->prefix);
	if (strncmp(key, listing->prefix, common) != 0)
		return 0;
	if (S_ISDIR(attributes->mode))
		return list_directory(listing, key, depth + 1, err);
	if (!S_ISREG(attributes->mode) || !text_starts(key, listing->prefix))
		return 0;
	return listing->visit(listing->ctx, key, attributes->size, attributes->modified_s, err);
}

static int read_directory(const struct listing *listing, const struct buf *handle, const char *key, unsigned depth, struct err *err)
{
	struct buf bytes CLEANUP(buf_release) = BUF_INIT, name CLEANUP(buf_release) = BUF_INIT;
	struct sftp_reply reply = { .len = 0 }, attributes = { .len = 0 };
	for (;;) {
		if (sftp_wait_handle(listing->sftp, SFTP_READDIR, handle, &reply, &bytes, err) < 0)
			return -1;
		if (reply.is_status)
			return reply.status == SFTP_EOF ? 0 : err_set(err, ERR_NET, "the server cannot list '%s': %s", key, bytes.data);
		struct sftp_names names = { bytes.data, bytes.len };
		while (sftp_next_name(&names, &name, &attributes))
			if (take_entry(listing, key, name.data, &attributes, depth, err) < 0)
				return -1;
	}
}

static int list_directory(const struct listing *listing, const char *key, unsigned depth, struct err *err)
{
	struct sftp *sftp = listing->sftp;
	struct buf handle CLEANUP(buf_release) = BUF_INIT;
	struct sftp_reply reply = { .len = 0 };
	char *path OWNED = mem_printf("%s/%s", sftp_root(sftp), key);
	if (depth > MAX_DEPTH)
		return err_set(err, ERR_NET, "the remote is nested more than %d deep", MAX_DEPTH);
	if (sftp_wait_path(sftp, SFTP_OPENDIR, path, &reply, &handle, err) < 0)
		return -1;
	if (reply.is_status)
		return reply.status == SFTP_NO_SUCH_FILE ? 0 : err_set(err, ERR_NET, "the server cannot list '%s': %s", path, handle.data);
	int status = read_directory(listing, &handle, key, depth, err);
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (!sftp_is_lost(sftp) && sftp_wait_handle(sftp, SFTP_CLOSE, &handle, &reply, NULL, &late) < 0 && status == 0)
		status = err_move(err, &late);
	return status;
}

int sftp_list(struct sftp *sftp, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err)
{
	struct listing listing = { .sftp = sftp, .prefix = prefix, .visit = visit, .ctx = ctx };
	const char *slash = strrchr(prefix, '/');
	char *start OWNED = mem_strndup(prefix, slash ? (size_t)(slash - prefix) : 0);
	return list_directory(&listing, start, 0, err);
}
