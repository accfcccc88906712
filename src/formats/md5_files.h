/*
 * md5 of many files, one to a lane (formats/md5_lanes.h). A lane whose file has ended takes the next one, so that
 * the registers stay full whatever the sizes.
 */
#ifndef FORMATS_MD5_FILES_H
#define FORMATS_MD5_FILES_H

#include "formats/digest.h"
#include "formats/md5_lanes.h"

/* threads 0: one a processor. */
void md5_files(const struct md5_backend *backend, unsigned threads, struct digest_job *jobs, size_t count);

#endif
