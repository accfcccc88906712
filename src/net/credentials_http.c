#include "net/credentials_http.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MAX_ANSWER (64 * 1024)
#define NEAR_TIMEOUT_S 1
#define FAR_TIMEOUT_S 10
#define TTL "21600"
#define TRIES 3
#define PAUSE_MS 200

static int ask_once(const struct credentials_ask *ask, struct buf *answer, unsigned *ret_status, bool *ret_again, struct err *err)
{
	unsigned timeout = ask->near ? NEAR_TIMEOUT_S : FAR_TIMEOUT_S;
	struct http_config config = { .no_proxy = ask->near, .connections = 1, .connect_timeout_ms = timeout * 1000, .idle_timeout_s = timeout,
				      .ca_bundle = aws_env("AWS_CA_BUNDLE") ? NULL : ask->ca_bundle };
	struct loop *loop = NULL;
	struct http *http = NULL;
	struct http_request request = HTTP_REQUEST_INIT;
	*ret_again = false;
	if (loop_new(&loop, err) < 0)
		return -1;
	int status = http_new(&config, loop, &http, err);
	if (status == 0) {
		request.method = ask->method;
		request.url = ask->url;
		request.headers = ask->headers;
		request.body = ask->body;
		request.body_len = ask->body ? strlen(ask->body) : 0;
		request.response = answer;
		request.response_max = MAX_ANSWER;
		status = http_run(http, &request, err);
		*ret_status = request.ret_status;
		*ret_again = status < 0 ? request.ret_transient : request.ret_status >= 500 || request.ret_status == 429;
		http_request_release(&request);
		http_free(http);
	}
	loop_free(loop);
	return status;
}

int credentials_ask(const struct credentials_ask *ask, struct buf *answer, unsigned *ret_status, struct err *err)
{
	for (unsigned tries = 1;; tries++) {
		bool again;
		int status = ask_once(ask, answer, ret_status, &again, err);
		if (!again || (ask->probe && status < 0) || tries == TRIES)
			return status;
		err_release(err);
		struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L * (long)tries };
		nanosleep(&pause, NULL);
	}
}

/* A request to a server nearby; any status but 200 is an error. *ret_status is 0 where nobody answered. */
static int ask_near(const char *method, const char *url, const char *header, struct buf *answer, unsigned *ret_status, struct err *err)
{
	struct strlist headers CLEANUP(strlist_release) = { 0 };
	struct credentials_ask ask = { .method = method, .url = url, .headers = &headers, .near = true, .probe = strcmp(method, "PUT") == 0 };
	*ret_status = 0;
	if (header)
		strlist_add(&headers, header);
	if (credentials_ask(&ask, answer, ret_status, err) < 0) {
		*ret_status = 0;
		return -1;
	}
	return *ret_status == 200 ? 0 : err_set(err, ERR_NET, "%s %s: the server answered with status %u", method, url, *ret_status);
}

/* Plain http may carry credentials from this machine and the addresses that AWS gives to agents, no further. */
static bool host_is_near(const char *url)
{
	static const char *const near[] = { "127.0.0.1", "localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]" };
	if (text_starts(url, "https://"))
		return true;
	if (!text_starts(url, "http://"))
		return false;
	const char *host = url + strlen("http://");
	for (size_t i = 0; i < ARRAY_LEN(near); i++) {
		size_t len = strlen(near[i]);
		if (strncmp(host, near[i], len) == 0 && (host[len] == '/' || host[len] == ':' || host[len] == '\0'))
			return true;
	}
	return false;
}

static int container_token(struct buf *header, struct err *err)
{
	const char *file = aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), *token = aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	if (file && fs_read_file(file, MAX_ANSWER, &text, err) < 0)
		return -1;
	if (!file)
		buf_addstr(&text, token ? token : "");
	buf_truncate(&text, strcspn(text.data, "\r\n"));
	if (text.len)
		buf_addf(header, "Authorization: %s", text.data);
	return 0;
}

int credentials_from_container(struct credentials *ret, bool *ret_found, struct err *err)
{
	const char *relative = aws_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), *full = aws_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	struct buf header CLEANUP(buf_release) = BUF_INIT;
	unsigned status;
	if (!relative && !full)
		return 0;
	char *url OWNED = relative ? mem_printf("http://169.254.170.2%s", relative) : mem_strdup(full);
	if (!host_is_near(url)) {
		err_set(err, ERR_CONFIG, "AWS_CONTAINER_CREDENTIALS_FULL_URI is '%s': credentials are not asked from there", full);
		return err_hint(err, "use https, or an address of this machine");
	}
	if (container_token(&header, err) < 0 || ask_near("GET", url, header.len ? header.data : NULL, &answer, &status, err) < 0 ||
	    credentials_parse("the container's credential endpoint", answer.data, answer.len, "Token", ret, err) < 0)
		return err_note(err, "while asking the container's endpoint for credentials");
	*ret_found = true;
	return 0;
}

static int in_trouble(struct err *err)
{
	return err_note(err, "while asking the instance's metadata service for credentials");
}

int credentials_from_instance(struct credentials *ret, bool *ret_found, struct err *err)
{
	const char *named = aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT"), *mode = aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	bool v6 = mode && strcasecmp(mode, "ipv6") == 0;
	char *base OWNED = mem_strdup(named ? named : v6 ? "http://[fd00:ec2::254]" : "http://169.254.169.254");
	struct buf token CLEANUP(buf_release) = BUF_INIT;
	struct buf header CLEANUP(buf_release) = BUF_INIT;
	struct buf role CLEANUP(buf_release) = BUF_INIT;
	struct buf answer CLEANUP(buf_release) = BUF_INIT;
	unsigned status;
	if (text_ends(base, "/"))
		base[strlen(base) - 1] = '\0';
	char *token_url OWNED = mem_printf("%s/latest/api/token", base);
	if (ask_near("PUT", token_url, "X-aws-ec2-metadata-token-ttl-seconds: " TTL, &token, &status, err) < 0) {
		if (status >= 500)
			return in_trouble(err);
		err_release(err); /* no instance of EC2, most likely */
		return 0;
	}
	buf_truncate(&token, strcspn(token.data, "\r\n"));
	buf_addf(&header, "X-aws-ec2-metadata-token: %s", token.data);
	char *list_url OWNED = mem_printf("%s/latest/meta-data/iam/security-credentials/", base);
	if (ask_near("GET", list_url, header.data, &role, &status, err) < 0) {
		if (status != 404)
			return in_trouble(err);
		err_release(err); /* an instance without a role */
		return 0;
	}
	buf_truncate(&role, strcspn(role.data, "\r\n"));
	char *role_url OWNED = mem_printf("%s%s", list_url, role.data);
	if (ask_near("GET", role_url, header.data, &answer, &status, err) < 0 ||
	    credentials_parse("the instance's role", answer.data, answer.len, "Token", ret, err) < 0)
		return in_trouble(err);
	*ret_found = true;
	return 0;
}
