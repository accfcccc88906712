#include "features/data/whole.h"

#include "base/mem.h"
#include "store/clock.h"
#include "store/state.h"

#include <string.h>

#define MANY_FILES 256 /* fewer are looked up as fast */
#define VERSION 1u

/* As it is kept, in the machine's own byte order as all of the state. */
struct record {
	uint32_t version, kind;
	uint8_t id[16];
	uint8_t seen[32];
	uint64_t boot; /* 0: of any */
	uint64_t size, ino;
	int64_t mtime_ns, ctime_ns; /* these four of the manifest */
};
_Static_assert(sizeof(struct record) == 96, "no bytes without a value are kept");

int64_t whole_clock(struct data_repo *repo)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct hashes *hashes;
	return repo_hashes(repo, &hashes, &ignored) < 0 ? CLOCK_NONE : hashes_clock(hashes);
}

struct whole_seen whole_seen_of(const struct walk *walk)
{
	const struct walk_tree *tree = walk->tree;
	if (!tree || tree->files < MANY_FILES)
		return (struct whole_seen){ .worth = false };
	return (struct whole_seen){ true, tree->newest, tree->seen };
}

static char *name_of(const struct walk *walk)
{
	return mem_printf("whole %s", walk->path);
}

static bool stat_manifest(const struct data_repo *repo, const struct odb_id *id, struct fs_stamp *ret)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	odb_add_path(&repo->odb, &path, id);
	if (sys.fstatat(AT_FDCWD, path.data, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	fs_stamp_of(ret, &st);
	return true;
}

static struct record record_of(const struct whole_seen *seen, const struct odb_id *id, const struct fs_stamp *manifest, uint64_t boot)
{
	struct record record = { .version = VERSION, .kind = id->digest.kind, .boot = boot, .size = manifest->size, .ino = manifest->ino,
				 .mtime_ns = manifest->mtime_ns, .ctime_ns = manifest->ctime_ns };
	memcpy(record.id, id->digest.bytes, sizeof(record.id));
	memcpy(record.seen, seen->seen.bytes, sizeof(record.seen));
	return record;
}

bool whole_is(struct data_repo *repo, const struct walk *walk, const struct odb_id *id)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct whole_seen seen = whole_seen_of(walk);
	char *name OWNED = name_of(walk);
	struct record kept;
	struct hashes *hashes;
	const void *bytes;
	size_t len;
	struct fs_stamp manifest;
	if (!seen.worth || repo_hashes(repo, &hashes, &ignored) < 0 || !state_get(repo->state, STATE_META, name, &bytes, &len) ||
	    len != sizeof(kept))
		return false;
	memcpy(&kept, bytes, sizeof(kept));
	if ((kept.boot && kept.boot != clock_boot()) || !stat_manifest(repo, id, &manifest))
		return false;
	struct record now = record_of(&seen, id, &manifest, kept.boot);
	return memcmp(&now, &kept, sizeof(now)) == 0;
}

void whole_learn(struct data_repo *repo, const struct walk *walk, const struct whole_seen *seen, const struct odb_id *id, int64_t clock)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	char *name OWNED = name_of(walk);
	struct fs_stamp manifest;
	if (!seen->worth || clock == CLOCK_NONE || !repo->state || seen->newest >= clock || !stat_manifest(repo, id, &manifest) ||
	    manifest.mtime_ns >= clock || manifest.ctime_ns >= clock)
		return;
	int64_t newest = manifest.ctime_ns > seen->newest ? manifest.ctime_ns : seen->newest;
	struct record record = record_of(seen, id, &manifest, newest > clock - CLOCK_SYNCED_AFTER_NS ? clock_boot() : 0);
	if (state_put(repo->state, STATE_META, name, &record, sizeof(record), &ignored) < 0)
		err_release(&ignored);
}

bool whole_cache_seen(struct data_repo *repo, struct digest *ret)
{
	struct stat st;
	int clock CLEANUP(fs_close_fd) = clock_open(repo->root, true);
	if (clock >= 0 && sys.fstat(clock, &st) == 0 && odb_fingerprint(&repo->odb, st.st_dev, clock_now(clock), ret))
		return true;
	*ret = (struct digest){ .kind = DIGEST_NONE };
	return false;
}

struct sound {
	uint64_t boot;
	uint8_t cache_seen[32];
};

static char *sound_name(const struct odb_id *id)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(&id->digest, hex);
	return mem_printf("sound %s", hex);
}

bool whole_was_sound(struct data_repo *repo, const struct odb_id *id, const struct digest *cache_seen)
{
	char *name OWNED = sound_name(id);
	struct sound kept;
	const void *bytes;
	size_t len;
	if (!repo->state || cache_seen->kind == DIGEST_NONE || !state_get(repo->state, STATE_META, name, &bytes, &len) || len != sizeof(kept))
		return false;
	memcpy(&kept, bytes, sizeof(kept));
	return memcmp(kept.cache_seen, cache_seen->bytes, sizeof(kept.cache_seen)) == 0 && kept.boot && kept.boot == clock_boot();
}

void whole_learn_sound(struct data_repo *repo, const struct odb_id *id, const struct digest *cache_seen)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	char *name OWNED = sound_name(id);
	struct sound sound = { .boot = clock_boot() };
	if (!repo->state || cache_seen->kind == DIGEST_NONE || whole_was_sound(repo, id, cache_seen))
		return;
	memcpy(sound.cache_seen, cache_seen->bytes, sizeof(sound.cache_seen));
	if (state_put(repo->state, STATE_META, name, &sound, sizeof(sound), &ignored) < 0)
		err_release(&ignored); /* they are looked at again */
}
