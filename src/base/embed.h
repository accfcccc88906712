/*
 * Files of rules/ and templates/, as they were when the binary was built.
 */
#ifndef BASE_EMBED_H
#define BASE_EMBED_H

#include <stddef.h>

struct embedded_file {
	const char *path; /* "rules/pytest.yaml" */
	const char *data; /* len bytes, and a NUL behind them */
	size_t len;
	unsigned mode;    /* 0644 or 0755 */
};

/* Sorted by path. */
extern const struct embedded_file embedded_files[];
extern const size_t embedded_file_count;

/* NULL if there is none. */
const struct embedded_file *embedded_find(const char *path);

#endif
