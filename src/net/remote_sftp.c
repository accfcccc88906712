/*
 * A directory of another machine as a remote, through ssh (net/sftp.h). One connection, many objects side by side, several reads or writes of each
 * under way.
 *
 * Uploads are hashed while they are read, written to a name of their own in .mlmake-tmp, synced where the server can, their size compared, and renamed
 * into place. A connection that breaks is opened again, and what was under way begins anew.
 */
#include "base/mem.h"
#include "net/remote_sftp_impl.h"
#include "net/sftp_list.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TELL_MS 100
#define TEMP_DIR SFTP_TEMP_DIR
#define FILES 32       /* moved side by side, unless jobs says otherwise */
#define ASKED 256      /* questions under way */
#define CONNECTIONS 3  /* one after the other, in one call */
#define PAUSE_MS 500
#define SILENCE_S 120

static int connect_to(struct remote_sftp *remote, struct err *err)
{
	if (remote->sftp && !sftp_is_lost(remote->sftp))
		return 0;
	sftp_close(remote->sftp);
	remote->sftp = NULL;
	return sftp_open(&remote->spec, remote->loop, &remote->sftp, err);
}

static struct remote_item *next_item(struct sftp_run *run)
{
	while (run->next < run->count)
		if (run->items[run->next++].ret_state == REMOTE_PENDING)
			return &run->items[run->next - 1];
	return NULL;
}

static void fill(struct sftp_run *run)
{
	struct remote_item *item;
	for (size_t i = 0; i < run->slot_count; i++) {
		struct sftp_slot *slot = &run->slots[i];
		if (slot->item && run->remote->rate.limit)
			sftp_slot_go_on(slot);
		while (!slot->item && (item = next_item(run)) != NULL) {
			slot->item = item;
			run->begin(slot);
		}
	}
}

/* Until all are settled or the connection is lost. */
static int step_run(struct sftp_run *run, struct err *err)
{
	uint64_t told = loop_now_ms();
	fill(run);
	while (run->settled < run->count && !sftp_is_lost(run->remote->sftp)) {
		if (loop_step(run->remote->loop, run->remote->rate.limit ? HTTP_RATE_TICK_MS : TELL_MS, err) < 0)
			return -1;
		if (!sftp_is_lost(run->remote->sftp))
			fill(run);
		sftp_check_silence(run->remote->sftp, run->remote->spec.read_timeout_s ? run->remote->spec.read_timeout_s : SILENCE_S);
		if (loop_now_ms() - told < TELL_MS)
			continue;
		told = loop_now_ms();
		if (remote_tell(run->sink, run->settled, run->bytes, err) < 0)
			return -1;
	}
	return 0;
}

static void pause_before_again(struct remote_sftp *remote, unsigned tries)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	uint64_t until = loop_now_ms() + PAUSE_MS * tries;
	while (loop_now_ms() < until)
		if (loop_step(remote->loop, (int)(until - loop_now_ms()) + 1, &ignored) < 0)
			return;
}

static int run_connections(struct sftp_run *run, struct err *err)
{
	for (unsigned tries = 1;; tries++) {
		int status = connect_to(run->remote, err);
		if (status == 0 && step_run(run, err) < 0)
			return -1;
		if (status == 0 && run->settled == run->count)
			return remote_tell(run->sink, run->settled, run->bytes, err);
		if (tries == CONNECTIONS || (status < 0 && tries == 1))
			return status < 0 ? -1 : sftp_say_lost(run->remote->sftp, err);
		err_release(err);
		for (size_t i = 0; i < run->slot_count; i++) /* those that waited for the rate alone have heard nothing */
			if (run->slots[i].item)
				sftp_slot_begin_anew(&run->slots[i]);
		pause_before_again(run->remote, tries);
		run->next = 0;
	}
}

static int run_items(struct remote_sftp *remote, struct remote_item *items, size_t count, size_t slots, sftp_begin_fn *begin,
		     const struct remote_sink *sink, struct err *err)
{
	struct sftp_run run = { .remote = remote, .items = items, .count = count, .begin = begin, .sink = sink };
	run.slot_count = slots < count ? slots : count;
	run.slots = mem_alloc((run.slot_count + 1) * sizeof(*run.slots));
	for (size_t i = 0; i < run.slot_count; i++)
		run.slots[i] = (struct sftp_slot){ .run = &run, .fd = -1, .handle = BUF_INIT };
	int status = run_connections(&run, err);
	if (status < 0) { /* answers to what is under way must not find the slots */
		sftp_close(remote->sftp);
		remote->sftp = NULL;
	}
	for (size_t i = 0; i < run.slot_count; i++)
		sftp_slot_clear(&run.slots[i], false);
	free(run.slots);
	return status;
}

static size_t files(const struct remote_sftp *remote)
{
	return remote->spec.jobs ? remote->spec.jobs : FILES;
}

static int check_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	return run_items((struct remote_sftp *)remote, items, count, ASKED, sftp_begin_check, sink, err);
}

static int get_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	return run_items((struct remote_sftp *)remote, items, count, files((struct remote_sftp *)remote), sftp_begin_get, sink, err);
}

static int remove_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	return run_items((struct remote_sftp *)remote, items, count, ASKED, sftp_begin_remove, sink, err);
}

