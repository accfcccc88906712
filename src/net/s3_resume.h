/*
 * Uploads in parts that were interrupted: what a later run needs to go on with one. For remote_s3_large.c.
 *
 * A record is a small text file in the directory that the remote's user names (remote_spec.resume_dir), by place, key, size, md5 and size of
 * parts: the upload's id, and of each part that the server took its number, the sha256 of its bytes and its ETag. A part counts as sent if
 * the bytes that are here now have that sha256 and the server still lists the part with that ETag. Losing a record costs sending again.
 */
#ifndef NET_S3_RESUME_H
#define NET_S3_RESUME_H

#include "base/err.h"
#include "formats/digest.h"

struct s3_resume_part {
	char *etag;                  /* NULL: not sent */
	char sha256[DIGEST_HEX_MAX]; /* of its bytes */
};

struct s3_resume {
	char *path;      /* of the record; NULL: none is kept */
	char *upload_id; /* NULL: nothing to go on with */
	struct s3_resume_part *parts;
	unsigned count;
};

/* dir NULL: no record is kept. What is found in one that does not fit is as good as absent. */
void s3_resume_open(struct s3_resume *resume, const char *dir, const char *place, const char *key, uint64_t size, uint64_t part_size,
		    const struct digest *expect);
/* A new upload has begun: earlier parts are void. */
void s3_resume_begin(struct s3_resume *resume, const char *place, const char *key, const char *upload_id);
/* The server took part number `part`, counted from 0. */
void s3_resume_note(struct s3_resume *resume, unsigned part, const char *sha256, const char *etag);
/* The upload is over, one way or the other. */
void s3_resume_end(struct s3_resume *resume);
void s3_resume_release(struct s3_resume *resume);

/* The key in the bucket and the id of an upload of this place that nobody went on with for days, whose record is removed; false if there is none.
 * Owned by the caller. */
bool s3_resume_abandoned(const char *dir, const char *place, char **ret_key, char **ret_upload_id);

#endif
