#include "cli/progress.h"

#include "base/text.h"

#include <string.h>

#define SAMPLE_MS 1000
#define RATE_AFTER_MS 500 /* before, a rate says nothing */
#define ETA_AFTER_MS 2000
#define TURN_MS 2000

void pace_start(struct pace *pace, uint64_t now_ms)
{
	*pace = (struct pace){ .started_ms = now_ms };
}

void pace_note(struct pace *pace, uint64_t done, uint64_t bytes, uint64_t now_ms)
{
	struct pace_sample *samples = pace->samples;
	const struct pace_sample *last = pace->count ? &samples[pace->count - 1] : NULL;
	if (last && (done < last->done || bytes < last->bytes)) { /* another round of the same */
		pace_start(pace, now_ms);
		last = NULL;
	}
	if (last && now_ms - last->ms < SAMPLE_MS)
		return;
	if (pace->count == PACE_SAMPLES)
		memmove(samples, samples + 1, --pace->count * sizeof(*samples));
	samples[pace->count++] = (struct pace_sample){ now_ms, done, bytes };
}

/* Time left, in ms; false if there is no telling. */
static bool time_left(const struct cli_progress *now, const struct pace *pace, uint64_t now_ms, uint64_t *ret)
{
	const struct pace_sample *since = &pace->samples[0];
	bool by_bytes = now->total_bytes && now->total_bytes >= now->bytes;
	uint64_t moved = by_bytes ? now->bytes - since->bytes : now->done - since->done;
	uint64_t left = by_bytes ? now->total_bytes - now->bytes : now->total - now->done;
	if (now_ms - pace->started_ms < ETA_AFTER_MS || !left || !moved || (!by_bytes && now->total <= now->done) || now_ms <= since->ms)
		return false;
	*ret = (uint64_t)((double)left / (double)moved * (double)(now_ms - since->ms));
	return true;
}

static void add_eta(struct buf *out, const struct cli_progress *now, const struct pace *pace, uint64_t now_ms, const char *space)
{
	uint64_t ms;
	if (!time_left(now, pace, now_ms, &ms))
		return;
	buf_addf(out, "%sETA ", space);
	if (ms < 60000)
		buf_addf(out, "%us", (unsigned)((ms + 999) / 1000));
	else
		text_add_duration(out, ms);
}

static void add_counts(struct buf *out, const struct cli_progress *now)
{
	text_add_count(out, now->done);
	if (!now->total)
		return;
	buf_addch(out, '/');
	text_add_count(out, now->total);
}

static void add_bytes(struct buf *out, const struct cli_progress *now)
{
	if (!now->bytes)
		return;
	buf_addstr(out, "  ");
	text_add_bytes(out, now->bytes);
	if (!now->total_bytes)
		return;
	buf_addch(out, '/');
	text_add_bytes(out, now->total_bytes);
}

static void add_rate(struct buf *out, const struct cli_progress *now, const struct pace *pace, uint64_t now_ms)
{
	const struct pace_sample *since = &pace->samples[0];
	if (!now->bytes || now_ms - pace->started_ms <= RATE_AFTER_MS || now_ms <= since->ms)
		return;
	buf_addstr(out, "  ");
	text_add_bytes(out, (now->bytes - since->bytes) * 1000 / (now_ms - since->ms));
	buf_addstr(out, "/s");
}

void progress_line(struct buf *out, const struct cli_progress *now, const struct pace *pace, enum progress_form form, uint64_t now_ms)
{
	bool by_bytes = now->total_bytes && now->total_bytes >= now->bytes;
	uint64_t whole = by_bytes ? now->total_bytes : now->total, part = by_bytes ? now->bytes : now->done;
	if (form != PROGRESS_FULL && now->slow && now_ms / TURN_MS % 2) {
		buf_addstr(out, now->slow);
		return;
	}
	if (form >= PROGRESS_PERCENT && whole) {
		buf_addf(out, "%s %u%%", now->verb, (unsigned)((double)part * 100 / (double)whole));
		if (form == PROGRESS_PERCENT)
			add_eta(out, now, pace, now_ms, " ");
		return;
	}
	buf_addf(out, "%s  ", now->verb);
	add_counts(out, now);
	if (form < PROGRESS_NO_BYTES)
		add_bytes(out, now);
	add_rate(out, now, pace, now_ms);
	add_eta(out, now, pace, now_ms, "  ");
	if (form == PROGRESS_FULL && now->slow)
		buf_addf(out, "  %s", now->slow);
}
