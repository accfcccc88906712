/* Any UTF-8 text that is written as a value is read back as the same text. */
#include "fuzz.h"

#include "base/text.h"
#include "formats/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	if (memchr(bytes, '\0', len) || !text_is_utf8((const char *)bytes, len))
		return 0;
	char *text OWNED = mem_strndup((const char *)bytes, len);
	buf_addstr(&out, "outs:\n- path: ");
	yaml_add_scalar(&out, text, 4, 8);
	buf_addch(&out, '\n');
	MUST(yaml_parse(&doc, "f.yaml", out.data, out.len, &err) == 0);
	const struct yaml_node *value = yaml_get_dotted(doc.root, "outs.0.path");
	/* Not the kind: dvc writes .5e3 without quotes, which is a number in the core schema. */
	MUST(value && value->kind != YAML_SEQ && value->kind != YAML_MAP);
	MUST(strcmp(value->text, text) == 0);
	return 0;
}
