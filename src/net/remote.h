/*
 * A remote: a store of named objects, a local directory or an S3-compatible bucket, moved to and from in bulk.
 * Keys are relative to the remote's root and '/'-separated ("files/md5/ab/cdef...").
 *
 *     struct remote *remote;
 *     remote_open(&spec, &remote, err);
 *     remote_check(remote, items, count, NULL, err);    which are there?
 *     remote_put(remote, missing, n, &sink, err);
 *     remote_close(remote);
 *
 * put and get move many at once over one event loop. Every object is verified both ways by size and digest:
 * get hashes what arrives and leaves no file of a wrong one; put refuses a local file whose bytes are not
 * what its item says, and has the server check what it received (Content-MD5, or size after a copy).
 * Transient failures are retried with backoff. A call returns 0 if every item got its answer, even a bad one: look at each item's
 * ret_state; -1 with err means that nothing useful could be done (refused, unreachable, interrupted): ERR_NET.
 */
#ifndef NET_REMOTE_H
#define NET_REMOTE_H

#include "base/err.h"
#include "formats/digest.h"

#define REMOTE_SIZE_UNKNOWN UINT64_MAX
#define REMOTE_STAMP_LEN 16

/* What DVC's remote section says; NULL or 0 where it is silent. Copied by remote_open. */
struct remote_spec {
	const char *name; /* for messages */
	const char *url;  /* "s3://bucket/prefix", "http[s]://host/path", "webdav[s]://host/path", "ssh://user@host:port/path", or an absolute
			   * directory */
	const char *region, *profile, *endpoint_url, *access_key_id, *secret_access_key, *session_token;
	const char *credential_path, *config_path; /* instead of ~/.aws/credentials and ~/.aws/config */
	const char *ca_bundle;
	const char *resume_dir; /* where records of interrupted uploads are kept (net/s3_resume.h); NULL: nowhere, and they are aborted */
	const char *partial_dir; /* where interrupted downloads are kept (net/s3_partial.h), on the file system of what is fetched; NULL: nowhere */
	bool packed;          /* small objects named by their md5 travel in packs (docs/decisions/0016-packed-remotes.md), if pack_dir is set, too */
	const char *pack_dir; /* where indexes and packs on their way are kept */
	bool no_ssl_verify;
	bool no_ssl;      /* http to AWS itself; an endpoint_url says by its scheme */
	bool anonymous;
	const char *sse, *sse_kms_key_id, *sse_customer_algorithm, *sse_customer_key; /* see net/s3_headers.h */
	const char *acl, *grant_read, *grant_read_acp, *grant_write_acp, *grant_full_control;
	const char *user, *password, *auth, *custom_auth_header, *token, *method, *cert_path, *key_path; /* see net/web.c */
	const char *keyfile; /* ssh: the private key */
	bool version_aware; /* objects lie at their path in the repository, and the bucket's versions tell one content from another */
	unsigned port;    /* ssh; 0: the url's, or ssh's own */
	unsigned jobs;    /* transfers at once, at most; 0: as many as make it faster */
	uint64_t limit_rate; /* bytes a second, up and down together; 0: any */
	unsigned connect_timeout_s, read_timeout_s;
};

enum remote_state {
	REMOTE_PENDING,
	REMOTE_DONE,    /* there (check), moved and verified (put, get) */
	REMOTE_MISSING, /* not on the remote (check, get); no local file (put) */
	REMOTE_DAMAGED, /* bytes are not what size and digest say */
	REMOTE_FAILED,  /* refused, broken or out of tries: ret_err says */
};

/* Which state of an object, in a bucket that keeps versions. Strings owned by whoever owns this. */
struct remote_version {
	char *id;   /* NULL: the server names none */
	char *etag; /* without quotes; NULL if not told */
};
void remote_version_release(struct remote_version *version);

