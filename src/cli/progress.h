/*
 * What a live line says: how fast things move, and the words for it, shorter ones for narrow terminals. For print.c.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "base/buf.h"
#include "cli/cli.h"

/* The last seconds: what was there at the beginning of each. */
#define PACE_SAMPLES 8
struct pace {
	uint64_t started_ms;
	struct pace_sample { uint64_t ms, done, bytes; } samples[PACE_SAMPLES]; /* the oldest first */
	unsigned count;
};

void pace_start(struct pace *pace, uint64_t now_ms);
void pace_note(struct pace *pace, uint64_t done, uint64_t bytes, uint64_t now_ms);

/* From all that is known to a percentage. */
enum progress_form { PROGRESS_FULL, PROGRESS_NO_SLOW, PROGRESS_NO_BYTES, PROGRESS_PERCENT, PROGRESS_LEAST };

/* Appends the line. What is slow stands in every form but the full one by itself for two seconds of four. */
void progress_line(struct buf *out, const struct cli_progress *now, const struct pace *pace, enum progress_form form, uint64_t now_ms);

#endif
