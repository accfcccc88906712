/*
 * A regular file being read for its digest, stamped before and after.
 */
#ifndef FORMATS_DIGEST_INPUT_H
#define FORMATS_DIGEST_INPUT_H

#include "base/err.h"
#include "base/fs.h"

struct digest_input {
	int fd; /* -1: not open */
	const char *path;
	struct fs_stamp before;
	uint64_t total; /* bytes read so far */
	struct meter *meter; /* set by the caller after open; NULL: nobody watches */
};
#define DIGEST_INPUT_INIT { .fd = -1 }

/* path must outlive the input. Anything but a regular file is an error: a FIFO would wait for ever. */
int digest_input_open(struct digest_input *input, const char *path, struct err *err) MUST_CHECK;

/* Fills up to len bytes; *ret_got < len only at the end of the file. */
int digest_input_read(struct digest_input *input, void *to, size_t len, size_t *ret_got, struct err *err) MUST_CHECK;

/* Closes. The result is stable if the path still leads to the same file in the same state and all of it was read. */
void digest_input_finish(struct digest_input *input, struct fs_stamp *ret_stamp, bool *ret_stable);

void digest_input_close(struct digest_input *input);

#endif
