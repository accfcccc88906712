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
	const char *key = aws_env("AWS_ACCESS_KEY_ID"), *secret = aws_env("AWS_SECRET_ACCESS_KEY");
	const char *token = aws_env("AWS_SECURITY_TOKEN"); /* the old name goes first in botocore, too */
	if (!key)
		return FOUND_NOT;
	if (!secret)
		return (enum found)err_set(err, ERR_CONFIG, "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not");
	ret->expires = text_parse_utc(aws_env("AWS_CREDENTIAL_EXPIRATION"));
	return take(ret, key, secret, token ? token : aws_env("AWS_SESSION_TOKEN"), mem_strdup("the environment"));
}

static enum found from_keys(struct credentials *ret, const struct map *keys, const char *path, const char *profile, struct err *err)
{
	const char *key = map_get(keys, "aws_access_key_id"), *secret = map_get(keys, "aws_secret_access_key");
	const char *token = map_get(keys, "aws_security_token");
	if (!key)
		return FOUND_NOT;
	if (!secret)
		return (enum found)err_set(err, ERR_CONFIG, "%s: the profile '%s' has no aws_secret_access_key", path, profile);
	return take(ret, key, secret, token ? token : map_get(keys, "aws_session_token"), mem_printf("the profile '%s' in %s", profile, path));
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

static int check_version(const struct buf *out, struct err *err)
{
	struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
	if (json_parse(&doc, "credential_process", out->data, out->len, err) < 0)
		return -1;
	if (json_int(json_get(doc.root, "Version"), 0) == 1)
		return 0;
	err_set(err, ERR_CONFIG, "what it printed has no \"Version\": 1");
	return err_hint(err, "a credential_process prints {\"Version\": 1, \"AccessKeyId\": ..., \"SecretAccessKey\": ...}");
}

/* Run without a shell, as by AWS's own tools: "$", "&" and "*" stand for themselves. */
static enum found from_process(const struct aws_profile *profile, struct credentials *ret, struct err *err)
{
	const char *command = aws_profile_value(profile, "credential_process");
	if (!command)
		return FOUND_NOT;
	struct strlist words CLEANUP(strlist_release) = { 0 };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	struct buf errout CLEANUP(buf_release) = BUF_INIT;
	struct proc_capture capture = { .out = &out, .errout = &errout, .max = MAX_PROCESS_OUTPUT };
	int status = text_split_words(command, &words) && words.len ? 0 : err_set(err, ERR_CONFIG, "'%s' is no command: a quote is left open", command);
	const char **argv OWNED = mem_alloc((words.len + 1) * sizeof(*argv));
	for (size_t i = 0; i < words.len; i++)
		argv[i] = words.at[i];
	spec.argv = argv;
	if (status == 0)
		status = proc_run(&spec, &capture, err);
	if (status == 0 && capture.ret_exit != 0)
		status = err_set(err, ERR_CONFIG, "it ended with exit code %d: %.300s", capture.ret_exit, errout.data);
	if (status == 0)
		status = check_version(&out, err);
	if (status == 0)
		status = credentials_parse("credential_process", out.data, out.len, "SessionToken", ret, err);
	explicit_bzero(out.data, out.len);
	if (status < 0) {
		err_note(err, "in the credential_process of the AWS profile '%s'", profile->name);
		return FOUND_ERROR;
	}
	return FOUND;
}

static enum found from_servers(struct credentials *ret, struct err *err)
{
	const char *disabled = aws_env("AWS_EC2_METADATA_DISABLED");
	bool found = false;
	int status = credentials_from_container(ret, &found, err);
	if (status == 0 && !found && !(disabled && strcasecmp(disabled, "true") == 0))
		status = credentials_from_instance(ret, &found, err);
	return status < 0 ? FOUND_ERROR : found ? FOUND : FOUND_NOT;
}

/* Roles. */

#define MAX_ROLES 8 /* a chain of source profiles */

static enum found from_profile(const struct aws_profile *profile, struct credentials *ret, struct err *err);

static bool has_keys(const struct aws_profile *profile)
{
	return aws_profile_value(profile, "aws_access_key_id") && aws_profile_value(profile, "aws_secret_access_key");
}

static bool has_role(const struct aws_profile *profile)
{
	return aws_profile_value(profile, "role_arn") && !aws_profile_value(profile, "web_identity_token_file");
}

static struct credentials_role role_of(const struct aws_profile *profile)
{
	return (struct credentials_role){
		.arn = aws_profile_value(profile, "role_arn"),
		.session_name = aws_profile_value(profile, "role_session_name"),
		.external_id = aws_profile_value(profile, "external_id"),
		.duration = aws_profile_value(profile, "duration_seconds"),
	};
}

static enum found from_source(const struct aws_profile *profile, const char *source, struct credentials *ret, struct err *err)
{
	bool found = false;
	enum found answer = FOUND_NOT;
	if (text_eq(source, "Environment"))
		answer = from_environment(ret, err);
	else if (text_eq(source, "EcsContainer"))
		answer = credentials_from_container(ret, &found, err) < 0 ? FOUND_ERROR : found ? FOUND : FOUND_NOT;
	else if (text_eq(source, "Ec2InstanceMetadata"))
		answer = credentials_from_instance(ret, &found, err) < 0 ? FOUND_ERROR : found ? FOUND : FOUND_NOT;
	else {
		err_set(err, ERR_CONFIG, "the AWS profile '%s' has the credential_source '%s'", profile->name, source);
		err_hint(err, "there are Environment, EcsContainer and Ec2InstanceMetadata");
		return FOUND_ERROR;
	}
	if (answer == FOUND_NOT)
		return (enum found)err_set(err, ERR_CONFIG, "the AWS profile '%s' takes its keys from %s, and there are none", profile->name, source);
	return answer;
}

static enum found from_role(const struct aws_profile *profile, unsigned depth, struct credentials *ret, struct err *err);

static enum found from_source_profile(const struct aws_profile *profile, const char *name, unsigned depth, struct credentials *ret,
				      struct err *err)
{
	struct aws_profile source CLEANUP(aws_profile_release) = { .config = MAP_INIT, .credentials = MAP_INIT, .services = MAP_INIT };
	if (aws_profile_load_other(profile, name, &source, err) < 0)
		return FOUND_ERROR;
	/* A profile may be its own source if it has keys besides its role. */
	if (!has_keys(&source) && has_role(&source))
		return from_role(&source, depth + 1, ret, err);
	enum found found = from_profile(&source, ret, err);
	if (found == FOUND_NOT)
		return (enum found)err_set(err, ERR_CONFIG, "the AWS profile '%s', the source_profile of '%s', has no credentials", name,
					   profile->name);
	return found;
}

static int check_role(const struct aws_profile *profile, unsigned depth, struct err *err)
{
	const char *source_profile = aws_profile_value(profile, "source_profile"), *source = aws_profile_value(profile, "credential_source");
	if (depth == MAX_ROLES)
		return err_set(err, ERR_CONFIG, "the AWS profile '%s' is reached by more than %d source_profiles, or in a circle", profile->name,
			       MAX_ROLES);
	if (!source_profile == !source) {
		err_set(err, ERR_CONFIG, "the AWS profile '%s' has a role_arn and %s source_profile %s credential_source", profile->name,
			source ? "both" : "neither", source ? "and" : "nor");
		return err_hint(err, "it needs one of them");
	}
	if (aws_profile_value(profile, "mfa_serial")) {
		err_set(err, ERR_CONFIG, "the role of the AWS profile '%s' asks for a code (mfa_serial), which mlmake does not ask for", profile->name);
		return err_hint(err, "get keys first: eval \"$(aws configure export-credentials --profile %s --format env)\"", profile->name);
	}
	return 0;
}

static enum found from_role(const struct aws_profile *profile, unsigned depth, struct credentials *ret, struct err *err)
{
	struct credentials keys CLEANUP(credentials_release) = { .access_key = NULL };
	struct credentials_role role = role_of(profile);
	const char *source_profile = aws_profile_value(profile, "source_profile"), *source = aws_profile_value(profile, "credential_source");
	if (!has_role(profile))
		return FOUND_NOT;
	if (check_role(profile, depth, err) < 0)
		return FOUND_ERROR;
	enum found found = source ? from_source(profile, source, &keys, err) : from_source_profile(profile, source_profile, depth, &keys, err);
	if (found != FOUND)
		return found;
	return credentials_assume_role(profile, &keys, &role, ret, err) < 0 ? FOUND_ERROR : FOUND;
}

static enum found from_web_identity(const struct aws_profile *profile, struct credentials *ret, struct err *err)
{
	struct credentials_role role = role_of(profile);
	const char *file = profile->by_remote ? NULL : aws_env("AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *arn = profile->by_remote ? NULL : aws_env("AWS_ROLE_ARN");
	const char *session = profile->by_remote ? NULL : aws_env("AWS_ROLE_SESSION_NAME");
	if (!file)
		file = aws_profile_value(profile, "web_identity_token_file");
	if (!file)
		return FOUND_NOT;
	role.arn = arn ? arn : role.arn;
	role.session_name = session ? session : role.session_name;
	role.external_id = role.duration = NULL; /* there are none for this kind, or botocore does not send them */
	if (!role.arn) {
		err_set(err, ERR_CONFIG, "there is a web identity's token (%s), and no role to take on with it", file);
		err_hint(err, "set AWS_ROLE_ARN, or role_arn of the AWS profile '%s'", profile->name);
		return FOUND_ERROR;
	}
	return credentials_assume_role_with_token(profile, file, &role, ret, err) < 0 ? FOUND_ERROR : FOUND;
}

static enum found from_login(const struct aws_profile *profile, struct err *err)
{
	if (!aws_profile_value(profile, "login_session"))
		return FOUND_NOT;
	err_set(err, ERR_CONFIG, "the AWS profile '%s' has a login_session: signing in with 'aws login' is not supported", profile->name);
	err_hint(err, "get keys: eval \"$(aws configure export-credentials --profile %s --format env)\"", profile->name);
	return FOUND_ERROR;
}

/* What a profile has to offer besides a role. */
static enum found from_profile(const struct aws_profile *profile, struct credentials *ret, struct err *err)
{
	bool sso = false;
	enum found found = from_web_identity(profile, ret, err);
	if (found == FOUND_NOT)
		found = credentials_from_sso(profile, ret, &sso, err) < 0 ? FOUND_ERROR : sso ? FOUND : FOUND_NOT;
	if (found == FOUND_NOT)
		found = from_keys(ret, &profile->credentials, profile->credentials_path, profile->name, err);
	if (found == FOUND_NOT)
		found = from_login(profile, err);
	if (found == FOUND_NOT)
		found = from_process(profile, ret, err);
	if (found == FOUND_NOT)
		found = from_keys(ret, &profile->config, profile->config_path, profile->name, err);
	return found;
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
		found = from_role(profile, 0, ret, err);
	if (found == FOUND_NOT)
		found = from_profile(profile, ret, err);
	if (found == FOUND_NOT)
		found = from_servers(ret, err);
	if (found == FOUND_NOT) {
		err_set(err, ERR_CONFIG, "there are no AWS credentials");
		err_hint(err, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write %s, or set access_key_id and secret_access_key of the "
			      "remote in .dvc/config.local; a public bucket needs allow_anonymous_login = true", profile->credentials_path);
	}
	return found == FOUND ? 0 : -1;
}
