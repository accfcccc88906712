/*
 * ~/.aws/config and ~/.aws/credentials: what one profile says.
 *
 * The files look like INI but are read as AWS's own tools do: no quoting, no comments behind a value, "[profile NAME]"
 * in one file and "[NAME]" in the other, and indented keys below an empty value ("s3 =\n  addressing_style = path"), which are
 * found here as "s3.addressing_style".
 */
#ifndef NET_AWS_PROFILE_H
#define NET_AWS_PROFILE_H

#include "base/err.h"
#include "base/map.h"
#include "net/remote.h"

struct aws_profile {
	char *name;
	bool named;            /* by the remote or AWS_PROFILE, not "default" by default */
	bool by_remote;        /* by the remote itself: the environment's keys do not count then */
	bool found;            /* in either file */
	char *config_path, *credentials_path;
	struct map config;      /* lower-case key -> char * */
	struct map credentials;
};

/* Missing files are empty. ERR_CONFIG if a profile was named and neither file has it. */
int aws_profile_load(const struct remote_spec *spec, struct aws_profile *ret, struct err *err) MUST_CHECK;
void aws_profile_release(struct aws_profile *profile);

/* From the config file; NULL if absent. */
const char *aws_profile_get(const struct aws_profile *profile, const char *key);

#endif
