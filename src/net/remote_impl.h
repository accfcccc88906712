/*
 * What the kinds of remote share; for src/net/remote*.c only.
 */
#ifndef NET_REMOTE_IMPL_H
#define NET_REMOTE_IMPL_H

#include "base/vec.h"
#include "net/remote.h"

/* Items arrive pending, with safe keys and empty errors. */
struct remote_class {
	int (*check)(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err);
	int (*put)(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err);
	int (*get)(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err);
	int (*remove)(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err);
	int (*list)(struct remote *remote, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err);
	size_t (*sweep)(struct remote *remote); /* NULL: puts leave nothing there */
	const char *(*place)(const struct remote *remote); /* NULL: none */
	int (*check_versions)(struct remote *remote, struct err *err); /* NULL: it keeps none */
	void (*close)(struct remote *remote);
};

/* The first member of each kind's own struct. */
struct remote {
	const struct remote_class *class;
};

int remote_dir_open(const struct remote_spec *spec, struct remote **ret, struct err *err) MUST_CHECK;
int remote_sftp_open(const struct remote_spec *spec, struct remote **ret, struct err *err) MUST_CHECK;
int remote_web_open(const struct remote_spec *spec, struct remote **ret, struct err *err) MUST_CHECK;
int remote_s3_open(const struct remote_spec *spec, struct remote **ret, struct err *err) MUST_CHECK;
/* Takes over the remote that the packs lie on. */
void remote_packed_open(const struct remote_spec *spec, struct remote *plain, struct remote **ret);

/* Tells the sink; -1 with ERR_SIGINT if it wants an end. sink may be NULL. */
int remote_tell(const struct remote_sink *sink, size_t items_done, uint64_t bytes_done, struct err *err) MUST_CHECK;

/* The local file of an item that is put: open for reading, its size compared. 0, or -1 with the item's state set. */
int remote_item_open(struct remote_item *item, int *ret_fd, uint64_t *ret_size) MUST_CHECK;
/* The local file of an item that is fetched, new. */
int remote_item_create(const struct remote_item *item, int *ret_fd, struct err *err) MUST_CHECK;
int remote_write_at(int fd, const void *bytes, size_t len, uint64_t at);
/* The directories that the items are in, and `also`, each once, those above first. */
void remote_parents(const struct remote_item *items, size_t count, const char *also, struct strlist *ret);
/* How many of them, from that one on, are as deep as it: none of these is in another. */
size_t remote_same_depth(const struct strlist *names, size_t from);

/* What temporary names of one put begin with: "dir/put-<random>-". Owned by the caller. */
char *remote_temp_names(const char *dir);
/* Removes what was left below dir by puts that were killed: temporaries that nobody has written to for a day, as the remote's own clock says (now_s;
 * 0: not known, and nothing is removed). What cannot be done is left for another time. Returns how many went. */
size_t remote_drop_stale(struct remote *remote, const char *dir, int64_t now_s);

/* Settle an item. Those with a message return nothing: the item is the answer. */
void remote_item_failed(struct remote_item *item, struct err *why); /* takes what is in why */
void remote_item_missing(struct remote_item *item, const char *where);
void remote_item_too_large(struct remote_item *item, uint64_t size); /* for its max_size */
void remote_item_wrong_size(struct remote_item *item, const char *what, uint64_t size);
void remote_item_wrong_digest(struct remote_item *item, const char *what, const struct digest *found);
/* Ends *stream, which becomes NULL: whether what went through it is what the item expects. If not, the item says so. */
bool remote_item_check_stream(struct remote_item *item, struct digest_stream **stream, const char *what);

#endif
