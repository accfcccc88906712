/*
 * AWS credentials, found in botocore's order: the remote's own keys, the environment (unless the remote names a
 * profile), the shared credentials file, the profile's credential_process, the config file, the container's endpoint, the
 * instance's (IMDSv2). Ways that are not supported yet (AssumeRole, web identity, SSO) are errors that name them.
 */
#ifndef NET_CREDENTIALS_H
#define NET_CREDENTIALS_H

#include "base/err.h"
#include "net/aws_profile.h"
#include "net/remote.h"

struct credentials {
	char *access_key, *secret_key;
	char *session_token; /* NULL if none */
	int64_t expires;     /* seconds since the epoch; 0: never */
	char *source;        /* for messages: "the environment", ... */
};

/* May run a program or ask a server, a second or so for each. ERR_CONFIG if there are none. */
int credentials_find(const struct remote_spec *spec, const struct aws_profile *profile, struct credentials *ret, struct err *err) MUST_CHECK;
/* Wipes and frees. */
void credentials_release(struct credentials *credentials);

#endif
