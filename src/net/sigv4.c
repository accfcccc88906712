#include "net/sigv4.h"

#include "base/mem.h"
#include "base/text.h"
#include "formats/digest.h"

#include <stdlib.h>
#include <string.h>

void sigv4_encode(struct buf *out, const char *text, bool keep_slash)
{
	static const char hex[] = "0123456789ABCDEF";
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		bool plain = (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' ||
			     *c == '.' || *c == '_' || *c == '~' || (*c == '/' && keep_slash);
		if (plain) {
			buf_addch(out, (char)*c);
		} else {
			buf_addch(out, '%');
			buf_addch(out, hex[*c >> 4]);
			buf_addch(out, hex[*c & 15]);
		}
	}
}

static void add_sha256(struct buf *out, const void *bytes, size_t len)
{
	struct digest digest;
	char hex[DIGEST_HEX_MAX];
	digest_bytes(DIGEST_SHA256, bytes, len, &digest);
	digest_hex(&digest, hex);
	buf_addstr(out, hex);
}

/* Parameters sort by name, then value; "a=1" against "a-b=1" must compare as "a" against "a-b". */
static int compare_query(const void *a, const void *b)
{
	const char *left = *(const char *const *)a, *right = *(const char *const *)b;
	size_t left_name = strcspn(left, "="), right_name = strcspn(right, "=");
	size_t common = left_name < right_name ? left_name : right_name;
	int order = memcmp(left, right, common);
	if (order == 0 && left_name != right_name)
		order = left_name < right_name ? -1 : 1;
	return order ? order : strcmp(left + left_name, right + right_name);
}

static void add_query(struct buf *out, const struct strlist *query)
{
	if (!query || query->len == 0)
		return;
	VEC(const char *) sorted = { 0 };
	for (size_t i = 0; i < query->len; i++)
		vec_push(&sorted, query->at[i]);
	vec_sort(&sorted, compare_query);
	for (size_t i = 0; i < sorted.len; i++)
		buf_addf(out, "%s%s%s", i ? "&" : "", sorted.at[i], strchr(sorted.at[i], '=') ? "" : "=");
	vec_release(&sorted);
}

static int compare_header(const void *a, const void *b)
{
	const char *left = *(const char *const *)a, *right = *(const char *const *)b;
	size_t left_name = strcspn(left, ":"), right_name = strcspn(right, ":");
	size_t common = left_name < right_name ? left_name : right_name;
	int order = memcmp(left, right, common);
	return order ? order : (left_name > right_name) - (left_name < right_name);
}

/* "name:value\n", the value trimmed and runs of blanks made one. */
static void add_header(struct buf *out, const char *line)
{
	size_t name = strcspn(line, ":");
	buf_add(out, line, name);
	buf_addch(out, ':');
	const char *c = line + name + (line[name] == ':');
	bool blank = false, any = false;
	for (; *c; c++) {
		if (*c == ' ' || *c == '\t') {
			blank = any;
			continue;
		}
		if (blank)
			buf_addch(out, ' ');
		buf_addch(out, *c);
		blank = false;
		any = true;
	}
	buf_addch(out, '\n');
}

static void derive_key(struct sigv4 *signer, const char *date)
{
	if (strcmp(signer->key_date, date) == 0)
		return;
	struct buf first CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&first, "AWS4%s", signer->secret_key);
	digest_hmac_sha256(first.data, first.len, date, strlen(date), signer->key);
	explicit_bzero(first.data, first.len);
	const char *const steps[] = { signer->region, signer->service, "aws4_request" };
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		uint8_t next[32];
		digest_hmac_sha256(signer->key, sizeof(signer->key), steps[i], strlen(steps[i]), next);
		memcpy(signer->key, next, sizeof(next));
	}
	memcpy(signer->key_date, date, sizeof(signer->key_date));
}

/* The canonical request; names gets the signed headers' names, joined by ';'. */
static void add_canonical(struct buf *out, struct buf *names, const struct sigv4 *signer, const struct sigv4_input *input,
			  const struct strlist *added)
{
	buf_addf(out, "%s\n", input->method);
	if (signer->encode_path_again)
		sigv4_encode(out, input->path, true);
	else
		buf_addstr(out, input->path);
	buf_addch(out, '\n');
	add_query(out, input->query);
	buf_addch(out, '\n');

	char *host OWNED = mem_printf("host:%s", input->host);
	VEC(const char *) lines = { 0 };
	vec_push(&lines, host);
	for (size_t i = 0; input->headers && i < input->headers->len; i++)
		vec_push(&lines, input->headers->at[i]);
	for (size_t i = 0; i < added->len; i++)
		vec_push(&lines, added->at[i]);
	vec_sort(&lines, compare_header);
	for (size_t i = 0; i < lines.len; i++) {
		add_header(out, lines.at[i]);
		if (i)
			buf_addch(names, ';');
		buf_add(names, lines.at[i], strcspn(lines.at[i], ":"));
	}
	vec_release(&lines);
	buf_addf(out, "\n%s\n%s", names->data, input->payload_hash);
}

void sigv4_sign(struct sigv4 *signer, const struct sigv4_input *input, struct strlist *out)
{
	struct tm utc;
	char stamp[32], date[9];
	gmtime_r(&input->now, &utc);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc);
	memcpy(date, stamp, 8);
	date[8] = '\0';

	struct strlist added = { 0 };
	strlist_take(&added, mem_printf("x-amz-date: %s", stamp));
	if (signer->payload_header)
		strlist_take(&added, mem_printf("x-amz-content-sha256: %s", input->payload_hash));
	if (signer->session_token)
		strlist_take(&added, mem_printf("x-amz-security-token: %s", signer->session_token));

	struct buf canonical CLEANUP(buf_release) = BUF_INIT;
	struct buf names CLEANUP(buf_release) = BUF_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	add_canonical(&canonical, &names, signer, input, &added);
	buf_addf(&text, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n", stamp, date, signer->region, signer->service);
	add_sha256(&text, canonical.data, canonical.len);

	uint8_t mac[32];
	char signature[65];
	derive_key(signer, date);
	digest_hmac_sha256(signer->key, sizeof(signer->key), text.data, text.len, mac);
	text_hex(signature, mac, sizeof(mac));
	for (size_t i = 0; i < added.len; i++)
		strlist_take(out, added.at[i]);
	vec_release(&added);
	strlist_take(out, mem_printf("authorization: AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s",
				     signer->access_key, date, signer->region, signer->service, names.data, signature));
}
