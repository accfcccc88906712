/* Reads a script on stdin: "B<base>" starts an ignore file for that directory, "L<line>" adds a line to it, "D<path>" and "F<path>" ask
 * about a directory and a file. Prints 1 or 0 a question. */
#include "formats/ignore.h"

#include "base/buf.h"

#include <stdio.h>
#include <string.h>

int main(void)
{
	struct ignore *ignore = ignore_new();
	struct buf base CLEANUP(buf_release) = BUF_INIT;
	char line[8192];
	while (fgets(line, sizeof(line), stdin) != NULL) {
		size_t len = strlen(line);
		line[len - 1] = 0;
		if (line[0] == 'B') {
			buf_setstr(&base, line + 1);
		} else if (line[0] == 'L') {
			line[len - 1] = '\n';
			ignore_add(ignore, base.data, line + 1, len - 1, false);
		} else {
			printf("%d\n", ignore_match_with_parents(ignore, line + 1, line[0] == 'D'));
		}
	}
	ignore_free(ignore);
	return 0;
}
