#include "net/s3.h"

#include "base/mem.h"
#include "base/text.h"
#include "formats/digest.h"
#include "net/aws_profile.h"
#include "net/credentials.h"
#include "net/http_answer.h"
#include "net/s3_address.h"
#include "net/s3_error.h"
#include "net/sigv4.h"
#include "net/xml.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_TRIES 5
#define TRY_FOR_MS 30000
#define FIRST_PAUSE_MS 100
#define MAX_PAUSE_MS 10000
#define MAX_ERROR_BODY (64 * 1024)
#define RENEW_BEFORE_S 300
#define RENEW_AGAIN_S 10 /* after a renewal that failed */
#define MAX_CONNECTIONS 256
#define THRESHOLD_PUT (64ull << 20)
#define CHUNKSIZE_PUT (16ull << 20)
#define THRESHOLD_GET (24ull << 20)
#define CHUNKSIZE_GET (8ull << 20)
#define MIN_CHUNKSIZE_PUT (5ull << 20)
#define MAX_CHUNKSIZE (5ull << 30)

struct s3 {
	struct loop *loop;
	struct http *http;
	char *place;
	char *name;
	struct s3_address address;
	bool anonymous;
	unsigned connections;
	uint64_t try_for_ms;
	struct remote_spec spec;      /* what finding credentials takes; strings owned */
	struct aws_profile profile;
	struct credentials credentials;
	unsigned credentials_generation;
	int64_t renew_at;             /* seconds since the epoch; 0: never */
	struct s3_headers headers;
	struct sigv4 signer;
	unsigned max_tries;
	time_t clock_offset;
	uint64_t last_success_ms;
	unsigned random;
	uint64_t slowdowns;
};

static void try_now(void *op);

/* Opening. */

static void copy_spec(struct s3 *s3, const struct remote_spec *spec)
{
	s3->spec.name = mem_strdup(spec->name);
	s3->spec.access_key_id = mem_strdup(spec->access_key_id);
	s3->spec.secret_access_key = mem_strdup(spec->secret_access_key);
	s3->spec.session_token = mem_strdup(spec->session_token);
}

/* How often a request is sent at most, as botocore is told: AWS_MAX_ATTEMPTS, max_attempts of the profile. */
static unsigned max_tries(const struct s3 *s3)
{
	const char *text = aws_env("AWS_MAX_ATTEMPTS");
	uint64_t number;
	if (!text)
		text = aws_profile_get(&s3->profile, "max_attempts");
	return text && text_parse_u64(text, &number) && number >= 1 && number <= 100 ? (unsigned)number : MAX_TRIES;
}

static int configure(struct s3 *s3, const struct remote_spec *spec, struct err *err)
{
	if (s3_headers_make(spec, &s3->headers, err) < 0 || aws_profile_load(spec, &s3->profile, err) < 0 ||
	    s3_address_make(spec, &s3->profile, s3->name, &s3->address, err) < 0)
		return -1;
	const struct s3_address *address = &s3->address;
	s3->max_tries = max_tries(s3);
	s3->signer.region = address->region;
	s3->place = mem_printf("%s s3://%s/%s", address->endpoint ? address->endpoint : "aws", address->bucket, address->prefix);
	return 0;
}

int s3_open(const struct remote_spec *spec, struct loop *loop, struct s3 **ret, struct err *err)
{
	struct s3 *s3 = mem_alloc(sizeof(*s3));
	s3->loop = loop;
	s3->name = mem_strdup(spec->name ? spec->name : spec->url);
	s3->anonymous = spec->anonymous;
	s3->connections = spec->jobs ? spec->jobs : MAX_CONNECTIONS;
	if (s3->connections > MAX_CONNECTIONS)
		s3->connections = MAX_CONNECTIONS;
	s3->random = (unsigned)getpid() ^ (unsigned)loop_now_ms();
	s3->try_for_ms = TRY_FOR_MS;
	if (spec->read_timeout_s && 1000ull * spec->read_timeout_s > s3->try_for_ms)
		s3->try_for_ms = 1000ull * spec->read_timeout_s;
	s3->signer.service = "s3";
	s3->signer.payload_header = true;
	copy_spec(s3, spec);
	if (configure(s3, spec, err) < 0) {
		s3_free(s3);
		return -1;
	}
	struct http_config http = {
		.ca_bundle = spec->ca_bundle || aws_env("AWS_CA_BUNDLE") ? spec->ca_bundle : aws_profile_get(&s3->profile, "ca_bundle"),
		.no_verify = spec->no_ssl_verify,
		.connections = s3->connections,
		.connect_timeout_ms = 1000 * spec->connect_timeout_s,
		.idle_timeout_s = spec->read_timeout_s,
		.limit_rate = spec->limit_rate,
	};
	if (http_new(&http, loop, &s3->http, err) < 0) {
		s3_free(s3);
		return -1;
	}
	*ret = s3;
	return 0;
}

