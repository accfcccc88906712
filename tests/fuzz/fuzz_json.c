/* Any bytes; and any bytes written as a string are JSON. */
#include "fuzz.h"

#include "base/text.h"
#include "formats/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	if (json_parse(&doc, "f.json", (const char *)bytes, len, &err) < 0)
		MUST(err.message && err.code == ERR_DATA);
	json_release(&doc);
	for (int ascii = 0; ascii < 2; ascii++) {
		buf_reset(&out);
		json_add_string(&out, (const char *)bytes, len, ascii);
		MUST(json_parse(&doc, "f.json", out.data, out.len, &err) == 0);
		const char *back = json_str(doc.root);
		if (!memchr(bytes, '\0', len) && text_is_utf8((const char *)bytes, len))
			MUST(strlen(back) == len && memcmp(back, bytes, len) == 0);
		json_release(&doc);
	}
	return 0;
}
