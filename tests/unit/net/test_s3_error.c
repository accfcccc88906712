#include "../unit.h"

#include "net/s3_error.h"

struct answer {
	unsigned status;
	const char *headers, *body;
	enum s3_fault fault;
	enum s3_outcome outcome;
};

#define ERROR_BODY(code) "<Error><Code>" code "</Code><Message>m</Message></Error>"

static void test_judgement(void **state UNUSED)
{
	static const struct answer answers[] = {
		{ 200, "", "", S3_FAULT_NONE, S3_OK },
		{ 204, "", "", S3_FAULT_NONE, S3_OK },
		{ 206, "", "", S3_FAULT_NONE, S3_OK },
		{ 200, "", "<?xml?>" ERROR_BODY("InternalError"), S3_FAULT_TRANSIENT, S3_FAILED },
		{ 200, "", ERROR_BODY("SomethingNew"), S3_FAULT_TRANSIENT, S3_FAILED },
		{ 404, "", "", S3_FAULT_NONE, S3_ABSENT },
		{ 404, "", ERROR_BODY("NoSuchKey"), S3_FAULT_NONE, S3_ABSENT },
		{ 404, "", ERROR_BODY("NoSuchBucket"), S3_FAULT_HOPELESS, S3_FAILED },
		{ 404, "", ERROR_BODY("SomethingElse"), S3_FAULT_REFUSED, S3_FAILED },
		{ 416, "", ERROR_BODY("InvalidRange"), S3_FAULT_NONE, S3_RANGE },
		{ 412, "", "", S3_FAULT_NONE, S3_CHANGED },
		{ 403, "", ERROR_BODY("AccessDenied"), S3_FAULT_REFUSED, S3_FAILED },
		{ 403, "", ERROR_BODY("RequestTimeTooSkewed"), S3_FAULT_CLOCK, S3_FAILED },
		{ 403, "date: Mon, 01 Jan 2001 00:00:00 GMT\n", "", S3_FAULT_CLOCK, S3_FAILED },
		{ 403, "", ERROR_BODY("SignatureDoesNotMatch"), S3_FAULT_HOPELESS, S3_FAILED },
		{ 400, "", ERROR_BODY("ExpiredToken"), S3_FAULT_EXPIRED, S3_FAILED },
		{ 400, "x-amz-bucket-region: eu-west-1\n", "", S3_FAULT_REGION, S3_FAILED },
		{ 400, "", ERROR_BODY("RequestTimeout"), S3_FAULT_TRANSIENT, S3_FAILED },
		{ 400, "", "what", S3_FAULT_REFUSED, S3_FAILED },
		{ 301, "", "", S3_FAULT_REGION, S3_FAILED },
		{ 503, "", ERROR_BODY("SlowDown"), S3_FAULT_TRANSIENT, S3_FAILED },
		{ 500, "", "<html>", S3_FAULT_TRANSIENT, S3_FAILED },
		{ 429, "", "", S3_FAULT_TRANSIENT, S3_FAILED },
		{ 501, "", ERROR_BODY("NotImplemented"), S3_FAULT_REFUSED, S3_FAILED },
	};
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct s3_op op = S3_OP_INIT;
		struct buf code CLEANUP(buf_release) = BUF_INIT;
		op.method = "GET";
		op.request.ret_status = answers[i].status;
		buf_addstr(&op.request.ret_headers, answers[i].headers);
		buf_addstr(&op.response, answers[i].body);
		enum s3_fault fault = s3_judge(&op, &code);
		if (fault != answers[i].fault || op.ret_outcome != answers[i].outcome)
			fail_msg("status %u '%s': fault %d, outcome %d", answers[i].status, answers[i].body, fault, op.ret_outcome);
		s3_op_release(&op);
	}
}

/* One line, no control characters, not the whole of what a server likes to send. */
static void test_words_of_a_server(void **state UNUSED)
{
	struct s3_op op = S3_OP_INIT;
	const struct s3_names names = { .remote = "r", .bucket = "b", .credentials = "the environment", .endpoint = "http://e" };
	op.method = "PUT";
	op.key = "k";
	op.request.ret_status = 403;
	buf_addstr(&op.response, "<Error><Code>AccessDenied</Code><Message>a\n\x1b[31mb");
	for (int i = 0; i < 1000; i++)
		buf_addstr(&op.response, "long ");
	buf_addstr(&op.response, "</Message><RequestId>R7</RequestId><StringToSign>secret</StringToSign></Error>");
	s3_explain(&op, "AccessDenied", &names);
	assert_int_equal(op.ret_err.code, ERR_NET);
	assert_non_null(strstr(op.ret_err.message, "'r' answered PUT of k with status 403, AccessDenied: a  [31mb"));
	assert_non_null(strstr(op.ret_err.message, "(request R7)"));
	assert_null(strchr(op.ret_err.message, '\n'));
	assert_null(strchr(op.ret_err.message, '\x1b'));
	assert_null(strstr(op.ret_err.message, "secret"));
	assert_true(strlen(op.ret_err.message) < 500);
	assert_non_null(strstr(op.ret_err.hint, "the environment"));
	s3_op_release(&op);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_judgement),
		cmocka_unit_test(test_words_of_a_server),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
