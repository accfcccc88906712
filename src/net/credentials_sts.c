/*
 * AWS STS: roles taken on with other keys, or with a token that somebody else has signed.
 * Query API 2011-06-15: a form goes out, XML comes back.
 */
#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "formats/digest.h"
#include "net/credentials_http.h"
#include "net/sigv4.h"
#include "net/xml.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_TOKEN (64 * 1024)
#define GLOBAL_REGION "us-east-1"

struct sts {
	char *url, *region;
	const char *host, *path; /* in url */
};

static void sts_release(struct sts *sts)
{
	free(sts->url);
	free(sts->region);
}

static void sts_find(const struct aws_profile *profile, struct sts *ret)
{
	const char *region = profile->by_remote ? NULL : aws_env("AWS_DEFAULT_REGION");
	const char *endpoint = aws_profile_endpoint(profile, "sts");
	if (!region)
		region = aws_profile_value(profile, "region");
	if (!region)
		region = aws_env("AWS_DEFAULT_REGION");
	if (!region)
		region = aws_env("AWS_REGION");
	if (endpoint)
		ret->url = mem_printf("%s%s", endpoint, strchr(strstr(endpoint, "://") ? strstr(endpoint, "://") + 3 : endpoint, '/') ? "" : "/");
	else if (region)
		ret->url = mem_printf("https://sts.%s.amazonaws.com%s/", region, text_starts(region, "cn-") ? ".cn" : "");
	else
		ret->url = mem_strdup("https://sts.amazonaws.com/");
	ret->region = mem_strdup(region ? region : GLOBAL_REGION);
	const char *scheme = strstr(ret->url, "://");
	ret->host = scheme ? scheme + 3 : ret->url;
	ret->path = strchr(ret->host, '/');
}

static void add_field(struct buf *form, const char *name, const char *value)
{
	if (!value)
		return;
	buf_addf(form, "&%s=", name);
	sigv4_encode(form, value, false);
}

static void sign(const struct sts *sts, const struct credentials *source, const char *body, struct strlist *headers)
{
	struct sigv4 signer = { .access_key = source->access_key, .secret_key = source->secret_key, .session_token = source->session_token,
				.region = sts->region, .service = "sts", .encode_path_again = true };
	char *host OWNED = mem_strndup(sts->host, strcspn(sts->host, "/"));
	struct digest digest;
	char hash[DIGEST_HEX_MAX];
	digest_bytes(DIGEST_SHA256, body, strlen(body), &digest);
	digest_hex(&digest, hash);
	struct sigv4_input input = { .method = "POST", .host = host, .path = sts->path, .headers = headers, .payload_hash = hash,
				     .now = time(NULL) };
	struct strlist added = { 0 };
	sigv4_sign(&signer, &input, &added);
	for (size_t i = 0; i < added.len; i++)
		strlist_take(headers, added.at[i]);
	vec_release(&added);
	explicit_bzero(signer.key, sizeof(signer.key));
}

static int refused(const struct credentials_role *role, unsigned status, const struct buf *answer, struct err *err)
{
	struct buf code CLEANUP(buf_release) = BUF_INIT;
	struct buf message CLEANUP(buf_release) = BUF_INIT;
	struct buf request CLEANUP(buf_release) = BUF_INIT;
	xml_find(answer->data, answer->len, "Code", &code);
	xml_find(answer->data, answer->len, "Message", &message);
	xml_find(answer->data, answer->len, "RequestId", &request);
	err_set(err, status >= 500 ? ERR_NET : ERR_CONFIG, "STS does not give the role %s: status %u%s%.80s%s%.300s%s%.80s%s", role->arn, status,
		code.len ? ", " : "", code.data, message.len ? ": " : "", message.data, request.len ? " (request " : "", request.data,
		request.len ? ")" : "");
	if (text_eq(code.data, "ExpiredTokenException") || text_eq(code.data, "ExpiredToken") || text_eq(code.data, "IDPCommunicationError"))
		return err_hint(err, "the token that the role is asked with has expired, or cannot be checked: get a new one");
	if (text_eq(code.data, "ValidationError"))
		return err_hint(err, "check role_arn, role_session_name and duration_seconds");
	return err_hint(err, "check role_arn and external_id, the role's trust policy, and this machine's clock");
}

