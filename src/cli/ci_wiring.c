#include "cli/ci_wiring.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"

#include <string.h>

void ci_wiring_top(const char *root, struct buf *ret)
{
	OWNED char *dir = mem_strdup(root);
	for (;;) {
		OWNED char *entry = path_joined(dir, ".git");
		if (fs_exists(entry)) {
			buf_addstr(ret, dir);
			return;
		}
		char *slash = strrchr(dir, '/');
		if (!slash || slash == dir)
			break;
		*slash = '\0';
	}
	buf_addstr(ret, root);
}
