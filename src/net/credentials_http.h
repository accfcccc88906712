/*
 * Credentials that servers give out: those of the machine (ECS and EKS containers, EC2 instances), AWS STS and AWS SSO.
 * For credentials.c alone.
 *
 * STS and SSO are asked at AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL_SSO and AWS_ENDPOINT_URL_SSO_OIDC where these are set.
 */
#ifndef NET_CREDENTIALS_HTTP_H
#define NET_CREDENTIALS_HTTP_H

#include "base/vec.h"
#include "net/credentials.h"

/* One exchange with a server. Server errors and broken connections are tried again, up to three times in all. */
struct credentials_ask {
	const char *method, *url;
	const struct strlist *headers; /* NULL: none */
	const char *body;              /* NULL: none */
	const char *ca_bundle;         /* NULL: the usual one */
	bool near;                     /* a service of this machine: no proxy, a short wait */
	bool probe;                    /* nobody may be there, which is no reason to ask again */
};
/* Whatever the status, an answer is a success. It may hold secrets: wipe it. */
int credentials_ask(const struct credentials_ask *ask, struct buf *answer, unsigned *ret_status, struct err *err) MUST_CHECK;

int credentials_from_container(struct credentials *ret, bool *ret_found, struct err *err) MUST_CHECK;
int credentials_from_instance(struct credentials *ret, bool *ret_found, struct err *err) MUST_CHECK;

/* AssumeRole. The profile says which STS, and names the role in messages; source signs. */
struct credentials_role {
	const char *arn;
	const char *session_name; /* NULL: one is made up */
	const char *external_id;  /* NULL: none */
	const char *duration;     /* seconds; NULL: the server's default */
};
int credentials_assume_role(const struct aws_profile *profile, const struct credentials *source, const struct credentials_role *role,
			    struct credentials *ret, struct err *err) MUST_CHECK;
/* AssumeRoleWithWebIdentity, with the token in a file. */
int credentials_assume_role_with_token(const struct aws_profile *profile, const char *token_file, const struct credentials_role *role,
				       struct credentials *ret, struct err *err) MUST_CHECK;

/* AWS SSO (IAM Identity Center): the access token that `aws sso login` has left in ~/.aws/sso/cache, renewed if that is possible, exchanged
 * for a role's keys. *ret_found is false where the profile says nothing of SSO. */
int credentials_from_sso(const struct aws_profile *profile, struct credentials *ret, bool *ret_found, struct err *err) MUST_CHECK;

/* From the JSON that these servers and credential_process print. */
int credentials_parse(const char *name, const char *json, size_t len, const char *token_key, struct credentials *ret,
		      struct err *err) MUST_CHECK;

#endif