static int take_answer(const struct credentials_role *role, const struct buf *answer, struct credentials *ret, struct err *err)
{
	struct buf key CLEANUP(buf_release) = BUF_INIT;
	struct buf secret CLEANUP(buf_release) = BUF_INIT;
	struct buf token CLEANUP(buf_release) = BUF_INIT;
	struct buf expires CLEANUP(buf_release) = BUF_INIT;
	if (!xml_find(answer->data, answer->len, "AccessKeyId", &key) || !xml_find(answer->data, answer->len, "SecretAccessKey", &secret) ||
	    !xml_find(answer->data, answer->len, "SessionToken", &token) || !key.len || !secret.len)
		return err_set(err, ERR_NET, "STS answered without keys for the role %s", role->arn);
	*ret = (struct credentials){ .access_key = mem_strdup(key.data), .secret_key = mem_strdup(secret.data),
				     .session_token = mem_strdup(token.data), .source = mem_printf("the role %s", role->arn) };
	if (xml_find(answer->data, answer->len, "Expiration", &expires))
		ret->expires = text_parse_utc(expires.data);
	explicit_bzero(secret.data, secret.len);
	explicit_bzero(token.data, token.len);
	return 0;
}

/* source NULL: the form itself proves who asks. */
static int exchange(const struct aws_profile *profile, const struct credentials *source, const struct credentials_role *role,
		    struct buf *form, struct credentials *ret, struct err *err)
{
	struct sts sts CLEANUP(sts_release) = { .url = NULL };
	struct strlist headers CLEANUP(strlist_release) = { 0 };
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	char *made_up OWNED = mem_printf("mlmake-%lld", (long long)time(NULL));
	unsigned status;
	add_field(form, "RoleArn", role->arn);
	add_field(form, "RoleSessionName", role->session_name ? role->session_name : made_up);
	add_field(form, "ExternalId", role->external_id);
	add_field(form, "DurationSeconds", role->duration);
	sts_find(profile, &sts);
	strlist_add(&headers, "content-type: application/x-www-form-urlencoded; charset=utf-8");
	if (source)
		sign(&sts, source, form->data, &headers);
	struct credentials_ask ask = { .method = "POST", .url = sts.url, .headers = &headers, .body = form->data,
				       .ca_bundle = aws_profile_get(profile, "ca_bundle") };
	int result = credentials_ask(&ask, &answer, &status, err);
	if (result == 0)
		result = status == 200 ? take_answer(role, &answer, ret, err) : refused(role, status, &answer, err);
	explicit_bzero(answer.data, answer.len);
	return result < 0 ? err_note(err, "while asking for the role of the AWS profile '%s'", profile->name) : 0;
}

int credentials_assume_role(const struct aws_profile *profile, const struct credentials *source, const struct credentials_role *role,
			    struct credentials *ret, struct err *err)
{
	struct buf form CLEANUP(buf_release) = BUF_INIT;
	buf_addstr(&form, "Action=AssumeRole&Version=2011-06-15");
	return exchange(profile, source, role, &form, ret, err);
}

int credentials_assume_role_with_token(const struct aws_profile *profile, const char *token_file, const struct credentials_role *role,
				       struct credentials *ret, struct err *err)
{
	struct buf form CLEANUP(buf_release) = BUF_INIT;
	struct buf token CLEANUP(buf_release) = BUF_INIT;
	if (fs_read_file(token_file, MAX_TOKEN, &token, err) < 0) {
		err_note(err, "while reading the web identity's token");
		return err_hint(err, "web_identity_token_file or AWS_WEB_IDENTITY_TOKEN_FILE names the file");
	}
	buf_addstr(&form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
	add_field(&form, "WebIdentityToken", token.data);
	int status = exchange(profile, NULL, role, &form, ret, err);
	explicit_bzero(form.data, form.len);
	explicit_bzero(token.data, token.len);
	return status;
}
