#include "net/s3_headers.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "formats/digest.h"
#include "net/aws_profile.h"

#include <stdlib.h>
#include <string.h>

#define MAX_VALUE 2048
#define CUSTOMER_KEY_LEN 32

void s3_base64(struct buf *out, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < len; i += 3) {
		size_t have = len - i < 3 ? len - i : 3;
		uint32_t word = (uint32_t)bytes[i] << 16 | (have > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (have > 2 ? bytes[i + 2] : 0u);
		buf_addch(out, digits[word >> 18]);
		buf_addch(out, digits[word >> 12 & 63]);
		buf_addch(out, have > 1 ? digits[word >> 6 & 63] : '=');
		buf_addch(out, have > 2 ? digits[word & 63] : '=');
	}
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool from_base64(const char *text, struct buf *out)
{
	size_t len = strlen(text);
	while (len > 0 && text[len - 1] == '=')
		len--;
	uint32_t word = 0;
	unsigned bits = 0;
	for (size_t i = 0; i < len; i++) {
		int digit = base64_digit(text[i]);
		if (digit < 0)
			return false;
		word = word << 6 | (uint32_t)digit;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			buf_addch(out, (char)(word >> bits & 0xff));
		}
	}
	return len > 0 && len % 4 != 1;
}

static int refuse(const struct remote_spec *spec, struct err *err, const char *what)
{
	return err_set(err, ERR_CONFIG, "the remote '%s' has %s", spec->name ? spec->name : spec->url, what);
}

/* A value in a header must not end the line. */
static int add(struct strlist *list, const struct remote_spec *spec, const char *name, const char *value, struct err *err)
{
	if (!value || !*value)
		return 0;
	for (const char *c = value; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 127 || c - value > MAX_VALUE)
			return refuse(spec, err, "an option that cannot be sent: it is too long or holds control characters");
	}
	strlist_take(list, mem_printf("%s: %s", name, value));
	return 0;
}

static int add_customer_key(struct s3_headers *headers, const struct remote_spec *spec, struct err *err)
{
	static const enum s3_use uses[] = { S3_USE_CREATE, S3_USE_PART, S3_USE_READ };
	struct buf key CLEANUP(buf_release) = BUF_INIT;
	struct buf md5 CLEANUP(buf_release) = BUF_INIT;
	struct digest digest;
	if (!spec->sse_customer_key)
		return spec->sse_customer_algorithm ? refuse(spec, err, "an sse_customer_algorithm and no sse_customer_key") : 0;
	if (spec->sse_kms_key_id)
		return refuse(spec, err, "both sse_kms_key_id and sse_customer_key, which exclude each other");
	if (!from_base64(spec->sse_customer_key, &key)) {
		refuse(spec, err, "an sse_customer_key that is not base64");
		return err_hint(err, "write the 32 bytes of the key in base64: head -c 32 /dev/urandom | base64");
	}
	if (key.len != CUSTOMER_KEY_LEN) {
		err_set(err, ERR_CONFIG, "the remote '%s' has an sse_customer_key of %zu bytes, not of %d", spec->name ? spec->name : spec->url, key.len,
			CUSTOMER_KEY_LEN);
		explicit_bzero(key.data, key.len);
		return err_hint(err, "write the 32 bytes of the key in base64: head -c 32 /dev/urandom | base64");
	}
	headers->customer_key = true;
	digest_bytes(DIGEST_MD5, key.data, key.len, &digest);
	explicit_bzero(key.data, key.len);
	s3_base64(&md5, digest.bytes, digest_len(DIGEST_MD5));
	const char *algorithm = spec->sse_customer_algorithm ? spec->sse_customer_algorithm : "AES256";
	for (size_t i = 0; i < ARRAY_LEN(uses); i++) {
		struct strlist *list = &headers->of[uses[i]];
		if (add(list, spec, "x-amz-server-side-encryption-customer-algorithm", algorithm, err) < 0 ||
		    add(list, spec, "x-amz-server-side-encryption-customer-key", spec->sse_customer_key, err) < 0 ||
		    add(list, spec, "x-amz-server-side-encryption-customer-key-md5", md5.data, err) < 0)
			return -1;
	}
	return 0;
}

static int add_rights(struct strlist *list, const struct remote_spec *spec, struct err *err)
{
	bool grants = spec->grant_read || spec->grant_read_acp || spec->grant_write_acp || spec->grant_full_control;
	if (spec->acl && grants)
		return refuse(spec, err, "both acl and grant_* options, which exclude each other");
	return add(list, spec, "x-amz-acl", spec->acl, err) < 0 || add(list, spec, "x-amz-grant-read", spec->grant_read, err) < 0 ||
			       add(list, spec, "x-amz-grant-read-acp", spec->grant_read_acp, err) < 0 ||
			       add(list, spec, "x-amz-grant-write-acp", spec->grant_write_acp, err) < 0 ||
			       add(list, spec, "x-amz-grant-full-control", spec->grant_full_control, err) < 0
		       ? -1
		       : 0;
}

int s3_headers_make(const struct remote_spec *spec, struct s3_headers *ret, struct err *err)
{
	struct strlist *create = &ret->of[S3_USE_CREATE];
	const char *payer = aws_env("AWS_REQUEST_PAYER");
	if (add(create, spec, "x-amz-server-side-encryption", spec->sse, err) < 0 ||
	    add(create, spec, "x-amz-server-side-encryption-aws-kms-key-id", spec->sse_kms_key_id, err) < 0 ||
	    add_customer_key(ret, spec, err) < 0 || add_rights(create, spec, err) < 0)
		return -1;
	if (!payer)
		return 0;
	if (!text_eq(payer, "requester")) {
		err_set(err, ERR_CONFIG, "AWS_REQUEST_PAYER is '%.40s'", payer);
		return err_hint(err, "the only value is 'requester': requests to a bucket whose owner does not pay are then paid by you");
	}
	for (size_t i = 0; i < S3_USE_COUNT; i++)
		strlist_add(&ret->of[i], "x-amz-request-payer: requester");
	return 0;
}

void s3_headers_release(struct s3_headers *headers)
{
	for (size_t i = 0; i < S3_USE_COUNT; i++) {
		for (size_t k = 0; k < headers->of[i].len; k++)
			explicit_bzero(headers->of[i].at[k], strlen(headers->of[i].at[k]));
		strlist_release(&headers->of[i]);
	}
}
