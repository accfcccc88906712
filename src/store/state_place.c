/* Where the state database of a project lies. */
#include "store/state_place.h"

#include "base/fs.h"
#include "base/path.h"
#include "formats/digest.h"
#include "store/state.h"
#include "store/workdir.h"

#include <string.h>
#include <sys/vfs.h>

bool state_is_network_fs(unsigned long type)
{
	static const unsigned long network[] = {
		0x6969,     /* NFS */
		0x517b,     /* SMB */
		0xff534d42, /* CIFS */
		0xfe534d42, /* SMB2 */
		0x00c36400, /* Ceph */
		0x0bd00bd0, /* Lustre */
		0x01021997, /* 9P */
		0x5346414f, /* AFS */
		0x47504653, /* GPFS */
		0x19830326, /* BeeGFS */
	};
	for (size_t i = 0; i < ARRAY_LEN(network); i++)
		if ((type & 0xffffffffu) == network[i])
			return true;
	return false;
}

bool state_on_network_fs(const char *dir)
{
	struct statfs st;
	return statfs(dir, &st) == 0 && state_is_network_fs((unsigned long)st.f_type);
}

/* A directory of this root's own below base: readable by people, different for every root. */
static void add_own_dir(struct buf *out, const char *base, const char *root)
{
	struct digest digest;
	digest_bytes(DIGEST_SHA256, root, strlen(root), &digest);
	buf_addf(out, "%s/", base);
	workdir_add_name(out, path_base(root));
	buf_addch(out, '-');
	buf_addhex(out, digest.bytes, 8);
}

enum place { PLACE_PROJECT, PLACE_NAMED, PLACE_AWAY };

static int find_dir(const char *root, struct buf *out, enum place *ret, struct err *err)
{
	const char *override = sys.getenv("MLMAKE_STATE_DIR");
	struct buf cache CLEANUP(buf_release) = BUF_INIT;
	if (override && override[0]) {
		if (override[0] != '/')
			return err_set(err, ERR_CONFIG, "MLMAKE_STATE_DIR is '%s', which is not an absolute path", override);
		*ret = PLACE_NAMED;
		add_own_dir(out, override, root);
		return 0;
	}
	if (!state_on_network_fs(root)) {
		*ret = PLACE_PROJECT;
		buf_addf(out, "%s/.mlmake", strcmp(root, "/") == 0 ? "" : root);
		return 0;
	}
	if (workdir_user_cache(&cache, err) < 0)
		return -1;
	*ret = PLACE_AWAY;
	buf_addstr(&cache, "/state");
	add_own_dir(out, cache.data, root);
	return 0;
}

int state_find_dir(const char *root, struct buf *out, struct err *err)
{
	enum place place;
	return find_dir(root, out, &place, err);
}

int state_place(const char *root, struct buf *out, struct strlist *notices, struct err *err)
{
	enum place place;
	if (find_dir(root, out, &place, err) < 0)
		return -1;
	if (place == PLACE_AWAY)
		strlist_take(notices, mem_printf("'%s' is on a network file system: state and locks are in '%s', so runs on different "
						 "machines do not wait for each other; MLMAKE_STATE_DIR overrides",
						 root, out->data));
	return place == PLACE_PROJECT ? workdir_make(out->data, err) : fs_mkdirs(out->data, err);
}
