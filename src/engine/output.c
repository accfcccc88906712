/* What the commands of a job print: read, cut into lines, masked, told, kept. */
#include "engine/run.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)64 << 10)

static void close_stream(struct stream *stream)
{
	if (stream->source)
		loop_remove_fd(stream->job->run->loop, stream->source);
	stream->source = NULL;
	fs_close_fd(&stream->fd);
	fs_close_fd(&stream->write_fd);
}

static void write_to_log(struct job *job, const char *bytes, size_t len)
{
	if (job->log_fd < 0) {
		struct buf path CLEANUP(buf_release) = BUF_INIT;
		struct err ignored CLEANUP(err_release) = ERR_INIT;
		engine_log_path(job->run->project, job->node->target, &path);
		if (fs_mkdirs_for(path.data, &ignored) < 0)
			return;
		job->log_fd = sys.openat(AT_FDCWD, path.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	}
	/* A log that cannot be written is no reason to fail what it is about. */
	if (job->log_fd >= 0 && fs_write_all(job->log_fd, bytes, len) < 0)
		fs_close_fd(&job->log_fd);
	if (job->log.len + len <= OUTPUTS_LOG_MAX)
		buf_add(&job->log, bytes, len);
}

static void emit_output(struct stream *stream, const char *bytes, size_t len)
{
	struct job *job = stream->job;
	struct buf masked CLEANUP(buf_release) = BUF_INIT;
	if (job->env.masks.len) {
		environment_add_masked(&job->env, &masked, bytes, len);
		bytes = masked.data;
		len = masked.len;
	}
	write_to_log(job, bytes, len);
	struct run_event event = { .kind = RUN_OUTPUT, .target = job->node->target, .is_stderr = stream->is_stderr, .bytes = bytes, .len = len };
	run_emit(job->run, &event);
}

/* Gives out whole lines; the rest waits for more, unless it is longer than any line should be. */
static void take_output(struct stream *stream, const char *bytes, size_t len)
{
	const char *newline = memrchr(bytes, '\n', len);
	size_t whole = newline ? (size_t)(newline - bytes) + 1 : 0;
	if (whole) {
		buf_add(&stream->line, bytes, whole);
		emit_output(stream, stream->line.data, stream->line.len);
		buf_reset(&stream->line);
	}
	buf_add(&stream->line, bytes + whole, len - whole);
	if (stream->line.len >= LINE_MAX_BYTES) {
		buf_addch(&stream->line, '\n');
		emit_output(stream, stream->line.data, stream->line.len);
		buf_reset(&stream->line);
	}
}

static bool read_stream(struct stream *stream)
{
	char chunk[16384];
	ssize_t got = sys.read(stream->fd, chunk, sizeof(chunk));
	if (got < 0 && errno == EINTR)
		return true;
	if (got > 0)
		take_output(stream, chunk, (size_t)got);
	else if (got == 0 || errno != EAGAIN)
		close_stream(stream);
	return got > 0;
}

static void on_output(void *ctx, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	read_stream(ctx);
}

/* All that a command has written before it ended; a last line without an end gets one, so that no other's is put behind it. */
void output_drain(struct job *job)
{
	struct pollfd polled[2] = { { .fd = job->streams[0].fd, .events = POLLIN }, { .fd = job->streams[1].fd, .events = POLLIN } };
	int readable = poll(polled, 2, 0);
	for (int i = 0; i < 2; i++) {
		struct stream *stream = &job->streams[i];
		/* There is always a writer: here. */
		if (stream->fd >= 0 && (readable < 0 || polled[i].revents)) {
			fcntl(stream->fd, F_SETFL, O_NONBLOCK);
			while (stream->fd >= 0 && read_stream(stream))
				;
		}
		if (stream->line.len) {
			buf_addch(&stream->line, '\n');
			emit_output(stream, stream->line.data, stream->line.len);
			buf_reset(&stream->line);
		}
		close_stream(stream);
	}
}

/* The write end is kept here too: the end of a command is told by its process, and that of its output need not wake anybody. */
static int open_stream(struct stream *stream, struct err *err)
{
	int pair[2];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_set_errno(err, ERR_FAILED, errno, "cannot create a pipe");
	stream->fd = pair[0];
	stream->write_fd = pair[1];
	stream->source = loop_add_fd(stream->job->run->loop, pair[0], EPOLLIN, on_output, stream);
	return 0;
}

int output_open(struct job *job, struct err *err)
{
	for (int i = 0; i < 2; i++)
		if (open_stream(&job->streams[i], err) < 0)
			return -1;
	return 0;
}

void output_release(struct job *job)
{
	for (int i = 0; i < 2; i++) {
		close_stream(&job->streams[i]);
		buf_release(&job->streams[i].line);
	}
	fs_close_fd(&job->log_fd);
	buf_release(&job->log);
}

void output_init(struct job *job)
{
	job->log_fd = -1;
	buf_init(&job->log);
	for (int i = 0; i < 2; i++) {
		job->streams[i] = (struct stream){ .fd = -1, .write_fd = -1, .is_stderr = i == 1, .job = job };
		buf_init(&job->streams[i].line);
	}
}
