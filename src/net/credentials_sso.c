/*
 * AWS SSO (IAM Identity Center). `aws sso login` leaves a token in ~/.aws/sso/cache, in a file named by the sha1 of the sso-session's
 * name (or of the start URL, in profiles of the older form). A session's token is renewed with its refresh token where it is about to
 * expire, and written back, as the aws program does.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "formats/digest.h"
#include "formats/json.h"
#include "net/credentials_http.h"
#include "net/sigv4.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_CACHE (64 * 1024)
#define RENEW_BEFORE_S (15 * 60)

struct sso {
	const struct aws_profile *profile;
	const char *session;                       /* NULL: the older form */
	struct map section;                        /* of the session */
	const char *start_url, *region, *account, *role;
	char *cache_path;
};

static void sso_release(struct sso *sso)
{
	map_release_values(&sso->section, free);
	free(sso->cache_path);
}

static const char *setting(const struct sso *sso, const char *key)
{
	const char *value = map_get(&sso->section, key);
	return value ? value : aws_profile_value(sso->profile, key);
}

static int log_in(const struct sso *sso, struct err *err)
{
	return err_hint(err, sso->session ? "run: aws sso login --sso-session %s" : "run: aws sso login --profile %s",
			sso->session ? sso->session : sso->profile->name);
}

static int read_settings(struct sso *sso, struct err *err)
{
	const struct aws_profile *profile = sso->profile;
	bool found = false;
	sso->session = aws_profile_value(profile, "sso_session");
	if (sso->session && aws_profile_section(profile, "sso-session", sso->session, &sso->section, &found, err) < 0)
		return -1;
	if (sso->session && !found)
		return err_set(err, ERR_CONFIG, "the AWS profile '%s' names the sso-session '%s', which is not in %s", profile->name, sso->session,
			       profile->config_path);
	const struct { const char *key; const char **to; } needed[] = {
		{ "sso_start_url", &sso->start_url }, { "sso_region", &sso->region }, { "sso_account_id", &sso->account },
		{ "sso_role_name", &sso->role },
	};
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		*needed[i].to = setting(sso, needed[i].key);
		if (!*needed[i].to) {
			err_set(err, ERR_CONFIG, "the AWS profile '%s' is for single sign-on, but has no %s", profile->name, needed[i].key);
			return err_hint(err, "run: aws configure sso");
		}
		const char *of_profile = aws_profile_value(profile, needed[i].key);
		if (of_profile && !text_eq(of_profile, *needed[i].to))
			return err_set(err, ERR_CONFIG, "the AWS profile '%s' and its sso-session '%s' differ in %s", profile->name, sso->session,
				       needed[i].key);
	}
	return 0;
}

static int find_cache(struct sso *sso, struct err *err)
{
	const char *home = aws_env("HOME"), *name = sso->session ? sso->session : sso->start_url;
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	if (!home)
		return err_set(err, ERR_CONFIG, "HOME is not set, so there is no ~/.aws/sso/cache");
	digest_bytes(DIGEST_SHA1, name, strlen(name), &digest);
	digest_hex(&digest, hex);
	sso->cache_path = mem_printf("%s/.aws/sso/cache/%s.json", home, hex);
	return 0;
}

static void service_url(const struct sso *sso, const char *service, const char *prefix, const char *path, struct buf *out)
{
	const char *endpoint = aws_profile_endpoint(sso->profile, service);
	if (endpoint)
		buf_addf(out, "%.*s%s", (int)(strlen(endpoint) - text_ends(endpoint, "/")), endpoint, path);
	else
		buf_addf(out, "https://%s.%s.amazonaws.com%s%s", prefix, sso->region, text_starts(sso->region, "cn-") ? ".cn" : "", path);
}

struct token {
	char *access, *refresh, *client_id, *client_secret, *registration_expires;
	int64_t expires;
};

static void free_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void token_release(struct token *token)
{
	char *texts[] = { token->access, token->refresh, token->client_id, token->client_secret, token->registration_expires };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free_secret(texts[i]);
	*token = (struct token){ .access = NULL };
}

