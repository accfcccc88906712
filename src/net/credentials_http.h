/*
 * Credentials that a server of the machine gives out: ECS and EKS containers, EC2 instances.
 * For credentials.c alone.
 */
#ifndef NET_CREDENTIALS_HTTP_H
#define NET_CREDENTIALS_HTTP_H

#include "net/credentials.h"

/* *ret_found is false where no such server is named or none answers. */
int credentials_from_container(struct credentials *ret, bool *ret_found, struct err *err) MUST_CHECK;
int credentials_from_instance(struct credentials *ret, bool *ret_found, struct err *err) MUST_CHECK;

/* From the JSON that these servers and credential_process print. */
int credentials_parse(const char *name, const char *json, size_t len, const char *token_key, struct credentials *ret,
		      struct err *err) MUST_CHECK;

#endif