static void free_string(const char *text)
{
	if (text)
		explicit_bzero((char *)(uintptr_t)text, strlen(text));
	free((char *)(uintptr_t)text);
}

void s3_free(struct s3 *s3)
{
	if (!s3)
		return;
	http_free(s3->http);
	aws_profile_release(&s3->profile);
	credentials_release(&s3->credentials);
	s3_headers_release(&s3->headers);
	free_string(s3->spec.name);
	free_string(s3->spec.access_key_id);
	free_string(s3->spec.secret_access_key);
	free_string(s3->spec.session_token);
	free(s3->name);
	free(s3->place);
	s3_address_release(&s3->address);
	explicit_bzero(s3->signer.key, sizeof(s3->signer.key));
	free(s3);
}

/* Well before they expire; those that were young when they came are kept for half of their time at least. */
static void set_renewal(struct s3 *s3)
{
	int64_t now = (int64_t)time(NULL), left = s3->credentials.expires - now;
	s3->renew_at = 0;
	if (s3->credentials.expires)
		s3->renew_at = now + (left / 2 > left - RENEW_BEFORE_S ? left / 2 : left - RENEW_BEFORE_S);
}

static int find_credentials(struct s3 *s3, struct err *err)
{
	struct credentials found;
	if (credentials_find(&s3->spec, &s3->profile, &found, err) < 0)
		return -1;
	credentials_release(&s3->credentials);
	s3->credentials = found;
	s3->signer.access_key = found.access_key;
	s3->signer.secret_key = found.secret_key;
	s3->signer.session_token = found.session_token;
	s3->signer.key_date[0] = '\0';
	s3->credentials_generation++;
	set_renewal(s3);
	return 0;
}

int s3_ready(struct s3 *s3, struct err *err)
{
	struct err late CLEANUP(err_release) = ERR_INIT;
	int64_t now = (int64_t)time(NULL);
	if (s3->anonymous || (s3->credentials.access_key && (s3->renew_at == 0 || s3->renew_at > now)))
		return 0;
	if (find_credentials(s3, &late) == 0)
		return 0;
	/* What is still good is used; whoever gives out new ones is asked again later. */
	if (s3->credentials.access_key && s3->credentials.expires > now) {
		s3->renew_at = now + RENEW_AGAIN_S;
		return 0;
	}
	err_move(err, &late);
	return err_note(err, "for the remote '%s'", s3->name);
}

char *s3_key(const struct s3 *s3, const char *name)
{
	return *s3->address.prefix ? mem_printf("%s/%s", s3->address.prefix, name) : mem_strdup(name);
}

uint64_t s3_slowdowns(const struct s3 *s3)
{
	return s3->slowdowns;
}

bool s3_is_at_limit(const struct s3 *s3)
{
	return http_is_at_limit(s3->http);
}

const char *s3_name(const struct s3 *s3)
{
	return s3->name;
}

const char *s3_place(const struct s3 *s3)
{
	return s3->place;
}

static uint64_t profile_size(const struct s3 *s3, const char *name, uint64_t otherwise)
{
	const char *text = aws_profile_get(&s3->profile, name);
	uint64_t size;
	return text && text_parse_size(text, &size) && size ? size : otherwise;
}

uint64_t s3_multipart_threshold(const struct s3 *s3, bool put)
{
	return profile_size(s3, "s3.multipart_threshold", put ? THRESHOLD_PUT : THRESHOLD_GET);
}

uint64_t s3_multipart_chunksize(const struct s3 *s3, bool put)
{
	uint64_t size = profile_size(s3, "s3.multipart_chunksize", put ? CHUNKSIZE_PUT : CHUNKSIZE_GET);
	if (put && size < MIN_CHUNKSIZE_PUT)
		size = MIN_CHUNKSIZE_PUT;
	return size < MAX_CHUNKSIZE ? size : MAX_CHUNKSIZE;
}

unsigned s3_connections(const struct s3 *s3)
{
	return s3->connections;
}

/* One try. */