/* The root, and what is above it, if it is not there. */
static int make_root(struct sftp *sftp, struct err *err)
{
	struct sftp_reply reply = { .len = 0 }, ignored;
	const char *root = sftp_root(sftp);
	if (sftp_wait_path(sftp, SFTP_STAT, *root ? root : "/", &reply, NULL, err) < 0)
		return -1;
	for (const char *at = root; reply.is_status && *at;) {
		at += 1 + strcspn(at + 1, "/");
		char *above OWNED = mem_strndup(root, (size_t)(at - root));
		if (sftp_wait_path(sftp, SFTP_MKDIR, above, &ignored, NULL, err) < 0)
			return -1;
	}
	return 0; /* what is wrong shows when something is put there */
}

/* The root and the directories that the items are in. */
static int make_directories(struct remote_sftp *remote, const struct remote_item *items, size_t count, struct err *err)
{
	struct strlist names CLEANUP(strlist_release) = { 0 };
	int status = connect_to(remote, err);
	for (unsigned tries = 1; status == 0 && make_root(remote->sftp, err) < 0; tries++) {
		if (!sftp_is_lost(remote->sftp) || tries == CONNECTIONS)
			return -1;
		err_release(err);
		pause_before_again(remote, tries);
		status = connect_to(remote, err);
	}
	remote_parents(items, count, TEMP_DIR, &names);
	struct remote_item *made OWNED = mem_alloc(names.len * sizeof(*made));
	for (size_t i = 0; i < names.len; i++)
		made[i] = (struct remote_item){ .key = names.at[i] };
	for (size_t at = 0, n; at < names.len && status == 0; at += n) {
		n = remote_same_depth(&names, at);
		status = run_items(remote, made + at, n, ASKED, sftp_begin_make, NULL, err);
	}
	for (size_t i = 0; i < names.len; i++)
		err_release(&made[i].ret_err);
	return status;
}

static int put_items(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err)
{
	struct remote_sftp *sftp = (struct remote_sftp *)remote;
	free(sftp->temp);
	sftp->temp = remote_temp_names(TEMP_DIR);
	if (make_directories(sftp, items, count, err) < 0)
		return -1;
	if (run_items(sftp, items, count, files(sftp), sftp_begin_put, sink, err) < 0)
		return -1;
	if (!sftp->swept && sftp->clock_s) {
		sftp->swept = true;
		remote_drop_stale(remote, TEMP_DIR, sftp->clock_s);
	}
	return 0;
}

/* Now, by the other machine's clock, as it dates what is made there: a directory. 0 where nothing can be made, or ever was. */
static int64_t clock_there(struct sftp *sftp)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct sftp_reply reply = { .len = 0 }, removed;
	char *names OWNED = remote_temp_names(TEMP_DIR);
	char *path OWNED = mem_printf("%s/%snow", sftp_root(sftp), names);
	if (sftp_wait_path(sftp, SFTP_MKDIR, path, &reply, NULL, &ignored) < 0 || reply.status != SFTP_OK ||
	    sftp_wait_path(sftp, SFTP_STAT, path, &reply, NULL, &ignored) < 0 || sftp_wait_path(sftp, SFTP_RMDIR, path, &removed, NULL, &ignored) < 0)
		return 0;
	return reply.has_attributes ? reply.modified_s : 0;
}

static size_t sweep(struct remote *remote)
{
	struct remote_sftp *sftp = (struct remote_sftp *)remote;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	return connect_to(sftp, &ignored) < 0 ? 0 : remote_drop_stale(remote, TEMP_DIR, clock_there(sftp->sftp));
}

static int list_items(struct remote *remote, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err)
{
	struct remote_sftp *sftp = (struct remote_sftp *)remote;
	return connect_to(sftp, err) < 0 ? -1 : sftp_list(sftp->sftp, prefix, visit, ctx, err);
}

static void close_remote(struct remote *remote)
{
	struct remote_sftp *sftp = (struct remote_sftp *)remote;
	const char *owned[] = { sftp->spec.name, sftp->spec.url, sftp->spec.user, sftp->spec.keyfile };
	sftp_close(sftp->sftp);
	loop_free(sftp->loop);
	for (size_t i = 0; i < ARRAY_LEN(owned); i++)
		free((char *)(uintptr_t)owned[i]);
	free(sftp->temp);
	free(sftp);
}

int remote_sftp_open(const struct remote_spec *spec, struct remote **ret, struct err *err)
{
	static const struct remote_class class = {
		.check = check_items, .put = put_items, .get = get_items, .remove = remove_items, .list = list_items, .sweep = sweep,
		.close = close_remote,
	};
	if (spec->password) {
		err_set(err, ERR_CONFIG, "the remote '%s' has a password, which ssh takes from nobody but you", spec->name ? spec->name : spec->url);
		return err_hint(err, "use a key: ssh-keygen, ssh-copy-id, and ssh-add or the remote's keyfile; then remove password");
	}
	struct remote_sftp *sftp = mem_alloc(sizeof(*sftp));
	sftp->remote.class = &class;
	if (loop_new(&sftp->loop, err) < 0) {
		free(sftp);
		return -1;
	}
	sftp->spec = (struct remote_spec){ .name = mem_strdup(spec->name), .url = mem_strdup(spec->url), .user = mem_strdup(spec->user),
					   .keyfile = mem_strdup(spec->keyfile), .port = spec->port, .jobs = spec->jobs,
					   .connect_timeout_s = spec->connect_timeout_s, .read_timeout_s = spec->read_timeout_s };
	http_rate_start(&sftp->rate, spec->limit_rate, loop_now_ms());
	*ret = &sftp->remote;
	return 0;
}
