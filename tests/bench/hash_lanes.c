/*
 * The ways to compute md5 on this processor, one at a time and on one thread, for tests/bench/bench.py:
 *
 *     hash_lanes                       each one's name and its speed in memory in MiB/s, that of OpenSSL first
 *     hash_lanes NAME FILE...          reads and hashes the files
 */
#include "base/mem.h"
#include "formats/digest.h"
#include "formats/md5_files.h"
#include "formats/md5_lanes.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LANE ((size_t)32 << 10) /* as much of a file as lies in the buffers at once; apart as they are there */
#define APART (LANE + (size_t)2 * MD5_BLOCK)
#define TURNS 512

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void show(const char *name, size_t bytes, double took)
{
	printf("%s %.0f\n", name, (double)bytes / took / (1 << 20));
}

static void show_speeds(const struct md5_backend *const *backends, size_t count)
{
	uint8_t *bytes OWNED = mem_alloc(APART * MD5_MAX_LANES);
	struct md5_state state = { { { 0 } } };
	struct digest digest;
	const uint8_t *data[MD5_MAX_LANES];
	double start = now();
	for (unsigned i = 0; i < MD5_MAX_LANES; i++)
		data[i] = bytes + APART * i;
	for (unsigned i = 0; i < TURNS; i++)
		digest_bytes(DIGEST_MD5, bytes, LANE * MD5_MAX_LANES, &digest);
	show("openssl", TURNS * LANE * MD5_MAX_LANES, now() - start);
	for (size_t b = 0; b < count; b++) {
		start = now();
		for (unsigned i = 0; i < TURNS; i++)
			backends[b]->compress(&state, data, LANE / MD5_BLOCK);
		show(backends[b]->name, TURNS * LANE * backends[b]->lanes, now() - start);
	}
}

int main(int argc, char **argv)
{
	const struct md5_backend *backends[4];
	size_t count = md5_backends(backends);
	if (argc < 2) {
		show_speeds(backends, count);
		return 0;
	}
	struct digest_job *jobs OWNED = mem_alloc((size_t)argc * sizeof(*jobs));
	for (int i = 2; i < argc; i++)
		jobs[i - 2].path = argv[i];
	for (size_t b = 0; b < count; b++) {
		if (strcmp(backends[b]->name, argv[1]) != 0)
			continue;
		md5_files(backends[b], 1, jobs, (size_t)argc - 2);
		for (int i = 2; i < argc; i++)
			if (jobs[i - 2].ret_status < 0)
				return 1;
		return 0;
	}
	return 2;
}
