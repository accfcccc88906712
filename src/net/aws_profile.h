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
	struct map services;    /* of the section "[services NAME]" that the profile names: "sts.endpoint_url" */
};

/* Missing files are empty. ERR_CONFIG if a profile was named and neither file has it. */
int aws_profile_load(const struct remote_spec *spec, struct aws_profile *ret, struct err *err) MUST_CHECK;
void aws_profile_release(struct aws_profile *profile);

/* Another profile of the same files. */
int aws_profile_load_other(const struct aws_profile *from, const char *name, struct aws_profile *ret, struct err *err) MUST_CHECK;

/* The keys of the config file's section "[KIND NAME]" ("sso-session"); *ret_found is false if there is none. Release values with free. */
int aws_profile_section(const struct aws_profile *profile, const char *kind, const char *name, struct map *ret, bool *ret_found,
			struct err *err) MUST_CHECK;

/* From the config file; NULL if absent. */
const char *aws_profile_get(const struct aws_profile *profile, const char *key);
/* From either file, credentials first. */
const char *aws_profile_value(const struct aws_profile *profile, const char *key);

/* Where a service is, if not at AWS: AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, the profile's `services`, its endpoint_url; NULL if none
 * says. service is "s3", "sts", "sso", "sso_oidc". */
const char *aws_profile_endpoint(const struct aws_profile *profile, const char *service);

/* A variable of the environment that is set and not empty; else NULL. */
const char *aws_env(const char *name);

#endif
