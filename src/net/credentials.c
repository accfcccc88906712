#include "net/credentials.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/text.h"
#include "formats/json.h"
#include "net/credentials_http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_PROCESS_OUTPUT (64 * 1024)

enum found { FOUND_ERROR = -1, FOUND_NOT, FOUND };

static const char *env_of(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static enum found take(struct credentials *ret, const char *key, const char *secret, const char *token, char *source)
{
	ret->access_key = mem_strdup(key);
	ret->secret_key = mem_strdup(secret);
	ret->session_token = mem_strdup(token);
	ret->source = source;
	return FOUND;
}

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void credentials_release(struct credentials *credentials)
{
	free(credentials->access_key);
	wipe(credentials->secret_key);
	wipe(credentials->session_token);
	free(credentials->source);
	*credentials = (struct credentials){ .access_key = NULL };
}

static enum found from_environment(struct credentials *ret, struct err *err)
{
	const char *key = env_of("AWS_ACCESS_KEY_ID"), *secret = env_of("AWS_SECRET_ACCESS_KEY");
	const char *token = env_of("AWS_SESSION_TOKEN");
	if (!key)
		return FOUND_NOT;
	if (!secret)
		return (enum found)err_set(err, ERR_CONFIG, "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not");
	return take(ret, key, secret, token ? token : env_of("AWS_SECURITY_TOKEN"), mem_strdup("the environment"));
}

static enum found from_keys(struct credentials *ret, const struct map *keys, const char *path, const char *profile, struct err *err)
{
	const char *key = map_get(keys, "aws_access_key_id"), *secret = map_get(keys, "aws_secret_access_key");
	const char *token = map_get(keys, "aws_session_token");
	if (!key)
		return FOUND_NOT;
	if (!secret)
		return (enum found)err_set(err, ERR_CONFIG, "%s: the profile '%s' has no aws_secret_access_key", path, profile);
	return take(ret, key, secret, token, mem_printf("the profile '%s' in %s", profile, path));
}

static enum found unsupported(const struct aws_profile *profile, const char *key, const char *what, struct err *err)
{
	err_set(err, ERR_CONFIG, "the AWS profile '%s' has %s: %s is not supported yet", profile->name, key, what);
	err_hint(err, "get keys with 'aws configure export-credentials --format env', or set credential_process for the profile");
	return FOUND_ERROR;
}

static enum found refuse_unsupported(const struct aws_profile *profile, struct err *err)
{
	static const struct { const char *key, *what; } ways[] = {
		{ "role_arn", "taking on a role (AssumeRole)" },
		{ "web_identity_token_file", "a web identity" },
		{ "sso_start_url", "single sign-on (SSO)" },
		{ "sso_session", "single sign-on (SSO)" },
		{ "login_session", "signing in with 'aws login'" },
	};
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		if (map_has(&profile->config, ways[i].key) || map_has(&profile->credentials, ways[i].key))
			return unsupported(profile, ways[i].key, ways[i].what, err);
	}
	if (!profile->by_remote && env_of("AWS_WEB_IDENTITY_TOKEN_FILE")) {
		err_set(err, ERR_CONFIG, "AWS_WEB_IDENTITY_TOKEN_FILE is set: a web identity is not supported yet");
		err_hint(err, "get keys with 'aws sts assume-role-with-web-identity' and set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
			      "AWS_SESSION_TOKEN");
		return FOUND_ERROR;
	}
	return FOUND_NOT;
}

int credentials_parse(const char *name, const char *json, size_t len, const char *token_key, struct credentials *ret, struct err *err)
{
	struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
	if (json_parse(&doc, name, json, len, err) < 0)
		return -1;
	const char *key = json_str(json_get(doc.root, "AccessKeyId")), *secret = json_str(json_get(doc.root, "SecretAccessKey"));
	const char *message = json_str(json_get(doc.root, "Message"));
	if (!key || !secret)
		return err_set(err, ERR_CONFIG, "%s gave no AccessKeyId and SecretAccessKey%s%.200s", name, message ? ": " : "",
			       message ? message : "");
	take(ret, key, secret, json_str(json_get(doc.root, token_key)), mem_strdup(name));
	ret->expires = text_parse_utc(json_str(json_get(doc.root, "Expiration")));
	return 0;
}

static enum found from_process(const struct aws_profile *profile, struct credentials *ret, struct err *err)
{
	const char *command = map_get(&profile->config, "credential_process");
	if (!command)
		command = map_get(&profile->credentials, "credential_process");
	if (!command)
		return FOUND_NOT;
	const char *const argv[] = { "/bin/sh", "-c", command, NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct buf errout CLEANUP(buf_release) = BUF_INIT;
	struct proc_capture capture = { .out = &out, .errout = &errout, .max = MAX_PROCESS_OUTPUT };
	spec.argv = argv;
	int status = proc_run(&spec, &capture, err);
	if (status == 0 && capture.ret_exit != 0)
		status = err_set(err, ERR_CONFIG, "it ended with exit code %d: %.300s", capture.ret_exit, errout.data);
	if (status == 0)
		status = credentials_parse("credential_process", out.data, out.len, "SessionToken", ret, err);
	explicit_bzero(out.data, out.len);
	if (status < 0) {
		err_note(err, "in the credential_process of the AWS profile '%s'", profile->name);
		return FOUND_ERROR;
	}
	return FOUND;
}

static enum found from_profile(const struct aws_profile *profile, struct credentials *ret, struct err *err)
{
	enum found found = refuse_unsupported(profile, err);
	if (found == FOUND_NOT)
		found = from_keys(ret, &profile->credentials, profile->credentials_path, profile->name, err);
	if (found == FOUND_NOT)
		found = from_process(profile, ret, err);
	if (found == FOUND_NOT)
		found = from_keys(ret, &profile->config, profile->config_path, profile->name, err);
	return found;
}

static enum found from_servers(struct credentials *ret, struct err *err)
{
	const char *disabled = env_of("AWS_EC2_METADATA_DISABLED");
	bool found = false;
	int status = credentials_from_container(ret, &found, err);
	if (status == 0 && !found && !(disabled && strcasecmp(disabled, "true") == 0))
		status = credentials_from_instance(ret, &found, err);
	return status < 0 ? FOUND_ERROR : found ? FOUND : FOUND_NOT;
}

int credentials_find(const struct remote_spec *spec, const struct aws_profile *profile, struct credentials *ret, struct err *err)
{
	*ret = (struct credentials){ .access_key = NULL };
	enum found found = FOUND_NOT;
	if (spec->access_key_id && spec->secret_access_key)
		found = take(ret, spec->access_key_id, spec->secret_access_key, spec->session_token, mem_strdup("the remote's configuration"));
	if (found == FOUND_NOT && (spec->access_key_id || spec->secret_access_key))
		return err_set(err, ERR_CONFIG, "the remote has only one of access_key_id and secret_access_key");
	if (found == FOUND_NOT && !profile->by_remote)
		found = from_environment(ret, err);
	if (found == FOUND_NOT)
		found = from_profile(profile, ret, err);
	if (found == FOUND_NOT)
		found = from_servers(ret, err);
	if (found == FOUND_NOT) {
		err_set(err, ERR_CONFIG, "there are no AWS credentials%s%s", spec->name ? " for the remote " : "", spec->name ? spec->name : "");
		err_hint(err, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write %s, or set access_key_id and secret_access_key of the "
			      "remote in .dvc/config.local", profile->credentials_path);
	}
	return found == FOUND ? 0 : -1;
}
