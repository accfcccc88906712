#include "store/mapping.h"

#include "base/fs.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAPS_MAX ((size_t)4 << 20)

/* Of a line of /proc/self/maps: "7f0000000000-7f0000100000 r--s 00000000 fe:01 1234  /path". */
static bool parse_line(const char *line, uint64_t inode, struct mapping *ret)
{
	char *at;
	uintptr_t from = strtoull(line, &at, 16);
	uintptr_t to = *at == '-' ? strtoull(at + 1, &at, 16) : 0;
	if (to <= from || !text_starts(at, " r--s "))
		return false;
	at += strlen(" r--s ");
	/* Behind the offset and the device. */
	for (int skipped = 0; skipped < 2; skipped++) {
		at += strcspn(at, " \n");
		at += strspn(at, " ");
	}
	if (strtoull(at, NULL, 10) != inode)
		return false;
	ret->at = (void *)from; // NOLINT(performance-no-int-to-ptr)
	ret->len = to - from;
	return true;
}

static void find(struct mapping *mapping, int fd)
{
	struct buf maps CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct stat st;
	mapping->none = true;
	if (sys.fstat(fd, &st) < 0 || fs_read_file("/proc/self/maps", MAPS_MAX, &maps, &ignored) < 0)
		return;
	for (char *line = maps.data; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		/* A second one of the same number is on another file system: which is meant cannot be told. */
		if (parse_line(line, st.st_ino, mapping) && !mapping->none) {
			*mapping = (struct mapping){ .none = true };
			return;
		}
		mapping->none = mapping->at == NULL;
	}
}

/* Of mapped files, in bytes. */
static size_t resident(void)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (fs_read_file("/proc/self/statm", 4096, &text, &ignored) < 0)
		return 0;
	/* The third number. */
	char *at = text.data;
	size_t pages = 0;
	for (int i = 0; i < 3; i++)
		pages = strtoull(at, &at, 10);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

void mapping_trim(struct mapping *mapping, int fd)
{
	if (mapping->none || resident() <= MAPPING_MAX)
		return;
	if (!mapping->at)
		find(mapping, fd);
	if (mapping->at)
		madvise(mapping->at, mapping->len, MADV_DONTNEED);
}
