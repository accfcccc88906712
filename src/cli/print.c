/* All that mlmake prints: results on stdout, the rest on stderr. */
#include "cli/cli.h"
#include "cli/progress.h"

#include "base/fs.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/text.h"
#include "graph/graph.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PROGRESS_EVERY_MS 100

/* The live line is a property of the terminal, of which there is one. */
struct live {
	bool shown;
	uint64_t drawn_ms;
	char verb[32];
	struct pace pace;
};

static struct live *live_line(void)
{
	static struct live live;
	return &live;
}

void cli_progress_clear(struct cli *cli)
{
	struct live *live = live_line();
	if (live->shown && cli->terminal) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
	}
	live->shown = false;
}

/* How many bytes of text take less than the terminal's width, which may have changed. What is not ASCII may be two columns wide. */
static int fitting(struct cli *cli, const char *text)
{
	struct winsize size;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		cli->width = size.ws_col;
	unsigned columns = 0;
	size_t len = 0;
	while (text[len]) {
		size_t next = len + 1;
		while (((unsigned char)text[next] & 0xc0) == 0x80)
			next++;
		columns += (unsigned char)text[len] < 0x80 ? 1 : 2;
		if (columns >= cli->width)
			break;
		len = next;
	}
	return (int)len;
}

void cli_progress_of(struct cli *cli, const struct cli_progress *now)
{
	struct live *live = live_line();
	uint64_t now_ms = loop_now_ms();
	if (!cli->terminal || cli->quiet)
		return;
	if (strncmp(live->verb, now->verb, sizeof(live->verb) - 1) != 0) {
		snprintf(live->verb, sizeof(live->verb), "%s", now->verb);
		pace_start(&live->pace, now_ms);
		live->drawn_ms = 0;
	}
	pace_note(&live->pace, now->done, now->bytes, now_ms);
	if (now_ms - live->drawn_ms < PROGRESS_EVERY_MS && now->done != now->total)
		return;
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	for (enum progress_form form = PROGRESS_FULL; form <= PROGRESS_LEAST; form++) {
		buf_reset(&line);
		progress_line(&line, now, &live->pace, form, now_ms);
		if (fitting(cli, line.data) == (int)line.len)
			break;
	}
	fprintf(stderr, "\r%.*s\033[K", fitting(cli, line.data), line.data);
	fflush(stderr);
	live->shown = true;
	live->drawn_ms = now_ms;
}

void cli_progress(struct cli *cli, const char *verb, uint64_t done, uint64_t total, uint64_t bytes)
{
	cli_progress_of(cli, &(struct cli_progress){ .verb = verb, .done = done, .total = total, .bytes = bytes });
}

void cli_status(struct cli *cli, const char *text)
{
	struct live *live = live_line();
	uint64_t now = loop_now_ms();
	if (!cli->terminal || cli->quiet || (live->shown && now - live->drawn_ms < PROGRESS_EVERY_MS))
		return;
	fprintf(stderr, "\r%.*s\033[K", fitting(cli, text), text);
	fflush(stderr);
	live->shown = true;
	live->drawn_ms = now;
}

static void note_failure(struct cli *cli, bool failed)
{
	if (failed && !cli->out_errno)
		cli->out_errno = errno;
}

void cli_flush(struct cli *cli)
{
	note_failure(cli, fflush(stdout) != 0);
}

void cli_out_bytes(struct cli *cli, const char *bytes, size_t len)
{
	cli_progress_clear(cli);
	note_failure(cli, fwrite(bytes, 1, len, stdout) < len);
}

void cli_out(struct cli *cli, const char *fmt, ...)
{
	va_list args;
	cli_progress_clear(cli);
	va_start(args, fmt);
	note_failure(cli, vfprintf(stdout, fmt, args) < 0);
	va_end(args);
}

static void say(struct cli *cli, const char *color, const char *label, const char *fmt, va_list args)
{
	cli_progress_clear(cli);
	cli_flush(cli);
	OWNED char *text = mem_vprintf(fmt, args);
	/* One call, one write: lines of several processes stay whole. */
	if (label)
		fprintf(stderr, "%s%s:%s %s\n", cli->color ? color : "", label, cli->color ? "\033[0m" : "", text);
	else
		fprintf(stderr, "%s\n", text);
}

void cli_note(struct cli *cli, const char *fmt, ...)
{
	va_list args;
	if (cli->quiet)
		return;
	va_start(args, fmt);
	say(cli, "", NULL, fmt, args);
	va_end(args);
}

void cli_warn(struct cli *cli, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	say(cli, "\033[33m", "warning", fmt, args);
	va_end(args);
}

/* The source line, and a mark under what is meant. Tabs are kept in the mark's indentation so that it lines up. */
static void print_source_line(const struct cli *cli, const struct span *span)
{
	fprintf(stderr, "%5u | %s\n      | ", span->line, span->text);
	const char *at = span->text;
	for (unsigned col = 1; col < span->col && *at; col++) {
		fputc(*at == '\t' ? '\t' : ' ', stderr);
		do
			at++;
		while (((unsigned char)*at & 0xc0) == 0x80);
	}
	fputs(cli->color ? "\033[32m^" : "^", stderr);
	for (unsigned i = 1; i < span->len && i < 200; i++)
		fputc('~', stderr);
	fputs(cli->color ? "\033[0m\n" : "\n", stderr);
}

/* Positions are in files relative to the project's root; they are shown relative to where one stands, for editors that jump there. */
static void add_shown_file(struct buf *out, const char *file)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf root CLEANUP(buf_release) = BUF_INIT, cwd CLEANUP(buf_release) = BUF_INIT, full CLEANUP(buf_release) = BUF_INIT;
	if (file[0] != '/' && !fs_exists(file) && path_cwd(&cwd, &ignored) == 0 && project_find_root(NULL, &root, &ignored) == 0) {
		path_join(&full, root.data, file);
		if (fs_exists(full.data)) {
			path_relative(out, cwd.data, full.data);
			return;
		}
	}
	buf_addstr(out, file);
}

void cli_print_err(struct cli *cli, const struct err *err)
{
	const char *red = cli->color ? "\033[31m" : "", *plain = cli->color ? "\033[0m" : "";
	cli_progress_clear(cli);
	cli_flush(cli);
	struct buf file CLEANUP(buf_release) = BUF_INIT;
	if (err->span.file && err->span.line)
		add_shown_file(&file, err->span.file);
	if (file.len)
		fprintf(stderr, "%s:%u:%u: %serror:%s %s\n", file.data, err->span.line, err->span.col, red, plain,
			err->message ? err->message : "unknown");
	else
		fprintf(stderr, "mlmake: %serror:%s %s\n", red, plain, err->message ? err->message : "unknown");
	if (err->span.text && err->span.line)
		print_source_line(cli, &err->span);
	for (size_t i = 0; i < err->note_count; i++)
		fprintf(stderr, "note: %s\n", err->notes[i]);
	if (err->hint)
		fprintf(stderr, "hint: %s\n", err->hint);
}
