#include "net/sftp.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define VERSION 3
#define MAX_PACKET ((size_t)256 << 10)
#define MAX_SAID ((size_t)4 << 10)
#define MAX_SHOWN 500
#define HELLO_WITHIN_S 60
#define LAST_WORDS_MS 2000
#define ATTR_SIZE 1u
#define ATTR_OWNER 2u
#define ATTR_MODE 4u
#define ATTR_TIMES 8u
#define ATTR_EXTENDED 0x80000000u

enum { INIT = 1, HELLO = 2, OPEN = 3, READ = 5, WRITE = 6, RENAME = 18, STATUS = 101, HANDLE = 102, DATA = 103, NAME = 104, ATTRS = 105, EXTENDED = 200 };
enum { FOR_READ = 1, FOR_WRITE = 2, FOR_CREATE = 8, FOR_TRUNCATE = 16 };

struct call {
	sftp_reply_fn *done; /* NULL: free */
	void *ctx;
	uint32_t next_free;
};

struct sftp {
	struct loop *loop;
	char *name, *host, *root;
	struct proc proc;
	int fd, said_fd; /* -1: closed */
	struct loop_source *source, *said_source;
	bool wants_out;
	struct buf out, in, said;
	size_t out_at;
	VEC(struct call) calls;
	uint32_t first_free;
	size_t due;        /* answers */
	uint64_t heard_ms; /* when something came, or was asked with nothing due */
	bool ready, lost, has_rename, has_fsync;
	struct err why;
};
#define NO_CALL UINT32_MAX

/* Packets. */

static void add_u32(struct buf *out, uint32_t value)
{
	const uint8_t bytes[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value };
	buf_add(out, bytes, sizeof(bytes));
}

static void add_u64(struct buf *out, uint64_t value)
{
	add_u32(out, (uint32_t)(value >> 32));
	add_u32(out, (uint32_t)value);
}

static void add_bytes(struct buf *out, const void *bytes, size_t len)
{
	add_u32(out, (uint32_t)len);
	buf_add(out, bytes, len);
}

