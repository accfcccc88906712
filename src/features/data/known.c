#include "features/data/known.h"

#include "base/mem.h"
#include "store/state.h"

#include <string.h>
#include <time.h>

#define TRUST_S (7 * 24 * 3600)

struct record {
	int64_t at; /* seconds since the epoch */
	int64_t epoch; /* how often its place's records had been made void */
	uint8_t stamp[REMOTE_STAMP_LEN];
};

static char *epoch_name(const char *place)
{
	return mem_printf("remote epoch %s", place);
}

static char *record_name(const char *place, const char *key)
{
	return mem_printf("on remote %s %s", place, key);
}

static int64_t epoch_of(struct data_repo *repo, const char *place)
{
	char *name OWNED = epoch_name(place);
	const void *bytes;
	size_t len;
	int64_t epoch = 0;
	if (state_get(repo->state, STATE_META, name, &bytes, &len) && len == sizeof(epoch))
		memcpy(&epoch, bytes, sizeof(epoch));
	return epoch;
}

static bool open_state(struct data_repo *repo)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct hashes *hashes;
	return repo_hashes(repo, &hashes, &ignored) == 0;
}

bool known_get(struct data_repo *repo, const char *place, const char *key, uint8_t ret_stamp[REMOTE_STAMP_LEN])
{
	char *name OWNED = record_name(place, key);
	struct record record;
	const void *bytes;
	size_t len;
	if (!open_state(repo) || !state_get(repo->state, STATE_META, name, &bytes, &len) || len != sizeof(record))
		return false;
	memcpy(&record, bytes, sizeof(record));
	memcpy(ret_stamp, record.stamp, REMOTE_STAMP_LEN);
	int64_t age = (int64_t)time(NULL) - record.at;
	return age >= 0 && age < TRUST_S && record.epoch == epoch_of(repo, place);
}

static void write_state(struct data_repo *repo, const char *name, const void *bytes, size_t len)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	if (state_put(repo->state, STATE_META, name, bytes, len, &ignored) < 0 || state_flush(repo->state, &ignored) < 0)
		err_release(&ignored);
}

void known_put(struct data_repo *repo, const char *place, const char *key, const uint8_t stamp[REMOTE_STAMP_LEN])
{
	char *name OWNED = record_name(place, key);
	struct record record = { .at = (int64_t)time(NULL) };
	if (!open_state(repo))
		return;
	record.epoch = epoch_of(repo, place);
	memcpy(record.stamp, stamp, REMOTE_STAMP_LEN);
	write_state(repo, name, &record, sizeof(record));
}

void known_forget(struct data_repo *repo, const char *place)
{
	char *name OWNED = epoch_name(place);
	if (!open_state(repo))
		return;
	int64_t epoch = epoch_of(repo, place) + 1;
	write_state(repo, name, &epoch, sizeof(epoch));
}