static void sign(struct s3 *s3, struct s3_op *op, const char *path)
{
	char hash[DIGEST_HEX_MAX] = SIGV4_UNSIGNED;
	if (!op->payload_hash && op->body_fd < 0) {
		struct digest digest;
		digest_bytes(DIGEST_SHA256, op->body ? op->body : "", op->body_len, &digest);
		digest_hex(&digest, hash);
	}
	struct strlist added = { 0 };
	struct sigv4_input input = {
		.method = op->refused ? "GET" : op->method, .host = s3->address.host, .path = path, .query = &op->query, .headers = &op->sent_headers,
		.payload_hash = op->payload_hash ? op->payload_hash : hash, .now = time(NULL) + s3->clock_offset,
	};
	sigv4_sign(&s3->signer, &input, &added);
	for (size_t i = 0; i < added.len; i++)
		strlist_take(&op->sent_headers, added.at[i]);
	vec_release(&added);
}

static void make_url(struct s3 *s3, struct s3_op *op)
{
	struct buf url = BUF_INIT;
	op->generation = s3->address.generation;
	buf_addstr(&url, s3->address.base);
	buf_addstr(&url, s3->address.path);
	if (op->key || url.data[url.len - 1] != '/')
		buf_addch(&url, '/');
	if (!op->key && !s3->address.virtual_host)
		buf_truncate(&url, url.len - 1);
	if (op->key)
		sigv4_encode(&url, op->key, true);
	char *path OWNED = mem_strdup(url.data + strlen(s3->address.base));
	for (size_t i = 0; i < op->query.len; i++)
		buf_addf(&url, "%c%s", i ? '&' : '?', op->query.at[i]);
	free(op->url);
	op->url = buf_detach(&url);
	strlist_release(&op->sent_headers);
	for (size_t i = 0; i < op->headers.len; i++)
		strlist_add(&op->sent_headers, op->headers.at[i]);
	for (size_t i = 0; i < s3->headers.of[op->use].len; i++)
		strlist_add(&op->sent_headers, s3->headers.of[op->use].at[i]);
	if (op->refused)
		strlist_add(&op->sent_headers, "range: bytes=0-0");
	op->credentials_generation = s3->credentials_generation;
	if (!s3->anonymous)
		sign(s3, op, path);
}

static void settle(struct s3_op *op)
{
	op->done(op);
}

static void fail(struct s3_op *op, const char *code, bool hopeless)
{
	struct s3 *s3 = op->s3;
	struct s3_names names = {
		.remote = s3->name, .bucket = s3->address.bucket, .endpoint = s3->address.base,
		.customer_key = s3->headers.customer_key,
		.credentials = s3->anonymous ? NULL : s3->credentials.source ? s3->credentials.source : "none",
	};
	op->ret_hopeless = hopeless;
	s3_explain(op, code, &names);
	settle(op);
}

static void try_later(struct s3_op *op, const char *code)
{
	struct s3 *s3 = op->s3;
	uint64_t pause = http_pause_ms(&op->request, op->tries, FIRST_PAUSE_MS, MAX_PAUSE_MS, &s3->random);
	if (op->request.ret_status == 503 || op->request.ret_status == 429 || strstr(code, "SlowDown") || strstr(code, "Throttl"))
		s3->slowdowns++;
	op->moving_ms += op->request.ret_moving_ms;
	if (op->tries >= s3->max_tries || loop_now_ms() + pause - op->first_try_ms - op->moving_ms > s3->try_for_ms) {
		fail(op, code, s3->last_success_ms < op->first_try_ms);
		return;
	}
	op->timer = loop_add_timer(s3->loop, pause, try_now, op);
}

static bool mend_region(struct s3_op *op)
{
	struct s3 *s3 = op->s3;
	struct buf region CLEANUP(buf_release) = BUF_INIT;
	if (op->mended_region)
		return false;
	op->mended_region = true;
	if (op->generation != s3->address.generation)
		return true; /* another request has mended it meanwhile */
	if (!http_header(&op->request, "x-amz-bucket-region", &region) &&
	    !xml_find(op->response.data, op->response.len, "Region", &region))
		return false;
	if (!s3_region_is_sane(region.data) || strcmp(region.data, s3->address.region) == 0)
		return false;
	s3_address_go_to(&s3->address, region.data);
	s3->signer.region = s3->address.region;
	s3->signer.key_date[0] = '\0';
	return true;
}

static bool mend_clock(struct s3_op *op)
{
	int64_t date = http_date(&op->request);
	if (op->mended_clock || !date)
		return false;
	op->mended_clock = true;
	op->s3->clock_offset = date - time(NULL);
	return true;
}

static void again_at_once(struct s3_op *op)
{
	op->refused = false;
	op->timer = loop_add_timer(op->s3->loop, 0, try_now, op);
}

/* A refused HEAD says neither why nor, of an expired token, that it can be mended: its answer has no body. */
static bool ask_why(struct s3_op *op)
{
	unsigned status = op->request.ret_status;
	if (op->asked_why || strcmp(op->method, "HEAD") != 0 || op->response.len || (status != 400 && status != 401 && status != 403))
		return false;
	again_at_once(op);
	op->refused = op->asked_why = true;
	return true;
}

