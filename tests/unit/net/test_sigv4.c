#include "../unit.h"

#include "net/sigv4.h"

/* The first example of docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. */
static void test_example_of_aws(void **state UNUSED)
{
	struct sigv4 signer = { .access_key = "AKIAIOSFODNN7EXAMPLE", .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
				.region = "us-east-1", .service = "s3", .payload_header = true };
	struct strlist headers = { 0 }, out = { 0 };
	strlist_add(&headers, "range: bytes=0-9");
	struct sigv4_input input = { .method = "GET", .host = "examplebucket.s3.amazonaws.com", .path = "/test.txt", .headers = &headers,
				     .payload_hash = SIGV4_EMPTY_SHA256, .now = 1369353600 };
	sigv4_sign(&signer, &input, &out);
	assert_int_equal(out.len, 3);
	assert_string_equal(out.at[0], "x-amz-date: 20130524T000000Z");
	assert_string_equal(out.at[1], "x-amz-content-sha256: " SIGV4_EMPTY_SHA256);
	assert_string_equal(out.at[2], "authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
				       "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
				       "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	strlist_release(&headers);
	strlist_release(&out);
}

/* The "Get Bucket Lifecycle" and "List Objects" examples: a query without a value, and one that must be sorted. */
static void test_queries(void **state UNUSED)
{
	struct sigv4 signer = { .access_key = "AKIAIOSFODNN7EXAMPLE", .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
				.region = "us-east-1", .service = "s3", .payload_header = true };
	struct strlist query = { 0 }, out = { 0 };
	struct sigv4_input input = { .method = "GET", .host = "examplebucket.s3.amazonaws.com", .path = "/", .query = &query,
				     .payload_hash = SIGV4_EMPTY_SHA256, .now = 1369353600 };
	strlist_add(&query, "lifecycle");
	sigv4_sign(&signer, &input, &out);
	assert_non_null(strstr(out.at[2], "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
	strlist_release(&query);
	strlist_release(&out);
	strlist_add(&query, "prefix=J");
	strlist_add(&query, "max-keys=2");
	sigv4_sign(&signer, &input, &out);
	assert_non_null(strstr(out.at[2], "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
	strlist_release(&query);
	strlist_release(&out);
}

static void test_encode(void **state UNUSED)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	sigv4_encode(&out, "a/b c+~\xc3\xa9", true);
	assert_string_equal(out.data, "a/b%20c%2B~%C3%A9");
	buf_reset(&out);
	sigv4_encode(&out, "a/b", false);
	assert_string_equal(out.data, "a%2Fb");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_example_of_aws),
		cmocka_unit_test(test_queries),
		cmocka_unit_test(test_encode),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