static int read_token(const struct sso *sso, struct token *ret, struct err *err)
{
	struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
	if (!fs_exists(sso->cache_path)) {
		err_set(err, ERR_CONFIG, "nobody has signed in for the AWS profile '%s': there is no %s", sso->profile->name, sso->cache_path);
		return log_in(sso, err);
	}
	if (json_parse_file(&doc, sso->cache_path, sso->cache_path, MAX_CACHE, err) < 0) {
		err_note(err, "while looking for the single sign-on token of the AWS profile '%s'", sso->profile->name);
		return log_in(sso, err);
	}
	const char *access = json_str(json_get(doc.root, "accessToken"));
	ret->expires = text_parse_utc(json_str(json_get(doc.root, "expiresAt")));
	ret->access = mem_strdup(access);
	ret->refresh = mem_strdup(json_str(json_get(doc.root, "refreshToken")));
	ret->client_id = mem_strdup(json_str(json_get(doc.root, "clientId")));
	ret->client_secret = mem_strdup(json_str(json_get(doc.root, "clientSecret")));
	ret->registration_expires = mem_strdup(json_str(json_get(doc.root, "registrationExpiresAt")));
	if (access && ret->expires)
		return 0;
	err_set(err, ERR_CONFIG, "%s holds no accessToken with expiresAt", sso->cache_path);
	return log_in(sso, err);
}

static void put_pair(struct json_writer *w, const char *key, const char *value)
{
	if (!value)
		return;
	json_key(w, key);
	json_put_str(w, value);
}

/* Losing this costs another renewal, so a failure is no error. */
static void write_token(const struct sso *sso, const struct token *token)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	struct tm utc;
	time_t expires = (time_t)token->expires;
	char stamp[32];
	gmtime_r(&expires, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &utc);
	json_begin(&w, &text, JSON_PYTHON);
	json_open_object(&w);
	put_pair(&w, "startUrl", sso->start_url);
	put_pair(&w, "region", sso->region);
	put_pair(&w, "accessToken", token->access);
	put_pair(&w, "expiresAt", stamp);
	put_pair(&w, "clientId", token->client_id);
	put_pair(&w, "clientSecret", token->client_secret);
	put_pair(&w, "registrationExpiresAt", token->registration_expires);
	put_pair(&w, "refreshToken", token->refresh);
	json_end(&w);
	if (fs_write_file(sso->cache_path, text.data, text.len, 0600, FS_VOLATILE, &ignored) < 0)
		err_release(&ignored);
	explicit_bzero(text.data, text.len);
}

static int take_renewed(const struct buf *answer, struct token *token, struct err *err)
{
	struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
	if (json_parse(&doc, "the single sign-on service", answer->data, answer->len, err) < 0)
		return -1;
	const char *access = json_str(json_get(doc.root, "accessToken")), *refresh = json_str(json_get(doc.root, "refreshToken"));
	int64_t seconds = json_int(json_get(doc.root, "expiresIn"), 0);
	if (!access || seconds <= 0)
		return err_set(err, ERR_NET, "the single sign-on service gave no token");
	free_secret(token->access);
	token->access = mem_strdup(access);
	token->expires = (int64_t)time(NULL) + seconds;
	if (refresh) {
		free_secret(token->refresh);
		token->refresh = mem_strdup(refresh);
	}
	return 0;
}

/* -1 with err if that is not possible: what there is may still be good. */
static int renew(const struct sso *sso, struct token *token, struct err *err)
{
	struct buf url CLEANUP(buf_release) = BUF_INIT;
	struct buf body CLEANUP(buf_release) = BUF_INIT;
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	struct strlist headers CLEANUP(strlist_release) = { 0 };
	struct json_writer w;
	unsigned status;
	if (!sso->session || !token->refresh || !token->client_id || !token->client_secret ||
	    text_parse_utc(token->registration_expires) <= (int64_t)time(NULL))
		return err_set(err, ERR_CONFIG, "it cannot be renewed");
	json_begin(&w, &body, JSON_COMPACT);
	json_open_object(&w);
	put_pair(&w, "grantType", "refresh_token");
	put_pair(&w, "clientId", token->client_id);
	put_pair(&w, "clientSecret", token->client_secret);
	put_pair(&w, "refreshToken", token->refresh);
	json_end(&w);
	strlist_add(&headers, "content-type: application/json");
	service_url(sso, "sso_oidc", "oidc", "/token", &url);
	struct credentials_ask ask = { .method = "POST", .url = url.data, .headers = &headers, .body = body.data,
				       .ca_bundle = aws_profile_get(sso->profile, "ca_bundle") };
	int result = credentials_ask(&ask, &answer, &status, err);
	if (result == 0)
		result = status == 200 ? take_renewed(&answer, token, err)
				       : err_set(err, ERR_NET, "the single sign-on service refuses to renew it (status %u)", status);
	explicit_bzero(body.data, body.len);
	explicit_bzero(answer.data, answer.len);
	if (result == 0)
		write_token(sso, token);
	return result;
}

