#include "cli/watch_run.h"

#include "base/loop.h"
#include "formats/json.h"

#include <errno.h>
#include <signal.h>

#define SETTLE_MS 100
#define SHOWN_MAX 3
#define ROUNDS_MAX 5

static const struct strlist *peek(void *ctx, const struct project **ret_now)
{
	struct watcher *watcher = ctx;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	bool config;
	const struct strlist *paths = watching_peek(watcher->watching, &config);
	*ret_now = NULL;
	if (!config)
		return paths;
	cli_drop_project(&watcher->now);
	/* What is wrong with it is said when its turn comes; it may be half written. */
	if (project_load(&watcher->load, &watcher->now, &ignored) < 0)
		watcher->now = NULL;
	*ret_now = watcher->now;
	return paths;
}

int watcher_begin(struct watcher *watcher, struct cli *cli, const struct project_options *load, struct err *err)
{
	*watcher = (struct watcher){ .cli = cli, .load = *load };
	if (watching_new(&watcher->watching, err) < 0)
		return -1;
	watcher->changes = (struct run_changes){ watching_fd(watcher->watching), peek, watcher };
	return 0;
}

void watcher_release(struct watcher *watcher)
{
	watching_free(watcher->watching);
	strlist_release(&watcher->changed);
	cli_drop_project(&watcher->now);
	plan_release(&watcher->plan);
	cli_drop_project(&watcher->project);
}

void watcher_keep(struct watcher *watcher, struct project **project, struct plan *plan)
{
	plan_release(&watcher->plan);
	cli_drop_project(&watcher->project);
	watcher->project = *project;
	watcher->plan = *plan;
	*project = NULL;
	*plan = (struct plan){ 0 };
}

int watcher_follow(struct watcher *watcher, const struct project *project, const struct plan *plan, struct err *err)
{
	struct buf root CLEANUP(buf_release) = BUF_INIT;
	if (project)
		return watching_follow(watcher->watching, project->root, project, plan, err);
	struct err why CLEANUP(err_release) = ERR_INIT;
	if (project_find_root(NULL, &root, &why) < 0)
		return err_move(err, &why);
	return watching_follow(watcher->watching, root.data, NULL, NULL, err);
}

static void put_event(struct cli *cli, const char *name, const struct strlist *paths)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &out, JSON_COMPACT);
	json_open_object(&w);
	json_pair_int(&w, "version", 1);
	json_pair_str(&w, "event", name);
	if (paths) {
		json_key(&w, "paths");
		json_open_array(&w);
		for (size_t i = 0; i < paths->len; i++)
			json_put_str(&w, paths->at[i]);
		json_close(&w);
	}
	json_end(&w);
	buf_addch(&out, '\n');
	cli_out_bytes(cli, out.data, out.len);
	cli_flush(cli);
}

static void say_changed(void *ctx)
{
	struct watcher *watcher = ctx;
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	const struct strlist *paths = &watcher->changed;
	watcher->said = true;
	if (watcher->cli->json) {
		put_event(watcher->cli, "changed", paths);
		return;
	}
	for (size_t i = 0; i < paths->len && i < SHOWN_MAX; i++)
		buf_addf(&line, "%s%s", i ? ", " : "", paths->at[i]);
	if (paths->len > SHOWN_MAX)
		buf_addf(&line, " and %zu more", paths->len - SHOWN_MAX);
	cli_note(watcher->cli, "\nchanged: %s", paths->len ? line.data : "more than the kernel could tell");
}

void watcher_show(struct watcher *watcher, struct show *show)
{
	watcher->said = !watcher->again;
	watcher->ran = false;
	if (!watcher->again)
		return;
	show->before = say_changed;
	show->before_ctx = watcher;
}

void watcher_ended(struct watcher *watcher, const struct show *show, const struct run_summary *summary)
{
	watcher->said = !show->before;
	watcher->ran = summary->succeeded || summary->failed;
	watcher->signal_number = summary->signal_number;
}

/* Waiting. */