static bool mend_credentials(struct s3_op *op)
{
	struct s3 *s3 = op->s3;
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (op->mended_credentials || s3->anonymous || s3->spec.access_key_id)
		return false;
	op->mended_credentials = true;
	if (op->credentials_generation != s3->credentials_generation)
		return true; /* another request has got new ones meanwhile */
	char *before OWNED = mem_strdup(s3->credentials.access_key);
	char *token_before OWNED = mem_strdup(s3->credentials.session_token);
	return find_credentials(s3, &err) == 0 &&
	       (!text_eq(before, s3->credentials.access_key) || !text_eq(token_before, s3->credentials.session_token));
}

static void on_answer(struct http_request *request)
{
	struct s3_op *op = request->ctx;
	struct buf code CLEANUP(buf_release) = BUF_INIT;
	bool again = false;
	enum s3_fault fault = s3_judge(op, &code);
	if (op->refused && fault == S3_FAULT_NONE) { /* what the HEAD was refused for has been mended meanwhile; or it is refused again */
		again_at_once(op);
		return;
	}
	switch (fault) {
	case S3_FAULT_NONE:
		op->s3->last_success_ms = loop_now_ms();
		settle(op);
		return;
	case S3_FAULT_TRANSIENT:
		try_later(op, code.data);
		return;
	case S3_FAULT_REGION:
		again = mend_region(op);
		break;
	case S3_FAULT_CLOCK:
		again = mend_clock(op);
		break;
	case S3_FAULT_EXPIRED:
		again = mend_credentials(op);
		break;
	case S3_FAULT_HOPELESS:
		break;
	case S3_FAULT_REFUSED:
		if (!ask_why(op))
			fail(op, code.data, false);
		return;
	}
	if (again) {
		op->asked_why = false; /* what is refused now is refused for another reason */
		again_at_once(op);
	} else
		fail(op, code.data, true);
}

static void try_now(void *ctx)
{
	struct s3_op *op = ctx;
	struct s3 *s3 = op->s3;
	op->timer = NULL;
	op->tries++;
	err_release(&op->request.ret_err);
	bool ready = s3_ready(s3, &op->request.ret_err) == 0;
	if (!ready || (op->on_try && !op->on_try(op))) {
		op->ret_outcome = S3_FAILED;
		op->request.ret_status = 0;
		fail(op, "", !ready);
		return;
	}
	make_url(s3, op);
	struct http_request *request = &op->request;
	request->method = op->refused ? "GET" : op->method;
	request->url = op->url;
	request->headers = &op->sent_headers;
	request->body = op->body;
	request->body_fd = op->body_fd;
	request->body_at = op->body_at;
	request->body_len = op->body_len;
	request->on_body = op->on_body;
	request->on_data = op->on_data;
	request->response = &op->response;
	request->response_max = op->response_max ? op->response_max : MAX_ERROR_BODY;
	request->bulk = op->bulk;
	request->patience = op->patience;
	request->done = on_answer;
	request->ctx = op;
	http_start(s3->http, request);
}

/* The interface. */

void s3_start(struct s3 *s3, struct s3_op *op)
{
	op->s3 = s3;
	op->tries = 0;
	op->mended_region = op->mended_clock = op->mended_credentials = false;
	op->refused = op->asked_why = false;
	op->ret_hopeless = false;
	op->first_try_ms = loop_now_ms();
	op->moving_ms = 0;
	err_release(&op->ret_err);
	op->timer = loop_add_timer(s3->loop, 0, try_now, op);
}

void s3_cancel(struct s3_op *op)
{
	if (op->timer)
		loop_remove_timer(op->s3->loop, op->timer);
	op->timer = NULL;
	http_cancel(&op->request);
}

static void note_done(struct s3_op *op)
{
	*(bool *)op->ctx = true;
}

int s3_run(struct s3 *s3, struct s3_op *op, struct err *err)
{
	bool done = false;
	op->done = note_done;
	op->ctx = &done;
	s3_start(s3, op);
	while (!done) {
		if (loop_step(s3->loop, -1, err) < 0) {
			s3_cancel(op);
			return -1;
		}
	}
	return op->ret_outcome == S3_FAILED ? err_move(err, &op->ret_err) : 0;
}

void s3_op_release(struct s3_op *op)
{
	s3_cancel(op);
	strlist_release(&op->query);
	strlist_release(&op->headers);
	strlist_release(&op->sent_headers);
	free(op->url);
	err_release(&op->ret_err);
	buf_release(&op->response);
	http_request_release(&op->request);
	*op = (struct s3_op)S3_OP_INIT;
}
