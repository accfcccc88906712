#include "base/jobserver.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define TOKEN '+'
#define TOKENS_MAX 4095u /* what the smallest pipe holds */

struct jobserver {
	bool joined;
	unsigned slots;
	unsigned tokens;     /* of one's own: that are in the pipe when no job runs */
	int taking, giving;  /* ours; taking never blocks, whatever those descriptors do that others share */
	int pipe[2];         /* what children inherit; -1: a fifo was joined */
	char *fifo;          /* its path */
};

static struct jobserver *new_server(void)
{
	struct jobserver *server = mem_alloc(sizeof(*server));
	server->taking = server->giving = server->pipe[0] = server->pipe[1] = -1;
	return server;
}

/* The same pipe by a description of its own, so that O_NONBLOCK is ours alone. */
static int reopen(int fd, int flags)
{
	OWNED char *path = mem_printf("/proc/self/fd/%d", fd);
	return sys.openat(AT_FDCWD, path, flags | O_CLOEXEC, 0);
}

static bool is_pipe(int fd)
{
	struct stat st;
	return fd >= 0 && sys.fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

static void fill(struct jobserver *server)
{
	char tokens[TOKENS_MAX];
	memset(tokens, TOKEN, sizeof(tokens));
	server->tokens = server->slots - 1 < TOKENS_MAX ? server->slots - 1 : TOKENS_MAX;
	if (server->tokens && fs_write_all(server->giving, tokens, server->tokens) < 0)
		server->tokens = 0;
}

int jobserver_new(unsigned slots, struct jobserver **ret, struct err *err)
{
	struct jobserver *server = new_server();
	server->slots = slots;
	if (pipe2(server->pipe, O_CLOEXEC) < 0) {
		int number = errno;
		jobserver_free(server);
		return err_set_errno(err, ERR_FAILED, number, "cannot create a pipe");
	}
	server->giving = server->pipe[1];
	server->taking = reopen(server->pipe[0], O_RDONLY | O_NONBLOCK);
	if (server->taking < 0) {
		int number = errno;
		jobserver_free(server);
		return err_set_errno(err, ERR_FAILED, number, "cannot open a pipe again by /proc/self/fd");
	}
	server->fifo = mem_printf("/proc/%ld/fd/%d", (long)getpid(), server->pipe[0]);
	fill(server);
	*ret = server;
	return 0;
}

/* "3,4" */
static bool parse_pair(const char *text, int ret[2])
{
	uint64_t number;
	OWNED char *copy = mem_strdup(text);
	char *comma = strchr(copy, ',');
	if (!comma)
		return false;
	*comma = '\0';
	const char *halves[] = { copy, comma + 1 };
	for (int i = 0; i < 2; i++) {
		if (!text_parse_u64(halves[i], &number) || number > 1 << 20)
			return false;
		ret[i] = (int)number;
	}
	return true;
}

static const char *join_fifo(struct jobserver *server, const char *path)
{
	server->fifo = mem_strdup(path);
	server->taking = sys.openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
	if (!is_pipe(server->taking))
		return "its fifo cannot be opened";
	server->giving = sys.openat(AT_FDCWD, path, O_WRONLY | O_NONBLOCK | O_CLOEXEC, 0);
	return server->giving < 0 ? "its fifo cannot be written" : NULL;
}

static const char *join_pipe(struct jobserver *server, const char *pair)
{
	int fds[2];
	/* GNU make says -2,-2 to children that are not to use it. */
	if (!parse_pair(pair, fds) || !is_pipe(fds[0]) || !is_pipe(fds[1]))
		return "its descriptors were not passed on; a recipe that begins with '+' gets them";
	server->taking = reopen(fds[0], O_RDONLY | O_NONBLOCK);
	if (server->taking < 0)
		return "its pipe cannot be opened";
	server->pipe[0] = fds[0];
	server->pipe[1] = server->giving = fds[1];
	return NULL;
}

void jobserver_join(const char *makeflags, struct jobserver **ret, const char **ret_why_not)
{
	OWNED char *auth = NULL;
	uint64_t slots = 0;
	*ret = NULL;
	*ret_why_not = NULL;
	for (const char *at = makeflags ? makeflags : ""; *at; at += strspn(at, " ")) {
		size_t len = strcspn(at, " ");
		OWNED char *word = mem_strndup(at, len);
		const char *value = strchr(word, '=');
		at += len;
		if (text_eq(word, "--"))
			break;
		if (text_starts(word, "--jobserver-auth=") || text_starts(word, "--jobserver-fds=")) {
			free(auth);
			auth = mem_strdup(value + 1);
		} else if (text_starts(word, "-j") && (!text_parse_u64(word + 2, &slots) || slots > 1000000)) {
			slots = 0;
		}
	}
	if (!auth)
		return;
	struct jobserver *server = new_server();
	server->joined = true;
	server->slots = (unsigned)slots;
	*ret_why_not = text_starts(auth, "fifo:") ? join_fifo(server, auth + strlen("fifo:")) : join_pipe(server, auth);
	if (*ret_why_not)
		jobserver_free(server);
	else
		*ret = server;
}

void jobserver_free(struct jobserver *server)
{
	if (!server)
		return;
	fs_close_fd(&server->taking);
	/* What was inherited stays as it is. */
	if (server->giving != server->pipe[1])
		fs_close_fd(&server->giving);
	for (int i = 0; i < 2 && !server->joined; i++)
		fs_close_fd(&server->pipe[i]);
	free(server->fifo);
	free(server);
}

bool jobserver_is_joined(const struct jobserver *server)
{
	return server->joined;
}

unsigned jobserver_slots(const struct jobserver *server)
{
	return server->slots;
}

bool jobserver_take(struct jobserver *server, char *ret_token)
{
	ssize_t got;
	while ((got = sys.read(server->taking, ret_token, 1)) < 0 && errno == EINTR)
		;
	return got == 1;
}

void jobserver_give(struct jobserver *server, char token)
{
	/* A server that is gone wants nothing back. */
	if (fs_write_all(server->giving, &token, 1) < 0)
		return;
}

int jobserver_fd(const struct jobserver *server)
{
	return server->taking;
}

void jobserver_mend(struct jobserver *server)
{
	int there;
	char token;
	if (server->joined || ioctl(server->taking, FIONREAD, &there) < 0 || (unsigned)there == server->tokens)
		return;
	while (jobserver_take(server, &token))
		;
	fill(server);
}

static bool by_pipe(const struct jobserver *server, enum jobserver_style style)
{
	return server->joined ? server->pipe[0] >= 0 : style == JOBSERVER_PIPE;
}

void jobserver_add_flags(const struct jobserver *server, enum jobserver_style style, struct buf *out)
{
	if (server->slots)
		buf_addf(out, "-j%u ", server->slots);
	if (by_pipe(server, style))
		buf_addf(out, "--jobserver-auth=%d,%d", server->pipe[0], server->pipe[1]);
	else
		buf_addf(out, "--jobserver-auth=fifo:%s", server->fifo);
}

size_t jobserver_fds(const struct jobserver *server, enum jobserver_style style, int ret[2])
{
	if (!by_pipe(server, style))
		return 0;
	memcpy(ret, server->pipe, sizeof(server->pipe));
	return 2;
}
