/*
 * The options that a remote's section can have, and what their values look like.
 */
#include "base/text.h"
#include "features/data/config.h"
#include "net/s3_address.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum kind { TEXT, BOOLEAN, COUNT, NUMBER, SECONDS, SERVER, REGION };

static const struct {
	const char *wanted, *example;
} kinds[] = {
	[TEXT] = { NULL, NULL },
	[BOOLEAN] = { "true or false", "true" },
	[COUNT] = { "a whole number above 0", "16" },
	[NUMBER] = { "a whole number", "22" },
	[SECONDS] = { "a number of seconds", "60" },
	[SERVER] = { "a URL, https://host or http://host:port", "https://minio.example.com" },
	[REGION] = { "a region as AWS writes it", "eu-central-1" },
};

/* dvc knows these; any other makes it refuse the whole file, as does a value that is not what it should be. */
static const struct {
	const char *name;
	enum kind kind;
} known[] = {
	{ "url", TEXT },
	{ "jobs", COUNT },
	{ "checksum_jobs", COUNT },
	{ "version_aware", BOOLEAN },
	{ "worktree", BOOLEAN },
	{ "verify", BOOLEAN },
	{ "no_traverse", BOOLEAN },
	{ "region", REGION },
	{ "profile", TEXT },
	{ "credentialpath", TEXT },
	{ "configpath", TEXT },
	{ "endpointurl", SERVER },
	{ "access_key_id", TEXT },
	{ "secret_access_key", TEXT },
	{ "session_token", TEXT },
	{ "use_ssl", BOOLEAN },
	{ "ssl_verify", TEXT }, /* or a file */
	{ "allow_anonymous_login", BOOLEAN },
	{ "read_timeout", SECONDS },
	{ "connect_timeout", SECONDS },
	{ "sse", TEXT },
	{ "sse_kms_key_id", TEXT },
	{ "sse_customer_algorithm", TEXT },
	{ "sse_customer_key", TEXT },
	{ "acl", TEXT },
	{ "grant_read", TEXT },
	{ "grant_read_acp", TEXT },
	{ "grant_write_acp", TEXT },
	{ "grant_full_control", TEXT },
	{ "cache_regions", BOOLEAN },
	{ "listobjects", BOOLEAN },
	{ "user", TEXT },
	{ "password", TEXT },
	{ "ask_password", BOOLEAN },
	{ "auth", TEXT },
	{ "custom_auth_header", TEXT },
	{ "method", TEXT },
	{ "token", TEXT },
	{ "bearer_token_command", TEXT },
	{ "cert_path", TEXT },
	{ "key_path", TEXT },
	{ "timeout", SECONDS },
	{ "port", NUMBER },
	{ "keyfile", TEXT },
	{ "passphrase", TEXT },
	{ "ask_passphrase", BOOLEAN },
	{ "gss_auth", BOOLEAN },
	{ "allow_agent", BOOLEAN },
	{ "max_sessions", COUNT },
	{ "type", TEXT },
};

bool config_remote_knows(const char *option, const char **ret_near)
{
	const char *names[ARRAY_LEN(known)];
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		names[i] = known[i].name;
		if (strcasecmp(option, known[i].name) == 0)
			return true;
	}
	*ret_near = text_nearest(option, names, ARRAY_LEN(names));
	return false;
}

static bool is_seconds(const char *value)
{
	char *end;
	double seconds = strtod(value, &end);
	return end != value && !*end && isfinite(seconds) && seconds >= 0 && seconds <= CONFIG_NUMBER_MAX;
}

static bool is_good(enum kind kind, const char *value)
{
	uint64_t number;
	bool ignored;
	switch (kind) {
	case TEXT:
		return true;
	case BOOLEAN:
		return config_parse_bool(value, &ignored);
	case COUNT:
	case NUMBER:
		return text_parse_u64(value, &number) && number <= CONFIG_NUMBER_MAX && (number || kind == NUMBER);
	case SECONDS:
		return is_seconds(value);
	case SERVER:
		return text_starts(value, "https://") || text_starts(value, "http://");
	case REGION:
		return s3_region_is_sane(value);
	}
	return true;
}

int config_remote_check_value(const char *remote, const char *option, const char *value, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		enum kind kind = known[i].kind;
		if (strcasecmp(option, known[i].name) != 0 || is_good(kind, value))
			continue;
		err_set(err, ERR_CONFIG, "'%s' of the remote '%s' must be %s, not '%s'", known[i].name, remote, kinds[kind].wanted, value);
		return err_hint(err, "for example: mlmake data remote modify %s %s %s", remote, known[i].name, kinds[kind].example);
	}
	return 0;
}
