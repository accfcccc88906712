#include "../unit.h"

#include "net/xml.h"

static void assert_text(const char *xml, const char *name, const char *expected)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	bool found = xml_find(xml, strlen(xml), name, &text);
	assert_int_equal(found, expected != NULL);
	if (expected)
		assert_string_equal(text.data, expected);
}

static void test_find(void **state UNUSED)
{
	assert_text("<?xml version=\"1.0\"?>\n<!-- <Code>no</Code> --><Error><Code>Yes</Code></Error>", "Code", "Yes");
	assert_text("<a xmlns=\"x\"><b:Code kind='1'>n</b:Code></a>", "Code", "n");
	assert_text("<Code/>after", "Code", "");
	assert_text("<Codes>x</Codes>", "Code", NULL);
	assert_text("", "Code", NULL);
}

static void test_entities(void **state UNUSED)
{
	assert_text("<K>a&amp;b&lt;c&gt;&quot;&apos;</K>", "K", "a&b<c>\"'");
	assert_text("<K>&#65;&#x42;&#xe9;&#x6f22;&#x1F600;</K>", "K", "AB\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x98\x80");
	assert_text("<K>&nope; &#0; &#x110000; &#zz; & &;</K>", "K", "&nope; &#0; &#x110000; &#zz; & &;");
}

/* Every prefix of a document ends, and stays within its bytes (the sanitizer watches). */
static void test_cut_anywhere(void **state UNUSED)
{
	static const char document[] = "<?xml?><!DOCTYPE x><r><!-- c --><p:Key a=\"b\">x&amp;y&#x41;</p:Key><e/></r>";
	for (size_t len = 0; len < sizeof(document); len++) {
		char *copy = malloc(len ? len : 1);
		struct buf text CLEANUP(buf_release) = BUF_INIT;
		memcpy(copy, document, len);
		struct xml_scan scan = { .at = copy, .end = copy + len };
		unsigned tags = 0;
		while (xml_next(&scan)) {
			assert_true(++tags < 20);
			if (scan.kind == XML_OPEN)
				xml_text(&scan, &text);
		}
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_entities),
		cmocka_unit_test(test_cut_anywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
