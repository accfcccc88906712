/*
 * One thread that computes the md5s of several files, which may all be arriving still: what is there of them shares the lanes of the vector
 * registers, so that some cost hardly more than one. hash_job_start_shared gives it work.
 */
#ifndef NET_HASH_LANES_H
#define NET_HASH_LANES_H

#include "net/hash_job.h"

/* Where several files arrive, it lets one fall back by so much before it goes on with fewer than all: bytes that come a little later are
 * hashed along with those that are there for nothing. */
#define HASH_LANES_LAG ((uint64_t)4 << 20)

/* The thread starts with the first job. */
struct hash_lanes *hash_lanes_new(void);
/* No job may be left. NULL is fine. */
void hash_lanes_free(struct hash_lanes *lanes);

/* For hash_job.c. */
int hash_lanes_attach(struct hash_lanes *lanes, struct hash_job *job); /* 0, or the number of an error: no thread starts */
void hash_lanes_allow(struct hash_lanes *lanes, struct hash_job *job, uint64_t allowed);
/* Done or not, the thread does not touch it any more. */
void hash_lanes_detach(struct hash_lanes *lanes, struct hash_job *job);

#endif