static uint32_t u32_at(const char *bytes)
{
	const uint8_t *b = (const uint8_t *)bytes;
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool take_u32(struct sftp_names *from, uint32_t *ret)
{
	if (from->left < 4)
		return false;
	*ret = u32_at(from->at);
	from->at += 4;
	from->left -= 4;
	return true;
}

static bool take_bytes(struct sftp_names *from, const char **ret, size_t *ret_len)
{
	uint32_t len;
	if (!take_u32(from, &len) || from->left < len)
		return false;
	*ret = from->at;
	*ret_len = len;
	from->at += len;
	from->left -= len;
	return true;
}

static bool take_attributes(struct sftp_names *from, struct sftp_reply *ret)
{
	uint32_t flags, high = 0, low = 0, count;
	const char *text;
	size_t len;
	ret->has_attributes = true;
	ret->size = ret->mode = 0;
	ret->modified_s = 0;
	if (!take_u32(from, &flags))
		return false;
	if ((flags & ATTR_SIZE) && !(take_u32(from, &high) && take_u32(from, &low)))
		return false;
	ret->size = (uint64_t)high << 32 | low;
	if ((flags & ATTR_OWNER) && !(take_u32(from, &high) && take_u32(from, &low)))
		return false;
	if ((flags & ATTR_MODE) && !take_u32(from, &ret->mode))
		return false;
	if ((flags & ATTR_TIMES) && !(take_u32(from, &high) && take_u32(from, &low)))
		return false;
	ret->modified_s = flags & ATTR_TIMES ? low : 0;
	if (!(flags & ATTR_EXTENDED))
		return true;
	if (!take_u32(from, &count))
		return false;
	/* A name and a value each. */
	for (uint64_t strings = UINT64_C(2) * count; strings > 0; strings--)
		if (!take_bytes(from, &text, &len))
			return false;
	return true;
}

bool sftp_next_name(struct sftp_names *names, struct buf *name, struct sftp_reply *ret_attributes)
{
	const char *text, *shown;
	size_t len, shown_len;
	if (names->left == 0 || !take_bytes(names, &text, &len) || !take_bytes(names, &shown, &shown_len) ||
	    !take_attributes(names, ret_attributes))
		return false;
	buf_reset(name);
	buf_add(name, text, len);
	return strlen(name->data) == len;
}

/* Losing the connection. */

static void stop_watching(struct sftp *sftp)
{
	if (sftp->source)
		loop_remove_fd(sftp->loop, sftp->source);
	sftp->source = NULL;
	fs_close_fd(&sftp->fd);
	sftp->fd = -1;
}

/* What ssh printed last that is no blank line. */
static const char *last_line(struct buf *said)
{
	while (said->len && (said->data[said->len - 1] == '\n' || said->data[said->len - 1] == '\r' || said->data[said->len - 1] == ' '))
		buf_truncate(said, said->len - 1);
	const char *line = strrchr(said->data, '\n');
	return line ? line + 1 : said->data;
}

static void explain(struct sftp *sftp)
{
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	struct err *err = &sftp->why;
	text_add_printable(&line, last_line(&sftp->said), MAX_SHOWN);
	if (!err->message)
		err_set(err, ERR_NET, "the remote '%s': ssh to %s: %s", sftp->name, sftp->host, line.len ? line.data : "the connection is closed");
	if (strstr(sftp->said.data, "Host key verification failed") || strstr(sftp->said.data, "host key"))
		err_hint(err, "ssh does not know this server's key: connect once by hand (ssh %s), and compare it", sftp->host);
	else if (strstr(sftp->said.data, "Permission denied"))
		err_hint(err, "ssh is asked for no password here: `ssh -o BatchMode=yes %s` must work: add a key to the agent (ssh-add) or set the remote's keyfile and user",
			 sftp->host);
	else if (strstr(sftp->said.data, "subsystem"))
		err_hint(err, "the server's sshd has no sftp subsystem: see Subsystem in its sshd_config");
	else if (!sftp->ready)
		err_hint(err, "does `ssh %s` work? The remote's user, port and keyfile, and ~/.ssh/config, say how", sftp->host);
}

static void lose(struct sftp *sftp)
{
	if (sftp->lost)
		return;
	sftp->lost = true;
	stop_watching(sftp);
	explain(sftp);
	for (size_t i = 0; i < sftp->calls.len; i++) {
		struct call call = sftp->calls.at[i];
		if (!call.done)
			continue;
		sftp->calls.at[i].done = NULL;
		call.done(call.ctx, NULL);
	}
}

static void read_said(struct sftp *sftp)
{
	char chunk[1024];
	ssize_t got;
	while ((got = read(sftp->said_fd, chunk, sizeof(chunk))) > 0)
		if (sftp->said.len + (size_t)got < MAX_SAID)
			buf_add(&sftp->said, chunk, (size_t)got);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (sftp->said_source)
		loop_remove_fd(sftp->loop, sftp->said_source);
	sftp->said_source = NULL;
	fs_close_fd(&sftp->said_fd);
	sftp->said_fd = -1;
}

static void on_said(void *ctx, int fd UNUSED, uint32_t events UNUSED)
{
	read_said(ctx);
}

/* ssh prints why it ends, and then ends. */
static void wait_for_last_words(struct sftp *sftp)
{
	uint64_t until = loop_now_ms() + LAST_WORDS_MS;
	while (sftp->said_fd >= 0 && loop_now_ms() < until) {
		read_said(sftp);
		if (sftp->said_fd >= 0)
			usleep(5000);
	}
}

static void broken(struct sftp *sftp, const char *what)
{
	err_set(&sftp->why, ERR_NET, "the remote '%s': the server does not speak SFTP as expected: %s", sftp->name, what);
	lose(sftp);
}

void sftp_check_silence(struct sftp *sftp, unsigned seconds)
{
	if (sftp->lost || !sftp->due || loop_now_ms() - sftp->heard_ms < 1000ull * seconds)
		return;
	err_set(&sftp->why, ERR_NET, "the remote '%s': nothing came for %u s", sftp->name, seconds);
	lose(sftp);
}

/* Receiving. */

static void take_hello(struct sftp *sftp, struct sftp_names *from)
{
	uint32_t version;
	const char *name, *value;
	size_t name_len, value_len;
	if (!take_u32(from, &version) || version < VERSION) {
		broken(sftp, "an older version");
		return;
	}
	while (take_bytes(from, &name, &name_len) && take_bytes(from, &value, &value_len)) {
		char *text OWNED = mem_strndup(name, name_len);
		sftp->has_rename = sftp->has_rename || text_eq(text, "posix-rename@openssh.com");
		sftp->has_fsync = sftp->has_fsync || text_eq(text, "fsync@openssh.com");
	}
	sftp->ready = true;
}

static bool read_reply(uint8_t type, struct sftp_names *from, struct sftp_reply *ret)
{
	uint32_t number = 0;
	switch (type) {
	case STATUS:
		ret->is_status = true;
		if (!take_u32(from, &number))
			return false;
		ret->status = number;
		if (!take_bytes(from, &ret->bytes, &ret->len))
			ret->bytes = "";
		return true;
	case HANDLE:
		return take_bytes(from, &ret->bytes, &ret->len) && ret->len <= 256;
	case DATA:
		return take_bytes(from, &ret->bytes, &ret->len);
	case ATTRS:
		return take_attributes(from, ret);
	case NAME:
		if (!take_u32(from, &number))
			return false;
		ret->bytes = from->at;
		ret->len = from->left;
		return true;
	default:
		return false;
	}
}

static void take_packet(struct sftp *sftp, const char *bytes, size_t len)
{
	struct sftp_names from = { bytes + 1, len - 1 };
	struct sftp_reply reply = { .bytes = "" };
	uint32_t id;
	if (bytes[0] == HELLO && !sftp->ready) {
		take_hello(sftp, &from);
		return;
	}
	if (!take_u32(&from, &id) || id >= sftp->calls.len || !sftp->calls.at[id].done || !read_reply((uint8_t)bytes[0], &from, &reply)) {
		broken(sftp, "an answer that nobody asked for, or that is cut");
		return;
	}
	struct call call = sftp->calls.at[id];
	sftp->calls.at[id] = (struct call){ .next_free = sftp->first_free };
	sftp->first_free = id;
	sftp->due--;
	call.done(call.ctx, &reply);
}

static void take_packets(struct sftp *sftp)
{
	size_t at = 0;
	while (!sftp->lost && sftp->in.len - at >= 4) {
		size_t len = u32_at(sftp->in.data + at);
		if (len == 0 || len > MAX_PACKET) {
			/* A login script that prints is the usual reason. */
			broken(sftp, sftp->ready ? "a packet of an impossible size" : "does a login script of that account print something?");
			return;
		}
		if (sftp->in.len - at - 4 < len)
			break;
		take_packet(sftp, sftp->in.data + at + 4, len);
		at += 4 + len;
	}
	memmove(sftp->in.data, sftp->in.data + at, sftp->in.len - at);
	buf_truncate(&sftp->in, sftp->in.len - at);
}

static void receive(struct sftp *sftp)
{
	for (int turns = 0; turns < 16; turns++) {
		buf_reserve(&sftp->in, MAX_PACKET);
		ssize_t got = recv(sftp->fd, sftp->in.data + sftp->in.len, MAX_PACKET, MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			wait_for_last_words(sftp);
			lose(sftp);
			return;
		}
		sftp->heard_ms = loop_now_ms();
		sftp->in.len += (size_t)got;
		sftp->in.data[sftp->in.len] = '\0';
		take_packets(sftp);
		if (sftp->lost)
			return;
	}
}

static void flush(struct sftp *sftp)
{
	while (!sftp->lost && sftp->out_at < sftp->out.len) {
		ssize_t put = send(sftp->fd, sftp->out.data + sftp->out_at, sftp->out.len - sftp->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (put <= 0)
			break; /* whether it is full or gone shows when it is looked at */
		sftp->out_at += (size_t)put;
	}
	if (sftp->out_at == sftp->out.len) {
		sftp->out_at = 0;
		buf_reset(&sftp->out);
	}
	bool wants = sftp->out.len > 0;
	if (sftp->source && wants != sftp->wants_out)
		loop_change_fd(sftp->loop, sftp->source, wants ? (uint32_t)EPOLLIN | (uint32_t)EPOLLOUT : (uint32_t)EPOLLIN);
	sftp->wants_out = wants;
}

static void on_event(void *ctx, int fd UNUSED, uint32_t events)
{
	struct sftp *sftp = ctx;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(sftp);
	if (!sftp->lost)
		flush(sftp);
}

/* Requests. */

/* Begins a packet; returns where its length stands. */
static size_t begin(struct sftp *sftp, uint8_t type, sftp_reply_fn *done, void *ctx)
{
	uint32_t id = sftp->first_free;
	if (id == NO_CALL) {
		id = (uint32_t)sftp->calls.len;
		vec_push(&sftp->calls, (struct call){ .done = NULL });
	} else
		sftp->first_free = sftp->calls.at[id].next_free;
	sftp->calls.at[id] = (struct call){ .done = done, .ctx = ctx };
	if (sftp->due++ == 0)
		sftp->heard_ms = loop_now_ms();
	if (sftp->out_at > ((size_t)1 << 20)) {
		memmove(sftp->out.data, sftp->out.data + sftp->out_at, sftp->out.len - sftp->out_at);
		buf_truncate(&sftp->out, sftp->out.len - sftp->out_at);
		sftp->out_at = 0;
	}
	size_t start = sftp->out.len;
	add_u32(&sftp->out, 0);
	buf_add(&sftp->out, &type, 1);
	add_u32(&sftp->out, id);
	return start;
}

static void end(struct sftp *sftp, size_t start)
{
	uint32_t len = (uint32_t)(sftp->out.len - start - 4);
	uint8_t *to = (uint8_t *)sftp->out.data + start;
	to[0] = (uint8_t)(len >> 24);
	to[1] = (uint8_t)(len >> 16);
	to[2] = (uint8_t)(len >> 8);
	to[3] = (uint8_t)len;
	flush(sftp);
}

void sftp_ask_path(struct sftp *sftp, enum sftp_request request, const char *path, sftp_reply_fn *done, void *ctx)
{
	size_t start = begin(sftp, (uint8_t)request, done, ctx);
	add_bytes(&sftp->out, path, strlen(path));
	if (request == SFTP_MKDIR)
		add_u32(&sftp->out, 0);
	end(sftp, start);
}

void sftp_ask_handle(struct sftp *sftp, enum sftp_request request, const struct buf *handle, sftp_reply_fn *done, void *ctx)
{
	size_t start = begin(sftp, (uint8_t)request, done, ctx);
	add_bytes(&sftp->out, handle->data, handle->len);
	end(sftp, start);
}

void sftp_open_file(struct sftp *sftp, const char *path, bool to_write, sftp_reply_fn *done, void *ctx)
{
	size_t start = begin(sftp, OPEN, done, ctx);
	add_bytes(&sftp->out, path, strlen(path));
	add_u32(&sftp->out, to_write ? FOR_WRITE | FOR_CREATE | FOR_TRUNCATE : FOR_READ);
	add_u32(&sftp->out, 0);
	end(sftp, start);
}

void sftp_read(struct sftp *sftp, const struct buf *handle, uint64_t at, uint32_t len, sftp_reply_fn *done, void *ctx)
{
	size_t start = begin(sftp, READ, done, ctx);
	add_bytes(&sftp->out, handle->data, handle->len);
	add_u64(&sftp->out, at);
	add_u32(&sftp->out, len);
	end(sftp, start);
}

void sftp_write(struct sftp *sftp, const struct buf *handle, uint64_t at, const void *bytes, uint32_t len, sftp_reply_fn *done, void *ctx)
{
	size_t start = begin(sftp, WRITE, done, ctx);
	add_bytes(&sftp->out, handle->data, handle->len);
	add_u64(&sftp->out, at);
	add_bytes(&sftp->out, bytes, len);
	end(sftp, start);
}

static void add_extension(struct sftp *sftp, const char *name)
{
	add_bytes(&sftp->out, name, strlen(name));
}

void sftp_fsync(struct sftp *sftp, const struct buf *handle, sftp_reply_fn *done, void *ctx)
{
	size_t start = begin(sftp, EXTENDED, done, ctx);
	add_extension(sftp, "fsync@openssh.com");
	add_bytes(&sftp->out, handle->data, handle->len);
	end(sftp, start);
}

void sftp_rename(struct sftp *sftp, const char *from, const char *to, sftp_reply_fn *done, void *ctx)
{
	size_t start = begin(sftp, sftp->has_rename ? EXTENDED : RENAME, done, ctx);
	if (sftp->has_rename)
		add_extension(sftp, "posix-rename@openssh.com");
	add_bytes(&sftp->out, from, strlen(from));
	add_bytes(&sftp->out, to, strlen(to));
	end(sftp, start);
}

struct waiting {
	struct sftp_reply *ret;
	struct buf *bytes;
	bool done, lost;
};

static void note_reply(void *ctx, const struct sftp_reply *reply)
{
	struct waiting *waiting = ctx;
	waiting->done = true;
	waiting->lost = !reply;
	if (!reply)
		return;
	*waiting->ret = *reply;
	waiting->ret->bytes = NULL;
	if (waiting->bytes) {
		buf_reset(waiting->bytes);
		buf_add(waiting->bytes, reply->bytes, reply->len);
	}
}

static int wait_for(struct sftp *sftp, struct waiting *waiting, struct err *err)
{
	while (!waiting->done)
		if (loop_step(sftp->loop, -1, err) < 0) {
			lose(sftp); /* so that nothing is told to a frame that is gone */
			return -1;
		}
	return waiting->lost ? sftp_say_lost(sftp, err) : 0;
}

int sftp_wait_path(struct sftp *sftp, enum sftp_request request, const char *path, struct sftp_reply *ret, struct buf *ret_bytes, struct err *err)
{
	struct waiting waiting = { .ret = ret, .bytes = ret_bytes };
	if (sftp->lost)
		return sftp_say_lost(sftp, err);
	sftp_ask_path(sftp, request, path, note_reply, &waiting);
	return wait_for(sftp, &waiting, err);
}

int sftp_wait_handle(struct sftp *sftp, enum sftp_request request, const struct buf *handle, struct sftp_reply *ret, struct buf *ret_bytes,
		     struct err *err)
{
	struct waiting waiting = { .ret = ret, .bytes = ret_bytes };
	if (sftp->lost)
		return sftp_say_lost(sftp, err);
	sftp_ask_handle(sftp, request, handle, note_reply, &waiting);
	return wait_for(sftp, &waiting, err);
}

const char *sftp_root(const struct sftp *sftp)
{
	return sftp->root;
}

bool sftp_is_lost(const struct sftp *sftp)
{
	return sftp->lost;
}

bool sftp_has_fsync(const struct sftp *sftp)
{
	return sftp->has_fsync;
}

int sftp_say_lost(const struct sftp *sftp, struct err *err)
{
	err_set(err, ERR_NET, "%s", sftp->why.message ? sftp->why.message : "the connection is lost");
	return sftp->why.hint ? err_hint(err, "%s", sftp->why.hint) : -1;
}

/* Opening. */

struct address {
	char *user, *host, *port;
};

static void address_release(struct address *address)
{
	free(address->user);
	free(address->host);
	free(address->port);
}

static int take_url(struct sftp *sftp, const struct remote_spec *spec, struct address *ret, struct err *err)
{
	const char *at = strstr(spec->url, "://") + 3;
	size_t authority = strcspn(at, "/");
	const char *user_end = memrchr(at, '@', authority);
	if (user_end) {
		ret->user = mem_strndup(at, strcspn(at, ":@"));
		authority -= (size_t)(user_end + 1 - at);
		at = user_end + 1;
	}
	const char *colon = memrchr(at, ':', authority);
	size_t host = at[0] == '[' ? strcspn(at, "]") + 1 : colon ? (size_t)(colon - at) : authority;
	ret->host = at[0] == '[' ? mem_strndup(at + 1, host - 2) : mem_strndup(at, host);
	if (host < authority && at[host] == ':')
		ret->port = mem_strndup(at + host + 1, authority - host - 1);
	if (spec->user) {
		free(ret->user);
		ret->user = mem_strdup(spec->user);
	}
	if (spec->port) {
		free(ret->port);
		ret->port = mem_printf("%u", spec->port);
	}
	if (!*ret->host || ret->host[0] == '-' || (ret->user && ret->user[0] == '-') || (ret->port && ret->port[strspn(ret->port, "0123456789")])) {
		err_set(err, ERR_CONFIG, "the url '%s' of the remote '%s' names no host that ssh could reach", spec->url, sftp->name);
		return err_hint(err, "write it as ssh://user@host:port/absolute/path");
	}
	sftp->host = mem_strdup(ret->host);
	sftp->root = mem_strdup(at + authority);
	for (size_t len = strlen(sftp->root); len > 0 && sftp->root[len - 1] == '/'; len--)
		sftp->root[len - 1] = '\0';
	if (!*sftp->root) {
		err_set(err, ERR_CONFIG, "the url '%s' of the remote '%s' names no directory", spec->url, sftp->name);
		return err_hint(err, "write it as ssh://user@host:port/absolute/path");
	}
	return 0;
}

static int start(struct sftp *sftp, const struct remote_spec *spec, const struct address *address, struct err *err)
{
	char *connect OWNED = mem_printf("ConnectTimeout=%u", spec->connect_timeout_s ? spec->connect_timeout_s : 15);
	const char *argv[40] = { "ssh", "-x", "-a", "-T", "-oBatchMode=yes", "-oClearAllForwardings=yes", "-oPermitLocalCommand=no",
				 "-oServerAliveInterval=15", "-oServerAliveCountMax=4", "-o", connect };
	size_t n = 11;
	if (address->user) {
		argv[n++] = "-l";
		argv[n++] = address->user;
	}
	if (address->port) {
		argv[n++] = "-p";
		argv[n++] = address->port;
	}
	if (spec->keyfile) {
		argv[n++] = "-oIdentitiesOnly=yes";
		argv[n++] = "-i";
		argv[n++] = spec->keyfile;
	}
	argv[n++] = "-s";
	argv[n++] = "--";
	argv[n++] = address->host;
	argv[n] = "sftp";
	int pair[2], said[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot create a socket");
	sftp->fd = pair[0];
	if (pipe2(said, O_CLOEXEC | O_NONBLOCK) < 0) {
		close(pair[1]);
		return err_set_errno(err, ERR_FAILED, errno, "cannot create a pipe");
	}
	sftp->said_fd = said[0];
	struct proc_spec program = PROC_SPEC_INIT;
	program.argv = argv;
	program.stdin_fd = program.stdout_fd = pair[1];
	program.stderr_fd = said[1];
	int status = proc_spawn(&program, &sftp->proc, err);
	close(pair[1]);
	close(said[1]);
	if (status < 0)
		return err_hint(err, "ssh:// remotes need the ssh program: install openssh-client");
	sftp->source = loop_add_fd(sftp->loop, sftp->fd, EPOLLIN, on_event, sftp);
	sftp->said_source = loop_add_fd(sftp->loop, sftp->said_fd, EPOLLIN, on_said, sftp);
	return 0;
}

static int shake_hands(struct sftp *sftp, struct err *err)
{
	uint64_t until = loop_now_ms() + 1000 * HELLO_WITHIN_S;
	add_u32(&sftp->out, 5);
	buf_addch(&sftp->out, INIT);
	add_u32(&sftp->out, VERSION);
	flush(sftp);
	while (!sftp->ready && !sftp->lost) {
		if (loop_step(sftp->loop, 1000, err) < 0)
			return -1;
		if (loop_now_ms() > until)
			broken(sftp, "it says nothing");
	}
	return sftp->lost ? sftp_say_lost(sftp, err) : 0;
}

int sftp_open(const struct remote_spec *spec, struct loop *loop, struct sftp **ret, struct err *err)
{
	struct address address CLEANUP(address_release) = { NULL, NULL, NULL };
	struct sftp *sftp = mem_alloc(sizeof(*sftp));
	*sftp = (struct sftp){ .loop = loop, .fd = -1, .said_fd = -1, .proc = PROC_INIT, .out = BUF_INIT, .in = BUF_INIT, .said = BUF_INIT,
			       .first_free = NO_CALL };
	sftp->name = mem_strdup(spec->name ? spec->name : spec->url);
	if (take_url(sftp, spec, &address, err) < 0 || start(sftp, spec, &address, err) < 0 || shake_hands(sftp, err) < 0) {
		sftp_close(sftp);
		return -1;
	}
	*ret = sftp;
	return 0;
}

void sftp_close(struct sftp *sftp)
{
	if (!sftp)
		return;
	stop_watching(sftp);
	if (sftp->said_source)
		loop_remove_fd(sftp->loop, sftp->said_source);
	fs_close_fd(&sftp->said_fd);
	proc_release(&sftp->proc);
	vec_release(&sftp->calls);
	buf_release(&sftp->out);
	buf_release(&sftp->in);
	buf_release(&sftp->said);
	err_release(&sftp->why);
	free(sftp->name);
	free(sftp->host);
	free(sftp->root);
	free(sftp);
}