struct wait {
	struct watcher *watcher;
	struct loop *loop;
	struct loop_timer *timer;
	bool settled;
};

static void on_settled(void *ctx)
{
	struct wait *wait = ctx;
	wait->timer = NULL;
	wait->settled = true;
}

static void settle(struct wait *wait)
{
	if (wait->timer)
		loop_remove_timer(wait->loop, wait->timer);
	wait->timer = loop_add_timer(wait->loop, SETTLE_MS, on_settled, wait);
}

static void on_change(void *ctx, int fd, uint32_t events)
{
	struct wait *wait = ctx;
	(void)fd;
	(void)events;
	if (watching_pending(wait->watcher->watching))
		settle(wait);
}

static void on_signal(void *ctx, int signal_number)
{
	struct wait *wait = ctx;
	if (signal_number != SIGWINCH && signal_number != SIGCHLD)
		wait->watcher->signal_number = signal_number;
}

static void free_loop(struct loop **loop)
{
	if (*loop)
		loop_free(*loop);
}

static int wait_for_change(struct watcher *watcher, struct err *err)
{
	struct loop *loop CLEANUP(free_loop) = NULL;
	if (loop_new(&loop, err) < 0)
		return -1;
	struct wait wait = { .watcher = watcher, .loop = loop };
	if (loop_catch_signals(loop, on_signal, &wait, err) < 0)
		return -1;
	struct loop_source *source = loop_add_fd(loop, watching_fd(watcher->watching), EPOLLIN, on_change, &wait);
	if (watching_pending(watcher->watching))
		settle(&wait);
	int failed = 0;
	while (!failed && !wait.settled && !watcher->signal_number)
		failed = loop_step(loop, -1, err);
	loop_remove_fd(loop, source);
	return failed;
}

static void say_waiting(struct watcher *watcher)
{
	if (watcher->cli->json)
		put_event(watcher->cli, "watching", NULL);
	else if (watcher->said)
		cli_note(watcher->cli, "watching for changes; Ctrl-C ends");
	cli_progress_clear(watcher->cli);
}

/* A target that writes what it reads would run for ever. */
static void stop_circle(struct watcher *watcher, unsigned *rounds)
{
	struct strlist own CLEANUP(strlist_release) = { 0 };
	bool config;
	*rounds = watcher->ran && watching_pending(watcher->watching) ? *rounds + 1 : 0;
	if (*rounds < ROUNDS_MAX)
		return;
	watching_take(watcher->watching, &own, &config);
	cli_warn(watcher->cli, "'%s' changes each time that targets run; waiting for another change", own.len ? own.at[0] : "something");
	*rounds = 0;
}

/* A signal that comes between two loops waits for the next one. */
static void hold_signals(sigset_t *ret_before)
{
	static const int held[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(held); i++)
		sigaddset(&set, held[i]);
	pthread_sigmask(SIG_BLOCK, &set, ret_before);
}

static int watch_on(struct watcher *watcher, int (*once)(void *ctx, struct err *err), void *ctx, struct err *err)
{
	unsigned rounds = 0;
	for (;; watcher->again = true) {
		bool config;
		int code = once(ctx, err);
		if (code < 0 && !watcher->again)
			return -1;
		if (code < 0) {
			say_changed(watcher);
			cli_print_err(watcher->cli, err);
			err_release(err);
		}
		if (watcher->signal_number)
			return 128 + watcher->signal_number;
		if (ferror(stdout))
			return ERR_FAILED;
		stop_circle(watcher, &rounds);
		if (!watching_pending(watcher->watching))
			say_waiting(watcher);
		if (wait_for_change(watcher, err) < 0)
			return -1;
		if (watcher->signal_number)
			return 128 + watcher->signal_number;
		strlist_release(&watcher->changed);
		watching_take(watcher->watching, &watcher->changed, &config);
	}
}

int watcher_loop(struct watcher *watcher, int (*once)(void *ctx, struct err *err), void *ctx, struct err *err)
{
	sigset_t before;
	hold_signals(&before);
	int code = watch_on(watcher, once, ctx, err);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return code;
}
