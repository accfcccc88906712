/* The first line is a path, the rest an ignore file; each line of it is tried as a glob too. */
#include "fuzz.h"

#include "base/mem.h"
#include "base/path.h"
#include "formats/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const uint8_t *newline = memchr(bytes, '\n', len);
	if (!newline || memchr(bytes, '\0', len) || len > 4096)
		return 0;
	char *path OWNED = mem_strndup((const char *)bytes, (size_t)(newline - bytes));
	const char *rest = (const char *)newline + 1;
	size_t rest_len = len - (size_t)(newline - bytes) - 1;
	for (int trim = 0; trim < 2; trim++) {
		struct ignore *ignore = ignore_new();
		ignore_add(ignore, "", rest, rest_len, trim);
		ignore_add(ignore, "a/b", rest, rest_len, trim);
		ignore_match(ignore, path, false);
		/* A path that a rule of its own ignores stays ignored when its parents are looked at too. */
		if (ignore_match(ignore, path, true) && !strchr(path, '/'))
			MUST(ignore_match_with_parents(ignore, path, true));
		ignore_free(ignore);
	}
	char *lines OWNED = mem_strndup(rest, rest_len);
	for (char *at = lines; at;) {
		char *glob = strsep(&at, "\n");
		bool matches = glob_match(glob, path);
		glob_has_magic(glob);
		const char *slash = strrchr(path, '/');
		if (matches && slash && path_is_safe(path)) {
			char *dir OWNED = mem_strndup(path, (size_t)(slash - path));
			MUST(glob_may_match_below(glob, dir));
		}
	}
	return 0;
}