struct remote_item {
	const char *key;
	const char *path;     /* local file: source of put; put there by get (created 0600, must not exist). NULL for check */
	uint64_t size;        /* expected; REMOTE_SIZE_UNKNOWN if not known */
	uint64_t max_size;    /* get, where size is not known: what is larger is DAMAGED and not moved; 0: any */
	struct digest expect; /* expected; kind DIGEST_NONE: not checked */
	bool part;            /* get: of the object only the `size` bytes from `from` on, which is what `expect` is of, too. Not of one in a pack */
	uint64_t from;
	const char *version;  /* get, check: that version of the object (S3); one that is gone is MISSING. NULL: the newest */
	struct remote_version *ret_version; /* put, check (S3): filled for what is DONE, once; NULL: not asked for */
	enum remote_state ret_state;
	uint64_t ret_size;    /* what is there, or was moved */
	uint8_t ret_stamp[REMOTE_STAMP_LEN]; /* check: tells this state of the object from another; zeros where that is not known */
	const char *ret_twin; /* get: the sink's twin, which is there and has the same bytes; NULL: there is none */
	struct err ret_err;   /* release it */
};

/* Called on the calling thread, now and then; returns false to stop (the call then fails with ERR_SIGINT). */
struct remote_sink {
	bool (*progress)(void *ctx, size_t items_done, uint64_t bytes_done);
	void *ctx;
	/* Before each progress: what holds things up ("no byte for 7 s"), of an item or, with NULL, of the remote; why NULL: nothing. NULL is fine. */
	void (*slow)(void *ctx, const struct remote_item *item, const char *why);
	/* get of an object of so many bytes, where they arrive faster than they are hashed: a name for a second file of them (created 0666 less the
	 * umask, must not exist), which is written meanwhile. Kept until the item is settled, and longer if it is DONE and has it as ret_twin; in all
	 * other cases the file is gone. Where that file could be a clone none is made. NULL, both: none is wanted. */
	const char *(*twin)(void *ctx, const struct remote_item *item, uint64_t size);
};

/* "s3:/bucket", "S3://bucket", "https//host": what would be a directory, and is meant for something else. */
bool remote_url_is_slip(const char *url, const char **ret_example);
/* ERR_CONFIG for a url of a kind that is not spoken here, or that names nothing; the hint says how to reach the same store. */
int remote_check_url(const char *name, const char *url, struct err *err) MUST_CHECK;

struct remote;
int remote_open(const struct remote_spec *spec, struct remote **ret, struct err *err) MUST_CHECK;
void remote_close(struct remote *remote);

/* Server, bucket and prefix as one text: what is known of one place holds wherever it is configured under the same. NULL for directories, which
 * are asked as fast as one remembers. */
const char *remote_place(const struct remote *remote);

/* ERR_CONFIG where the remote is known to keep only the newest state of an object. Whether it may be asked is up to the server: 0 then. */
int remote_check_versions(struct remote *remote, struct err *err) MUST_CHECK;

int remote_check(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink,
		 struct err *err) MUST_CHECK;
int remote_put(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink,
	       struct err *err) MUST_CHECK;
int remote_get(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink,
	       struct err *err) MUST_CHECK;

/* Removes what puts left that were killed: temporaries that nobody has written to for a day, abandoned uploads in parts that this clone has begun. What
 * cannot be done is left for another time: returns how many went. The first put of a remote does the same. */
size_t remote_sweep(struct remote *remote);

/* Deletes objects; one that is not there counts as DONE. */
int remote_remove(struct remote *remote, struct remote_item *items, size_t count, const struct remote_sink *sink, struct err *err) MUST_CHECK;

/* Every object below prefix (relative to the root). modified_s: when it was put there, in seconds since 1970 by the remote's clock; 0 if
 * that is not known. visit returns -1 to stop with err. */
typedef int remote_visit_fn(void *ctx, const char *key, uint64_t size, int64_t modified_s, struct err *err);
int remote_list(struct remote *remote, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err) MUST_CHECK;

#endif
