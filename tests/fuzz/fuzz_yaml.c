/* Any bytes: read or refused with a message. What was read lies within the text. */
#include "fuzz.h"

#include "formats/yaml.h"

static void check(const struct yaml_node *node, size_t len, unsigned depth)
{
	MUST(depth <= 102);
	MUST(node->start <= node->end && node->end <= len);
	const struct span span = yaml_span(node);
	MUST(span.line >= 1 && span.col >= 1 && span.text && strlen(span.text) <= len);
	MUST(strlen(node->text) <= node->text_len);
	for (size_t i = 0; node->kind == YAML_SEQ && i < node->len; i++)
		check(node->items[i], len, depth + 1);
	for (size_t i = 0; node->kind == YAML_MAP && i < node->len; i++) {
		check(node->pairs[i].key, len, depth + 1);
		check(node->pairs[i].value, len, depth + 1);
		MUST(yaml_get(node, node->pairs[i].key->text) == node->pairs[i].value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct yaml_doc doc CLEANUP(yaml_release) = YAML_DOC_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	if (yaml_parse(&doc, "f.yaml", (const char *)bytes, len, &err) < 0) {
		MUST(err.message && err.code == ERR_CONFIG && !doc.root);
		return 0;
	}
	if (!doc.root)
		return 0;
	check(doc.root, len, 0);
	yaml_add_canonical(&out, doc.root);
	yaml_get_dotted(doc.root, "a.0.b");
	return 0;
}