static int good_token(const struct sso *sso, struct token *token, struct err *err)
{
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (read_token(sso, token, err) < 0)
		return -1;
	int64_t now = (int64_t)time(NULL);
	if (token->expires - now > RENEW_BEFORE_S || renew(sso, token, &late) == 0 || token->expires > now)
		return 0;
	err_set(err, ERR_CONFIG, "the single sign-on token of the AWS profile '%s' has expired, and %s", sso->profile->name, late.message);
	return log_in(sso, err);
}

static int take_keys(const struct sso *sso, const struct buf *answer, struct credentials *ret, struct err *err)
{
	struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
	if (json_parse(&doc, "the single sign-on service", answer->data, answer->len, err) < 0)
		return -1;
	const struct json_node *keys = json_get(doc.root, "roleCredentials");
	const char *key = json_str(json_get(keys, "accessKeyId")), *secret = json_str(json_get(keys, "secretAccessKey"));
	if (!key || !secret)
		return err_set(err, ERR_NET, "the single sign-on service answered without keys");
	*ret = (struct credentials){ .access_key = mem_strdup(key), .secret_key = mem_strdup(secret),
				     .session_token = mem_strdup(json_str(json_get(keys, "sessionToken"))),
				     .expires = json_int(json_get(keys, "expiration"), 0) / 1000,
				     .source = mem_printf("single sign-on, the role %s of the account %s", sso->role, sso->account) };
	return 0;
}

static int get_keys(const struct sso *sso, const struct token *token, struct credentials *ret, struct err *err)
{
	struct buf url CLEANUP(buf_release) = BUF_INIT;
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	struct strlist headers CLEANUP(strlist_release) = { 0 };
	unsigned status;
	service_url(sso, "sso", "portal.sso", "/federation/credentials?role_name=", &url);
	sigv4_encode(&url, sso->role, false);
	buf_addstr(&url, "&account_id=");
	sigv4_encode(&url, sso->account, false);
	strlist_take(&headers, mem_printf("x-amz-sso_bearer_token: %s", token->access));
	struct credentials_ask ask = { .method = "GET", .url = url.data, .headers = &headers,
				       .ca_bundle = aws_profile_get(sso->profile, "ca_bundle") };
	int result = credentials_ask(&ask, &answer, &status, err);
	if (result == 0 && status == 401) {
		err_set(err, ERR_CONFIG, "the single sign-on token is not accepted any more");
		result = log_in(sso, err);
	} else if (result == 0 && status != 200) {
		err_set(err, status >= 500 ? ERR_NET : ERR_CONFIG, "the single sign-on service does not give the role %s of the account %s (status %u)",
			sso->role, sso->account, status);
		result = err_hint(err, "check sso_role_name and sso_account_id");
	}
	if (result == 0)
		result = take_keys(sso, &answer, ret, err);
	explicit_bzero(answer.data, answer.len);
	for (size_t i = 0; i < headers.len; i++)
		explicit_bzero(headers.at[i], strlen(headers.at[i]));
	return result;
}

int credentials_from_sso(const struct aws_profile *profile, struct credentials *ret, bool *ret_found, struct err *err)
{
	struct sso sso CLEANUP(sso_release) = { .profile = profile, .section = MAP_INIT };
	struct token token CLEANUP(token_release) = { .access = NULL };
	if (!aws_profile_value(profile, "sso_role_name") && !aws_profile_value(profile, "sso_account_id"))
		return 0;
	if (read_settings(&sso, err) < 0 || find_cache(&sso, err) < 0 || good_token(&sso, &token, err) < 0 || get_keys(&sso, &token, ret, err) < 0)
		return -1;
	*ret_found = true;
	return 0;
}
