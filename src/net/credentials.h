/*
 * AWS credentials, found in botocore's order:
 *
 *     1. the remote's own keys
 *     2. the environment, unless the remote names a profile
 *     3. the profile's role_arn, with the keys of its source_profile (which may have a role itself) or credential_source
 *     4. a web identity: AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN, or the profile's
 *     5. the profile's single sign-on
 *     6. its keys in the credentials file, its credential_process, its keys in the config file
 *     7. the container's endpoint, the instance's (IMDSv2)
 *
 * Not possible are roles that ask for a code (mfa_serial) and `aws login` sessions: errors that say what to do.
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
