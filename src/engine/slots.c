/* What runs below targets shares the slots of this run: GNU make's jobserver in their environment. */
#include "engine/run.h"

#include "base/path.h"
#include "base/pool.h"
#include "base/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAKE_MAX ((size_t)32 << 20) /* of a program called make */
#define LOAD_RECHECK_MS 500
#define RETRY_MS 20
#define DESCRIPTORS_EACH 8  /* for a target that runs */
#define DESCRIPTORS_KEPT 64 /* for all else */

/* Each takes two pipes, a process, a lock and a log; a few more pass by while it starts. */
static unsigned bounded(struct run *run, unsigned slots)
{
	size_t limit = proc_descriptors(), most = limit > 2 * DESCRIPTORS_KEPT ? (limit - DESCRIPTORS_KEPT) / DESCRIPTORS_EACH : 1;
	if (slots <= most)
		return slots;
	if (!run->options->dry_run)
		run_warn(run, NULL, "%zu targets at a time, not %u: no more than %zu files may be open (ulimit -Hn)", most, slots, limit);
	return (unsigned)most;
}

void slots_open(struct run *run)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	const struct run_options *options = run->options;
	struct jobserver *server = options->jobserver;
	unsigned slots = options->jobs ? options->jobs : server ? jobserver_slots(server) : 0;
	bool by_default = !slots;
	/* One more than processors: while what a command made is looked at and recorded, another one can use its processor. */
	if (by_default)
		slots = pool_processors() + 1;
	slots = bounded(run, slots);
	/* Without one, targets are limited as ever; only what runs below them does not know. */
	if (!server && !options->dry_run) {
		if (jobserver_new(slots, &run->own_server, &err) < 0)
			run_warn(run, NULL, "no jobserver for what targets start: %s", err.message);
		server = run->own_server;
	}
	resources_init(&run->resources, run->project, slots, options->dry_run ? NULL : server);
	/* That one is nobody's who asks for a number of processors, unless one is all there is. */
	if (by_default && pool_processors() > 1)
		run->resources.machine = pool_processors();
}

void slots_close(struct run *run)
{
	if (run->token_source)
		loop_remove_fd(run->loop, run->token_source);
	if (run->retry_timer)
		loop_remove_timer(run->loop, run->retry_timer);
	resources_release(&run->resources);
	jobserver_free(run->own_server);
}

/* The loop looks at the ready queue again after each step: waking it is all. */
static void on_token(void *ctx, int fd, uint32_t events)
{
	struct run *run = ctx;
	(void)fd;
	(void)events;
	loop_remove_fd(run->loop, run->token_source);
	run->token_source = NULL;
}

static void on_retry(void *ctx)
{
	struct run *run = ctx;
	run->retry_timer = NULL;
}

static void retry_after(struct run *run, uint64_t ms)
{
	if (!run->retry_timer)
		run->retry_timer = loop_add_timer(run->loop, ms, on_retry, run);
}

void slots_wait(struct run *run)
{
	struct resources *res = &run->resources;
	if (!res->starved)
		return;
	/* Where there are some, but too few, the pipe is readable all the time. */
	if (res->nearly)
		retry_after(run, RETRY_MS);
	else if (!run->token_source)
		run->token_source = loop_add_fd(run->loop, jobserver_fd(res->server), EPOLLIN, on_token, run);
}

/* The load average lags behind by a minute: what was started within the last second or two counts in full. */
bool slots_load_is_high(struct run *run)
{
	double load;
	uint64_t second = loop_now_ms() / 1000;
	if (run->options->max_load <= 0 || !run->jobs.len || getloadavg(&load, 1) != 1)
		return false;
	if (second > run->load_second + 1)
		run->started_before = run->started_now = 0;
	else if (second == run->load_second + 1)
		run->started_before = run->started_now, run->started_now = 0;
	run->load_second = second;
	if (load + run->started_before + run->started_now < run->options->max_load)
		return false;
	retry_after(run, LOAD_RECHECK_MS);
	return true;
}

static bool names_word(const char *text, const char *word)
{
	size_t len = strlen(word);
	for (const char *at = text; (at = strstr(at, word)); at += len)
		if ((at == text || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[len]))
			return true;
	return false;
}

static bool runs(const struct target *target, const char *program)
{
	for (size_t i = 0; i < target->run.len; i++)
		if (names_word(target->run.at[i], program))
			return true;
	return false;
}

/* Whether the make that this PATH leads to, if any, knows fifos: it came with the option --jobserver-style. */
static bool make_knows_fifos(struct run *run, const char *path)
{
	struct buf program CLEANUP(buf_release) = BUF_INIT, bytes CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	OWNED char *key = mem_printf("%s\n(fifo)", path);
	struct map_entry *entry = map_entry(&run->programs, key);
	if (!entry->value) {
		bool knows = !proc_find("make", path, &program) ||
			     (fs_read_file(program.data, MAKE_MAX, &bytes, &ignored) == 0 &&
			      memmem(bytes.data, bytes.len, "jobserver-style", strlen("jobserver-style")));
		entry->value = mem_strdup(knows ? "yes" : "no");
	}
	return text_eq(entry->value, "yes");
}

/* Descriptors get lost where a program between mlmake and make closes them, a fifo's path does not; but GNU make before 4.4 stops at one. */
static enum jobserver_style style_for(const struct job *job)
{
	const struct target *target = job->node->target;
	const char *wish = sys.getenv("MLMAKE_JOBSERVER");
	if (text_eq(wish, "fifo") || text_eq(wish, "pipe"))
		return text_eq(wish, "fifo") ? JOBSERVER_FIFO : JOBSERVER_PIPE;
	if ((runs(target, "ninja") || runs(target, "meson")) && !runs(target, "make"))
		return JOBSERVER_FIFO;
	const char *path = environment_get(&job->env, "PATH");
	return make_knows_fifos(job->run, path ? path : "") ? JOBSERVER_FIFO : JOBSERVER_PIPE;
}

void slots_offer(struct job *job)
{
	struct run *run = job->run;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf flags CLEANUP(buf_release) = BUF_INIT;
	const struct target_settings *settings = job->node->target->settings;
	const struct env_list *const declared[] = { &settings->env, &settings->pass_env, &settings->secrets };
	for (size_t i = 0; i < ARRAY_LEN(declared); i++)
		for (size_t k = 0; k < declared[i]->len; k++)
			if (text_eq(declared[i]->at[k].name, "MAKEFLAGS"))
				return;
	if (!run->resources.server || text_eq(sys.getenv("MLMAKE_JOBSERVER"), "off"))
		return;
	job->server = run->resources.server;
	/* The processors that it asked for are its own. */
	if (job->claim.cpus > 1 && jobserver_new(job->claim.cpus, &job->own_server, &ignored) == 0)
		job->server = job->own_server;
	job->style = style_for(job);
	if (run->options->max_load > 0)
		buf_addf(&flags, "-l%g ", run->options->max_load);
	jobserver_add_flags(job->server, job->style, &flags);
	environment_set(&job->env, "MAKEFLAGS", flags.data);
}

size_t slots_fds(const struct job *job, int ret[2])
{
	return job->server ? jobserver_fds(job->server, job->style, ret) : 0;
}
