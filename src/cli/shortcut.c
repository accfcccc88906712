#include "cli/shortcut.h"

#include "base/path.h"
#include "store/codec.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

static void add_list(struct buf *out, const struct string_list *list)
{
	codec_add_u32(out, (uint32_t)list->len);
	for (size_t i = 0; i < list->len; i++)
		codec_add_str(out, list->at[i]);
}

/* All that the answer is a function of, but files and variables. */
static int put_question(struct buf *out, const char *root, const struct cli *cli, struct err *err)
{
	struct buf self CLEANUP(buf_release) = BUF_INIT;
	struct buf cwd CLEANUP(buf_release) = BUF_INIT;
	struct utsname name = { .sysname = "" };
	if (fs_read_link("/proc/self/exe", &self, err) < 0 || (cli->config_file && path_cwd(&cwd, err) < 0))
		return -1;
	uname(&name);
	codec_add_str(out, MLMAKE_VERSION);
	codec_add_str(out, self.data);
	codec_add_str(out, name.sysname);
	codec_add_str(out, name.machine);
	codec_add_str(out, root);
	codec_add_str(out, cwd.data);
	codec_add_str(out, cli->config_file ? cli->config_file : "");
	return 0;
}

/* The program is one of the files that the answer depends on. */
static void look_at_program(void)
{
	struct buf self CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (fs_read_link("/proc/self/exe", &self, &err) < 0 || !fs_exists(self.data))
		sys.unseen("the program is gone");
}

static void look(struct shortcut *shortcut, const char *root)
{
	uint64_t files;
	if (!snapshot_ask(root, &shortcut->question, &shortcut->answer, &files))
		return;
	struct codec_in in = codec_in(shortcut->answer.data, shortcut->answer.len);
	shortcut->wanted = codec_str(&in);
	shortcut->up_to_date = codec_u64(&in);
	shortcut->found = codec_done(&in);
}

void shortcut_begin(struct shortcut *shortcut, struct cli *cli, const struct shortcut_request *request)
{
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	*shortcut = (struct shortcut){ .cli = cli, .question = BUF_INIT, .answer = BUF_INIT };
	if (project_find_root(NULL, &root, &err) < 0 || put_question(&shortcut->question, root.data, cli, &err) < 0)
		return;
	codec_add_u8(&shortcut->question, request->dry_run);
	add_list(&shortcut->question, request->names);
	add_list(&shortcut->question, request->overrides);
	add_list(&shortcut->question, request->args);
	if (!request->long_way)
		look(shortcut, root.data);
	if (shortcut->found)
		return;
	shortcut->snapshot = snapshot_begin(root.data);
	if (shortcut->snapshot)
		look_at_program();
}

static void end(struct shortcut *shortcut, const struct buf *answer, uint64_t seen)
{
	const char *why_not;
	if (!shortcut->snapshot)
		return;
	snapshot_end(shortcut->snapshot, &shortcut->question, answer, seen, &why_not);
	shortcut->snapshot = NULL;
	if (answer && shortcut->cli->verbose)
		cli_note(shortcut->cli, why_not ? "no snapshot of this answer: %s" : "this answer is kept as a snapshot", why_not);
}

void shortcut_keep(struct shortcut *shortcut, const char *wanted, const struct run_summary *summary)
{
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	if (summary->restored || summary->succeeded || summary->failed || summary->skipped || summary->would_run ||
	    summary->signal_number || summary->warnings)
		return;
	codec_add_str(&answer, wanted);
	codec_add_u64(&answer, summary->up_to_date);
	end(shortcut, &answer, summary->state_seen);
}

void shortcut_release(struct shortcut *shortcut)
{
	end(shortcut, NULL, 0);
	buf_release(&shortcut->question);
	buf_release(&shortcut->answer);
}
