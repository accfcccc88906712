/* Gives every file of the directories in argv to the fuzz target that it is linked with: "ok 1 - name" a file. */
#include "base/buf.h"
#include "base/fs.h"
#include "base/vec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static int collect(void *ctx, const struct fs_entry *entry, struct err *err)
{
	(void)err;
	if (S_ISREG(entry->st->st_mode))
		strlist_add(ctx, entry->path);
	return 0;
}

int main(int argc, char **argv)
{
	struct strlist files = { 0 };
	struct err err CLEANUP(err_release) = ERR_INIT;
	for (int i = 1; i < argc; i++) {
		if (fs_walk(argv[i], collect, &files, &err) < 0) {
			printf("Bail out! %s\n", err.message);
			return 1;
		}
	}
	printf("1..%zu\n", files.len);
	for (size_t i = 0; i < files.len; i++) {
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		if (fs_read_file(files.at[i], 1 << 24, &text, &err) < 0) {
			printf("not ok %zu - %s: %s\n", i + 1, files.at[i], err.message);
			return 1;
		}
		/* An exact copy, so that a sanitizer sees one byte too many being read. */
		uint8_t *exact = malloc(text.len ? text.len : 1);
		if (!exact)
			return 71;
		memcpy(exact, text.data, text.len);
		fprintf(stderr, "# %s\n", files.at[i]);
		LLVMFuzzerTestOneInput(exact, text.len);
		free(exact);
		printf("ok %zu - %s\n", i + 1, files.at[i]);
		fflush(stdout);
	}
	strlist_release(&files);
	return 0;
}
