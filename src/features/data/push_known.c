#include "features/data/push_known.h"

#include "base/mem.h"
#include "base/text.h"
#include "features/data/known.h"

#include <string.h>
#include <sys/random.h>

#define SAMPLE_DIGITS 3 /* of the md5: one object in 4,096 is looked at, and one member at least */

struct manifests {
	struct remote_item *items;
	uint32_t *index; /* in objects->dirs */
	uint8_t (*stamps)[REMOTE_STAMP_LEN];
	size_t count;
};

static void manifests_release(struct manifests *manifests)
{
	for (size_t i = 0; i < manifests->count; i++)
		err_release(&manifests->items[i].ret_err);
	free(manifests->items);
	free(manifests->index);
	free(manifests->stamps);
}

static void manifests_init(struct manifests *manifests, size_t most)
{
	manifests->items = mem_alloc((most + 1) * sizeof(*manifests->items));
	manifests->index = mem_alloc((most + 1) * sizeof(*manifests->index));
	manifests->stamps = mem_alloc((most + 1) * sizeof(*manifests->stamps));
}

static void manifests_add(struct manifests *manifests, const struct objects *objects, uint32_t dir)
{
	const struct object *object = &objects->list.at[objects->dirs.at[dir].manifest];
	manifests->items[manifests->count] = (struct remote_item){ .key = object->key, .size = object->size, .expect = object->id.digest };
	manifests->index[manifests->count++] = dir;
}

static bool has_stamp(const struct remote_item *item)
{
	static const uint8_t none[REMOTE_STAMP_LEN] = { 0 };
	return item->ret_state == REMOTE_DONE && memcmp(item->ret_stamp, none, REMOTE_STAMP_LEN) != 0;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct sample {
	VEC(const char *) due; /* sorted keys */
	size_t seen;
};

static int take_listed(void *ctx, const char *key, uint64_t size UNUSED, int64_t modified_s UNUSED, struct err *err UNUSED)
{
	struct sample *sample = ctx;
	if (sample->due.len && bsearch(&key, sample->due.at, sample->due.len, sizeof(*sample->due.at), compare_keys))
		sample->seen++;
	return 0;
}

static bool same_prefix(const struct objects *objects, uint32_t index, const char *prefix)
{
	return text_starts(objects->list.at[index].key, prefix);
}

/* Lists the few objects whose names begin like that of a member taken by chance, and tells whether all members among them are there. */
static int look_at_sample(struct remote *remote, const struct objects *objects, const struct manifests *known, bool *ret_sound, struct err *err)
{
	struct sample sample = { .seen = 0 };
	uint64_t random = 0;
	size_t members = 0;
	*ret_sound = true;
	for (size_t i = 0; i < known->count; i++)
		members += objects->dirs.at[known->index[i]].members.len;
	if (!members)
		return 0;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uint64_t)(uintptr_t)&sample;
	size_t chosen = (size_t)(random % members);
	const char *key = NULL;
	for (size_t i = 0; !key; i++) {
		const struct object_dir *dir = &objects->dirs.at[known->index[i]];
		if (chosen < dir->members.len)
			key = objects->list.at[dir->members.at[chosen]].key;
		else
			chosen -= dir->members.len;
	}
	/* files/md5/ab/c..., or without files/md5 */
	char *prefix OWNED = mem_strndup(key, (size_t)(strrchr(key, '/') - key) + 1 + SAMPLE_DIGITS - 2);
	for (size_t i = 0; i < known->count; i++) {
		const struct object_dir *dir = &objects->dirs.at[known->index[i]];
		for (size_t k = 0; k < dir->members.len; k++) {
			if (same_prefix(objects, dir->members.at[k], prefix))
				vec_push(&sample.due, objects->list.at[dir->members.at[k]].key);
		}
	}
	vec_sort(&sample.due, compare_keys);
	size_t unique = 0;
	for (size_t i = 0; i < sample.due.len; i++) {
		if (i == 0 || strcmp(sample.due.at[i], sample.due.at[unique - 1]) != 0)
			sample.due.at[unique++] = sample.due.at[i];
	}
	sample.due.len = unique;
	int status = remote_list(remote, prefix, take_listed, &sample, err);
	*ret_sound = status == 0 && sample.seen == unique;
	vec_release(&sample.due);
	return status;
}

static void mark(struct objects *objects, struct object_dir *dir)
{
	dir->known = true;
	objects->list.at[dir->manifest].on_remote = true;
	for (size_t k = 0; k < dir->members.len; k++)
		objects->list.at[dir->members.at[k]].on_remote = true;
}

int push_mark_known(struct data_repo *repo, struct remote *remote, struct objects *objects, struct err *err)
{
	struct manifests known CLEANUP(manifests_release) = { .count = 0 };
	const char *place = remote_place(remote);
	if (!place)
		return 0;
	manifests_init(&known, objects->dirs.len);
	for (uint32_t i = 0; i < objects->dirs.len; i++) {
		if (known_get(repo, place, objects->list.at[objects->dirs.at[i].manifest].key, known.stamps[known.count]))
			manifests_add(&known, objects, i);
	}
	if (!known.count)
		return 0;
	if (remote_check(remote, known.items, known.count, NULL, err) < 0)
		return -1;
	size_t good = 0;
	for (size_t i = 0; i < known.count; i++) {
		struct remote_item item = known.items[i];
		bool same = has_stamp(&item) && memcmp(item.ret_stamp, known.stamps[i], REMOTE_STAMP_LEN) == 0;
		err_release(&known.items[i].ret_err);
		if (same)
			known.index[good++] = known.index[i];
	}
	known.count = good;
	bool sound;
	struct err refused CLEANUP(err_release) = ERR_INIT;
	if (!good || look_at_sample(remote, objects, &known, &sound, &refused) < 0)
		return refused.code == ERR_SIGINT ? err_move(err, &refused) : 0; /* the full question will tell what is wrong */
	if (!sound) {
		known_forget(repo, place);
		return 0;
	}
	for (size_t i = 0; i < good; i++)
		mark(objects, &objects->dirs.at[known.index[i]]);
	return 0;
}

static bool complete(const struct objects *objects, const struct object_dir *dir)
{
	bool complete = objects->list.at[dir->manifest].on_remote;
	for (size_t k = 0; k < dir->members.len; k++)
		complete = complete && objects->list.at[dir->members.at[k]].on_remote;
	return complete;
}

int push_note_known(struct data_repo *repo, struct remote *remote, const struct objects *objects, struct err *err)
{
	struct manifests seen CLEANUP(manifests_release) = { .count = 0 };
	const char *place = remote_place(remote);
	if (!place)
		return 0;
	manifests_init(&seen, objects->dirs.len);
	for (uint32_t i = 0; i < objects->dirs.len; i++) {
		if (!objects->dirs.at[i].known && complete(objects, &objects->dirs.at[i]))
			manifests_add(&seen, objects, i);
	}
	if (!seen.count)
		return 0;
	if (remote_check(remote, seen.items, seen.count, NULL, err) < 0)
		return -1;
	for (size_t i = 0; i < seen.count; i++) {
		if (has_stamp(&seen.items[i]))
			known_put(repo, place, seen.items[i].key, seen.items[i].ret_stamp);
	}
	return 0;
}
