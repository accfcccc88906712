/*
 * The SFTP protocol, version 3, spoken to the sftp subsystem of a server through the ssh program: keys, agents, jump hosts and known hosts are
 * ssh's business, and what ~/.ssh/config says counts. Requests are pipelined. datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02, and
 * PROTOCOL of OpenSSH for posix-rename and fsync.
 *
 *     struct sftp *sftp;
 *     sftp_open(&spec, loop, &sftp, err);          spec.url: ssh://[user@]host[:port]/path
 *     sftp_ask_path(sftp, SFTP_STAT, path, on_reply, ctx);
 *     ... on_reply(ctx, &reply) is called from a later loop_step; reply NULL: the connection is lost
 *     sftp_close(sftp);
 */
#ifndef NET_SFTP_H
#define NET_SFTP_H

#include "base/loop.h"
#include "net/remote.h"

#define SFTP_CHUNK (32u << 10) /* bytes of a read or write that every server takes */

enum sftp_request {
	SFTP_CLOSE = 4,
	SFTP_FSTAT = 8,
	SFTP_OPENDIR = 11,
	SFTP_READDIR = 12,
	SFTP_REMOVE = 13,
	SFTP_MKDIR = 14,
	SFTP_RMDIR = 15,
	SFTP_STAT = 17,
};

enum sftp_status { SFTP_OK, SFTP_EOF, SFTP_NO_SUCH_FILE, SFTP_PERMISSION_DENIED, SFTP_FAILURE };

struct sftp_reply {
	bool is_status;
	unsigned status;         /* of enum sftp_status, or above; SFTP_OK where something was sent */
	const char *bytes;       /* a handle, data, names (see sftp_next_name), or the status's message; not terminated */
	size_t len;
	bool has_attributes;
	uint64_t size;
	uint32_t mode;           /* 0: not said */
	int64_t modified_s;
};

typedef void sftp_reply_fn(void *ctx, const struct sftp_reply *reply);

struct sftp;
/* Starts ssh and waits until the server speaks. ERR_NET with what ssh said, and what to do. */
int sftp_open(const struct remote_spec *spec, struct loop *loop, struct sftp **ret, struct err *err) MUST_CHECK;
/* Ends it; nothing is called any more. */
void sftp_close(struct sftp *sftp);
/* Absolute path of the url, without '/' at its end; "" for the root. */
const char *sftp_root(const struct sftp *sftp);
bool sftp_is_lost(const struct sftp *sftp);
/* Gives the connection up if an answer is due and nothing came for so long. Now and then. */
void sftp_check_silence(struct sftp *sftp, unsigned seconds);
/* Why it is lost, or that it cannot be told. Returns -1. */
int sftp_say_lost(const struct sftp *sftp, struct err *err);
bool sftp_has_fsync(const struct sftp *sftp);

/* STAT, OPENDIR, REMOVE, MKDIR, RMDIR */
void sftp_ask_path(struct sftp *sftp, enum sftp_request request, const char *path, sftp_reply_fn *done, void *ctx);
/* CLOSE, FSTAT, READDIR */
void sftp_ask_handle(struct sftp *sftp, enum sftp_request request, const struct buf *handle, sftp_reply_fn *done, void *ctx);
/* An existing file to read, or a new or emptied one to write. */
void sftp_open_file(struct sftp *sftp, const char *path, bool to_write, sftp_reply_fn *done, void *ctx);
void sftp_read(struct sftp *sftp, const struct buf *handle, uint64_t at, uint32_t len, sftp_reply_fn *done, void *ctx);
void sftp_write(struct sftp *sftp, const struct buf *handle, uint64_t at, const void *bytes, uint32_t len, sftp_reply_fn *done, void *ctx);
void sftp_fsync(struct sftp *sftp, const struct buf *handle, sftp_reply_fn *done, void *ctx);
/* Replaces what is there, where the server can. */
void sftp_rename(struct sftp *sftp, const char *from, const char *to, sftp_reply_fn *done, void *ctx);

/* Of a reply to READDIR: the next name (set, not added) with its attributes; false at the end or where it is broken. */
struct sftp_names {
	const char *at;
	size_t left;
};
bool sftp_next_name(struct sftp_names *names, struct buf *name, struct sftp_reply *ret_attributes);

/* Waits for one answer. -1 with err where the connection is lost; ret holds the status and attributes, bytes are copied to ret_bytes (may be NULL). */
int sftp_wait_path(struct sftp *sftp, enum sftp_request request, const char *path, struct sftp_reply *ret, struct buf *ret_bytes,
		   struct err *err) MUST_CHECK;
int sftp_wait_handle(struct sftp *sftp, enum sftp_request request, const struct buf *handle, struct sftp_reply *ret, struct buf *ret_bytes,
		     struct err *err) MUST_CHECK;

#endif
