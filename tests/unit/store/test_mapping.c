/* Giving back the pages of a file that somebody mapped. */
#include "unit/scratch.h"

#include "base/sys.h"
#include "store/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE (MAPPING_MAX + ((size_t)8 << 20))

/* How many pages of the map this process has. */
static size_t mapped_pages(const char *map, size_t len)
{
	size_t count = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	assert_true(fd >= 0);
	for (size_t i = 0; i < len / page; i++) {
		uint64_t entry;
		off_t at = (off_t)(((uintptr_t)map / page + i) * sizeof(entry));
		assert_int_equal(pread(fd, &entry, sizeof(entry), at), sizeof(entry));
		count += entry >> 63;
	}
	close(fd);
	return count;
}

static void touch_all(const char *map, size_t len)
{
	static volatile char sum;
	for (size_t i = 0; i < len; i += 4096)
		sum = (char)(sum + map[i]);
}

static void pages_are_given_back(void **ctx)
{
	struct scratch *s = *ctx;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *path OWNED = path_joined(s->root.data, "file");
	scratch_write(s, "file", "the first page");
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)SIZE), 0);
	char *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	struct mapping mapping = { 0 };
	/* Little is nobody's business. */
	touch_all(map, 8 * page);
	mapping_trim(&mapping, fd);
	assert_true(mapped_pages(map, SIZE) >= 8);
	assert_null(mapping.at);
	for (int round = 0; round < 2; round++) {
		touch_all(map, SIZE);
		assert_int_equal(mapped_pages(map, SIZE), SIZE / page);
		mapping_trim(&mapping, fd);
		assert_int_equal(mapped_pages(map, SIZE), 0);
		assert_ptr_equal(mapping.at, map);
		assert_string_equal(map, "the first page");
	}
	/* Another file is none of its business. */
	char *other OWNED = path_joined(s->root.data, "other");
	scratch_write(s, "other", "");
	int other_fd = open(other, O_RDWR | O_CLOEXEC);
	struct mapping none = { 0 };
	touch_all(map, SIZE);
	mapping_trim(&none, other_fd);
	assert_true(none.none);
	assert_int_equal(mapped_pages(map, SIZE), SIZE / page);
	munmap(map, SIZE);
	close(fd);
	close(other_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pages_are_given_back, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
